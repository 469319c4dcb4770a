"""Calls of Python functions on the host: `pure_callback`, `io_callback`, and the callbacks of `pullback.debug`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import aval_of, check_callable, check_leaves
from pullback._core.array import Array, ConcreteArray, array_of, is_array_like, lift
from pullback._core.errors import boundary, describe_function
from pullback._core.lists import filled
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.host.callback import (
    VMAP_METHODS,
    HostFunction,
    debug_callback_p,
    io_callback_p,
    pure_callback_p,
)


@boundary
def pure_callback(
    callback: Callable,
    result_shape_dtypes: PyTree,
    *args: PyTree,
    sharding: None = None,
    vmap_method: str | None = None,
    **kwargs: PyTree,
) -> Any:
    """Call a Python function without side effects on the host, from eager code or from compiled code.

    Args:
      callback: a function of arrays, or pytrees of them, which NumPy's functions take too. It may be called any number
        of times, or not at all if its result is not needed, and from another thread.
      result_shape_dtypes: the type of its result: a pytree of objects with a shape and a dtype, such as
        `ShapeDtypeStruct`s or arrays.
      args, kwargs: arrays or pytrees of them, which `callback` gets, with their values.
      sharding: accepted for compatibility; only None is valid for one device.
      vmap_method: the behaviour under `vmap`. None: an error. "sequential": one call after the other, results stacked
        ("sequential_unrolled" is the same). "expand_dims": one call for the whole batch, along a new leading axis,
        which has length 1 in arguments that are not batched; "broadcast_all": it has the full length in all of them;
        "legacy_vectorized": arguments that are not batched are passed as they are.

    Returns: arrays of the declared types. A function that computes in 64-bit types has its results narrowed where
    64-bit types are off.
    Raises: TypeError naming the leaf if the result is not as declared; any exception of `callback`; ValueError under
    differentiation, which needs a rule: see `pullback.external`, `custom_jvp` and `custom_vjp`.

    >>> import numpy as np
    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.jit
    ... def median(x):
    ...     return pb.pure_callback(np.median, pb.ShapeDtypeStruct((), x.dtype), x) + 1
    >>> print(median(pnp.array([3., 1., 2.])))
    3.0
    """
    if sharding is not None:
        raise ValueError(f"pure_callback: only sharding=None is taken, got {sharding!r}")
    check_vmap_method("pure_callback", vmap_method)
    function, leaves = host_function("pure_callback", callback, result_shape_dtypes, args, kwargs)
    return tree_unflatten(function.out_tree, pure_callback_p.bind(*leaves, function=function, vmap_method=vmap_method))


@boundary
def io_callback(
    callback: Callable,
    result_shape_dtypes: PyTree,
    *args: PyTree,
    sharding: None = None,
    ordered: bool = False,
    **kwargs: PyTree,
) -> Any:
    """Call a Python function with side effects on the host, once each time the call is executed.

    Calls are never dropped, and compiled programs make them in program order.

    Args:
      callback: a function of arrays, or pytrees of them, which NumPy's functions take too.
      result_shape_dtypes: the type of its result, as for `pure_callback`; None for a function that returns None.
      args, kwargs: arrays or pytrees of them, which `callback` gets, with their values.
      sharding: accepted for compatibility; only None is valid for one device.
      ordered: whether the order of calls matters. If so, `vmap` is an error; if not, it calls once for each example.

    Raises: the same errors as `pure_callback`.

    >>> import pullback as pb
    >>> from pullback.experimental import io_callback
    >>> seen = []
    >>> @pb.jit
    ... def f(x):
    ...     io_callback(lambda v: seen.append(float(v)), None, x, ordered=True)
    ...     return 2 * x
    >>> print(f(1.5), seen)
    3.0 [1.5]
    """
    if sharding is not None:
        raise ValueError(f"io_callback: only sharding=None is taken, got {sharding!r}")
    function, leaves = host_function("io_callback", callback, result_shape_dtypes, args, kwargs)
    return tree_unflatten(function.out_tree, io_callback_p.bind(*leaves, function=function, ordered=bool(ordered)))


@boundary
def debug_callback(callback: Callable, *args: PyTree, ordered: bool = False, **kwargs: PyTree) -> None:
    """Call a Python function to inspect values, under every transformation and in compiled code.

    It gets arrays with their values. Its result is ignored, and it does not affect derivatives: under
    `grad` and `jvp` it is called once, with primal values; under `vmap` once for each example, if an argument is
    batched. Compiled programs make such calls in program order, with `ordered` or without. A call with a tangent, in a
    jvp rule, is made under `jvp` but not under `grad`, where its value is never known: see `debug.tap`.

    Args:
      callback: the function.
      args, kwargs: arrays or pytrees of them; leaves that are not arrays are passed unchanged.
      ordered: accepted for compatibility.

    Raises: TypeError if `callback` is not callable. Exceptions of the function are raised from the call, or from the
      program.

    >>> import pullback as pb
    >>> seen = []
    >>> def f(x):
    ...     y = x * x
    ...     pb.debug.callback(lambda v: seen.append(float(v)), y)
    ...     return y * x
    >>> print(pb.jit(pb.grad(f))(3.), seen)
    27.0 [9.0]
    """
    check_callable("debug.callback", callback)
    leaves, in_tree = tree_flatten((args, kwargs))
    bind_debug("debug.callback", callback, leaves, in_tree, ordered)


def bind_debug(what: str, callback: Callable, leaves: Sequence[Any], in_tree: PyTreeDef, ordered: bool) -> None:
    """Bind a debug callback of `(args, kwargs)`, given by their leaves, some of which may not be arrays."""
    traced = [is_array_like(x) for x in leaves]
    fixed = [None if t else x for x, t in zip(leaves, traced, strict=True)]

    def fun(*values):
        args, kwargs = tree_unflatten(in_tree, filled(traced, _arrays(values), fixed))
        callback(*args, **kwargs)

    function = HostFunction(fun, None, (), what, callback)
    debug_callback_p.bind(
        *[lift(x) for x, t in zip(leaves, traced, strict=True) if t], function=function, ordered=bool(ordered)
    )


def _arrays(values: Sequence[np.ndarray]) -> list[Array]:
    """The arrays that a callback gets: as JAX's, so that it may use their methods and `at`."""
    return [array_of(make_aval(value.shape, value.dtype), value) for value in values]


def check_vmap_method(what: str, vmap_method: str | None) -> None:
    """Refuse an unknown method."""
    if vmap_method is not None and vmap_method not in VMAP_METHODS:
        raise ValueError(
            f"{what}: vmap_method must be None or one of {', '.join(map(repr, VMAP_METHODS))}, got {vmap_method!r}"
        )


def host_function(
    what: str, callback: Callable, result: PyTree, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[HostFunction, list[Any]]:
    """The flat function of a call, and the leaves it is called with."""
    check_callable(what, callback)
    leaves, in_tree = tree_flatten((args, kwargs))
    try:
        leaves = [x if type(x) is ConcreteArray else lift(x) for x in leaves]
    except (TypeError, OverflowError):
        check_leaves(what, callback, args, kwargs)
        raise
    out_avals, out_tree = declared_types(what, callback, result)

    def fun(*values):
        given_args, given_kwargs = tree_unflatten(in_tree, _arrays(values))
        return callback(*given_args, **given_kwargs)

    return HostFunction(fun, out_tree, out_avals, what, callback), leaves


def declared_types(what: str, callback: Callable, result: PyTree) -> tuple[list[ShapedArray], PyTreeDef]:
    """The declared types of a result, and its structure."""
    leaves, tree = tree_flatten(result)
    try:
        return [_declared(x) for x in leaves], tree
    except (TypeError, OverflowError):
        for path, x in tree_flatten_with_path(result)[0]:
            try:
                _declared(x)
            except (TypeError, OverflowError):
                raise TypeError(
                    f"{what} of {describe_function(callback)}: the result's type must be given as a pytree of what has "
                    f"a shape and a dtype, such as ShapeDtypeStruct(shape, dtype), but {keystr(path) or 'it'} is {x!r} "
                    f"of type {type(x).__name__}"
                ) from None
        raise


def _declared(x: AnyValue) -> ShapedArray:
    if not is_array_like(x) and hasattr(x, "shape") and hasattr(x, "dtype"):
        return ShapedArray(tuple(x.shape), dtypes.canonicalize_dtype(x.dtype))
    return aval_of(x).strip_weak_type()
