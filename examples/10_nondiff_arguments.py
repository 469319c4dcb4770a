"""Arguments that are no arrays: functions, strings and the like, set aside by ``nondiff_argnums``.

A rule for ``apply(f, x)`` needs f, but f has neither a tangent nor a cotangent. ``nondiff_argnums`` names
the positions of such arguments. Mind the order: the rules get them *first*, wherever they stand in the
function.
"""

from functools import partial

from claims import section, show, show_error

import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, errors, grad


def cube(x):
    return x**3


section("With custom_jvp")

# The factor 2 is not the derivative of anything here; it shows that the rule was used.


@partial(custom_jvp, nondiff_argnums=(0,))
def apply(f, x):
    return f(x)


@apply.defjvp
def apply_jvp(f, primals, tangents):
    (x,) = primals
    (x_dot,) = tangents
    return f(x), 2.0 * x_dot


show("apply(cube, 3.)", apply(cube, 3.0), "27.0")
show("grad(apply, 1)(cube, 3.)", grad(apply, 1)(cube, 3.0), "2.0")


section("Two of them, around the array")


@partial(custom_jvp, nondiff_argnums=(0, 2))
def apply_both(outer, x, inner):
    return outer(inner(x))


@apply_both.defjvp
def apply_both_jvp(outer, inner, primals, tangents):
    (x,) = primals
    (x_dot,) = tangents
    return outer(inner(x)), 3.0 * x_dot


show("apply_both(cube, 3., 5 times)", apply_both(cube, 3.0, lambda y: 5 * y), "3375.0")
show("grad(apply_both, 1)(cube, 3., 5 times)", grad(apply_both, 1)(cube, 3.0, lambda y: 5 * y), "3.0")


section("With custom_vjp")

# The forward half keeps the order of the function; only the backward half gets f first.


@partial(custom_vjp, nondiff_argnums=(0,))
def apply_reverse(f, x):
    return f(x)


def apply_fwd(f, x):
    return f(x), x


def apply_bwd(f, x, out_bar):
    return (5 * out_bar,)


apply_reverse.defvjp(apply_fwd, apply_bwd)

show("apply_reverse(x ** 2, 4.)", apply_reverse(lambda x: x**2, 4.0), "16.0")
show("grad(apply_reverse, 1)(x ** 2, 4.)", grad(apply_reverse, 1)(lambda x: x**2, 4.0), "5.0")


section("Not for arrays")

# An array that is being traced may not hide in such a position, whatever its dtype.


@partial(custom_vjp, nondiff_argnums=(0,))
def scale(factor, x):
    return factor * x


scale.defvjp(lambda factor, x: (factor * x, None), lambda factor, _, out_bar: (factor * out_bar,))

show("grad(scale, 1)(4., 3.)", grad(scale, 1)(4.0, 3.0), "4.0")
show_error(
    "grad(lambda a: scale(a, 3.))(4.)",
    lambda: grad(lambda a: scale(a, 3.0))(4.0),
    errors.UnexpectedTracerError,
    "nondiff_argnums",
)

# Integer arrays do not need it: they are ordinary arguments, with None for a cotangent.


@custom_vjp
def pick(index, values):
    return values[index]


def pick_fwd(index, values):
    return values[index], (index, values)


def pick_bwd(saved, out_bar):
    index, values = saved
    return None, pnp.where(pnp.arange(values.size) == index, out_bar, 0.0)


pick.defvjp(pick_fwd, pick_bwd)

show("grad(pick, 1)(array(2), arange(4.))", grad(pick, 1)(pnp.array(2), pnp.arange(4.0)), "[0. 0. 1. 0.]")
