"""Cells: what references hold, and where in a program it is read and written.

A read returns the content, a write replaces it. Only in the body of a function that is traced to a jaxpr, a reference
from outside cannot be read or written at once: there the access is recorded, as an equation `ref_get` or `ref_set`,
until the body is bound. Then its content becomes an operand and a result (`discharge.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from pullback._core.array import Array, array_of
from pullback._core.errors import Location, UnexpectedTracerError
from pullback._core.jaxpr import Jaxpr, gathered
from pullback._core.primitive import Forgetting, Primitive, discharge_refs
from pullback._core.ref_changes import note_change, watched
from pullback._core.staging import StagingTrace
from pullback._core.trace import Trace, Tracer, call_with, check_alive, context
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue


class Cell:
    """What the handles of one reference share.

    `owner` is the trace in which it was made: `content` is a value of that trace, or of one that it runs in. `alone`
    says that nobody else holds the content, so that NumPy may write into it. `end` is the function that ended its use,
    `freeze` or `free_ref`.

    A function that is traced gets a cell of its own for a reference that is passed to it: `target` is the cell passed,
    None in a compiled function, whose calls pass different ones, and `origin` is the argument. While each example of a
    batch has a part of its own of a reference, `lent` is the argument that gives it.
    """

    __slots__ = ("content", "aval", "owner", "origin", "alone", "end", "target", "lent", "__weakref__")
    content: Any
    aval: ShapedArray
    owner: Trace
    origin: Location | str | None
    alone: bool
    end: str | None
    target: Cell | None
    lent: str | None

    def __init__(
        self,
        content: Any,
        aval: ShapedArray,
        alone: bool = False,
        origin: Location | str | None = None,
        target: Cell | None = None,
    ):
        self.content = content
        self.aval = aval
        self.owner = context.trace
        self.alone = alone
        self.end = None
        self.origin = origin
        self.target = target
        self.lent = None

    def root(self) -> Cell:
        """The cell that was made, where functions have passed it on."""
        cell = self
        while cell.target is not None:
            cell = cell.target
        return cell

    def described(self) -> str:
        """The words for the reference in messages."""
        how = f" that is {self.origin}" if isinstance(self.origin, str) else ""
        how = f" made at {self.origin}" if isinstance(self.origin, Location) else how
        return f"the Ref of type {self.aval.str_short()}{how}"

    def __repr__(self) -> str:
        return f"Ref{{{self.aval.str_short()}}}"


class RefScope(Trace):
    """A place where some references hold contents of their own; all else passes to the parent.

    A function with rules is traced into one equation, with the contents of references among its operands. When its
    rules run, it is on these.
    """

    __slots__ = ("contents",)

    def __init__(self, contents: dict[Cell, Any]):
        super().__init__(context.trace)
        self.transparent = False
        self.contents = {cell.root(): content for cell, content in contents.items()}

    def describe(self) -> str:
        return self.parent.describe()

    def process_primitive(self, primitive: AnyValue, args: Sequence[Any], params: dict[str, Any]) -> Any:
        return call_with(self.parent, primitive.bind, *args, **params)


class _Access(Primitive):
    """A recorded access to a reference. To apply it again, in a copy of the jaxpr, is to access the reference there."""

    __slots__ = ()

    def bind(self, /, *args: AnyValue, **params: AnyValue) -> Any:
        if args:
            write_cell(params["ref"], *args)
            return []
        return read_cell(params["ref"])


ref_get_p = _Access("ref_get")
ref_set_p = _Access("ref_set", multiple_results=True)
ref_get_p.types = ref_set_p.types = Forgetting()  # a reference must not be kept alive by a cache key
ref_get_p.abstract_eval = lambda ref: ref.aval
ref_set_p.abstract_eval = lambda aval, ref: []
ref_get_p.has(effectful=True)
ref_set_p.has(effectful=True, own_types=True)


def staging_of(cell: Cell, verb: str) -> Any:
    """The innermost trace to a jaxpr between the place where a reference was made and here; None if there is none.

    If it has a content of its own here, the scope.
    """
    trace: Any = context.trace
    owner = cell.owner
    if trace is owner and cell.content is not None and cell.lent is None:
        return None
    if cell.lent is not None:
        raise ValueError(aliased(cell.described(), f"the one that is {cell.lent}"))
    end = cell.root().end
    if end is not None:
        raise RuntimeError(
            f"{cell.described()} cannot be {verb}: its use was ended by {end}. Use the array that freeze "
            "returned, or make another Ref with new_ref."
        )
    while not owner.alive and not isinstance(owner, StagingTrace):
        owner = owner.parent  # what was made in a transformation that has ended belongs to the place around it
    if not owner.alive:
        raise UnexpectedTracerError(
            f"{cell.described()} was {verb} after {owner.describe()} had ended. A Ref that is made in a traced "
            "function exists only there: make it outside and pass it in, or return its content, ref[...]."
        )
    innermost = None
    while trace is not owner:
        if trace is None:
            if verb == "read":
                return None
            raise ValueError(written_by_rule(cell))
        if innermost is None and isinstance(trace, StagingTrace):
            innermost = trace
        elif type(trace) is RefScope and cell.root() in trace.contents:
            return innermost or trace
        if trace.repeats and verb == "written to":
            raise ValueError(
                f"{cell.described()} was written to in {trace.describe()}, inside of which it was not made: all "
                "examples would write to it at once. Map the Ref too (in_axes), so that each example has one of its "
                "own, or make it inside of the batched function; lax.map writes for one example after the other."
            )
        trace = trace.parent
    if innermost is None and cell.content is None:
        raise UnexpectedTracerError(
            f"{cell.described()} was {verb} after the function had been traced: what a compiled function gets for a "
            "Ref exists only there. Use the Ref that was passed."
        )
    return innermost


def aliased(one: str, other: str) -> str:
    """The message about a reference that reaches a function in two ways."""
    return (
        f"{one} and {other} are the same. What a traced function writes to one name would have to change the other, so "
        "a Ref may reach it in one way only: as one argument, or closed over."
    )


def written_by_rule(cell: Cell) -> str:
    """The message about a write to a reference that is inside of the transformation that runs the rule."""
    return (
        f"{cell.described()} is written to by a function with rules, or by a rule, which run outside of "
        f"{cell.root().owner.describe()}, where it was made: what its content depends on would be lost. Make the Ref "
        "outside of the function that is transformed, or let the function with rules return the value."
    )


def is_outside(cell: Cell) -> bool:
    """Return whether a reference was made in a trace that runs around this place."""
    trace: Any = context.trace
    owner = cell.root().owner
    while trace is not None and trace is not owner:
        trace = trace.parent
    return trace is not None


def resolved(cell: Cell) -> Cell:
    """The cell to access here: outside of the function that a reference was passed to, the one that was passed."""
    while cell.target is not None:
        trace: Any = context.trace
        staged = False
        while trace is not None and trace is not cell.owner:
            staged = staged or isinstance(trace, StagingTrace)
            trace = trace.parent
        if staged and trace is not None:
            break
        cell = cell.target
    return cell


def read_cell(cell: Cell, kept: bool = True) -> Any:
    """The content of a reference at this place in the program; `kept` says that it may outlive the next write."""
    if cell.target is not None:
        cell = resolved(cell)
    trace = staging_of(cell, "read")
    if trace is None:
        if kept:
            cell.alone = False
        return cell.content
    if type(trace) is RefScope:
        return trace.contents[cell.root()]
    discharge_refs[0] = True
    return trace.record(ref_get_p, [], {"ref": cell})


def write_cell(cell: Cell, value: Array, alone: bool = False) -> None:
    """Replace the content of a reference by a value of its type."""
    if cell.target is not None:
        cell = resolved(cell)
    trace = staging_of(cell, "written to")
    if isinstance(value, Tracer):
        check_alive(value)
        check_level(cell, value)
    if trace is None:
        if watched():
            note_change(cell, partial(_restore, cell, cell.content, cell.alone), True)
        cell.content = value
        cell.alone = alone
    elif type(trace) is RefScope:
        trace.contents[cell.root()] = value
    else:
        discharge_refs[0] = True
        trace.record(ref_set_p, [value], {"ref": cell})


def _restore(cell: Cell, content: Any, alone: bool) -> None:
    cell.content, cell.alone = content, alone


def owned_data(cell: Cell) -> np.ndarray:
    """The content of a reference that is held here, a concrete array, as NumPy data that may be written to."""
    content = cell.content
    value = getattr(content, "_value", None)
    if not cell.alone or type(value) is not np.ndarray or content.buffer is not None or not value.flags.writeable:
        value = np.array(content.value, order="C")
        cell.content = array_of(cell.aval, value)
        cell.alone = True
    return value


def check_level(cell: Cell, value: Tracer) -> None:
    """Refuse a value of a transformation that the reference was made outside of."""
    trace: Any = context.trace
    while trace is not None and trace is not cell.owner:
        if type(trace) is RefScope and cell.root() in trace.contents:
            return
        if trace is value._trace and not isinstance(trace, StagingTrace):
            raise ValueError(
                f"a value of type {value.aval.str_short()} traced by {value._trace.describe()} was written to "
                f"{cell.described()}, outside of that transformation: its derivative would be lost. Make the Ref "
                "inside of the transformed function; return the value as a result, or as aux; or write "
                "lax.stop_gradient(x), if it is to be kept without that."
            )
        trace = trace.parent


def cells_of(jaxpr: Jaxpr, reads: bool | None = None) -> tuple[Cell, ...]:
    """The references that a jaxpr accesses, in order of the first access: those it reads, or writes to, or both."""
    wanted = (ref_get_p, ref_set_p) if reads is None else (ref_get_p,) if reads else (ref_set_p,)

    def find(eqn):
        return [eqn.params["ref"]] if eqn.primitive in wanted else ()

    return tuple(dict.fromkeys(gathered(jaxpr, f"refs {reads}", find)))


__all__ = [
    "Cell",
    "RefScope",
    "aliased",
    "cells_of",
    "check_level",
    "is_outside",
    "owned_data",
    "read_cell",
    "ref_get_p",
    "ref_set_p",
    "resolved",
    "staging_of",
    "write_cell",
    "written_by_rule",
]
