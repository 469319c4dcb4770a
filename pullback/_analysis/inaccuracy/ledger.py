"""The ledger of a run: the shadow of every array, and the operations that are suspected of losing digits.

An operation is a suspect where its result is off by more than a few roundings and it made the error itself, or made a
small error of its operands large (a large condition number), or where errors of many operations, each harmless, first
add up to so much. The error of a result then leads back to the suspects that it descends from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._analysis.inaccuracy.shadows import (
    EXACT,
    MIXING,
    OPAQUE,
    ROUNDED,
    Shadow,
    is_power_of_two,
    keep,
    salt_of,
    salt_of_value,
    unit_of,
)
from pullback._analysis.inaccuracy.suspects import NOTICED, Suspect, suspect_of
from pullback._core import dtypes, numpy_state
from pullback._core.array import ConcreteArray
from pullback._core.origins import origin_here
from pullback._core.primitive import Primitive

# the bit of `Shadow.rows` that says that few digits of the shadow are right either
EXHAUSTED = 1
# blocks of numbers that stay in the cache, and that are allocated without a call to the system
_BLOCK = 16384
_NOWHERE = np.zeros(0, np.intp)
_NO_PARAMS: dict[str, Any] = {}


class Ledger:
    """A `Watcher` that keeps the shadows of one run. `arithmetic` computes in higher precision (`shadows.Double`)."""

    def __init__(self, arithmetic: Any, refuse: Callable[[Primitive], None]):
        self.arithmetic = arithmetic
        self.number = arithmetic.number
        self.refuse = refuse
        self.shadows: dict[int, Shadow] = {}
        self.suspects: list[Suspect] = []
        self.numbers: dict[Any, int] = {}
        self.evaluations = 0
        self.operations = 0

    # --- the two methods of a watcher ---

    def announced(self, primitive: Primitive) -> None:
        if primitive.traits.effectful:
            self.refuse(primitive)

    def observed(self, primitive: Primitive, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
        self.operations += 1
        get = self.shadows.get
        known = [get(id(a)) for a in args]
        name = primitive.name
        if name in EXACT and not any(known):
            return
        token = numpy_state.enter()
        try:
            ins = [self.of(a) if s is None else s for a, s in zip(args, known, strict=True)]
            if outs and not unit_of(outs[0].aval.dtype) and not any(map(unit_of, [out.aval.dtype for out in outs])):
                if any(known):
                    self._compare(primitive, ins, outs, params)
                return
            self._follow(primitive, args, ins, outs, params)
        finally:
            numpy_state.leave(token)

    def of(self, array: ConcreteArray) -> Shadow:
        """The shadow of an array: if none is kept, its value is exact."""
        shadow = self.shadows.get(id(array))
        if shadow is None:
            value = array.value
            what = "1" if value.ndim == 0 and value == 1 else "given"
            made = (what, what, what, what)
            shadow = Shadow(self.arithmetic.lifted(value), 0, True, False, unit_of(value.dtype), made, 0)
            shadow.salt = salt_of_value(shadow.value)
            shadow.scales = is_power_of_two(value) if value.dtype.kind == "f" else False
        return shadow

    def suspects_in(self, rows: int) -> list[int]:
        """The numbers of the suspects that the bits of a shadow stand for."""
        return [n for n in range(len(self.suspects)) if rows >> 1 >> n & 1]

    # --- the shadow of an operation ---

    def _follow(
        self, primitive: Primitive, args: Sequence[Any], ins: list[Shadow], outs: Sequence[Any], params: dict[str, Any]
    ) -> None:
        name = primitive.name
        rows, exact, mixed, unit = 0, True, False, 0.0
        for s in ins:
            rows |= s.rows
            exact = exact and s.exact
            mixed = mixed or s.mixed
            if s.unit > unit:
                unit = s.unit
        values = None
        if name not in OPAQUE:
            self.evaluations += 1
            values = self.arithmetic.evaluated(primitive, [s.value for s in ins], params)
        made, salt = _made(name, ins), salt_of(name, ins)
        for i, out in enumerate(outs):
            own = unit_of(out.aval.dtype)
            if not own:
                continue
            value = None if values is None else values[i]
            for s in ins:
                if s.value is value and value is not None:
                    value = value.copy()
            if value is None or value.shape != out.aval.shape:
                value, follows = self.arithmetic.lifted(out.value), False
            else:
                follows = True
            wide = bool(out.aval.shape) and (mixed or name in MIXING or _mixes(name, ins))
            shadow = Shadow(value, rows, exact, wide, own if own > unit else unit, made, salt + i)
            if follows:
                self._judge(primitive, args, ins, i, out, params, shadow)
            keep(self.shadows, out, shadow)

    def _judge(
        self, primitive: Primitive, args: Sequence[Any], ins: list[Shadow], i: int, out: Any, params, shadow
    ) -> None:
        """Compare a result with its shadow, and look for the reason of a large error."""
        name, value, wanted = primitive.name, out.value, shadow.value
        limit = NOTICED * shadow.unit
        if name in EXACT:
            if name == "select" and ins[0].other is not None:
                self._other_choice(primitive, ins, params, shadow)
            shadow.hidden = max([s.hidden for s in ins])
            return
        hidden = max([s.hidden for s in ins], default=0.0)
        if hidden and np.any(wanted == 0):
            # what is left is what the shadow had dropped: log(1 + 1e-30), (x + 1) - x
            left = hidden * (np.abs(ins[0].value) if name in ("add", "sub") else 1.0)
            wanted = shadow.value = np.where(wanted == 0, left, wanted)
        if not out.aval.shape:
            # numbers of Python are quicker than those of NumPy
            right = wanted.item() if type(wanted) is not self.number else wanted
            error = abs(right - value.item())
            near, off = error <= limit * abs(right), _NOWHERE
            if shadow.exact and error:
                shadow.exact = False
        else:
            off, same = _compared(value.reshape(-1), wanted.reshape(-1), limit, shadow.mixed)
            near = not off.size
            shadow.exact = shadow.exact and same
        disturb = not shadow.exact and not _moves(name, ins)
        if shadow.exact and name in ROUNDED:
            # the same in both precisions, a sum can be off in both: 1 + 1e-30, and then by how much is known
            lost = _lost(name, ins)
            shadow.exact, disturb = not lost, lost > self.arithmetic.unit / 256
            shadow.hidden = 0.0 if disturb else lost
        elif shadow.exact:
            shadow.exact = _at_simple_points(ins)
            disturb = not shadow.exact
        if disturb:
            shadow.value = self.arithmetic.disturbed(wanted, shadow.salt)
        if near:
            shadow.rows = 0
            return
        if name in ("add", "sub") and _is_exhausted(wanted, ins[0].value, off):
            shadow.rows |= EXHAUSTED
        suspect = suspect_of(primitive, args, ins, i, out, params, shadow, off, self.arithmetic)
        if suspect is not None and not (suspect.kind == "invalid" and self._explained(shadow.rows)):
            shadow.rows |= EXHAUSTED << 1 << self._number(suspect)

    def _explained(self, rows: int) -> bool:
        """Whether a nan comes from a known suspect, such as an overflow; that an operand is infinite explains none."""
        return any(self.suspects[n].kind != "pole" for n in self.suspects_in(rows))

    def _number(self, suspect: Suspect) -> int:
        """The number of a suspect; those of one place and kind are one, of which the worst is kept."""
        suspect.origin = origin = origin_here()
        key = (suspect.primitive, suspect.kind, origin.location, origin.forward, origin.rule, origin.backward)
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.suspects)
            suspect.order = number
            self.suspects.append(suspect)
        else:
            known = self.suspects[number]
            suspect.order, suspect.count = known.order, known.count + 1
            if suspect.error > known.error:
                suspect.pending = suspect.pending or known.pending
                suspect.forced = suspect.forced or known.forced
                self.suspects[number] = suspect
            else:
                known.count += 1
                known.forced = known.forced or suspect.forced
        return number

    # --- comparisons and choices ---

    def _compare(self, primitive: Primitive, ins: list[Shadow], outs: Sequence[Any], params: dict[str, Any]) -> None:
        """Look whether the shadows give another bool or integer; the program goes on with its own."""
        values = [s.value if s.other is None else s.other for s in ins]
        others = self.arithmetic.evaluated(primitive, values, params)
        rows = 0
        for s in ins:
            rows |= s.rows
        for out, other in zip(outs, others or [], strict=False):
            if other.shape != out.aval.shape or not np.any(other != out.value):
                continue
            if not any(s.other is not None for s in ins):
                entries = [*map(_described, ins)]
                made = _made(primitive.name, ins)
                suspect = Suspect(primitive.name, "branch", 1.0, 0.0, float("nan"), entries, (), made)
                rows |= EXHAUSTED << 1 << self._number(suspect)
                # of a loop's own decisions one more step or less is a matter of rounding in any precision
                pending = not out.aval.shape and not suspect.origin.steps
            else:
                # the index of a branch
                pending = primitive.name == "convert_element_type" and not out.aval.shape
            for n in self.suspects_in(rows) if pending else ():
                self.suspects[n].pending = self.suspects[n].kind == "branch"
            keep(self.shadows, out, Shadow(out.value, rows, False, False, 0.0, _made(primitive.name, ins), 0, other))

    def _other_choice(self, primitive: Primitive, ins: list[Shadow], params: dict[str, Any], shadow: Shadow) -> None:
        """A choice that the shadows would make otherwise matters if it makes a difference to the result."""
        numbers = self.suspects_in(ins[0].rows)
        for n in numbers:
            self.suspects[n].pending = False
        if origin_here().backward:
            return  # cotangents go the way that the values went
        other = self.arithmetic.evaluated(primitive, [ins[0].other, *(s.value for s in ins[1:])], params)
        if other is None or not np.any(np.abs(other[0] - shadow.value) > shadow.unit ** (2 / 3) * np.abs(shadow.value)):
            return
        for n in numbers:
            if self.suspects[n].kind == "branch":
                self.suspects[n].forced = True


def _compared(value: Any, wanted: Any, limit: float, mixed: bool) -> tuple[Any, bool]:
    """The places of errors above the limit, relative to the largest number if they are `mixed`; whether all are 0.

    In blocks, since large temporary arrays cost more than what is done with them.
    """
    same, size = True, None
    if mixed:
        size = (
            max([np.absolute(wanted[k : k + _BLOCK]).max() for k in range(0, value.size, _BLOCK)], default=0.0) * limit
        )
    off = []
    room = [np.empty(min(_BLOCK, value.size), wanted.dtype) for _ in range(2)] if wanted.dtype == np.float64 else None
    for k in range(0, value.size, _BLOCK):
        part, own = wanted[k : k + _BLOCK], value[k : k + _BLOCK]
        if room is None:
            errors = np.absolute(part - own)
            bound = np.absolute(part) * limit if size is None else size
        else:
            n = part.size
            errors = np.subtract(part, own, out=room[0][:n])
            np.absolute(errors, out=errors)
            bound = size
            if size is None:
                bound = np.multiply(part, limit, out=room[1][:n])
                np.absolute(bound, out=bound)
        if same and errors.any():
            same = False
        near = errors <= bound
        if not near.all():
            off.append(np.flatnonzero(~near) + k)
    return (np.concatenate(off) if off else _NOWHERE), same


def _made(name: str, ins: Sequence[Shadow]) -> tuple:
    """The names of the operations that made a result, as trees of depth 0 to 3."""
    if len(ins) == 1:
        m = ins[0].made
        return name, (name, m[0]), (name, m[1]), (name, m[2])
    if len(ins) == 2:
        m, n = ins[0].made, ins[1].made
        return name, (name, m[0], n[0]), (name, m[1], n[1]), (name, m[2], n[2])
    return name, *((name, *(s.made[d] for s in ins[:4])) for d in range(3))


def _mixes(name: str, ins: Sequence[Shadow]) -> bool:
    """Whether a sum has terms of both signs."""
    if name != "reduce_sum" or not ins[0].value.size or dtypes.is_complex(ins[0].value.dtype):
        return name == "reduce_sum"
    return bool(ins[0].value.min() < 0 < ins[0].value.max())


def _is_exhausted(wanted: Any, first: Any, off: Any) -> bool:
    """Whether of a sum little is left, at the places of its errors."""
    if off.size and np.shape(first) == wanted.shape:
        wanted, first = wanted.reshape(-1)[off], first.reshape(-1)[off]
    return bool(np.any(np.abs(wanted) < 2.0**-30 * np.abs(first)))


def _lost(name: str, ins: Sequence[Shadow]) -> float:
    """The largest relative rounding error of a sum in the shadow; of other operations 0."""
    if name not in ("add", "sub"):
        return 0.0
    a, b = ins[0].value, ins[1].value
    total = a + b if name == "add" else a - b
    b = b if name == "add" else -b
    part = total - a
    errors = np.abs((a - (total - part)) + (b - part))
    return float(np.max(errors / np.where(total == 0, 1, np.abs(total)))) if np.any(errors) else 0.0


def _moves(name: str, ins: Sequence[Shadow]) -> bool:
    """Whether an operation only scales by a power of two, or adds 0."""
    if name == "mul" or name == "div":
        return ins[1].scales or (ins[0].scales and name == "mul")
    return name in ("add", "sub") and any(s.exact and s.value.ndim == 0 and s.value == 0 for s in ins)


def _at_simple_points(ins: Sequence[Shadow]) -> bool:
    """Whether all operands are 0, 1 or infinite: exp(0) is exact."""
    return all(s.value.ndim == 0 and s.value in (0, 1, np.inf, -np.inf) for s in ins)


def _described(shadow: Shadow) -> str:
    value = shadow.value
    return f"{value:.6g}" if value.ndim == 0 and value.dtype.kind in "fiu" else f"{value.dtype}{list(value.shape)}"
