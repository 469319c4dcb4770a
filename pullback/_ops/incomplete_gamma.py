"""The regularized incomplete gamma functions, their logarithms, and the density whose integrals they are.

All are differentiable to every order in both arguments. The derivatives by the order a are separate primitives,
with a parameter `order`, so that none is computed by a difference; their formulas are in `incomplete_gamma_formulas`.
The kernels of the two functions are SciPy's where it is accurate, run in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._ops import gamma_hazard as hazards
from pullback._ops import incomplete_gamma_formulas as formulas
from pullback._ops.elementwise import add, div, log, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, Host
from pullback._ops.families import FLOAT, elementwise, operands, scipy_kernel
from pullback._ops.quotients import fraction
from pullback._ops.rules import per_operand_jvp
from pullback._ops.zeta import polygamma


def _primitive(
    name: str, body: Callable, by_order: Callable | None, by_x: Callable | None, kernel: Callable | None = None
) -> Primitive:
    """A function of a and x whose formula takes the required digits, computed in float64."""

    def on_host(a, x, **params):
        digits = formulas.DOUBLE if a.dtype.itemsize == 8 else formulas.SINGLE
        a, x = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(x, np.float64))
        return body(Host(a), Host(x), digits, **params).value

    def lower(ctx, a, x, **params):
        dtype = a.aval.dtype
        digits = formulas.DOUBLE if dtype.itemsize == 8 else formulas.SINGLE
        wide = [Expr(ctx, ctx.convert(v, np.dtype(np.float64))) for v in (a, x)]
        return ctx.convert(body(*wide, digits, **params).value, dtype)

    p = elementwise(name, kernel or on_host, lower, FLOAT)
    if by_order is not None and by_x is not None:
        per_operand_jvp(
            p,
            add,
            lambda t, y, a, x, **params: mul(t, by_order(y, a, x, **params)),
            lambda t, y, a, x, **params: mul(t, by_x(y, a, x, **params)),
        )
    return p


def _total(terms: list[Array]) -> Array:
    total = terms[0]
    for term in terms[1:]:
        total = add(total, term)
    return total


# --- the density x^(a-1) exp(-x) / gamma(a), the derivative of P(a, x) by x ---


def _log_slope(a: Array, x: Array) -> Array:
    """The derivative by x of the logarithm of the density, (a - 1) / x - 1: -1 for a = 1 down to x = 0."""
    return sub(fraction(sub(a, scalar(a, 1)), x), scalar(x, 1))


def _of_derivative_by_x(y, a, x, order):
    """f'' = f h / x with h = ((a - 1 - x)**2 - (a - 1)) / x; its derivative by a is by Leibniz' rule."""
    if not order:
        return gamma_density_twice_by_x_p.bind(a, x)
    less = sub(sub(a, scalar(a, 1)), x)
    terms = [mul(gamma_density_p.bind(a, x, order=order), sub(mul(less, div(less, x)), div(add(less, x), x)))]
    slope = div(sub(mul(scalar(a, 2), less), scalar(a, 1)), x)
    terms.append(mul(mul(scalar(a, order), gamma_density_p.bind(a, x, order=order - 1)), slope))
    if order > 1:
        terms.append(div(mul(scalar(a, order * (order - 1)), gamma_density_p.bind(a, x, order=order - 2)), x))
    return div(_total(terms), x)


def _third_by_x(y, a, x):
    """The derivative by x of f'', which is f'' g + 2 f' g' + f g'' with g = (a - 1) / x - 1."""
    before = div(div(sub(a, scalar(a, 1)), x), x)
    terms = [
        mul(y, _log_slope(a, x)),
        neg(mul(scalar(a, 2), mul(gamma_density_by_x_p.bind(a, x, order=0), before))),
        mul(scalar(a, 2), div(mul(gamma_density_p.bind(a, x, order=0), before), x)),
    ]
    return _total(terms)


gamma_density_twice_by_x_p: Primitive = _primitive(
    "gamma_density_twice_by_x",
    formulas.density_twice_by_x,
    lambda y, a, x: _of_derivative_by_x(y, a, x, 1),
    _third_by_x,
)
gamma_density_by_x_p: Primitive = _primitive(
    "gamma_density_by_x",
    formulas.density_by_x,
    lambda y, a, x, order: gamma_density_by_x_p.bind(a, x, order=order + 1),
    _of_derivative_by_x,
)
gamma_density_p: Primitive = _primitive(
    "gamma_density",
    formulas.density,
    lambda y, a, x, order: gamma_density_p.bind(a, x, order=order + 1),
    lambda y, a, x, order: gamma_density_by_x_p.bind(a, x, order=order),
)
log_gamma_density_p: Primitive = _primitive(
    "log_gamma_density",
    formulas.log_density,
    lambda y, a, x: log_minus_digamma_p.bind(a, x),
    lambda y, a, x: _log_slope(a, x),
)
log_minus_digamma_p: Primitive = _primitive(
    "log_minus_digamma",
    formulas.log_slope_by_order,
    lambda y, a, x: neg(polygamma(scalar(a, 1), a)),
    lambda y, a, x: div(scalar(x, 1), x),
)


def gamma_density(a: Array, x: Array) -> Array:
    """`x**(a - 1) exp(-x) / gamma(a)`."""
    return gamma_density_p.bind(a, x, order=0)


def log_gamma_density(a: Array, x: Array) -> Array:
    """`(a - 1) log(x) - x - lgamma(a)` for a > 0 and x > 0, without cancellation."""
    return log_gamma_density_p.bind(a, x)


# --- P and Q ---


def _kernel(name: str, upper: bool) -> Callable:
    run = scipy_kernel(name, np.float64)

    def kernel(a, x):
        value = run(a, x)
        # SciPy's series end too early in the tails of large orders, and its fractions lose digits at tiny ones
        other = (a > 150) | (a < 1e-3)
        if a.dtype.itemsize == 8:
            other = other | (a > 0.45) & (a < 0.6)  # its series for log(gamma(1 + a)), too
        if not other.any():
            return value
        worse = (a < 1e-3) | (a < 0.6) & (x < 1.1) | (abs(x - a) > 4 * np.sqrt(abs(a)))
        far = other & worse & (x > 0) & (x < np.inf) & (a < np.inf)
        if np.any(far):
            a, x, far = np.broadcast_arrays(a, x, far)
            digits = formulas.DOUBLE if a.dtype.itemsize == 8 else formulas.SINGLE
            some, there = (Host(v[far].astype(np.float64)) for v in (a, x))
            value = np.array(value)
            value[far] = formulas.probability(some, there, digits, upper).value
        return value

    return kernel


def _derivative(a: Array, x: Array, order: int) -> Array:
    return igamma_derivative_p.bind(a, x, order=order)


igamma_derivative_p: Primitive = _primitive(
    "igamma_derivative",
    formulas.derivative,
    lambda y, a, x, order: _derivative(a, x, order + 1),
    lambda y, a, x, order: gamma_density_p.bind(a, x, order=order),
)
igamma_p: Primitive = _primitive(
    "igamma",
    lambda a, x, digits: formulas.probability(a, x, digits, False),
    lambda y, a, x: _derivative(a, x, 1),
    lambda y, a, x: gamma_density(a, x),
    _kernel("gammainc", False),
)
igammac_p: Primitive = _primitive(
    "igammac",
    lambda a, x, digits: formulas.probability(a, x, digits, True),
    lambda y, a, x: neg(_derivative(a, x, 1)),
    lambda y, a, x: neg(gamma_density(a, x)),
    _kernel("gammaincc", True),
)


def igamma(a: ArrayLike, x: ArrayLike) -> Array:
    """The regularized lower incomplete gamma function P(a, x) for a >= 0 and x >= 0, else nan, elementwise.

    Floats of one dtype, of shapes that broadcast; TypeError for others. It is differentiable in both, to every order.
    Source: DLMF 8.2; compiled, by quadrature or the series 8.7.1.

    >>> from pullback import lax
    >>> print(f"{lax.igamma(1., 1.):.4f}")
    0.6321
    """
    return igamma_p.bind(*operands("igamma", a, x))


def igammac(a: ArrayLike, x: ArrayLike) -> Array:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x), accurate where it is small; see `igamma`.

    TypeError for operands that are not floats of one dtype.

    >>> from pullback import lax
    >>> print(f"{lax.igammac(1., 1.):.4f}")
    0.3679
    """
    return igammac_p.bind(*operands("igammac", a, x))


# --- their logarithms, whose derivatives by x are the density over P, or Q: the hazard h ---


def _log_by_x(y, a, x, upper, order):
    hazard = hazard_p.bind(a, x, upper=upper, order=order)
    return neg(hazard) if upper else hazard


def _hazard_by_x(y, a, x, upper, order):
    """The derivative by x is h ((a - 1) / x - 1 - h), with + h for Q; this is its derivative by a, by Leibniz' rule."""
    if not order:
        return hazard_by_x_p.bind(a, x, upper=upper)
    return _hazard_slope(y, a, x, upper, order)


def _hazard_slope(y, a, x, upper, order):
    hazards = [hazard_p.bind(a, x, upper=upper, order=k) for k in range(order)] + [y]
    factors = [h if upper else neg(h) for h in hazards]
    factors[0] = add(factors[0], _log_slope(a, x))
    if order:
        factors[1] = add(factors[1], div(scalar(x, 1), x))
    return _total([mul(scalar(x, comb(order, k)), mul(hazards[k], factors[order - k])) for k in range(order + 1)])


def _hazard_twice_by_x(y, a, x, upper):
    h = hazard_p.bind(a, x, upper=upper, order=0)
    signed, bend = (h, y) if upper else (neg(h), neg(y))
    bend = sub(bend, div(div(sub(a, scalar(a, 1)), x), x))
    return add(mul(y, add(_log_slope(a, x), signed)), mul(h, bend))


hazard_by_x_p: Primitive = _primitive(
    "gamma_hazard_by_x",
    hazards.hazard_by_x,
    lambda y, a, x, upper: _hazard_slope(hazard_p.bind(a, x, upper=upper, order=1), a, x, upper, 1),
    _hazard_twice_by_x,
)
hazard_p: Primitive = _primitive(
    "gamma_hazard",
    hazards.hazard,
    lambda y, a, x, upper, order: hazard_p.bind(a, x, upper=upper, order=order + 1),
    _hazard_by_x,
)
log_igamma_p: Primitive = _primitive(
    "log_igamma",
    formulas.log_probability,
    lambda y, a, x, upper, order: log_igamma_p.bind(a, x, upper=upper, order=order + 1),
    _log_by_x,
)


def log_igamma(a: Array, x: Array, upper: bool = False) -> Array:
    """The logarithm of P(a, x), or of Q(a, x) if `upper`: finite where they vanish."""
    return log_igamma_p.bind(a, x, upper=upper, order=0)


# --- gamma samples as functions of their parameter; this derivative has no derivative ---

gamma_log_derivative_p = _primitive("gamma_log_derivative", formulas.quantile_slope, None, None)


def gamma_log_derivative(a: Array, log_x: Array) -> Array:
    """d(log z)/da of a gamma sample z of parameter `a` whose logarithm is `log_x`: arrays of one dtype."""
    return gamma_log_derivative_p.bind(a, log_x)


# --- derivatives as functions ---


def igamma_grad_a(a: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of `igamma(a, x)` by `a`, elementwise. Floats of one dtype; TypeError for others.

    >>> from pullback import lax
    >>> print(f"{lax.igamma_grad_a(1., 1.):.4f}")
    -0.4317
    """
    a, x = operands("igamma_grad_a", a, x)
    return _derivative(a, x, 1)


def random_gamma_grad(a: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of a gamma sample `x` by its parameter `a`, at fixed probability; floats of one dtype.

    TypeError for others. Source: Figurnov, Mohamed and Mnih, Implicit reparameterization gradients (2018).

    >>> from pullback import lax
    >>> print(f"{lax.random_gamma_grad(1., 1.):.4f}")
    1.1736
    """
    a, x = operands("random_gamma_grad", a, x)
    return mul(x, gamma_log_derivative(a, log(x)))
