"""All prefixes of a sequence under an associative operation, in logarithmic depth.

Adjacent elements are combined, the sequence of half the length is scanned, and the prefixes in between are computed by
one more call: Ladner and Fischer, "Parallel prefix computation" (1980). `fn` is called on whole stacks of elements and
traced as it runs, so that custom rules inside it hold under every transformation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from pullback._core.arguments import check_callable, flatten_result
from pullback._core.array import Array
from pullback._core.errors import boundary, describe_function
from pullback._core.tree import PyTreeDef, tree_unflatten
from pullback._core.typing import PyTree, R
from pullback._higher_order.bodies import check_same_structure, check_same_types, lift_tree, path_of
from pullback._ops.assemble import concatenate
from pullback._ops.shape import expand_dims, reshape
from pullback._ops.slicing import rev, slice_in_dim


@boundary
def associative_scan(fn: Callable[[Any, Any], R], elems: PyTree, reverse: bool = False, axis: int = 0) -> R:
    """The prefix combinations of the elements: `[a, fn(a, b), fn(fn(a, b), c), ...]`.

    `fn` is called about `2 log2(n)` times on stacks of elements, where `scan` needs n sequential steps. The elements
    are combined in a different order, so that only an associative `fn` gives the same results.

    Args:
      fn: `fn(a, b)` for pytrees like `elems` with some length along `axis`, elementwise along it; it returns such a
        pytree again.
      elems: a pytree of arrays of one length along `axis`, which may be 0.
      reverse: combine from the last element to the first; then `fn` gets the later element first.
      axis: the axis of the sequence in every leaf, possibly counted from the end.

    Returns: a pytree like `elems`.
    Raises: TypeError if `fn` is not callable, or does not keep structure, shapes and dtypes; ValueError for a pytree
      without leaves, lengths that differ, and an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(lax.associative_scan(pnp.maximum, pnp.array([1, 3, 2, 5])))
    [1 3 3 5]
    """
    check_callable("associative_scan", fn)
    leaves, tree = lift_tree("associative_scan", "elems", elems)
    axes = _axes(leaves, tree, axis)
    if reverse:
        leaves = [rev(x, (d,)) for x, d in zip(leaves, axes, strict=True)]
    label = describe_function(fn)

    def combine(xs: list[Array], ys: list[Array]) -> list[Array]:
        result = fn(tree_unflatten(tree, xs), tree_unflatten(tree, ys))
        outs, got = flatten_result("associative_scan", fn, result)
        check_same_structure(
            "associative_scan",
            f"fn ({label}) must return the structure of elems",
            tree,
            got,
            "Return what came in, combined.",
        )
        check_same_types(
            "associative_scan",
            f"fn ({label}) must keep the types of its arguments",
            tree,
            [x.aval for x in xs],
            [out.aval for out in outs],
            "It is called on stacks of elements, and must treat them elementwise along the axis.",
        )
        return outs

    outs = _prefixes(combine, leaves, axes)
    if reverse:
        outs = [rev(x, (d,)) for x, d in zip(outs, axes, strict=True)]
    return tree_unflatten(tree, outs)


def _axes(leaves: list[Array], tree: PyTreeDef, axis: int) -> list[int]:
    """The axis of the sequence in each leaf, counted from the front; checks that all have one length there."""
    if not leaves:
        raise ValueError(
            "associative_scan: elems has no leaves, so there is nothing to combine; pass a pytree with at "
            "least one array"
        )
    try:
        axis = operator.index(axis)
    except TypeError:
        raise TypeError(f"associative_scan: axis must be an integer, got {axis!r}") from None
    for i, x in enumerate(leaves):
        if not -x.aval.ndim <= axis < x.aval.ndim:
            raise ValueError(
                f"associative_scan: axis {axis} is out of bounds for elems{path_of(tree, i)} of shape {x.aval.shape}"
            )
    axes = [axis % x.aval.ndim for x in leaves]
    if len({x.aval.shape[d] for x, d in zip(leaves, axes, strict=True)}) > 1:
        lines = [f"  elems{path_of(tree, i)} of shape {x.aval.shape}" for i, x in enumerate(leaves)]
        raise ValueError(
            f"associative_scan: all leaves must have one length along axis {axis}, but got\n" + "\n".join(lines)
        )
    return axes


def _prefixes(combine: Callable, xs: list[Array], axes: list[int]) -> list[Array]:
    n = xs[0].aval.shape[axes[0]]
    if n < 2:
        return xs

    def part(values: list[Array], start: int, limit: int, stride: int = 1) -> list[Array]:
        return [slice_in_dim(x, start, limit, stride, d) for x, d in zip(values, axes, strict=True)]

    # the prefixes that end at odd indices are those of the pairs; one more element gives the others
    odd = _prefixes(combine, combine(part(xs, 0, n - 1, 2), part(xs, 1, n, 2)), axes)
    first = part(xs, 0, 1)
    if n == 2:
        even = first
    else:
        later = combine(part(odd, 0, (n - 1) // 2), part(xs, 2, n, 2))
        even = [concatenate(pair, d) for *pair, d in zip(first, later, axes, strict=True)]
    return [_interleave(a, b, d) for a, b, d in zip(even, odd, axes, strict=True)]


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """`even[0], odd[0], even[1], ...`, where `even` may be one longer."""
    shape, n = even.aval.shape, odd.aval.shape[axis]
    paired = concatenate(
        [expand_dims(slice_in_dim(even, 0, n, axis=axis), (axis + 1,)), expand_dims(odd, (axis + 1,))], axis + 1
    )
    result = reshape(paired, (*shape[:axis], 2 * n, *shape[axis + 1 :]))
    if shape[axis] == n:
        return result
    return concatenate([result, slice_in_dim(even, n, n + 1, axis=axis)], axis)


__all__ = ["associative_scan"]
