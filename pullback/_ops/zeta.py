"""The Hurwitz zeta function and the derivatives of digamma: polygamma(n, x) = (-1)^(n+1) n! zeta(n+1, x), DLMF 5.15.

Kernels are SciPy's, imported at the first call.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._ops.elementwise import add, mul, neg, scalar
from pullback._ops.families import FLOAT, nary, operands, scipy_kernel
from pullback._ops.rules import no_derivative


def _polygamma_kernel(n, x):
    from scipy import special

    if x.dtype.itemsize <= 2:
        n, x = n.astype(np.float32), x.astype(np.float32)
    value = np.where(n % 2 == 0, -1, 1) * special.gamma(n + 1) * special.zeta(n + 1, x)
    return np.where(n == 0, special.digamma(x), value)


polygamma_p = nary("polygamma", _polygamma_kernel, "chlo.polygamma", no_derivative("polygamma", "its order"),
                   lambda t, y, n, x: mul(t, polygamma(add(n, scalar(n, 1)), x)), add=add, accepts=FLOAT)
zeta_p = nary("zeta", scipy_kernel("zeta"), "chlo.zeta", no_derivative("zeta", "its exponent"),
              lambda t, y, s, q: mul(t, neg(mul(s, zeta(add(s, scalar(s, 1)), q)))), add=add, accepts=FLOAT)


def polygamma(m: Any, x: Any) -> Array:
    """The derivative of order `m` of `digamma` at `x` (DLMF 5.15), elementwise.

    `m`: whole numbers in the floating-point dtype of `x`; shapes broadcast. TypeError for other dtypes or two of them.
    The derivative by `m` is refused with NotImplementedError.

    >>> from pullback import lax
    >>> print(f"{lax.polygamma(1., 1.):.4f}")
    1.6449
    """
    return polygamma_p.bind(*operands("polygamma", m, x))


def zeta(x: Any, q: Any) -> Array:
    """The Hurwitz zeta function, the sum of `(k + q)**-x` over k >= 0, for `x` > 1 (DLMF 25.11), elementwise.

    Floats of one dtype, of shapes that broadcast; TypeError for others. The derivative by `x` is refused with
    NotImplementedError.

    >>> from pullback import lax
    >>> print(f"{lax.zeta(2., 1.):.4f}")
    1.6449
    """
    return zeta_p.bind(*operands("zeta", x, q))
