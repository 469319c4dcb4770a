"""Figure: from Python to StableHLO text, tracing and lowering the transformer's gradient.

Nothing is compiled. The process is warm (one lowering before the first sample), the function new each time.
"""

from peers import load
from timing import once
from transformer import data, value_and_grad

ROW = "trace and lower `jit(value_and_grad)` of it to StableHLO text"
GOALS = {ROW: 0.08}
PEERS = ("pullback", "JAX")
ROUNDS = 9
FRESH = False


def prepare(peer):
    library = load(peer)
    arguments = data(library.numpy)

    def lower():
        return library.core.jit(value_and_grad(library)).lower(*arguments).as_text()

    assert "stablehlo.dot_general" in lower()
    return lambda: {ROW: once(lower)}
