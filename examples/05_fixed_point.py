"""Differentiating the result of an iteration without differentiating the iteration.

``fixed_point(f, a, guess)`` repeats ``x = f(a, x)`` until x stands still. It is a ``while_loop``, and
reverse mode cannot go through one: the number of steps, hence the memory for what each step must save, is
unknown.

It does not have to. At the solution x = f(a, x) holds for every a nearby, so both sides have the same
derivative:

    dx = B da + A dx        A = df/dx, B = df/da, both at the solution
    dx = inv(I - A) B da

A cotangent v therefore travels back as ``w B`` with ``w = v inv(I - A)``; that is, w solves ``w = v + w
A``. This is again a fixed point, so the backward pass can call ``fixed_point`` as well. (Implicit function
theorem: Bertsekas, Nonlinear Programming, 2nd edition, appendix A.25.)
"""

from functools import partial

from claims import section, show, show_error

import pullback.numpy as pnp
from pullback import custom_vjp, grad, jit, lax, vjp, vmap


def iterate(f, a, guess):
    """Repeat x = f(a, x) until two successive values differ by at most 1e-6."""

    def moving(pair):
        before, now = pair
        return pnp.abs(before - now) > 1e-6

    def advance(pair):
        _, now = pair
        return now, f(a, now)

    _, solution = lax.while_loop(moving, advance, (guess, f(a, guess)))
    return solution


def heron(a, x):
    """One Newton step towards sqrt(a), in additions, products and quotients only."""
    return 0.5 * (x + a / x)


section("The iteration itself")


def plain_sqrt(a):
    return iterate(heron, a, a)


show("plain_sqrt(2.)", plain_sqrt(2.0), "1.4142135")
roots = jit(vmap(plain_sqrt))(pnp.array([1.0, 2.0, 3.0, 4.0]))
show("jit(vmap(plain_sqrt))([1., 2., 3., 4.])", roots, "[1.        1.4142135 1.7320509 2.       ]")
show_error("grad(plain_sqrt)(2.)", lambda: grad(plain_sqrt)(2.0), ValueError, "while_loop")


section("With a rule from the implicit function theorem")

# f is a function, not an array, so it cannot have a cotangent: nondiff_argnums sets it aside.


@partial(custom_vjp, nondiff_argnums=(0,))
def fixed_point(f, a, guess):
    return iterate(f, a, guess)


def fixed_point_fwd(f, a, guess):
    solution = fixed_point(f, a, guess)
    return solution, (a, solution)


def fixed_point_bwd(f, saved, v):
    a, solution = saved
    w = fixed_point(partial(backward_step, f), (a, solution, v), v)
    _, pull_to_a = vjp(lambda a: f(a, solution), a)
    (a_bar,) = pull_to_a(w)
    # The solution does not depend on where the search began.
    return a_bar, pnp.zeros_like(solution)


def backward_step(f, packed, w):
    """w -> v + w A. Its parameters come in as an argument, so that this iteration is differentiable too."""
    a, solution, v = packed
    _, pull_to_x = vjp(lambda x: f(a, x), solution)
    return v + pull_to_x(w)[0]


fixed_point.defvjp(fixed_point_fwd, fixed_point_bwd)


def newton_sqrt(a):
    return fixed_point(heron, a, a)


show("newton_sqrt(2.)", newton_sqrt(2.0), "1.4142135")
show("grad(newton_sqrt)(2.)", grad(newton_sqrt)(2.0), "0.35355338")
# The backward pass called fixed_point, so the second derivative finds the rule again.
show("grad(grad(newton_sqrt))(2.)", grad(grad(newton_sqrt))(2.0), "-0.088388346")


section("Against the library's own square root")

show("grad(pnp.sqrt)(2.)", grad(pnp.sqrt)(2.0), "0.35355338")
show("grad(grad(pnp.sqrt))(2.)", grad(grad(pnp.sqrt))(2.0), "-0.08838835")
