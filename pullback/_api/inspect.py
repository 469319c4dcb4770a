"""`make_jaxpr` and `eval_shape`: the program of a function and the types of its results, without running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple, overload

from pullback._analysis.key_reuse import check_keys
from pullback._core import counters
from pullback._core.arguments import (
    argument_path,
    aval_of,
    canonical_argnums,
    check_callable,
    check_leaves,
    input_names,
)
from pullback._core.cells import Cell, cells_of
from pullback._core.config import config
from pullback._core.discharge import exposed
from pullback._core.dtypes import ExtendedDType
from pullback._core.errors import boundary, describe_function, function_name, standing_for, wrapping
from pullback._core.flat_function import FlatFunction
from pullback._core.jaxpr import ClosedJaxpr
from pullback._core.public_array import ExtendedArray, extended_arrays_exist
from pullback._core.ref_arguments import holds_refs, passed
from pullback._core.refs import Ref
from pullback._core.staging import stage
from pullback._core.trace import axis_size, context
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_map
from pullback._core.types import ShapeDtypeStruct, struct_of
from pullback._core.typing import AnyValue, AxisName, P, PyTree
from pullback._core.users_trees import tree_map as users_tree_map
from pullback._higher_order.custom.captures import arrays_closed_over


def trace_function(
    function: str,
    fun: Callable,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    static: Sequence[int] = (),
    compiled: bool = False,
) -> Traced:
    """Trace a call of `fun`; for `compiled` functions, references stand for any of their type."""
    args, kwargs = with_words((args, kwargs))
    positions = [i for i in range(len(args)) if i not in static]
    dynamic = [args[i] for i in positions]
    check_leaves(function, fun, dynamic, kwargs, positions, structs=True)
    leaves, tree = tree_flatten((dynamic, kwargs))
    refs: dict[int, Cell] = {}
    if holds_refs(leaves):
        tree, cells = passed((dynamic, kwargs), partial(_place, fun, positions), compiled)
        refs = dict(zip([i for i, x in enumerate(leaves) if isinstance(x, Ref)], cells, strict=True))
        leaves, tree = tree_flatten(tree)

    def call(inner_args, inner_kwargs):
        rest = iter(inner_args)
        return fun(*[a if i in static else next(rest) for i, a in enumerate(args)], **inner_kwargs)

    flat = FlatFunction(function, fun, tree, call)
    counters.count("traces")
    closed = stage(
        flat,
        [aval_of(x) for x in leaves],
        f"{describe_function(fun)} for {function}",
        _LazyNames(fun, dynamic, kwargs, positions),
    )
    if config.debug_key_reuse:
        check_keys(closed.jaxpr)
    return Traced(closed, flat.out_tree, leaves, refs)


class Traced(NamedTuple):
    """A traced call: its jaxpr, the result's structure, the leaves that are inputs of the jaxpr.

    The jaxpr accesses the references in the arguments, `refs` by the numbers of their leaves, and others.
    """

    closed: ClosedJaxpr
    out_tree: PyTreeDef
    leaves: list[Any]
    refs: dict[int, Cell]


def _place(fun: Callable, positions: Sequence[int], path: Sequence[Any]) -> str:
    """The words for a leaf of the arguments of a call."""
    if path[0].idx == 0:
        return f"{argument_path(fun, positions[path[1].idx], path[2:])} of {function_name(fun)}"
    return f"keyword argument '{path[1].key}'{keystr(tuple(path[2:]))} of {function_name(fun)}"


class _LazyNames(Sequence):
    """Names of the inputs, computed only when a message needs them."""

    def __init__(self, fun, args, kwargs, positions):
        # only the structure is kept, so that a leaked tracer does not keep the data alive
        leaves, tree = tree_flatten((tuple(args), dict(kwargs)))
        self.fun = fun
        self.tree = tree
        self.positions = positions
        self.num_leaves = len(leaves)

    def __len__(self) -> int:
        return self.num_leaves

    def __getitem__(self, i):
        args, kwargs = tree_unflatten(self.tree, [0] * self.num_leaves)
        return input_names(self.fun, args, kwargs, self.positions)[i]


@overload
def make_jaxpr(
    fun: Callable[P, Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[AxisName, int]] | None = None,
    return_shape: Literal[False] = False,
) -> Callable[P, ClosedJaxpr]: ...
@overload
def make_jaxpr(
    fun: Callable[P, Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[AxisName, int]] | None = None,
    *,
    return_shape: Literal[True],
) -> Callable[P, tuple[ClosedJaxpr, PyTree]]: ...
@overload
def make_jaxpr(
    fun: Callable[P, Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[AxisName, int]] | None = None,
    return_shape: bool = False,
) -> Callable[P, Any]: ...
@boundary
def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[AxisName, int]] | None = None,
    return_shape: bool = False,
) -> Callable[..., Any]:
    """A function that returns the jaxpr of `fun` in place of its value.

    Args:
      fun: a function of arrays or pytrees of arrays.
      static_argnums: positions of arguments that are passed as Python values.
      axis_env: named axes, `(name, size)`, for collectives such as `lax.psum` in `fun` outside of a `vmap`.
      return_shape: also return the result's structure with `ShapeDtypeStruct` leaves.

    Raises: TypeError if `fun` is not callable; at the call, TypeError for arguments or results that are not arrays,
      ValueError for a static argument that is not passed by position.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.make_jaxpr(lambda x: pnp.sin(x) * 2)(1.)
    { lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = mul b 2.0 in (c,) }
    """

    check_callable("make_jaxpr", fun)

    @wrapping(fun)
    @boundary
    def traced(*args, **kwargs):
        static = canonical_argnums("make_jaxpr", static_argnums, len(args), "static_argnums")
        with ExitStack() as axes:
            for name, size in axis_env or ():
                axes.enter_context(axis_size(name, size))
            axes.enter_context(_capturing(fun))
            closed, out_tree, _, refs = trace_function("make_jaxpr", fun, args, kwargs, static)
            if refs or cells_of(closed.jaxpr):
                closed = exposed(closed.jaxpr, refs).closed(closed.consts)
        if return_shape:
            return closed, structs(closed, out_tree)
        return closed

    return traced


@contextmanager
def _capturing(fun: Callable[..., Any]) -> Iterator[None]:
    """Have arrays of one number that a function captures be constants of its jaxpr, as larger ones are."""
    outer = context.captured
    context.captured = arrays_closed_over([fun]) | outer
    try:
        yield
    finally:
        context.captured = outer


@boundary
def eval_shape(fun: Callable[..., Any], *args: PyTree, **kwargs: PyTree) -> PyTree:
    """The shapes and dtypes of the result of a call, without computing it.

    Arguments, and leaves that `fun` returns, may be arrays or `ShapeDtypeStruct`s; the result has `ShapeDtypeStruct`
    leaves. TypeError if `fun` is not
    callable, for arguments of other types, and for results that are not arrays.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.eval_shape(pnp.dot, pb.ShapeDtypeStruct((2, 3), "float32"), pb.ShapeDtypeStruct((3,), "float32"))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    check_callable("eval_shape", fun)
    types: dict[int, ShapeDtypeStruct] = {}

    @standing_for(fun)
    def with_data(*inner_args, **inner_kwargs):
        result = fun(*inner_args, **inner_kwargs)
        leaves, tree = tree_flatten(result)
        types.update((i, x) for i, x in enumerate(leaves) if isinstance(x, ShapeDtypeStruct))
        return tree_unflatten(tree, [0 if i in types else x for i, x in enumerate(leaves)]) if types else result

    closed, out_tree, *_ = trace_function("eval_shape", with_data, args, kwargs)
    return structs(closed, out_tree, types)


def structs(closed: ClosedJaxpr, out_tree: PyTreeDef, given: Mapping[int, ShapeDtypeStruct] | None = None) -> Any:
    """The result of a function with types as its leaves; `given` holds those that it returned itself."""
    types = [struct_of(aval) for aval in closed.out_avals[: out_tree.num_leaves]]
    result = tree_unflatten(out_tree, types if not given else [given.get(i, struct) for i, struct in enumerate(types)])
    return users_tree_map(_without_words, result) if extended_arrays_exist[0] else result


def with_words(args: Any) -> Any:
    """Arguments with the types of extended dtypes as arrays of these without data, which are traced as their words."""
    return tree_map(_with_words, args) if extended_arrays_exist[0] else args


def _with_words(x: AnyValue) -> Any:
    if isinstance(x, ShapeDtypeStruct) and isinstance(x.dtype, ExtendedDType):
        return x.dtype.struct(x.shape, x.sharding)
    return x


def _without_words(x: AnyValue) -> Any:
    return ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, ExtendedArray) else x
