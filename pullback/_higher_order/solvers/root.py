"""`custom_root`: a root of a function as one operation, independent of the algorithm.

A root x of f(x, θ) = 0 moves with θ by (∂f/∂x) x' = −(∂f/∂θ) θ', the implicit function theorem: Krantz and Parks, The
Implicit Function Theorem (2003), chapter 3; Griewank and Walther, Evaluating Derivatives (2008), chapter 15. The
root does not depend on the initial guess, nor on values that the algorithm closes over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pullback._core.arguments import check_callable, flatten_result
from pullback._core.array import lift
from pullback._core.errors import boundary, describe_function, standing_for
from pullback._core.jaxpr import eval_jaxpr
from pullback._core.primitive import HigherOrder
from pullback._core.trace import Tracer
from pullback._core.tree import tree_unflatten, treedef_tuple
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
from pullback._higher_order.custom.backward import for_transposition
from pullback._higher_order.solvers.linear_solve import solve_as, split_aux, tangents_with_fixed
from pullback._ops.elementwise import neg
from pullback._ops.shape import instantiate
from pullback._transforms.linearize import linearize_flat
from pullback._transforms.transpose import pull, record_linear
from pullback._transforms.vmap import batch_jaxpr

root_p = HigherOrder("root", *held_under("f", "solve", "tangent"))


@boundary
def custom_root(
    f: Callable, initial_guess: PyTree, solve: Callable, tangent_solve: Callable, has_aux: bool = False
) -> Any:
    """Find a root of `f` by `solve`, with derivatives by the implicit function theorem.

    Args:
      f: from arrays (or a pytree of them) like `initial_guess` to the same structure and types.
      initial_guess: the start of the search. The result has no derivative with respect to it.
      solve: `solve(f, initial_guess)` returns the root. It is never differentiated.
      tangent_solve: `tangent_solve(g, y)` returns the solution x of `g(x) = y`, where `g` is `f` linearized at the
        root, or its transpose in reverse mode: `lambda g, y: y / g(1.)` for scalars.
      has_aux: whether `solve` returns a pair `(root, aux)`; `aux` is passed on without derivative.

    Returns: the root, or `(root, aux)`, differentiable in everything that `f` closes over, in both modes, to any order.
    Raises: TypeError if a structure or type does not match.

    >>> import pullback as pb
    >>> from pullback import lax
    >>> def newton(f, x):
    ...     return lax.fori_loop(0, 6, lambda i, x: x - f(x) / pb.grad(f)(x), x)
    >>> def sqrt(a):
    ...     return lax.custom_root(lambda x: x * x - a, a, newton, lambda g, y: y / g(1.))
    >>> print(sqrt(4.), pb.grad(sqrt)(4.))
    2.0 0.25
    """
    for fun in (f, solve, tangent_solve):
        check_callable("custom_root", fun)
    return root_as(_OWN_WORDS, f, initial_guess, solve, tangent_solve, has_aux)


class Words(NamedTuple):
    """The names of the parts of a problem in messages: those of the public function that the user called."""

    function: str
    guess: str
    solve: str
    tangent_solve: str


_OWN_WORDS = Words("custom_root", "initial_guess", "solve", "tangent_solve")


def root_as(
    words: Words, f: Callable, initial_guess: PyTree, solve: Callable, tangent_solve: Callable, has_aux: bool = False
) -> Any:
    """`custom_root` for another public function, whose names `words` holds."""
    name = words.function
    leaves, tree = lift_tree(name, words.guess, initial_guess)
    avals = [x.aval for x in leaves]
    args_tree = treedef_tuple((tree,))

    def check(part, fun, got_tree, got):
        what = f"{part} ({describe_function(fun)}) must return a value with the structure and types of {words.guess}"
        check_same_structure(name, what, tree, got_tree, "")
        check_same_types(name, what, tree, avals, got, f"Convert with .astype() in {part}, or convert {words.guess}.")

    residual = trace_body(name, f, args_tree, avals, "f", may_write=False)
    check("f", f, residual.out_tree, residual.jaxpr.out_avals)

    def flat(*xs):
        return eval_jaxpr(residual.jaxpr, [], *residual.consts, *xs)

    def function(x):
        xs, x_tree = flatten_result(name, solve, x)
        what = (
            f"{words.solve} ({describe_function(solve)}) must call its first argument with a value like {words.guess}"
        )
        check_same_structure(name, what, tree, x_tree, "")
        check_same_types(name, what, tree, avals, [a.aval for a in xs], "Convert it with .astype().")
        return tree_unflatten(tree, flat(*xs))

    def find(guess):
        result = solve(function, guess)
        result, aux = split_aux(name, words.solve, solve, result) if has_aux else (result, ())
        xs, x_tree = flatten_result(name, solve, result)
        check(words.solve, solve, x_tree, [a.aval for a in xs])
        flatten_result(name, solve, aux)  # refuses anything but arrays, in the name of the solver
        return xs, aux

    def solve_tangent(x, y):
        # tangent_solve may close over traced values that are only alive now: it is traced before it is needed
        _, linear = linearize_flat(flat, [lift(v) for v in flatten_result(name, f, x)[0]])

        def matvec(t):
            return tree_unflatten(tree, [instantiate(o) for o in linear.push(flatten_result(name, f, t)[0])])

        return solve_as(name, (words.tangent_solve,) * 2, matvec, y, tangent_solve, _transposed(name, tangent_solve))

    finder = trace_body(name, find, args_tree, avals, words.solve, may_write=False)
    tangent: Body | None = None
    # if f captures no traced value, no derivative can be requested
    moving = any(isinstance(c, Tracer) for c in residual.consts)
    if moving and all(aval.to_tangent_aval().dtype == aval.dtype for aval in avals):
        with for_transposition():
            tangent = trace_body(
                name, solve_tangent, treedef_tuple((tree, tree)), [*avals, *avals], words.tangent_solve, may_write=False
            )
    jaxprs, consts = share_constants([residual, finder, tangent])
    outs = root_p.bind(*consts, *leaves, f=jaxprs[0], solve=jaxprs[1], tangent=jaxprs[2], num_consts=len(consts))
    x = tree_unflatten(tree, outs[: len(leaves)])
    return (x, tree_unflatten(finder.out_tree.children()[1], outs[len(leaves) :])) if has_aux else x


def _transposed(name: str, tangent_solve: Callable) -> Callable:
    """The solver of transposed systems: the same one, applied to the transposed map.

    A solver that ignores the map it is given (it knows a factorization, for example) is transposed itself.
    """

    @standing_for(tangent_solve)
    def solve(vecmat, ct):
        calls = []

        def g(x):
            calls.append(x)
            return vecmat(x)

        result = tangent_solve(g, ct)
        if calls:
            return result
        cts, tree = flatten_result(name, tangent_solve, ct)
        linear = record_linear(
            lambda *ys: flatten_result(name, tangent_solve, tangent_solve(g, tree_unflatten(tree, ys)))[0],
            [c.aval for c in cts],
            f"the tangent solver of {name}, {describe_function(tangent_solve)}",
        )
        return tree_unflatten(tree, [instantiate(t) for t in pull(linear, cts)])

    return solve


def _evaluate(*operands, solve, **_):
    return eval_jaxpr(solve, [], *operands)


def _type(*avals, solve, **_):
    check_operands("custom_root", solve, avals)
    return solve.out_avals


def _lower(ctx, *operands, solve, **_):
    return ctx.inline(solve, operands)


def _jvp(primals, tangents, f, solve, tangent, num_consts):
    n = num_consts
    m = len(primals) - n
    consts = primals[:n]
    outs = root_p.bind(*primals, f=f, solve=solve, tangent=tangent, num_consts=n)
    zeros = [zero_of(lift(out).aval) for out in outs]
    moved = tangents_with_fixed(f, consts, tangents[:n], outs[:m])
    if all(type(t) is Zero for t in moved):
        return outs, zeros
    if tangent is None:
        got = ", ".join(lift(out).aval.str_short() for out in outs[:m])
        raise TypeError(
            "custom_root: f depends on a value that is being differentiated, and so does the root, but "
            f"there is no derivative of integers or bools. Expected a root of floats, got {got}."
        )
    touts = eval_jaxpr(tangent, [], *consts, *outs[:m], *(neg(instantiate(t)) for t in moved))
    return outs, [*touts, *zeros[m:]]


def _batch(trace, operands, dims, f, solve, tangent, num_consts):
    n = num_consts
    const_dims, m = tuple(d is not None for d in dims[:n]), len(dims) - n
    masks = (*const_dims, *(True,) * m)
    batched_f, _ = batch_jaxpr(f, trace, masks, True)
    batched_solve, _ = batch_jaxpr(solve, trace, masks, True)
    with for_transposition():
        batched_tangent = None if tangent is None else batch_jaxpr(tangent, trace, (*masks, *(True,) * m), True)[0]
    moved = [trace.materialize(x, d) if b else x for x, d, b in zip(operands, dims, masks, strict=True)]
    outs = root_p.bind(*moved, f=batched_f, solve=batched_solve, tangent=batched_tangent, num_consts=n)
    return outs, [0] * len(outs)


root_p.evaluate = _evaluate
root_p.abstract_eval = _type
root_p.lower = _lower
root_p.jvp = _jvp
root_p.batch = _batch

__all__ = ["Words", "custom_root", "root_as", "root_p"]
