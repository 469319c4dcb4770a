"""The positions of a call's arguments: in the user's function, and among those that its rules differentiate."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from pullback._core.arguments import canonical_argnums
from pullback._core.tree import PyTreeDef, tree_structure


class Layout:
    """The positions of the differentiable arguments and of the others, in calls with `count` positional arguments.

    `label` names the function in the error for a position that the call does not have. `of_arrays` is the structure of
    the differentiable arguments if each of them is an array: the common case, which is told by identity.
    """

    __slots__ = ("count", "nondiff", "differentiable", "of_arrays")
    count: int
    nondiff: tuple[int, ...]
    differentiable: tuple[int, ...]
    of_arrays: PyTreeDef

    def __init__(self, label: str, nondiff_argnums: Sequence[int], count: int):
        self.count = count
        self.nondiff = tuple(sorted(canonical_argnums(label, nondiff_argnums, count, "nondiff_argnums")))
        self.differentiable = tuple(i for i in range(count) if i not in self.nondiff)
        self.of_arrays = tree_structure((0,) * len(self.differentiable))

    def split(self, args: Sequence[Any]) -> tuple[tuple[Any, ...], list[Any]]:
        """The differentiable arguments, and the others."""
        return tuple([args[i] for i in self.differentiable]), [args[i] for i in self.nondiff]

    def join(self, differentiable: Sequence[Any], others: Sequence[Any]) -> Sequence[Any]:
        """A value for every position, from those of the differentiable arguments and those of the others."""
        if not self.nondiff:
            return differentiable
        rest, fixed = iter(differentiable), iter(others)
        return [next(fixed) if i in self.nondiff else next(rest) for i in range(self.count)]

    def numbers(self, positions: Sequence[int]) -> tuple[int, ...]:
        """The indices, among the differentiable arguments, of the given positions."""
        return tuple([self.differentiable.index(i) for i in positions])


def spans(tree: PyTreeDef) -> Iterator[slice]:
    """The slice of each argument's leaves among all leaves; `tree` is the structure of the tuple of arguments."""
    start = 0
    for child in tree.children():
        yield slice(start, start + child.num_leaves)
        start += child.num_leaves


def count_plain_parameters(signature: inspect.Signature | None) -> int | None:
    """The number of positional arguments of a call that needs no binding; None if every call must be bound."""
    if signature is None:
        return None
    parameters = signature.parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
        return None
    return len(parameters)


def positions_of(signature: inspect.Signature | None, names: Sequence[str], label: str) -> list[int]:
    """The positions of the named parameters; keyword-only parameters have none. ValueError for an unknown name."""
    parameters = {} if signature is None else signature.parameters
    for name in names:
        if name not in parameters:
            raise ValueError(f"{label}: nondiff_argnames={tuple(names)!r}, but the function has no parameter {name!r}")
    positional = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [positional.index(name) for name in names if name in positional]
