"""Optimal transport by Sinkhorn's iteration, differentiated at its fixed point.

Points flow so that the entropic cost of carrying their mass to a target gets smaller. The potentials solve a fixed
point equation; by the envelope theorem the derivative of the cost needs the plan alone, which a rule of one line
says: nothing of the iteration is kept for the backward pass.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

EPSILON = 0.02


def costs(x, y):
    """The squared distances."""
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def potentials(cost):
    """The two potentials for uniform masses, by 200 rounds in logarithms."""
    n, m = cost.shape

    def round_(_, f):
        g = -EPSILON * pb.nn.logsumexp((f[:, None] - cost) / EPSILON, axis=0) + EPSILON * pnp.log(1.0 / m)
        return -EPSILON * pb.nn.logsumexp((g[None] - cost) / EPSILON, axis=1) + EPSILON * pnp.log(1.0 / n)

    f = pb.lax.fori_loop(0, 200, round_, pnp.zeros(n))
    return f, -EPSILON * pb.nn.logsumexp((f[:, None] - cost) / EPSILON, axis=0) + EPSILON * pnp.log(1.0 / m)


@pb.custom_vjp
def transport(cost):
    """The entropic cost of transport between uniform masses."""
    f, g = potentials(cost)
    return f.mean() + g.mean()


def transport_fwd(cost):
    """Keep the plan: it is the derivative of the cost of transport by the costs."""
    f, g = potentials(cost)
    return transport(cost), pnp.exp((f[:, None] + g[None] - cost) / EPSILON)


def transport_bwd(plan, ct):
    """The envelope theorem."""
    return (ct * plan,)


transport.defvjp(transport_fwd, transport_bwd)


def divergence(x, y):
    """The debiased cost, which is zero between equal sets of points."""
    return transport(costs(x, y)) - 0.5 * transport(costs(x, x)) - 0.5 * transport(costs(y, y))


def run(steps=40):
    """A cloud flows to a circle."""
    angles = 2.0 * np.pi * np.arange(60) / 60
    circle = pnp.array(np.stack([np.cos(angles), np.sin(angles)], 1))
    start = 0.3 * pb.random.normal(pb.random.key(0), (60, 2))

    @pb.jit
    def step(x):
        value, slope = pb.value_and_grad(divergence)(x, circle)
        return x - 15.0 * slope, value

    x, values = start, []
    for _ in range(steps):
        x, value = step(x)
        values.append(float(value))
    return {"start": start, "end": x, "circle": circle, "first": values[0], "last": values[-1]}


def draw(axes, result):
    """Where the points came from and went."""
    start, end = np.asarray(result["start"]), np.asarray(result["end"])
    axes.plot(np.stack([start[:, 0], end[:, 0]]), np.stack([start[:, 1], end[:, 1]]), color="gray", lw=0.5)
    axes.plot(*start.T, ".", label="start")
    axes.plot(*end.T, "o", ms=4, label="end")
    axes.set_aspect("equal")
    axes.legend()
