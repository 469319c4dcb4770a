"""The axes of a convolution: their roles in its operands, padding, dilation, and the number of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

# --- the roles of axes ---


class ConvDimensionNumbers(NamedTuple):
    """The axes of the input and the result as (batch, feature, *spatial), of the kernel as (out, in,
    *spatial).

    >>> conv_dimension_numbers((1, 8, 3), (2, 3, 5), ("NWC", "WIO", "NWC")).lhs_spec
    (0, 2, 1)
    """

    lhs_spec: tuple[int, ...]
    rhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]


# three strings of letters, such as ("NHWC", "HWIO", "NHWC"), or the axes they stand for; None for ("NCHW", "OIHW",
# "NCHW")
ConvGeneralDilatedDimensionNumbers: TypeAlias = Sequence[str] | ConvDimensionNumbers | None


def conv_dimension_numbers(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], dimension_numbers: ConvGeneralDilatedDimensionNumbers
) -> ConvDimensionNumbers:
    """A user's dimension numbers in full: None (batch, feature, spatial; kernel out, in, spatial), or three
    strings.

    The strings name the axes of input, kernel and result, such as `("NHWC", "HWIO", "NHWC")`: N the batch, C
    the features, I and O the input and output features of the kernel, any other letter a spatial axis.
    TypeError for other strings.

    >>> from pullback import lax
    >>> lax.conv_dimension_numbers((1, 8, 8, 3), (3, 3, 3, 16), ("NHWC", "HWIO", "NHWC")).rhs_spec
    (3, 2, 0, 1)
    """
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    rank = len(lhs_shape)
    if len(rhs_shape) != rank or rank < 2:
        raise TypeError(
            "conv_general_dilated: input and kernel must have the same number of axes, at least 2, got "
            f"shapes {tuple(lhs_shape)} and {tuple(rhs_shape)}"
        )
    if dimension_numbers is None:
        plain = tuple(range(rank))
        return ConvDimensionNumbers(plain, plain, plain)
    specs = tuple(dimension_numbers)
    if len(specs) != 3 or not all(isinstance(s, str) and len(s) == rank == len(set(s)) for s in specs):
        raise TypeError(
            "conv_general_dilated: dimension_numbers must be None, ConvDimensionNumbers or three strings "
            f"of {rank} distinct letters, got {dimension_numbers!r}"
        )
    lhs, rhs, out = specs
    for spec, first, second in ((lhs, "N", "C"), (rhs, "O", "I"), (out, "N", "C")):
        if first not in spec or second not in spec or {*spec} - {first, second} != {*rhs} - {"O", "I"}:
            raise ValueError(
                f"conv_general_dilated: in dimension_numbers {dimension_numbers!r}, '{spec}' must have "
                f"{first}, {second} and the spatial letters of the kernel"
            )
    spatial = [c for c in rhs if c not in "OI"]
    return ConvDimensionNumbers(
        *(tuple(spec.index(c) for c in (*pair, *spatial)) for spec, pair in ((lhs, "NC"), (rhs, "OI"), (out, "NC")))
    )


def padtype_to_pads(
    in_shape: Sequence[int], window_shape: Sequence[int], window_strides: Sequence[int], padding: str
) -> list[tuple[int, int]]:
    """The zeros before and after each axis for "VALID" (none), "SAME" or "SAME_LOWER" (a result of length in
    / stride). ValueError for another name.

    >>> from pullback import lax
    >>> lax.padtype_to_pads((5,), (2,), (1,), "SAME")
    [(0, 1)]
    """
    kind = padding.upper() if isinstance(padding, str) else padding
    if kind == "VALID":
        return [(0, 0)] * len(in_shape)
    if kind not in ("SAME", "SAME_LOWER"):
        raise ValueError(f"padding must be 'SAME', 'SAME_LOWER', 'VALID' or pairs of ints, got {padding!r}")
    totals = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(in_shape, window_shape, window_strides, strict=True)
    ]
    small = [(t // 2, t - t // 2) for t in totals]
    return small if kind == "SAME" else [(high, low) for low, high in small]


def dilated(n: int, dilation: int) -> int:
    """The length of an axis with `dilation - 1` zeros between elements."""
    return (n - 1) * dilation + 1 if n else 0


def window_count(n: int, window: int, stride: int, pads: tuple[int, int]) -> int:
    """The number of windows that fit an axis."""
    room = n + sum(pads) - window
    return room // stride + 1 if room >= 0 and window > 0 else 0
