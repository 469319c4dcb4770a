"""An implicit layer: a network that is its own fixed point, trained without its iterations (Bai et al. 2019).

The layer's output z solves z = tanh(w z + u x + b). `implicit.fixed_point` differentiates this equation, so the
backward pass keeps no step of the search, however long it was. The task is the parity of two signs, which no linear
layer can learn.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp


def layer(params, x):
    """The fixed point; `w` is scaled to a norm below 1, so that there is one."""
    w = 0.9 * params["w"] / pnp.maximum(1.0, pnp.sqrt((params["w"] ** 2).sum()))
    return pb.implicit.fixed_point(lambda z: pnp.tanh(w @ z + params["u"] @ x + params["b"]), pnp.zeros(8))


def score(params, x):
    """Positive where the signs of the two numbers agree."""
    return params["v"] @ layer(params, x)


def loss(params, xs, labels):
    """The logistic loss."""
    return pb.nn.softplus(-labels * pb.vmap(score, (None, 0))(params, xs)).mean()


def examples(count=128):
    """Points of the square, and whether their signs agree."""
    xs = np.random.default_rng(0).uniform(-1.0, 1.0, (count, 2)).astype(np.float32)
    return xs, np.where(xs[:, 0] * xs[:, 1] > 0, 1.0, -1.0).astype(np.float32)


def run(steps=400):
    """Descend with momentum."""
    xs, labels = examples()
    keys = pb.random.split(pb.random.key(1), 3)
    params = {
        "w": pb.random.normal(keys[0], (8, 8)),
        "u": 2.0 * pb.random.normal(keys[1], (8, 2)),
        "b": pnp.linspace(-1.0, 1.0, 8),
        "v": pb.random.normal(keys[2], (8,)),
    }
    gradient = pb.jit(pb.grad(loss))
    speed = pb.tree.map(pnp.zeros_like, params)
    for _ in range(steps):
        speed = pb.tree.map(lambda s, g: 0.9 * s + g, speed, gradient(params, xs, labels))
        params = pb.tree.map(lambda p, s: p - 0.1 * s, params, speed)
    scores = np.asarray(pb.vmap(score, (None, 0))(params, xs))
    return {"params": params, "right": ((scores > 0) == (labels > 0)).mean()}


def draw(axes, result):
    """The score over the square."""
    side = np.linspace(-1.0, 1.0, 40)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    scores = np.asarray(pb.vmap(score, (None, 0))(result["params"], grid)).reshape(40, 40)
    axes.imshow(np.tanh(scores), extent=(-1, 1, -1, 1), origin="lower", cmap="RdBu")
