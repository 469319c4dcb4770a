"""Figure: what `checkpoint` costs in time: the compiled gradient of 64 layers (layers.py), which runs forward twice."""

import functools

from layers import gradients
from peers import load
from timing import once

GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 7
FRESH = False


def prepare(peer):
    library = load(peer)
    ways = gradients(library)

    def run(way):
        program, x, weights = ways[way]
        library.core.block_until_ready(program(x, weights))

    return lambda: {f"compiled `grad` of 64 layers, {way}": once(functools.partial(run, way)) for way in ways}
