"""The fast path of a compiled call: arguments of structures and types that occurred before.

Besides the engine's dispatch, a warm call has to read its arguments and make its results. The functions that do this
are generated (`_xla/warm_calls.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType
from typing import Any

from pullback._core.array import ConcreteArray, lift
from pullback._core.config import config
from pullback._core.errors import boundary, fold
from pullback._core.hitypes import HiType, all_parts, all_values, is_own_value, types_of_parts
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, registry, tree_structure
from pullback._core.typing import AnyValue
from pullback._xla.engine import put
from pullback._xla.evaluate import evaluator
from pullback._xla.executable import Executable, ProgramOfValues
from pullback._xla.placed_programs import PlacedProgram, placement_of
from pullback._xla.placed_runs import placed_run_of
from pullback._xla.uploads import type_of
from pullback._xla.warm_calls import MISS, Call, Kind, call_of, call_on_leaves, flat_kind

# tracing state, function of the arguments
_NO_CALL = (None, None)


# chex tells compiled functions from others by this name among their globals
api_boundary = boundary

_flatten = registry.flatten
_aval = attrgetter("aval")

# splits a call into its dynamic arguments, positional and by keyword, and the cache key of the static ones
Split = Callable[[tuple, dict], tuple[tuple, dict, tuple]]


class _Recent(list):
    """The last call, for repeated calls of the same kind, in a list of one. A copy in another process starts empty."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        return _Recent, ([_NO_CALL],)


class FastPath:
    """The compiled programs of one function, looked up by the tracing state and the arguments.

    `split` is None if no argument is static.
    """

    def __init__(self, split: Split | None) -> None:
        self._split = split
        self._calls: dict[tuple, Call] = {}
        self._placed_calls: dict[tuple, tuple[Callable[[Sequence[Any]], Any], Call]] = {}
        self._recent = _Recent([_NO_CALL])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_calls": {}, "_placed_calls": {}}  # programs are not pickled

    def add(
        self,
        args: tuple,
        kwargs: dict,
        consts: Sequence[Any],
        program: Executable | ProgramOfValues,
        out_tree: PyTreeDef,
    ) -> None:
        """Register the program for calls with arguments of this structure and these types."""
        if context.axis_sizes:
            return
        leaves, key = self._read(args, kwargs)
        types, kind = tuple(map(_type_of, leaves)), self._kind(args, kwargs, key)
        if isinstance(program, ProgramOfValues):
            call = call_on_leaves(kind, _run_on_values(program, types, all_parts(consts), out_tree))
        else:
            call = call_of(kind, program, types, out_tree, consts)
        self._calls[config.tracing, key, types] = call

    def add_placed(
        self, args: tuple, kwargs: dict, consts: Sequence[Any], program: PlacedProgram, out_tree: PyTreeDef
    ) -> None:
        """Register a program of several devices for calls with arguments of these types, at these places."""
        if context.axis_sizes:
            return
        leaves, key = self._read(args, kwargs)
        xs = [lift(x) for x in leaves]
        places, types = tuple(map(placement_of, xs)), tuple(map(_aval, xs))
        run = placed_run_of(program, types, places, out_tree, consts)
        call = call_on_leaves(self._kind(args, kwargs, key), run)
        self._placed_calls[config.tracing, key, types, places] = run, call

    def clear(self) -> None:
        """Discard all programs."""
        self._calls.clear()
        self._placed_calls.clear()
        self._recent[0] = _NO_CALL

    def _read(self, args: tuple, kwargs: dict) -> tuple[Sequence[Any], Any]:
        """The leaves of a call's dynamic arguments, and the key of everything else its program depends on."""
        if self._split is None:
            return _flatten((args, kwargs))
        args, kwargs, statics = self._split(args, kwargs)
        leaves, tree = _flatten((args, kwargs))
        return leaves, (tree, statics)

    def _kind(self, args: tuple, kwargs: dict, key: Any) -> Kind:
        if self._split is None:
            return Kind(key, (), _always, self._read, key)
        tree, statics = key
        values = {place: static.value for place, static in statics}  # a position may be marked twice
        return Kind(tree, tuple(values), _same_as([*values.values()]), self._read, key)

    def _registered(self, args: tuple, kwargs: dict) -> Any:
        """The result of a call that differs from the last one; MISS if no program is registered for it."""
        state = config.tracing
        try:
            leaves, key = self._read(args, kwargs)
            call = self._calls[state, key, tuple(map(_type_of, leaves))]
        except Exception:  # the call is new or invalid: the general path handles both
            return self._on_devices(args, kwargs) if self._placed_calls else MISS
        self._recent[0] = (state, call)
        return call(args, kwargs)

    def _on_devices(self, args: tuple, kwargs: dict) -> Any:
        """The result of a call with arrays on several devices; MISS if no program is registered for it."""
        state = config.tracing
        try:
            leaves, key = self._read(args, kwargs)
            xs = [lift(x) for x in leaves]
            places = tuple(map(placement_of, xs))
            run, call = self._placed_calls[state, key, tuple(map(_aval, xs)), places]
        except Exception:
            return MISS  # the call is new or invalid: the general path handles both
        self._recent[0] = (state, call)
        return run(xs)

    def function(self, call_generally: Callable[[tuple, dict], Any]) -> Callable:
        """The function that takes the fast path if possible, and else calls `call_generally`."""
        recent, other = self._recent, self._registered

        def compiled(*args, **kwargs):
            try:
                if context.trace is evaluator:
                    state, call = recent[0]
                    if config.tracing is state:
                        result = call(args, kwargs)
                        if result is not MISS:
                            return result
                    result = other(args, kwargs)
                    if result is not MISS:
                        return result
                return call_generally(args, kwargs)
            except Exception as error:
                fold(error)
                raise

        return compiled


def _type_of(x: AnyValue) -> Any:
    """The type of an array on the first device or of a value of one's own; TypeError for anything else."""
    return x.aval if type(x) is not ConcreteArray and is_own_value(x) else type_of(x)


def _run_on_values(
    program: ProgramOfValues, types: Sequence[Any], consts: Sequence[Any], out_tree: PyTreeDef
) -> Callable[[Sequence[Any]], Any]:
    """A function of the leaves that runs a program with types of one's own, if they are of these types."""
    inner, out_avals, unflatten = program.program, program.out_avals, out_tree.unflatten
    for x in consts:
        put(x)
    part_types = tuple(types_of_parts(types))
    of_parts = call_of(
        flat_kind(len(part_types)), inner, part_types, tree_structure([0] * len(inner.out_avals)), consts
    )
    own = [isinstance(aval, HiType) for aval in types]
    returns_arrays = not any(isinstance(aval, HiType) for aval in out_avals)

    def run(leaves):
        parts = []
        try:
            for x, aval, is_own in zip(leaves, types, own, strict=True):
                if not is_own:
                    parts.append(x)
                elif is_own_value(x) and x.aval == aval:
                    parts += aval.lower_val(x)
                else:
                    return MISS
        except Exception:
            return MISS  # raised by a user's class, for example: the general path reports it
        outs = of_parts(tuple(parts), {})
        if outs is MISS:
            return MISS
        return unflatten(outs if returns_arrays else all_values(out_avals, outs))

    return run


# static arguments of these types are the same where they are one object
_UNCHANGING = {int, bool, float, str, bytes, type(None), type, FunctionType, BuiltinFunctionType}
# and of these, where they are equal and of one type
_COMPARED = {int, bool, str, bytes, type(None)}


def _always() -> bool:
    return True


def _same_as(values: Sequence[Any]) -> Callable[..., bool] | None:
    """Whether static values are these; None where that depends on methods of users' classes, or on what can change."""
    if not all(map(_is_unchanging, values)):
        return None
    if len(values) == 1:
        (value,), kind = values, type(values[0])
        if kind in _COMPARED:
            return lambda x: x is value or (type(x) is kind and x == value)
        return lambda x: x is value
    tests = [_same_as([value]) for value in values]
    return lambda *xs: all(test(x) for test, x in zip(tests, xs, strict=True))  # type: ignore[misc]


def _is_unchanging(value: AnyValue) -> bool:
    kind: Any = type(value)
    if kind is tuple:
        return all(map(_is_unchanging, value))
    return kind in _UNCHANGING or (kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__)
