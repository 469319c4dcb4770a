"""Figure: what `checkpoint` costs in time: the compiled gradient of 64 layers (layers.py), which runs forward twice."""

from layers import check, data, gradient
from peers import load
from timing import once

ROWS = {False: "compiled `grad` of 64 layers, everything kept", True: "the same with `checkpoint` of each 8 layers"}
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 7
FRESH = False


def prepare(peer):
    library = load(peer)
    x, weights = data(library.numpy)
    programs = {row: gradient(library, checkpointed) for checkpointed, row in ROWS.items()}
    for program in programs.values():
        check(program(x, weights), x, weights)
    return lambda: {row: once(lambda f=f: library.core.block_until_ready(f(x, weights))) for row, f in programs.items()}
