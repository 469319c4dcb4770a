"""Arrays in treescope, a pretty-printer for notebooks: with a summary, and as grids of colors, by its two protocols."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ConcreteArray
from pullback._core.typing import AnyValue

# what has more lines is shown folded, and what has more entries without bounds
_LINES, _ENTRIES = 15, 100_000


def _summary(array: Any, fast: bool) -> str:
    """The type of an array, and the bounds of its entries."""
    text = f"pullback.Array {array.dtype.name}{array.shape}"
    if fast or not 0 < array.size < _ENTRIES or not (dtypes.is_float(array.dtype) or dtypes.is_integer(array.dtype)):
        return text
    values = np.asarray(array).astype(np.float64)
    finite = values[np.isfinite(values)]
    if finite.size:
        text += f" [≥{finite.min():.3g}, ≤{finite.max():.3g}]"
    return text if finite.size == values.size else f"{text} not finite: {values.size - finite.size}"


@functools.cache
def _adapter_of_arrays() -> Any:
    from treescope import ndarray_adapters, rendering_parts, type_registries

    of_numpy: Any = type_registries.lookup_ndarray_adapter(np.zeros(0))

    class ArrayAdapter(ndarray_adapters.NDArrayAdapter):
        """Shows an array as NumPy's with the same entries."""

        def get_axis_info_for_array_data(self, array: Any) -> Any:
            return tuple(ndarray_adapters.PositionalAxisInfo(i, size) for i, size in enumerate(array.shape))

        def get_array_data_with_truncation(self, array: Any, mask: Any, edge_items_per_axis: Any) -> Any:
            return of_numpy.get_array_data_with_truncation(np.asarray(array), mask, edge_items_per_axis)

        def get_array_summary(self, array: Any, fast: bool) -> Any:
            return rendering_parts.text(_summary(array, fast))

        def get_numpy_dtype(self, array: Any) -> np.dtype:
            return np.dtype(array.dtype)

    return ArrayAdapter()


def _adapter(self: ConcreteArray) -> Any:
    """The object by which treescope draws the array."""
    return _adapter_of_arrays()


def _shown(self: ConcreteArray, path: str | None, subtree_renderer: AnyValue) -> Any:
    """The array in a tree: a summary, and its text to be unfolded."""
    from treescope import rendering_parts as parts

    text = repr(self)
    if "\n" not in text:
        return parts.build_one_line_tree_node(parts.text(text), path)
    states = parts.ExpandState
    return parts.build_custom_foldable_tree_node(
        label=parts.comment_color(parts.text(f"<{_summary(self, fast=False)}>")),
        contents=parts.fold_condition(expanded=parts.indented_children([parts.text(text)])),
        path=path,
        expand_state=states.WEAKLY_EXPANDED if text.count("\n") < _LINES else states.COLLAPSED,
    )


ConcreteArray.__treescope_ndarray_adapter__ = _adapter  # type: ignore[attr-defined]
ConcreteArray.__treescope_repr__ = _shown  # type: ignore[attr-defined]
