"""Figures: warm calls of compiled functions, of arrays in nested dicts and of NumPy's; what reading a result costs."""

import numpy
from peers import load
from timing import once, per_call

NESTED, READ = "warm `jit` call, 10 arrays in nested dicts in and out", "`np.asarray` of a fresh result, 3 numbers"
HOST, AGAIN = "warm `jit` call, 3 arrays of NumPy's of 3 numbers", "`np.asarray` of a result that was read before"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False
RESULTS = 2_000


def prepare(peer):
    library = load(peer)
    np, core = library.numpy, library.core
    next_parameters = core.jit(
        lambda layers: {name: {key: x + 1 for key, x in layer.items()} for name, layer in layers.items()}
    )
    layers = next_parameters({f"layer {i}": {"w": np.ones(3), "b": np.zeros(3)} for i in range(5)})
    add_one = core.jit(lambda x: x + 1)
    x = core.block_until_ready(add_one(np.ones(3)))

    def call(n):
        for _ in range(n):
            result = next_parameters(layers)
        core.block_until_ready(result)

    total, host = core.jit(lambda x, y, z: x + y + z), numpy.ones(3, "float32")

    def call_from_host(n):
        for _ in range(n):
            result = total(host, host, host)
        core.block_until_ready(result)

    def read():
        results = core.block_until_ready([add_one(x) for _ in range(RESULTS)])
        first, again = (once(lambda: [numpy.asarray(y) for y in results]) / RESULTS for _ in range(2))
        return {READ: first, AGAIN: again}

    assert numpy.asarray(next_parameters(layers)["layer 3"]["b"]).tolist() == [2, 2, 2]
    call_from_host(1)  # compiles
    time, time_from_host = per_call(call), per_call(call_from_host)
    return lambda: {NESTED: time(), HOST: time_from_host(), **read()}
