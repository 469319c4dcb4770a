"""First results of compiled programs, pullback's beside JAX's: one Markdown table.

    python benchmarks/first_compiled.py [--rounds 3] [--out table.md] [ROW ...]

Every sample is a process of its own, without a cache on disk; the libraries take turns, in alternating order. The clock
starts when the library is imported, the data are there and the engine has compiled one operation, and stops with the
first result: tracing, differentiating, lowering, compiling, running. A cell is the median of the processor's time, in
all threads, and that of wall-clock time behind it. Ratios are of the former, which other work on the machine disturbs
less. The row of imports is the time of whole processes, beside that of one which imports NumPy and jaxlib alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

OURS, PEERS = "pullback", ("pullback", "JAX")
OPERATIONS = 50_000
# JAX needs minutes for some: one round of these
LONG = ("48 layers", "50,000", "10,000")


class Clock:
    """Wall-clock and processor time since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self):
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


# --- what is measured: each gets a library and returns what is timed, or None if it has been timed already ---


def first_result(make):
    def prepare(library):
        core = library.core
        function, arguments = make(library)
        core.block_until_ready(arguments)
        return lambda: core.block_until_ready(core.jit(function)(*arguments))

    return prepare


def chain(library):
    np = library.numpy

    def run(x):
        for _ in range(OPERATIONS // 2):
            x = np.sin(x) * 1.01
        return x

    return run


def traced(library):
    return lambda: library.core.make_jaxpr(chain(library))(0.5)


def differentiated(library):
    return lambda: library.core.make_jaxpr(library.core.grad(chain(library)))(0.5)


def lowered(library):
    return lambda: library.core.jit(library.core.grad(chain(library))).lower(0.5).as_text()


def leaves(count):
    def prepare(library):
        np, core = library.numpy, library.core
        xs = core.block_until_ready([np.asarray(float(i)) for i in range(count)])
        return lambda: core.block_until_ready(core.jit(lambda xs: [x + 1 for x in xs])(xs))

    return prepare


def measures():
    """{row: what is measured}."""
    from programs import PROGRAMS

    return {
        **{f"first `value_and_grad` of {name}": first_result(make) for name, make in PROGRAMS.items()},
        "tracing 50,000 operations": traced,
        "tracing and differentiating 50,000 operations": differentiated,
        "tracing, differentiating and lowering 50,000 operations": lowered,
        "first `jit` of 3,000 leaves": leaves(3_000),
        "first `jit` of 10,000 leaves": leaves(10_000),
    }


def sample(peer, row):
    """One sample, in this process: (wall-clock time, processor time)."""
    from peers import load

    sys.setrecursionlimit(10**6)
    library = load(peer)
    library.peer = peer
    run = measures()[row](library)
    library.core.block_until_ready(library.core.jit(lambda x: x + 2)(library.numpy.ones(())))
    clock = Clock()
    run()
    return clock.read()


# --- the import and the first eager gradient ---

IMPORT = "import and first eager gradient"
PROGRAM_OF = {
    "the floor": "import numpy, jaxlib.xla_client",
    "pullback": "import pullback as p, pullback.numpy as np; float(p.grad(lambda x: np.log1p(np.exp(x)))(3.))",
    "JAX": "import jax as p, jax.numpy as np; float(p.grad(lambda x: np.log1p(np.exp(x)))(3.))",
}


def whole_process(program):
    """(wall-clock time, processor time) of a process that runs a line of Python."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())
    wall, after = time.perf_counter() - start, os.times()
    return wall, sum(after[2:4]) - sum(before[2:4])


# --- the table ---


def environment():
    # imports find bytecode, as those of an installed package do
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "PULLBACK_ENABLE_COMPILATION_CACHE": "0",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }


def in_turns(names, rounds, take):
    """{name: medians of wall-clock and processor time}."""
    samples = {name: [] for name in names}
    for i in range(rounds):
        for name in names if i % 2 == 0 else reversed(names):
            samples[name].append(take(name))
    return {name: [statistics.median(x) for x in zip(*taken, strict=True)] for name, taken in samples.items()}


def fresh(row):
    def take(peer):
        command = [sys.executable, __file__, "--sample", peer, row]
        done = subprocess.run(command, check=True, env=environment(), stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    return take


def cell(wall, cpu):
    return f"{cpu:.3g} s ({wall:.3g} s)"


def table(rows, rounds):
    """The lines of the table, as they are measured."""
    yield "| figure: processor time (wall-clock time) | pullback | JAX 0.10.2 | JAX / pullback |\n|---|---|---|---|"
    for row in rows:
        some = 1 if any(word in row for word in LONG) else rounds
        if row == IMPORT:
            in_turns(list(PROGRAM_OF), 1, lambda name: whole_process(PROGRAM_OF[name]))
            times = in_turns(list(PROGRAM_OF), 2 * rounds + 1, lambda name: whole_process(PROGRAM_OF[name]))
            over = times["pullback"][1] / times["the floor"][1]
            row = f"{row}: {over:.3g} × the import of NumPy and jaxlib ({cell(*times['the floor'])})"
        else:
            times = in_turns(PEERS, some, fresh(row))
        ours, theirs = times[OURS], times["JAX"]
        yield f"| {row} | {cell(*ours)} | {cell(*theirs)} | {theirs[1] / ours[1]:.3g} × |"


def main():
    parser = argparse.ArgumentParser(description="First results of compiled programs.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="words that are in the rows wanted (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    parser.add_argument("--sample", nargs=2, metavar=("LIBRARY", "ROW"), help="one sample, in this process")
    options = parser.parse_args()
    if options.sample:
        print(json.dumps(sample(*options.sample)))
        return
    rows = [row for row in (*measures(), IMPORT) if not options.rows or any(word in row for word in options.rows)]
    rows.sort(key=lambda row: any(word in row for word in LONG))
    lines = []
    for line in table(rows, options.rounds):
        print(line, flush=True)
        lines.append(line)
        if options.out:
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
