"""Figure: a compiled training step of the transformer (value, gradient, gradient descent), run time.

Compilation and some steps happen before the first sample; a sample is the mean of ten steps, each from the
parameters of the last one, waited for at the end.
"""

from peers import load
from timing import once
from transformer import data, step

ROW = "compiled training step of it, run time"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False
STEPS = 10


def prepare(peer):
    library = load(peer)
    parameters, inputs, targets = data(library.numpy)
    descend = library.core.jit(step(library))

    def train(steps):
        latest = parameters
        for _ in range(steps):
            value, latest = descend(latest, inputs, targets)
        library.core.block_until_ready(latest)
        return float(value)

    first, third = train(1), train(3)
    assert third < first, f"the loss does not fall: {first}, then {third}"
    return lambda: {ROW: once(lambda: train(STEPS)) / STEPS}
