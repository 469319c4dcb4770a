"""Variational inference: a Gaussian posterior fitted through its samples (Kingma and Welling 2014).

A sample is the mean plus a factor times noise, so the mean over samples has a gradient by mean and factor. The model
is linear regression, whose posterior is known: the fit must meet it, correlations among it.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp


def data(count=30):
    """Places, and measurements with an error of 0.5."""
    random = np.random.default_rng(0)
    x = random.uniform(0.0, 2.0, count)
    return np.stack([np.ones(count), x], 1), 1.0 + 0.5 * x + 0.5 * random.normal(size=count)


def log_joint(weights, x, y):
    """Of the weights and the measurements, without constants: weights are standard normal before."""
    return -0.5 * (((y - x @ weights) / 0.5) ** 2).sum() - 0.5 * weights @ weights


def bound(params, noise, x, y):
    """The evidence lower bound, the mean over the samples that the noise makes."""
    factor = pnp.tril(params["factor"], -1) + pnp.diag(pnp.exp(params["log diagonal"]))
    samples = params["mean"] + noise @ factor.T
    return pb.vmap(log_joint, (0, None, None))(samples, x, y).mean() + params["log diagonal"].sum()


def exact(x, y):
    """The posterior by linear algebra."""
    precision = x.T @ x / 0.25 + np.eye(2)
    return np.linalg.solve(precision, x.T @ y / 0.25), np.linalg.inv(precision)


def run(steps=3000):
    """Climb with new noise at each step and steps that shrink."""
    x, y = data()
    params = {"mean": pnp.zeros(2), "factor": pnp.zeros((2, 2)), "log diagonal": pnp.full(2, -1.0)}

    def step(carry, inputs):
        params, squares = carry
        key, i = inputs
        slope = pb.grad(bound)(params, pb.random.normal(key, (32, 2)), x, y)
        squares = pb.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, squares, slope)
        rate = 0.05 / (1.0 + i / 100.0)
        params = pb.tree.map(lambda p, g, s: p + rate * g / (pnp.sqrt(s) + 1e-6), params, slope, squares)
        return (params, squares), None

    def climb(params, keys):
        ones = pb.tree.map(pnp.ones_like, params)
        return pb.lax.scan(step, (params, ones), (keys, pnp.arange(steps)))[0][0]

    params = pb.jit(climb)(params, pb.random.split(pb.random.key(0), steps))
    factor = np.tril(np.asarray(params["factor"]), -1) + np.diag(np.exp(np.asarray(params["log diagonal"])))
    mean, cov = exact(x, y)
    return {"mean": params["mean"], "covariance": factor @ factor.T, "exact mean": mean, "exact covariance": cov}


def draw(axes, result):
    """Ellipses of two standard deviations."""
    angles = np.linspace(0.0, 2.0 * np.pi, 100)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    for start, style in (("exact ", {"lw": 5, "alpha": 0.4}), ("", {"ls": "--"})):
        ellipse = 2.0 * np.linalg.cholesky(result[f"{start}covariance"]) @ circle
        mean = np.asarray(result[f"{start}mean"])[:, None]
        axes.plot(*(mean + ellipse), label=f"{start or 'fitted '}posterior", **style)
    axes.legend()
