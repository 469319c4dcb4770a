"""The inverse error function in float32: in NumPy with the polynomials of XLA, so that eager and compiled normal
numbers agree, and so that the first eager one does not have to wait for SciPy to load.
"""

from __future__ import annotations

import numpy as np

from pullback._ops.expressions import polynomial, written

# M. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2011): polynomials in w = -log(1 - x**2), for
# w < 5 in w - 2.5, from there on in sqrt(w) - 3; times x
_CENTER = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _polynomial(coefficients: tuple[float, ...], w: np.ndarray) -> np.ndarray:
    value = np.full_like(w, coefficients[0])
    for c in coefficients[1:]:
        value *= w
        value += np.float32(c)
    return value


def erf_inv_kernel(x: np.ndarray | np.generic) -> np.ndarray:
    """erf_inv of floats of any width; float64 by SciPy."""
    if x.dtype.itemsize > 4:
        from scipy import special

        return special.erfinv(x)
    x = np.asarray(x, np.float32)
    w = -np.log1p(-x * x)
    value = _polynomial(_CENTER, w - np.float32(2.5))
    far = w >= 5
    if far.any():
        value = np.where(far, _polynomial(_TAIL, np.sqrt(w) - np.float32(3)), value)
    return np.where(np.abs(x) == 1, x * np.float32(np.inf), value * x)


@written
def erf_inv_large(x):
    """The same, by one logarithm of the product: XLA's takes log1p(-x**2), half as fast and no better here."""
    w = -((1 - x) * (x + 1)).log()
    center, tail = polynomial(w - 2.5, _CENTER[::-1]), polynomial(w.sqrt() - 3, _TAIL[::-1])
    return x.abs().is_("EQ", 1).choose(x * np.inf, w.is_("LT", 5).choose(center, tail) * x)
