"""Hamiltonian Monte Carlo: 64 chains at once by `vmap`, compiled as one loop.

The log-density is a function of one point; `grad` gives the force, `scan` the leapfrog steps, and `vmap` the chains.
The target is a curved valley, x ~ N(0, 1), y | x ~ N(x**2, 0.5**2), whose moments are known: E[y] = 1 and var(y) =
2.25.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp


def log_density(q):
    """The logarithm of the density, without its constant."""
    x, y = q
    return -0.5 * x**2 - 0.5 * ((y - x**2) / 0.5) ** 2


def transition(key, q, size=0.18, count=12):
    """One proposal by leapfrog steps, accepted or not."""
    key_p, key_u = pb.random.split(key)
    force = pb.grad(log_density)
    p = pb.random.normal(key_p, q.shape)

    def leap(carry, _):
        q, p = carry
        p = p + 0.5 * size * force(q)
        q = q + size * p
        return (q, p + 0.5 * size * force(q)), None

    (new_q, new_p), _ = pb.lax.scan(leap, (q, p), None, length=count)
    gain = log_density(new_q) - 0.5 * new_p @ new_p - log_density(q) + 0.5 * p @ p
    accepted = pnp.log(pb.random.uniform(key_u)) < gain
    return pnp.where(accepted, new_q, q), accepted


def chain(key, length):
    """The points of one chain, and the share that was accepted."""

    def step(q, key):
        q, accepted = transition(key, q)
        return q, (q, accepted)

    _, (points, accepted) = pb.lax.scan(step, pnp.zeros(2), pb.random.split(key, length))
    return points, accepted.mean()


def run(chains=64, length=600):
    """All chains, without the first 100 points of each."""
    keys = pb.random.split(pb.random.key(3), chains)
    points, accepted = pb.jit(pb.vmap(lambda key: chain(key, length)))(keys)
    points = np.asarray(points)[:, 100:].reshape(-1, 2)
    return {
        "points": points,
        "accepted": accepted.mean(),
        "mean": points.mean(0),
        "variance": points.var(0),
    }


def draw(axes, result):
    """The points."""
    axes.plot(*result["points"][::5].T, ".", ms=1.5, alpha=0.4)
    axes.set_xlabel("x")
    axes.set_ylabel("y")
