"""Operands that are dilated and cut at their start by negative padding, in programs that are divided among devices.

XLA's partitioner (0.10.2) divides such an axis only where the padding cuts off whole elements with their gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.types import make_aval
from pullback._xla.attributes import int_array

Padding = tuple[int, int, int]  # before and after, and the step from one element to the next


def without_cut_elements(ctx: Any, x: Any, paddings: Sequence[Padding]) -> tuple[Any, tuple[Padding, ...]]:
    """The operand without the elements that are cut off at the start of an axis, and the paddings of the rest."""
    paddings = tuple(paddings)
    if ctx.module.spread is None or not any(low < 0 and low % step for low, _, step in paddings):
        return x, paddings
    starts, rest = [], []
    for n, (low, high, step) in zip(x.aval.shape, paddings, strict=True):
        start = min(-(low // step), n - 1) if low < 0 and low % step and n else 0
        starts.append(start)
        rest.append((low + start * step, high, 1 if n - start == 1 else step))  # one element has no gaps
    shape, ones = x.aval.shape, int_array([1] * x.aval.ndim)
    part = make_aval(tuple([n - start for n, start in zip(shape, starts, strict=True)]), x.aval.dtype)
    attrs = f"limit_indices = {int_array(shape)}, start_indices = {int_array(starts)}, strides = {ones}"
    return ctx.op("stablehlo.slice", [x], part, attrs), tuple(rest)
