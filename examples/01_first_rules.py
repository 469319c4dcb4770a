"""Three ways to write the derivative of one function yourself.

The function is the height of a pendulum's tip, ``sin(angle) * radius``. pullback can differentiate it
unaided; it is here because its derivative is known by heart:

    d height = cos(angle) * radius * d angle + sin(angle) * d radius

A rule that says how a small change of the inputs (a tangent) changes the output is a JVP rule. A rule that
says how the sensitivity of the output (a cotangent) falls on the inputs is a VJP rule. One of the two is
enough.
"""

from claims import section, show

import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, grad, jvp


def check_all_modes(height):
    """The claims that hold however the JVP rule was written: value, forward mode, reverse mode."""
    show("height(2., 3.)", height(2.0, 3.0), "2.7278922")
    value, change = jvp(height, (2.0, 3.0), (1.0, 0.0))
    show("jvp(height, (2., 3.), (1., 0.))[0]", value, "2.7278922")
    show("jvp(height, (2., 3.), (1., 0.))[1]", change, "-1.2484405")
    show("grad(height)(2., 3.)", grad(height)(2.0, 3.0), "-1.2484405")


section("One JVP rule for all arguments: defjvp")

# The rule gets the arguments as one tuple and their tangents as another, and returns the output with its
# tangent.


@custom_jvp
def height(angle, radius):
    return pnp.sin(angle) * radius


@height.defjvp
def height_jvp(primals, tangents):
    angle, radius = primals
    angle_dot, radius_dot = tangents
    out = height(angle, radius)
    out_dot = pnp.cos(angle) * angle_dot * radius + pnp.sin(angle) * radius_dot
    return out, out_dot


# No VJP rule was given, yet grad works: pullback transposes the linear part of the JVP rule.
check_all_modes(height)
show("grad(height, 1)(2., 3.)", grad(height, 1)(2.0, 3.0), "0.9092974")


section("One JVP rule for each argument: defjvps")

# Each rule gets its own tangent, the output, and all arguments; the results are added up.


@custom_jvp
def height_by_argument(angle, radius):
    return pnp.sin(angle) * radius


height_by_argument.defjvps(
    lambda angle_dot, out, angle, radius: pnp.cos(angle) * angle_dot * radius,
    lambda radius_dot, out, angle, radius: pnp.sin(angle) * radius_dot,
)

check_all_modes(height_by_argument)


section("A VJP rule: defvjp")

# The forward half returns the output and whatever the backward half will need; the backward half gets that
# and the cotangent of the output, and returns one cotangent per argument.


@custom_vjp
def height_reverse(angle, radius):
    return pnp.sin(angle) * radius


def height_fwd(angle, radius):
    return height_reverse(angle, radius), (pnp.cos(angle), pnp.sin(angle), radius)


def height_bwd(saved, out_bar):
    cos_angle, sin_angle, radius = saved
    return cos_angle * out_bar * radius, sin_angle * out_bar


height_reverse.defvjp(height_fwd, height_bwd)

show("grad(height_reverse)(2., 3.)", grad(height_reverse)(2.0, 3.0), "-1.2484405")
both = grad(height_reverse, (0, 1))(2.0, 3.0)
show("grad(height_reverse, (0, 1))(2., 3.)", ", ".join(map(str, both)), "-1.2484405, 0.9092974")
