"""Convolutions of any rank, with strides, dilations, padding and groups, and their derivatives, which are
convolutions.

Along one spatial axis, with stride s, dilations d of the input and e of the kernel, and `low` zeros before
the input, y[o] = sum over k of x'[s*o + e*k - low] * w[k], where x' is the input with d - 1 zeros between
elements.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import make_aval
from pullback._core.typing import DTypeLike, Placement
from pullback._ops.conv_axes import (
    ConvDimensionNumbers,
    ConvGeneralDilatedDimensionNumbers,
    conv_dimension_numbers,
    dilated,
    padtype_to_pads,
    window_count,
)
from pullback._ops.depthwise import depthwise
from pullback._ops.dilated_operands import without_cut_elements
from pullback._ops.dot import PrecisionLike, canonical_precision, precision_attr
from pullback._ops.elementwise import add, scaled
from pullback._ops.families import operands
from pullback._ops.rules import bilinear
from pullback._ops.shape import convert_element_type, move_axis, reshape
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import rev
from pullback._xla.attributes import int_array, int_matrix

# --- wrappers ---

conv_general_dilated_p: Primitive = Primitive("conv_general_dilated")


def conv_general_dilated(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The convolution of `lhs` with the kernel `rhs` (not flipped, as usual in neural networks).

    `padding` is "SAME", "SAME_LOWER", "VALID" or a pair (before, after) for each spatial axis; `lhs_dilation`
    inserts zeros between elements of the input, `rhs_dilation` of the kernel. For the axes see
    `conv_dimension_numbers`. Both operands must have one dtype. With `feature_group_count` groups, group g of
    the output features sees group g of the input features only.
    ValueError for strides, padding or groups that do not match.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.conv_general_dilated(pnp.ones((1, 3, 8, 8)), pnp.ones((4, 3, 3, 3)), (2, 2), "SAME").shape
    (1, 4, 4, 4)
    """
    lhs, rhs = operands("conv_general_dilated", lhs, rhs)
    numbers = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    strides, pads, lhs_dilation, rhs_dilation = window_parameters(
        "conv_general_dilated",
        lhs.shape,
        rhs.shape,
        numbers,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
    )
    result = conv_general_dilated_p.bind(
        lhs,
        rhs,
        window_strides=strides,
        padding=pads,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=numbers,
        feature_group_count=int(feature_group_count),
        batch_group_count=int(batch_group_count),
        precision=canonical_precision(precision),
        preferred_element_type=None
        if preferred_element_type is None
        else dtypes.requested_dtype(preferred_element_type),
    )
    return laid_out("conv_general_dilated", result, out_sharding)


def window_parameters(
    name: str,
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    numbers: ConvDimensionNumbers,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...], tuple[int, ...]]:
    """The strides, padding and dilations of a convolution for each spatial axis, checked."""
    rank = len(lhs_shape) - 2
    strides = per_axis(name, "window_strides", window_strides, rank)
    of_input = per_axis(name, "lhs_dilation", (1,) * rank if lhs_dilation is None else lhs_dilation, rank)
    of_kernel = per_axis(name, "rhs_dilation", (1,) * rank if rhs_dilation is None else rhs_dilation, rank)
    if isinstance(padding, str):
        if any(d != 1 for d in of_input) and padding.upper() != "VALID":
            raise ValueError(
                f"{name}: padding={padding!r} has no meaning with lhs_dilation; give pairs of ints, or use "
                "conv_transpose"
            )
        kernel = [dilated(rhs_shape[i], d) for i, d in zip(numbers.rhs_spec[2:], of_kernel, strict=True)]
        padding = padtype_to_pads([lhs_shape[i] for i in numbers.lhs_spec[2:]], kernel, strides, padding)
    try:
        pads = tuple((operator.index(low), operator.index(high)) for low, high in padding)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: padding must be a pair of ints for each spatial axis, got {padding!r}") from None
    if len(pads) != rank:
        raise ValueError(f"{name}: padding must have a pair for each of {rank} spatial axes, got {padding}")
    return strides, pads, of_input, of_kernel


def per_axis(function, name, values, rank):
    try:
        values = tuple(operator.index(v) for v in values)
    except TypeError:
        raise TypeError(f"{function}: {name} must be a sequence of ints, got {values!r}") from None
    if len(values) != rank or any(v < 1 for v in values):
        raise ValueError(f"{function}: {name} must have a positive int for each of {rank} spatial axes, got {values}")
    return values


# --- type and lowering ---


def _conv_type(
    x,
    w,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    dimension_numbers,
    feature_group_count,
    batch_group_count,
    precision,
    preferred_element_type,
):
    numbers = dimension_numbers
    name = f"conv_general_dilated of {x.str_short()} with the kernel {w.str_short()}"
    if x.dtype != w.dtype:
        raise TypeError(f"{name}: operands must have one dtype; convert one with .astype()")
    if x.dtype.kind == "b":
        raise TypeError(f"{name}: expected numbers, got bools")
    n, c = (x.shape[a] for a in numbers.lhs_spec[:2])
    o, i = (w.shape[a] for a in numbers.rhs_spec[:2])
    if feature_group_count > 1 and batch_group_count > 1:
        raise ValueError(
            f"{name}: one of feature_group_count and batch_group_count must be 1, got "
            f"{feature_group_count} and {batch_group_count}"
        )
    if c != i * feature_group_count:
        raise ValueError(
            f"{name}: the input's {c} features must be the kernel's {i} input features times "
            f"feature_group_count={feature_group_count}"
        )
    groups = feature_group_count * batch_group_count
    if o % groups or n % batch_group_count:
        raise ValueError(
            f"{name}: {groups} groups must divide the kernel's {o} output features (and the batch of {n}, "
            "where batches are grouped)"
        )
    shape = [0] * x.ndim
    shape[numbers.out_spec[0]], shape[numbers.out_spec[1]] = n // batch_group_count, o
    for at, a, b, s, pads, d, e in zip(
        numbers.out_spec[2:],
        numbers.lhs_spec[2:],
        numbers.rhs_spec[2:],
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        strict=True,
    ):
        shape[at] = window_count(dilated(x.shape[a], d), dilated(w.shape[b], e), s, pads)
    if preferred_element_type is not None:
        return make_aval(tuple(shape), preferred_element_type)
    return make_aval(tuple(shape), x.dtype, x.weak_type and w.weak_type)


def _layout(spec: Sequence[int], first: str, second: str) -> str:
    names = {spec[0]: first, spec[1]: second, **{a: str(i) for i, a in enumerate(spec[2:])}}
    return "[" + ", ".join(names[i] for i in range(len(spec))) + "]"


def _conv_lower(
    ctx,
    x,
    w,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    dimension_numbers,
    feature_group_count,
    batch_group_count,
    precision,
    preferred_element_type,
):
    out = ctx.out_avals[0]
    if out.size == 0 or x.aval.size == 0 or w.aval.size == 0:
        return ctx.constant(0, out.strip_weak_type())
    shifted = depthwise(
        ctx,
        x,
        w,
        dimension_numbers,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        feature_group_count,
        batch_group_count,
    )
    if shifted is not None:
        return shifted
    lhs, rhs, result = dimension_numbers
    found: list[tuple[int, int, int]] = [(0, 0, 1)] * x.aval.ndim
    for axis, (low, high), step in zip(lhs[2:], padding, lhs_dilation, strict=True):
        found[axis] = (low, high, step)
    x, rest = without_cut_elements(ctx, x, found)
    padding, lhs_dilation = [rest[axis][:2] for axis in lhs[2:]], [rest[axis][2] for axis in lhs[2:]]
    reversal = f"array<i1{': ' * bool(padding)}{', '.join(['false'] * len(padding))}>"
    layout = f"{_layout(lhs, 'b', 'f')}x{_layout(rhs, 'o', 'i')}->{_layout(result, 'b', 'f')}"
    return ctx.op(
        "stablehlo.convolution",
        [x, w],
        out,
        (
            f"window_strides = {int_array(window_strides)}, padding = {int_matrix(padding)}, "
            f"lhs_dilation = {int_array(lhs_dilation)}, rhs_dilation = {int_array(rhs_dilation)}, "
            f"window_reversal = {reversal}, dimension_numbers = #stablehlo.conv<{layout}>, "
            f"feature_group_count = {feature_group_count} : i64, batch_group_count = {batch_group_count} : i64, "
            f"{precision_attr(precision)}"
        ),
    )


# --- derivatives ---


def _exchanged(spec):
    return (spec[1], spec[0], *spec[2:])


def _split(x: Array, axis: int, outer: int) -> Array:
    """Split an axis into two: `outer` groups, and the index within the group."""
    shape = x.aval.shape
    return reshape(x, (*shape[:axis], outer, shape[axis] // outer, *shape[axis + 1 :]))


def _fuse(x: Array, source: int, axis: int) -> Array:
    """Merge axis `source` into another (as its outer part); `axis` counts without `source`."""
    x = move_axis(x, source, axis)
    shape = x.aval.shape
    return reshape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


def _conv_transpose(ct, x, w, dimension_numbers, preferred_element_type, **params):
    rule = _input_pullback if is_linear(x) else _kernel_pullback
    other = w if is_linear(x) else x
    if other.aval.dtype != ct.aval.dtype:
        other = convert_element_type(other, ct.aval.dtype)
    aval = x.aval if is_linear(x) else w.aval
    part = convert_element_type(rule(ct, aval, other, dimension_numbers, **params), aval.dtype, ct.aval.weak_type)
    return [part, None] if is_linear(x) else [None, part]


def _spatial(shape, spec):
    return [shape[i] for i in spec[2:]]


def _input_pullback(
    ct,
    x,
    w,
    numbers,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    feature_group_count,
    batch_group_count,
    precision,
):
    """The cotangent of the input, of type `x`: ct, dilated by the stride, convolved with the flipped
    kernel."""
    groups = feature_group_count * batch_group_count
    pads = []
    for n, k, m, s, (low, _), d, e in zip(
        _spatial(x.shape, numbers.lhs_spec),
        _spatial(w.aval.shape, numbers.rhs_spec),
        _spatial(ct.aval.shape, numbers.out_spec),
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        strict=True,
    ):
        window = dilated(k, e)
        before = window - 1 - low
        pads.append((before, dilated(n, d) + window - 1 - dilated(m, s) - before))
    o, i = numbers.rhs_spec[:2]
    w = rev(w, numbers.rhs_spec[2:])
    if groups > 1:
        # each group of output features now maps to its own group of input features
        w = _fuse(_split(w, o, groups), o, i)
    dx = conv_general_dilated_p.bind(
        ct,
        w,
        window_strides=lhs_dilation,
        padding=tuple(pads),
        lhs_dilation=window_strides,
        rhs_dilation=rhs_dilation,
        dimension_numbers=ConvDimensionNumbers(numbers.out_spec, _exchanged(numbers.rhs_spec), numbers.lhs_spec),
        feature_group_count=groups,
        batch_group_count=1,
        precision=precision,
        preferred_element_type=None,
    )
    if batch_group_count > 1:
        n, c = numbers.lhs_spec[:2]
        dx = _fuse(_split(dx, c, batch_group_count), c, n)
    return dx


def _kernel_pullback(
    ct,
    w,
    x,
    numbers,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    feature_group_count,
    batch_group_count,
    precision,
):
    """The cotangent of the kernel, of type `w`: the input convolved with ct, dilated by the stride; batches
    are summed."""
    pads = []
    for n, k, m, s, (low, _), d, e in zip(
        _spatial(x.aval.shape, numbers.lhs_spec),
        _spatial(w.shape, numbers.rhs_spec),
        _spatial(ct.aval.shape, numbers.out_spec),
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        strict=True,
    ):
        pads.append((low, dilated(m, s) + dilated(k, e) - 1 - dilated(n, d) - low))
    specs = map(_exchanged, (numbers.lhs_spec, numbers.out_spec, numbers.rhs_spec))
    return conv_general_dilated_p.bind(
        x,
        ct,
        window_strides=rhs_dilation,
        padding=tuple(pads),
        lhs_dilation=lhs_dilation,
        rhs_dilation=window_strides,
        dimension_numbers=ConvDimensionNumbers(*specs),
        feature_group_count=batch_group_count,
        batch_group_count=feature_group_count,
        precision=precision,
        preferred_element_type=None,
    )


# --- batching: the batch axis joins the batch of the input, the features of the kernel, or both become groups ---


def _conv_batch(trace, args, dims, dimension_numbers, feature_group_count, batch_group_count, **params):
    (x, w), (bx, bw) = args, dims
    (n, c), o = dimension_numbers.lhs_spec[:2], dimension_numbers.rhs_spec[0]
    out_n, out_c = dimension_numbers.out_spec[:2]
    size = x.aval.shape[bx] if bx is not None else w.aval.shape[bw]

    def bind(x, w, feature_groups=feature_group_count, batch_groups=batch_group_count):
        return conv_general_dilated_p.bind(
            x,
            w,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_groups,
            batch_group_count=batch_groups,
            **params,
        )

    if bx is not None and bw is not None:
        w = _fuse(w, bw, o)
        if batch_group_count > 1:
            y = bind(_fuse(x, bx, n), w, batch_groups=batch_group_count * size)
        else:
            y = bind(_fuse(x, bx, c), w, feature_groups=feature_group_count * size)
        return _split(y, out_c, size), out_c
    # with groups, the batch axis goes between the group and the index within it
    if bx is not None:
        y = bind(_fuse_within(x, bx, n, batch_group_count), w)
        return _split(y, out_n, size), out_n
    groups = feature_group_count * batch_group_count
    y = bind(x, _fuse_within(w, bw, o, groups))
    y = _split(_split(y, out_c, groups), out_c + 1, size)
    return _fuse(y, out_c, out_c + 1), out_c


def _fuse_within(x, source, axis, groups):
    if groups == 1:
        return _fuse(x, source, axis)
    x = move_axis(x, source, 0)
    x = _split(x, axis + 1, groups)
    x = move_axis(x, 0, axis + 1)
    shape = x.aval.shape
    return reshape(x, (*shape[:axis], math.prod(shape[axis : axis + 3]), *shape[axis + 3 :]))


conv_general_dilated_p.abstract_eval = _conv_type
conv_general_dilated_p.lower = _conv_lower
bilinear(conv_general_dilated_p, add, scaled)
conv_general_dilated_p.transpose = _conv_transpose
conv_general_dilated_p.batch = _conv_batch
