"""Several devices, side by side with JAX: `python benchmarks/devices.py [--rounds N] [--out table.md]`.

Eight virtual devices on one processor. Each library has a process of its own, and the processes take turns; a cell is
the median of the rounds. Collectives are counted in what XLA compiled for four ways to spread a transformer's training
step. First calls, and the time to trace, lower and compile for 512 devices, are measured in fresh processes, without a
cache on disk. With --quick there are fewer rounds, and one of what takes seconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEERS = ("pullback", "JAX")
DEVICES = 8
WIDE = 512
FOLDER = Path(__file__).resolve().parent


def flags(count):
    """The environment of a process with so many virtual devices."""
    no_cache = {f"{name}_ENABLE_COMPILATION_CACHE": "0" for name in ("PULLBACK", "JAX")}
    return {**os.environ, **no_cache, "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}


def mesh_of(core, shape, names):
    """A mesh of the first devices, with automatic axes."""
    import numpy

    count = int(numpy.prod(shape))
    return core.sharding.Mesh(numpy.array(core.devices()[:count]).reshape(shape), names)


def over(core, mesh, *spec):
    """The sharding of a spec over a mesh."""
    return core.sharding.NamedSharding(mesh, core.P(*spec))


# --- ways to spread the transformer: specs of its parameters by name, and of its tokens ---

WHOLE = ()
DATA = {"tokens": ("d",)}
TENSOR = {
    "query": (None, "d"), "key": (None, "d"), "value": (None, "d"), "out": ("d",), "up": (None, "d"),
    "up_bias": ("d",), "down": ("d",), "tokens": (),
}  # fmt: skip
FULL = {
    **dict.fromkeys(("query", "key", "value", "out", "up", "up_bias", "down", "embedding", "head"), ("d",)),
    "tokens": ("d",),
}
COLLECTED = "fully sharded, weights constrained to be whole where they are used"
WAYS = {"data-parallel": (DATA, 4), "tensor-parallel": (TENSOR, 4), "fully sharded": (FULL, 4), COLLECTED: (FULL, 4)}


def spread_step(core, library, way):
    """The training step of the transformer, and its arguments over a mesh."""
    from transformer import data, loss

    specs, count = WAYS[way]
    mesh = mesh_of(core, (count,), ("d",))
    parameters, inputs, targets = data(library.numpy)

    def placed(path, x):
        return core.device_put(x, over(core, mesh, *specs.get(path[-1].key, WHOLE)))

    parameters = core.tree_util.tree_map_with_path(placed, parameters)
    tokens = over(core, mesh, *specs["tokens"])
    kept = core.tree_util.tree_map(lambda x: x.sharding, parameters)

    def objective(parameters, inputs, targets):
        if way == COLLECTED:
            parameters = core.lax.with_sharding_constraint(
                parameters, core.tree_util.tree_map(lambda _: over(core, mesh), parameters)
            )
        return loss(library.numpy, library.nn, parameters, inputs, targets)

    def descend(parameters, inputs, targets):
        value, slopes = core.value_and_grad(objective)(parameters, inputs, targets)
        return value, core.tree_util.tree_map(lambda p, g: p - 0.01 * g, parameters, slopes)

    compiled = core.jit(descend, out_shardings=(over(core, mesh), kept))
    return compiled, (parameters, core.device_put(inputs, tokens), core.device_put(targets, tokens))


# --- what a process measures ---


def samples(peer):
    """Functions that measure one thing each, in seconds, by the row's name."""
    import numpy
    from peers import load

    library = load(peer)
    core = library.core
    mesh = mesh_of(core, (2, 4), ("a", "b"))
    x = core.device_put(numpy.ones((64, 64), "float32"), over(core, mesh, "a", "b"))
    rows = {}

    def timed(call, times):
        core.block_until_ready(call())

        def sample():
            begin = time.perf_counter()
            for _ in range(times):
                core.block_until_ready(call())
            return (time.perf_counter() - begin) / times

        return sample

    small = core.jit(lambda p, x: {k: v - 0.1 * v * x for k, v in p.items()})
    tree = {f"w{i}": x + i for i in range(20)}
    rows["warm call, 20 leaves"] = timed(lambda: small(tree, x), 50)
    step, arguments = spread_step(core, library, "data-parallel")
    rows["warm call, data-parallel training step over 4"] = timed(lambda: step(*arguments), 5)
    place = over(core, mesh, "a", "b")
    for count in (1, 100):
        leaves = [numpy.full((64, 64), i, "float32") for i in range(count)]
        rows[f"device_put, {count} leaves"] = timed(
            lambda leaves=leaves: core.device_put(leaves, place), 20 if count == 1 else 3
        )
    return rows


def first_call(peer):
    """The time of the first call of the training step, with its compilation."""
    from peers import load

    library = load(peer)
    step, arguments = spread_step(library.core, library, "tensor-parallel")
    begin = time.perf_counter()
    library.core.block_until_ready(step(*arguments))
    return {"first call, tensor-parallel training step over 4": time.perf_counter() - begin}


def exchanged(peer):
    """The collectives of the training step, by the way in which it is spread."""
    from peers import load

    from pullback._api.collective_counts import collectives_in

    library = load(peer)
    found = {}
    for way in WAYS:
        step, arguments = spread_step(library.core, library, way)
        text = step.lower(*arguments).compile().as_text()
        found[way] = {kind: list(use) for kind, use in collectives_in(text).items()}
    return found


def wide(peer):
    """The times to trace and lower, and to compile, the tensor-parallel step for many devices."""
    from peers import load

    library = load(peer)
    core = library.core
    begin = time.perf_counter()
    mesh = mesh_of(core, (WIDE // 8, 8), ("data", "model"))

    def f(w1, w2, x):
        return ((library.nn.gelu(x @ w1) @ w2 - x) ** 2).mean()

    def descend(w1, w2, x):
        slopes = core.grad(f, argnums=(0, 1))(w1, w2, x)
        return w1 - slopes[0], w2 - slopes[1]

    shapes = [((1024, 4096), (None, "model")), ((4096, 1024), ("model",)), ((WIDE * 4, 1024), ("data",))]
    structs = [core.ShapeDtypeStruct(s, "float32", sharding=over(core, mesh, *spec)) for s, spec in shapes]
    lowered = core.jit(descend).lower(*structs)
    middle = time.perf_counter()
    lowered.compile()
    end = time.perf_counter()
    return {
        f"trace and lower for {WIDE} devices": middle - begin,
        f"compile for {WIDE} devices": end - middle,
        f"trace, lower and compile for {WIDE} devices": end - begin,
    }


def worker(task, peer):
    """Answer each line of the input with one measurement."""
    replies, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, str(FOLDER))
    rows = samples(peer) if task == "samples" else None
    for _ in sys.stdin:
        result = {name: sample() for name, sample in rows.items()} if rows else globals()[task](peer)
        print(json.dumps(result), file=replies, flush=True)


# --- the run ---


def started(task, peer, count=DEVICES):
    command = [sys.executable, __file__, "--worker", task, peer]
    return subprocess.Popen(command, env=flags(count), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def asked(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def once(task, peer, count=DEVICES):
    process = started(task, peer, count)
    try:
        return asked(process)
    finally:
        process.stdin.close()
        process.wait()


def medians(results):
    return {row: statistics.median(r[row] for r in results) for row in results[0]}


def written(seconds):
    return (
        f"{seconds * 1e6:.0f} µs"
        if seconds < 1e-3
        else f"{seconds * 1e3:.1f} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def measure(rounds, repeats):
    """The lines of both tables, with so many repeats of what is measured in fresh processes."""
    workers = {peer: started("samples", peer) for peer in PEERS}
    collected = {peer: [] for peer in PEERS}
    for i in range(rounds):
        for peer in PEERS[:: 1 if i % 2 else -1]:
            collected[peer].append(asked(workers[peer]))
    for process in workers.values():
        process.stdin.close()
        process.wait()
    times = {peer: medians(collected[peer]) for peer in PEERS}
    for task, count in (("first_call", DEVICES), ("wide", WIDE)):
        fresh = {peer: [] for peer in PEERS}
        for _ in range(repeats):
            for peer in PEERS:
                fresh[peer].append(once(task, peer, count))
        for peer in PEERS:
            times[peer] |= medians(fresh[peer])
    lines = ["| | pullback | JAX | JAX's time ÷ ours |", "|---|---|---|---|"]
    for row, ours in times["pullback"].items():
        theirs = times["JAX"][row]
        lines.append(f"| {row} | {written(ours)} | {written(theirs)} | {theirs / ours:.2f} |")
    lines += ["", "| training step over 4 devices | pullback | JAX |", "|---|---|---|"]
    found = {peer: once("exchanged", peer) for peer in PEERS}
    for way in WAYS:
        cells = [
            ", ".join(f"{n} {kind} ({size:,} bytes)" for kind, (n, size) in found[peer][way].items()) or "none"
            for peer in PEERS
        ]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("--worker", nargs=2)
    chosen = parser.parse_args()
    if chosen.worker:
        return worker(*chosen.worker)
    text = "\n".join(measure(*(5, 1) if chosen.quick else (chosen.rounds, 3))) + "\n"
    print(text)
    if chosen.out:
        Path(chosen.out).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
