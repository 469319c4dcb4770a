"""The quantile function of the normal distribution, accurate to the rounding error down to the smallest probabilities.

Rational approximations of Wichura, "Algorithm AS 241: The percentage points of the normal distribution" (1988), each
given from the constant term on. The derivative is that of the function itself, and as accurate.
"""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback._ops.quantile_slope import quantile_slope_p
from pullback.custom_derivatives import custom_jvp

# |p - 1/2| <= 0.425, in 0.425**2 - (p - 1/2)**2
_CENTER = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
# r = sqrt(-log(min(p, 1 - p))) <= 5, in r - 1.6
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
# r > 5, in r - 5
_FAR = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def _ratio(x: Array, coefficients: tuple[tuple[float, ...], ...]) -> Array:
    parts = []
    for terms in coefficients:
        value = pnp.full_like(x, terms[-1])
        for term in terms[-2::-1]:
            value = value * x + term
        parts.append(value)
    return parts[0] / parts[1]


@custom_jvp
def normal_quantile(p: Array) -> Array:
    """The x with `ndtr(x) == p`, for a floating array: infinite at 0 and 1, nan outside of [0, 1]."""
    if p.dtype.itemsize < 4:
        return normal_quantile(p.astype(np.float32)).astype(p.dtype)
    distance = p - 0.5
    center = distance * _ratio(0.180625 - distance * distance, _CENTER)
    rest = pnp.minimum(p, 1 - p)
    r = pnp.sqrt(-pnp.log(pnp.where(rest > 0, rest, 0.5)))
    tail = pnp.where(r <= 5, _ratio(r - 1.6, _TAIL), _ratio(r - 5, _FAR))
    tail = pnp.where(rest >= 0, pnp.where(rest == 0, np.inf, tail), np.nan)
    return pnp.where(abs(distance) <= 0.425, center, pnp.where(distance < 0, -tail, tail))


@normal_quantile.defjvp
def _(primals, tangents):
    x = normal_quantile(primals[0])
    return x, tangents[0] * quantile_slope_p.bind(primals[0], x)
