"""Exponential, sine, cosine and Fresnel integrals, erfcx, the functions of Dawson, Owen and Spence."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import dawson, dilogarithm, exponential_integrals, faddeeva, scaled_erfc
from pullback._ops import fresnel as fresnel_ops
from pullback._ops import owens_t as owens
from pullback.numpy._elementwise.promotion import (
    NEVER_WEAK_FLOAT,
    NEVER_WEAK_INEXACT,
    Operand,
    elementwise,
    promote_operands,
)

__all__ = ["dawsn", "erfcx", "exp1", "expi", "expn", "fresnel", "owens_t", "sici", "spence", "wofz"]


@elementwise(NEVER_WEAK_FLOAT)
def erfcx(x: Operand) -> Array:
    """`exp(x**2) erfc(x)`, the complementary error function scaled, which is near 1 / (x sqrt(pi)) for large `x`.

    >>> from pullback.scipy import special
    >>> print(special.erfcx(0.))
    1.0
    """
    return scaled_erfc.erfcx_p.bind(x)


@boundary
def wofz(z: ArrayLike) -> Array:
    """The Faddeeva function, `exp(-z**2) erfc(-1j z)` (DLMF 7.2.3), complex.

    `z`: numbers, any shape; they are converted to complex ones. Raises: TypeError for anything else.

    >>> from pullback.scipy import special
    >>> print(special.wofz(1j).round(4))
    (0.4276+0j)
    """
    (z,) = promote_operands("wofz", NEVER_WEAK_INEXACT, z)
    return faddeeva.wofz_p.bind(
        z if dtypes.is_complex(z.dtype) else z.astype(dtypes.promote_types(z.dtype, np.complex64))
    )


@elementwise(NEVER_WEAK_FLOAT)
def dawsn(x: Operand) -> Array:
    """Dawson's integral, `exp(-x**2)` times the integral of `exp(t**2)` from 0 to `x` (DLMF 7.2.5).

    >>> from pullback.scipy import special
    >>> print(special.dawsn(1.))
    0.5380795
    """
    return dawson.dawson_p.bind(x)


@elementwise(NEVER_WEAK_FLOAT)
def exp1(x: Operand) -> Array:
    """The exponential integral E1, that of `exp(-t) / t` from `x` > 0 to infinity (DLMF 6.2.1): nan below 0.

    >>> from pullback.scipy import special
    >>> print(special.exp1(1.).round(5))
    0.21938
    """
    return exponential_integrals.exp1_p.bind(x)


@elementwise(NEVER_WEAK_FLOAT)
def expi(x: Operand) -> Array:
    """The exponential integral Ei, that of `exp(t) / t` from -infinity to `x`, a principal value (DLMF 6.2.5).

    >>> from pullback.scipy import special
    >>> print(special.expi(1.))
    1.8951178
    """
    return exponential_integrals.expi_p.bind(x)


@elementwise(NEVER_WEAK_FLOAT)
def expn(n: Operand, x: Operand) -> Array:
    """The integral of `exp(-x t) / t**n` from 1 to infinity (DLMF 8.19.3), for whole `n` >= 0; else nan.

    It is differentiable in `x`; the derivative by `n` raises NotImplementedError.

    >>> from pullback.scipy import special
    >>> print(special.expn(2, 0.))
    1.0
    """
    return exponential_integrals.expn_p.bind(n, x)


@boundary
def sici(x: ArrayLike) -> tuple[Array, Array]:
    """The sine and cosine integrals Si and Ci (DLMF 6.2.9, 6.2.11).

    `x`: real numbers, any shape; TypeError for others. Returns: two arrays of its shape; for negative `x`, Ci is that
    of its size, the real part.

    >>> from pullback.scipy import special
    >>> si, ci = special.sici(1.)
    >>> print(si, ci)
    0.94608307 0.33740392
    """
    (x,) = promote_operands("sici", NEVER_WEAK_FLOAT, x)
    return exponential_integrals.si_p.bind(x), exponential_integrals.ci_p.bind(x)


@boundary
def fresnel(x: ArrayLike) -> tuple[Array, Array]:
    """The Fresnel integrals S and C, of `sin(pi t**2 / 2)` and `cos(pi t**2 / 2)` from 0 to `x` (DLMF 7.2.7, 7.2.8).

    `x`: real numbers, any shape; TypeError for others. Returns: two arrays of its shape.

    >>> from pullback.scipy import special
    >>> s, c = special.fresnel(float("inf"))
    >>> print(s, c)
    0.5 0.5
    """
    (x,) = promote_operands("fresnel", NEVER_WEAK_FLOAT, x)
    return fresnel_ops.fresnel_s_p.bind(x), fresnel_ops.fresnel_c_p.bind(x)


@elementwise(NEVER_WEAK_FLOAT)
def owens_t(h: Operand, a: Operand) -> Array:
    """Owen's function, the probability that X > h and 0 < Y < a X for independent normal X and Y.

    >>> from pullback.scipy import special
    >>> print(special.owens_t(0., 1.))
    0.125
    """
    return owens.owens_t_p.bind(h, a)


@elementwise(NEVER_WEAK_FLOAT)
def spence(x: Operand) -> Array:
    """Spence's function, the integral of `log(t) / (1 - t)` from 1 to `x` >= 0 (DLMF 25.12.1 at 1 - x): nan below 0.

    >>> from pullback.scipy import special
    >>> print(special.spence(0.).round(5))
    1.64493
    """
    return dilogarithm.spence_p.bind(x)
