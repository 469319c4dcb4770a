"""References in jaxprs become inputs and results, before a primitive that holds such a jaxpr is bound.

While a function is traced, its accesses to references from outside are recorded (`cells.py`). Here, a read becomes the
value that was last written, and the last value written becomes a result: equations are renamed, nothing is traced
again. So no transformation ever meets a reference, and a rule of a transformation may access references in turn: the
jaxpr that it stages is bound like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from pullback._core.cells import Cell, aliased, cells_of, read_cell, ref_get_p, ref_set_p, write_cell
from pullback._core.jaxpr import ClosedJaxpr, Jaxpr, ReadEffect, RefEffect, Var, WriteEffect
from pullback._core.primitive import HigherOrder, install_discharge


def discharged(jaxpr: Jaxpr, cells: Sequence[Cell], written: Sequence[Cell]) -> Jaxpr:
    """The jaxpr with the contents of references as further inputs, and of those written as further results."""
    inputs = [Var(cell.aval) for cell in cells]
    content: dict[Cell, Any] = dict(zip(cells, inputs, strict=True))
    same: dict[Any, Any] = {}
    eqns = []
    for eqn in jaxpr.eqns:
        invars = [same.get(v, v) if type(v) is Var else v for v in eqn.invars] if same else eqn.invars
        if eqn.primitive is ref_get_p:
            same[eqn.outvars[0]] = content[eqn.params["ref"]]
        elif eqn.primitive is ref_set_p:
            content[eqn.params["ref"]] = invars[0]
        else:
            eqns.append(eqn.replace(invars=invars) if same else eqn)
    outvars = [same.get(v, v) if type(v) is Var else v for v in jaxpr.outvars]
    results = [content[cell] for cell in written]
    return Jaxpr(jaxpr.constvars, [*jaxpr.invars, *inputs], eqns, [*outvars, *results])


class Exposed(NamedTuple):
    """A traced function with the contents of references as inputs and results.

    `outer` are the references that it closes over: their contents are the last constants of the jaxpr. `written` are
    those whose contents are the last results.
    """

    jaxpr: Jaxpr
    outer: list[Cell]
    written: list[Cell]
    effects: list[RefEffect]

    def closed(self, consts: Sequence[Any]) -> ClosedJaxpr:
        """The jaxpr with its constants, among them the contents of references now."""
        return ClosedJaxpr(self.jaxpr, [*consts, *map(read_cell, self.outer)], self.effects)


def exposed(traced: Jaxpr, arguments: dict[int, Cell]) -> Exposed:
    """The function with the contents of references as inputs: `arguments` has their places among the inputs."""
    read, written = accesses([traced], list(arguments.values()))
    outer = [cell for cell in (*read, *written) if cell not in arguments.values()]
    n = len(traced.invars)
    jaxpr = discharged(traced, [*outer, *arguments.values()], written)
    contents = jaxpr.invars[n : n + len(outer)]
    invars = jaxpr.invars[:n]
    for i, v in sorted(zip(arguments, jaxpr.invars[n + len(outer) :], strict=True)):
        invars.insert(i, v)
    effects: list[RefEffect] = []
    first = len(jaxpr.constvars)
    numbers = {cell: first + i for i, cell in enumerate(outer)}
    numbers |= {cell: first + len(outer) + i for i, cell in arguments.items()}
    for cell, i in sorted(numbers.items(), key=lambda pair: pair[1]):
        if cell in cells_of(traced, reads=True):
            effects.append(ReadEffect(i, cell.aval))
        if cell in written:
            effects.append(WriteEffect(i, cell.aval))
    whole = Jaxpr([*jaxpr.constvars, *contents], invars, jaxpr.eqns, jaxpr.outvars)
    return Exposed(whole, outer, written, effects)


def accesses(jaxprs: Sequence[Jaxpr], arguments: Sequence[Cell] = ()) -> tuple[list[Cell], list[Cell]]:
    """The references that some jaxprs only read, and those that one of them writes to.

    ValueError if a reference occurs as two, in the jaxprs or among the arguments.
    """
    written = list(dict.fromkeys(cell for jaxpr in jaxprs for cell in cells_of(jaxpr, reads=False)))
    every = dict.fromkeys(cell for jaxpr in jaxprs for cell in cells_of(jaxpr))
    known: dict[Cell, Cell] = {}
    for cell in (*arguments, *every):
        other = known.setdefault(cell.root(), cell)
        if other is not cell:
            raise ValueError(aliased(other.described(), cell.described()))
    return [cell for cell in every if cell not in written], written


def bind_discharged(primitive: HigherOrder, args: Sequence[Any], params: dict[str, Any]) -> list[Any] | None:
    """Bind a primitive whose jaxprs access references, to their contents too; None if there are none."""
    held = primitive.bodies(params)
    read, written = accesses([h.jaxpr for h in held])
    if not read and not written:
        return None
    if primitive.thread is None:
        raise NotImplementedError(
            f"a function given to {primitive.name} accesses {(read + written)[0].described()}, which it cannot: it "
            "must depend on its arguments alone. Read the Ref before, ref[...], and use that."
        )
    cells = [*read, *written]
    jaxprs = []
    for h in held:
        results = written
        if not h.returns:
            results = []
            for cell in cells_of(h.jaxpr, reads=False):
                raise ValueError(
                    f"the condition of a {primitive.name} writes to {cell.described()}: write to it in the body"
                )
        key = ("discharged", *cells, None, *results)
        jaxprs.append(h.jaxpr.derive(key, partial(discharged, h.jaxpr, cells, results)))
    outs, contents = primitive.thread(args, params, jaxprs, list(map(read_cell, read)), list(map(read_cell, written)))
    for cell, content in zip(written, contents, strict=True):
        write_cell(cell, content)
    return outs


def thread_call(primitive: HigherOrder) -> Callable[..., Any]:
    """The rule `thread` of a primitive that calls functions with its last operands and returns their results."""

    def thread(args, params, jaxprs, read, written):
        outs = primitive.bind(*args, *read, *written, **primitive.rebuilt(params, jaxprs))
        n = len(outs) - len(written)
        return outs[:n], outs[n:]

    return thread


install_discharge(bind_discharged)

__all__ = ["Exposed", "accesses", "bind_discharged", "discharged", "exposed", "thread_call"]
