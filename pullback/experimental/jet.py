"""Taylor mode: the first derivatives of a function along a curve, all orders in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pullback._core import dtypes
from pullback._core.arguments import check_callable
from pullback._core.array import Array
from pullback._core.errors import boundary, describe_function, kind_of
from pullback._core.flat_function import FlatFunction
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_text
from pullback._higher_order.bodies import lift_tree, path_of
from pullback._ops.elementwise import mul, scalar
from pullback._ops.shape import broadcast_to, convert_element_type, zeros_like_aval
from pullback._transforms.jet import jet_flat

__all__ = ["jet"]


@boundary
def jet(fun: Callable, primals: Sequence[Any], series: Sequence[Any], factorial_scaled: bool = True) -> tuple[Any, Any]:
    """Push a truncated Taylor series through a function.

    For a curve h with h(0) = `primals` and derivatives h'(0), h''(0), ... = `series`, the value of `fun(h(t))` at 0 and
    as many of its derivatives with respect to t as were given. The cost grows with a power of their number, not
    exponentially like that of `jvp` nested in `jvp`.

    Args:
      fun: a function of arrays, or pytrees of arrays, that is differentiable in forward mode.
      primals: a tuple or list with a value for each argument; Python integers are floats.
      series: a tuple or list with a series for each argument: a list of derivatives, of the argument's shape. If the
        argument is a pytree, such a list takes the place of each leaf. All lists have one length.
      factorial_scaled: whether series hold derivatives. If False they hold the coefficients of powers of t, which are
        derivatives over k!, in the arguments and in the result.

    Returns: the pair of `fun(*primals)` and, in the place of each of its leaves, the list of derivatives.
    Raises: ValueError if the lengths of series differ; TypeError if a term is not an array.
    Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 13.

    The exponential of t, at 0: all derivatives are 1.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental.jet import jet
    >>> y, (d1, d2, d3) = jet(pnp.exp, (0.,), ([1., 0., 0.],))
    >>> print(y, d1, d2, d3)
    1.0 1.0 1.0 1.0
    """
    name = "jet"
    check_callable(name, fun)
    for what, value in (("primals", primals), ("series", series)):
        if not isinstance(value, (tuple, list)):
            raise TypeError(
                f"jet: {what} must be a tuple or a list, with an entry for each argument of "
                f"{describe_function(fun)}, got {kind_of(value)}"
            )
    if len(primals) != len(series):
        raise ValueError(f"jet: there are {len(primals)} primals, but {len(series)} series; each argument needs one")
    leaves, tree = lift_tree(name, "primals", tuple(primals))
    leaves = [_inexact(tree, i, x) for i, x in enumerate(leaves)]
    terms = _terms(tree, tuple(series))
    orders = {len(t) for t in terms}
    if len(orders) > 1:
        raise ValueError(
            "jet: all series must have one length, but\n"
            + "\n".join(f"  primals{path_of(tree, i)} has {len(t)} terms" for i, t in enumerate(terms))
        )
    order = orders.pop() if orders else 0
    flat = [_lift_terms(tree, i, x, t, factorial_scaled) for i, (x, t) in enumerate(zip(leaves, terms, strict=True))]
    run = FlatFunction(name, fun, tree)
    if order == 0:
        outs = run(*leaves)
        results: list[Any] = [[] for _ in outs]
    else:
        outs, found = jet_flat(run, leaves, flat, order, f"jet of {describe_function(fun)}")
        results = [[zeros_like_aval(o.aval)] * order if s is None else s for o, s in zip(outs, found, strict=True)]
        if not factorial_scaled:
            results = [[_times(1 / math.factorial(k), t) for k, t in enumerate(s, 1)] for s in results]
    return tree_unflatten(run.out_tree, outs), tree_unflatten(run.out_tree, results)


def _terms(tree: PyTreeDef, series: Any) -> list[list[Any]]:
    """The list of terms for each leaf of the primals."""
    try:
        lists = tree.flatten_up_to(series)
    except (ValueError, TypeError):
        raise ValueError(
            f"jet: series must have the structure of primals, {tree_text(tree)}, with a list of "
            f"terms in the place of each leaf, got {tree_text(tree_flatten(series)[1])}"
        ) from None
    for i, terms in enumerate(lists):
        if not isinstance(terms, (tuple, list)):
            raise TypeError(
                f"jet: the series of primals{path_of(tree, i)} must be a list of terms, got {kind_of(terms)}"
            )
    return lists


def _inexact(tree: PyTreeDef, i: int, x: Array) -> Array:
    if dtypes.is_inexact(x.aval.dtype):
        return x
    if not x.aval.weak_type:
        raise TypeError(
            f"jet: primals{path_of(tree, i)} must be of floats or complex numbers, got "
            f"{x.aval.str_short()}: there are no curves of integers. Convert it with .astype(float), or "
            "close over it."
        )
    return convert_element_type(x, float, True)


def _lift_terms(tree: PyTreeDef, i: int, x: Array, terms: Sequence[Any], factorial_scaled: bool) -> list[Array]:
    where = path_of(tree, i)
    out = []
    for k, term in enumerate(terms, 1):
        (t,), _ = lift_tree("jet", f"term {k} in the series of primals{where}", [term])
        if t.aval.shape not in ((), x.aval.shape):
            raise ValueError(
                f"jet: term {k} in the series of primals{where} has shape {t.aval.shape}, expected that "
                f"of the primal, {x.aval.shape}"
            )
        t = broadcast_to(convert_element_type(t, x.aval.dtype, x.aval.weak_type), x.aval.shape)
        out.append(t if factorial_scaled else _times(math.factorial(k), t))
    return out


def _times(factor: float, t: Array) -> Array:
    return t if factor == 1 else mul(scalar(t, factor), t)
