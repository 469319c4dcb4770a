"""A derivative that is wrong on purpose: limiting the gradient that flows back through a value.

``clip_gradient`` does nothing on the way forward. On the way back it cuts the cotangent to an interval.
That is no derivative of anything, which is why it must be a VJP rule: there is no JVP rule to transpose.

The two plots are written to ``examples/out/``. This script needs matplotlib.
"""

from pathlib import Path

import numpy as np
from claims import section, show
from matplotlib.figure import Figure

import pullback.numpy as pnp
from pullback import custom_vjp, grad, vmap

OUT = Path(__file__).parent / "out"


@custom_vjp
def clip_gradient(low, high, x):
    return x


def clip_gradient_fwd(low, high, x):
    return x, (low, high)


def clip_gradient_bwd(bounds, x_bar):
    # None stands for a cotangent of zeros: the bounds have no influence on the value.
    return None, None, pnp.clip(x_bar, *bounds)


clip_gradient.defvjp(clip_gradient_fwd, clip_gradient_bwd)


def clip_sin(x):
    return pnp.sin(clip_gradient(-0.75, 0.75, x))


def plot(name, title, wave, slope):
    """Write one picture with a function and its gradient; return where it lies."""
    OUT.mkdir(exist_ok=True)
    # A Figure without pyplot draws with Agg: no display is needed, and nothing has to be closed.
    figure = Figure(figsize=(6.4, 4.0))
    axes = figure.subplots()
    axes.plot(t, wave, label="function")
    axes.plot(t, slope, label="gradient")
    axes.set_title(title)
    axes.legend()
    figure.savefig(OUT / name)
    return OUT / name


t = pnp.linspace(0, 10, 1000)


section("The sine and its gradient")

slope = vmap(grad(pnp.sin))(t)
show("largest |gradient|", np.abs(slope).max(), "1.0")
show("the gradient is the cosine", np.allclose(slope, np.cos(t), atol=1e-6), "True")
picture = plot("sine.png", "sin and its gradient", np.asarray(pnp.sin(t)), np.asarray(slope))
show("sine.png is a picture", picture.read_bytes()[1:4].decode(), "PNG")


section("The same, with its gradient clipped to [-0.75, 0.75]")

show("values are untouched", bool(pnp.all(clip_sin(t) == pnp.sin(t))), "True")
clipped = vmap(grad(clip_sin))(t)
show("largest gradient", clipped.max(), "0.75")
show("smallest gradient", clipped.min(), "-0.75")
show("elsewhere it is the cosine", np.allclose(clipped, np.clip(np.cos(t), -0.75, 0.75), atol=1e-6), "True")
picture = plot("clipped_sine.png", "sin, gradient clipped", np.asarray(clip_sin(t)), np.asarray(clipped))
show("clipped_sine.png is a picture", picture.read_bytes()[1:4].decode(), "PNG")


section("The bounds are ordinary arguments")

show("grad(clip_gradient, 0)(-1., 1., 5.)", grad(clip_gradient, 0)(-1.0, 1.0, 5.0), "0.0")
# Whole-number bounds need no special treatment either: an integer array has no gradient to return.
low, high = pnp.array(-2), pnp.array(2)
show("int bounds, incoming cotangent 7", grad(lambda x: 7.0 * clip_gradient(low, high, x))(1.0), "2.0")
