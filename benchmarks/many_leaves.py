"""Figure: the first call of a compiled function of thousands of arrays: trace, compile and run, in a fresh process."""

from peers import load
from timing import once

GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 3
FRESH = True
LENGTHS = (1_000, 3_000, 10_000)


def prepare(peer):
    library = load(peer)
    np, core = library.numpy, library.core
    core.block_until_ready(core.jit(lambda x: x + 2)(np.ones(())))  # the engine is started
    lists = {n: core.block_until_ready([np.asarray(float(i)) for i in range(n)]) for n in LENGTHS}

    def first(xs):
        return once(lambda: core.block_until_ready(core.jit(lambda xs: [x + 1 for x in xs])(xs)))

    return lambda: {f"first `jit` call of {n:,} scalar arrays in and out": first(xs) for n, xs in lists.items()}
