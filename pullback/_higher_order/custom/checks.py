"""Checks of the results of rules; errors name the rule, the leaf by path, what was expected and what was returned."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import described_result, signature
from pullback._core.array import Array, is_array_like, lift
from pullback._core.errors import RuleError, is_internal
from pullback._core.tree import LEAF, PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import equality_errors, keystr, skeleton, tree_flatten_with_path, tree_map
from pullback._core.types import ShapedArray, is_trivial, matches
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero
from pullback._ops.own_types import leading_length
from pullback._ops.shape import full, zeros_like_aval
from pullback._ops.tangents import fit_tangent
from pullback._transforms.vmap import without_leading


def check_call(
    label: Callable[[], str], rule: Callable, form: str, count: int, keywords: dict[str, Any], error: Exception
) -> None:
    """Raise RuleError if an error came from the call of a rule that does not take that many arguments."""
    inside = any(not is_internal(frame.f_code) for frame, _ in traceback.walk_tb(error.__traceback__))
    sig = None if inside else signature(rule)
    if sig is None:
        return
    try:
        sig.bind(*[None] * count, **keywords)
    except TypeError:
        named = f", with the keyword-only arguments of the function, {', '.join(keywords)}" if keywords else ""
        raise RuleError(f"{label()} is called as rule({form}){named}, but: {error}") from None


def note_call(label: Callable[[], str], form: str, arguments: Sequence[PyTreeDef], error: Exception) -> None:
    """Say in which rule an error was raised that does not name it, and what the rule is called with."""
    if type(error) not in (TypeError, ValueError, AttributeError) or hasattr(error, "__notes__"):
        return  # the package's own classes and notes say enough, a rule further inside among them
    tuples = ""
    if form.endswith("primals, tangents"):
        count = len(arguments)
        entries = "one entry, for the one argument" if count == 1 else f"{count} entries, one for each argument"
        tuples = f"; each of these two is a tuple of {entries}"
    error.add_note(f"It was raised in {label()}, which is called as rule({form}){tuples}.")


def check_pair(label: Callable[[], str], result: PyTree, expected: str) -> tuple[Any, Any]:
    """Refuse anything but a pair."""
    if type(result) is tuple and len(result) == 2:
        return result
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = (
            f"a {type(result).__name__} of length {len(result)}"
            if isinstance(result, (tuple, list))
            else described_result(result)
        )
        raise RuleError(f"{label()} must return a pair {expected}, got {got}")
    return result[0], result[1]


def leaves_of(label: Callable[[], str], part: str, value: AnyValue) -> tuple[list[Array], PyTreeDef]:
    """The leaves of a part of a rule's result as arrays, and its structure; RuleError names a leaf of another kind."""
    leaves, tree = tree_flatten(value)
    try:
        return [x if isinstance(x, Array) else lift(x) for x in leaves], tree
    except TypeError:
        for path, leaf in tree_flatten_with_path(value)[0]:
            if not is_array_like(leaf):
                raise RuleError(
                    f"{label()}: the {part} must hold arrays, but at {keystr(path) or 'the top'} it holds "
                    f"{described_result(leaf)}"
                ) from None
        raise


def first_difference(expected: AnyValue, got: AnyValue) -> tuple[str, str, str]:
    """The first difference of two structures: the path, the expected part, the given part."""
    for path, what1, what2, _ in equality_errors(expected, got):
        return keystr(path) or "the top", what1, what2
    return "the top", "one structure", "another"


def zeros_for_user(aval: ShapedArray) -> Array:
    """A zero tangent or cotangent as an array, for rules; of dtype `float0` for an integer or a bool."""
    return full(aval.shape, False, dtypes.float0) if is_trivial(aval) else zeros_like_aval(aval)


def check_tangent(t: AnyValue, primal: Array, label: Callable[[], str], part: str, tree: PyTree, i: int) -> Any:
    """A rule's tangent (or cotangent) of `primal`, checked; a weak scalar takes the expected dtype."""

    def place():
        path = keystr(tree_flatten_with_path(tree)[0][i][0])
        return f"{label()}: the {part}{' at ' + path if path else ''}"

    return fit_tangent(t, primal.aval, place)


def argument_cotangents(
    place: Callable[[], str], ct: AnyValue, tree: PyTreeDef, avals: Sequence[ShapedArray]
) -> list[Any]:
    """The cotangents of one argument's leaves, checked; None is a zero, for a leaf or a whole subtree."""
    if ct is None:
        return [None] * len(avals)
    leaves, got = ([ct], LEAF) if isinstance(ct, Array) else tree_flatten(ct, _is_none)
    if got != tree:
        try:
            leaves = _spread_none(ct, tree_unflatten(tree, [0.0] * tree.num_leaves))
        except ValueError:
            path, expected, what = first_difference(skeleton(tree), ct)
            raise RuleError(
                f"{place()} must have the structure of the argument, but at {path} expected {expected}, "
                f"got {what}. Use None for a zero cotangent."
            ) from None
    flat: list[Any] = []
    for i, (leaf, aval) in enumerate(zip(leaves, avals, strict=True)):
        if leaf is None:
            flat.append(None)
            continue

        def where(i=i):
            path = keystr(tree_flatten_with_path(skeleton(tree))[0][i][0])
            return f"{place()}{', leaf ' + path if path else ''}"

        fitted = fit_tangent(leaf, aval, where)
        flat.append(None if type(fitted) is Zero else fitted)
    return flat


def _is_none(x: AnyValue) -> bool:
    return x is None


def _spread_none(ct: AnyValue, dummy: Any) -> list[Any]:
    """The leaves of a cotangent in which a None may stand for a whole subtree; ValueError if it does not match."""
    leaves: list[Any] = []

    def place(part, expected):
        if part is not None and type(expected) is not float:
            raise ValueError
        leaves.extend([part] * len(tree_flatten(expected)[0]))

    tree_map(place, ct, dummy, is_leaf=_is_none)
    return leaves


def check_primals(
    label: Callable[[], str],
    value: AnyValue,
    outs: Sequence[Array],
    tree: PyTreeDef,
    expected_tree: PyTreeDef,
    expected_avals: Sequence[ShapedArray],
    what: str = "the function returns",
) -> None:
    """Refuse a rule's primal output that differs from the function's result, which is known: from an earlier run."""
    if tree != expected_tree:
        path, expected, got = first_difference(skeleton(expected_tree), value)
        raise RuleError(
            f"{label()} must return a primal output with the structure of what {what}, but at "
            f"{path} expected {expected}, got {got}"
        )
    for i, (out, aval) in enumerate(zip(outs, expected_avals, strict=True)):
        if not matches(aval, out.aval):
            where = keystr(tree_flatten_with_path(value)[0][i][0])
            raise RuleError(
                f"{label()}: the primal output{' at ' + where if where else ''} must be what {what}: "
                f"expected {aval.str_short()}, got {out.aval.str_short()}"
            )


def check_number(label: Callable[[], str], result: PyTree, count: int, which: str) -> Sequence[Any]:
    """The cotangents that a bwd rule returned; refuses a number that differs from the number of arguments."""
    if not isinstance(result, (tuple, list)):
        advice = " For one argument that is a tuple of length 1: return (ct,)." if count == 1 else ""
        raise RuleError(
            f"{label()} must return a tuple with a cotangent for each of the {count} {which}, got "
            f"{described_result(result)}.{advice}"
        )
    if len(result) != count:
        raise RuleError(
            f"{label()} must return a cotangent for each of the {count} {which}, got {len(result)}. Use "
            "None for an argument whose cotangent is zero."
        )
    return result


# --- results of vmap rules ---


def check_batched(
    label: Callable[[], str], out: AnyValue, outs: Sequence[Array], tree: PyTreeDef, out_batched: AnyValue, size: int
) -> list[bool]:
    """Flags for the leaves with a batch axis, from the rule's second result; one bool covers all leaves."""
    marks, marks_tree = tree_flatten(out_batched)
    if marks_tree != tree and isinstance(out_batched, bool):
        marks = [out_batched] * len(outs)
    elif marks_tree != tree:
        path, expected, got = first_difference(out, out_batched)
        raise RuleError(
            f"{label()} must return out_batched, a bool for each leaf of its result, but at {path} "
            f"expected {expected}, got {got}"
        )
    for (place, _), x, mark in zip(tree_flatten_with_path(out)[0], outs, marks, strict=True):
        if not isinstance(mark, (bool, np.bool_)):
            raise RuleError(
                f"{label()} must return out_batched, a bool for each leaf of its result, got {described_result(mark)}"
            )
        if mark and leading_length(x.aval) != size:
            raise RuleError(
                f"{label()}: the result{_at(place)} is marked as batched, so its leading axis must have "
                f"the length {size}, got {x.aval.str_short()}"
            )
    return [bool(mark) for mark in marks]


def check_examples(
    label: Callable[[], str],
    out: AnyValue,
    outs: Sequence[Array],
    tree: PyTreeDef,
    marks: Sequence[bool],
    expected_tree: PyTreeDef,
    expected_avals: Sequence[ShapedArray],
) -> None:
    """Refuse a result whose structure or types for one example differ from those of the function."""
    if tree != expected_tree:
        path, what, got = first_difference(skeleton(expected_tree), out)
        raise RuleError(
            f"{label()} must return a result with the structure of the function's, but at {path} expected "
            f"{what}, got {got}"
        )
    for (place, _), x, mark, aval in zip(tree_flatten_with_path(out)[0], outs, marks, expected_avals, strict=True):
        if not matches(aval, without_leading(x.aval) if mark else x.aval):
            raise RuleError(
                f"{label()}: the result{_at(place)} must be what the function returns"
                f"{', with a leading axis' if mark else ''}: expected {aval.str_short()} for each example, "
                f"got {x.aval.str_short()}"
            )


def _at(path: Any) -> str:
    return f" at {keystr(path)}" if path else ""
