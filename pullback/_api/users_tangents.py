"""Tangents and cotangents as users pass them and get them: checked, of the types of the values they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._analysis.uniform import vanishes
from pullback._core import dtypes
from pullback._core.arguments import aval_of, check_leaf
from pullback._core.array import ConcreteArray, is_array_like, lift
from pullback._core.lazy import LateModule
from pullback._core.public_array import ExtendedArray
from pullback._core.tree import tree_structure, tree_unflatten
from pullback._core.tree_paths import equality_errors, keystr
from pullback._core.types import ShapedArray, is_trivial, matches
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero, zero_of
from pullback._ops.shape import convert_element_type, instantiate

if TYPE_CHECKING:
    from pullback._core import users_trees
else:
    users_trees = LateModule("pullback._core.users_trees")


def describe_mismatch(expected: AnyValue, got: AnyValue) -> str:
    """The first difference of two structures, in words."""
    for path, what1, what2, _ in equality_errors(expected, got):
        return f"at {keystr(path) or 'the top'}: expected {what1}, got {what2}"
    return f"expected {tree_structure(expected)}, got {tree_structure(got)}"


def float0_zeros(aval: ShapedArray) -> np.ndarray:
    """The only tangent at an integer or bool: an array of dtype `float0`."""
    return np.zeros(aval.shape if type(aval) is ShapedArray else (), dtypes.float0)


class WrongCotangent(TypeError, ValueError):
    """A cotangent of another structure or dtype than its value: a TypeError, and a ValueError, which JAX raises."""


WrongCotangent.__name__ = "TypeError"


def as_tangent(
    x: AnyValue, primal: ShapedArray, describe: Callable[[], str], error: type[Exception] = TypeError
) -> Any:
    """A user's tangent or cotangent for a value of type `primal`; Python scalars take its dtype."""
    expected = primal.to_tangent_aval()
    if type(primal) is not ShapedArray or type(expected) is not ShapedArray:
        return _as_own_tangent(x, primal, expected, describe)
    if expected.dtype == dtypes.float0:
        if getattr(x, "dtype", None) == dtypes.float0 and np.shape(x) == primal.shape:
            return zero_of(primal)
        # rules get zeros that support arithmetic, and may return them
        if is_array_like(x) and np.shape(x) == primal.shape and vanishes(lift(x)):
            return zero_of(primal)
        if error is WrongCotangent and is_array_like(x) and _is_such(aval_of(x), primal):
            # programs pass a result on as its own cotangent, and nothing depends on that of an integer
            return zero_of(primal)
        raise error(
            f"{describe()}: the value is of type {primal.str_short()}, which has no derivative, so its "
            f"tangent must be np.zeros({primal.shape}, pullback.dtypes.float0), got {_kind(x)}"
        )
    if type(x) is Zero:
        return x
    check_leaf(x, describe)
    t = lift(x)
    if t.aval.dtype != expected.dtype and t.aval.weak_type and _castable(t.aval.dtype, expected.dtype):
        t = convert_element_type(t, expected.dtype, True)
    if t.aval.dtype != expected.dtype:
        raise error(
            f"{describe()}: expected dtype {expected.dtype.name}, got {t.aval.dtype.name}. "
            "A tangent or cotangent has the dtype of its value."
        )
    if t.aval.shape != expected.shape:
        raise ValueError(
            f"{describe()}: expected shape {expected.shape}, got {t.aval.shape}. "
            "A tangent or cotangent has the shape of its value."
        )
    return t


def _is_such(aval: Any, primal: ShapedArray) -> bool:
    return type(aval) is ShapedArray and aval.shape == primal.shape and not dtypes.is_inexact(aval.dtype)


def _as_own_tangent(x: AnyValue, primal: AnyValue, expected: AnyValue, describe: Callable[[], str]) -> Any:
    """`as_tangent` for a value of a type of one's own."""
    if type(x) is Zero or (is_trivial(expected) and x is None):
        return zero_of(primal)
    check_leaf(x, describe)
    t = lift(x)
    if type(expected) is ShapedArray and type(t.aval) is ShapedArray and not is_trivial(expected):
        if t.aval.weak_type and _castable(t.aval.dtype, expected.dtype):
            t = convert_element_type(t, expected.dtype, expected.weak_type)
    if not matches(expected, t.aval):
        raise (ValueError if type(t.aval) is ShapedArray else TypeError)(
            f"{describe()}: tangents and cotangents at values of type {primal.str_short()} have the type "
            f"{expected.str_short()} (to_tangent_aval), got {t.aval.str_short()}"
        )
    return zero_of(primal) if is_trivial(expected) else t


def _castable(source: np.dtype, target: np.dtype) -> bool:
    return not dtypes.is_complex(source) or dtypes.is_complex(target)


def _kind(x: AnyValue) -> str:
    try:
        return aval_of(x).str_short()
    except TypeError:
        return f"{x!r}"


def received(results: Sequence[Any], in_avals: Sequence[ShapedArray]) -> list[Any]:
    """The results of `pull` as arrays, zeros included, of the inputs' types and weak types."""
    return [
        r if type(r) is ConcreteArray and r.aval is aval else float0_zeros(aval) if r is None else _received(r, aval)
        for r, aval in zip(results, in_avals, strict=True)
    ]


def _received(r: Any, aval: ShapedArray) -> Any:
    if type(r) is not Zero and type(aval) is type(r.aval) is ShapedArray and r.aval.weak_type == aval.weak_type:
        return r
    return of_weakness(instantiate(r), aval)


def of_weakness(x: Any, aval: Any) -> Any:
    """A cotangent with the weakness of its argument's type; one of a type of one's own has none."""
    if type(aval) is not ShapedArray or type(x.aval) is not ShapedArray:
        return x
    return convert_element_type(x, x.aval.dtype, aval.weak_type)


def with_words(primals: PyTree, tangents: PyTree) -> PyTree:
    """The tangents, with the structure of the primals where these are keys: no derivative of each of their words."""
    leaves, tree = users_trees.tree_flatten(primals)
    dots, dots_tree = users_trees.tree_flatten(tangents)
    if tree != dots_tree:
        return tangents
    return tree_unflatten(
        tree,
        [
            x.of_words(np.zeros(x.words.shape, dtypes.float0))
            if isinstance(x, ExtendedArray) and _is_float0(t, x.shape)
            else t
            for x, t in zip(leaves, dots, strict=True)
        ],
    )


def _is_float0(t: AnyValue, shape: tuple[int, ...]) -> bool:
    return getattr(t, "dtype", None) == dtypes.float0 and np.shape(t) == shape
