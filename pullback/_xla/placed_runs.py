"""The warm call of a program on several devices: generated callers, as in `warm_calls.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import Any

from pullback._core.array import ConcreteArray
from pullback._core.placed_array import PlacedArray
from pullback._core.sharding import Sharding
from pullback._core.tree import PyTreeDef
from pullback._xla.placed_programs import PlacedProgram, placement_of
from pullback._xla.placement import buffer_at
from pullback._xla.warm_calls import MISS

# above this number arguments and results are handled in loops: compiling generated code would take long
_WRITTEN = 200
_aval, _buffer = attrgetter("aval"), attrgetter("_buffer")


def placed_run_of(
    program: PlacedProgram,
    types: Sequence[Any],
    places: Sequence[Sharding | None],
    out_tree: PyTreeDef,
    consts: Sequence[ConcreteArray],
) -> Callable[[Sequence[Any]], Any]:
    """A function of the flat arguments that runs the program, if they are arrays of these types, at these places.

    Arguments without a place are moved at each call.
    """
    k = len(consts)
    given = [buffer_at(x, place) for x, place in zip(consts, program.ins, strict=False)]
    donated = [i - k for i in program.donated]
    if len(types) + k + len(program.outs) > _WRITTEN or any(i < 0 for i in donated):
        return _looped(program, types, places, out_tree, consts)
    maker = _generated(tuple([place is not None for place in places]), k, len(program.outs), tuple(donated))
    ins = program.ins[k:]
    accepted = [at if place is None else place for place, at in zip(places, ins, strict=True)]
    return maker(program.launch, types, accepted, given, program.out_avals, program.outs, out_tree.unflatten)


@functools.cache
def _generated(fixed: tuple[bool, ...], k: int, m: int, donated: tuple[int, ...]) -> Callable[..., Callable]:
    """Generate such functions for arguments that are `fixed` at a place or not, k constants and m results."""
    tests, buffers = [], []
    for i, stays in enumerate(fixed):
        kind = "PlacedArray" if stays else "ConcreteArray"
        tests.append(f"type(a{i}) is {kind} and a{i}.aval is t{i}" + (f" and a{i}.placement is p{i}" if stays else ""))
        buffers.append(f"a{i}._buffer" if stays else f"moved(a{i}, p{i})")
    if donated:
        tests.append(f"len({{{', '.join(f'id(a{i})' for i in range(len(fixed)))}}}) == {len(fixed)}")
    n = len(fixed)
    results = [f"o{i} = PlacedArray(); o{i}.aval = r{i}; o{i}._buffer = b{i}; o{i}.placement = q{i}" for i in range(m)]
    source = f"""
def maker(launch, types, places, consts, out_types, out_places, unflatten):
    ({_each("t{}", n)}) = types
    ({_each("p{}", n)}) = places
    ({_each("c{}", k)}) = consts
    ({_each("r{}", m)}) = out_types
    ({_each("q{}", m)}) = out_places
    def run(args):
        ({_each("a{}", n)}) = args
        if not ({" and ".join(tests) or "True"}):
            return MISS
        try:
            buffers = [{_each("c{}", k)}{", ".join(buffers)}]
        except AttributeError:
            return MISS
        ({_each("b{}", m)}) = launch(buffers)
        {"; ".join(results) or "pass"}
        {"; ".join(f"a{i}.delete()" for i in donated) or "pass"}
        return unflatten([{_each("o{}", m)}])
    return run
"""
    names: dict[str, Any] = {
        "ConcreteArray": ConcreteArray,
        "PlacedArray": PlacedArray,
        "MISS": MISS,
        "moved": buffer_at,
    }
    exec(source, names)
    return names["maker"]


def _each(part: str, n: int) -> str:
    return "".join(f"{part.format(i)}, " for i in range(n))


def _looped(program, types, places, out_tree, consts) -> Callable[[Sequence], Any]:
    """The function that `_generated` generates, with loops; arguments without a place take the program's own way."""
    given = [buffer_at(x, place) for x, place in zip(consts, program.ins, strict=False)]
    donated = [i - len(consts) for i in program.donated]
    own_way = None in places or any(i < 0 for i in donated)
    kinds = {PlacedArray, ConcreteArray} if own_way else {PlacedArray}

    def run(args):
        if not {*map(type, args)} <= kinds or not all(map(is_, map(_aval, args), types)):
            return MISS
        if not all(map(is_, map(placement_of, args), places)) or (donated and len({*map(id, args)}) < len(args)):
            return MISS
        if own_way:
            return out_tree.unflatten(program.run([*consts, *args]))
        try:
            buffers = [*given, *map(_buffer, args)]
        except AttributeError:
            return MISS
        results = []
        for aval, out, place in zip(program.out_avals, program.launch(buffers), program.outs, strict=True):
            array = PlacedArray()  # inlines placed
            array.aval = aval
            array._buffer = out
            array.placement = place
            results.append(array)
        for i in donated:
            args[i].delete()
        return out_tree.unflatten(results)

    return run
