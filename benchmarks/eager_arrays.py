"""Figures: eager functions of large arrays of float32 and their gradients, where kernels and memory take the time."""

from functools import partial

import numpy
from peers import load
from timing import once, per_call

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
GOALS = {}
PEERS = ("pullback", "PyTorch")
ROUNDS = 9
FRESH = False


def prepare(peer):
    timers = {}
    for size in SIZES:
        x = numpy.random.default_rng(0).standard_normal(size).astype("float32")
        for name, value in functions(peer).items():
            forward, gradient = (of_torch if peer == "PyTorch" else of_pullback)(value, x)
            timers[f"eager {name}, {size:,} elements"] = sampler(forward, size)
            timers[f"its gradient, {name}, {size:,} elements"] = sampler(gradient, size)
    return lambda: {row: timer() for row, timer in timers.items()}


def sampler(run, size):
    def several(n):
        for _ in range(n):
            run()

    if size < 1_000_000:
        return per_call(several, 0.01)
    run()  # warm-up
    return lambda: once(run)


def functions(peer):
    if peer == "PyTorch":
        import torch as np

        logsumexp = partial(np.logsumexp, dim=0)
    else:
        library = load(peer)
        np, logsumexp = library.numpy, library.nn.logsumexp

    return {
        "sum(sin(x) x)": lambda x: np.sum(np.sin(x) * x),
        "mean(tanh(x)² + exp(-x²))": lambda x: np.mean(np.tanh(x) ** 2 + np.exp(-(x**2))),
        "logsumexp": logsumexp,
    }


def of_pullback(value, x):
    library = load("pullback")
    x, slope = library.numpy.asarray(x), library.core.grad(value)
    return lambda: value(x), lambda: slope(x)


def of_torch(value, x):
    import torch

    constant, variable = torch.tensor(x), torch.tensor(x, requires_grad=True)
    return lambda: value(constant), lambda: torch.autograd.grad(value(variable), variable)[0]
