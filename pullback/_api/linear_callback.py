"""`linear_callback`: a linear operator on the host, with its transpose."""

from __future__ import annotations

from collections.abc import Callable

from pullback._api.callbacks import check_vmap_method, declared_types
from pullback._core import dtypes
from pullback._core.arguments import check_callable, check_leaves
from pullback._core.array import lift
from pullback._core.errors import boundary, describe_function, function_name, wrapping
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import path_of
from pullback._higher_order.host.callback import HostFunction
from pullback._higher_order.host.linear_callback import linear_host_call_p


@boundary
def linear_callback(A: Callable, At: Callable, result: PyTree = None, *, vmap_method: str = "sequential") -> Callable:
    """A differentiable function from a linear operator on the host and its transpose.

    `jvp` applies `A` to the tangent, `grad` applies `At` to the cotangent, to any order; nothing else is known about
    the operator.

    Args:
      A: `A(x, *parameters)`, linear in `x`, an array or a pytree of them; it gets NumPy arrays, which it must not
      modify. At: `At(y, *parameters)`, its transpose, from values like the result to values like `x`. For complex
        numbers this is the transpose, not the adjoint: no conjugate is taken.
      result: the type of `A(x)`: a pytree of `ShapeDtypeStruct`s, or a function from the type of `x` (and those of the
        parameters) to it. None: like `x`.
      vmap_method: the behaviour under `vmap`, as for `pure_callback`.

    Returns: a function of `x` and the parameters. It is not differentiable in the parameters.
    Raises: TypeError if `x` holds integers, or a function returns another type than declared.

    >>> import numpy as np
    >>> import pullback as pb, pullback.numpy as pnp
    >>> total = pb.linear_callback(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1])
    >>> print(total(pnp.array([1., 2., 3.])))
    [1. 3. 6.]
    >>> print(pb.grad(lambda x: total(x).sum())(pnp.array([1., 2., 3.])))
    [3. 2. 1.]
    """
    what = "linear_callback"
    check_callable(what, A)
    check_callable(what, At)
    check_vmap_method(what, vmap_method)
    if vmap_method is None:
        raise ValueError("linear_callback: vmap_method must be a method, got None")

    @wrapping(A)
    @boundary
    def operator(x, *parameters):
        xs, x_tree = tree_flatten(x)
        knowns, known_tree = tree_flatten(parameters)
        try:
            xs, knowns = list(map(lift, xs)), list(map(lift, knowns))
        except (TypeError, OverflowError):
            check_leaves(what, A, (x, *parameters))
            raise
        for i, leaf in enumerate(xs):
            if not dtypes.is_inexact(leaf.dtype):
                path = path_of(x_tree, i)
                raise TypeError(
                    f"{what} of {describe_function(A)}: a linear map takes floating-point or complex "
                    f"numbers, but {f'leaf {path} of ' if path else ''}its first argument has dtype "
                    f"{leaf.dtype.name}. Convert it with .astype(float)."
                )
        x_avals = [leaf.aval for leaf in xs]
        structs = [ShapeDtypeStruct(a.shape, a.dtype) for a in x_avals]
        declared = result
        if result is None:
            declared = tree_unflatten(x_tree, structs)
        elif callable(result):
            declared = result(
                tree_unflatten(x_tree, structs),
                *tree_unflatten(known_tree, [ShapeDtypeStruct(k.shape, k.dtype) for k in knowns]),
            )
        out_avals, out_tree = declared_types(what, A, declared)

        def flat(fun, tree):
            n = len(knowns)
            return lambda *values: fun(tree_unflatten(tree, values[n:]), *tree_unflatten(known_tree, values[:n]))

        outs = linear_host_call_p.bind(
            *knowns,
            *xs,
            forward=HostFunction(flat(A, x_tree), out_tree, out_avals, f"{what}, A", A),
            backward=HostFunction(flat(At, out_tree), x_tree, x_avals, f"{what}, At", At),
            num_params=len(knowns),
            vmap_method=vmap_method,
        )
        return tree_unflatten(out_tree, outs)

    if not hasattr(A, "__name__"):
        operator.__name__ = function_name(A)
    return operator
