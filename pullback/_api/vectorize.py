"""`vmap`: turn a function of examples into a function of batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from pullback._api.refs_under_vmap import ReturningRefs, batched_with_refs
from pullback._core.arguments import argument_path, check_callable, lift_leaves
from pullback._core.array import Array
from pullback._core.errors import boundary, describe_function, described, fold, function_name, wrapping
from pullback._core.hitypes import MappingSpec
from pullback._core.lazy import LateModule
from pullback._core.public_array import extended_arrays_exist
from pullback._core.ref_arguments import holds_refs
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import broadcast_prefix, keystr, prefix_errors, tree_flatten_with_path, tree_text
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, AxisName, P, PyTreePrefix, R
from pullback._transforms.mapping_specs import check_spec, with_axes_in_front, with_axis_at
from pullback._transforms.vmap import batch_flat

if TYPE_CHECKING:
    from pullback._core import users_trees
else:
    users_trees = LateModule("pullback._core.users_trees")


@boundary
def vmap(
    fun: Callable[P, R],
    in_axes: PyTreePrefix = 0,
    out_axes: PyTreePrefix = 0,
    axis_name: AxisName | None = None,
    axis_size: int | None = None,
    spmd_axis_name: AxisName | None = None,
) -> Callable[P, R]:
    """Map a function over an axis of its arguments, with one vectorized call in place of a loop.

    Args:
      fun: the function of one example.
      in_axes: for each argument the axis to map over, None for an argument shared by all: an int for all arguments, or
        a tuple with an entry each, which may be a pytree that is a prefix of the argument. Keyword arguments are mapped
        over axis 0. Where it is None, functions, strings, numbers and NumPy data reach `fun` as they are.
        over axis 0. A value of a type of one's own has a `MappingSpec` (of `experimental.hijax`) in place of an int.
      out_axes: the position of the mapped axis in the result: an int, None for a result that is not mapped, or a pytree
        that is a prefix of the result.
      axis_name: a name by which collectives such as `lax.psum` inside `fun` refer to the axis, any hashable object. A
        tuple is one name too, but collectives read a tuple as several names, so it must be nested in another:
        `(name,)`.
      axis_size: the length of the axis; needed only if no array is mapped.
      spmd_axis_name: a name, or several, of axes of a mesh of devices, along which `with_sharding_constraint` inside of
        `fun` spreads the mapped axis; without it, the compiler chooses.

    Raises: ValueError listing the argument sizes if they differ, or if an axis does not exist; TypeError for an
      `axis_name` that cannot be hashed, and for a `spmd_axis_name` that is not a name.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.vmap(pnp.dot, in_axes=(0, None))(pnp.ones((3, 2)), pnp.array([1., 2.]))
    Array([3., 3., 3.], dtype=float32)
    """
    check_callable("vmap", fun)
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not (isinstance(in_axes, (int, tuple, MappingSpec)) or in_axes is None or hasattr(in_axes, "__iter__")):
        raise TypeError(f"vmap: in_axes must be an int, None, or a tuple with an entry per argument, got {in_axes!r}")
    if axis_size is not None and (type(axis_size) is not int or axis_size < 0):
        raise TypeError(f"vmap: axis_size must be a non-negative int, got {axis_size!r}")
    try:
        hash(axis_name)
    except TypeError:
        raise TypeError(
            f"vmap: axis_name must be a hashable name, such as a string, got {described(axis_name)}"
        ) from None
    spmd_axes = spmd_axis_name if isinstance(spmd_axis_name, tuple) or spmd_axis_name is None else (spmd_axis_name,)
    for axis in spmd_axes or ():
        if not isinstance(axis, str):
            raise TypeError(
                f"vmap: spmd_axis_name must be the name of an axis or a tuple of names, got {described(spmd_axis_name)}"
            )
    name, subject = function_name(fun), f"vmap of {describe_function(fun)}"

    def call(args, kwargs):
        return fun(*args, **kwargs)

    def inner(example, axes, targets):
        return vmap(example, axes, targets, axis_name, axis_size, spmd_axes)

    @wrapping(fun)
    def batched(*args, **kwargs):
        try:
            leaves, tree = tree_flatten((args, kwargs))
            axes = _input_axes(fun, in_axes, args, kwargs)
            if extended_arrays_exist[0]:
                _axes_of_words(fun, axes, leaves, tree, args, kwargs)
            if holds_refs(leaves):
                return batched_with_refs(fun, leaves, tree, axes, out_axes, inner, partial(_place, fun, args, kwargs))
            kept: dict[int, Any] = {}
            if None in axes:
                kept = {i: x for i, (x, a) in enumerate(zip(leaves, axes)) if a is None and not isinstance(x, Array)}
                if kept:
                    leaves = [0 if i in kept else x for i, x in enumerate(leaves)]
                    args, kwargs = tree_unflatten(tree, leaves)
            xs = lift_leaves("vmap", fun, leaves, args, kwargs)
            dims = [
                _check_axis(fun, axis, x, i, args, kwargs) for i, (axis, x) in enumerate(zip(axes, xs, strict=True))
            ]
            size = _batch_size(fun, xs, dims, axis_size, args, kwargs)
            xs, dims = with_axes_in_front(xs, dims, size, lambda i: _where(fun, i, args, kwargs))
            flat = ReturningRefs("vmap", fun, tree, call)
            run = partial(_with_kept, flat, kept) if kept else flat
            values, out_dims, trace = batch_flat(run, xs, dims, size, axis_name, subject=subject, spmd_axes=spmd_axes)
            out_tree = flat.out_tree
            targets = _output_axes(name, out_axes, out_tree)
            words = users_trees.places_of_words(out_tree) if extended_arrays_exist[0] else ()
            results = []
            for i, (value, dim, target) in enumerate(zip(values, out_dims, targets, strict=True)):
                if target is None:
                    if dim is not None:
                        raise ValueError(
                            f"vmap of {name}: out_axes is None for leaf {i} of the result, but that leaf "
                            "depends on a mapped argument, so it has a value for each example. Use "
                            "out_axes=0, or reduce over the axis with lax.psum or lax.pmean."
                        )
                    results.append(value)
                elif isinstance(target, MappingSpec) or type(value.aval) is not ShapedArray:
                    results.append(with_axis_at(trace.materialize(value, dim), target, f"vmap of {name}: leaf {i}"))
                else:
                    if type(target) is not int:
                        raise TypeError(f"vmap of {name}: out_axes must hold ints and None, got {target!r}")
                    rank = value.aval.ndim - (dim is not None) - (i in words)
                    if not -rank - 1 <= target <= rank:
                        raise ValueError(
                            f"vmap of {name}: out_axes={target} for leaf {i} of the result, which has "
                            f"rank {rank}: the axis must lie in [{-rank - 1}, {rank}]"
                        )
                    results.append(trace.materialize(value, dim, target % (rank + 1)))
            return tree_unflatten(out_tree, flat.with_refs(results) if flat.returned else results)
        except Exception as error:
            fold(error)
            raise

    return batched


def _with_kept(flat: Callable, kept: dict[int, Any], *leaves: AnyValue) -> list[Array]:
    """The flat function with the leaves that are no arrays, and are not mapped, as they were given."""
    return flat(*[kept[i] if i in kept else x for i, x in enumerate(leaves)])


def _is_none(x: AnyValue) -> bool:
    return x is None


def _input_axes(fun: Callable, in_axes: Any, args: tuple, kwargs: dict) -> list[Any]:
    if type(in_axes) is int:
        return [*[in_axes] * len(tree_flatten(args)[0]), *[0] * len(tree_flatten(kwargs)[0])]
    prefix = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    if isinstance(prefix, tuple) and len(prefix) != len(args):
        raise ValueError(
            f"vmap of {function_name(fun)}: in_axes has {len(prefix)} entries, but the function was "
            f"called with {len(args)} positional arguments. Give an entry (an int, None, or a "
            "pytree) for each."
        )
    try:
        axes = broadcast_prefix(prefix, args, is_leaf=_is_none)
    except ValueError:
        for path, expected, got, _ in prefix_errors(prefix, args, is_leaf=_is_none):
            raise ValueError(
                f"vmap of {function_name(fun)}: in_axes must be a prefix of the arguments, but at "
                f"{keystr(path) or 'the top'} it has {expected} where the arguments have {got}"
            ) from None
        raise
    return [*axes, *[0] * len(tree_flatten(kwargs)[0])]


def _axes_of_words(
    fun: Callable, axes: list[Any], leaves: list[Any], tree: PyTreeDef, args: tuple, kwargs: dict
) -> None:
    """Make axes of arrays of extended dtypes, such as keys, axes of their words, which have one more."""
    for i in users_trees.places_of_words(tree):
        axis, rank = axes[i], leaves[i].ndim - 1
        if type(axis) is int:
            if not -rank <= axis < rank:
                raise _no_axis(fun, axis, leaves[i].shape[:-1], i, args, kwargs)
            axes[i] = axis % rank


def _leaf_path(fun: Callable, i: int, args: tuple, kwargs: dict) -> str:
    path = tree_flatten_with_path((args, kwargs))[0][i][0]
    if path[0].idx == 0:
        return argument_path(fun, path[1].idx, path[2:])
    return f"keyword argument '{path[1].key}'{keystr(path[2:])}"


def _where(fun: Callable, i: int, args: tuple, kwargs: dict) -> str:
    return f"vmap of {function_name(fun)}: {_leaf_path(fun, i, args, kwargs)}"


def _place(fun: Callable, args: tuple, kwargs: dict, i: int) -> str:
    return f"{_leaf_path(fun, i, args, kwargs)} of {function_name(fun)}"


def _check_axis(fun: Callable, axis: Any, x: Array, i: int, args: tuple, kwargs: dict) -> Any:
    if axis is None:
        return None
    if isinstance(axis, MappingSpec) or type(x.aval) is not ShapedArray:
        return check_spec(axis, x, lambda: _where(fun, i, args, kwargs))
    if type(axis) is not int:
        raise TypeError(f"vmap of {function_name(fun)}: in_axes must hold ints and None, got {axis!r}")
    rank = x.aval.ndim
    if not -rank <= axis < rank:
        raise _no_axis(fun, axis, x.aval.shape, i, args, kwargs)
    return axis % rank


def _no_axis(fun: Callable, axis: int, shape: tuple[Any, ...], i: int, args: tuple, kwargs: dict) -> ValueError:
    path = _leaf_path(fun, i, args, kwargs)
    entry = path.endswith("]") and path[-2].isdigit()  # of a list or tuple
    return ValueError(
        f"vmap of {function_name(fun)}: {path} has shape {shape}, which has no axis {axis}. "
        "To share it among all examples, set its in_axes to None."
        + (" A list of numbers is many arrays: make one of it, with numpy.asarray." if entry else "")
    )


def _batch_size(fun: Callable, xs: list[Array], dims: list[Any], given: int | None, args: tuple, kwargs: dict) -> int:
    sizes = {x.aval.shape[d] for x, d in zip(xs, dims, strict=True) if type(d) is int}
    if given is not None:
        sizes.add(given)
    if len(sizes) == 1:
        return sizes.pop()
    name = function_name(fun)
    if not sizes and any(d is not None for d in dims):
        raise ValueError(
            f"vmap of {name}: pass axis_size, the length of the axis along which values are mapped: the types of one's "
            "own among the arguments do not tell it"
        )
    if not sizes:
        raise ValueError(
            f"vmap of {name}: no argument is mapped, so the length of the axis is unknown. Map an "
            "argument (in_axes), or pass axis_size."
        )
    lines = [
        f"  {_leaf_path(fun, i, args, kwargs)} of shape {x.aval.shape} has length {x.aval.shape[d]} along axis {d}"
        for i, (x, d) in enumerate(zip(xs, dims, strict=True))
        if type(d) is int
    ]
    if given is not None:
        lines.append(f"  axis_size is {given}")
    raise ValueError(f"vmap of {name}: the mapped axes must have one length, but\n" + "\n".join(lines))


def _output_axes(name: str, out_axes: Any, out_tree: Any) -> list[int | None]:
    if type(out_axes) is int:
        return [out_axes] * out_tree.num_leaves
    dummy = tree_unflatten(out_tree, [0] * out_tree.num_leaves)
    prefix = out_axes
    if isinstance(out_axes, list) and isinstance(dummy, tuple):
        prefix = tuple(out_axes)
    try:
        return broadcast_prefix(prefix, dummy, is_leaf=_is_none)
    except ValueError:
        raise ValueError(
            f"vmap of {name}: out_axes={out_axes!r} must be a prefix of the result, whose structure is "
            f"{tree_text(out_tree)}"
        ) from None
