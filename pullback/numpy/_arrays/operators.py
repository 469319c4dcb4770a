"""The operators of arrays, such as `x + y` and `x[...]`, installed on `Array` for concrete and traced arrays alike.

An operand of a foreign type gets its turn (`NotImplemented`), though it may export `__array__`: a labelled array or a
quantity with a unit loses neither. Python's containers are refused with a hint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike, ConcreteArray, lift
from pullback._core.array_interface import own_conversion
from pullback._core.config import config, process_promotion
from pullback._core.errors import fold
from pullback._core.trace import context
from pullback.numpy._elementwise import arithmetic, logic, rounding
from pullback.numpy._elementwise.promotion import PYTHON_SCALARS, Binary
from pullback.numpy._products import contractions

_CONTAINERS = (list, tuple, dict, set, frozenset)
_NUMBERS = (np.generic, bool, int, float, complex)


def _is_foreign(other: ArrayLike) -> bool:
    """Return whether an operand has its own operators, to be called instead; an ndarray subclass declares this by its
    __array_ufunc__.
    """
    if isinstance(other, np.ndarray):
        return type(other).__array_ufunc__ is not np.ndarray.__array_ufunc__
    return not (isinstance(other, (Array, *_NUMBERS)) or own_conversion(other) is not None)


def _other(other: ArrayLike, symbol: str) -> Array | None:
    """The other operand as an array, None where it is foreign."""
    if isinstance(other, _CONTAINERS):
        raise TypeError(
            f"unsupported operand types for {symbol}: an array and a {type(other).__name__}. Make an array "
            "of it first: pullback.numpy.asarray(...)."
        )
    return None if _is_foreign(other) else lift(other)


def _forward(ufunc: Binary, symbol: str) -> Callable:
    """`self <symbol> other` by the primitive of a NumPy function."""
    plans = ufunc.plans

    def operator(self, other):
        b: Any
        try:
            if isinstance(other, Array):
                b = other.aval
            elif (b := type(other)) not in PYTHON_SCALARS:
                other = _other(other, symbol)
                if other is None:
                    return NotImplemented
                b = other.aval
            key = (self.aval, b, process_promotion[0] or config.promotion)
            op, to_x, to_y, mixed, evaluate = plans.get(key) or ufunc.plan(key)
            x = self if to_x is None else to_x(self)
            y = other if to_y is None else to_y(other)
            if mixed:
                ufunc.check_ranks(key)
            trace = context.trace
            if trace.transparent and type(x) is ConcreteArray and type(y) is ConcreteArray:
                return evaluate(x, y)
            return trace.process_primitive(op, (x, y), {})
        except Exception as error:
            fold(error)
            raise

    return operator


def _reflected(ufunc: Binary, symbol: str) -> Callable:
    """`other <symbol> self`."""
    plans = ufunc.plans

    def operator(self, other):
        a: Any
        try:
            if (a := type(other)) not in PYTHON_SCALARS:
                other = _other(other, symbol)
                if other is None:
                    return NotImplemented
                a = other.aval
            key = (a, self.aval, process_promotion[0] or config.promotion)
            op, to_x, to_y, mixed, evaluate = plans.get(key) or ufunc.plan(key)
            x = other if to_x is None else to_x(other)
            y = self if to_y is None else to_y(self)
            if mixed:
                ufunc.check_ranks(key)
            trace = context.trace
            if trace.transparent and type(x) is ConcreteArray and type(y) is ConcreteArray:
                return evaluate(x, y)
            return trace.process_primitive(op, (x, y), {})
        except Exception as error:
            fold(error)
            raise

    return operator


def _calls(function: Callable, symbol: str) -> tuple[Callable, Callable]:
    """Both operators of a NumPy function that is not a single primitive; a Python integer is passed unchanged."""

    def forward(self, other):
        try:
            if not isinstance(other, Array) and type(other) not in PYTHON_SCALARS:
                if _other(other, symbol) is None:
                    return NotImplemented
            return function(self, other)
        except Exception as error:
            fold(error)
            raise

    def reflected(self, other):
        try:
            if not isinstance(other, Array) and type(other) not in PYTHON_SCALARS:
                if _other(other, symbol) is None:
                    return NotImplemented
            return function(other, self)
        except Exception as error:
            fold(error)
            raise

    return forward, reflected


def _round(self, ndigits=None):
    rounded = rounding.round(self, 0 if ndigits is None else ndigits)
    return rounded if ndigits is not None else rounding.to_integers(rounded)


_PRIMITIVE: dict[str, tuple[Any, str]] = {
    "add": (arithmetic.add, "+"),
    "sub": (arithmetic.subtract, "-"),
    "mul": (arithmetic.multiply, "*"),
    "truediv": (arithmetic.divide, "/"),
    "and": (logic.bitwise_and, "&"),
    "or": (logic.bitwise_or, "|"),
    "xor": (logic.bitwise_xor, "^"),
    "lshift": (logic.left_shift, "<<"),
}
_COMPARISONS: dict[str, tuple[Any, str]] = {
    "eq": (logic.equal, "=="),
    "ne": (logic.not_equal, "!="),
    "lt": (logic.less, "<"),
    "le": (logic.less_equal, "<="),
    "gt": (logic.greater, ">"),
    "ge": (logic.greater_equal, ">="),
}
_COMPOSITE: dict[str, tuple[Any, str]] = {
    "pow": (arithmetic.power, "**"),
    "floordiv": (arithmetic.floor_divide, "//"),
    "mod": (arithmetic.remainder, "%"),
    "divmod": (arithmetic.divmod, "divmod"),
    "rshift": (logic.right_shift, ">>"),
    "matmul": (contractions.matmul, "@"),
}
_UNARY: dict[str, Callable[..., Array]] = {
    "neg": arithmetic.negative,
    "pos": arithmetic.positive,
    "abs": arithmetic.absolute,
    "invert": logic.invert,
}


def _install(name: str, operator: Callable) -> None:
    operator.__name__ = f"__{name}__"
    operator.__qualname__ = f"Array.__{name}__"
    setattr(Array, f"__{name}__", operator)


def install() -> None:
    """Give `Array` its operators."""
    for name, (function, symbol) in _PRIMITIVE.items():
        _install(name, _forward(function.ufunc, symbol))
        _install(f"r{name}", _reflected(function.ufunc, symbol))
    for name, (function, symbol) in _COMPARISONS.items():
        _install(name, _forward(function.ufunc, symbol))
    for name, (function, symbol) in _COMPOSITE.items():
        forward, reflected = _calls(function, symbol)
        _install(name, forward)
        _install(f"r{name}", reflected)
    for name, function in _UNARY.items():
        # a function made by a constructor takes the array as its only argument, as a method does
        setattr(Array, f"__{name}__", function)
    _install("round", _round)


install()
