"""The fast path of a compiled call: arguments of structures and types that occurred before.

Besides the engine's dispatch, a warm call has to read its arguments and make its results. The functions that do this
are generated (`_xla/fast_paths.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from pullback._core.array import ConcreteArray, array_on_device, lift, scalar_array, scalar_aval
from pullback._core.config import config
from pullback._core.dtypes import canonicalize_dtype
from pullback._core.errors import boundary, fold
from pullback._core.hitypes import all_parts, all_values, is_own_value, types_of_parts
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, registry, tree_structure
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue
from pullback._xla.engine import check_process, copier, put
from pullback._xla.evaluate import evaluator
from pullback._xla.executable import Executable, ProgramOfValues
from pullback._xla.fast_paths import MISS, run_of, taker_of
from pullback._xla.placed_programs import PlacedProgram, placement_of
from pullback._xla.placed_runs import placed_run_of

# tracing state, number of arguments if all are positional arrays (else -1), for others what takes the arrays from the
# arguments or None, key from `_read` without it, run
_NO_CALL = (None, 0, None, None, None)


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
        self._runs: dict[tuple, Callable] = {}
        self._runs_on_values: dict[tuple, tuple[Callable, Sequence[Any], Callable]] = {}
        self._runs_of_placed: dict[tuple, Callable] = {}
        self._recent = _Recent([_NO_CALL])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runs": {}, "_runs_on_values": {}, "_runs_of_placed": {}}  # programs are not pickled

    def add(
        self,
        args: tuple,
        kwargs: dict,
        consts: Sequence[Any],
        program: Executable | ProgramOfValues,
        out_tree: PyTreeDef,
    ) -> None:
        """Register the program for calls with arguments of this structure and these types."""
        leaves, key = self._read(args, kwargs)
        if context.axis_sizes:
            return
        if isinstance(program, ProgramOfValues):
            types = tuple([lift(x).aval for x in leaves])
            inner, given = program.program, all_parts(consts)
            for x in given:
                put(x)
            run = run_of(inner, tuple(types_of_parts(types)), tree_structure([0] * len(inner.out_avals)), given)
            self._runs_on_values[config.tracing, key, types] = run, program.out_avals, out_tree.unflatten
        else:
            types = tuple([_as_concrete(x).aval for x in leaves])
            self._runs[config.tracing, key, types] = run_of(program, types, out_tree, consts)

    def add_placed(
        self, args: tuple, kwargs: dict, consts: Sequence[Any], program: PlacedProgram, out_tree: PyTreeDef
    ) -> None:
        """Register a program of several devices for calls with arguments of these types, at these places."""
        if context.axis_sizes:
            return
        leaves, key = self._read(args, kwargs)
        xs = [lift(x) for x in leaves]
        places = tuple(map(placement_of, xs))
        types = tuple(map(_aval, xs))
        self._runs_of_placed[config.tracing, key, types, places] = placed_run_of(
            program, types, places, out_tree, consts
        )

    def _on_devices(self, args: tuple, kwargs: dict) -> Any:
        """The result of a call with arrays on several devices; MISS if no program is registered for it."""
        state = config.tracing
        try:
            leaves, key = self._read(args, kwargs)
            xs = [lift(x) for x in leaves]
            places = tuple(map(placement_of, xs))
            run = self._runs_of_placed[state, key, tuple(map(_aval, xs)), places]
        except Exception:
            return MISS  # the call is new or invalid: the general path handles both
        flat = not kwargs and self._split is None and len(args) == len(xs) and all(map(is_, xs, args))
        self._recent[0] = (state, len(args) if flat else -1, None, key, run)
        return run(xs)

    def clear(self) -> None:
        """Discard all programs."""
        self._runs.clear()
        self._runs_of_placed.clear()
        self._runs_on_values.clear()
        self._recent[0] = _NO_CALL

    def _read(self, args: tuple, kwargs: dict) -> tuple[Sequence[Any], Any]:
        """The leaves of a call's dynamic arguments, and the key of everything else its program depends on."""
        if self._split is None:
            return _flatten((args, kwargs))
        args, kwargs, statics = self._split(args, kwargs)
        leaves, tree = _flatten((args, kwargs))
        return leaves, (tree, statics)

    def _on_values(self, args: tuple, kwargs: dict) -> Any:
        """The result of a call with values of types of one's own; MISS if no program is registered for it."""
        try:
            leaves, key = self._read(args, kwargs)
            types: list[Any] = []
            parts: list[Any] = []
            for x in leaves:
                if type(x) is not ConcreteArray and is_own_value(x):
                    types.append(x.aval)
                    parts += types[-1].lower_val(x)
                else:
                    parts.append(_as_concrete(x))
                    types.append(parts[-1].aval)
            run, out_avals, unflatten = self._runs_on_values[config.tracing, key, tuple(types)]
        except Exception:
            return MISS  # the call is new or invalid: the general path handles both
        outs = run(parts)
        if outs is MISS:
            for x in parts:
                if type(x) is ConcreteArray:
                    put(x)
            outs = run(parts)
        return MISS if outs is MISS else unflatten(all_values(out_avals, outs))

    def _registered(self, args: tuple, kwargs: dict) -> Any:
        """The result of a call that differs from the last one; MISS if no program is registered for it."""
        if self._runs_on_values and (result := self._on_values(args, kwargs)) is not MISS:
            return result
        state = config.tracing
        try:
            leaves, key = self._read(args, kwargs)
            xs = [_as_concrete(x) for x in leaves]
            run = self._runs[state, key, tuple(map(_aval, xs))]
        except Exception:  # the call is new or invalid: the general path handles both
            return self._on_devices(args, kwargs) if self._runs_of_placed else MISS
        for x in xs:
            put(x)
        flat = not kwargs and self._split is None and len(args) == len(xs) and all(map(is_, leaves, args))
        take = None if flat else self._taker(args, kwargs, leaves)
        self._recent[0] = (state, len(args) if flat else -1, take, key, run)
        return run(xs)

    def _taker(self, args: tuple, kwargs: dict, leaves: Sequence[Any]) -> Callable[[tuple, dict], Any] | None:
        """What takes the leaves of calls like this one from their arguments; None if some are not leaves themselves."""
        dynamic, by_name, _ = (args, kwargs, ()) if self._split is None else self._split(args, kwargs)
        names = sorted(by_name)
        given = [*dynamic, *[by_name[name] for name in names]]
        if len(given) != len(leaves) or not all(map(is_, given, leaves)):
            return None
        of_leaves, places = {id(x) for x in dynamic}, list(range(len(args)))
        static = [i for i in places if id(args[i]) not in of_leaves]
        fixed = [name for name in kwargs if name not in by_name]
        values = [args[i] for i in static] + [kwargs[name] for name in fixed]
        if len(args) - len(static) != len(dynamic) or not {type(x) for x in values} <= _UNCHANGING:
            return None
        positions = [i for i in places if i not in static]
        return taker_of(len(args), tuple(positions), tuple(static), tuple(names), tuple(fixed))(values)

    def function(self, call_generally: Callable[[tuple, dict], Any]) -> Callable:
        """The function that takes the fast path if possible, and else calls `call_generally`."""
        recent, other, read = self._recent, self._registered, self._read

        def compiled(*args, **kwargs):
            try:
                if context.trace is evaluator:
                    state, count, take, known, run = recent[0]
                    if config.tracing is state:
                        result = MISS
                        if count >= 0:
                            if count == len(args) and not kwargs:
                                result = run(args)
                                if result is MISS and (xs := _on_device(args)) is not None:
                                    result = run(xs)
                        elif take is not None:
                            leaves = take(args, kwargs)
                            if leaves is not None:
                                result = run(leaves)
                                if result is MISS and (xs := _on_device(leaves)) is not None:
                                    result = run(xs)
                        else:
                            try:
                                leaves, key = read(args, kwargs)
                            except Exception:  # raised by a user's class, for example: the general path reports it
                                return call_generally(args, kwargs)
                            if key == known:
                                result = run(leaves)
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


# static arguments of these types are the same where they are one object
_UNCHANGING = {int, bool, float, str, bytes, type(None), type, FunctionType, BuiltinFunctionType}
# dtypes that arrays keep whether or not those of 64 bits are on
_PLAIN = {np.dtype(name) for name in ("f4", "i4", "u4", "?", "f2", "i2", "u2", "i1", "u1", "c8")}
# the arrays of Python's numbers that were passed, with their buffers
_numbers: dict[Any, ConcreteArray] = {}
_NUMBERS_LIMIT = 256


def _on_device(args: Sequence[Any]) -> list[Any] | None:
    """Arguments some of which are NumPy's arrays or Python's numbers, as arrays on the device; None if none is."""
    changed = checked = False
    copy: Any = None
    xs: list[Any] = []
    try:
        for x in args:
            kind = type(x)
            if kind is not ConcreteArray:
                changed = True
                if kind is np.ndarray:
                    dtype = x.dtype
                    if dtype in _PLAIN and x.flags.c_contiguous:  # inlines _as_concrete
                        if not checked:
                            check_process()
                            copy, checked = copier(), True
                        array = ConcreteArray()
                        array.aval = aval = make_aval(x.shape, dtype)
                        array._buffer = copy(x, aval)
                        xs.append(array)
                        continue
                    x = _as_concrete(x)
                elif kind is float or kind is int:
                    x = _number(x, kind)
                else:
                    return None
                put(x)
            elif not hasattr(x, "_buffer") and not x.is_deleted():
                put(x)
                changed = True
            xs.append(x)
    except (TypeError, OverflowError):
        return None  # the general path names the argument
    return xs if changed else None


def _number(x: Any, kind: type) -> ConcreteArray:
    """The array of a Python number, the same one if it was passed before; not of zero, since 0. == -0."""
    key = (x, scalar_aval(kind))
    known = _numbers.get(key)
    if known is None:
        known = scalar_array(x)
        if x and x == x:
            if len(_numbers) >= _NUMBERS_LIMIT:
                _numbers.clear()
            _numbers[key] = known
    check_process()
    return known


def _as_concrete(x: AnyValue) -> ConcreteArray:
    """A leaf as a concrete array; TypeError for anything else, for example a tracer.

    NumPy's arrays are copied to the device at once: by way of an array here they would be copied twice, and 3,000 of
    them would take 1.5 times as long.
    """
    if type(x) is np.ndarray and x.dtype.isbuiltin == 1 and canonicalize_dtype(x.dtype) is x.dtype:
        if x.flags.c_contiguous:
            check_process()
            aval = make_aval(x.shape, x.dtype)
            return array_on_device(aval, copier()(x, aval))
    if type(x) is not ConcreteArray:
        x = lift(x)
        if type(x) is not ConcreteArray:
            raise TypeError
    return x
