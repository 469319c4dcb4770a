"""custom_vjp from end to end: the two halves, when they run, what they must return, what is refused.

In types: a function takes ``a`` to ``b``. Its forward half takes ``a`` to ``(b, c)``, where ``c`` is
whatever the backward half will need (the residuals). Its backward half takes ``(c, CT b)`` to ``CT a``,
where ``CT a`` are the cotangents of all arguments, as a tuple with one entry for each.
"""

from claims import section, show, show_error, show_output

import pullback.numpy as pnp
from pullback import custom_vjp, grad, jit, jvp, vjp, vmap

section("One argument")


@custom_vjp
def wave(x):
    return pnp.sin(x)


def wave_fwd(x):
    return wave(x), pnp.cos(x)


def wave_bwd(cos_x, out_bar):
    return (cos_x * out_bar,)


wave.defvjp(wave_fwd, wave_bwd)

show("wave(3.)", wave(3.0), "0.14112")
show("grad(wave)(3.)", grad(wave)(3.0), "-0.9899925")


section("Two arguments")


@custom_vjp
def height(angle, radius=3.0):
    return pnp.sin(angle) * radius


def height_fwd(angle, radius):
    return height(angle, radius), (pnp.cos(angle), pnp.sin(angle), radius)


def height_bwd(saved, out_bar):
    cos_angle, sin_angle, radius = saved
    return cos_angle * out_bar * radius, sin_angle * out_bar


height.defvjp(height_fwd, height_bwd)

show("grad(height)(2., 3.)", grad(height)(2.0, 3.0), "-1.2484405")
# Keywords and defaults are put in their positions before the halves see them.
show("grad(height)(2.)", grad(height)(2.0), "-1.2484405")
show("the same, by keyword", grad(lambda x: height(radius=3.0, angle=x))(2.0), "-1.2484405")


section("When is what called?")


@custom_vjp
def noisy(x):
    print("called noisy!")
    return pnp.sin(x)


def noisy_fwd(x):
    print("called noisy_fwd!")
    return noisy(x), pnp.cos(x)


def noisy_bwd(cos_x, out_bar):
    print("called noisy_bwd!")
    return (cos_x * out_bar,)


noisy.defvjp(noisy_fwd, noisy_bwd)

# Without differentiation, only the function itself.
show("noisy(3.)", show_output("noisy(3.)", lambda: noisy(3.0), ["called noisy!"]), "0.14112")
show("jit(noisy)(3.)", show_output("jit(noisy)(3.)", lambda: jit(noisy)(3.0), ["called noisy!"]), "0.14112")
out = show_output("vmap(noisy)", lambda: vmap(noisy)(pnp.arange(3.0)), ["called noisy!"])
show("vmap(noisy)(arange(3.))", out, "[0.         0.84147096 0.9092974 ]")

# grad runs both halves. vjp stops between them: the backward half waits for its cotangent.
forward, backward = ["called noisy_fwd!", "called noisy!"], ["called noisy_bwd!"]
out = show_output("grad(noisy)(3.)", lambda: grad(noisy)(3.0), forward + backward)
show("grad(noisy)(3.)", out, "-0.9899925")
value, noisy_vjp = show_output("vjp(noisy, 3.)", lambda: vjp(noisy, 3.0), forward)
show("vjp(noisy, 3.)[0]", value, "0.14112")
out = show_output("noisy_vjp(1.)", lambda: noisy_vjp(1.0), backward)
show("noisy_vjp(1.)", out, "(Array(-0.9899925, dtype=float32, weak_type=True),)")


section("Refused: forward mode")

# A backward rule says nothing about tangents. A function that needs both modes wants custom_jvp.


def report():
    try:
        jvp(noisy, (3.0,), (1.0,))
    except TypeError as error:
        print(f"ERROR! {error}")


refusal = "ERROR! can't apply forward-mode autodiff (jvp) to a custom_vjp function."
show_output("jvp(noisy, (3.,), (1.,))", report, [*forward, refusal])


section("Refused: a backward half with the wrong number of entries")


@custom_vjp
def same(x):
    return x


same.defvjp(lambda x: (x, None), lambda _, out_bar: [out_bar])
show("a list with one entry will do", grad(same)(1.0), "1.0")

same.defvjp(lambda x: (x, None), lambda _, out_bar: out_bar)
show_error("grad(same)(1.), no sequence", lambda: grad(same)(1.0), TypeError, "bwd")

same.defvjp(lambda x: (x, None), lambda _, out_bar: (out_bar, out_bar))
show_error("grad(same)(1.), one entry too many", lambda: grad(same)(1.0), TypeError, "bwd")
