"""Figure: what a rule costs where nothing is differentiated: a warm compiled function, bare and under `custom_jvp`."""

import math

from peers import load
from timing import per_call

BARE, RULED = "warm `jit(sin)(x)`, a scalar array", "warm `custom_jvp(jit(sin))(x)`, nothing differentiated"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False


def prepare(peer):
    library = load(peer)
    np = library.numpy
    bare = library.core.jit(lambda x: np.sin(x))
    ruled = library.core.custom_jvp(bare)
    ruled.defjvp(lambda primals, tangents: (ruled(*primals), 2 * np.cos(primals[0]) * tangents[0]))
    x = library.core.block_until_ready(np.asarray(0.5))
    assert abs(float(ruled(x)) - math.sin(0.5)) < 1e-6
    assert abs(float(library.core.grad(ruled)(x)) - 2 * math.cos(0.5)) < 1e-6  # the rule is there

    def calls(f):
        def run(n):
            for _ in range(n):
                y = f(x)
            library.core.block_until_ready(y)

        return run

    time_bare, time_ruled = per_call(calls(bare)), per_call(calls(ruled))
    return lambda: {BARE: time_bare(), RULED: time_ruled()}
