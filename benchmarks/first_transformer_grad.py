"""Figure: the first eager gradient of a transformer in a fresh process.

The imports and the making of the data are not in it.
"""

from peers import load
from timing import once
from transformer import data, value_and_grad

ROW = "first eager `value_and_grad` of a 12-layer transformer"
GOALS = {ROW: 0.15}
PEERS = ("pullback", "JAX")
ROUNDS = 5
FRESH = True


def prepare(peer):
    library = load(peer)
    arguments = data(library.numpy)
    return lambda: {ROW: once(lambda: library.core.block_until_ready(value_and_grad(library)(*arguments)))}
