"""Functions of JAX's inside that libraries and their tests use, and that exist nowhere else here."""

from __future__ import annotations

import numpy as np

from pullback._core.dtypes import promote_types
from pullback._core.typing import DTypeLike, PyTree
from pullback.tree_util import tree_flatten

# how far results of a dtype may differ, absolutely and relatively; integers not at all
_TOLERANCES = {
    "bfloat16": 1e-2,
    "float16": 1e-3,
    "float32": 1e-6,
    "complex64": 1e-6,
    "float64": 1e-15,
    "complex128": 1e-15,
}


def check_close(
    xs: PyTree, ys: PyTree, atol: float | None = None, rtol: float | None = None, err_msg: str = ""
) -> None:
    """Raise AssertionError if two pytrees differ in structure, or their arrays in shape or by more than a tolerance."""
    (ours, structure), (theirs, other) = tree_flatten(xs), tree_flatten(ys)
    assert structure == other, f"{structure} differs from {other}. {err_msg}"
    for x, y in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True):
        assert x.shape == y.shape, f"the shapes {x.shape} and {y.shape} differ. {err_msg}"
        least = max(_TOLERANCES.get(z.dtype.name, 0.0) for z in (x, y))
        wide = np.promote_types(x.dtype, np.float32)  # NumPy compares no bfloat16
        np.testing.assert_allclose(
            x.astype(wide),
            y.astype(wide),
            rtol=least if rtol is None else rtol,
            atol=least if atol is None else atol,
            err_msg=err_msg,
        )


def to_complex_dtype(dtype: DTypeLike) -> np.dtype:
    """The complex dtype that holds the numbers of another."""
    return promote_types(dtype, np.complex64)


__all__ = ["check_close", "to_complex_dtype"]
