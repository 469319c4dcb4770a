"""The ground truth: every operation of a run, forward and backward, in arithmetic of many digits.

As Herbie and ExplaniFloat define it (B. Kulkarni, P. Panchekha: Mixing Condition Numbers and Oracles for Accurate
Floating-point Debugging, 2025, and the explanations of Herbie that it became part of):

- a result is erroneous if it is off by more than a number of bits: the logarithm of its distance, in units in the
  last place, from the exact result rounded to the dtype. Herbie's number is 16 for float64.
- the local error of an operation is the error of its result if its operands are the exact ones, rounded. An operation
  is to blame if its local error is that large. An overflow or underflow is no local error of the operation that makes
  it, as infinity is then the right rounding, but of one that needs the exact value: where it began is to blame, too.

A point counts as found if it is erroneous and anything is reported: their recall and precision. Beyond that, a named
operation is right if it is one to blame.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
from mpmath import mp

from pullback._core.nans import watching
from pullback._core.option_contexts import debug_nans
from pullback._core.origins import origin_here


class Unknown(Exception):
    """The exact value of an operation cannot be told."""


class Operation:
    """An operation: what names it, its local error in bits, and where over- and underflows of its operands began."""

    def __init__(self, key: tuple, bits: float, flows: frozenset[tuple]):
        self.key = key
        self.bits = bits
        self.flows = flows


class Exact:
    """A `Watcher` that keeps the exact value of every scalar, and all arrays, as they are told by identity."""

    def __init__(self, dtype: Any):
        self.dtype = dtype
        self.values: dict[int, Any] = {}
        self.began: dict[int, frozenset[tuple]] = {}
        self.inexact: set[int] = set()
        self.arrays: list[Any] = []
        self.operations: list[Operation] = []

    def announced(self, primitive: Any) -> None:
        pass

    def of(self, array: Any) -> Any:
        if id(array) in self.values:
            return self.values[id(array)]
        return _exact(array.value) if array.dtype.kind == "f" else array.value

    def observed(self, primitive: Any, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
        self.arrays += [*args, *outs]
        (out,) = outs
        if out.dtype.kind != "f":
            return
        values = [self.of(a) for a in args]
        rule = RULES.get(primitive.name)
        if rule is None:
            raise NotImplementedError(f"the exact value of {primitive.name} {params}")
        value = rule(*values, **params)
        inexact = any(id(a) in self.inexact for a in args)
        if value == 0 and inexact and primitive.name in ("add", "sub") and any(v != 0 for v in values):
            raise Unknown  # the digits of the arithmetic may not have been enough
        rounded = [
            rounding(v, self.dtype) if a.dtype.kind == "f" else a.value for v, a in zip(values, args, strict=True)
        ]
        if primitive.name == "convert_element_type":
            got = rounded[0]
        else:
            with np.errstate(all="ignore"):
                got = np.asarray(primitive.kernel(*rounded, **params))[()]
        right = rounding(value, self.dtype)
        origin = origin_here(sys._getframe(1))
        line = origin.forward or origin.location
        key = (primitive.name, line.line if line is not None else 0, origin.backward)
        flows = frozenset().union(*[self.began.get(id(a), frozenset()) for a in args])
        self.operations.append(Operation(key, bits_between(got, right), flows))
        self.values[id(out)] = value
        if inexact or value != right or primitive.name not in ("neg", "abs"):
            self.inexact.add(id(out))
        tiny = np.finfo(self.dtype).tiny
        if mpmath.isfinite(value) and value != 0 and (not np.isfinite(right) or abs(right) < tiny):
            self.began[id(out)] = flows | {key}

    def blamed(self, limit: float) -> set[tuple]:
        """The operations to blame, with those where over- and underflows began; the worst if none is that bad."""
        bad = [op for op in self.operations if op.bits > limit]
        if not bad and self.operations:
            bad = [max(self.operations, key=lambda op: op.bits)]
        return {key for op in bad for key in (op.key, *op.flows)}


def run(dtype: Any, call: Callable[[], Any]) -> tuple[Exact, Any]:
    """Run a call; returns what was seen, and its result."""
    seen = Exact(dtype)
    with debug_nans(), watching(seen):
        result = call()
    return seen, result


def _exact(value: Any) -> Any:
    return mpmath.mpf(float(value))


def rounding(value: Any, dtype: Any) -> Any:
    """A number rounded to a dtype, to nearest; of numbers beyond the range, infinity or 0."""
    if mpmath.isnan(value):
        return dtype("nan")
    if value == 0 or mpmath.isinf(value):
        return dtype(float(value))
    info = np.finfo(dtype)
    exponent = mpmath.mag(value) - 1
    if exponent > info.maxexp:
        return dtype("inf") if value > 0 else dtype("-inf")
    if exponent < info.minexp - info.nmant - 2:
        return dtype(0.0) if value > 0 else dtype(-0.0)
    step = mpmath.ldexp(1, int(max(exponent, info.minexp)) - info.nmant)
    with np.errstate(over="ignore"):
        return dtype(float(mpmath.nint(value / step) * step))


def bits_between(a: Any, b: Any) -> float:
    """The logarithm of the distance of two numbers of a dtype, in numbers between them."""
    if np.isnan(a) or np.isnan(b):
        return 0.0 if np.isnan(a) and np.isnan(b) else float(8 * a.dtype.itemsize)
    return float(np.log2(1.0 + abs(float(_ordinal(a)) - float(_ordinal(b)))))


def _ordinal(x: Any) -> int:
    n = int(x.view(np.int32 if x.dtype == np.float32 else np.int64))
    return n if n >= 0 else -(n & (2 ** (8 * x.dtype.itemsize - 1) - 1))


def _power(x: Any, y: Any) -> Any:
    if x == 0:
        return mpmath.mpf(1) if y == 0 else mpmath.mpf(0) if y > 0 else mpmath.inf
    if x < 0 and y != mpmath.floor(y):
        return mpmath.nan
    return mpmath.power(x, y)


def _quotient(x: Any, y: Any) -> Any:
    if y == 0:
        return mpmath.nan if x == 0 else mpmath.inf * mpmath.sign(x)
    return x / y


def _logarithm(x: Any) -> Any:
    return -mpmath.inf if x == 0 else mpmath.nan if x < 0 else mpmath.log(x)


def _root(x: Any) -> Any:
    return mpmath.nan if x < 0 else mpmath.sqrt(x)


def _prefers(x: Any, y: Any, mode: str) -> bool:
    return x == y if mode == "tie" else x > y if mode == "gt" else x < y


RULES: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _quotient,
    "neg": lambda x: -x,
    "abs": abs,
    "sign": mpmath.sign,
    "square": lambda x: x * x,
    "integer_pow": lambda x, y: _quotient(mpmath.mpf(1), x**-y) if y < 0 else x**y,
    "pow": _power,
    "sqrt": _root,
    "rsqrt": lambda x: _quotient(mpmath.mpf(1), _root(x)),
    "exp": mpmath.exp,
    "log": _logarithm,
    "log1p": lambda x: _logarithm(1 + x),
    "expm1": lambda x: mpmath.exp(x) - 1,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "atan": mpmath.atan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan_slope": lambda x: 1 / (1 + x * x),
    "one_minus_square": lambda x: 1 - x * x,
    "convert_element_type": lambda x, **_: mpmath.mpf(x),
    "select": lambda mask, x, y: x if mask else y,
    "mask": lambda x, y, mode: mpmath.mpf(0.5 if x == y and mode != "tie" else _prefers(x, y, mode)),
    "max": max,
    "min": min,
    "broadcast_in_dim": lambda x, **_: x,
    "reshape": lambda x, **_: x,
    "stop_gradient": lambda x: x,
}

__all__ = ["Exact", "Unknown", "bits_between", "mp", "rounding", "run"]
