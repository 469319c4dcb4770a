"""A neural ordinary differential equation: a vector field learned from a path (Chen et al. 2018).

The path is that of a pendulum with friction. `odeint` solves the equation with a network on its right side; its rule
solves another equation backwards for the gradient, so that no step is kept.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.ode import odeint

TIMES = np.linspace(0.0, 6.0, 25)


def pendulum(state, t):
    """Angle and velocity."""
    angle, velocity = state
    return pnp.array([velocity, -pnp.sin(angle) - 0.2 * velocity])


def network(state, t, params):
    """The vector field to be learned."""
    return params["v"] @ pnp.tanh(params["w"] @ state + params["b"])


def loss(params, path, length):
    """The mean square distance of the solution from the first points of the path."""
    times = TIMES[:length]
    return ((odeint(network, path[0], times, params, rtol=1e-5, atol=1e-5) - path[:length]) ** 2).mean()


def run(steps=120):
    """Adam, on a short piece of the path first, then on all of it."""
    path = odeint(pendulum, pnp.array([1.5, 0.0]), TIMES)
    key_w, key_v = pb.random.split(pb.random.key(0))
    params = {
        "w": pb.random.normal(key_w, (16, 2)),
        "b": pnp.zeros(16),
        "v": 0.1 * pb.random.normal(key_v, (2, 16)),
    }
    first = second = pb.tree.map(pnp.zeros_like, params)
    losses = []
    count = 0
    for length in (8, 25):
        gradient = pb.jit(pb.value_and_grad(lambda params, n=length: loss(params, path, n)))
        for _ in range(steps):
            count += 1
            value, grads = gradient(params)
            first = pb.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
            second = pb.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, second, grads)
            rate = 0.03 * (1.0 - 0.99**count) ** 0.5 / (1.0 - 0.9**count)
            params = pb.tree.map(lambda p, m, s, r=rate: p - r * m / (pnp.sqrt(s) + 1e-8), params, first, second)
            losses.append(float(value))
    return {"path": path, "losses": losses, "fit": odeint(network, path[0], TIMES, params), "last": losses[-1]}


def draw(axes, result):
    """Angle and velocity over time: the points of the path, and the solution."""
    axes.plot(TIMES, result["path"], ".")
    axes.set_prop_cycle(None)
    axes.plot(TIMES, result["fit"], lw=1)
    axes.set_xlabel("time")
