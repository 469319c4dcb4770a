"""Figure: the same gradient as the first thing a fresh process does, the import of the library included.

The start of the interpreter itself (the same for all) is not in it.
"""

from log1pexp import gradient
from timing import once

ROW = "the same, first call in a fresh process, import included"
GOALS = {ROW: 0.2}
PEERS = ("pullback", "JAX", "PyTorch", "autograd")
ROUNDS = 7
FRESH = True


def prepare(peer):
    return lambda: {ROW: once(lambda: float(gradient(peer)(3.0)))}
