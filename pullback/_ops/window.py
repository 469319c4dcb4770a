"""Reductions over sliding windows: the sums and extremes that pooling is made of."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, lift
from pullback._core.jaxpr import Jaxpr
from pullback._core.primitive import Primitive
from pullback._core.staging import stage
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops import compare, elementwise, reduce
from pullback._ops.conv import dilated, padtype_to_pads, window_count
from pullback._ops.families import NUMBER, ORDERED, scalar_like
from pullback._ops.gather_scatter import GatherDimensionNumbers, gather
from pullback._ops.rules import linear_jvp, zero_jvp
from pullback._ops.shape import broadcast_in_dim, convert_element_type, move_axis, reduce_sum_p, reshape
from pullback._xla.lowering import int_array, int_matrix

_INDEX = np.dtype(np.int32)

# --- what windows have in common: their parameters are one tuple for each of five lists, over all axes ---


def _windowed_shape(name, shape, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    for what, values in (("window_dimensions", window_dimensions), ("window_strides", window_strides),
                         ("padding", padding), ("base_dilation", base_dilation), ("window_dilation", window_dilation)):
        if len(values) != len(shape):
            raise ValueError(f"{name}: {what} must have an entry for each axis of shape {shape}, got {values}")
    if any(v < 1 for v in (*window_dimensions, *window_strides, *base_dilation, *window_dilation)):
        raise ValueError(f"{name}: windows, strides and dilations must be positive, got windows {window_dimensions}, "
                         f"strides {window_strides}, dilations {base_dilation} and {window_dilation}")
    return tuple(window_count(dilated(n, d), dilated(w, e), s, pads) for n, w, s, pads, d, e in zip(
        shape, window_dimensions, window_strides, padding, base_dilation, window_dilation, strict=True))


def _attrs(window_dimensions, window_strides, padding, base_dilation, window_dilation):
    return (f"window_dimensions = {int_array(window_dimensions)}, window_strides = {int_array(window_strides)}, "
            f"base_dilations = {int_array(base_dilation)}, window_dilations = {int_array(window_dilation)}, "
            f"padding = {int_matrix(padding)}")


def _add_axis(b, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    """The parameters with an axis at `b` over which windows have length 1."""

    def insert(values, value):
        return (*values[:b], value, *values[b:])

    return {"window_dimensions": insert(window_dimensions, 1), "window_strides": insert(window_strides, 1),
            "padding": insert(padding, (0, 0)), "base_dilation": insert(base_dilation, 1),
            "window_dilation": insert(window_dilation, 1)}


def _window_primitive(name, op, identity, accepts) -> Primitive:
    p = Primitive(name)
    predicate, description = accepts

    def abstract_eval(x, **window):
        if not predicate(x.dtype):
            raise TypeError(f"{name}: expected {description}, got {x.str_short()}")
        return make_aval(_windowed_shape(name, x.shape, **window), x.dtype, x.weak_type)

    def lower(ctx, x, **window):
        out = ctx.out_avals[0]
        if not out.size or not x.aval.size:
            return ctx.constant(identity(out.dtype), out.strip_weak_type())
        scalar = make_aval((), x.aval.dtype)
        start = ctx.constant(identity(x.aval.dtype), scalar)
        region = ctx.region([scalar, scalar], lambda block, ab: [block.op(op, ab)])
        return ctx.op("stablehlo.reduce_window", [x, start], out, _attrs(**window), [region])

    p.abstract_eval, p.lower = abstract_eval, lower
    p.batch = lambda args, dims, **window: (p.bind(*args, **_add_axis(dims[0], **window)), dims[0])
    return p


# --- sums ---

reduce_window_sum_p = _window_primitive("reduce_window_sum", "stablehlo.add", lambda dtype: 0, NUMBER)


def _sum_transpose(ct, x, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    # as the transpose of a convolution: strides and base dilations change places
    pads = []
    for n, m, w, s, (low, _), d, e in zip(x.aval.shape, ct.aval.shape, window_dimensions, window_strides, padding,
                                          base_dilation, window_dilation, strict=True):
        before = dilated(w, e) - 1 - low
        pads.append((before, dilated(n, d) + dilated(w, e) - 1 - dilated(m, s) - before))
    return [reduce_window_sum_p.bind(ct, window_dimensions=window_dimensions, window_strides=base_dilation,
                                     padding=tuple(pads), base_dilation=window_strides,
                                     window_dilation=window_dilation)]


linear_jvp(reduce_window_sum_p)
reduce_window_sum_p.transpose = _sum_transpose

# --- extremes: the tangent of each window is that of its first extreme element ---


def _extreme(name, op, direction, identity) -> Primitive:
    p = _window_primitive(name, op, identity, ORDERED)
    where_p = _where_extreme(f"{name}_position", direction, identity)

    def jvp(primals, tangents, **window):
        (x,), (t,) = primals, tangents
        y = p.bind(x, **window)
        if type(t) is Zero:
            return y, zero_of(y.aval)
        # windows of padding alone have position -1, at which the gather reads 0
        position = where_p.bind(x, **window)
        numbers = GatherDimensionNumbers((), (0,), (0,))
        return y, gather(reshape(t, (x.aval.size,)), reshape(position, (*position.aval.shape, 1)), numbers, (1,),
                         mode="fill", fill_value=0)

    p.jvp = jvp
    return p


def _where_extreme(name, direction, identity) -> Primitive:
    """The position of each window's first extreme element, in the flattened array."""
    p = Primitive(name)
    p.abstract_eval = lambda x, **window: make_aval(_windowed_shape(name, x.shape, **window), _INDEX)

    def lower(ctx, x, **window):
        out = ctx.out_avals[0]
        if not out.size or not x.aval.size:
            return ctx.constant(-1, out)
        flat = ctx.op("stablehlo.iota", [], make_aval((x.aval.size,), _INDEX), "iota_dimension = 0 : i64")
        scalars = [make_aval((), x.aval.dtype), make_aval((), _INDEX)]
        starts = [ctx.constant(identity(x.aval.dtype), scalars[0]), ctx.constant(-1, scalars[1])]

        def better(block, args):
            a, i, b, j = args
            wins = block.compare(direction, a, b)
            if dtypes.is_float(a.aval.dtype):
                wins = block.op("stablehlo.or", [wins, block.compare("NE", a, a)])
            # an element of the array is preferred to padding, an earlier one to a later one
            earlier = block.op("stablehlo.and", [block.compare("GE", i, block.constant(0, i.aval)), block.op(
                "stablehlo.or", [block.compare("LT", i, j), block.compare("LT", j, block.constant(0, i.aval))])])
            wins = block.op("stablehlo.or", [wins, block.op("stablehlo.and", [block.compare("EQ", a, b), earlier])])
            return [block.op("stablehlo.select", [wins, *pair], pair[0].aval) for pair in ((a, b), (i, j))]

        outs = ctx.op("stablehlo.reduce_window", [x, ctx.reshape(flat, x.aval.shape), *starts],
                      [make_aval(out.shape, x.aval.dtype), out], _attrs(**window),
                      [ctx.region([*scalars, *scalars], better)])
        return outs[1]

    def batch(args, dims, **window):
        x = move_axis(args[0], dims[0], 0)
        size, inner = x.aval.shape[0], x.aval.size // max(x.aval.shape[0], 1)
        flat = p.bind(x, **_add_axis(0, **window))
        # positions within the batched array to positions within each element of the batch
        member = elementwise.rem_p.bind(flat, scalar_like(max(inner, 1), _INDEX))
        outside = compare.lt_p.bind(flat, scalar_like(0, _INDEX))
        del size
        return compare.select_p.bind(outside, flat, member), 0

    p.lower, p.batch = lower, batch
    zero_jvp(p)
    return p


reduce_window_max_p = _extreme("reduce_window_max", "stablehlo.maximum", "GT", reduce.lowest)
reduce_window_min_p = _extreme("reduce_window_min", "stablehlo.minimum", "LT", reduce.highest)

# --- any other computation: compiled as it is, without derivative rules ---

reduce_window_p = Primitive("reduce_window")


def _general_lower(ctx, x, init, jaxpr, **window):
    scalar = make_aval((), x.aval.dtype)
    region = ctx.region([scalar, scalar], lambda block, ab: block.inline(jaxpr, ab))
    return ctx.op("stablehlo.reduce_window", [x, init], ctx.out_avals[0], _attrs(**window), [region])


def _general_batch(args, dims, jaxpr, **window):
    (x, init), (b, at) = args, dims
    if at is not None:
        raise NotImplementedError("reduce_window: vmap over init_value is supported for sums and extremes only")
    return reduce_window_p.bind(x, init, jaxpr=jaxpr, **_add_axis(b, **window)), b


reduce_window_p.abstract_eval = lambda x, init, jaxpr, **window: make_aval(
    _windowed_shape("reduce_window", x.shape, **window), x.dtype)
reduce_window_p.lower = _general_lower
reduce_window_p.batch = _general_batch

# --- wrappers ---


def scalar_computation(name: str, computation: Callable, dtype: np.dtype) -> tuple[Primitive | None, Jaxpr]:
    """A function of two scalars as a jaxpr, with its primitive if it is but one applied to both."""
    scalar = make_aval((), dtype)
    closed = stage(lambda a, b: [computation(a, b)], [scalar, scalar], name)
    jaxpr = closed.jaxpr
    (out,) = jaxpr.out_avals
    if out.shape or out.dtype != dtype or closed.consts:
        raise TypeError(f"{name}: the computation must take two scalars of dtype {dtype.name} to one, and close over no "
                        f"array; it gives {out.str_short()}")
    if len(jaxpr.eqns) == 1:
        eqn = jaxpr.eqns[0]
        if {*eqn.invars} == {*jaxpr.invars} and list(jaxpr.outvars) == list(eqn.outvars):
            return eqn.primitive, jaxpr
    return None, jaxpr


def reduce_window(operand: Any, init_value: Any, computation: Callable, window_dimensions: Sequence[int],
                  window_strides: Sequence[int] | None = None, padding: str | Sequence[tuple[int, int]] = "VALID",
                  base_dilation: Sequence[int] | None = None, window_dilation: Sequence[int] | None = None) -> Array:
    """`computation` folded over every window of the operand, starting from `init_value`, which also fills the padding.

    `computation` takes two scalars to one and must be associative. Addition, maximum and minimum can be differentiated, any
    other computation not. `padding` is "VALID", "SAME", "SAME_LOWER" or a pair for each axis.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.reduce_window(pnp.arange(6.), 0., lax.add, (2,), (2,))
    Array([1., 5., 9.], dtype=float32)
    """
    x = lift(operand)
    init = convert_element_type(lift(init_value), x.aval.dtype)
    if init.aval.ndim:
        raise ValueError(f"reduce_window: init_value must be a scalar, got shape {init.shape}")
    window = window_parameters(x.aval.shape, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    primitive, jaxpr = scalar_computation("reduce_window", computation, x.aval.dtype)
    if primitive is elementwise.add_p:
        # padding with anything but 0 is counted
        return _with_start(elementwise.add_p, reduce_window_sum_p, x, init, 0, window)
    if primitive is elementwise.max_p:
        return _with_start(elementwise.max_p, reduce_window_max_p, x, init, reduce.lowest(x.aval.dtype), window)
    if primitive is elementwise.min_p:
        return _with_start(elementwise.min_p, reduce_window_min_p, x, init, reduce.highest(x.aval.dtype), window)
    return reduce_window_p.bind(x, init, jaxpr=jaxpr, **window)
