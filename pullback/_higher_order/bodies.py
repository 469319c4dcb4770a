"""Shared parts of the control-flow primitives: tracing of the user's functions, and checks of their types."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from pullback._core import counters, dtypes
from pullback._core.array import Array, is_array_like, lift
from pullback._core.cells import cells_of, read_cell
from pullback._core.discharge import accesses, discharged
from pullback._core.errors import ConcretizationTypeError, describe_function, described
from pullback._core.flat_function import FlatFunction
from pullback._core.jaxpr import HeldJaxpr, Jaxpr, Var
from pullback._core.ref_arguments import holds_refs, passed
from pullback._core.staging import stage_open
from pullback._core.tree import PyTreeDef, tree_flatten
from pullback._core.tree_paths import equality_errors, keystr, skeleton, tree_flatten_with_path
from pullback._core.types import ShapedArray, matches
from pullback._core.typing import AnyValue, PyTree
from pullback._ops.shape import convert_element_type


class Body(NamedTuple):
    """A traced function: its jaxpr with captured values as leading inputs, those values, and the result's structure."""

    jaxpr: Jaxpr
    consts: list[Any]
    out_tree: PyTreeDef


def trace_body(
    function: str,
    fun: Callable,
    in_tree: PyTreeDef,
    avals: Sequence[ShapedArray],
    part: str,
    may_write: bool = True,
) -> Body:
    """Trace a function of pytrees for a control-flow primitive.

    If it may not write to references, what those hold that it reads is captured.
    """
    flat = FlatFunction(function, fun, in_tree)
    counters.count("traces")
    jaxpr, consts = stage_open(flat, avals, f"{part} of {function}, {describe_function(fun)},")
    if not may_write and cells_of(jaxpr):
        read, written = accesses([jaxpr])
        for cell in written:
            raise ValueError(
                f"{function}: {part} ({describe_function(fun)}) writes to {cell.described()}, but it is called as "
                "often as the algorithm needs, and must depend on its arguments alone. Return the value."
            )
        reading, n = discharged(jaxpr, read, []), len(jaxpr.invars)
        jaxpr = Jaxpr([], [*reading.invars[n:], *reading.invars[:n]], reading.eqns, reading.outvars)
        consts = [*map(read_cell, read), *consts]
    return Body(jaxpr, consts, flat.out_tree)


def lift_tree(function: str, part: str, tree: PyTree, refs: bool = False) -> tuple[list[Array], PyTreeDef]:
    """The leaves of a pytree of arrays; TypeError names a leaf that is not an array.

    With `refs`, it may hold references, which the structure puts back.
    """
    leaves, treedef = tree_flatten(tree)
    if holds_refs(leaves):
        passed_tree, cells = passed(tree, lambda path: f"{part}{keystr(tuple(path))} of {function}")
        if not refs:
            raise ValueError(
                f"{function}: {cells[0].origin} is a Ref, which is no value that it could compute with. Close over it, "
                "or pass what it holds, ref[...]."
            )
        leaves, treedef = tree_flatten(passed_tree)
    out = []
    for i, leaf in enumerate(leaves):
        try:
            out.append(lift(leaf))
        except (TypeError, OverflowError) as error:
            path = keystr(tree_flatten_with_path(tree)[0][i][0])
            place = f"{function}: {part}{' at ' + path if path else ''}"
            if is_array_like(leaf):
                raise type(error)(f"{place}: {error}") from None
            raise TypeError(f"{place} must be an array or a number, got {described(leaf)}") from None
    return out, treedef


def lift_operand(function: str, part: str, x: AnyValue) -> Array:
    """An operand as an array; the error names the operand."""
    try:
        return lift(x)
    except (TypeError, OverflowError) as error:
        raise type(error)(f"{function}: {part}: {error}") from None


def known_count(function: str, what: str, value: AnyValue, least: int, advice: str = "") -> int:
    """A count of steps or rows given by the user, as an int."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        count = operator.index(value)
    except (TypeError, ConcretizationTypeError):
        raise TypeError(
            f"{function}: {what} must be an integer that is known when the loop is traced, since memory is "
            f"laid out for it, got {value!r}.{advice}"
        ) from None
    if not least <= count < 2**31:
        raise ValueError(f"{function}: {what} must be at least {least} and less than 2**31, got {count}")
    return count


def path_of(tree: PyTreeDef, i: int) -> str:
    """The path of the `i`-th leaf in a structure."""
    return keystr(tree_flatten_with_path(skeleton(tree))[0][i][0])


def check_same_structure(function: str, what: str, expected: PyTreeDef, got: PyTreeDef, advice: str) -> None:
    """Refuse a result of the wrong structure, naming the first difference."""
    if expected == got:
        return
    advice = advice and f" {advice}"
    for path, what1, what2, _ in equality_errors(skeleton(expected), skeleton(got)):
        raise TypeError(f"{function}: {what}: at {keystr(path) or 'the top'} expected {what1}, got {what2}.{advice}")
    raise TypeError(f"{function}: {what}: expected {expected}, got {got}.{advice}")


def check_same_types(
    function: str, what: str, tree: PyTreeDef, expected: Sequence[ShapedArray], got: Sequence[ShapedArray], advice: str
) -> None:
    """Refuse leaves of the wrong types, naming each."""
    wrong = [
        f"  {path_of(tree, i) or 'the value'}: expected {e.str_short()}, got {g.str_short()}"
        for i, (e, g) in enumerate(zip(expected, got, strict=True))
        if not matches(e, g)
    ]
    if wrong:
        raise TypeError(f"{function}: {what}:\n" + "\n".join(wrong) + f"\n{advice}")


def promote_weak(values: Sequence[Array], outs: Sequence[ShapedArray]) -> list[Array] | None:
    """Weakly typed initial values in the dtypes of the body's results; None if nothing changes.

    `0.` as an initial value becomes an array of the body's dtype, where the body's result has the same shape.
    """
    changed = False
    result = []
    for x, out in zip(values, outs, strict=True):
        # a promotion to a third dtype would change the value
        if (
            type(x.aval) is type(out) is ShapedArray
            and x.aval.weak_type
            and x.aval.shape == out.shape
            and (x.aval.dtype != out.dtype or not out.weak_type)
            and (dtypes.join(x.aval.dtype, True, out.dtype, out.weak_type)[0] == out.dtype)
        ):
            x = convert_element_type(x, out.dtype, out.weak_type)
            changed = True
        result.append(x)
    return result if changed else None


@overload
def share_constants(bodies: Sequence[Body]) -> tuple[list[Jaxpr], list[Any]]: ...
@overload
def share_constants(bodies: Sequence[Body | None]) -> tuple[list[Jaxpr | None], list[Any]]: ...
def share_constants(bodies: Sequence[Body | None]) -> tuple[list[Any], list[Any]]:
    """The jaxprs of several bodies with one shared list of captured values, each value once; and that list."""
    consts = list({id(c): c for body in bodies if body is not None for c in body.consts}.values())
    jaxprs: list[Jaxpr | None] = []
    made: dict[int, Jaxpr] = {}
    for body in bodies:
        if body is None:
            jaxprs.append(None)
            continue
        if id(body) not in made:
            n = len(body.consts)
            own = {id(c): v for c, v in zip(body.consts, body.jaxpr.invars, strict=False)}
            shared = [own.get(id(c)) or Var(lift(c).aval) for c in consts]
            made[id(body)] = Jaxpr([], [*shared, *body.jaxpr.invars[n:]], body.jaxpr.eqns, body.jaxpr.outvars)
        jaxprs.append(made[id(body)])
    return jaxprs, consts


def held_under(*keys: str) -> tuple[Callable, Callable]:
    """The functions `bodies` and `rebuilt` of a primitive whose jaxprs define a problem and are run by an algorithm.

    The jaxprs are the parameters of the given names, some of which may be None.
    """

    def bodies(params: dict[str, Any]) -> list[HeldJaxpr]:
        return [HeldJaxpr(params[key], times=None, returns=False) for key in keys if params[key] is not None]

    def rebuilt(params: dict[str, Any], jaxprs: Sequence[Jaxpr], kept: Any) -> dict[str, Any]:
        return params | dict(zip([key for key in keys if params[key] is not None], jaxprs, strict=True))

    return bodies, rebuilt
