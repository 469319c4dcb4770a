"""Modified Bessel functions of the first kind, times exp(-|x|)."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, mul, scalar, sub
from pullback._ops.expressions import Expr, written
from pullback._ops.families import FLOAT, function_of_one, scipy_kernel, unary
from pullback._ops.trig import side_p, sign

# --- i0e by Chebyshev series in x on [0, 8], in 1/x beyond ---

_I0E_NEAR = (
    0.33839763720473798, -0.3046826723431984, 0.1716209015222088, -0.094901097048047625, 0.049305284239670684,
    -0.023737414805899384, 0.010546460394594847, -0.0043243099950503868, 0.0016394756169410116,
    -0.0005763755745382675, 0.00018850288509533351, -5.7541950100422555e-05, 1.6448448070191236e-05,
    -4.4167383580464462e-06, 1.117387538609678e-06, -2.6707938496925342e-07, 6.0469949598634512e-08,
    -1.3000249714761376e-08, 2.6598232275528794e-09, -5.1897924965162344e-10, 9.6757750382949265e-11,
    -1.7267912178012294e-11, 2.9545227447147369e-12, -4.8521012034915669e-13, 7.6109593377473409e-14,
)
_I0E_FAR = (
    0.40224520550705439, 0.0033691164782556774, 6.889758346920645e-05, 2.8913705208295178e-06,
    2.0489185894659716e-07, 2.2666689906534839e-08, 3.3962319538502426e-09, 4.9406024374771225e-10,
    1.1888929512209933e-11, -3.1499169333522331e-11, -1.321622713349914e-11, -1.7941850726000468e-12,
    7.1765454122508144e-13, 3.8526958783153428e-13, 1.5065467276165392e-14, -4.1512711194349846e-14,
    -1.0078335812878966e-14, 3.7970519489893557e-15,
)


def _chebyshev(t: Expr, coefficients: Sequence[float]) -> Expr:
    """The sum of c_k T_k(t), by Clenshaw's recurrence."""
    after, last = t * 0.0, t * 0.0
    for coefficient in reversed(coefficients[1:]):
        after, last = t * 2.0 * after - last + coefficient, after
    return t * after - last + coefficients[0]


@written
def _i0e_lower(x):
    size = x.abs()
    near = size.is_("LE", 8.0)
    inner, outer = near.choose(size, 8.0), near.choose(8.0, size)
    far = _chebyshev(16.0 / outer - 1.0, _I0E_FAR) * outer.op("stablehlo.rsqrt")
    return near.choose(_chebyshev(inner * 0.25 - 1.0, _I0E_NEAR), far)


def _i1e_tangent(t, y, x):
    # i0e - i1e (sign x + 1/x), whose limit at 0 is 1/2
    zero = c.eq(x, scalar(x, 0))
    safe = c.select(zero, scalar(x, 1), x)
    slope = sub(bessel_i0e(safe), mul(bessel_i1e(safe), add(sign(safe), div(scalar(x, 1), safe))))
    return mul(t, c.select(zero, scalar(x, 0.5), slope))


bessel_i0e_p = unary("bessel_i0e", scipy_kernel("i0e"), _i0e_lower,
                     lambda t, x, y: mul(t, sub(bessel_i1e(x), mul(side_p.bind(x), y))), FLOAT)
bessel_i1e_p = unary("bessel_i1e", scipy_kernel("i1e"), "chlo.bessel_i1e",
                     lambda t, x, y: _i1e_tangent(t, y, x), FLOAT)

bessel_i0e = function_of_one(__name__, bessel_i0e_p,
    "exp(-|x|) I0(x), the scaled modified Bessel function of order 0 (DLMF 10.25).", "0.", "1.0")
bessel_i1e: Callable[[Any], Array] = function_of_one(__name__, bessel_i1e_p,
    "exp(-|x|) I1(x), the scaled modified Bessel function of order 1 (DLMF 10.25).", "0.", "0.0")
