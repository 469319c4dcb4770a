"""Train in two processes; one dies, all start again and resume from the last checkpoint.

    python examples/train_in_processes.py            # nothing fails
    python examples/train_in_processes.py --fail 25  # process 1 dies in step 25 of the first attempt

The script starts itself twice as a worker, `--worker N`. On several machines a scheduler does that part.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback import distributed
from pullback.experimental import multihost_utils

STEPS, PROCESSES, EVERY = 40, 2, 10


def loss(w, x, y):
    return pnp.mean((pnp.tanh(x @ w["hidden"]) @ w["out"] - y) ** 2)


@pb.jit
def step(w, x, y):
    value, slope = pb.value_and_grad(loss)(w, x, y)
    return value, pb.tree.map(lambda a, da: a - 0.1 * da, w, slope)


def batch(i, process):
    """What one process reads in one step: its own examples."""
    rng = np.random.default_rng([i, process])
    x = rng.normal(size=(32, 4)).astype("float32")
    return x, np.sin(x.sum(1, keepdims=True))


def save(path, i, w):
    """Process 0 writes, a file that is there as a whole or not at all; the others wait for it."""
    if pb.process_index() == 0:
        with open(path + ".new", "wb") as file:
            np.savez(file, step=i, **{name: np.asarray(a) for name, a in w.items()})
        os.replace(path + ".new", path)
    multihost_utils.sync_global_devices(f"saved step {i}")


def restore(path):
    """The step to go on from, and the weights: the same everywhere, from process 0."""
    rng = np.random.default_rng(0)
    state = {"step": np.int32(0), "hidden": rng.normal(size=(4, 16)) / 2, "out": rng.normal(size=(16, 1)) / 4}
    if pb.process_index() == 0 and os.path.exists(path):
        with np.load(path) as saved:
            state = {name: saved[name] for name in state}
    state = {name: np.asarray(a, np.int32 if name == "step" else np.float32) for name, a in state.items()}
    state = multihost_utils.broadcast_one_to_all(state)
    return int(state.pop("step")), state


def work(process, address, path, fail):
    # a process that hangs is given up after 10 seconds, one that dies at once
    distributed.initialize(address, PROCESSES, process, initialization_timeout=60, heartbeat_timeout_seconds=10)
    mesh = pb.make_mesh((PROCESSES,), ("data",), devices=[pb.local_devices(p)[0] for p in range(PROCESSES)])
    spread, whole = pb.NamedSharding(mesh, pb.P("data")), pb.NamedSharding(mesh, pb.P())
    first, w = restore(path)
    w = pb.device_put(w, whole)
    value = pnp.nan
    for i in range(first, STEPS):
        if process == 1 and i == fail and first == 0:
            os._exit(9)  # as if the machine had gone
        x, y = pb.make_array_from_process_local_data(spread, batch(i, process))
        value, w = step(w, x, y)  # the gradient is summed over both processes
        if (i + 1) % EVERY == 0:
            save(path, i + 1, w)
    if process == 0:
        print(f"from step {first}: loss {float(value):.6f} after step {STEPS}", flush=True)


def launch(path, fail, attempts=3):
    """Start all workers; if one fails, wait for the others, which hear of it, and start all of them again."""
    for _ in range(attempts):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [sys.executable, __file__, "--address", address, "--path", path, "--fail", str(fail)]
        workers = [subprocess.Popen([*command, "--worker", str(p)]) for p in range(PROCESSES)]
        codes = [worker.wait() for worker in workers]
        print(f"workers ended with {codes}", flush=True)
        if not any(codes):
            return 0
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=int)
    parser.add_argument("--address")
    parser.add_argument("--path", default=os.path.join(tempfile.mkdtemp(), "checkpoint.npz"))
    parser.add_argument("--fail", type=int, default=-1)
    given = parser.parse_args()
    if given.worker is None:
        sys.exit(launch(given.path, given.fail))
    work(given.worker, given.address, given.path, given.fail)
