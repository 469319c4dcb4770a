"""Figure: the memory that is kept of 480 compiled functions, each called once and dropped."""

import gc
import os
from pathlib import Path

from peers import load

ROW = "memory kept by 480 compiled functions that are gone"
UNIT = "bytes"
GOALS = {}
PEERS = ("pullback", "JAX")
ROUNDS = 3
FRESH = True


def resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def prepare(peer):
    library = load(peer)
    np, core = library.numpy, library.core
    x = np.ones(3)

    def run(k):
        core.block_until_ready(core.jit(lambda x: np.sin(x) * k)(x))

    run(0.5)

    def sample():
        before = resident()
        for k in range(1, 481):
            run(k)
        gc.collect()
        return {ROW: float(resident() - before)}

    return sample
