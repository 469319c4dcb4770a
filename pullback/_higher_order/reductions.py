"""Reductions by a user's function: `reduce` over axes and `reduce_window` over windows.

A function that is a single known operation becomes the primitive of that reduction. Any other is compiled as it is, and
its derivatives are those of a fold: adjacent elements are combined pairwise, until one is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pullback._core.array import Array, ConcreteArray, from_numpy, lift
from pullback._core.jaxpr import HeldJaxpr, Jaxpr, consts_to_args, eval_jaxpr
from pullback._core.lists import chosen, filled
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.staging import stage
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_text
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import Placement, PyTree
from pullback._core.zeros import Zero, zero_of
from pullback._ops import compare, elementwise, window
from pullback._ops import reduce as reductions
from pullback._ops.assemble import concatenate
from pullback._ops.compare import select
from pullback._ops.conv_axes import dilated, window_count
from pullback._ops.indexed import chosen as chosen_entries
from pullback._ops.shape import (
    broadcast_to,
    canonical_axes,
    convert_element_type,
    reduce_sum_p,
    reduced_type,
    reshape,
    transpose,
)
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import pad, slice_in_dim
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.vmap import batch_flat, batch_jaxpr
from pullback._xla.attributes import int_array


def _stage(name: str, computation: Callable, dtypes: Sequence[np.dtype], structure: Any) -> Jaxpr:
    """The computation, on a pair of scalars (or of trees of scalars), as a jaxpr."""
    scalars = [make_aval((), dtype) for dtype in dtypes]

    def flat(*args):
        given = (args[: len(scalars)], args[len(scalars) :])
        return tree_flatten(computation(*(tree_unflatten(structure, side) for side in given)))[0]

    closed = stage(flat, [*scalars, *scalars], name)
    got = closed.jaxpr.out_avals
    if [(a.shape, a.dtype) for a in got] != [(a.shape, a.dtype) for a in scalars] or closed.consts:
        wanted, given = (" ".join(a.str_short() for a in avals) for avals in (scalars, got))
        raise TypeError(
            f"{name}: the computation must take two scalars of type {wanted} to one, and close over no "
            f"array; it gives {given}"
        )
    return closed.jaxpr


def _operation(jaxpr: Jaxpr) -> Primitive | None:
    """The primitive that the computation applies to its two scalars, if that is all it does."""
    if len(jaxpr.eqns) != 1 or len(jaxpr.invars) != 2:
        return None
    (eqn,) = jaxpr.eqns
    whole = {*map(id, eqn.invars)} == {*map(id, jaxpr.invars)} and jaxpr.outvars[0] is eqn.outvars[0]
    return eqn.primitive if whole else None


# --- reduce ---


def _bodies(params):
    return [HeldJaxpr(params["jaxpr"], times=None, returns=False)]


def _rebuilt(params, jaxprs, kept):
    return {**params, "jaxpr": jaxprs[0]}


reduce_p: HigherOrder = HigherOrder("reduce", _bodies, _rebuilt)
_KNOWN = {
    elementwise.add_p: reduce_sum_p,
    elementwise.mul_p: reductions.reduce_prod_p,
    elementwise.max_p: reductions.reduce_max_p,
    elementwise.min_p: reductions.reduce_min_p,
    compare.and_p: reductions.reduce_and_p,
    compare.or_p: reductions.reduce_or_p,
    compare.xor_p: reductions.reduce_xor_p,
}


def reduce(
    operands: PyTree,
    init_values: PyTree,
    computation: Callable,
    dimensions: Sequence[int],
    out_sharding: Placement = None,
) -> Any:
    """`computation` folded over the given axes, starting from `init_values`.

    `operands` is an array or a tree of arrays of one shape, `init_values` one of scalars; `computation` takes two such
    trees of scalars to one, and must be associative. ValueError for axes out of bounds or named twice, and unless there
    is an initial value for each operand; TypeError for a computation of other types.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.reduce(pnp.ones((2, 3)), 0., lax.add, (1,))
    Array([3., 3.], dtype=float32)
    """
    if out_sharding is not None:
        return laid_out("reduce", reduce(operands, init_values, computation, dimensions), out_sharding)
    leaves, structure = tree_flatten(operands)
    initial, initial_structure = tree_flatten(init_values)
    if not leaves or structure != initial_structure:
        raise ValueError(
            "reduce: init_values must have a scalar for each of the operands, of which there is at least "
            f"one, got the structures {tree_text(initial_structure)} and {tree_text(structure)}"
        )
    xs = [lift(x) for x in leaves]
    starts = [convert_element_type(lift(v), x.aval.dtype) for v, x in zip(initial, xs, strict=True)]
    if len({x.aval.shape for x in xs}) > 1 or any(v.aval.ndim for v in starts):
        raise ValueError(
            "reduce: operands must have one shape and init_values be scalars, got "
            f"{', '.join(str(x.shape) for x in xs)} and {', '.join(str(v.shape) for v in starts)}"
        )
    axes = tuple(sorted(canonical_axes("reduce", dimensions, xs[0].aval.ndim)))
    jaxpr = _stage("reduce", computation, [x.aval.dtype for x in xs], structure)
    known = _operation(jaxpr)
    if known is not None and known in _KNOWN:
        outs = [known.bind(starts[0], _KNOWN[known].bind(xs[0], axes=axes))]
    else:
        outs = reduce_p.bind(*xs, *starts, axes=axes, jaxpr=jaxpr)
    return tree_unflatten(structure, outs)


def _reduce_type(*args, axes, jaxpr):
    half = len(args) // 2
    return [reduced_type("reduce", x, axes).strip_weak_type() for x in args[:half]]


def _reduce_lower(ctx, *args, axes, jaxpr):
    scalars = [v.aval for v in jaxpr.invars]
    out = list(ctx.out_avals)
    region = ctx.region(scalars, lambda block, given: block.inline(jaxpr, given))
    return ctx.op("stablehlo.reduce", args, out, f"dimensions = {int_array(axes)}", [region])


def _pairwise(jaxpr: Jaxpr, xs: list[Array], starts: list[Array], counts: np.ndarray | None = None) -> list[Array]:
    """The fold of arrays over their leading axis, from initial values: neighbours combined, until one is left.

    `counts` are flags of the elements that take part; by default all do.
    """

    def combined(left, right):
        shape = left[0].aval.shape
        size = math.prod(shape)
        flat = [reshape(x, (size,)) for x in (*left, *right)]
        outs, dims, trace = batch_flat(lambda *ab: eval_jaxpr(jaxpr, [], *ab), flat, [0] * len(flat), size, None)
        return [reshape(trace.materialize(y, d), shape) for y, d in zip(outs, dims, strict=True)]

    def among(left, right, flags):
        both = combined(left, right)
        if flags is None or all(f.all() for f in flags):
            return both
        first, second = flags
        outs = []
        for a, b, c in zip(left, right, both, strict=True):
            outs.append(select(from_numpy(first & second), c, select(from_numpy(first & ~second), a, b)))
        return outs

    count, rest = xs[0].aval.shape[0], xs[0].aval.shape[1:]
    first = [broadcast_to(v, rest) for v in starts]
    if count == 0:
        return first
    while count > 1:
        even = count - count % 2
        flags = None if counts is None else (counts[0:even:2], counts[1:even:2])
        left, right = ([slice_in_dim(x, k, even, 2) for x in xs] for k in (0, 1))
        pairs = among(left, right, flags)
        if counts is not None and flags is not None:
            counts = np.concatenate([flags[0] | flags[1], counts[even:]])
        last = [slice_in_dim(x, even, count) for x in xs]
        xs = pairs if count == even else [concatenate([y, x], 0) for y, x in zip(pairs, last, strict=True)]
        count = xs[0].aval.shape[0]
    only = [reshape(x, rest) for x in xs]
    return among(first, only, None if counts is None else (np.ones(rest, bool), counts[0]))


class _Fold(NamedTuple):
    """A reduction as a jaxpr of operations that have derivatives, and the constants that are its leading inputs."""

    jaxpr: Jaxpr
    consts: list[Any]


def _folded(jaxpr: Jaxpr, key: Hashable, fold: Callable, avals: Sequence[ShapedArray]) -> _Fold:
    """The fold by a computation, traced once for each type."""

    def make():
        closed = stage(fold, avals, "a reduction")
        return _Fold(consts_to_args(closed.jaxpr), closed.consts)

    return jaxpr.derive(("fold", key, tuple(avals)), make)


def _fold(avals: Sequence[ShapedArray], axes: tuple[int, ...], jaxpr: Jaxpr) -> _Fold:

    def fold(*args):
        half = len(args) // 2
        xs = [move_axes(x, axes) for x in args[:half]]
        lead = len(axes)
        xs = [reshape(x, (math.prod(x.aval.shape[:lead]), *x.aval.shape[lead:])) for x in xs]
        return _pairwise(jaxpr, xs, list(args[half:]))

    return _folded(jaxpr, axes, fold, avals)


def move_axes(x: Array, axes: tuple[int, ...]) -> Array:
    """The array with some axes first."""
    return transpose(x, (*axes, *(i for i in range(x.aval.ndim) if i not in axes)))


def _jvp_of_fold(fold: _Fold, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    active = tuple([type(t) is not Zero for t in tangents])
    derived, present = jvp_jaxpr(fold.jaxpr, (*[False] * len(fold.consts), *active))
    outs = eval_jaxpr(derived, [], *fold.consts, *primals, *chosen(tangents, active))
    n = len(fold.jaxpr.outvars)
    return outs[:n], filled(present, outs[n:], [zero_of(y.aval) for y in outs[:n]])


def _batch_of_fold(fold: _Fold, trace: Any, args: Sequence[Any], dims: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    flags = (*[False] * len(fold.consts), *(d is not None for d in dims))
    derived, batched = batch_jaxpr(fold.jaxpr, trace, flags)
    moved = [x if d is None else trace.materialize(x, d) for x, d in zip(args, dims, strict=True)]
    return eval_jaxpr(derived, [], *fold.consts, *moved), [0 if b else None for b in batched]


def _avals(args: Sequence[Any], dims: Sequence[int | None] | None = None) -> tuple[ShapedArray, ...]:
    """The types of operands, of one example under vmap, without weakness."""
    avals = [lift(x).aval.strip_weak_type() for x in args]
    if dims is None:
        return tuple(avals)
    return tuple(
        aval if d is None else make_aval((*aval.shape[:d], *aval.shape[d + 1 :]), aval.dtype)
        for aval, d in zip(avals, dims, strict=True)
    )


def _reduce_jvp(primals, tangents, axes, jaxpr):
    return _jvp_of_fold(_fold(_avals(primals), axes, jaxpr), primals, tangents)


def _reduce_batch(trace, args, dims, axes, jaxpr):
    half = len(args) // 2
    if any(d is not None for d in dims[half:]):
        return _batch_of_fold(_fold(_avals(args, dims), axes, jaxpr), trace, args, dims)
    xs = [trace.materialize(x, d) for x, d in zip(args[:half], dims[:half], strict=True)]
    outs = reduce_p.bind(*xs, *args[half:], axes=tuple(a + 1 for a in axes), jaxpr=jaxpr)
    return outs, [0] * half


reduce_p.abstract_eval = _reduce_type
reduce_p.lower = _reduce_lower
reduce_p.jvp = _reduce_jvp
reduce_p.batch = _reduce_batch

# --- reduce_window ---

reduce_window_p: HigherOrder = HigherOrder("reduce_window", _bodies, _rebuilt, multiple_results=False)


def reduce_window(
    operand: PyTree,
    init_value: PyTree,
    computation: Callable,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Array:
    """`computation` folded over every window of the operand, starting from `init_value`; padding takes no part.

    `computation` takes two scalars to one and must be associative. `padding` is "VALID", "SAME", "SAME_LOWER" or a
    pair for each axis. ValueError for windows or strides without an entry for each axis.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.reduce_window(pnp.arange(6.), 0., lax.add, (2,), (2,))
    Array([1., 5., 9.], dtype=float32)
    """
    x = lift(operand)
    init = convert_element_type(lift(init_value), x.aval.dtype)
    if init.aval.ndim:
        raise ValueError(f"reduce_window: init_value must be a scalar, got shape {init.shape}")
    params = window.window_parameters(
        x.aval.shape, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )
    jaxpr = _stage("reduce_window", computation, [x.aval.dtype], tree_flatten(0)[1])
    known = _operation(jaxpr)
    value = init.value if type(init) is ConcreteArray else None
    if known is elementwise.add_p and value is not None and value == 0:
        return window.reduce_window_sum_p.bind(x, **params)
    for p, windowed, identity in (
        (elementwise.max_p, window.reduce_window_max_p, reductions.lowest),
        (elementwise.min_p, window.reduce_window_min_p, reductions.highest),
    ):
        if known is not None and known is p:
            y = windowed.bind(x, **params)
            # an extreme may include its initial value any number of times
            return y if value is not None and value == identity(x.aval.dtype) else known.bind(y, init)
    return reduce_window_p.bind(x, init, jaxpr=jaxpr, **params)


def _window_lower(ctx, x, init, jaxpr, **params):
    scalar = make_aval((), x.aval.dtype)
    out = ctx.out_avals[0]
    region = ctx.region([scalar, scalar], lambda block, ab: block.inline(jaxpr, ab))
    return ctx.op("stablehlo.reduce_window", [x, init], out, window.attributes(**params), [region])


def _window_fold(avals: Sequence[ShapedArray], jaxpr: Jaxpr, params: dict[str, Any]) -> _Fold:

    def fold(x, init):
        sizes, strides = params["window_dimensions"], params["window_strides"]
        spread, pads = params["window_dilation"], params["padding"]
        config = [(low, high, d - 1) for (low, high), d in zip(pads, params["base_dilation"], strict=True)]
        # the compiler leaves out what lies between elements or outside
        taken = np.ones(x.aval.shape, bool)
        for axis, (low, high, gap) in enumerate(config):
            taken = _spread(taken, axis, low, high, gap)
        x = pad(x, init, config)
        shape = []
        for axis, (n, stride, d) in enumerate(zip(sizes, strides, spread, strict=True)):
            count = window_count(x.aval.shape[axis], dilated(n, d), stride, (0, 0))
            seen = (np.arange(n)[:, None] * d + np.arange(count) * stride).reshape(n * count)
            x, taken = chosen_entries(x, seen, axis), taken.take(seen, axis)
            shape += [n, count]
        rank = len(sizes)
        order = (*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))
        x, taken = transpose(reshape(x, shape), order), taken.reshape(shape).transpose(order)
        whole = (math.prod(sizes), *x.aval.shape[rank:])
        return _pairwise(jaxpr, [reshape(x, whole)], [init], taken.reshape(whole))

    return _folded(jaxpr, tuple(params.values()), fold, avals)


def _spread(flags: np.ndarray, axis: int, low: int, high: int, gap: int) -> np.ndarray:
    """Flags with False between them and at the ends, or without some at the ends, along an axis."""
    n = flags.shape[axis]
    length = n + max(n - 1, 0) * gap
    wide = np.zeros((*flags.shape[:axis], length, *flags.shape[axis + 1 :]), bool)
    np.moveaxis(wide, axis, 0)[:: gap + 1] = np.moveaxis(flags, axis, 0)
    widths = [(max(low, 0), max(high, 0)) if i == axis else (0, 0) for i in range(flags.ndim)]
    padded = np.pad(wide, widths)
    return padded.take(np.arange(max(-low, 0), padded.shape[axis] - max(-high, 0)), axis)


def _window_jvp(primals, tangents, jaxpr, **params):
    outs, touts = _jvp_of_fold(_window_fold(_avals(primals), jaxpr, params), primals, tangents)
    return outs[0], touts[0]


def _window_batch(trace, args, dims, jaxpr, **params):
    (x, init), (b, at) = args, dims
    if at is not None:
        outs, out_dims = _batch_of_fold(_window_fold(_avals(args, dims), jaxpr, params), trace, args, dims)
        return outs[0], out_dims[0]
    return reduce_window_p.bind(x, init, jaxpr=jaxpr, **window.add_axis(b, **params)), b


reduce_window_p.abstract_eval = lambda x, init, jaxpr, **params: make_aval(
    window.windowed_shape("reduce_window", x.shape, **params), x.dtype
)
reduce_window_p.lower = _window_lower
reduce_window_p.jvp = _window_jvp
reduce_window_p.batch = _window_batch
