"""The programs of which a picture is made: a function as it stands, and what a transformation makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pullback._api.derivatives import jvp
from pullback._api.reverse_mode import vjp
from pullback._api.vectorize import vmap
from pullback._core import dtypes
from pullback._core.arguments import aval_of, check_leaves, flatten_result, input_names
from pullback._core.errors import describe_function, function_name
from pullback._core.jaxpr import ClosedJaxpr, Equation, Jaxpr, eval_jaxpr
from pullback._core.option_contexts import debug_nans
from pullback._core.origins import KeepingCalls
from pullback._core.staging import stage
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.types import ShapedArray, ShapeDtypeStruct, make_aval
from pullback._core.typing import PyTree

TRANSFORMS = ("grad", "vjp", "jvp", "vmap", "jit")


class Program(NamedTuple):
    """A traced function: its equations know their lines, and those that they come from (`Equation.origin`)."""

    title: str
    closed: ClosedJaxpr
    inputs: list[str]
    results: list[str]


def traced(fun: Callable, args: Sequence[PyTree], kwargs: dict[str, PyTree]) -> Program:
    """A function as it stands, of the types of its arguments."""
    check_leaves("draw", fun, args, kwargs, structs=True)
    leaves, tree = tree_flatten((tuple(args), kwargs))
    names = [name.replace("'", "", 2) for name in input_names(fun, args, kwargs, range(len(args)))]

    results: list[str] = []

    def flat(*xs):
        inner_args, inner_kwargs = tree_unflatten(tree, xs)
        value = fun(*inner_args, **inner_kwargs)
        results[:] = [f"result{keystr(path)}" for path, _ in tree_flatten_with_path(value)[0]]
        return flatten_result("draw", fun, value)[0]

    return Program(function_name(fun), _staged(fun, flat, [aval_of(x) for x in leaves], names), names, results)


def examples(fun: Callable, args: Sequence[PyTree], kwargs: dict[str, PyTree]) -> tuple[Any, Any, int]:
    """The types of one example of a batch, and the size of the batch."""
    check_leaves("draw", fun, args, kwargs, structs=True)
    leaves, tree = tree_flatten((tuple(args), kwargs))
    avals = [aval_of(x) for x in leaves]
    sizes = sorted({aval.shape[0] if aval.shape else 0 for aval in avals})
    if len(sizes) != 1 or not sizes[0]:
        kinds = ", ".join(aval.str_short() for aval in avals) or "nothing"
        raise ValueError(
            f"draw of {describe_function(fun)}: vmap goes along the leading axis of every argument, which must have "
            f"one size, got {kinds}"
        )
    one, named = tree_unflatten(tree, [ShapeDtypeStruct(aval.shape[1:], aval.dtype) for aval in avals])
    return one, named, sizes[0]


def transformed(fun: Callable, program: Program, transform: str, size: int = 0) -> Program:
    """What a transformation makes of a program; its equations know those of the program that they come from.

    `size` is that of the batch, for vmap.
    """
    jaxpr, consts = program.closed.jaxpr, program.closed.consts

    def flat(*xs):
        return eval_jaxpr(jaxpr, consts, *xs)

    title = f"{transform} of {program.title}"
    avals, names, results = jaxpr.in_avals, program.inputs, program.results
    if transform == "vmap":
        batched = [make_aval((size, *aval.shape), aval.dtype) for aval in avals]
        return Program(title, _staged(fun, vmap(flat), batched, names), names, results)
    floats = [i for i, aval in enumerate(avals) if dtypes.is_inexact(aval.dtype)]
    smooth = [i for i, aval in enumerate(jaxpr.out_avals) if dtypes.is_inexact(aval.dtype)]
    if not floats:
        raise TypeError(f"draw of {describe_function(fun)}: {transform} needs a floating-point argument")

    def of_floats(given):
        def inner(*moving):
            xs = [*given]
            for i, x in zip(floats, moving, strict=True):
                xs[i] = x
            outs = flat(*xs)
            return [outs[i] for i in smooth]

        return inner

    def forward(*xs):
        given, tangents = xs[: len(avals)], xs[len(avals) :]
        outs, slopes = jvp(of_floats(given), tuple(given[i] for i in floats), tangents)
        return [*outs, *slopes]

    def reverse(*xs):
        given, cotangents = xs[: len(avals)], xs[len(avals) :]
        outs, pull = vjp(of_floats(given), *[given[i] for i in floats])
        if transform == "vjp":
            return [*outs, *pull([*cotangents])]
        return [*pull([out.dtype.type(1) for out in outs])]

    values = [results[i] for i in smooth]
    outs = [jaxpr.out_avals[i] for i in smooth]
    gradients = [f"∂{names[i]}" for i in floats]
    if transform == "grad":
        _check_scalar(fun, outs)
        return Program(title, _staged(fun, reverse, avals, names), names, gradients)
    if transform == "jvp":
        moved = [*names, *(f"tangent of {names[i]}" for i in floats)]
        slopes = [f"tangent of {value}" for value in values]
        closed = _staged(fun, forward, [*avals, *(avals[i] for i in floats)], moved)
        return Program(title, closed, moved, values + slopes)
    pulled = [*names, *(f"cotangent of {value}" for value in values)]
    return Program(title, _staged(fun, reverse, [*avals, *outs], pulled), pulled, values + gradients)


def _check_scalar(fun: Callable, outs: Sequence[ShapedArray]) -> None:
    if len(outs) != 1 or outs[0].shape:
        kinds = ", ".join(aval.str_short() for aval in outs) or "nothing"
        raise TypeError(
            f"draw of {describe_function(fun)}: grad needs a function that returns one floating-point number, it "
            f"returns {kinds}. transform='vjp' draws the backward pass of any function"
        )


def _staged(fun: Callable, flat: Callable, avals: Sequence[ShapedArray], names: Sequence[str]) -> ClosedJaxpr:
    """The trace of a flat function, with origins: the option makes every transformation keep them."""
    with debug_nans(True), KeepingCalls():
        return stage(flat, avals, f"draw of {describe_function(fun)}", names)


def sources(eqn: Equation) -> Sequence[Equation]:
    """The equations of other programs that an equation comes from, nearest first."""
    return () if eqn.origin is None else eqn.origin.equations


def numbered(jaxpr: Jaxpr) -> dict[int, int]:
    """A number for each equation, in order, in held jaxprs too; by the equation's identity."""
    numbers: dict[int, int] = {}

    def visit(inner: Jaxpr) -> None:
        for eqn in inner.eqns:
            numbers.setdefault(id(eqn), len(numbers) + 1)
            for held in eqn.held:
                visit(held.jaxpr)

    visit(jaxpr)
    return numbers


def numbered_by_line(jaxpr: Jaxpr) -> dict[int, int]:
    """A number for each line that something is the derivative of, by the identity of equations; {} without derivatives.

    So are an operation and its derivatives found in a program that was never traced without them.
    """
    origins = [(eqn, eqn.origin) for eqn in jaxpr.eqns if eqn.origin is not None]
    lines = {origin.forward for _, origin in origins if origin.backward and origin.forward is not None}
    order: dict[Any, int] = {}
    numbers: dict[int, int] = {}
    for eqn, origin in origins:
        line = origin.forward if origin.backward else origin.location
        if line in lines:
            numbers[id(eqn)] = order.setdefault(line, len(order) + 1)
    return numbers


def size(jaxpr: Jaxpr) -> int:
    """The number of operations, in held jaxprs too; a call counts as what it calls."""
    return sum(sum(size(held.jaxpr) for held in eqn.held) or 1 for eqn in jaxpr.eqns)


def is_call(eqn: Equation) -> bool:
    """Return whether an equation does nothing but call one function, once."""
    held = eqn.held
    return len(held) == 1 and held[0].times == 1 and held[0].returns and not held[0].carried


def nbytes(aval: Any) -> int:
    """The memory of a value; 0 for a type of the user's."""
    return aval.size * aval.dtype.itemsize if isinstance(aval, ShapedArray) else 0
