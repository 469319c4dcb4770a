"""Convolutions in their common cases: without dilation, with padding by name, and transposed."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._core.array import Array, ArrayLike
from pullback._core.typing import DTypeLike
from pullback._ops.conv import conv_general_dilated, per_axis
from pullback._ops.conv_axes import (
    ConvGeneralDilatedDimensionNumbers,
    conv_dimension_numbers,
    dilated,
)
from pullback._ops.dot import PrecisionLike
from pullback._ops.families import operands
from pullback._ops.slicing import rev


def conv(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """`conv_general_dilated` of an input (batch, feature, spatial) with a kernel (out, in, spatial), without
    dilation.

    TypeError for operands of different rank or dtype, ValueError for features, strides or a padding that do not match.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.conv(pnp.ones((1, 1, 4)), pnp.ones((1, 1, 2)), (1,), "VALID")
    Array([[[2., 2., 2.]]], dtype=float32)
    """
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """`conv` with explicit padding and dilations; see `conv_general_dilated`. For errors see `conv`.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> ones = pnp.ones((1, 1, 3))
    >>> lax.conv_with_general_padding(ones, ones, (1,), [(1, 1)], None, None)
    Array([[[2., 3., 2.]]], dtype=float32)
    """
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def transposed_pads(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    kind = padding.upper()
    if kind == "SAME":
        total = kernel + stride - 2
        low = kernel - 1 if stride > kernel - 1 else -(-total // 2)
    elif kind == "VALID":
        total = kernel + stride - 2 + max(kernel - stride, 0)
        low = kernel - 1
    else:
        raise ValueError(f"conv_transpose: padding must be 'SAME', 'VALID' or pairs of ints, got {padding!r}")
    return low, total - low


def conv_transpose(
    lhs: ArrayLike,
    rhs: ArrayLike,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    transpose_kernel: bool = False,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    use_consistent_padding: bool = False,
) -> Array:
    """A convolution with a stride below one: the result's axes are longer by the factors `strides`.

    The axes are (batch, spatial, feature) and the kernel's (spatial, in, out) by default. Explicit `padding`
    is that of the convolution itself, or, with `use_consistent_padding`, that of the convolution of which
    this is the transpose. With `transpose_kernel` it is the gradient of the convolution with that kernel:
    flipped, input and output features exchanged. ValueError for another padding, and unless there is a stride, a
    dilation and a padding for each spatial axis.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.conv_transpose(pnp.ones((1, 4, 3)), pnp.ones((3, 3, 2)), (2,), "SAME").shape
    (1, 8, 2)
    """
    lhs, rhs = operands("conv_transpose", lhs, rhs)
    rank = lhs.ndim - 2
    if dimension_numbers is None:
        spatial = "HWDEFG"[:rank]
        dimension_numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    numbers = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    strides = per_axis("conv_transpose", "strides", strides, rank)
    rhs_dilation = per_axis(
        "conv_transpose", "rhs_dilation", (1,) * rank if rhs_dilation is None else rhs_dilation, rank
    )
    if not isinstance(padding, str) and len(padding) != rank:
        raise ValueError(f"conv_transpose: padding must have a pair for each of {rank} spatial axes, got {padding}")
    kernel = [dilated(rhs.shape[i], d) for i, d in zip(numbers.rhs_spec[2:], rhs_dilation, strict=True)]
    if isinstance(padding, str):
        pads = [transposed_pads(k, s, padding) for k, s in zip(kernel, strides, strict=True)]
    elif use_consistent_padding:
        pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel, padding, strict=True)]
    else:
        pads = [tuple(p) for p in padding]  # type: ignore[misc]
    if transpose_kernel:
        rhs = rev(rhs, numbers.rhs_spec[2:])
        o, i, *rest = numbers.rhs_spec
        numbers = numbers._replace(rhs_spec=(i, o, *rest))
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * rank,
        pads,
        strides,
        rhs_dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
