"""Helpers of transformations that libraries use, under JAX's names."""

from __future__ import annotations

import inspect
import typing as _typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from pullback._core.arguments import aval_of
from pullback._core.errors import boundary, describe_function
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import broadcast_prefix
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback.extend.linear_util import WrappedFun, transformation2, transformation_with_aux2

__all__ = [
    "argnums_partial",
    "debug_info",
    "donation_vector",
    "flatten_axes",
    "flatten_fun",
    "flatten_fun_nokwargs",
    "rebase_donate_argnums",
    "safe_map",
    "shaped_abstractify",
]


class DebugInfo(NamedTuple):
    """What a function is traced for, where it stands, and the names of its parameters.

    >>> DebugInfo("jit", "f at file.py:1", ("x",)).arg_names
    ('x',)
    """

    traced_for: str
    func_src_info: str
    arg_names: tuple[str, ...]
    result_paths: Any = None


def debug_info(
    traced_for: str,
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    static_argnums: Sequence[int] = (),
    static_argnames: Sequence[str] = (),
    result_paths_thunk: AnyValue = None,
    sourceinfo: str | None = None,
    signature: inspect.Signature | None = None,
) -> DebugInfo:
    """What messages may say of a function that is traced. Raises nothing.

    >>> debug_info("jit", lambda x: x, (1,), {}).traced_for
    'jit'
    """
    try:
        names = tuple((signature or inspect.signature(fun)).parameters)
    except (TypeError, ValueError):
        names = ()
    return DebugInfo(traced_for, sourceinfo or describe_function(fun), names, result_paths_thunk)


@transformation_with_aux2
def flatten_fun(f: Callable[..., Any], store: Any, in_tree: PyTreeDef, *leaves: Any) -> list[Any]:
    """The wrapped function of `(args, kwargs)` as one of their leaves, and a function for the result's structure.

    Raises what the function raises; StoreException if the structure is asked for before the function has run.

    >>> from pullback.extend.linear_util import wrap_init
    >>> leaves, tree = tree_flatten(((1, 2), {}))
    >>> f, out_tree = flatten_fun(wrap_init(lambda x, y: {"sum": x + y}), tree)
    >>> f.call_wrapped(*leaves), out_tree()
    ([3], PyTreeDef({'sum': *}))
    """
    args, kwargs = tree_unflatten(in_tree, leaves)
    outs, tree = tree_flatten(f(*args, **kwargs))
    store.store(tree)
    return outs


@transformation_with_aux2
def flatten_fun_nokwargs(f: Callable[..., Any], store: Any, in_tree: PyTreeDef, *leaves: Any) -> list[Any]:
    """As `flatten_fun`, for the leaves of the positional arguments. Raises the same.

    >>> from pullback.extend.linear_util import wrap_init
    >>> leaves, tree = tree_flatten((1, 2))
    >>> f, out_tree = flatten_fun_nokwargs(wrap_init(lambda x, y: (x + y,)), tree)
    >>> f.call_wrapped(*leaves), out_tree()
    ([3], PyTreeDef((*,)))
    """
    outs, tree = tree_flatten(f(*tree_unflatten(in_tree, leaves)))
    store.store(tree)
    return outs


@transformation2
def _with_fixed(f: Callable[..., Any], positions: tuple[int, ...], args: tuple[Any, ...], *dynamic: Any) -> Any:
    rest = iter(dynamic)
    return f(*[next(rest) if i in positions else x for i, x in enumerate(args)])


def argnums_partial(
    f: WrappedFun, dyn_argnums: int | Iterable[int], args: Sequence[Any], require_static_args_hashable: bool = True
) -> tuple[WrappedFun, tuple[Any, ...]]:
    """A wrapped function of some of its arguments, the others fixed; and these arguments.

    IndexError for an argument that is not there.

    >>> from pullback.extend.linear_util import wrap_init
    >>> f, dynamic = argnums_partial(wrap_init(lambda x, y: x - y), 1, (5, 3))
    >>> f.call_wrapped(*dynamic), dynamic
    (2, (3,))
    """
    given = (dyn_argnums,) if isinstance(dyn_argnums, int) else tuple(dyn_argnums)
    positions = tuple(i % len(args) for i in given)
    return _with_fixed(f, positions, tuple(args)), tuple(args[i] for i in given)


def flatten_axes(
    name: str, treedef: PyTreeDef, axis_tree: PyTree, *, kws: bool = False, tupled_args: bool = False
) -> list[Any]:
    """The entries of a prefix of a tree, one for each leaf. ValueError if it is no prefix.

    `kws` and `tupled_args` word JAX's error, and are ignored.

    >>> flatten_axes("in_axes", tree_flatten((1, (2, 3)))[1], (None, 0))
    [None, 0, 0]
    """
    dummy = tree_unflatten(treedef, [0] * treedef.num_leaves)
    return broadcast_prefix(axis_tree, dummy, is_leaf=lambda x: x is None)


def shaped_abstractify(x: AnyValue) -> ShapedArray:
    """The type of an array, a number or a `ShapeDtypeStruct`. TypeError for anything else.

    >>> shaped_abstractify(1.5)
    ShapedArray(float32[], weak_type=True)
    """
    return x if isinstance(x, ShapedArray) else aval_of(x)


def safe_map(f: Callable[..., Any], *args: Iterable[Any]) -> list[Any]:
    """`f` of the items of sequences of one length, in a list. ValueError for different lengths.

    >>> safe_map(max, [1, 5], [3, 4])
    [3, 5]
    """
    return [f(*items) for items in zip(*args, strict=True)]


def donation_vector(
    donate_argnums: Sequence[int], donate_argnames: Sequence[str], in_tree: PyTreeDef, kws: bool = True
) -> tuple[bool, ...]:
    """A flag for each leaf of `(args, kwargs)`, or without `kws` of `args`: whether its argument is donated.

    Raises nothing.

    >>> tree = tree_flatten(((1, [2, 3]), {"x": 4}))[1]
    >>> donation_vector((1,), ("x",), tree)
    (False, True, True, True)
    """
    parts = in_tree.children()
    args, kwargs = (parts[0], parts[1]) if kws else (in_tree, None)
    flags = [i in donate_argnums for i, arg in enumerate(args.children()) for _ in range(arg.num_leaves)]
    if kwargs is not None:
        names = (kwargs.node_data() or (dict, ()))[1]
        for name, arg in zip(names, kwargs.children(), strict=True):
            flags += [name in donate_argnames] * arg.num_leaves
    return tuple(flags)


@boundary
def rebase_donate_argnums(donate_argnums: Sequence[int], static_argnums: Sequence[int]) -> tuple[int, ...]:
    """The donated arguments, numbered among those that are not static.

    ValueError for one that is static too.

    >>> rebase_donate_argnums((0, 3), (1, 2))
    (0, 1)
    """
    both = sorted(set(donate_argnums) & set(static_argnums))
    if both:
        raise ValueError(f"rebase_donate_argnums: the arguments {both} cannot be donated, since they are static")
    return tuple(i - sum(s < i for s in static_argnums) for i in sorted(donate_argnums))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
