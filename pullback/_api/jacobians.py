"""`jacfwd`, `jacrev` and `hessian`: all directional derivatives at once, by `vmap` over a basis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np

from pullback._api.auxiliary import strip_aux
from pullback._api.derivatives import _check_grad_input
from pullback._api.flat_functions import Flat, prepared
from pullback._api.unconnected import check_unconnected, refuse_unconnected
from pullback._core import dtypes
from pullback._core.arguments import canonical_argnums, check_callable, chosen_argnums, lift_leaves
from pullback._core.array import Array, from_numpy
from pullback._core.errors import boundary, describe_function, function_name, wrapping
from pullback._core.flat_function import WithAux
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.types import ShapedArray
from pullback._core.typing import Aux, P, PyTree
from pullback._core.zeros import Zero
from pullback._ops.shape import convert_element_type, move_axis, reshape, zeros_like_aval
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.linearize import linearize_flat
from pullback._transforms.transpose import pull
from pullback._transforms.vmap import batch_flat


def _basis(avals: Sequence[ShapedArray]) -> list[Array]:
    """The standard basis of the product of the spaces, one array for each, with a leading basis axis."""
    total = sum(a.size for a in avals)
    parts: list[Array] = []
    start = 0
    for a in avals:
        block = np.eye(total, a.size, -start, dtype=np.float32).astype(a.dtype)
        parts.append(from_numpy(block.reshape(total, *a.shape), a.weak_type))
        start += a.size
    return parts


@overload
def jacfwd(
    fun: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: Literal[False] = False, holomorphic: bool = False
) -> Callable[P, PyTree]: ...
@overload
def jacfwd(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
) -> Callable[P, tuple[PyTree, Aux]]: ...
@overload
def jacfwd(
    fun: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[P, Any]: ...
@boundary
def jacfwd(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian of `fun`, column by column in forward mode: for functions with few inputs.

    Returns: a function whose result has, for each leaf of the result of `fun` and each leaf of the argument, an array
      of shape `(*out.shape, *in.shape)`: the result's structure outside, the argument's inside.
    Raises: TypeError for an argument without derivative, named by its path.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.jacfwd(lambda x: x ** 2)(pnp.array([1., 2.]))
    Array([[2., 0.],
           [0., 4.]], dtype=float32)
    """
    check_callable("jacfwd", fun)
    return _forward("jacfwd", fun, argnums, has_aux, holomorphic)


def _forward(
    function: str, fun: Callable, argnums: int | Sequence[int], has_aux: bool, holomorphic: bool
) -> Callable[..., Any]:
    """`jacfwd` on behalf of `function`, which messages name."""
    chosen, one = chosen_argnums(function, argnums)

    @wrapping(fun)
    @boundary
    def jacobian(*args, **kwargs):
        positions = canonical_argnums(f"{function} of {function_name(fun)}", chosen, len(args))
        dynamic = [args[i] for i in positions]
        leaves, tree = tree_flatten(dynamic)
        xs = lift_leaves(function, fun, leaves, dynamic, None, positions)
        _check_grad_input(function, fun, xs, dynamic, positions, holomorphic, False)
        flat = Flat(function, fun, args, kwargs, tree, positions, has_aux)

        @WithAux
        def push(*tangents):
            outs, touts = jvp_flat(flat, xs, tangents, f"{function} of {describe_function(fun)}")
            return [zeros_like_aval(o.aval) if type(t) is Zero else t for o, t in zip(outs, touts, strict=True)], outs

        size = sum(x.aval.size for x in xs)
        values, dims, trace = batch_flat(push, _basis([x.aval for x in xs]), [0] * len(xs), size, repeats=False)
        for out in push.aux:
            if holomorphic and not dtypes.is_complex(out.aval.dtype):
                raise TypeError(
                    f"{function} with holomorphic=True: {function_name(fun)} must return complex numbers, "
                    f"got dtype {out.aval.dtype.name}"
                )
        columns = [trace.materialize(v, d) for v, d in zip(values, dims, strict=True)]
        rows = []
        for column in columns:
            blocks, start = [], 0
            for x in xs:
                block = column[start : start + x.aval.size]
                start += x.aval.size
                block = move_axis(block, 0, block.aval.ndim - 1)
                blocks.append(reshape(block, (*column.aval.shape[1:], *x.aval.shape)))
            per_argument = tree_unflatten(tree, blocks)
            rows.append(per_argument[0] if one else tuple(per_argument))
        result = tree_unflatten(flat.out_tree, rows)
        return (result, strip_aux(flat.aux)) if has_aux else result

    return jacobian


@overload
def jacrev(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, PyTree]: ...
@overload
def jacrev(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    allow_int: bool = False,
    unconnected: str = "zero",
) -> Callable[P, tuple[PyTree, Aux]]: ...
@overload
def jacrev(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, Any]: ...
@boundary
def jacrev(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[..., Any]:
    """The Jacobian of `fun`, row by row in reverse mode: for functions with few results.

    `unconnected` selects the blocks at a leaf of the argument on which no result depends, see `grad`.

    Returns: a function whose result has the layout of `jacfwd`'s.
    Raises: TypeError for an argument or a result without derivative.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.jacrev(lambda x: x[0] * x[1])(pnp.array([3., 5.]))
    Array([5., 3.], dtype=float32)
    """
    return _reverse("jacrev", fun, argnums, has_aux, holomorphic, allow_int, unconnected)


jacobian = jacrev


def _reverse(
    function: str,
    fun: Callable,
    argnums: int | Sequence[int],
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    unconnected: str,
) -> Callable[..., Any]:
    check_callable(function, fun)
    check_unconnected(function, unconnected)
    chosen, one = chosen_argnums(function, argnums)

    @wrapping(fun)
    @boundary
    def jacobian(*args, **kwargs):
        positions = canonical_argnums(f"{function} of {function_name(fun)}", chosen, len(args))
        dynamic = [args[i] for i in positions]
        leaves, tree = tree_flatten(dynamic)
        xs = lift_leaves(function, fun, leaves, dynamic, None, positions)
        _check_grad_input(function, fun, xs, dynamic, positions, holomorphic, allow_int)
        flat = Flat(function, fun, args, kwargs, tree, positions, has_aux)
        outs, linear = linearize_flat(prepared(flat), xs, subject=f"{function} of {describe_function(fun)}")
        for out in outs:
            wanted = dtypes.is_complex if holomorphic else dtypes.is_float
            if not wanted(out.aval.dtype):
                raise TypeError(
                    f"{function} of {function_name(fun)}: the result must be {'complex' if holomorphic else 'real'} "
                    f"floating-point numbers, got {out.aval.str_short()}."
                    + (" For a holomorphic function pass holomorphic=True." if not holomorphic else "")
                )

        @WithAux
        def back(*cts):
            results = pull(linear, cts)
            missing = [type(r) is Zero for r in results]
            return [
                zeros_like_aval(x.aval)
                if r is None or type(r) is Zero
                else convert_element_type(r, r.aval.dtype, x.aval.weak_type)
                for r, x in zip(results, xs, strict=True)
            ], missing

        size = sum(o.aval.size for o in outs)
        values, dims, trace = batch_flat(back, _basis([o.aval for o in outs]), [0] * len(outs), size)
        refuse_unconnected(function, fun, back.aux, dynamic, positions, unconnected)
        per_input = [trace.materialize(v, d) for v, d in zip(values, dims, strict=True)]
        rows, start = [], 0
        for out in outs:
            blocks: list[Any] = []
            for value, absent in zip(per_input, back.aux, strict=True):
                block = value[start : start + out.aval.size]
                blocks.append(
                    None
                    if absent and unconnected == "none"
                    else reshape(block, (*out.aval.shape, *value.aval.shape[1:]))
                )
            start += out.aval.size
            per_argument = tree_unflatten(tree, blocks)
            rows.append(per_argument[0] if one else tuple(per_argument))
        result = tree_unflatten(flat.out_tree, rows)
        return (result, strip_aux(flat.aux)) if has_aux else result

    return jacobian


@overload
def hessian(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, PyTree]: ...
@overload
def hessian(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    unconnected: str = "zero",
) -> Callable[P, tuple[PyTree, Aux]]: ...
@overload
def hessian(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, Any]: ...
@boundary
def hessian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[..., Any]:
    """The matrix of second derivatives, forward over reverse.

    `unconnected` selects the rows of a leaf on which the result does not depend, see `grad`.

    Returns: a function whose result has the argument's structure twice nested, with arrays of shape
      `(*out.shape, *in.shape, *in.shape)`.
    Raises: TypeError if `fun` is not callable; at the call, TypeError for arguments without derivative and for complex
      ones (unless `holomorphic`) and for results that are not real floats, ValueError for a position in `argnums`
      without argument.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.hessian(lambda x: (x ** 3).sum())(pnp.array([1., 2.]))
    Array([[ 6.,  0.],
           [ 0., 12.]], dtype=float32)
    """
    check_callable("hessian", fun)
    rows = _reverse("hessian", fun, argnums, has_aux, holomorphic, False, unconnected)
    return _forward("hessian", rows, argnums, has_aux, holomorphic)
