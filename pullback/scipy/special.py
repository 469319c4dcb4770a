"""Special functions, as in `scipy.special`: elementwise, differentiable, in floating point.

Integers and bools are computed in floating point. Operands broadcast together and are promoted to one dtype. A
derivative that is not known (by the order of a polygamma function) is refused with NotImplementedError.
Definitions and formulas are cited by their numbers in the NIST Digital Library of Mathematical Functions (DLMF).
"""

from __future__ import annotations

import typing as _typing
from typing import Any, Protocol

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.primitive import Primitive
from pullback._core.typing import Axis
from pullback._ops import bessel, entropy, normal_tail, sigmoids
from pullback._ops import beta as beta_ops
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import gamma as g
from pullback._ops import incomplete_gamma as ig
from pullback._ops import poch as rising
from pullback._ops import special as s
from pullback._ops import zeta as zeta_ops
from pullback._ops.elementwise import scalar
from pullback._ops.families import BinaryFunction, UnaryFunction
from pullback.nn import normalization
from pullback.nn.normalization import logsumexp as logsumexp
from pullback.numpy._elementwise.promotion import (
    FLOAT,
    INEXACT,
    NEVER_WEAK_FLOAT,
    Domain,
    Operand,
    binary,
    elementwise,
    unary,
)
from pullback.scipy import _normal_quantile
from pullback.scipy._special.bessel import bessel_jn as bessel_jn
from pullback.scipy._special.factorials import bernoulli as bernoulli
from pullback.scipy._special.factorials import boxcox as boxcox
from pullback.scipy._special.factorials import boxcox1p as boxcox1p
from pullback.scipy._special.factorials import comb as comb
from pullback.scipy._special.factorials import multigammaln as multigammaln
from pullback.scipy._special.harmonics import sph_harm_y as sph_harm_y
from pullback.scipy._special.hypergeometric import hyp1f1 as hyp1f1
from pullback.scipy._special.hypergeometric import hyp2f1 as hyp2f1
from pullback.scipy._special.integrals import dawsn as dawsn
from pullback.scipy._special.integrals import erfcx as erfcx
from pullback.scipy._special.integrals import exp1 as exp1
from pullback.scipy._special.integrals import expi as expi
from pullback.scipy._special.integrals import expn as expn
from pullback.scipy._special.integrals import fresnel as fresnel
from pullback.scipy._special.integrals import owens_t as owens_t
from pullback.scipy._special.integrals import sici as sici
from pullback.scipy._special.integrals import spence as spence
from pullback.scipy._special.integrals import wofz as wofz
from pullback.scipy._special.log_gamma import loggamma as loggamma

_HERE = "pullback.scipy.special"


class _OfAAndX(Protocol):
    def __call__(self, a: ArrayLike, x: ArrayLike) -> Array: ...


class _OfNAndX(Protocol):
    def __call__(self, n: ArrayLike, x: ArrayLike) -> Array: ...


def _function(
    name: str, primitive: Primitive, says: str, argument: str, result: str, domain: Domain = FLOAT
) -> UnaryFunction:
    return unary(
        name,
        primitive,
        domain,
        f"""{says}

    >>> from pullback.scipy import special
    >>> print(special.{name}({argument}))
    {result}
    """,
        module=_HERE,
        parameters="x",
    )


def _function_of_two(name: str, primitive: Primitive, says: str, parameters: str, arguments: str, result: str) -> Any:
    return binary(
        name,
        primitive,
        FLOAT,
        f"""{says}

    >>> from pullback.scipy import special
    >>> print(special.{name}({arguments}))
    {result}
    """,
        module=_HERE,
        parameters=parameters,
    )


# --- sigmoids and entropies ---

expit: UnaryFunction = _function(
    "expit", sigmoids.logistic_p, "The logistic function `1 / (1 + exp(-x))`.", "0.", "0.5", INEXACT
)


logit: UnaryFunction = _function(
    "logit", sigmoids.logit_p, "`log(x / (1 - x))`, the inverse of `expit`.", "0.5", "0.0", FLOAT
)


@boundary
def softmax(x: ArrayLike, /, *, axis: Axis = None) -> Array:
    """`exp(x) / sum(exp(x))` along `axis`, without overflow: over all elements, where `nn.softmax` takes the last axis.

    `x`: numbers, any shape. `axis`: one or several. ValueError for an axis out of bounds.

    >>> from pullback.scipy import special
    >>> import pullback.numpy as pnp
    >>> print(special.softmax(pnp.zeros((2, 2))))
    [[0.25 0.25]
     [0.25 0.25]]
    """
    return normalization.softmax(x, axis)


@boundary
def log_softmax(x: ArrayLike, /, *, axis: Axis = None) -> Array:
    """`log(softmax(x))` along `axis`, by default over all elements, accurate where the softmax is small.

    `x`: numbers, any shape. `axis`: one or several. ValueError for an axis out of bounds.

    >>> from pullback.scipy import special
    >>> import pullback.numpy as pnp
    >>> print(special.log_softmax(pnp.array([0., -1000.])))
    [    0. -1000.]
    """
    return normalization.log_softmax(x, axis)


xlogy: BinaryFunction = _function_of_two(
    "xlogy", s.xlogy_p, "`x * log(y)`, 0 where `x` is 0 and `y` is a number.", "x y", "0., 0.", "0.0"
)
xlog1py: BinaryFunction = _function_of_two(
    "xlog1py", s.xlog1py_p, "`x * log1p(y)`, 0 where `x` is 0 and `y` is a number.", "x y", "0., -1.", "0.0"
)
entr: UnaryFunction = _function("entr", s.entr_p, "The entropy `-x log(x)`: 0 at 0, -inf below.", "0.", "0.0")


@elementwise(FLOAT)
def rel_entr(p: Operand, q: Operand) -> Array:
    """`p log(p / q)` for positive operands, 0 for p = 0 and q >= 0, else inf.

    >>> from pullback.scipy import special
    >>> print(special.rel_entr(0., 1.))
    0.0
    """
    return entropy.rel_entr_p.bind(p, q)


@elementwise(FLOAT)
def kl_div(p: Operand, q: Operand) -> Array:
    """`p log(p / q) - p + q` for positive operands, q for p = 0, else inf.

    >>> from pullback.scipy import special
    >>> print(special.kl_div(1., 1.))
    0.0
    """
    return entropy.kl_div_p.bind(p, q)


# --- error functions and the normal distribution ---

erf: UnaryFunction = _function(
    "erf", s.erf_p, "The error function `2 / sqrt(pi) * integral of exp(-t**2) from 0 to x` (DLMF 7.2.1).", "0.", "0.0"
)
erfc: UnaryFunction = _function("erfc", s.erfc_p, "`1 - erf(x)`, accurate for large `x` (DLMF 7.2.2).", "0.", "1.0")
erfinv: UnaryFunction = _function(
    "erfinv", s.erf_inv_p, "The inverse of `erf` on (-1, 1): infinite at the ends, nan outside.", "0.", "0.0"
)


@elementwise(NEVER_WEAK_FLOAT)
def ndtr(x: Array) -> Array:
    """The distribution function of the normal distribution, Phi(x) = erfc(-x / sqrt(2)) / 2.

    >>> from pullback.scipy import special
    >>> print(special.ndtr(0.))
    0.5
    """
    return _normal_below(x)


def _normal_below(x: Array) -> Array:
    return e.mul_p.bind(scalar(x, 0.5), s.erfc_p.bind(e.mul_p.bind(scalar(x, -np.sqrt(0.5)), x)))


@elementwise(NEVER_WEAK_FLOAT)
def ndtri(p: Operand) -> Array:
    """The inverse of `ndtr` on (0, 1), accurate down to the smallest numbers: infinite at the ends, nan outside.

    Wichura, "Algorithm AS 241" (1988).

    >>> from pullback.scipy import special
    >>> print(special.ndtri(0.5), special.ndtri(1e-30).round(3))
    0.0 -11.464
    """
    return _normal_quantile.normal_quantile(p)


@boundary
def log_ndtr(x: ArrayLike, series_order: int = 3) -> Array:
    """`log(ndtr(x))`, accurate far below 0 and far above, and so are its derivatives.

    `x`: real numbers, any shape. `series_order`: accepted, and changes nothing: there is no series. TypeError for other
    dtypes.

    >>> from pullback.scipy import special
    >>> print(special.log_ndtr(-100.))
    -5005.5244
    """
    return _log_ndtr(x)


_log_ndtr = _function("log_ndtr", normal_tail.log_ndtr_p, "`log_ndtr` by the primitive.", "0.", "-0.6931472")

# --- the gamma family ---

gammaln: UnaryFunction = _function(
    "gammaln",
    g.lgamma_p,
    "The logarithm of |gamma(x)|: inf at 0, -1, -2, ... Its derivative is `digamma`.",
    "1.",
    "0.0",
)
digamma: UnaryFunction = _function(
    "digamma", g.digamma_p, "The derivative of `gammaln` (DLMF 5.2.2): nan at 0, -1, -2, ...", "1.", "-0.5772157"
)
gammainc: _OfAAndX = _function_of_two(
    "gammainc",
    ig.igamma_p,
    "The regularized lower incomplete gamma function P(a, x) (DLMF 8.2.4).",
    "a x",
    "1., 0.",
    "0.0",
)
gammaincc: _OfAAndX = _function_of_two(
    "gammaincc",
    ig.igammac_p,
    "The regularized upper incomplete gamma function Q(a, x) (DLMF 8.2.4).",
    "a x",
    "1., 0.",
    "1.0",
)
polygamma: _OfNAndX = _function_of_two(
    "polygamma",
    zeta_ops.polygamma_p,
    "The derivative of whole order `n` of `digamma`: `polygamma(n, x)` (DLMF 5.15); differentiable in `x`.",
    "n x",
    "1, 1.",
    "1.644934",
)
_hurwitz_zeta = binary("zeta", zeta_ops.zeta_p, FLOAT, "")


@boundary
def zeta(x: ArrayLike, q: ArrayLike | None = None) -> Array:
    """The Hurwitz zeta function (DLMF 25.11.1), for `x` > 1; differentiable in both.

    The shapes broadcast, else ValueError; the dtypes are promoted to one: a real number or bools, else TypeError.
    NotImplementedError without `q`, which would be Riemann's function, for all `x`; above 1 that is `zeta(x, 1)`.

    >>> from pullback.scipy import special
    >>> print(special.zeta(2., 1.))
    1.644934
    """
    if q is None:
        raise NotImplementedError(
            "zeta: Riemann's zeta function, of one argument, is not implemented. Above 1 it is zeta(x, 1)"
        )
    return _hurwitz_zeta(x, q)


@elementwise(NEVER_WEAK_FLOAT)
def gamma(x: Array) -> Array:
    """The gamma function (DLMF 5.2.1); nan at the negative integers.

    >>> from pullback.scipy import special
    >>> print(special.gamma(3.))
    2.0
    """
    return g.gamma(x)


@elementwise(NEVER_WEAK_FLOAT)
def gammasgn(x: Array) -> Array:
    """The sign of the gamma function: nan at the negative integers.

    >>> from pullback.scipy import special
    >>> print(special.gammasgn(-0.5))
    -1.0
    """
    return g.gamma_sign(x)


@boundary
def factorial(n: ArrayLike, exact: bool = False) -> Array:
    """`n!` as gamma(n + 1), elementwise in floating point, 0 for negative `n`; any shape, real numbers or bools.

    NotImplementedError for `exact=True`: above 20 the value fits no integer that arrays have.

    >>> from pullback.scipy import special
    >>> print(special.factorial(3))
    6.0
    """
    if exact:
        raise NotImplementedError(
            "factorial: exact=True is not implemented, for no dtype holds what is above 20!; use "
            "math.factorial for Python integers"
        )
    return _factorial(n)


@elementwise(FLOAT)
def _factorial(n: Operand) -> Array:
    negative = c.lt_p.bind(n, scalar(n, 0))
    value = g.gamma_p.bind(e.add_p.bind(c.select_p.bind(negative, scalar(n, 0), n), scalar(n, 1)))
    return c.select_p.bind(negative, scalar(n, 0), value)


@elementwise(FLOAT)
def betaln(a: Operand, b: Operand) -> Array:
    """The logarithm of |beta(a, b)|, accurate for large and for small operands, and so are its derivatives.

    >>> from pullback.scipy import special
    >>> print(special.betaln(1., 1.))
    0.0
    """
    return beta_ops.log_beta_p.bind(a, b)


@elementwise(NEVER_WEAK_FLOAT)
def beta(a: Operand, b: Operand) -> Array:
    """The beta function `gamma(a) gamma(b) / gamma(a + b)` (DLMF 5.12.1).

    >>> from pullback.scipy import special
    >>> print(special.beta(1., 1.))
    1.0
    """
    sign = e.mul_p.bind(g.gamma_sign(a), e.mul_p.bind(g.gamma_sign(b), g.gamma_sign(e.add_p.bind(a, b))))
    return e.mul_p.bind(sign, beta_ops.beta_size_p.bind(a, b))


@elementwise(FLOAT)
def betainc(a: Operand, b: Operand, x: Operand) -> Array:
    """The regularized incomplete beta function I_x(a, b) on [0, 1] (DLMF 8.17.2), differentiable in all three.

    >>> from pullback.scipy import special
    >>> print(special.betainc(1., 1., 0.25))
    0.25
    """
    return beta_ops.regularized_incomplete_beta_p.bind(a, b, x)


@elementwise(NEVER_WEAK_FLOAT)
def poch(z: Operand, m: Operand) -> Array:
    """The rising factorial `gamma(z + m) / gamma(z)` (DLMF 5.2.5), and its limits where both are infinite.

    >>> from pullback.scipy import special
    >>> print(special.poch(1., 1.))
    1.0
    """
    return rising.poch_p.bind(z, m)


# --- Bessel functions ---

i0e: UnaryFunction = _function(
    "i0e", bessel.bessel_i0e_p, "`exp(-|x|) * i0(x)`: the modified Bessel function of order 0, scaled.", "0.", "1.0"
)
i1e: UnaryFunction = _function(
    "i1e", bessel.bessel_i1e_p, "`exp(-|x|) * i1(x)`: the modified Bessel function of order 1, scaled.", "0.", "0.0"
)


@elementwise(FLOAT)
def i0(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 0 (DLMF 10.25.2).

    >>> from pullback.scipy import special
    >>> print(special.i0(0.))
    1.0
    """
    return bessel.i0(x)


@elementwise(FLOAT)
def i1(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 1 (DLMF 10.25.2).

    >>> from pullback.scipy import special
    >>> print(special.i1(0.))
    0.0
    """
    return bessel.i1(x)


__all__ = [
    "bernoulli",
    "bessel_jn",
    "beta",
    "betainc",
    "betaln",
    "boxcox",
    "boxcox1p",
    "comb",
    "dawsn",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp1",
    "expi",
    "expit",
    "expn",
    "factorial",
    "fresnel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "hyp1f1",
    "hyp2f1",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "owens_t",
    "poch",
    "polygamma",
    "rel_entr",
    "sici",
    "softmax",
    "spence",
    "sph_harm_y",
    "wofz",
    "xlog1py",
    "xlogy",
    "zeta",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
