"""A user's function as a function of leaves, for derivatives; and one that takes references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._api.auxiliary import split_aux
from pullback._core.arguments import flatten_result
from pullback._core.array import lift
from pullback._core.errors import function_name
from pullback._core.flat_function import FlatFunction
from pullback._core.ref_changes import refs_exist
from pullback._core.refs import Ref, make_ref
from pullback._core.trace import context
from pullback._core.tree import LIST_OF_ONE, PyTreeDef
from pullback._ops.shape import instantiate


class Flat(FlatFunction):
    """A function of some of its arguments, as one of their leaves; `aux` is its auxiliary result, if it has one."""

    __slots__ = ("args", "aux", "has_aux", "kwargs", "positions")

    def __init__(
        self,
        function: str,
        fun: Callable,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        tree: PyTreeDef,
        positions: tuple[int, ...] | None,
        has_aux: bool,
    ):
        self.function = function
        self.fun = fun
        self.args = args
        self.kwargs = kwargs
        self.in_tree = tree
        self.positions = positions
        self.has_aux = has_aux
        self.aux: Any = None

    def __call__(self, *leaves):
        dynamic = leaves if self.in_tree is LIST_OF_ONE else self.in_tree.unflatten(leaves)
        args = dynamic
        if self.positions is not None:
            args = list(self.args)
            for i, value in zip(self.positions, dynamic):
                args[i] = value
        result = self.fun(*args, **self.kwargs)
        if self.has_aux:
            result, self.aux = split_aux(self.function, self.fun, result)
        outs, self.out_tree = flatten_result(self.function, self.fun, result)
        return outs


def refs_among(leaves: Sequence[Any]) -> list[int]:
    """The positions of references."""
    return [i for i, x in enumerate(leaves) if isinstance(x, Ref)] if refs_exist[0] else []


def contents_of(leaves: Sequence[Any]) -> list[Any]:
    """The leaves, with what references hold in their place."""
    return [x[...] if isinstance(x, Ref) else x for x in leaves]


class FlatWithRefs(Flat):
    """A function that takes Refs: as a function of what they hold, whose last results are what they hold in the end."""

    __slots__ = ("places", "refs")

    def __init__(self, function: str, fun: Callable, primals: Sequence[Any], tree: PyTreeDef, has_aux: bool, leaves):
        super().__init__(function, fun, primals, {}, tree, None, has_aux)
        self.places = refs_among(leaves)
        self.refs = [leaves[i] for i in self.places]

    def __call__(self, *leaves):
        inner: dict[int, Ref] = {}
        given = list(leaves)
        for i, ref in zip(self.places, self.refs, strict=True):
            if ref.path:
                raise ValueError(
                    f"{self.function} of {function_name(self.fun)}: an argument is a part of a Ref; pass a whole one"
                )
            # the same Ref twice is one Ref inside
            given[i] = inner.setdefault(id(ref.cell), make_ref(lift(leaves[i])))
        outs = super().__call__(*given)
        return [*outs, *(given[i][...] for i in self.places)]

    def ended(self, outs: Sequence[Any], refs: Sequence[Ref] | None = None) -> list[Any]:
        """Write to the Refs, or others in their places, what they hold in the end; returns the other results."""
        n = len(outs) - len(self.refs)
        for ref, value in zip(refs or self.refs, outs[n:], strict=True):
            ref[...] = instantiate(value)
        return list(outs[:n])


__all__ = ["Flat", "FlatWithRefs", "contents_of", "refs_among"]


def prepared(flat: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    """A flat function that is about to be differentiated, ready for that inside of `shard_map`; else itself."""
    parts = context.parts
    return flat if parts is None else parts.prepared(flat)
