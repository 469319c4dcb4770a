"""A derivative that is a matter of convention: x / (1 + sqrt(x)) at the edge of its domain.

The function lives on the numbers from 0 upwards. At 0 it has no derivative in the two-sided sense, and the
chain rule meets the infinite slope of sqrt there. Seen from the right, though, the limit of the difference
quotient

    (f(h) - f(0)) / h = 1 / (1 + sqrt(h))    for h -> 0, h > 0

is 1. A rule lets us say that this one-sided derivative is the one we mean.
"""

from claims import section, show

import pullback.numpy as pnp
from pullback import custom_jvp, grad, jit, vmap


def damped(x):
    return x / (1 + pnp.sqrt(x))


def damped_slope(x):
    """The quotient rule, with the sqrt in the denominator cancelled: finite at 0."""
    root = pnp.sqrt(x)
    return (root + 2) / (2 * (root + 1) ** 2)


section("What the chain rule says at 0")

show("grad(damped)(0.)", grad(damped)(0.0), "nan")
# Away from the edge there is nothing to complain about.
show("grad(damped)(1.)", grad(damped)(1.0), "0.375")


section("The convention, as a JVP rule")


@custom_jvp
def damped_right(x):
    return x / (1 + pnp.sqrt(x))


@damped_right.defjvp
def damped_right_jvp(primals, tangents):
    (x,) = primals
    (x_dot,) = tangents
    return damped_right(x), damped_slope(x) * x_dot


show("grad(damped_right)(0.)", grad(damped_right)(0.0), "1.0")
show("grad(damped_right)(1.)", grad(damped_right)(1.0), "0.375")


section("The same with defjvps")


@custom_jvp
def damped_short(x):
    return x / (1 + pnp.sqrt(x))


damped_short.defjvps(lambda x_dot, out, x: damped_slope(x) * x_dot)

show("grad(damped_short)(0.)", grad(damped_short)(0.0), "1.0")


section("The convention holds under the other transformations")

show("jit(grad(damped_short))(0.)", jit(grad(damped_short))(0.0), "1.0")
show("vmap(grad(damped_short))([0., 1.])", vmap(grad(damped_short))(pnp.array([0.0, 1.0])), "[1.    0.375]")
