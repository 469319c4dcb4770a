"""The linear functions that `vjp`, `linear_transpose` and `linearize` return: callables that are pytrees of arrays."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

from pullback._api.users_tangents import as_tangent, describe_mismatch, float0_zeros
from pullback._core.arguments import argument_path
from pullback._core.errors import boundary, function_name
from pullback._core.pickling import named_function
from pullback._core.tree import PyTreeDef, register_pytree_node, tree_flatten, tree_unflatten
from pullback._core.tree_paths import skeleton, tree_flatten_with_path
from pullback._core.types import ShapedArray, is_trivial
from pullback._core.typing import PyTree
from pullback._ops.shape import instantiate
from pullback._transforms.linear_forms import LinearForm, check_picklable, form_of, record_form
from pullback._transforms.linearize import Linearized


class Structure:
    """The static part of a linear function, equal for two of one kind with the same form, whatever their arrays."""

    __slots__ = ("fun", "form", "types")
    fun: Callable[..., Any]
    form: LinearForm
    types: tuple[Any, ...]

    def __init__(self, fun: Callable[..., Any], form: LinearForm, types: tuple[Any, ...]):
        self.fun = fun
        self.form = form
        self.types = types

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.types == other.types and self.form == other.form

    def __hash__(self) -> int:
        return hash((self.form, self.types))

    def __repr__(self) -> str:
        return f"{self.form!r} of {function_name(self.fun)}"


class LinearFunction:
    """A recorded linear map between pytrees. As a pytree its leaves are the residual arrays of the map.

    It can be an argument or a result of `jit`, `vmap` and similar functions, and the carry of a loop. Its form is
    computed when it is first flattened as a pytree.
    """

    __slots__ = ("fun", "in_avals", "in_tree", "out_avals", "out_tree", "_linear", "_structure", "_leaves")
    fun: Callable[..., Any]
    in_avals: Sequence[ShapedArray]
    in_tree: PyTreeDef
    out_avals: Sequence[ShapedArray]
    out_tree: PyTreeDef

    def __init__(
        self,
        fun: Callable[..., Any],
        linear: Linearized,
        in_avals: Sequence[ShapedArray],
        in_tree: PyTreeDef,
        out_avals: Sequence[ShapedArray],
        out_tree: PyTreeDef,
    ):
        self.fun = fun
        self.in_avals = in_avals
        self.in_tree = in_tree
        self.out_avals = out_avals
        self.out_tree = out_tree
        self._linear: Linearized | None = linear
        self._structure: Structure | None = None
        self._leaves: list[Any] = []

    @property
    def linear(self) -> Linearized:
        """The map on a tape."""
        if self._linear is not None:
            return self._linear
        assert self._structure is not None
        return record_form(self._structure.form, self._leaves)

    def flatten(self) -> tuple[Any, Structure]:
        """The arrays and the static part."""
        if self._structure is None:
            assert self._linear is not None
            form, self._leaves = form_of(self._linear)
            self._structure = Structure(
                self.fun, form, (tuple(self.in_avals), self.in_tree, tuple(self.out_avals), self.out_tree)
            )
        return self._leaves, self._structure

    # nodes of a tape are compared by identity: a copy shares the records, and copies only the arrays
    def __copy__(self) -> Any:
        leaves, structure = self.flatten()
        return self.unflatten(structure, leaves)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        leaves, structure = self.flatten()
        return self.unflatten(structure, copy.deepcopy(leaves, memo))

    @boundary
    def __reduce__(self) -> str | tuple[Any, ...]:
        leaves, structure = self.flatten()
        check_picklable(structure.form.jaxpr, self.describe())
        return _rebuilt, (type(self), named_function(self.fun), structure.form, structure.types, leaves)

    def describe(self) -> str:
        """The description of the map, for messages."""
        raise NotImplementedError

    @classmethod
    def unflatten(cls, structure: Structure, leaves: Sequence[Any]) -> Any:
        """The function from its static part and leaves."""
        self = cls.__new__(cls)
        self.fun = structure.fun
        self.in_avals, self.in_tree, self.out_avals, self.out_tree = structure.types
        self._linear = None
        self._structure = structure
        self._leaves = list(leaves)
        return self


def _rebuilt(cls: type[LinearFunction], fun: Any, form: LinearForm, types: tuple[Any, ...], leaves: Any) -> Any:
    return cls.unflatten(Structure(fun, form, types), leaves)


class Pushforward(LinearFunction):
    """The linear map that `linearize` returns: from tangents of the arguments to tangents of the result."""

    __slots__ = ()

    def describe(self) -> str:
        return f"the linearized {function_name(self.fun)}"

    @boundary
    def __call__(self, *tangents: PyTree, **kwargs: PyTree) -> Any:
        """The derivative along `tangents`, one for each argument."""
        name = function_name(self.fun)
        if kwargs:
            raise TypeError(f"{self.describe()} takes tangents by position, got the keywords {', '.join(kwargs)}")
        leaves, tree = tree_flatten(tangents)
        if tree != self.in_tree:
            raise TypeError(
                f"the linearized {name}: tangents must have the structure of the arguments, "
                + describe_mismatch(skeleton(self.in_tree), tangents)
            )

        def where(i):
            path = tree_flatten_with_path(tangents)[0][i][0]
            return f"the linearized {name}: the tangent of {argument_path(self.fun, path[0].idx, path[1:])}"

        ts = [
            as_tangent(t, aval, functools.partial(where, i))
            for i, (t, aval) in enumerate(zip(leaves, self.in_avals, strict=True))
        ]
        linear = self.linear
        outs = linear.push(
            [None if node is None else instantiate(t) for node, t in zip(linear.inputs, ts, strict=True)]
        )
        flat = [
            float0_zeros(aval) if is_trivial(t.aval) else instantiate(t)
            for t, aval in zip(outs, self.out_avals, strict=True)
        ]
        return tree_unflatten(self.out_tree, flat)


register_pytree_node(Pushforward, LinearFunction.flatten, Pushforward.unflatten)
