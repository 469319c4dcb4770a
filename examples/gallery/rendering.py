"""Differentiable rendering: a disc is found from its picture.

A pixel is bright inside of the disc and dark outside, a step without a useful derivative. Seen through a soft edge it
has one: the brightness is a logistic function of the distance to the edge, whose width shrinks while centre and
radius are fitted.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

TRUTH = {"centre": np.array([0.25, -0.15]), "radius": 0.4}
GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 48)), -1)


def picture(disc, width):
    """The brightness of all pixels; `width` is that of the soft edge."""
    distance = pnp.sqrt(((GRID - disc["centre"]) ** 2).sum(-1) + 1e-12)
    return pb.nn.sigmoid((disc["radius"] - distance) / width)


def error(disc, width, target):
    """The mean square difference of two pictures."""
    return ((picture(disc, width) - target) ** 2).mean()


def run(steps=400):
    """Descend from a small disc elsewhere, while the edge gets sharper."""
    target = (np.sqrt(((GRID - TRUTH["centre"]) ** 2).sum(-1)) < TRUTH["radius"]).astype(np.float32)
    start = {"centre": pnp.array([-0.3, 0.3]), "radius": pnp.array(0.2)}

    def step(disc, width):
        slope = pb.grad(error)(disc, width, target)
        return pb.tree.map(lambda p, g: p - 0.2 * g, disc, slope), disc

    widths = pnp.geomspace(0.15, 0.03, steps)
    disc, path = pb.jit(lambda disc: pb.lax.scan(step, disc, widths))(start)
    return {"target": target, "disc": disc, "path": path, "picture": picture(disc, 0.03)}


def draw(axes, result):
    """The target, and the way of the centre."""
    axes.imshow(result["target"], extent=(-1, 1, 1, -1), cmap="gray", alpha=0.6)
    axes.plot(*np.asarray(result["path"]["centre"]).T, "-", color="tab:orange", lw=3)
    axes.plot(*np.asarray(result["disc"]["centre"]), "o", color="tab:orange")
