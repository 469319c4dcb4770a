"""Figures: `grad` through a compiled loop that carries many small arrays, updated alike; its warm run and its first.

The sum of the last carry of 614 steps v + 0.01 tanh(v x), by 60 scalars; by 60 scalars of which every step takes the
mean; by 200 arrays of 4 numbers.
"""

import numpy
from peers import load
from timing import once, per_call

CARRIES = {"60 scalars": (60, ()), "60 scalars and their mean": (60, ()), "200 arrays of 4": (200, (4,))}
STEPS = 614
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 3
FRESH = False


def prepare(peer):
    library = load(peer)
    np, core = library.numpy, library.core
    xs = np.asarray(numpy.linspace(-1, 1, STEPS).astype("float32"))
    runs = {}

    def compiled(mean):
        def step(leaves, x):
            shift = sum(leaves) / len(leaves) if mean else 0
            return [v + 0.01 * np.tanh(v * x + shift) for v in leaves], None

        def last(leaves):
            return sum(v.sum() for v in core.lax.scan(step, leaves, xs)[0])

        return core.jit(core.grad(last))

    for name, (n, shape) in CARRIES.items():
        leaves = [np.asarray(numpy.full(shape, 0.1 + i / n, "float32")) for i in range(n)]
        slopes = compiled("mean" in name)
        first = once(lambda slopes=slopes, leaves=leaves: core.block_until_ready(slopes(leaves)))

        def run(n, slopes=slopes, leaves=leaves):
            for _ in range(n):
                core.block_until_ready(slopes(leaves))

        runs[f"compiled `grad` through a `scan` that carries {name}"] = per_call(run), first
    return lambda: {
        figure: seconds
        for name, (time, first) in runs.items()
        for figure, seconds in ((name, time()), (f"the same with {name.rsplit('carries ', 1)[1]}, first call", first))
    }
