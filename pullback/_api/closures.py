"""Other forms of rules, `custom_gradient` and `linear_call`; `closure_convert` turns captures into arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pullback._api.rules import custom_rules
from pullback._core import dtypes
from pullback._core.arguments import argument_path, check_callable, flatten_result
from pullback._core.array import lift
from pullback._core.errors import RuleError, boundary, describe_function, function_name, standing_for, wrapping
from pullback._core.flat_function import FlatFunction, WithAux
from pullback._core.jaxpr import eval_jaxpr
from pullback._core.lists import chosen, filled
from pullback._core.staging import stage_open
from pullback._core.trace import Tracer
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.typing import P, PyTree, R
from pullback._core.zeros import nonzero
from pullback._higher_order.bodies import check_same_structure, check_same_types, lift_tree
from pullback._higher_order.custom.checks import argument_cotangents


@boundary
def closure_convert(fun: Callable[..., R], *example_args: PyTree) -> tuple[Callable[..., R], list[Any]]:
    """Convert the traced values that a function captures into arguments.

    Functions with rules need no such step here: the values they capture are differentiated anyway. It serves code that
    handles such values itself.

    Args:
      fun: a function of arrays or pytrees of arrays.
      example_args: arguments of the types that it will be called with.

    Returns: `(converted, values)`, with `converted(*args, *values)` equal to `fun(*args)`. `values` holds the traced
      values of inexact dtype that `fun` depends on.
    Raises: TypeError if `converted` is called with arguments of another structure.

    >>> import pullback as pb
    >>> def f(a):
    ...     converted, values = pb.closure_convert(lambda x: a * x, 1.)
    ...     return converted(3., *values)
    >>> print(pb.grad(f)(2.))
    3.0
    """
    check_callable("closure_convert", fun)
    examples, in_tree = lift_tree("closure_convert", "example_args", tuple(example_args))
    flat = FlatFunction("closure_convert", fun, in_tree)
    jaxpr, consts = stage_open(flat, [x.aval for x in examples], f"closure_convert of {function_name(fun)}")
    hoisted = [isinstance(c, Tracer) and dtypes.is_inexact(c.aval.dtype) for c in consts]
    count = len(example_args)

    values = chosen(consts, hoisted)

    @wrapping(fun)
    def converted(*args):
        what = f"closure_convert of {describe_function(fun)}"
        if len(args) != count + len(values):
            raise TypeError(
                f"{what}: expected {count} arguments and the {len(values)} values that were closed over, "
                f"got {len(args)} in all"
            )
        leaves, tree = tree_flatten(tuple(args[:count]))
        check_same_structure(what, "the arguments must have the structure they were converted for", in_tree, tree, "")
        given = list(map(lift, [*leaves, *args[count:]]))
        check_same_types(
            what,
            "the arguments must have the types they were converted for",
            in_tree,
            [x.aval for x in examples],
            [x.aval for x in given[: len(leaves)]],
            "",
        )
        inputs = filled(hoisted, given[len(leaves) :], consts)
        return tree_unflatten(flat.out_tree, eval_jaxpr(jaxpr, [], *inputs, *given[: len(leaves)]))

    return converted, values


@boundary
def custom_gradient(fun: Callable[P, tuple[R, Callable[..., Any]]]) -> Callable[P, R]:
    """A function that returns its value together with its backward rule, `(value, rule)`.

    Args:
      fun: returns a pair. `rule(ct)` takes a cotangent like the value and returns one for each argument, as a tuple,
        or bare for one argument. It may capture intermediate values of `fun`; it is traced, so no Python control flow
        in it may depend on values.

    Returns: a function that returns the value alone, with the rule as its derivative in reverse mode.
    Raises: TypeError if `fun` is not callable; at the call, errors.RuleError if `fun` does not return such a pair, and
      for cotangents that do not have the number, structure, shape or dtype of the arguments.

    >>> import pullback as pb
    >>> f = pb.custom_gradient(lambda x: (x ** 2, lambda ct: ct * x))
    >>> print(f(3.), pb.grad(f)(3.))
    9.0 3.0
    """
    check_callable("custom_gradient", fun)

    def pair(args, keywords):
        result = fun(*args, **keywords)
        if not isinstance(result, (tuple, list)) or len(result) != 2 or not callable(result[1]):
            raise RuleError(
                f"custom_gradient: {describe_function(fun)} must return a pair (value, rule), got {result!r}"
            )
        return result

    @wrapping(fun)
    def value(*args, **keywords):
        return pair(args, keywords)[0]

    wrapped = custom_rules(value)

    def fwd(*args, **keywords):
        out, rule = pair(args, keywords)
        outs, out_tree = flatten_result("custom_gradient", fun, out)
        what = f"the rule {describe_function(rule)} of the custom_gradient function {describe_function(fun)}"

        @WithAux
        def flat(*cts):
            cts_in = rule(tree_unflatten(out_tree, cts))
            cts_in = tuple(cts_in) if isinstance(cts_in, (tuple, list)) else (cts_in,)
            if len(cts_in) != len(args):
                raise RuleError(
                    f"{what} must return a cotangent for each of the {len(args)} arguments, got {len(cts_in)}"
                )
            flat_cts: list[Any] = []
            for i, (ct, arg) in enumerate(zip(cts_in, args, strict=True)):
                leaves, tree = tree_flatten(arg)
                place = functools.partial(_place, what, fun, i)
                flat_cts += argument_cotangents(place, ct, tree, [lift(x).aval for x in leaves])
            return nonzero(flat_cts)

        jaxpr, consts = stage_open(flat, [o.aval.to_tangent_aval() for o in outs], what)
        if any(isinstance(x, Tracer) for x in tree_flatten(args)[0]):
            out = wrapped(*args, **keywords)  # further derivatives use the rule as well
        present = flat.aux
        return out, (consts, lambda: (jaxpr, present, tree_flatten(args)[1]))

    def bwd(residuals, ct, **_):
        consts, program = residuals
        jaxpr, present, tree = program()
        cts = eval_jaxpr(jaxpr, [], *consts, *map(lift, tree_flatten(ct)[0]))
        return tree_unflatten(tree, filled(present, cts, [None] * len(present)))

    wrapped.defvjp(fwd, bwd)
    return wrapped


def _place(what: str, fun: Callable, i: int) -> str:
    return f"{what}, cotangent of {argument_path(fun, i)}"


@boundary
def linear_call(
    fun: Callable[[PyTree, PyTree], R],
    fun_transpose: Callable[[PyTree, PyTree], PyTree],
    residual_args: PyTree,
    linear_args: PyTree,
) -> R:
    """Call a linear function with a transpose of its own.

    Args:
      fun: `fun(residual_args, linear_args)`, linear in the second argument.
      fun_transpose: `fun_transpose(residual_args, ct)`, with a cotangent like the result; it returns one like
        `linear_args`.
      residual_args, linear_args: pytrees of arrays. There is no derivative with respect to `residual_args`.

    Returns: `fun(residual_args, linear_args)`. Its transpose is `fun_transpose`, the transpose of which is `fun`.
    Raises: TypeError if a function is not callable; at the derivative, errors.RuleError for a cotangent of a structure,
      shape or dtype other than that of `linear_args`, errors.RuleNotDefinedError for a derivative with respect to
        `residual_args`.

    >>> import pullback as pb
    >>> from pullback.custom_derivatives import linear_call
    >>> def divide(x, r):
    ...     return linear_call(lambda r, x: x / r, lambda r, ct: ct / r, r, x)
    >>> print(pb.linear_transpose(lambda x: divide(x, 4.), 1.)(8.))
    (Array(2., dtype=float32, weak_type=True),)
    """
    check_callable("linear_call", fun)
    check_callable("linear_call", fun_transpose)
    call = custom_rules(fun)
    call.deftranspose(standing_for(fun_transpose)(lambda others, ct: (fun_transpose(others[0], ct),)), linear_argnums=1)
    leaves, tree = lift_tree("linear_call", "the arguments", (residual_args, linear_args))
    return call(*tree_unflatten(tree, leaves))
