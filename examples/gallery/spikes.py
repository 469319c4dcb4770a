"""A spiking neuron learns to fire at given times, by the surrogate gradient of `rules.spike`.

The neuron's potential leaks, adds up weighted inputs, and is set back when it passes 1. A spike is a step, whose
derivative is zero almost everywhere; `rules.spike` puts a smooth one in its place in the backward pass alone.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

TIMES = (20, 45, 70, 90)


def fired(weights, inputs):
    """Spikes, 0 or 1, and potentials."""

    def step(potential, x):
        potential = 0.9 * potential + weights @ x
        spike = pb.rules.spike(potential - 1.0, sharpness=5.0)
        return potential - spike * potential, (spike, potential)

    return pb.lax.scan(step, 0.0, inputs)[1]


def loss(weights, inputs, wanted):
    """The difference of the two trains of spikes, each seen through a decaying trace (van Rossum 2001)."""
    spikes, _ = fired(weights, inputs)

    def step(trace, difference):
        trace = 0.8 * trace + difference
        return trace, trace**2

    return pb.lax.scan(step, 0.0, spikes - wanted)[1].mean()


def run(steps=300):
    """Descend; the inputs are 60 random trains of spikes."""
    random = np.random.default_rng(2)
    inputs = (random.uniform(size=(100, 60)) < 0.06).astype(np.float32)
    wanted = np.zeros(100, np.float32)
    wanted[list(TIMES)] = 1.0
    start = 0.12 * np.ones(60, np.float32)

    def step(carry, _):
        weights, speed = carry
        value, slope = pb.value_and_grad(loss)(weights, inputs, wanted)
        speed = 0.8 * speed + slope
        return (weights - 0.05 * speed, speed), (value, weights)

    _, (losses, path) = pb.jit(lambda w: pb.lax.scan(step, (w, pnp.zeros(60)), None, length=steps))(start)
    best = path[int(losses.argmin())]
    spikes, potentials = fired(best, inputs)
    return {
        "losses": losses,
        "potentials": potentials,
        "fires at": np.flatnonzero(np.asarray(spikes)),
        "wanted": np.array(TIMES),
        "first": losses[0],
        "best": losses.min(),
    }


def draw(axes, result):
    """The potential, where the neuron fires, and where it should."""
    axes.plot(result["potentials"], lw=1)
    axes.axhline(1.0, color="gray", lw=0.5)
    axes.plot(result["fires at"], np.full(len(result["fires at"]), 1.25), "|", ms=12, label="fires")
    axes.plot(result["wanted"], np.full(len(result["wanted"]), 1.4), "|", ms=12, label="wanted")
    axes.set_xlabel("step")
    axes.legend()
