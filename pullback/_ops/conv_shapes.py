"""The shapes of the results of convolutions and windows, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._ops.conv_axes import (
    ConvGeneralDilatedDimensionNumbers,
    conv_dimension_numbers,
    dilated,
    padtype_to_pads,
    window_count,
)
from pullback._ops.conv_functions import transposed_pads


def conv_general_permutations(dimension_numbers: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The axes of input, kernel and result of a convolution in the order (batch, feature, *spatial), or (out, in, ...).

    `dimension_numbers`: three strings, such as ("NHWC", "HWIO", "NHWC"). TypeError for other ones.

    >>> from pullback import lax
    >>> lax.conv_general_permutations(("NHWC", "HWIO", "NHWC"))
    ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    """
    shape = (1,) * len(dimension_numbers[0])
    return tuple(conv_dimension_numbers(shape, shape, dimension_numbers))


def conv_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    strides: Sequence[int],
    pads: str | Sequence[tuple[int, int]],
    batch_group_count: int = 1,
) -> tuple[int, ...]:
    """The shape of a convolution of `(batch, feature, *spatial)` with a kernel `(out, in, *spatial)`.

    `pads` is "SAME", "VALID" or a pair for each spatial axis. ValueError for another padding.

    >>> from pullback import lax
    >>> lax.conv_shape_tuple((1, 3, 8, 8), (4, 3, 3, 3), (2, 2), "SAME")
    (1, 4, 4, 4)
    """
    if isinstance(pads, str):
        pads = padtype_to_pads(lhs_shape[2:], rhs_shape[2:], strides, pads)
    if len(pads) != len(lhs_shape) - 2:
        raise ValueError(
            f"conv_shape_tuple: expected padding for each of {len(lhs_shape) - 2} spatial axes, got {pads}"
        )
    space = [
        window_count(n, window, stride, (pair[0], pair[1]))
        for n, window, stride, pair in zip(lhs_shape[2:], rhs_shape[2:], strides, pads, strict=True)
    ]
    return lhs_shape[0] // batch_group_count, rhs_shape[0], *space


def _rearranged(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    result = [0] * len(shape)
    for n, place in zip(shape, order, strict=True):
        result[place] = n
    return tuple(result)


def conv_general_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    dimension_numbers: ConvGeneralDilatedDimensionNumbers,
) -> tuple[int, ...]:
    """The shape of `conv_general_dilated` without dilation. TypeError for other axes, ValueError for another padding.

    >>> from pullback import lax
    >>> lax.conv_general_shape_tuple((1, 8, 8, 3), (3, 3, 3, 4), (2, 2), "SAME", ("NHWC", "HWIO", "NHWC"))
    (1, 4, 4, 4)
    """
    lhs, rhs, out = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    plain, kernel = ([shape[i] for i in order] for shape, order in ((lhs_shape, lhs), (rhs_shape, rhs)))
    return _rearranged(conv_shape_tuple(plain, kernel, window_strides, padding), out)


def conv_transpose_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    dimension_numbers: ConvGeneralDilatedDimensionNumbers,
) -> tuple[int, ...]:
    """The shape of `conv_transpose`. TypeError for other axes, ValueError for another padding.

    >>> from pullback import lax
    >>> lax.conv_transpose_shape_tuple((1, 4, 3), (3, 3, 2), (2,), "SAME", ("NHC", "HIO", "NHC"))
    (1, 8, 2)
    """
    lhs, rhs, out = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    plain, kernel = [[shape[i] for i in order] for shape, order in ((lhs_shape, lhs), (rhs_shape, rhs))]
    pairs = (
        [transposed_pads(k, s, padding) for k, s in zip(kernel[2:], window_strides, strict=True)]
        if isinstance(padding, str)
        else padding
    )
    space = [
        dilated(n, s) + sum(pair) - k + 1
        for n, k, s, pair in zip(plain[2:], kernel[2:], window_strides, pairs, strict=True)
    ]
    return _rearranged((plain[0], kernel[0], *space), out)


def reduce_window_shape_tuple(
    operand_shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The shape of `reduce_window`, `padding` being a pair for each axis. ValueError unless all have an entry for each.

    >>> from pullback import lax
    >>> lax.reduce_window_shape_tuple((6, 5), (2, 3), (2, 1), [(0, 0), (1, 1)])
    (3, 5)
    """
    ones = (1,) * len(operand_shape)
    return tuple(
        window_count(dilated(n, base), dilated(window, spread), stride, tuple(pair))
        for n, window, stride, pair, base, spread in zip(
            operand_shape,
            window_dimensions,
            window_strides,
            padding,
            ones if base_dilation is None else base_dilation,
            ones if window_dilation is None else window_dilation,
            strict=True,
        )
    )
