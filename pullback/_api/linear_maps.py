"""`linearize` and `linear_transpose`: the linear part of a function as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

from pullback._analysis.linearity import not_linear
from pullback._analysis.uniform import vanishes
from pullback._api.auxiliary import strip_aux
from pullback._api.flat_functions import Flat, prepared
from pullback._api.linear_functions import Pushforward
from pullback._api.vjp_object import VJP
from pullback._core.arguments import argument_path, aval_of, check_callable, check_leaves, lift_leaves
from pullback._core.errors import boundary, describe_function, function_name
from pullback._core.tree import tree_flatten
from pullback._core.tree_paths import tree_flatten_with_path
from pullback._core.types import is_differentiable
from pullback._core.typing import Aux, PyTree, R
from pullback._transforms.linearize import Node, linearize_flat
from pullback._transforms.transpose import record_linear


@overload
def linearize(fun: Callable[..., R], *primals: PyTree, has_aux: Literal[False] = False) -> tuple[R, Pushforward]: ...
@overload
def linearize(
    fun: Callable[..., tuple[R, Aux]], *primals: PyTree, has_aux: Literal[True]
) -> tuple[R, Pushforward, Aux]: ...
@overload
def linearize(fun: Callable[..., Any], *primals: PyTree, has_aux: bool = False) -> tuple[Any, ...]: ...
@boundary
def linearize(fun: Callable[..., Any], *primals: PyTree, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` at `primals` and its derivative there, as a function of tangents.

    The primal computation runs once; each call of the derivative runs the linear part only. It is a pytree, as is the
    pullback of `vjp`.

    Returns: `(primals_out, f_jvp)`, and with `has_aux` the auxiliary result.
    Raises: TypeError if `fun` is not callable, and for arguments or results that are not arrays; of `f_jvp`, TypeError
      for tangents with another structure or dtype than the arguments, ValueError for other shapes.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> y, f_jvp = pb.linearize(lambda x: x ** 2, 3.)
    >>> print(y, f_jvp(1.), f_jvp(2.))
    9.0 6.0 12.0
    """
    check_callable("linearize", fun)
    leaves, tree = tree_flatten(primals)
    xs = lift_leaves("linearize", fun, leaves, primals)
    flat = Flat("linearize", fun, primals, {}, tree, None, has_aux)
    outs, linear = linearize_flat(prepared(flat), xs, subject=f"linearize of {describe_function(fun)}")
    value = flat.out_tree.unflatten(outs)
    push = Pushforward(fun, linear, [x.aval for x in xs], tree, [o.aval for o in outs], flat.out_tree)
    return (value, push, strip_aux(flat.aux)) if has_aux else (value, push)


@boundary
def linear_transpose(fun: Callable[..., Any], *primals: PyTree) -> VJP:
    """The transpose of a function that is linear in all its arguments.

    Args:
      fun: the linear function.
      primals: arrays or `ShapeDtypeStruct`s that give the types of its arguments; their values are not used.

    Returns: a function from a cotangent of the result to a tuple of cotangents, one for each argument.
    Raises: TypeError or NotImplementedError if `fun` applies an operation that is not linear.

    >>> import pullback as pb
    >>> [float(c) for c in pb.linear_transpose(lambda x, y: 2 * x - y, 1., 1.)(3.)]
    [6.0, -3.0]
    """
    check_callable("linear_transpose", fun)
    check_leaves("linear_transpose", fun, primals, structs=True)
    leaves, tree = tree_flatten(primals)
    avals = [aval_of(x) for x in leaves]
    for i, aval in enumerate(avals):
        if not is_differentiable(aval):
            path = tree_flatten_with_path(primals)[0][i][0]
            raise TypeError(
                f"linear_transpose of {function_name(fun)}: {argument_path(fun, path[0].idx, path[1:])} "
                f"has type {aval.str_short()}; only floating-point and complex arguments can be transposed"
            )
    flat = Flat("linear_transpose", fun, primals, {}, tree, None, False)
    linear = record_linear(flat, avals, f"linear_transpose of {describe_function(fun)}")
    culprit = not_linear(linear.records, linear.outputs)
    if culprit is not None or not all(type(t) is Node or vanishes(t) for t in linear.outputs):
        why = (
            "a result does not depend on"
            if culprit is None
            else (
                f"'{culprit.name}' puts together what depends on its arguments and what does not. Leave out what "
                "does not vanish with"
            )
        )
        raise TypeError(f"linear_transpose: {describe_function(fun)} is not linear: {why} its arguments.")
    return VJP(fun, linear, avals, tree, [o.aval for o in linear.outputs], flat.out_tree)
