"""A derivative that overflows although the function does not have to: log(1 + exp(x)).

The chain rule differentiates each operation by itself. It cannot know that two of the factors it
multiplies, one tiny and one huge, belong together. A rule for the function as a whole can arrange them
better.
"""

from claims import section, show

import pullback.numpy as pnp
from pullback import custom_jvp, grad, jit, make_jaxpr, vmap


def log1pexp(x):
    return pnp.log(1.0 + pnp.exp(x))


def check_moderate_inputs(function):
    """For moderate x nothing changes: the plain function and both rules give the same numbers."""
    show("jit(log1pexp)(3.)", jit(function)(3.0), "3.0485873")
    show("jit(grad(log1pexp))(3.)", jit(grad(function))(3.0), "0.95257413")
    slopes = vmap(jit(grad(function)))(pnp.arange(3.0))
    show("vmap(jit(grad(log1pexp)))(arange(3.))", slopes, "[0.5       0.7310586 0.8807971]")


section("The plain function")

show("repr(log1pexp(3.))", repr(log1pexp(3.0)), "Array(3.0485873, dtype=float32, weak_type=True)")
check_moderate_inputs(log1pexp)


section("Where it goes wrong")

# The slope is exp(x) / (1 + exp(x)), which is 1 for large x to any precision we have. But:
show("grad(log1pexp)(100.)", grad(log1pexp)(100.0), "nan")

# The staged program shows why. Its last line multiplies d = 1 / (1 + exp(x)) by b = exp(x). In float32,
# exp(100) is infinite, so d is 0, and 0 * inf is nan.
show(
    "make_jaxpr(grad(log1pexp))(100.)",
    make_jaxpr(grad(log1pexp))(100.0),
    """\
{ lambda ; a:f32[]. let
    b:f32[] = exp a
    c:f32[] = add 1.0 b
    _:f32[] = log c
    d:f32[] = div 1.0 c
    e:f32[] = mul d b
  in (e,) }""",
)
big = pnp.exp(100.0)
show("exp(100.)", big, "inf")
show("1. / (1. + exp(100.))", 1.0 / (1.0 + big), "0.0")
show("1. / (1. + exp(100.)) * exp(100.)", 1.0 / (1.0 + big) * big, "nan")


section("A rule for the whole function")

# The same slope written as 1 - 1 / (1 + exp(x)) never multiplies a tiny number by a huge one. Only
# differentiation changes; evaluation, jit and vmap still use the definition above the rule.


@custom_jvp
def stable(x):
    return pnp.log(1.0 + pnp.exp(x))


@stable.defjvp
def stable_jvp(primals, tangents):
    (x,) = primals
    (x_dot,) = tangents
    return stable(x), (1 - 1 / (1 + pnp.exp(x))) * x_dot


show("grad(stable)(100.)", grad(stable)(100.0), "1.0")
check_moderate_inputs(stable)


section("The same rule in one line")


@custom_jvp
def stable_short(x):
    return pnp.log(1.0 + pnp.exp(x))


stable_short.defjvps(lambda x_dot, out, x: (1 - 1 / (1 + pnp.exp(x))) * x_dot)

show("grad(stable_short)(100.)", grad(stable_short)(100.0), "1.0")
check_moderate_inputs(stable_short)
