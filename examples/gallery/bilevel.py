"""Bilevel optimisation: a penalty that is learned on data held out.

The inner problem, ridge regression with one penalty for each feature, is solved by Newton's method; `implicit.root`
differentiates its optimality condition, not the steps. The outer problem descends along the gradient of the error on
other data. Of ten features two matter: the penalties of the others grow.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

WEIGHTS = np.array([2.0, -1.0] + [0.0] * 8)


def data(seed, count=24):
    """Features and noisy targets."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 10))
    return x, x @ WEIGHTS + 0.5 * random.normal(size=count)


def inner(w, log_penalties, x, y):
    """The training loss."""
    return 0.5 * ((x @ w - y) ** 2).mean() + 0.5 * (pnp.exp(log_penalties) * w**2).sum()


def fitted(log_penalties, x, y):
    """The minimizer of the training loss, where its gradient vanishes."""

    def condition(w):
        return pb.grad(inner)(w, log_penalties, x, y)

    return pb.implicit.root(condition, pnp.zeros(10))


def outer(log_penalties, train, held_out):
    """The error on the data that were held out."""
    w = fitted(log_penalties, *train)
    x, y = held_out
    return ((x @ w - y) ** 2).mean()


def run(steps=80):
    """Descend."""
    with pb.enable_x64():
        train, held_out = data(0), data(1)
        gradient = pb.jit(pb.value_and_grad(lambda p: outer(p, train, held_out)))
        log_penalties, errors = pnp.full(10, -3.0), []
        for _ in range(steps):
            error, slope = gradient(log_penalties)
            errors.append(float(error))
            log_penalties = pnp.clip(log_penalties - 2.0 * slope, -6.0, 4.0)
        return {
            "errors": errors,
            "penalties": np.exp(np.asarray(log_penalties)),
            "weights": fitted(log_penalties, *train),
        }


def draw(axes, result):
    """The error on the way."""
    axes.plot(result["errors"])
    axes.set_xlabel("step")
    axes.set_ylabel("error on held-out data")
