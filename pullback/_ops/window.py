"""Reductions over sliding windows: the sums and extremes that pooling uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback._core import dtypes
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops import compare, reduce
from pullback._ops.accumulate import accumulator
from pullback._ops.conv_axes import dilated, padtype_to_pads, window_count
from pullback._ops.dilated_operands import without_cut_elements
from pullback._ops.families import NUMBER, ORDERED, scalar_like
from pullback._ops.gather_numpy import GatherDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.remainders import rem_p
from pullback._ops.rules import linear_jvp, zero_jvp
from pullback._ops.shape import move_axis, reshape
from pullback._xla.attributes import int_array, int_matrix

_INDEX = np.dtype(np.int32)

# --- shared: the parameters of windows are five tuples over all axes ---


def windowed_shape(name, shape, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    """The shape of the array of windows; ValueError for parameters that do not match."""
    for what, values in (
        ("window_dimensions", window_dimensions),
        ("window_strides", window_strides),
        ("padding", padding),
        ("base_dilation", base_dilation),
        ("window_dilation", window_dilation),
    ):
        if len(values) != len(shape):
            raise ValueError(f"{name}: {what} must have an entry for each axis of shape {shape}, got {values}")
    if any(v < 1 for v in (*window_dimensions, *window_strides, *base_dilation, *window_dilation)):
        raise ValueError(
            f"{name}: windows, strides and dilations must be positive, got windows {window_dimensions}, "
            f"strides {window_strides}, dilations {base_dilation} and {window_dilation}"
        )
    return tuple(
        window_count(dilated(n, d), dilated(w, e), s, pads)
        for n, w, s, pads, d, e in zip(
            shape, window_dimensions, window_strides, padding, base_dilation, window_dilation, strict=True
        )
    )


def attributes(window_dimensions, window_strides, padding, base_dilation, window_dilation):
    """The parameters as StableHLO attributes."""
    return (
        f"window_dimensions = {int_array(window_dimensions)}, window_strides = {int_array(window_strides)}, "
        f"base_dilations = {int_array(base_dilation)}, window_dilations = {int_array(window_dilation)}, "
        f"padding = {int_matrix(padding)}"
    )


def without_cut(ctx, operands, window):
    """The operands and parameters to emit, see `dilated_operands`."""
    given = zip(window["padding"], window["base_dilation"], strict=True)
    paddings = [(low, high, step) for (low, high), step in given]
    cut = [without_cut_elements(ctx, x, paddings) for x in operands]
    rest = cut[0][1]
    pads, steps = tuple([p[:2] for p in rest]), tuple([p[2] for p in rest])
    return [x for x, _ in cut], {**window, "padding": pads, "base_dilation": steps}


def add_axis(b, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    """The parameters with an additional axis at `b`, along which windows have length 1."""

    def insert(values, value):
        return (*values[:b], value, *values[b:])

    return {
        "window_dimensions": insert(window_dimensions, 1),
        "window_strides": insert(window_strides, 1),
        "padding": insert(padding, (0, 0)),
        "base_dilation": insert(base_dilation, 1),
        "window_dilation": insert(window_dilation, 1),
    }


def _window_primitive(name, op, identity, accepts) -> Primitive:
    p = Primitive(name)
    predicate, description = accepts

    def abstract_eval(x, **window):
        if not predicate(x.dtype):
            raise TypeError(f"{name}: expected {description}, got {x.str_short()}")
        return make_aval(windowed_shape(name, x.shape, **window), x.dtype, x.weak_type)

    def lower(ctx, x, **window):
        out = ctx.out_avals[0]
        if out.size == 0 or x.aval.size == 0:
            return ctx.constant(identity(out.dtype), out.strip_weak_type())
        x = ctx.convert(x, accumulator(out.dtype)) if op == "stablehlo.add" else x
        (x,), window = without_cut(ctx, [x], window)

        def reduced(block, x, start):
            region = block.region([start.aval, start.aval], lambda inner, ab: [inner.op(op, ab)])
            aval = make_aval(out.shape, x.aval.dtype)
            return block.op("stablehlo.reduce_window", [x, start], aval, attributes(**window), [region])

        if op != "stablehlo.add":
            return reduce.seeing_nan(ctx, op, identity, x, reduced)
        return ctx.convert(reduced(ctx, x, ctx.constant(0, make_aval((), x.aval.dtype))), out.dtype)

    p.abstract_eval, p.lower = abstract_eval, lower
    p.batch = lambda trace, args, dims, **window: (p.bind(*args, **add_axis(dims[0], **window)), dims[0])
    return p


# --- sums ---

reduce_window_sum_p: Primitive = _window_primitive("reduce_window_sum", "stablehlo.add", lambda dtype: 0, NUMBER)


def _sum_transpose(ct, x, window_dimensions, window_strides, padding, base_dilation, window_dilation):
    # as the transpose of a convolution: strides and base dilations are exchanged
    pads = []
    for n, m, w, s, (low, _), d, e in zip(
        x.aval.shape,
        ct.aval.shape,
        window_dimensions,
        window_strides,
        padding,
        base_dilation,
        window_dilation,
        strict=True,
    ):
        before = dilated(w, e) - 1 - low
        pads.append((before, dilated(n, d) + dilated(w, e) - 1 - dilated(m, s) - before))
    return [
        reduce_window_sum_p.bind(
            ct,
            window_dimensions=window_dimensions,
            window_strides=base_dilation,
            padding=tuple(pads),
            base_dilation=window_strides,
            window_dilation=window_dilation,
        )
    ]


linear_jvp(reduce_window_sum_p)
reduce_window_sum_p.transpose = _sum_transpose

# --- extremes: the tangent of each window is that of its first extreme element ---


def _extreme(name, op, where_p, identity) -> Primitive:
    p = _window_primitive(name, op, identity, ORDERED)

    def jvp(primals, tangents, **window):
        (x,), (t,) = primals, tangents
        y = p.bind(x, **window)
        if type(t) is Zero or x.aval.size == 0:
            return y, zero_of(y.aval)
        # windows of padding only have index -1, at which the gather reads 0
        position = where_p.bind(x, **window)
        numbers = GatherDimensionNumbers((), (0,), (0,))
        return y, gather(
            reshape(t, (x.aval.size,)),
            reshape(position, (*position.aval.shape, 1)),
            numbers,
            (1,),
            mode="fill",
            fill_value=0,
        )

    p.jvp = jvp
    return p


def _where_extreme(name, direction, identity) -> Primitive:
    """The index of each window's first extreme element, in the flattened array."""
    p = Primitive(name)
    p.abstract_eval = lambda x, **window: make_aval(windowed_shape(name, x.shape, **window), _INDEX)

    def lower(ctx, x, **window):
        out = ctx.out_avals[0]
        if out.size == 0 or x.aval.size == 0:
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
            earlier = block.op(
                "stablehlo.and",
                [
                    block.compare("GE", i, block.constant(0, i.aval)),
                    block.op(
                        "stablehlo.or", [block.compare("LT", i, j), block.compare("LT", j, block.constant(0, i.aval))]
                    ),
                ],
            )
            wins = block.op("stablehlo.or", [wins, block.op("stablehlo.and", [block.compare("EQ", a, b), earlier])])
            return [block.op("stablehlo.select", [wins, *pair], pair[0].aval) for pair in ((a, b), (i, j))]

        operands, window = without_cut(ctx, [x, ctx.reshape(flat, x.aval.shape)], window)
        outs = ctx.op(
            "stablehlo.reduce_window",
            [*operands, *starts],
            [make_aval(out.shape, x.aval.dtype), out],
            attributes(**window),
            [ctx.region([*scalars, *scalars], better)],
        )
        return outs[1]

    def batch(trace, args, dims, **window):
        x = move_axis(args[0], dims[0], 0)
        inner = x.aval.size // max(x.aval.shape[0], 1)
        flat = p.bind(x, **add_axis(0, **window))
        # indices into the batched array to indices into each example
        member = rem_p.bind(flat, scalar_like(max(inner, 1), _INDEX))
        outside = compare.lt_p.bind(flat, scalar_like(0, _INDEX))
        return compare.select_p.bind(outside, flat, member), 0

    p.lower, p.batch = lower, batch
    zero_jvp(p)
    return p


window_argmax_p: Primitive = _where_extreme("reduce_window_max_position", "GT", reduce.lowest)
window_argmin_p: Primitive = _where_extreme("reduce_window_min_position", "LT", reduce.highest)
reduce_window_max_p: Primitive = _extreme("reduce_window_max", "stablehlo.maximum", window_argmax_p, reduce.lowest)
reduce_window_min_p: Primitive = _extreme("reduce_window_min", "stablehlo.minimum", window_argmin_p, reduce.highest)


# --- wrappers ---


def window_parameters(
    shape: tuple[int, ...],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> dict[str, tuple]:
    """The parameters of a window primitive, from the user's description."""
    ones = (1,) * len(shape)
    dims, strides, base, dilation = (
        ones if v is None else tuple(int(i) for i in v)
        for v in (window_dimensions, window_strides, base_dilation, window_dilation)
    )
    if isinstance(padding, str):
        if len(dims) != len(shape):
            raise ValueError(
                f"reduce_window: window_dimensions must have an entry for each axis of shape {shape}, got {dims}"
            )
        padding = padtype_to_pads(
            [dilated(n, d) for n, d in zip(shape, base, strict=True)],
            [dilated(w, d) for w, d in zip(dims, dilation, strict=True)],
            strides,
            padding,
        )
    return {
        "window_dimensions": dims,
        "window_strides": strides,
        "padding": tuple((int(low), int(high)) for low, high in padding),
        "base_dilation": base,
        "window_dilation": dilation,
    }
