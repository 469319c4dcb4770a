"""Functions of JAX's inside that libraries and their tests use, and that exist nowhere else here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from pullback._core import tree_paths
from pullback._core.dtypes import promote_types
from pullback._core.errors import boundary
from pullback._core.public_array import ExtendedArray
from pullback._core.tree import IsLeaf
from pullback._core.tree_paths import KeyPath, keystr
from pullback._core.typing import AnyValue, DTypeLike, PyTree
from pullback.tree_util import tree_flatten

F = TypeVar("F", bound=Callable)
Tolerance: TypeAlias = float | Mapping[Any, float] | None

# how far results of a dtype may differ, absolutely and relatively; integers not at all
_TOLERANCES = {
    "bfloat16": 1e-2,
    "float16": 1e-3,
    "float32": 1e-6,
    "complex64": 1e-6,
    "float64": 1e-15,
    "complex128": 1e-15,
}


def check_close(xs: PyTree, ys: PyTree, atol: Tolerance = None, rtol: Tolerance = None, err_msg: str = "") -> None:
    """Raise AssertionError if two pytrees differ in structure, or their arrays in shape or by more than a tolerance.

    A tolerance is a number, or a number by dtype.
    """
    (ours, structure), (theirs, other) = tree_flatten(xs), tree_flatten(ys)
    assert structure == other, f"{structure} differs from {other}. {err_msg}"
    for x, y in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True):
        assert x.shape == y.shape, f"the shapes {x.shape} and {y.shape} differ. {err_msg}"
        wide = np.promote_types(x.dtype, np.float32)  # NumPy compares no bfloat16
        np.testing.assert_allclose(
            x.astype(wide),
            y.astype(wide),
            rtol=max(_tolerance(rtol, z.dtype) for z in (x, y)),
            atol=max(_tolerance(atol, z.dtype) for z in (x, y)),
            err_msg=err_msg,
        )


def _tolerance(given: Tolerance, dtype: np.dtype) -> float:
    if isinstance(given, Mapping):
        given = {np.dtype(name): number for name, number in given.items()}.get(dtype)
    return _TOLERANCES.get(dtype.name, 0.0) if given is None else given


def prefix_errors(prefix_tree: PyTree, full_tree: PyTree, is_leaf: IsLeaf = None) -> list[Callable[[str], ValueError]]:
    """For each place where a tree is not a prefix of another: the function from the first one's name to the error."""

    def make(path: KeyPath, expected: str, got: str, why: str) -> Callable[[str], ValueError]:
        text = f"expected {expected}, got {got}{f': {why}' if why else ''}"
        return lambda name: ValueError(f"pytree structure error at {name}{keystr(path)}: {text}")

    return [make(*difference) for difference in tree_paths.prefix_errors(prefix_tree, full_tree, is_leaf)]


def api_boundary(fun: F, **options: AnyValue) -> F:
    """A public function of another package: exceptions leave it without frames of ours and of excluded paths."""
    return boundary(fun)


def flatten_one_level(tree: PyTree) -> tuple[list[PyTree], Any]:
    """The children of a container and what is beside them; ValueError for a leaf."""
    found = None if isinstance(tree, ExtendedArray) else tree_paths.one_level(tree)
    if found is None:
        raise ValueError(f"can't tree-flatten type: {type(tree)}")
    return [child for _, child in found[0]], found[1]


def to_complex_dtype(dtype: DTypeLike) -> np.dtype:
    """The complex dtype that holds the numbers of another."""
    return promote_types(dtype, np.complex64)


__all__ = ["api_boundary", "check_close", "flatten_one_level", "prefix_errors", "to_complex_dtype"]


def safe_zip(*args: Iterable[Any]) -> list[tuple[Any, ...]]:
    """The tuples of items of sequences of one length, in a list; ValueError for different lengths."""
    return list(zip(*args, strict=True))
