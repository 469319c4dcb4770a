"""Private training: the gradient of each example, clipped, summed, and hidden in noise (Abadi et al. 2016).

`vmap(grad(loss))` gives one gradient for each example, as a pytree with a leading axis. Each is scaled to a norm of
at most 1, so that no example moves the sum by more; noise in proportion to that bound is added. How many privacy
units are spent is not counted here.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

BOUND, NOISE = 1.0, 1.0


def loss(params, x, label):
    """The logistic loss of one example."""
    return pb.nn.softplus(-label * (params["w"] @ x + params["b"]))


def clipped(grads):
    """The gradient of one example, of norm at most `BOUND`."""
    norm = pnp.sqrt(sum((g**2).sum() for g in pb.tree.leaves(grads)))
    return pb.tree.map(lambda g: g * pnp.minimum(1.0, BOUND / norm), grads)


def private_gradient(params, xs, labels, key):
    """The mean of clipped gradients, with noise."""
    each = pb.vmap(pb.grad(loss), (None, 0, 0))(params, xs, labels)
    each = pb.vmap(clipped)(each)
    leaves, structure = pb.tree.flatten(each)
    keys = pb.random.split(key, len(leaves))
    noisy = [g.sum(0) + BOUND * NOISE * pb.random.normal(k, g.shape[1:]) for g, k in zip(leaves, keys, strict=True)]
    return pb.tree.unflatten(structure, [g / len(xs) for g in noisy])


def examples(count):
    """Two clouds of points."""
    random = np.random.default_rng(0)
    labels = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    return random.normal(size=(count, 2)) + labels[:, None] * np.array([1.5, 0.5]), labels


def run(steps=60):
    """Train, and count what is classified right."""
    xs, labels = examples(400)
    params = {"w": pnp.zeros(2), "b": 0.0}
    gradient = pb.jit(private_gradient)
    for key in pb.random.split(pb.random.key(1), steps):
        params = pb.tree.map(lambda p, g: p - 0.5 * g, params, gradient(params, xs, labels, key))
    scores = np.asarray(xs @ np.asarray(params["w"]) + float(params["b"]))
    return {"xs": xs, "labels": labels, "params": params, "right": ((scores > 0) == (labels > 0)).mean()}


def draw(axes, result):
    """The clouds, and the line between them."""
    xs, labels = result["xs"], result["labels"]
    for label in (-1.0, 1.0):
        axes.plot(*xs[labels == label].T, ".", alpha=0.6)
    (w0, w1), b = np.asarray(result["params"]["w"]), float(result["params"]["b"])
    line = np.linspace(-1.5, 1.5, 2)
    axes.plot(line, -(w0 * line + b) / w1, color="gray")
    axes.set_ylim(-3.5, 3.5)
