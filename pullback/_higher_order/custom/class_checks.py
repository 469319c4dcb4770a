"""The declared types of a primitive that is a class, and the checks of arguments and results against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.arguments import argument_path, check_leaf, described_result
from pullback._core.array import Array, is_array_like, lift
from pullback._core.dtypes import promote_types
from pullback._core.errors import RuleError, describe_function, described
from pullback._core.ref_arguments import PassedRef, passed_as_they_are
from pullback._core.refs import Ref, RefType
from pullback._core.tree import LEAF, PyTreeDef, tree_flatten
from pullback._core.tree_paths import broadcast_prefix, keystr, skeleton, tree_flatten_with_path, tree_text
from pullback._core.types import ShapedArray, ShapeDtypeStruct, matches
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.custom.checks import first_difference, leaves_of
from pullback._ops.shape import convert_element_type
from pullback._transforms.vmap import with_leading

# Python numbers are weakly typed: they take the declared dtype if it is of their kind or a higher one
_PYTHON_TYPES = {"b": bool, "i": int, "f": float, "c": complex}
# declarations of arrays alone, by their types
_declarations: dict[Any, Declared] = {}
_MOST = 1024


def declared_types(what: str, types: PyTree) -> tuple[tuple[ShapedArray, ...], PyTreeDef]:
    """The types in a pytree, none of them weak, and its structure; TypeError names a leaf that is no type."""
    leaves, tree = tree_flatten(types)
    avals: list[Any] = []
    for i, leaf in enumerate(leaves):
        aval = leaf.aval if type(leaf) is ShapeDtypeStruct else leaf
        if not (hasattr(aval, "to_tangent_aval") or isinstance(aval, RefType)):
            path = keystr(tree_flatten_with_path(types)[0][i][0])
            hint = " Use typeof(x) for the type of an array x." if is_array_like(leaf) else ""
            raise TypeError(
                f"{what}{path} must be a type, as typeof(x), ShapedArray(shape, dtype) or ShapeDtypeStruct(shape, "
                f"dtype) give it, got {described(leaf)}.{hint}"
            )
        avals.append(aval.strip_weak_type() if isinstance(aval, ShapedArray) else aval)
    return tuple(avals), tree


class Declared:
    """The types that an instance declares, flat, with the structures of arguments and result.

    `plain` says that each argument is one array, `single` that the result is. With `takes_refs`, arguments are
    references; for a call that `holds_refs`, these are part of the structure.
    """

    __slots__ = (
        "in_avals",
        "in_tree",
        "count",
        "out_avals",
        "out_tree",
        "plain",
        "single",
        "takes_refs",
        "holds_refs",
    )

    in_avals: tuple[ShapedArray, ...]
    out_avals: tuple[ShapedArray, ...]
    in_tree: Any
    out_tree: Any

    def __init__(self, name: str, in_avals: AnyValue, out_aval: PyTree):
        if not isinstance(in_avals, tuple):
            raise TypeError(
                f"{name}.in_avals must be a tuple with the type of each argument, or the pytree of its types, got "
                f"{described(in_avals)}"
            )
        self.in_avals, self.in_tree = declared_types(f"{name}.in_avals", in_avals)
        self.out_avals, self.out_tree = declared_types(f"{name}.out_aval", out_aval)
        self.count: int = len(in_avals)
        self.takes_refs: bool = any(isinstance(aval, RefType) for aval in self.in_avals)
        self.holds_refs: bool = False
        self.plain: Any = self.in_tree.num_nodes == len(self.in_avals) + 1
        self.single: Any = self.out_tree == LEAF

    @classmethod
    def of(cls, name: str, in_avals: AnyValue, out_aval: PyTree) -> Declared:
        """The declaration of a class with that name. Those of arrays alone are made once."""
        # containers are not compared: a named tuple is equal to a tuple
        if type(out_aval) is not ShapedArray or type(in_avals) is not tuple:
            return cls(name, in_avals, out_aval)
        for aval in in_avals:
            if type(aval) is not ShapedArray:
                return cls(name, in_avals, out_aval)
        declared = _declarations.get((in_avals, out_aval))
        if declared is None:
            if len(_declarations) > _MOST:
                _declarations.clear()
            declared = _declarations[in_avals, out_aval] = cls(name, in_avals, out_aval)
        return declared

    def key(self) -> Any:
        """What equal declarations have in common."""
        return self.in_avals, self.in_tree, self.out_avals, self.out_tree

    # --- arguments ---

    def with_refs(self, instance: AnyValue, args: Sequence[Any]) -> tuple[Declared, Sequence[Any], list[Ref]]:
        """The declaration for a call with these references, the arguments with nodes for them, and the references."""
        leaves, tree = tree_flatten(tuple(args))
        if tree != self.in_tree or len(args) != self.count:
            self._refuse_structure(instance, args)
        for i, (x, aval) in enumerate(zip(leaves, self.in_avals, strict=True)):
            if isinstance(aval, RefType) and (not isinstance(x, Ref) or x.aval != aval):
                raise TypeError(
                    f"{instance}: {self.leaf_path(instance, i)} must have the type that in_avals declares: expected "
                    f"{aval.str_short()}, got {x.aval.str_short() if isinstance(x, Ref) else described(x)}"
                )
        types = [PassedRef(x) if isinstance(x, Ref) else aval for x, aval in zip(leaves, self.in_avals, strict=True)]
        declared = Declared(type(instance).__name__, tree.unflatten(types), instance.out_aval)
        declared.holds_refs = True
        return declared, passed_as_they_are(tuple(args)), [x for x in leaves if isinstance(x, Ref)]

    def fitted(self, instance: AnyValue, args: Sequence[Any]) -> Sequence[Any]:
        """The leaves of the arguments of a call as arrays of the declared types; TypeError for others."""
        leaves: Sequence[Any] = args
        if len(args) != self.count:
            raise TypeError(f"{instance} takes {self.count} arguments, {self._types_text()}, got {len(args)}")
        if self.plain:
            for x, aval in zip(args, self.in_avals, strict=True):
                if not isinstance(x, Array) or (x.aval is not aval and x.aval.strip_weak_type() is not aval):
                    break
            else:
                return args
        leaves, tree = tree_flatten(tuple(args))
        if tree != self.in_tree:
            self._refuse_structure(instance, args)
        return [self._fitted(instance, x, aval, i) for i, (x, aval) in enumerate(zip(leaves, self.in_avals))]

    def _fitted(self, instance: AnyValue, x: AnyValue, aval: ShapedArray, i: int) -> Any:
        if not isinstance(x, Array):
            check_leaf(x, lambda: f"{instance}: {self.leaf_path(instance, i)}")
            x = lift(x)
        if matches(aval, x.aval):
            return x
        if x.aval.weak_type and type(aval) is ShapedArray and x.aval.shape == aval.shape:
            kind = _PYTHON_TYPES.get(x.aval.dtype.kind, x.aval.dtype)
            if promote_types(kind, aval.dtype) == aval.dtype:
                return convert_element_type(x, aval.dtype, True)
        raise TypeError(
            f"{instance}: {self.leaf_path(instance, i)} must have the type that in_avals declares: expected "
            f"{aval.str_short()}, got {x.aval.str_short()}. Convert the argument, or make an instance for its type."
        )

    def _refuse_structure(self, instance: AnyValue, args: Sequence[Any]) -> None:
        for i, (child, arg) in enumerate(zip(self.in_tree.children(), args, strict=True)):
            if tree_flatten(arg)[1] != child:
                path, expected, got = first_difference(skeleton(child), arg)
                where = "" if path == "the top" else f" at {path}"
                raise TypeError(
                    f"{instance}: {argument_path(instance.expand, i)} must have the structure that in_avals declares, "
                    f"but{where} expected {expected}, got {got}"
                )

    def _types_text(self) -> str:
        types = [aval.str_short() for aval in self.in_avals]
        return str(self.in_tree.unflatten(types)).replace("'", "")

    def leaf_path(self, instance: AnyValue, i: int) -> str:
        """A leaf of the arguments, for messages."""
        path = tree_flatten_with_path(skeleton(self.in_tree))[0][i][0]
        return argument_path(instance.expand, path[0].idx, path[1:])

    # --- results ---

    def results(self, instance: AnyValue, value: PyTree) -> list[Any]:
        """The leaves of what `expand` returned; RuleError if its structure or a type is not the declared one."""
        if self.single and isinstance(value, Array) and value.aval.strip_weak_type() is self.out_avals[0]:
            return [value]

        def label():
            return f"{describe_function(instance.expand)} of {instance}"

        outs, tree = leaves_of(label, "result", value)
        if tree != self.out_tree:
            path, expected, got = first_difference(skeleton(self.out_tree), value)
            raise RuleError(
                f"{label()} must return a result with the structure of out_aval, but at {path} expected {expected}, "
                f"got {got}"
            )
        for i, (out, aval) in enumerate(zip(outs, self.out_avals, strict=True)):
            if not matches(aval, out.aval):
                path = keystr(tree_flatten_with_path(value)[0][i][0])
                raise RuleError(
                    f"{label()}: the result{' at ' + path if path else ''} must have the type that out_aval declares: "
                    f"expected {aval.str_short()}, got {out.aval.str_short()}"
                )
        return outs

    # --- vmap ---

    def dims_of(self, label: Callable[[], str], dims: PyTree) -> list[int | None]:
        """The batch axis of each leaf of the result, from one for all or a pytree of them; None has none."""
        flat = flags(label, "the batch axis", dims, self.out_tree)
        for i, dim in enumerate(flat):
            aval = self.out_avals[i]
            if type(aval) is not ShapedArray:
                flat[i] = _own_axis(label, dim, aval)
                continue
            if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int)):
                raise RuleError(
                    f"{label()} must return the batch axis of the result as an int, or None where it has none, got "
                    f"{described_result(dim)}"
                )
            rank = len(self.out_avals[i].shape) + 1
            if dim is not None and not -rank <= dim < rank:
                raise RuleError(
                    f"{label()} returned the batch axis {dim} for a result of type {self.out_avals[i].str_short()}, "
                    f"which has {rank} axes with that of the batch"
                )
            flat[i] = dim if dim is None or dim >= 0 else dim + rank
        return flat


def flags(label: Callable[[], str], what: str, prefix: PyTree, tree: PyTreeDef) -> list[Any]:
    """For each leaf of a result, the entry at its place of a pytree that may end early."""
    try:
        return broadcast_prefix(prefix, skeleton(tree), lambda x: x is None)
    except ValueError:
        raise RuleError(
            f"{label()} must return {what} for the whole result, or a pytree of its structure with one for each part; "
            f"got {prefix!r} for a result of structure {tree_text(tree)}"
        ) from None


def flags_of(label: Callable[[], str], nonzero: PyTree, tree: PyTreeDef) -> list[bool]:
    """`nzs_out` of a rule, for each leaf of the result."""
    found = flags(label, "nzs_out, a bool", nonzero, tree)
    for flag in found:
        if not isinstance(flag, bool):
            raise RuleError(f"{label()} must return bools as nzs_out, got {described_result(flag)}")
    return found


def fitted_batch(
    label: Callable[[], str], declared: Declared, out: PyTree, out_dims: PyTree, size: int
) -> tuple[list[Any], list[int | None]]:
    """The leaves of a batch rule's result and their batch axes, checked against the types of one example."""
    outs, tree = leaves_of(label, "result", out)
    if tree != declared.out_tree:
        path, expected, got = first_difference(skeleton(declared.out_tree), out)
        raise RuleError(
            f"{label()} must return a result with the structure of out_aval, but at {path} expected {expected}, got "
            f"{got}"
        )
    dims = declared.dims_of(label, out_dims)
    for i, (x, at, aval) in enumerate(zip(outs, dims, declared.out_avals, strict=True)):
        if type(x.aval) is not ShapedArray or type(aval) is not ShapedArray:
            whole = aval if at is None else with_leading(aval, size)
            if not matches(whole, x.aval):
                raise RuleError(
                    f"{label()}: expected a result of type {whole.str_short()} for {size} examples, got one of type "
                    f"{x.aval.str_short()}"
                )
            continue
        full = aval.shape
        if at is not None:
            full = (*full[:at], size, *full[at:])
        if x.aval.shape != full or x.aval.dtype != aval.dtype:
            path = keystr(tree_flatten_with_path(out)[0][i][0])
            raise RuleError(
                f"{label()}: the result{' at ' + path if path else ''} must have the type that out_aval declares "
                f"{'without a batch axis' if at is None else f'with the batch axis {at}, of length {size}'}: expected "
                f"{aval.update(shape=full).str_short()}, got {x.aval.str_short()}"
            )
    return outs, dims


def _own_axis(label: Callable[[], str], dim: Any, aval: Any) -> int | None:
    """The batch axis of a result of a type of one's own, which is in front of its parts."""
    spec = aval.leading_axis_spec()
    if dim is not None and dim != 0 and dim != spec:
        raise RuleError(
            f"{label()} must return {spec!r} as the place of the batch axis of a result of type {aval.str_short()}, or "
            f"None where it has none, got {described_result(dim)}"
        )
    return None if dim is None else 0
