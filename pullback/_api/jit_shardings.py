"""Compiled functions over several devices: which devices a call runs on, and its program for these placements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from pullback._api.meshes import places_of
from pullback._core.array import ConcreteArray
from pullback._core.compilations import Compilation
from pullback._core.config import config
from pullback._core.hitypes import all_parts, is_own_value, types_of_parts
from pullback._core.jaxpr import Jaxpr
from pullback._core.placed_array import PlacedArray
from pullback._core.sharding import PartitionSpec, Sharding
from pullback._core.tree import PyTreeDef, tree_flatten, tree_leaves, tree_unflatten
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import PyTreePrefix
from pullback._ops.sharding_constraint import check_fits, sharding_constraint_p, sharding_of
from pullback._transforms.lower_types import lower_types
from pullback._xla import engine, platforms
from pullback._xla.executable import ProgramOfValues
from pullback._xla.placed_programs import (
    PlacedProgram,
    compile_placed,
    placement_of,
    placements_in,
    spread_of,
)
from pullback._xla.placement import is_default, representative
from pullback._xla.spread import Spread


class Shardings:
    """The arguments `in_shardings` and `out_shardings` of a compiled function."""

    def __init__(self, ins: PyTreePrefix, outs: PyTreePrefix):
        self._ins = tuple(ins) if type(ins) is list else ins
        self._outs = outs
        self._key = [(tuple(leaves), tree) for leaves, tree in map(tree_flatten, (ins, outs))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shardings) and self._key == other._key

    def __hash__(self) -> int:
        return hash(tuple(self._key))

    def of_arguments(self, name: str, args: tuple, kwargs: dict) -> list[Sharding | None]:
        """The sharding of each leaf of the arguments; those by keyword have none."""
        found = places_of(f"jit of {name}", "in_shardings", args, "the arguments", self._ins)
        return found + [None] * len(tree_leaves(kwargs))

    def of_results(self, name: str, tree: PyTreeDef) -> list[Sharding | None]:
        """The sharding of each leaf of the result."""
        template = tree_unflatten(tree, [0] * tree.num_leaves)
        return places_of(f"jit of {name}", "out_shardings", template, "the result", self._outs)


def shardings_of(device: Any, ins: PyTreePrefix, outs: PyTreePrefix) -> Shardings | None:
    """What `jit` was asked for, `device` where the others say nothing; None if nothing. TypeError for other things."""
    for what, places in (("device", device), ("in_shardings", ins), ("out_shardings", outs)):
        for place in tree_leaves(places):
            if not isinstance(place, PartitionSpec):  # whose mesh is that of the call
                sharding_of(f"jit: {what}", place)
    ins, outs = device if ins is None else ins, device if outs is None else outs
    return None if ins is None and outs is None else Shardings(ins, outs)


def constrained(xs: Sequence[Any], places: Sequence[Sharding | None]) -> list[Any]:
    """Values with constraints, where a compiled function with shardings is called inside of another."""
    return [x if at is None else sharding_constraint_p.bind(x, sharding=at) for x, at in zip(xs, places, strict=True)]


class PlacedCalls:
    """The programs of one traced function, by the placements of the arguments."""

    def __init__(
        self,
        jaxpr: Jaxpr,
        name: str,
        ins: Sequence[Sharding | None],
        outs: Sequence[Sharding | None],
        replaced: Sequence[int],
    ):
        # programs take and return the parts of values of types of one's own; a value's place is that of each part
        self._values = jaxpr.out_avals if jaxpr.has_own_types else None
        counts = [len(types_of_parts([aval])) for aval in jaxpr.in_avals]
        self._firsts = (0, *accumulate(counts))
        self._asked = _for_each_part(ins, counts)
        self._outs = _for_each_part(outs, [len(types_of_parts([aval])) for aval in jaxpr.out_avals])
        self._jaxpr = jaxpr = lower_types(jaxpr)
        self._name = name
        # the arguments whose place the last results keep
        self._replaced = tuple([self._firsts[i] for i in replaced])
        mesh = config.mesh_of_programs
        self._mesh = None if mesh is None or mesh.flat_devices == (engine.device(),) else mesh
        self._named = placements_in(jaxpr)
        self._programs: dict[Any, PlacedProgram | ProgramOfValues] = {}

    @property
    def always(self) -> bool:
        """Whether every call runs on devices that the function names."""
        return bool(self._named or self._mesh) or any(
            at is not None and not is_default(at) for at in (*self._asked, *self._outs)
        )

    def program(
        self,
        args: Sequence[ConcreteArray],
        donated: frozenset[int],
        options: Sequence[tuple[str, Any]],
        names: Callable[[], Sequence[str]],
        report: Compilation | None = None,
    ) -> PlacedProgram | ProgramOfValues:
        """The program for arguments, constants first, where they are now."""
        xs = args if self._values is None else all_parts(args)
        places = tuple(map(placement_of, xs))
        key = tuple([at and representative(at, x.aval.ndim) for at, x in zip(places, xs, strict=True)])
        program = self._programs.get(key)
        if program is None:
            if self._values is None:
                program = compile_placed(self._jaxpr, self.spread(places, names), donated, options, report)
            else:
                program = self._program_of_values(places, donated, options, names, report)
            self._programs[key] = program
        return program

    def _program_of_values(self, places, donated, options, names, report) -> ProgramOfValues:
        spans = [range(*self._firsts[i : i + 2]) for i in range(len(self._firsts) - 1)]

        def of_parts():
            return [name for name, span in zip(names(), spans, strict=True) for _ in span]

        gone = frozenset([k for i in donated for k in spans[i]])
        program = compile_placed(self._jaxpr, self.spread(places, of_parts), gone, options, report)
        assert self._values is not None
        return ProgramOfValues(program, self._values)

    def spread(self, places: Sequence[Sharding | None], names: Callable[[], Sequence[str]]) -> Spread:
        """The devices of a call with arguments at these places: those of all placements, which must be the same."""
        ins = []
        for i, (asked, place, aval) in enumerate(zip(self._asked, places, self._jaxpr.in_avals, strict=True)):
            if asked is not None:
                check_fits(f"jit of {self._name}: in_shardings: {names()[i]}", asked, aval.shape)
                if place is not None and not place.is_equivalent_to(asked, aval.ndim):
                    raise ValueError(
                        f"jit of {self._name}: {names()[i]}, of type {aval.str_short()}, is placed as {place}, but "
                        f"in_shardings says {asked}. Move it by device_put(x, sharding), or leave in_shardings out"
                    )
            ins.append(place if asked is None else asked)
        for aval, out in zip(self._jaxpr.out_avals, self._outs, strict=True):
            if out is not None:
                check_fits(f"jit of {self._name}: out_shardings: a result of type {aval.str_short()}", out, aval.shape)
        n = len(self._outs) - len(self._replaced)
        outs = (*self._outs[:n], *[ins[i] for i in self._replaced])
        return spread_of(f"jit of {self._name}", ins, outs, self._named, names, self._mesh)


def _for_each_part(places: Sequence[Any], counts: Sequence[int]) -> tuple[Any, ...]:
    return tuple([at for at, count in zip(places, counts, strict=True) for _ in range(count)])


def asked_placement(x: Any) -> Sharding | None:
    """Where an argument, or what its description says, was placed."""
    if isinstance(x, ShapeDtypeStruct):
        return x.sharding if isinstance(x.sharding, Sharding) else None
    return placement_of(x)


def is_elsewhere(args: Sequence[Any]) -> bool:
    """Return whether arrays were placed, or new arrays are to be on another device than the first."""
    if platforms.elsewhere() is not None or any(type(x) is PlacedArray for x in args):
        return True
    values = [x for x in args if is_own_value(x)]
    return bool(values) and any(type(x) is PlacedArray for x in all_parts(values))
