"""The fast path of a compiled call: arguments of structures and types that occurred before.

Besides the engine's dispatch, a warm call has to read its arguments and make its results. The functions that do this
are generated (`_xla/fast_paths.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import Any

import numpy as np

from pullback._core.array import ConcreteArray, array_on_device, lift
from pullback._core.config import config
from pullback._core.dtypes import canonicalize_dtype
from pullback._core.errors import boundary, fold
from pullback._core.hitypes import all_parts, all_values, is_own_value, types_of_parts
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, registry, tree_structure
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue
from pullback._xla.engine import copied, put
from pullback._xla.evaluate import evaluator
from pullback._xla.executable import Executable, ProgramOfValues
from pullback._xla.fast_paths import MISS, run_of
from pullback._xla.placed_programs import PlacedProgram, placement_of
from pullback._xla.placed_runs import placed_run_of

# tracing state, number of arguments if all are positional arrays (else -1), key from `_read` for others, run
_NO_CALL = (None, 0, None, None)


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
        self._recent[0] = (state, len(args) if flat else -1, key, run)
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
        flat = not kwargs and self._split is None and len(args) == len(xs) and all(map(is_, xs, args))
        self._recent[0] = (state, len(args) if flat else -1, key, run)
        return run(xs)

    def function(self, call_generally: Callable[[tuple, dict], Any]) -> Callable:
        """The function that takes the fast path if possible, and else calls `call_generally`."""
        recent, other, read = self._recent, self._registered, self._read

        def compiled(*args, **kwargs):
            try:
                if context.trace is evaluator:
                    state, count, known, run = recent[0]
                    if config.tracing is state:
                        result = MISS
                        if count >= 0:
                            if count == len(args) and not kwargs:
                                result = run(args)
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


def _as_concrete(x: AnyValue) -> ConcreteArray:
    """A leaf as a concrete array; TypeError for anything else, for example a tracer.

    NumPy's arrays are copied to the device at once: by way of an array here they would be copied twice, and 3,000 of
    them would take 1.5 times as long.
    """
    if type(x) is np.ndarray and x.dtype.isbuiltin == 1 and canonicalize_dtype(x.dtype) is x.dtype:
        if x.flags.c_contiguous:
            aval = make_aval(x.shape, x.dtype)
            return array_on_device(aval, copied(x, aval))
    if type(x) is not ConcreteArray:
        x = lift(x)
        if type(x) is not ConcreteArray:
            raise TypeError
    return x
