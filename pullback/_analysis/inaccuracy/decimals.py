"""Shadows of fifty digits and of any exponent, for programs in double precision, by Python's module `decimal`.

NumPy's functions take arrays of objects and call the methods of their entries, so that most kernels run on a `Number`
as they are. A kernel that needs more of its operands, as those of special functions and decompositions do, is followed
to first order: the kernel at the nearest double, and its derivative times the rest.
"""

from __future__ import annotations

import decimal
import functools
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from pullback._analysis.inaccuracy.shadows import NOISE
from pullback._core import dtypes
from pullback._core.errors import RuleNotDefinedError
from pullback._core.primitive import Primitive

DIGITS = 50
# beyond this exponent the multiple of pi in an angle is not looked for
_FAR = 2000


def _context(digits: int) -> decimal.Context:
    return decimal.Context(
        prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, rounding=decimal.ROUND_HALF_EVEN, traps=[]
    )


_here = _context(DIGITS)
_more = _context(DIGITS + 15)
_add, _subtract, _multiply, _divide = _here.add, _here.subtract, _here.multiply, _here.divide
_NAN, _ONE, _HALF = Decimal("nan"), Decimal(1), Decimal("0.5")


class Number:
    """A number of fifty digits, with the methods that NumPy's functions call."""

    __slots__ = ("value",)
    value: Decimal

    def __init__(self, value: Decimal):
        self.value = value

    def __add__(self, other: Any) -> Number:
        return Number(_add(self.value, _decimal(other)))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Number:
        return Number(_subtract(self.value, _decimal(other)))

    def __rsub__(self, other: Any) -> Number:
        return Number(_subtract(_decimal(other), self.value))

    def __mul__(self, other: Any) -> Number:
        return Number(_multiply(self.value, _decimal(other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Number:
        return Number(_divide(self.value, _decimal(other)))

    def __rtruediv__(self, other: Any) -> Number:
        return Number(_divide(_decimal(other), self.value))

    def __pow__(self, other: Any) -> Number:
        x, y = self.value, _decimal(other)
        return Number(_ONE if not y else _here.power(x, y))

    def __rpow__(self, other: Any) -> Number:
        return Number(_decimal(other)) ** self

    def __neg__(self) -> Number:
        return Number(self.value.copy_negate())

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return Number(self.value.copy_abs())

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == _decimal(other)

    def __lt__(self, other: Any) -> bool:
        return _here.compare(self.value, _decimal(other)) == -1

    def __le__(self, other: Any) -> bool:
        return _here.compare(self.value, _decimal(other)) in (-1, 0)

    def __gt__(self, other: Any) -> bool:
        return _here.compare(self.value, _decimal(other)) == 1

    def __ge__(self, other: Any) -> bool:
        return _here.compare(self.value, _decimal(other)) in (1, 0)

    def __format__(self, spec: str) -> str:
        return format(float(self.value), spec)

    def is_finite(self) -> bool:
        return self.value.is_finite()

    # --- what NumPy's functions call ---

    def conjugate(self) -> Number:
        return self

    def sqrt(self) -> Number:
        return Number(_here.sqrt(self.value))

    def exp(self) -> Number:
        return Number(_here.exp(self.value))

    def log(self) -> Number:
        return Number(_here.ln(self.value))

    def log2(self) -> Number:
        return Number(_divide(_here.ln(self.value), _here.ln(Decimal(2))))

    def log10(self) -> Number:
        return Number(_here.log10(self.value))

    def exp2(self) -> Number:
        return Number(_here.power(Decimal(2), self.value))

    def expm1(self) -> Number:
        x = self.value
        if _below(x, "1e-9"):
            return Number(_series(x, lambda term, n: _divide(_multiply(term, x), Decimal(n + 1))))
        return Number(_more.subtract(_more.exp(x), _ONE))

    def log1p(self) -> Number:
        x = self.value
        if _below(x, "1e-9"):
            minus = x.copy_negate()
            return Number(
                _series(x, lambda term, n: _divide(_multiply(_multiply(term, minus), Decimal(n)), Decimal(n + 1)))
            )
        return Number(_more.ln(_more.add(_ONE, x)))

    def sinh(self) -> Number:
        if not _below(self.value, "1"):
            return (self.exp() - (-self).exp()) * _HALF
        e = self.expm1()
        return (e + e / (e + 1)) * _HALF

    def cosh(self) -> Number:
        return (self.exp() + (-self).exp()) * _HALF

    def tanh(self) -> Number:
        if not _below(self.value, "1000") and not self.value.is_nan():
            return Number(_ONE.copy_sign(self.value))
        e = (self * 2).expm1()
        return e / (e + 2)

    def sin(self) -> Number:
        return Number(_circular(self.value, 0))

    def cos(self) -> Number:
        return Number(_circular(self.value, 1))

    def tan(self) -> Number:
        return self.sin() / self.cos()

    def arctan(self) -> Number:
        return Number(_arctan(self.value))

    def arcsin(self) -> Number:
        return (self / ((1 - self) * (1 + self)).sqrt()).arctan()

    def arccos(self) -> Number:
        return 2 * (((1 - self) / (1 + self)).sqrt()).arctan()


def _decimal(x: Any) -> Decimal:
    if type(x) is Number:
        return x.value
    if type(x) is Decimal:
        return x
    return Decimal(x) if type(x) in (int, float, bool) else _decimal(x.item())


def _below(x: Decimal, bound: str) -> bool:
    """Whether the magnitude of a number is below a bound; of none it is not."""
    return _here.compare(x.copy_abs(), Decimal(bound)) == -1


def _series(term: Decimal, following: Callable[[Decimal, int], Decimal]) -> Decimal:
    """The sum of a series, to the last digit."""
    total, n = term, 1
    while term:
        term = following(term, n)
        new = _add(total, term)
        if new == total:
            break
        total, n = new, n + 1
    return total


@functools.cache
def _pi(digits: int) -> Decimal:
    """pi to so many digits, by the iteration of Gauss and Legendre."""
    with decimal.localcontext(_context(digits + 10)):
        a, b, t, p = _ONE, _ONE / Decimal(2).sqrt(), Decimal("0.25"), _ONE
        for _ in range(digits.bit_length() + 2):
            mean = (a + b) / 2
            b, t, a, p = (a * b).sqrt(), t - p * (a - mean) ** 2, mean, 2 * p
        return (a + b) ** 2 / (4 * t)


def _circular(x: Decimal, quarters: int) -> Decimal:
    """The sine of x, advanced by quarters of a turn."""
    if not x.is_finite() or x.adjusted() > _FAR:
        return _NAN
    digits = DIGITS + 20 + max(0, x.adjusted())
    context = _context(digits)
    half = context.divide(_pi(100 * (digits // 100 + 1)), Decimal(2))
    turns = context.divide(x, half).to_integral_value(decimal.ROUND_HALF_EVEN)
    # exact in so many digits, but for the multiple of pi
    r = _more.plus(context.subtract(x, context.multiply(turns, half)))
    quarter = (int(context.remainder(turns, Decimal(4))) + quarters) % 4
    square = _more.multiply(r, r).copy_negate()
    odd = quarter % 2

    def following(term: Decimal, n: int) -> Decimal:
        k = 2 * n - odd
        return _more.divide(_more.multiply(term, square), Decimal(k * (k + 1)))

    total = _series(_ONE if odd else r, following)
    return total.copy_negate() if quarter >= 2 else total


def _arctan(x: Decimal) -> Decimal:
    if x.is_nan():
        return x
    if not _below(x, "1.5"):
        rest = _arctan(_more.divide(_ONE, x))
        return _more.subtract(_more.divide(_pi(100), Decimal(2)).copy_sign(x), rest)
    doublings = 0
    while not _below(x, "0.05"):
        x = _more.divide(x, _more.add(_ONE, _more.sqrt(_more.add(_ONE, _more.multiply(x, x)))))
        doublings += 1
    square = _more.multiply(x, x).copy_negate()
    power = x
    total, n = x, 1
    while power:
        power = _more.multiply(power, square)
        new = _more.add(total, _more.divide(power, Decimal(2 * n + 1)))
        if new == total:
            break
        total, n = new, n + 1
    return _more.multiply(total, Decimal(2**doublings))


_lift: Callable[[Any], Any] = np.frompyfunc(lambda x: x if type(x) is Number else Number(_decimal(x)), 1, 1)


class Decimals:
    """Shadows of fifty digits: the arithmetic of a `Ledger`.

    `followed(primitive, doubles, rests, params)` gives the results of an operation at doubles and their first
    derivatives along the rests, each a list of arrays.
    """

    number = Number
    unit = 10.0**-DIGITS

    def __init__(self, followed: Callable[..., tuple[Sequence[Any], Sequence[Any]]]):
        self.followed = followed

    def lifted(self, value: Any) -> Any:
        """A value of the program in higher precision; integers, bools and complex numbers stay as they are."""
        if not dtypes.is_float(value.dtype):
            return value
        return np.asarray(_lift(np.asarray(value, np.float64).astype(object)), object)

    def evaluated(self, primitive: Primitive, values: Sequence[Any], params: dict[str, Any]) -> Sequence[Any] | None:
        """The results of an operation in higher precision; None if there are none."""
        if primitive.name == "convert_element_type" and values[0].dtype == object and dtypes.is_float(params["dtype"]):
            return values
        if primitive.kernel is not None:
            try:
                out = primitive.kernel(*values, **params)
                outs = [np.asarray(x) for x in (out if primitive.multiple_results else (out,))]
                if all(x.dtype in (object, bool) for x in outs):
                    return [np.asarray(_lift(x), object) if x.dtype == object else x for x in outs]
            except Exception:  # a kernel that needs more than numbers
                pass
        try:
            return self._followed(primitive, values, params)
        except RuleNotDefinedError:  # it has no derivative
            return None

    def _followed(self, primitive: Primitive, values: Sequence[Any], params: dict[str, Any]) -> Sequence[Any]:
        doubles = [x.astype(np.float64) if x.dtype == object else x for x in values]
        rests = [
            np.asarray(x - y).astype(np.float64) if x.dtype == object else None
            for x, y in zip(values, doubles, strict=True)
        ]
        outs, slopes = self.followed(primitive, doubles, rests, params)
        return [
            np.asarray(self.lifted(out) + self.lifted(np.asarray(slope, np.float64)), object)
            if dtypes.is_float(out.dtype)
            else out
            for out, slope in zip(outs, slopes, strict=True)
        ]

    def disturbed(self, value: Any, salt: int) -> Any:
        """A value with an error in its last places."""
        if value.dtype != object:
            return value
        return np.asarray(value * Number(_add(_ONE, Decimal(NOISE + abs(salt) % 1021).scaleb(-DIGITS))), object)
