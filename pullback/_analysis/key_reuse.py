"""The reuse of random keys, while the option `debug_key_reuse` is on.

A key is used when numbers are drawn with it, or keys split from it. Two primitives, which compute nothing, say so where
it happens: `use_key` and `follow_key`. Outside of transformations each array of words has a record of its use. In a
jaxpr the equations say which inputs a function uses; that is all that its callers need, loops among them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pullback._core.array import ConcreteArray, array_of
from pullback._core.errors import KeyReuseError, Location, user_frame
from pullback._core.jaxpr import Equation, HeldJaxpr, Jaxpr, Var, without
from pullback._core.primitive import Primitive

# uses the keys that its operand has the words of, or a part of them, and returns the words
use_key_p = Primitive("use_key")
# the words of keys that are those of the second operand, moved or copied; without one, of keys not used before
follow_key_p = Primitive("follow_key")


class Part(NamedTuple):
    """Some of an array of keys: its shape, and the flags of the keys as bytes."""

    shape: tuple[int, ...]
    flags: bytes

    @classmethod
    def of(cls, flags: np.ndarray) -> Part:
        """The part where the flags are set."""
        return cls(flags.shape, flags.tobytes())

    def repeated(self, axis: int, size: int) -> Part:
        """The same part of each array in a batch."""
        return Part.of(np.repeat(np.expand_dims(_flags(self), axis), size, axis))


class Use(NamedTuple):
    """Which keys of an array were used (a `Part`, None for all), where, and by which function."""

    part: Part | None
    where: Location | None
    function: str

    def with_more(self, other: Use) -> Use:
        """Both uses, with the place of this one."""
        if self.part is None or other.part is None:
            return self._replace(part=None)
        if self.part.shape != other.part.shape:
            return other  # of the same keys in another shape: the later use is the one to be compared
        return self._replace(part=Part.of(_flags(self.part) | _flags(other.part)))


def _flags(part: Part) -> np.ndarray:
    return np.frombuffer(part.flags, bool).reshape(part.shape)


def _overlap(a: Part | None, b: Part | None) -> bool:
    """Whether a key is known to be in both parts, which may be of one array in two shapes."""
    if a is None or b is None:
        rest = a or b
        return rest is None or b"\x01" in rest.flags
    return a.shape == b.shape and bool((_flags(a) & _flags(b)).any())


def _reused(start: str, before: Use, again: Location | None) -> KeyReuseError:
    first = f"{before.function} used it first{f', at {before.where}' if before.where else ''}"
    second = f" and it is used again at {again}" if again else ""
    return KeyReuseError(
        f"{start}: {first}{second}. Use each key once: take new ones from random.split, or random.clone(key) where the "
        "same numbers are wanted."
    )


# --- outside of transformations ---


class _Here(threading.local):
    """What this thread knows: whether an operation that has been checked as a whole is being evaluated."""

    inside: bool = False


_here = _Here()
_uses: dict[int, tuple[weakref.ref[Any], Use]] = {}


def _use_of(words: Any) -> Use | None:
    found = _uses.get(id(words))
    return found[1] if found is not None and found[0]() is words else None


def _record(words: Any, use: Use | None) -> None:
    place = id(words)
    if use is None:
        _uses.pop(place, None)
    else:
        _uses[place] = weakref.ref(words, lambda _: _uses.pop(place, None)), use


def _line() -> Location | None:
    frame = user_frame()
    return None if frame is None else Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _check(words: Any, use: Use, index: int) -> None:
    before = _use_of(words)
    if before is not None and _overlap(before.part, use.part):
        raise _reused(f"Previously-consumed key passed to {use.function} at index {index}", before, None)


def _note(words: Any, use: Use) -> None:
    before = _use_of(words)
    _record(words, use if before is None else before.with_more(use))


def _evaluate_use(words: Any, *, function: str, part: Part | None) -> Any:
    if not _here.inside:
        use = Use(part, _line(), function)
        _check(words, use, 0)
        _note(words, use)
    return words


def _evaluate_follow(words: Any, origin: Any = None) -> Any:
    if words is origin or _here.inside or type(words) is not ConcreteArray:
        return words
    copy = array_of(words.aval, words.value)
    _record(copy, None if origin is None else _use_of(origin))
    return copy


use_key_p.evaluate = _evaluate_use
follow_key_p.evaluate = _evaluate_follow


def evaluate_checked(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The results of a primitive that holds functions, with the keys among its operands checked and their use noted."""
    if _here.inside:
        return primitive.evaluate(*args, **params)  # type: ignore[misc]
    name = f"{params['name']} (a jit-compiled function)" if primitive.name == "jit" else primitive.name
    effect = _effect(primitive, params)
    line = _line()
    uses = {i: use._replace(where=line, function=name) for i, use in effect.uses.items()}
    for i, use in uses.items():
        _check(args[i], use, i)
    _here.inside = True
    try:
        outs = primitive.evaluate(*args, **params)  # type: ignore[misc]
    finally:
        _here.inside = False
    for i, use in uses.items():
        _note(args[i], use)
    for out, state in zip(outs if primitive.multiple_results else [outs], effect.results, strict=False):
        if isinstance(state, int):
            state = _use_of(args[state])
        if state is not None:
            _record(out, state)
    return outs


# --- in jaxprs ---


class Effect(NamedTuple):
    """What a function does to keys: which inputs it uses, and what its results are.

    A result is None for what is no used key, the number of an input whose keys it has, or the `Use` of it.
    """

    uses: dict[int, Use]
    results: Sequence[int | Use | None]


def check_keys(jaxpr: Jaxpr) -> Effect:
    """What a function does to keys; KeyReuseError if it uses one twice."""
    return jaxpr.derive("key reuse", lambda: _walk(jaxpr))


def _walk(jaxpr: Jaxpr) -> Effect:
    origins: dict[Var, Any] = {}
    used: dict[Var, Use] = {}

    def root(v: Any) -> Any:
        while v in origins:
            v = origins[v]
        return v

    def use(eqn: Equation, i: int, use: Use) -> None:
        if type(v := root(eqn.invars[i])) is Var:
            before = used.get(v)
            if before is not None and _overlap(before.part, use.part):
                raise _reused(f"In {use.function}, argument {i} is already consumed", before, use.where)
            used[v] = use if before is None else before.with_more(use)

    for eqn in jaxpr.eqns:
        if eqn.primitive is use_key_p:
            use(eqn, 0, Use(eqn.params["part"], eqn.location, eqn.params["function"]))
        elif eqn.primitive is follow_key_p:
            origins.update((eqn.outvars[0], v) for v in eqn.invars[1:] if type(v) is Var)
        elif eqn.primitive.holds:
            effect = _effect(eqn.primitive, eqn.params)
            for i, inner in effect.uses.items():
                use(eqn, i, inner._replace(where=inner.where or eqn.location))
            for out, state in zip(eqn.outvars, effect.results, strict=False):
                if isinstance(state, Use):
                    used[out] = state
                elif state is not None and type(eqn.invars[state]) is Var:
                    origins[out] = eqn.invars[state]
    inputs = {v: i for i, v in enumerate((*jaxpr.constvars, *jaxpr.invars))}
    results = [root(v) if type(v) is Var else None for v in jaxpr.outvars]
    return Effect(
        {inputs[v]: use for v, use in used.items() if v in inputs},
        [None if v is None else inputs[v] if v in inputs else used.get(v) for v in results],
    )


def without_key_uses(jaxpr: Jaxpr) -> Jaxpr:
    """The same function, saying nothing about its keys: for what does again what was checked, or leaves the process."""
    return without(jaxpr, "uses of keys", lambda eqn: eqn.primitive in (use_key_p, follow_key_p))


def _effect(primitive: Primitive, params: dict[str, Any]) -> Effect:
    """What an operation that holds functions does to the keys among its operands."""
    uses: dict[int, Use] = {}
    returned: list[list[Any]] = []
    held = [h for h in primitive.bodies(params) if h.operands is not None]
    for h in held:
        effect = check_keys(h.jaxpr)
        loops = bool(h.carried) or h.times != 1
        for i, use in effect.uses.items():
            if loops:
                _check_repeated(primitive, held, h, i, use)
            place = h.operands[i]  # type: ignore[index]
            if loops and i >= h.carried.stop:
                use = use._replace(part=None)  # an entry of it in each step
            if loops and place in uses:
                raise KeyReuseError(
                    f"{primitive.name}: the condition and the body of the loop use the same key, at "
                    f"{uses[place].where} and at {use.where}. Split it, and carry a key for each."
                )
            uses[place] = use if place not in uses else uses[place].with_more(use)
        if h.returns:
            returned.append([h.operands[r] if isinstance(r, int) else r for r in effect.results])  # type: ignore[index]
    return Effect(uses, [_either(states) for states in zip(*returned, strict=False)])


def _either(states: Sequence[Any]) -> Any:
    """The result of one of several functions: used if one returns a used key."""
    first = states[0]
    if all(state == first for state in states):
        return first
    return next((state for state in states if isinstance(state, Use)), None)


def _check_repeated(primitive: Primitive, held: Sequence[HeldJaxpr], h: HeldJaxpr, i: int, use: Use) -> None:
    """Refuse a function of a loop that uses a key again in the next step."""
    body = next(b for b in held if b.returns)  # the condition gets what it carries
    operands, operand = list(body.operands or ()), (h.operands or ())[i]
    place = operands.index(operand) if operand in operands else -1
    if place >= body.carried.stop:
        return  # another one in each step
    at = f"{use.function} uses it{f', at {use.where}' if use.where else ''}"
    how = "Carry the key, and split it in each step; or use random.fold_in(key, i) with the number of the step."
    start = f"{primitive.name}: the function of the loop leads to key reuse when repeatedly executed, because"
    if place < body.carried.start:
        raise KeyReuseError(f"{start} a key from outside of it is used in each step: {at}. {how}")
    if check_keys(body.jaxpr).results[place - body.carried.start] is not None:
        raise KeyReuseError(f"{start} it passes on a key that is used: {at}, and the next step does so again. {how}")


__all__ = ["Part", "check_keys", "evaluate_checked", "follow_key_p", "use_key_p", "without_key_uses"]
