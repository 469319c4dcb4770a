"""`jvp`, `grad` and `value_and_grad`: flatten, trace, unflatten."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from pullback._api.auxiliary import strip_aux
from pullback._api.flat_functions import Flat, FlatWithRefs, contents_of, prepared, refs_among
from pullback._api.unconnected import check_unconnected, pull_connected
from pullback._api.users_tangents import as_tangent, describe_mismatch, float0_zeros, received, with_words
from pullback._core import dtypes
from pullback._core.arguments import (
    argument_path,
    canonical_argnums,
    check_callable,
    chosen_argnums,
    lift_leaves,
)
from pullback._core.array import Array, ConcreteArray, array_of
from pullback._core.errors import boundary, describe_function, fold, function_name, wrapping
from pullback._core.refs import Ref
from pullback._core.tree import LEAF, LIST_OF_ONE, PyTreeDef, tree_flatten
from pullback._core.tree_paths import tree_flatten_with_path, tree_text
from pullback._core.types import ShapedArray, is_trivial, make_aval
from pullback._core.typing import AnyValue, Aux, P, PyTree, R
from pullback._ops.shape import instantiate
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.linearize import linearize_flat
from pullback._transforms.transpose import pull


def _check_tuple(function: str, name: str, value: AnyValue) -> None:
    if not isinstance(value, (tuple, list)):
        raise TypeError(
            f"{function}: {name} must be a tuple or a list, one entry per argument of the function, got "
            f"{type(value).__name__}. For a function of one argument: {function}(f, (x,), (tangent,))"
        )


@overload
def jvp(
    fun: Callable[..., R], primals: Sequence[PyTree], tangents: Sequence[PyTree], has_aux: Literal[False] = False
) -> tuple[R, R]: ...
@overload
def jvp(
    fun: Callable[..., tuple[R, Aux]], primals: Sequence[PyTree], tangents: Sequence[PyTree], *, has_aux: Literal[True]
) -> tuple[R, R, Aux]: ...
@overload
def jvp(
    fun: Callable[..., Any], primals: Sequence[PyTree], tangents: Sequence[PyTree], has_aux: bool = False
) -> tuple[Any, ...]: ...
@boundary
def jvp(
    fun: Callable[..., Any], primals: Sequence[PyTree], tangents: Sequence[PyTree], has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `fun` at `primals` and its derivative along `tangents` (forward mode).

    Args:
      fun: a function of arrays, or pytrees of arrays, returning an array or a pytree of them.
      primals: a tuple or list of its arguments.
      tangents: the direction, with the structure, shapes and dtypes of `primals` (dtype `float0` for integers). The
        tangent of a Ref is a Ref, which holds the tangent of the content, before the call and after it.
      has_aux: whether `fun` returns a pair, whose second element is returned without derivative.

    Returns: `(primals_out, tangents_out)`, and with `has_aux` the auxiliary result.
    Raises: TypeError or ValueError naming the argument and leaf whose tangent does not match.
    See: Griewank and Walther, Evaluating Derivatives (2008), chapter 3.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> y, t = pb.jvp(pnp.sin, (0.,), (2.,))
    >>> print(y, t)
    0.0 2.0
    """
    check_callable("jvp", fun)
    _check_tuple("jvp", "primals", primals)
    _check_tuple("jvp", "tangents", tangents)
    leaves, tree = tree_flatten(tuple(primals))
    dots, dots_tree = tree_flatten(tuple(tangents))
    if tree != dots_tree:
        dots, dots_tree = tree_flatten(with_words(tuple(primals), tuple(tangents)))
    if tree != dots_tree:
        raise TypeError(
            "jvp: primals and tangents must have one structure, " + describe_mismatch(tuple(primals), tuple(tangents))
        )
    refs = refs_among(leaves)
    if refs:
        flat: Flat = FlatWithRefs("jvp", fun, primals, tree, has_aux, leaves)
        leaves, dots = contents_of(leaves), contents_of(dots)
    else:
        flat = Flat("jvp", fun, primals, {}, tree, None, has_aux)
    xs = lift_leaves("jvp", fun, leaves, primals)

    def where(i):
        path = tree_flatten_with_path(tuple(tangents))[0][i][0]
        return f"jvp of {function_name(fun)}: the tangent of {argument_path(fun, path[0].idx, path[1:])}"

    ts = [as_tangent(t, x.aval, functools.partial(where, i)) for i, (x, t) in enumerate(zip(xs, dots, strict=True))]
    outs, touts = jvp_flat(flat, xs, ts, f"jvp of {describe_function(fun)}")
    if isinstance(flat, FlatWithRefs):
        outs = flat.ended(outs)
        touts = flat.ended(touts, [tree_flatten(tuple(tangents))[0][i] for i in refs])
    tangents_out = [
        float0_zeros(o.aval) if is_trivial(t.aval) else instantiate(t) for o, t in zip(outs, touts, strict=True)
    ]
    value = flat.out_tree.unflatten(outs), flat.out_tree.unflatten(tangents_out)
    return (*value, strip_aux(flat.aux)) if has_aux else value


def _check_grad_input(
    function: str,
    fun: Callable,
    leaves: Sequence[Array],
    dynamic: Sequence[Any],
    positions: Sequence[int],
    holomorphic: bool,
    allow_int: bool,
) -> None:
    for x in leaves:
        if holomorphic or type(x.aval) is not ShapedArray or not dtypes.is_float(x.aval.dtype):
            break
    else:
        return
    in_forward_mode = function in ("jacfwd", "hessian")
    for i, x in enumerate(leaves):
        if type(x.aval) is not ShapedArray:
            if in_forward_mode:
                raise TypeError(
                    f"{function} of {function_name(fun)}: a Jacobian in forward mode is taken along the entries of "
                    f"arrays, which a value of type {x.aval} is not: use jacrev or jvp"
                )
            if is_trivial(x.aval.to_tangent_aval()) and not allow_int:
                raise TypeError(f"{function} of {function_name(fun)}: values of type {x.aval} have no derivative")
            continue
        dtype = x.aval.dtype
        if dtypes.is_float(dtype) and not holomorphic:
            continue
        if dtypes.is_complex(dtype):
            if holomorphic or not in_forward_mode:
                continue
            advice = (
                "expected a real dtype, since a real function of complex numbers has no Jacobian in forward "
                "mode. For a holomorphic function pass holomorphic=True; otherwise use jacrev or jvp"
            )
        elif holomorphic:
            advice = "with holomorphic=True expected a complex dtype"
        elif allow_int:
            continue
        else:
            advice = "expected a floating-point dtype, since integers and bools have no derivative. Pass a float"
            if not in_forward_mode:
                advice += ", or allow_int=True for a gradient of dtype float0 there"
        path = tree_flatten_with_path(tuple(dynamic))[0][i][0]
        where = argument_path(fun, positions[path[0].idx], path[1:])
        raise TypeError(f"{function} of {function_name(fun)}: {where} has dtype {dtype.name}: {advice}.")


def _refuse_refs(function: str, fun: Callable, dynamic: Sequence[Any], positions: Sequence[int]) -> None:
    for path, leaf in tree_flatten_with_path(tuple(dynamic))[0]:
        if isinstance(leaf, Ref):
            raise TypeError(
                f"{function} of {function_name(fun)}: {argument_path(fun, positions[path[0].idx], path[1:])} is a Ref. "
                "Its gradient goes to another Ref: out, f_vjp = vjp(f, *args), then f_vjp.with_refs(...)(1.0)."
            )


def _check_grad_output(
    function: str, fun: Callable, outs: Sequence[Array], out_tree: PyTreeDef, holomorphic: bool
) -> Array:
    single = out_tree is LEAF or out_tree == LEAF
    if single:
        aval = outs[0].aval
        if type(aval) is not ShapedArray:
            raise TypeError(f"{function}: {function_name(fun)} must return a scalar, got a value of type {aval}")
        if aval.shape == () and dtypes.is_float(aval.dtype) and not holomorphic:
            return outs[0]
    name = function_name(fun)
    if not single:
        raise TypeError(
            f"{function}: {name} must return a scalar, got {tree_text(out_tree)}. If it also returns "
            "auxiliary values, return a pair and pass has_aux=True."
        )
    out = outs[0]
    if out.aval.shape != ():
        raise TypeError(
            f"{function}: {name} must return a scalar (shape ()), got shape {out.aval.shape}. Reduce it, "
            "with .sum() say, or use jacrev or vjp for functions with many results."
        )
    dtype = out.aval.dtype
    if holomorphic:
        if not dtypes.is_complex(dtype):
            raise TypeError(f"{function} with holomorphic=True: {name} must return a complex number, got {dtype.name}")
    else:
        raise TypeError(
            f"{function}: {name} must return a real floating-point number, got dtype {dtype.name}."
            + (" For a holomorphic function pass holomorphic=True." if dtypes.is_complex(dtype) else "")
        )
    return out


_ones: dict[ShapedArray, Any] = {}


def _one(aval: ShapedArray) -> Array:
    one = _ones.get(aval)
    if one is None:
        one = _ones[aval] = array_of(make_aval((), aval.dtype, aval.weak_type), aval.dtype.type(1))
    return one


@boundary
def value_and_grad(
    fun: Callable[P, R],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, tuple[R, PyTree]]:
    """A function that returns both the value and the gradient of `fun`.

    Args:
      fun: a function with a scalar result (or a pair of a scalar and auxiliary values, with `has_aux`).
      argnums: the position of the argument to differentiate, or several.
      has_aux, holomorphic, allow_int, unconnected: see `grad`.

    Returns: a function with the arguments of `fun` that returns `(value, gradient)`, or `((value, aux), gradient)`.
    Raises: TypeError if `fun` is not callable; at the call, TypeError for a result that is not a real scalar and for
      arguments without derivative, ValueError for a position in `argnums` without argument.

    >>> import pullback as pb
    >>> value, gradient = pb.value_and_grad(lambda x: x ** 3)(2.)
    >>> print(value, gradient)
    8.0 12.0
    """
    return _gradient(fun, argnums, has_aux, holomorphic, allow_int, unconnected, "value_and_grad", True)


@overload
def grad(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: Literal[False] = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, PyTree]: ...
@overload
def grad(
    fun: Callable[P, tuple[Any, Aux]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
    holomorphic: bool = False,
    allow_int: bool = False,
    unconnected: str = "zero",
) -> Callable[P, tuple[PyTree, Aux]]: ...
@overload
def grad(
    fun: Callable[P, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[P, Any]: ...
@boundary
def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    unconnected: str = "zero",
) -> Callable[..., Any]:
    """The gradient of a function with a scalar result.

    Args:
      fun: a function of arrays or pytrees of arrays; its result must be a real floating-point scalar.
      argnums: the position of the argument to differentiate (the gradient has its structure), or several (a tuple).
        At a complex argument `x + iy` the gradient is `∂f/∂x − i ∂f/∂y`: its conjugate is the direction of steepest
        ascent.
      has_aux: `fun` returns `(scalar, aux)`, and the gradient function returns `(gradient, aux)`.
      holomorphic: `fun` is a holomorphic function of complex arguments.
      allow_int: integer and bool arguments get a gradient of dtype `float0`.
      unconnected: the gradient at a leaf on which the result does not depend: "zero", "none" for None, or "error" for
        a ValueError that names the leaf.

    Raises: TypeError for a result that is not a scalar, or an argument without derivative, named by its path.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.grad(pnp.sin)(0.))
    1.0
    >>> g = pb.grad(lambda p: p["w"] * p["b"])({"w": 2., "b": 3.})
    >>> print(g["w"], g["b"])
    3.0 2.0
    """
    return _gradient(fun, argnums, has_aux, holomorphic, allow_int, unconnected, "grad", False)


def _gradient(fun, argnums, has_aux, holomorphic, allow_int, unconnected, function: str, with_value: bool) -> Callable:
    check_callable(function, fun)
    check_unconnected(function, unconnected)
    given, one = chosen_argnums(function, argnums)
    subject = f"{function} of {describe_function(fun)}"

    @wrapping(fun)
    def gradient(*args, **kwargs):
        try:
            positions = given
            if not one or not 0 <= given[0] < len(args):
                positions = canonical_argnums(subject, given, len(args))
            if one and isinstance(args[positions[0]], (Array, float)):
                leaves, tree = [args[positions[0]]], LIST_OF_ONE
                dynamic = leaves
            else:
                dynamic = [args[i] for i in positions]
                leaves, tree = tree_flatten(dynamic)
            try:
                xs = lift_leaves(function, fun, leaves, dynamic, None, positions)
            except TypeError:
                _refuse_refs(function, fun, dynamic, positions)
                raise
            _check_grad_input(function, fun, xs, dynamic, positions, holomorphic, allow_int)
            flat = Flat(function, fun, args, kwargs, tree, positions, has_aux)
            outs, linear = linearize_flat(prepared(flat), xs, None, subject)
            out = _check_grad_output(function, fun, outs, flat.out_tree, holomorphic)
            ct = _one(out.aval)
            if unconnected == "zero":
                grads = pull(linear, [ct], once=True)
                for g, x in zip(grads, xs):
                    if type(g) is not ConcreteArray or g.aval is not x.aval:
                        grads = received(grads, [x.aval for x in xs])
                        break
            else:
                avals = [x.aval for x in xs]
                grads = pull_connected(function, fun, linear, ct, avals, dynamic, positions, unconnected)
            result = grads if tree is LIST_OF_ONE else tree.unflatten(grads)
            result = result[0] if one else tuple(result)
            if has_aux:
                aux = strip_aux(flat.aux)
                return ((out, aux), result) if with_value else (result, aux)
            return (out, result) if with_value else result
        except Exception as error:
            fold(error)
            raise

    return gradient
