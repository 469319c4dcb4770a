"""A physics-informed network: a boundary value problem solved by its residual.

u'' = -pi**2 sin(pi x) on [0, 1] with u(0) = u(1) = 0 has the solution sin(pi x). A small network times x (1 - x)
keeps the boundary values; the loss is the mean square of the residual, with u'' from forward mode twice, and Adam
makes it small.
"""

import pullback as pb
import pullback.numpy as pnp


def network(params, x):
    """u(x), one number: zero at both ends whatever the parameters."""
    hidden = pnp.tanh(params["w"] * x + params["b"])
    return x * (1.0 - x) * (params["v"] @ hidden)


def residual(params, x):
    """u''(x) + pi**2 sin(pi x)."""

    def slope(x):
        return pb.jvp(lambda x: network(params, x), (x,), (1.0,))[1]

    curvature = pb.jvp(slope, (x,), (1.0,))[1]
    return curvature + pnp.pi**2 * pnp.sin(pnp.pi * x)


def loss(params, xs):
    """The mean square of the residual."""
    return (pb.vmap(residual, (None, 0))(params, xs) ** 2).mean()


def run(steps=1500):
    """Train by Adam in one compiled loop; the solution beside the exact one."""
    key_w, key_b = pb.random.split(pb.random.key(0))
    params = {"w": 3.0 * pb.random.normal(key_w, (24,)), "b": 2.0 * pb.random.normal(key_b, (24,)), "v": pnp.zeros(24)}
    xs = pnp.linspace(0.0, 1.0, 32)

    def step(carry, i):
        params, first, second = carry
        value, grads = pb.value_and_grad(loss)(params, xs)
        first = pb.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = pb.tree.map(lambda s, g: 0.99 * s + 0.01 * g * g, second, grads)
        rate = 0.02 * pnp.sqrt(1.0 - 0.99 ** (i + 1)) / (1.0 - 0.9 ** (i + 1))
        params = pb.tree.map(lambda p, m, s: p - rate * m / (pnp.sqrt(s) + 1e-8), params, first, second)
        return (params, first, second), value

    zeros = pb.tree.map(pnp.zeros_like, params)
    (params, _, _), losses = pb.jit(lambda params: pb.lax.scan(step, (params, zeros, zeros), pnp.arange(steps)))(params)
    x = pnp.linspace(0.0, 1.0, 101)
    u = pb.vmap(network, (None, 0))(params, x)
    exact = pnp.sin(pnp.pi * x)
    return {"loss": losses, "x": x, "u": u, "exact": exact, "largest error": abs(u - exact).max()}


def draw(axes, result):
    """The solution."""
    axes.plot(result["x"], result["exact"], lw=4, alpha=0.4, label="sin(πx)")
    axes.plot(result["x"], result["u"], "--", label="network")
    axes.legend()
