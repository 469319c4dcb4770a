"""The public `odeint`: it checks its arguments and converts them for the primitive."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import ConcretizationTypeError, boundary, describe_function, standing_for
from pullback._core.interning import interned
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.trace import Tracer
from pullback._core.tree import PyTreeDef, tree_structure, tree_unflatten, treedef_tuple
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.bodies import Body, check_same_structure, check_same_types, lift_tree, path_of, trace_body
from pullback._higher_order.solvers.ode import odeint_p
from pullback._ops.assemble import concatenate
from pullback._ops.identity import stage_closed
from pullback._ops.shape import convert_element_type, expand_dims


@boundary
def odeint(
    func: Callable,
    y0: PyTree,
    t: ArrayLike,
    *args: PyTree,
    rtol: float = 1.4e-8,
    atol: float = 1.4e-8,
    mxstep: float = math.inf,
    hmax: float = math.inf,
) -> Any:
    """The solution of `dy/dt = func(y, t, *args)` that starts with `y0` at `t[0]`, at every time in `t`.

    Steps are those of Dormand and Prince, of order 5, as long as the tolerances allow.

    Args:
      func: from the state, an array or a pytree of arrays, and the time to the derivative, of the state's structure,
        shapes and dtypes. It may close over arrays; the result is differentiable in them as in `args`.
      y0: the state at `t[0]`, real or complex; Python numbers are floats.
      t: a vector of times, increasing throughout or decreasing throughout.
      args: further arguments of `func`, arrays or pytrees of arrays.
      rtol, atol: the error of a step, in root mean square over each array of the state, is kept under
        `atol + rtol * |y|`; an `rtol` below the rounding of the dtype counts as that.
      mxstep: the maximal number of steps from one time to the next.
      hmax: the longest step.

    Returns: the structure of `y0`; each array has a new leading axis, as long as `t`. A value that was not reached,
    because steps became too many or too short (the solution has a pole, `func` gave nan), is nan.

    Differentiable in `y0`, in `t`, in `args` and in everything that `func` closes over: forward mode solves the tangent
    equation simultaneously, reverse mode the adjoint equation backwards in time. Memory does not grow with the number
    of steps. Both are exact for the exact solution; for a computed one they agree with its own derivatives up to the
    tolerances. Under `vmap` every example takes its own steps.

    Raises: TypeError if `func` changes the structure or types of `y0`, naming the leaf, or `y0` holds integers;
    ValueError if `t` is not a vector, or its values are known and not in order.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.implicit import odeint
    >>> def decay(k):
    ...     return odeint(lambda y, t: -k * y, 1., pnp.array([0., 1.]))[-1]
    >>> print(f"{decay(2.):.4f} {pb.grad(decay)(2.):.4f}")
    0.1353 -0.1353
    """
    name = "odeint"
    check_callable(name, func)
    arg_leaves, args_tree = lift_tree(name, "args", args)
    settings = _settings(rtol, atol, mxstep, hmax)
    leaves, tree = lift_tree(name, "y0", y0)
    state = [_inexact(tree, i, x) for i, x in enumerate(leaves)]
    times = _times(t, [y.aval for y in state])
    if not state:
        return y0
    avals = [make_aval((), times.aval.dtype), *(y.aval for y in state)]
    body = _traced(func, tree, avals, args_tree, arg_leaves)
    jaxpr = _checked(func, body, tree, avals[1:])
    outs = odeint_p.bind(
        *body.consts,
        times,
        *state,
        f=jaxpr,
        num_consts=len(body.consts),
        lanes=(),
        laned=(),
        settings=settings,
        base=None,
    )
    return tree_unflatten(tree, outs)


# --- checks of the arguments ---


def _traced(
    func: Callable, tree: PyTreeDef, avals: Sequence[ShapedArray], args_tree: PyTreeDef, args: Sequence[Array]
) -> Body:
    """The function of time and state as a jaxpr; its captured values and further arguments become constants."""
    try:
        return _traced_with(func, tree, avals, args_tree, args)
    except ConcretizationTypeError:
        pass
    # func needs the value of an argument: the arguments are captured instead
    values = tree_unflatten(args_tree, args)
    return _traced_with(standing_for(func)(lambda y, time: func(y, time, *values)), tree, avals, tree_structure(()), [])


def _traced_with(
    func: Callable, tree: PyTreeDef, avals: Sequence[ShapedArray], args_tree: PyTreeDef, args: Sequence[Array]
) -> Body:
    n = len(args)

    @standing_for(func)
    def rate(*xs):
        return func(tree_unflatten(tree, xs[n + 1 :]), xs[n], *tree_unflatten(args_tree, xs[:n]))

    every = [*(x.aval for x in args), *avals]
    body = trace_body("odeint", rate, treedef_tuple((tree_structure(0),) * len(every)), every, "func", may_write=False)
    return Body(interned(body.jaxpr), [*body.consts, *args], body.out_tree)


def _settings(rtol: float, atol: float, mxstep: float, hmax: float) -> tuple[float, ...]:
    values = tuple(float(x) for x in (rtol, atol, mxstep, hmax))
    for what, value, low in zip(("rtol", "atol", "mxstep", "hmax"), values, (0, 0, 1, 0), strict=True):
        if not value >= low or (what == "hmax" and value == 0):
            raise ValueError(
                f"odeint: {what} must be a number {'above 0' if what == 'hmax' else f'>= {low}'}, got {value}"
            )
    return values


def _inexact(tree: PyTreeDef, i: int, y: Array) -> Array:
    if dtypes.is_inexact(y.aval.dtype):
        return convert_element_type(y, y.aval.dtype)
    if not y.aval.weak_type:
        raise TypeError(
            f"odeint: y0{path_of(tree, i)} must be of floats or complex numbers, got "
            f"{y.aval.str_short()}. Convert it with .astype(float)."
        )
    return convert_element_type(y, float)


def _times(t: AnyValue, state: Sequence[ShapedArray]) -> Array:
    """The times in the widest real dtype of the problem."""
    if isinstance(t, (list, tuple)) and t:
        t = concatenate([expand_dims(x, (0,)) for x in lift_tree("odeint", "t", list(t))[0]], 0)
    (times,), _ = lift_tree("odeint", "t", [t])
    aval = times.aval
    if aval.ndim != 1 or aval.shape[0] == 0:
        raise ValueError(f"odeint: t must be a vector of one or more times, got shape {aval.shape}")
    if dtypes.is_complex(aval.dtype) or dtypes.is_bool(aval.dtype):
        raise TypeError(f"odeint: t must be of real numbers, got {aval.str_short()}")
    times = convert_element_type(
        times,
        np.result_type(dtypes.to_inexact(aval.dtype, aval.weak_type)[0], *(dtypes.finfo(y.dtype).dtype for y in state)),
    )
    known = times._known() if isinstance(times, Tracer) else times
    if isinstance(known, ConcreteArray):
        values = np.asarray(known.value, np.float64)
        gaps = np.diff(values)
        if np.any(gaps > 0) and np.any(gaps < 0):
            i = int(np.argmax(gaps * gaps[np.argmax(gaps != 0)] < 0))
            raise ValueError(
                "odeint: t must increase throughout or decrease throughout, but "
                f"t[{i}:{i + 2}] = {values[i : i + 2]} goes the other way than its beginning"
            )
    return times


def _checked(func: Callable, body: Body, tree: PyTreeDef, avals: Sequence[ShapedArray]) -> Jaxpr:
    """The traced function, after a check that it returns the types of the state."""
    what = (
        f"func ({describe_function(func)}) must return the derivative of y, a value with the structure and types of y0"
    )
    check_same_structure("odeint", what, tree, body.out_tree, "")
    outs = body.jaxpr.out_avals
    # a Python number is not an array of another dtype
    loose = [
        o.weak_type and o.shape == a.shape and dtypes.join(o.dtype, True, a.dtype, False)[0] == a.dtype
        for o, a in zip(outs, avals, strict=True)
    ]
    check_same_types(
        "odeint",
        what,
        tree,
        avals,
        [a if w else o for o, a, w in zip(outs, avals, loose, strict=True)],
        "Convert with .astype() in the function, or convert y0.",
    )

    def rate(*xs):
        return [convert_element_type(d, a.dtype) for d, a in zip(eval_jaxpr(body.jaxpr, [], *xs), avals, strict=True)]

    return body.jaxpr.derive(
        ("rate of odeint", *avals), lambda: stage_closed(rate, body.jaxpr.in_avals, "func of odeint")
    )


__all__ = ["odeint"]
