"""`custom_linear_solve`: the solution of a linear system as one operation, independent of the algorithm.

A solution x of A(θ) x = b satisfies, along any direction (θ', b'), A x' = b' − A' x: another system with the same
matrix. Its transpose maps a cotangent c to the solution w of Aᵀ w = c. Neither depends on the algorithm, and both are
again solutions of linear systems, so all orders and both modes follow. Giles, Collected matrix derivative results for
forward and reverse mode (2008), on the matrix inverse product. T is the transpose, not the adjoint, as everywhere in
reverse mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.arguments import check_callable, flatten_result
from pullback._core.array import lift
from pullback._core.errors import RuleNotDefinedError, boundary, describe_function, function_name
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.lists import filled
from pullback._core.primitive import HigherOrder
from pullback._core.trace import is_linear
from pullback._core.tree import PyTreeDef, tree_structure, tree_unflatten, treedef_tuple
from pullback._core.types import ShapedArray
from pullback._core.typing import PyTree
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.bodies import (
    Body,
    check_same_structure,
    check_same_types,
    held_under,
    lift_tree,
    share_constants,
    trace_body,
)
from pullback._higher_order.call import check_operands
from pullback._higher_order.call_rules import active_of
from pullback._higher_order.custom.backward import for_transposition
from pullback._ops.elementwise import neg, sub
from pullback._ops.shape import instantiate
from pullback._transforms.dce import dce
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize_jaxpr import linearize_jaxpr, transpose_jaxpr_full
from pullback._transforms.vmap import batch_jaxpr

linear_solve_p: HigherOrder = HigherOrder("linear_solve", *held_under("matvec", "vecmat", "solve", "transpose_solve"))


@boundary
def custom_linear_solve(
    matvec: Callable,
    b: PyTree,
    solve: Callable,
    transpose_solve: Callable | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """Solve `matvec(x) = b` for `x` by `solve`, with derivatives by the implicit function theorem.

    Args:
      matvec: a linear function from arrays (or a pytree of them) like `b` to the same structure and types.
      b: the right-hand side.
      solve: `solve(matvec, b)` returns the solution. It is never differentiated.
      transpose_solve: `transpose_solve(vecmat, b)` solves with the transpose of `matvec`. Reverse mode needs it, unless
        the map is symmetric.
      symmetric: whether `matvec` is its own transpose; then `solve` serves for both.
      has_aux: whether `solve` and `transpose_solve` return a pair `(x, aux)`; `aux` is passed on without derivative.

    Returns: `x`, or `(x, aux)`. The result is differentiable in `b` and in everything that `matvec` closes over.
    Raises: TypeError if a structure or type does not match; in reverse mode, if `transpose_solve` is missing.

    >>> import pullback as pb
    >>> def divide(a, b):
    ...     return pb.lax.custom_linear_solve(lambda x: a * x, b, lambda matvec, b: b / matvec(1.), symmetric=True)
    >>> da, db = pb.grad(divide, (0, 1))(2., 6.)
    >>> print(divide(2., 6.), da, db)
    3.0 -1.5 0.5
    """
    for fun in (matvec, solve, *([] if transpose_solve is None else [transpose_solve])):
        check_callable("custom_linear_solve", fun)
    return solve_as(
        "custom_linear_solve", ("solve", "transpose_solve"), matvec, b, solve, transpose_solve, symmetric, has_aux
    )


def solve_as(
    name: str,
    solvers: tuple[str, str],
    matvec: Callable,
    b: PyTree,
    solve: Callable,
    transpose_solve: Callable | None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """`custom_linear_solve` for another public function: messages use its name and the names of its two solvers."""
    leaves, tree = lift_tree(name, "b", b)
    avals = [x.aval for x in leaves]
    args_tree = treedef_tuple((tree,))
    with for_transposition():
        product = trace_body(name, matvec, args_tree, avals, "matvec", may_write=False)
    _check(name, "matvec", matvec, tree, avals, product.out_tree, product.jaxpr.out_avals)
    bodies: list[Body | None] = [product, None, None, None]
    back = transpose_solve
    if symmetric:
        back = solve
        bodies[1] = product
    elif back is not None:
        n = len(product.consts)
        try:
            transposed = transpose_jaxpr_full(product.jaxpr, (False,) * n + (True,) * len(avals))
        except (TypeError, RuleNotDefinedError) as error:
            raise type(error)(
                f"{name}: matvec ({describe_function(matvec)}) must be linear in its argument, but it "
                f"cannot be transposed: {error}"
            ) from None
        bodies[1] = Body(transposed, product.consts, tree)

    def traced(part: str, solver: Callable, apply: Body) -> Body:
        def operator(x):
            xs, x_tree = flatten_result(name, solver, x)
            what = f"{part} ({describe_function(solver)}) must call its first argument with a value like b"
            check_same_structure(name, what, tree, x_tree, "")
            check_same_types(name, what, tree, avals, [a.aval for a in xs], "Convert it with .astype().")
            return tree_unflatten(tree, eval_jaxpr(apply.jaxpr, [], *apply.consts, *xs))

        def run(rhs):
            result = solver(operator, rhs)
            x, aux = split_aux(name, part, solver, result) if has_aux else (result, ())
            xs, x_tree = flatten_result(name, solver, x)
            _check(name, part, solver, tree, avals, x_tree, [a.aval for a in xs])
            flatten_result(name, solver, aux)  # refuses anything but arrays, in the name of the solver
            return xs, aux

        with for_transposition():
            return trace_body(name, run, args_tree, avals, part, may_write=False)

    bodies[2] = solving = traced(solvers[0], solve, product)
    if symmetric:
        bodies[3] = solving
    elif back is not None and bodies[1] is not None:
        bodies[3] = traced(solvers[1], back, bodies[1])
    jaxprs, consts = share_constants(bodies)
    outs = linear_solve_p.bind(
        *consts,
        *leaves,
        matvec=jaxprs[0],
        vecmat=jaxprs[1],
        solve=jaxprs[2],
        transpose_solve=jaxprs[3],
        num_consts=len(consts),
        subject=describe_function(matvec),
    )
    x = tree_unflatten(tree, outs[: len(leaves)])
    return (x, tree_unflatten(solving.out_tree.children()[1], outs[len(leaves) :])) if has_aux else x


def _check(
    name: str,
    part: str,
    fun: Callable,
    tree: PyTreeDef,
    avals: Sequence[ShapedArray],
    got_tree: PyTreeDef,
    got: Sequence[ShapedArray],
) -> None:
    what = f"{part} ({describe_function(fun)}) must return a value with the structure and types of b"
    check_same_structure(name, what, tree, got_tree, "")
    check_same_types(name, what, tree, avals, got, "Convert with .astype() in the function, or convert b.")


def split_aux(name: str, part: str, fun: Callable, result: PyTree) -> tuple[Any, Any]:
    """The solution and the auxiliary result of a solver that has one."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise TypeError(
            f"{name} with has_aux=True: {part} ({function_name(fun)}) must return a pair (solution, "
            f"auxiliary), got {tree_structure(result)}"
        )
    return result[0], result[1]


def tangents_with_fixed(jaxpr: Jaxpr, consts: Sequence[Any], tangents: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
    """The tangents of the results of `jaxpr(consts, xs)` along a direction of the constants, with `xs` fixed."""
    active = (*active_of(tangents), *(False for _ in xs))
    n, moving = len(jaxpr.outvars), [t for t in tangents if type(t) is not Zero]
    inputs = [*consts, *xs]
    if any(map(is_linear, moving)):
        forward, linear, forwarded, residuals, present = linearize_jaxpr(jaxpr, active)
        only, _ = dce(forward, (*(False for _ in range(n)), *(True for _ in range(residuals))))
        saved = eval_jaxpr(only, [], *inputs)
        touts = eval_jaxpr(linear, [], *(inputs[i] for i in forwarded), *saved, *moving)
    else:
        derived, present = jvp_jaxpr(jaxpr, active)
        only, _ = dce(derived, (*(False for _ in range(n)), *(True for p in present if p)))
        touts = eval_jaxpr(only, [], *inputs, *moving)
    return filled(present, touts, [zero_of(aval) for aval in jaxpr.out_avals])


def _evaluate(*operands, solve, **_):
    return eval_jaxpr(solve, [], *operands)


def _type(*avals, solve, **_):
    check_operands("custom_linear_solve", solve, avals)
    return solve.out_avals


def _vanishing(zeros, solve, num_consts, **_):
    b = zeros[num_consts:]
    return [all(b)] * len(b) + [False] * (len(solve.outvars) - len(b))


def _lower(ctx, *operands, solve, **_):
    return ctx.inline(solve, operands)


def _jvp(primals, tangents, matvec, num_consts, **params):
    n = num_consts
    consts, const_dots, b_dots = primals[:n], tangents[:n], tangents[n:]
    outs = linear_solve_p.bind(*primals, matvec=matvec, num_consts=n, **params)
    m = len(b_dots)
    zeros = [zero_of(lift(out).aval) for out in outs]
    moved = tangents_with_fixed(matvec, consts, const_dots, outs[:m])
    rhs = [
        b if type(a) is Zero else neg(a) if type(b) is Zero else sub(b, a) for b, a in zip(b_dots, moved, strict=True)
    ]
    if all(type(t) is Zero for t in rhs):
        return outs, zeros
    touts = linear_solve_p.bind(*consts, *map(instantiate, rhs), matvec=matvec, num_consts=n, **params)
    return outs, [*touts[:m], *zeros[m:]]


def _transpose(cts, *operands, matvec, vecmat, solve, transpose_solve, num_consts, subject):
    n = num_consts
    consts, m = operands[:n], len(operands) - n
    if any(map(is_linear, consts)):
        raise ValueError(
            f"custom_linear_solve: the solution is not linear in what matvec ({subject}) closes over, but "
            "a linear function was asked for. Only b may depend on the argument of a linear function."
        )
    if transpose_solve is None:
        raise TypeError(
            "custom_linear_solve: reverse-mode differentiation (grad, vjp) solves with the transpose of "
            f"matvec ({subject}), and transpose_solve was not given. Pass transpose_solve, a function "
            "(vecmat, b) that returns the solution, or symmetric=True if matvec is its own transpose."
        )
    if all(type(ct) is Zero for ct in cts[:m]):
        return [None] * len(operands)
    results = linear_solve_p.bind(
        *consts,
        *map(instantiate, cts[:m]),
        matvec=vecmat,
        vecmat=matvec,
        solve=transpose_solve,
        transpose_solve=solve,
        num_consts=n,
        subject=subject,
    )
    return [*(None for _ in range(n)), *results[:m]]


def _batch(trace, operands, dims, num_consts, subject, **jaxprs):
    n = num_consts
    masks = (*(d is not None for d in dims[:n]), *(True for _ in dims[n:]))
    with for_transposition():
        derived = {
            key: None if jaxpr is None else batch_jaxpr(jaxpr, trace, masks, True)[0] for key, jaxpr in jaxprs.items()
        }
    moved = [trace.materialize(x, d) if b else x for x, d, b in zip(operands, dims, masks, strict=True)]
    outs = linear_solve_p.bind(*moved, num_consts=n, subject=subject, **derived)
    return outs, [0] * len(outs)


linear_solve_p.evaluate = _evaluate
linear_solve_p.abstract_eval = _type
linear_solve_p.lower = _lower
linear_solve_p.jvp = _jvp
linear_solve_p.transpose = _transpose
linear_solve_p.batch = _batch
linear_solve_p.has(vanishing=_vanishing)

__all__ = ["custom_linear_solve", "linear_solve_p", "solve_as", "split_aux", "tangents_with_fixed"]
