"""Figure: an all-reduce between two processes on one machine, over gloo, of 400 kB and 4 MB in each."""

import subprocess
import sys

if __name__ == "__main__":
    import os

    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from peers import load
from timing import once

SMALL, LARGE = "all-reduce of 400 kB between two processes", "all-reduce of 4 MB between two processes"
SIZES = {SMALL: 100_000, LARGE: 1_000_000}
CALLS = {SMALL: 40, LARGE: 10}
GOALS: dict[str, float] = {}
PEERS = ("pullback", "JAX")
ROUNDS = 9
FRESH = False


def join(peer, port, process):
    """One of two processes: the function that runs the all-reduces of one row."""
    import numpy as np

    library = load(peer)
    core = library.core
    core.distributed.initialize(f"127.0.0.1:{port}", 2, process)
    mesh = core.make_mesh((2,), ("x",))
    place = core.NamedSharding(mesh, core.P("x"))

    def total(x):
        return core.lax.psum(x, "x")

    reduce = core.jit(core.shard_map(total, mesh=mesh, in_specs=core.P("x"), out_specs=core.P()))
    data = {
        row: core.make_array_from_process_local_data(place, np.ones((1, size), "float32"))
        for row, size in SIZES.items()
    }

    def run(row):
        for _ in range(CALLS[row]):
            core.block_until_ready(reduce(data[row]))

    for row in SIZES:
        run(row)
    return run


def prepare(peer):
    """This process is the first; the second does what it is told on its standard input."""
    import atexit
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    other = subprocess.Popen([sys.executable, __file__, peer, port], text=True, stdin=subprocess.PIPE)
    run = join(peer, port, 0)
    atexit.register(other.stdin.close)  # before this process leaves the other, which waits for it

    def sample():
        times = {}
        for row in SIZES:
            other.stdin.write(row + "\n")
            other.stdin.flush()
            times[row] = once(lambda row=row: run(row)) / CALLS[row]
        return times

    return sample


def main(peer, port):
    run = join(peer, port, 1)
    for line in sys.stdin:
        run(line.rstrip("\n"))


if __name__ == "__main__":
    main(*sys.argv[1:])
