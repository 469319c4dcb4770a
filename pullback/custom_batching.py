"""Functions with a rule of their own for `vmap`, under JAX's names."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable

from pullback._api.rules import custom_rules
from pullback._core.arguments import check_callable
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.lists import chosen, filled
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import F, Q, R
from pullback._higher_order.control.loops import map as loop_map

__all__ = ["custom_vmap", "sequential_vmap"]


class custom_vmap(custom_rules[R, Q]):
    """A function with a rule for `vmap`, set by `def_vmap` (see `custom_rules.defvmap`).

    Its derivatives are those of the function; in forward mode `vmap` of the derivative uses the rule's derivative.
    Rules for derivatives can be set as well, on the same function.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.custom_batching import custom_vmap
    >>> f = custom_vmap(lambda x: x.sum())
    >>> @f.def_vmap
    ... def rule(axis_size, in_batched, x):
    ...     return x.sum(tuple(range(1, x.ndim))), in_batched[0]
    >>> print(pb.vmap(f)(pnp.ones((2, 3))))
    [3. 3.]
    """

    if _typing.TYPE_CHECKING:

        def def_vmap(self, rule: F) -> F: ...
    else:
        def_vmap = custom_rules.defvmap


@boundary
def sequential_vmap(f: Callable[Q, R]) -> custom_vmap[R, Q]:
    """A function that `vmap` calls in a loop, one example after the other: for code that knows no batch axis.

    TypeError for anything not callable.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.custom_batching import sequential_vmap
    >>> print(pb.vmap(sequential_vmap(lambda x: x ** 2))(pnp.arange(3.)))
    [0. 1. 4.]
    """
    check_callable("sequential_vmap", f)
    wrapped = custom_vmap(f)

    @wrapped.def_vmap
    def rule(axis_size, in_batched, *args, **keywords):
        leaves, tree = tree_flatten(args)
        marks = tree_flatten(tuple(in_batched))[0]

        def one(rows):
            return f(*tree_unflatten(tree, filled(marks, rows, leaves)), **keywords)

        out = loop_map(one, chosen(leaves, marks))
        return out, tree_map(lambda _: True, out)

    return wrapped


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
