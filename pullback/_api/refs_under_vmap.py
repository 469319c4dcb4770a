"""References under `vmap`: a mapped one is a reference of each example, made of the entries along its axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.arguments import flatten_result
from pullback._core.cells import aliased, resolved
from pullback._core.errors import standing_for
from pullback._core.flat_function import FlatFunction
from pullback._core.refs import Ref, make_ref, of_leaf
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero
from pullback._ops.shape import instantiate


class ReturningRefs(FlatFunction):
    """A function of one example. It may return references that it made, and symbolic zeros.

    `returned` are the numbers of these leaves, with their types: their contents are returned in their place.
    """

    __slots__ = ("returned",)
    returned: dict[int, type]

    def __call__(self, *leaves: PyTree) -> list[Any]:
        result = self.call(*self.in_tree.unflatten(leaves))
        outs, tree = tree_flatten(result)
        self.returned = {
            i: type(x)
            for i, x in enumerate(outs)
            if type(x) is Zero or (isinstance(x, Ref) and x.cell.owner is context.trace)
        }
        for i, kind in self.returned.items():
            outs[i] = instantiate(outs[i]) if kind is Zero else outs[i][...]
        if self.returned:
            result = tree_unflatten(tree, outs)
        flat, self.out_tree = flatten_result(self.function, self.fun, result)
        return flat

    def with_refs(self, results: Sequence[Any]) -> list[Any]:
        """The results of all examples, with references and symbolic zeros where the function returned them."""
        kinds = [self.returned.get(i) for i in range(len(results))]
        return [
            x if kind is None else Zero(x.aval) if kind is Zero else make_ref(x)
            for x, kind in zip(results, kinds, strict=True)
        ]


def batched_with_refs(
    fun: Callable,
    leaves: Sequence[Any],
    tree: PyTreeDef,
    axes: Sequence[int | None],
    out_axes: Any,
    vmap: Callable[..., Callable],
    place: Callable[[int], str],
) -> Any:
    """Call a batched function with references among its arguments; `vmap(f, in_axes, out_axes)` has the other options.

    `place(i)` names a leaf of the arguments.
    """
    refs = [i for i, x in enumerate(leaves) if isinstance(x, Ref)]
    known: dict[Any, int] = {}
    for i in refs:
        other = known.setdefault(leaves[i].cell.root(), i)
        if other != i:
            raise ValueError(aliased(f"the Ref that is {place(other)}", f"the one that is {place(i)}"))
    mapped = [i for i in refs if axes[i] is not None]
    given = [i for i in range(len(leaves)) if i not in refs or i in mapped]

    @standing_for(fun)
    def example(values: Sequence[AnyValue]) -> Any:
        inner = list(leaves)
        for i, x in zip(given, values, strict=True):
            inner[i] = make_ref(x, tree=leaves[i].tree) if i in mapped else x
        args, kwargs = tree_unflatten(tree, inner)
        result = fun(*args, **kwargs)
        contents = dict(zip(given, values, strict=True))
        written = [None if inner[i].cell.content is contents[i] else of_leaf(inner[i])[...] for i in mapped]
        return result, written

    # a negative axis counts from the end of the axes of keys, which are one less than those of their words
    axes = [a % x.ndim if isinstance(x, Ref) and isinstance(a, int) and x.ndim else a for a, x in zip(axes, leaves)]
    values = [of_leaf(leaves[i])[...] if i in mapped else leaves[i] for i in given]
    batched = vmap(example, ([axes[i] for i in given],), (out_axes, [axes[i] for i in mapped]))
    cells = [resolved(leaves[i].cell) for i in mapped]
    try:
        for cell, i in zip(cells, mapped, strict=True):
            cell.lent = place(i)
        result, written = batched(values)
    finally:
        for cell in cells:
            cell.lent = None
    for i, content in zip(mapped, written, strict=True):
        if content is not None:
            of_leaf(leaves[i])[...] = content
    return result


__all__ = ["ReturningRefs", "batched_with_refs"]
