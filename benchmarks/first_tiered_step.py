"""Figure: the first training step of a transformer in a fresh process, without a cache, where calls need not wait.

pullback's step is `jit(step, tiered=True)`, whose first call the NumPy kernels answer. JAX has no such tier: its first
call compiles. The making of the data is not in it.
"""

import time

from peers import load
from timing import once
from transformer import data, step

ROW = "first training step of it in a fresh process, jitted with `tiered=True`"
IMPORTED = "the same, import included"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 3
FRESH = True


def prepare(peer):
    def first():
        start = time.perf_counter()
        library = load(peer)
        imported = time.perf_counter() - start
        arguments = data(library.numpy)
        library.core.block_until_ready(arguments)
        options = {"tiered": True} if peer == "pullback" else {}
        compiled = library.core.jit(step(library), **options)
        seconds = once(lambda: library.core.block_until_ready(compiled(*arguments)))
        return {ROW: seconds, IMPORTED: imported + seconds}

    return first
