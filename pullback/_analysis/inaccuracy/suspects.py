"""Suspects: operations that lose digits, and the sentence that says how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._analysis.inaccuracy.shadows import MIXING, Shadow
from pullback._core import dtypes
from pullback._core.primitive import Primitive

# an operation is a suspect if it makes the relative error of its operands so many times larger
AMPLIFIES = 8.0
# an error of so many roundings is looked at
NOTICED = 32
_SUMS = MIXING | {"reduce_sum", "total"}


class Suspect:
    """An operation that lost digits, where it lost most.

    `kind` says how; `error` is the relative error of its result, `local` the part that it made itself, `condition` how
    many times it made the relative error of its operands larger. `operands` are entries, in words, `index` is
    their place. `count` operations of the same line are one suspect. `forced`: it is reported wherever its error went.
    """

    def __init__(
        self,
        primitive: str,
        kind: str,
        error: float,
        local: float,
        condition: float,
        operands: Sequence[str],
        index: tuple[int, ...],
        made: tuple[Any, ...],
    ):
        self.primitive = primitive
        self.kind = kind
        self.error = error
        self.local = local
        self.condition = condition
        self.operands: list[str] = list(operands)
        self.index = index
        self.made = made
        self.origin: Any = None
        self.order: int = 0
        self.count: int = 1
        self.pending: bool = False
        self.forced: bool = False

    def sentence(self) -> str:
        """What happened, in words."""
        a = self.operands
        if self.kind == "cancellation":
            if self.primitive in ("add", "sub") and len(a) == 2:
                return f"cancellation between two values near {a[0].lstrip('-')}: {a[0]} and {a[1]}"
            return "cancellation among the terms of a sum"
        if self.kind == "overflow":
            return f"overflow: {self.primitive}({', '.join(a)}) is beyond the largest number of its dtype"
        if self.kind == "underflow":
            return f"underflow: {self.primitive}({', '.join(a)}) is below the smallest number of its dtype"
        if self.kind == "invalid":
            return f"{self.primitive}({', '.join(a)}) has no value: nan"
        if self.kind == "pole":
            return f"{self.primitive}({', '.join(a)}) is infinite"
        if self.kind == "branch":
            return f"a decision by rounding errors: {self.primitive}({', '.join(a)}) is otherwise in higher precision"
        if self.kind == "accumulation":
            return "rounding errors of many operations have added up, as in a long sum"
        if self.kind == "rounding":
            return f"the result of {self.primitive}({', '.join(a)}) is off by many roundings"
        return f"{self.primitive}({', '.join(a)}) makes an error of its operands {self.condition:.1e} times larger"


def suspect_of(
    primitive: Primitive,
    args: Sequence[Any],
    ins: Sequence[Shadow],
    i: int,
    out: Any,
    params: dict[str, Any],
    shadow: Shadow,
    off: Any,
    arithmetic: Any,
) -> Suspect | None:
    """The suspect that an operation is, whose result is off by more than a few roundings; None if it passes errors on.

    Of an operation by entries that entry counts where errors grow most, and is looked at alone.
    """
    value, wanted, given = out.value, shadow.value, [a.value for a in args]
    floats = [dtypes.is_inexact(x.dtype) for x in given]
    index: tuple[int, ...] = ()
    if primitive.traits.elementwise:
        if value.ndim:
            index = _where_errors_grow(value, wanted, ins, given, floats, off, shadow.unit)
        given = [x[_aligned(index, x.shape)] if x.ndim else x for x in given]
        values = [s.value[_aligned(index, s.value.shape)] if s.value.ndim else s.value for s in ins]
        came = max([_relative(x, v) for x, v, f in zip(given, values, floats, strict=True) if f], default=0.0)
        got, wanted = value[index], wanted[index] if value.ndim else wanted
        error = _relative(got, wanted)
    else:
        came = max([_worst(x, s.value, True)[1] for x, s, f in zip(given, ins, floats, strict=True) if f], default=0.0)
        index, error = _worst(value, wanted, shadow.mixed)
        got = value[index]
    right = arithmetic.evaluated(primitive, [arithmetic.lifted(x) for x in given], params)
    right = wanted if right is None else right[i]
    kind, made, grows = _kind_of(primitive.name, got, value, wanted, right, index, error, came, given, floats, shadow)
    if kind is None:
        return None
    entries = [_entry(x, index, value.shape) for x in given]
    condition = math.nan
    if kind in ("cancellation", "sensitive"):
        condition = _condition(primitive.name, given, got) or grows
    shown = error if math.isfinite(error) else math.inf
    if kind in ("rounding", "underflow"):
        shown = max(error, made)
    return Suspect(primitive.name, kind, 0.0 if kind == "pole" else shown, made, condition, entries, index, shadow.made)


def _kind_of(
    name: str,
    got: Any,
    value: Any,
    wanted: Any,
    right: Any,
    index: tuple[int, ...],
    error: float,
    came: float,
    given: Sequence[Any],
    floats: Sequence[bool],
    shadow: Shadow,
) -> tuple[str | None, float, float]:
    """How an operation lost digits, None if it did not; the error that it made itself, and how much errors grew."""
    unit = shadow.unit
    whole = np.ndim(right) > 0
    if not np.isfinite(got):
        if any(np.isnan(x).any() for x, f in zip(given, floats, strict=True) if f):
            return None, 0.0, 0.0
        if np.isnan(got):
            return "invalid", math.inf, 0.0
        if any(np.isinf(x).any() for x, f in zip(given, floats, strict=True) if f):
            return None, 0.0, 0.0
        exact = right[index] if whole else right.item() if isinstance(right, np.ndarray) else right
        return ("overflow", math.inf, 0.0) if _is_finite(exact) else ("pole", math.inf, 0.0)
    made = _worst(value, right, shadow.mixed)[1] if whole else _relative(got, right)
    if made > 16 * unit and made > error / 64:
        if abs(got) < dtypes.finfo(value.dtype).tiny:
            return "underflow", made, 0.0
        return ("accumulation" if name in _SUMS else "rounding"), made, 0.0
    if not math.isfinite(came) or error != error:
        return None, made, 0.0
    grows = error / max(came, unit / 2)
    if grows >= AMPLIFIES:
        return ("cancellation" if name in ("add", "sub") or name in _SUMS else "sensitive"), made, grows
    return ("accumulation" if not shadow.rows else None), made, grows


def _where_errors_grow(
    value: Any, wanted: Any, ins: Sequence[Shadow], given: Sequence[Any], floats: Sequence[bool], off: Any, unit: float
) -> tuple[int, ...]:
    """The index of the entry where the error of the result is largest compared with those of the operands.

    `off` are the places, in the flat array, where it is large.
    """
    shape = value.shape
    came: Any = unit / 2
    for s, x, is_float in zip(ins, given, floats, strict=True):
        if is_float:
            came = np.fmax(came, _ratios(_entries(x, off, shape), _entries(s.value, off, shape)))
    grows = _ratios(_entries(value, off, shape), _entries(wanted, off, shape)) / came
    k = int(off[np.argmax(np.where(np.isnan(grows), 0, grows))])
    return tuple(int(n) for n in np.unravel_index(k, shape))


def _entries(x: Any, off: Any, shape: tuple[int, ...]) -> Any:
    """The entries at places of the flat array of a shape that `x` broadcasts to."""
    if x.shape == shape:
        return x.reshape(-1)[off]
    return x if not x.ndim else np.broadcast_to(x, shape)[np.unravel_index(off, shape)]


def _ratios(value: Any, wanted: Any) -> Any:
    """Relative errors; infinite where a number was to be 0, or is none."""
    errors = np.abs(wanted - value)
    if isinstance(errors, np.ndarray) and errors.dtype == np.float64:
        ratios = np.divide(errors, np.abs(wanted), out=errors)  # 0 / 0 is nan
        ratios[np.isnan(ratios)] = np.inf
        ratios[wanted == value] = 0.0
        return ratios
    ratios = np.asarray(errors / np.where(wanted == 0, 1, np.abs(wanted))).astype(np.float64)
    ratios = np.where(((wanted == 0) & (errors > 0)) | np.isnan(ratios), np.inf, ratios)
    return np.where(wanted == value, 0.0, ratios)


def _is_finite(x: Any) -> bool:
    return x.is_finite() if hasattr(x, "is_finite") else bool(np.isfinite(x))


def _relative(value: Any, wanted: Any) -> float:
    """The relative error of a number; infinite if one is none."""
    if value == wanted:
        return 0.0
    error, size = abs(wanted - value), abs(wanted)
    ratio = float(error / size) if size else math.inf
    return math.inf if ratio != ratio else ratio


def _worst(value: Any, wanted: Any, mixed: bool) -> tuple[tuple[int, ...], float]:
    """The index of the largest relative error, and the error; relative to the largest entry if they are `mixed`."""
    if not np.ndim(value):
        return (), _relative(value, wanted)
    if not value.size:
        return (), 0.0
    if mixed:
        errors, size = np.abs(wanted - value), np.abs(wanted).max()
        ratios = np.where(wanted == value, 0.0, errors / (size if size else 1)).astype(np.float64)
        ratios = np.where(np.isnan(ratios), np.inf, ratios)
    else:
        ratios = _ratios(value, wanted)
    index = np.unravel_index(np.argmax(ratios), value.shape)
    return tuple(int(k) for k in index), float(ratios[index])


def _aligned(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of the entry of an operand that an entry of the result is made of, under broadcasting."""
    return tuple(0 if n == 1 else k for k, n in zip(index[len(index) - len(shape) :], shape, strict=True))


def _entry(x: np.ndarray, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    if x.ndim == 0:
        return f"{x[()]:.6g}"
    if len(x.shape) <= len(shape) and all(n in (1, m) for n, m in zip(x.shape[::-1], shape[::-1], strict=False)):
        return f"{x[_aligned(index, x.shape)]:.6g}"
    return f"{x.dtype.name}[{','.join(map(str, x.shape))}]"


def _condition(name: str, given: Sequence[Any], got: Any) -> float:
    """The condition number of a sum or difference of two numbers; 0 if it is not known."""
    if name not in ("add", "sub") or any(np.ndim(x) for x in given):
        return 0.0
    a, b, c = (abs(complex(x)) for x in (*given, got))
    return (a + b) / c if c else math.inf
