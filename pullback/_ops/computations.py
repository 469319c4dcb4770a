"""Reductions by a user's function: `reduce` over axes and `reduce_window` over windows.

A function that is a single known operation becomes the primitive of that reduction, with its derivatives; any
other is compiled as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.arguments import refuse_sharding
from pullback._core.array import Array, ConcreteArray, lift
from pullback._core.jaxpr import HeldJaxpr, Jaxpr
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.staging import stage
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_text
from pullback._core.types import make_aval
from pullback._core.typing import PyTree
from pullback._ops import compare, elementwise, window
from pullback._ops import reduce as reductions
from pullback._ops.shape import canonical_axes, convert_element_type, move_axis, reduce_sum_p, reduced_type
from pullback._xla.lowering import int_array


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


reduce_p = HigherOrder("reduce", _bodies, _rebuilt)
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
    operands: PyTree, init_values: PyTree, computation: Callable, dimensions: Sequence[int], out_sharding: None = None
) -> Any:
    """`computation` folded over the given axes, starting from `init_values`.

    `operands` is an array or a tree of arrays of one shape, `init_values` one of scalars; `computation` takes
    two such trees of scalars to one, and must be associative. Sums, products and extremes can be
    differentiated, others not. ValueError for axes out of bounds or named twice, and unless there is an initial
    value for each operand; TypeError for a computation of other types.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.reduce(pnp.ones((2, 3)), 0., lax.add, (1,))
    Array([3., 3.], dtype=float32)
    """
    if out_sharding is not None:
        refuse_sharding("reduce", out_sharding)
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


def _reduce_batch(trace, args, dims, axes, jaxpr):
    half = len(args) // 2
    if any(d is not None for d in dims[half:]) or None in dims[:half]:
        raise NotImplementedError(
            "reduce: vmap needs all operands batched and no init_value, unless the computation "
            "is a sum, a product or an extreme"
        )
    xs = [move_axis(x, d, 0) for x, d in zip(args[:half], dims[:half], strict=True)]
    outs = reduce_p.bind(*xs, *args[half:], axes=tuple(a + 1 for a in axes), jaxpr=jaxpr)
    return outs, [0] * half


reduce_p.abstract_eval = _reduce_type
reduce_p.lower = _reduce_lower
reduce_p.batch = _reduce_batch

# --- reduce_window ---

reduce_window_p = HigherOrder("reduce_window", _bodies, _rebuilt, multiple_results=False)


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
    """`computation` folded over every window of the operand, starting from `init_value`, which also fills the
    padding.

    `computation` takes two scalars to one and must be associative. Sums (from 0), maxima and minima can be
    differentiated, other computations not. `padding` is "VALID", "SAME", "SAME_LOWER" or a pair for each
    axis. ValueError for windows or strides without an entry for each axis.

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


def _window_batch(trace, args, dims, jaxpr, **params):
    (x, init), (b, at) = args, dims
    if at is not None:
        raise NotImplementedError("reduce_window: vmap over init_value is supported for extremes only")
    return reduce_window_p.bind(x, init, jaxpr=jaxpr, **window.add_axis(b, **params)), b


reduce_window_p.abstract_eval = lambda x, init, jaxpr, **params: make_aval(
    window.windowed_shape("reduce_window", x.shape, **params), x.dtype
)
reduce_window_p.lower = _window_lower
reduce_window_p.batch = _window_batch
