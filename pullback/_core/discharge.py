"""References in jaxprs become inputs and results, before a primitive that holds such a jaxpr is bound.

While a function is traced, its accesses to references from outside are recorded (`refs.py`). Here, a read becomes the
value that was last written, and the last value written becomes a result: equations are renamed, nothing is traced
again. So no transformation ever meets a reference, and a rule of a transformation may access references in turn: the
jaxpr that it stages is bound like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pullback._core.jaxpr import Jaxpr, Var
from pullback._core.primitive import HigherOrder, install_discharge
from pullback._core.refs import Cell, cells_of, read_cell, ref_get_p, ref_set_p, write_cell


def discharged(jaxpr: Jaxpr, read: Sequence[Cell], written: Sequence[Cell], returns: bool = True) -> Jaxpr:
    """The jaxpr with the contents of references as further inputs, and of those written as further results."""
    inputs = [Var(cell.aval) for cell in (*read, *written)]
    content: dict[Cell, Any] = dict(zip((*read, *written), inputs, strict=True))
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
    results = [content[cell] for cell in written] if returns else []
    return Jaxpr(jaxpr.constvars, [*jaxpr.invars, *inputs], eqns, [*outvars, *results])


def accesses(jaxprs: Sequence[Jaxpr]) -> tuple[list[Cell], list[Cell]]:
    """The references that some jaxprs only read, and those that one of them writes to."""
    written = list(dict.fromkeys(cell for jaxpr in jaxprs for cell in cells_of(jaxpr, written=True)))
    every = dict.fromkeys(cell for jaxpr in jaxprs for cell in cells_of(jaxpr))
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
    for h in held:
        if not h.returns and cells_of(h.jaxpr, written=True):
            raise ValueError(
                f"a function given to {primitive.name} as its condition writes to "
                f"{cells_of(h.jaxpr, written=True)[0].described()}: write to it in the body."
            )
    key = ("discharged", *read, None, *written)
    jaxprs = [h.jaxpr.derive(key, partial(discharged, h.jaxpr, read, written, h.returns)) for h in held]
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

__all__ = ["accesses", "bind_discharged", "discharged", "thread_call"]
