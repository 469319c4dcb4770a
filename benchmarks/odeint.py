"""Figure: the eager gradient, in its weights, through `odeint` of a small network, warm."""

import importlib

import numpy
from peers import PACKAGES, load
from timing import once

ROW = "eager `value_and_grad` through `odeint` of a network, warm"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False


def prepare(peer):
    library = load(peer)
    np, core = library.numpy, library.core
    odeint = importlib.import_module(f"{PACKAGES[peer]}.experimental.ode").odeint
    random = numpy.random.default_rng(0)
    weights = [np.asarray(random.standard_normal(shape).astype("float32") / 2) for shape in ((32, 4), (4, 32))]
    start, times = np.asarray(numpy.linspace(-1, 1, 4, dtype="float32")), np.linspace(0.0, 1.0, 10)

    def rate(y, t, weights):
        return weights[1] @ np.tanh(weights[0] @ y)

    def loss(weights):
        return (odeint(rate, start, times, weights) ** 2).sum()

    gradient = core.value_and_grad(loss)
    for _ in range(3):
        core.block_until_ready(gradient(weights))
    check(lambda w: float(loss([w, weights[1]])), weights[0], gradient(weights)[1][0])
    return lambda: {ROW: once(lambda: core.block_until_ready(gradient(weights)))}


def check(loss, w, slope):
    """Against a difference in one direction."""
    w, step = numpy.asarray(w), 1e-2
    difference = (loss(w + step * numpy.float32(1)) - loss(w - step * numpy.float32(1))) / (2 * step)
    assert abs(numpy.asarray(slope).sum() - difference) < 2e-2 * abs(difference) + 1e-2
