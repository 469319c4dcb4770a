"""custom_jvp from end to end: rules, defaults, when rules run, higher orders, Python control flow.

In types: a function takes ``a`` to ``b``. Its JVP rule takes ``(a, T a)`` to ``(b, T b)``, where ``T a``
are the tangents of ``a``: the same structure, shapes and dtypes, holding the direction of a change.
"""

from claims import section, show, show_error, show_output

import pullback.numpy as pnp
from pullback import custom_jvp, grad, jit, jvp, vmap

section("One argument")


@custom_jvp
def wave(x):
    return pnp.sin(x)


def wave_jvp(primals, tangents):
    (x,) = primals
    (x_dot,) = tangents
    return wave(x), pnp.cos(x) * x_dot


# defjvp returns the rule, which is why it can be written as a decorator too.
show("wave.defjvp(wave_jvp) is wave_jvp", wave.defjvp(wave_jvp) is wave_jvp, "True")

show("wave(3.)", wave(3.0), "0.14112")
value, change = jvp(wave, (3.0,), (1.0,))
show("jvp(wave, (3.,), (1.,))[0]", value, "0.14112")
show("jvp(wave, (3.,), (1.,))[1]", change, "-0.9899925")

# Reverse mode transposes the rule, at any order.
show("grad(wave)(3.)", grad(wave)(3.0), "-0.9899925")
show("grad(grad(wave))(3.)", grad(grad(wave))(3.0), "-0.14112")


section("Two arguments")


@custom_jvp
def volume(side, height):
    return side**2 * height


@volume.defjvp
def volume_jvp(primals, tangents):
    side, height = primals
    side_dot, height_dot = tangents
    return volume(side, height), 2 * side * height * side_dot + side**2 * height_dot


show("grad(volume)(2., 3.)", grad(volume)(2.0, 3.0), "12.0")

# Keywords and defaults are fine as long as the signature says which position they mean.


@custom_jvp
def scaled(x, factor=2.0):
    return x * factor


scaled.defjvps(
    lambda x_dot, out, x, factor: factor * x_dot,
    lambda factor_dot, out, x, factor: x * factor_dot,
)

show("grad(scaled)(5.)", grad(scaled)(5.0), "2.0")
show("grad of scaled(factor=3., x=x) at 5.", grad(lambda x: scaled(factor=3.0, x=x))(5.0), "3.0")


section("One rule per argument: defjvps")


@custom_jvp
def wave_short(x):
    return pnp.sin(x)


wave_short.defjvps(lambda x_dot, out, x: pnp.cos(x) * x_dot)
show("grad(wave_short)(3.)", grad(wave_short)(3.0), "-0.9899925")

volume.defjvps(
    lambda side_dot, out, side, height: 2 * side * height * side_dot,
    lambda height_dot, out, side, height: side**2 * height_dot,
)
show("grad(volume)(2., 3.)", grad(volume)(2.0, 3.0), "12.0")
show("grad(volume, 0)(2., 3.)", grad(volume, 0)(2.0, 3.0), "12.0")
show("grad(volume, 1)(2., 3.)", grad(volume, 1)(2.0, 3.0), "4.0")

# None in place of a rule: this argument has no influence, as far as derivatives go.
volume.defjvps(lambda side_dot, out, side, height: 2 * side * height * side_dot, None)
show("grad(volume)(2., 3.), no rule for height", grad(volume)(2.0, 3.0), "12.0")
show("grad(volume, 0)(2., 3.)", grad(volume, 0)(2.0, 3.0), "12.0")
show("grad(volume, 1)(2., 3.)", grad(volume, 1)(2.0, 3.0), "0.0")


section("When is what called?")


@custom_jvp
def noisy(x):
    print("called noisy!")
    return pnp.sin(x)


@noisy.defjvp
def noisy_jvp(primals, tangents):
    print("called noisy_jvp!")
    (x,) = primals
    (x_dot,) = tangents
    return noisy(x), pnp.cos(x) * x_dot


# Without differentiation the rule stays out of the way.
out = show_output("noisy(3.)", lambda: noisy(3.0), ["called noisy!"])
show("noisy(3.)", out, "0.14112")
out = show_output("vmap(noisy)", lambda: vmap(noisy)(pnp.arange(3.0)), ["called noisy!"])
show("vmap(noisy)(arange(3.))", out, "[0.         0.84147096 0.9092974 ]")
out = show_output("jit(noisy)(3.)", lambda: jit(noisy)(3.0), ["called noisy!"])
show("jit(noisy)(3.)", out, "0.14112")

# Both modes run the rule, and the rule runs the function.
rule_then_function = ["called noisy_jvp!", "called noisy!"]
_, change = show_output("jvp(noisy, (3.,), (1.,))", lambda: jvp(noisy, (3.0,), (1.0,)), rule_then_function)
show("jvp(noisy, (3.,), (1.,))[1]", change, "-0.9899925")
out = show_output("grad(noisy)(3.)", lambda: grad(noisy)(3.0), rule_then_function)
show("grad(noisy)(3.)", out, "-0.9899925")

# The rule calls noisy, and that call is differentiated by the outer grad: the rule serves every order.
twice = ["called noisy_jvp!", *rule_then_function]
out = show_output("grad(grad(noisy))(3.)", lambda: grad(grad(noisy))(3.0), twice)
show("repr(grad(grad(noisy))(3.))", repr(out), "Array(-0.14112, dtype=float32, weak_type=True)")


section("Python control flow")

# Eagerly, the values are there to be looked at, in the function and in its rule.


@custom_jvp
def fork(x):
    return pnp.sin(x) if x > 0 else pnp.cos(x)


@fork.defjvp
def fork_jvp(primals, tangents):
    (x,) = primals
    (x_dot,) = tangents
    return fork(x), (2 if x > 0 else 3) * x_dot


show("grad(fork)(1.)", grad(fork)(1.0), "2.0")
show("grad(fork)(-1.)", grad(fork)(-1.0), "3.0")


section("The tangent must be linear")

# What a JVP rule does to its tangents has to be linear, or there is nothing to transpose.


@custom_jvp
def crooked(x):
    return x


crooked.defjvp(lambda primals, tangents: (primals[0], pnp.sin(tangents[0])))

show_error("grad(crooked)(2.)", lambda: grad(crooked)(2.0), (NotImplementedError, TypeError), "ranspos")
