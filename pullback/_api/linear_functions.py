"""The linear functions that `vjp`, `linear_transpose` and `linearize` return: callables that are pytrees of arrays."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._analysis.uniform import vanishes
from pullback._core import dtypes
from pullback._core.arguments import argument_path, aval_of, check_leaf
from pullback._core.array import ConcreteArray, is_array_like, lift
from pullback._core.errors import boundary, function_name
from pullback._core.pickling import named_function
from pullback._core.tree import PyTreeDef, register_pytree_node, tree_flatten, tree_structure, tree_unflatten
from pullback._core.tree_paths import equality_errors, keystr, skeleton, tree_flatten_with_path
from pullback._core.types import ShapedArray, is_trivial, matches
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero, zero_of
from pullback._ops.shape import convert_element_type, instantiate
from pullback._transforms.linear_forms import LinearForm, check_picklable, form_of, record_form
from pullback._transforms.linearize import Linearized


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
        raise TypeError(
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

__all__ = [
    "LinearFunction",
    "Pushforward",
    "Structure",
    "WrongCotangent",
    "as_tangent",
    "describe_mismatch",
    "float0_zeros",
    "received",
]
