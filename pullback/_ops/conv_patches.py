"""The windows of a convolution as features, and convolutions with a kernel of its own at every place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.typing import DTypeLike
from pullback._ops.conv import per_axis, window_parameters
from pullback._ops.conv_axes import (
    ConvDimensionNumbers,
    ConvGeneralDilatedDimensionNumbers,
    conv_dimension_numbers,
    dilated,
    window_count,
)
from pullback._ops.dot import PrecisionLike, canonical_precision, dot_general
from pullback._ops.families import operands, scalar_like
from pullback._ops.indexed import chosen
from pullback._ops.shape import convert_element_type, reshape, transpose
from pullback._ops.slicing import pad


def conv_general_dilated_patches(
    lhs: ArrayLike,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """The elements of `lhs` that each window of a convolution sees, along the feature axis of the result.

    The arguments are those of `conv_general_dilated`, with the spatial shape of the window in place of a kernel. The
    features of the result are (input feature, *window), flattened, the window's axes in the order of the kernel's in
    `dimension_numbers`. ValueError for strides or padding that do not match, TypeError for other axes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.conv_general_dilated_patches(pnp.arange(4.).reshape(1, 1, 4), (2,), (1,), "VALID"))
    [[[0. 1. 2.]
      [1. 2. 3.]]]
    """
    x = lift(lhs)
    rank = x.ndim - 2
    window = per_axis("conv_general_dilated_patches", "filter_shape", filter_shape, rank)
    numbers = conv_dimension_numbers(x.shape, (1,) * x.ndim, dimension_numbers)
    canonical_precision(precision)  # nothing is multiplied, so that infinities stay where they are
    kernel_shape = [1] * x.ndim
    for axis, n in zip(numbers.rhs_spec[2:], window, strict=True):
        kernel_shape[axis] = n
    strides, pads, lhs_dilation, rhs_dilation = window_parameters(
        "conv_general_dilated_patches",
        x.shape,
        kernel_shape,
        numbers,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
    )
    x = transpose(x, numbers.lhs_spec)
    zero = scalar_like(0, x.aval.dtype)
    x = pad(x, zero, [(0, 0, 0), (0, 0, 0), *((low, high, d - 1) for (low, high), d in zip(pads, lhs_dilation))])
    places = []
    for axis, (n, stride, d) in enumerate(zip(window, strides, rhs_dilation, strict=True), 2):
        count = window_count(x.aval.shape[axis], dilated(n, d), stride, (0, 0))
        places.append(count)
        seen = (np.arange(n)[:, None] * d + np.arange(count) * stride).reshape(n * count)
        x = chosen(x, seen, axis)
    batch, channels = x.aval.shape[:2]
    pairs = [m for pair in zip(window, places, strict=True) for m in pair]
    x = transpose(reshape(x, (batch, channels, *pairs)), (0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 2 + 2 * rank, 2)))
    x = reshape(x, (batch, channels * math.prod(window), *places))
    if preferred_element_type is not None:
        x = convert_element_type(x, dtypes.requested_dtype(preferred_element_type))
    return transpose(x, _inverse(numbers.out_spec))


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(order))


def conv_general_dilated_local(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
) -> Array:
    """A convolution whose kernel `rhs` differs from place to place: a locally connected layer.

    The spatial axes of `rhs` are those of the result, and its input features are (input feature, *window), flattened,
    with the window's shape `filter_shape`. The other arguments are those of `conv_general_dilated`. ValueError for a
    kernel, strides or padding that do not match, TypeError for operands of different dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> kernels = pnp.array([[[1., 10., 100.], [1., 10., 100.]]])  # out, in and window, place
    >>> print(lax.conv_general_dilated_local(pnp.ones((1, 1, 4)), kernels, (1,), "VALID", (2,)))
    [[[  2.  20. 200.]]]
    """
    x, kernels = operands("conv_general_dilated_local", lhs, rhs)
    numbers = conv_dimension_numbers(x.shape, kernels.shape, dimension_numbers)
    rank = x.ndim
    # windows as (batch, features, *places), kernels as (out, features, *places)
    spec = ConvDimensionNumbers(numbers.lhs_spec, numbers.rhs_spec, tuple(range(rank)))
    patches = conv_general_dilated_patches(
        x, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, spec, precision
    )
    kernels = transpose(kernels, numbers.rhs_spec)
    if patches.shape[1:] != kernels.shape[1:]:
        raise ValueError(
            "conv_general_dilated_local: the kernel must have the features (input feature, *window) and the spatial "
            f"axes of the result, {patches.shape[1:]}, got {kernels.shape[1:]}"
        )
    places = tuple(range(2, rank))
    y = dot_general(kernels, patches, (((1,), (1,)), (places, places)), precision=precision)
    # the result is (*places, out, batch)
    y = transpose(y, (rank - 1, rank - 2, *range(rank - 2)))
    return transpose(y, _inverse(numbers.out_spec))
