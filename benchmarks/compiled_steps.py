"""Compiled steps of users' programs beside JAX, run time: one Markdown table.

    python benchmarks/compiled_steps.py [--rounds 5] [--out table.md] [WORD ...]

Each library has a process of its own, and they take turns, program by program (see run.py). Compilation and two runs
come before the first sample. A sample is the shortest of the runs that fit into 0.1 s; a cell the median of the rounds
with the quartiles behind it.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import run
from peers import load
from programs import PROGRAMS, STEPS

PEERS = ("pullback", "JAX")
FRESH = False
CHOSEN, TIMES = "COMPILED_STEPS", "COMPILED_STEPS_ROUNDS"
# they are there for their compilation
NOT_RUN = ("a transformer of 48 layers in a Python loop", "1,500 unrolled steps")


def chosen():
    """The programs that the environment asks for, by words in their names."""
    words = [word for word in os.environ.get(CHOSEN, "").split("\n") if word]
    names = [name for name in {**PROGRAMS, **STEPS} if name not in NOT_RUN]
    return [name for name in names if not words or any(word in name for word in words)]


def rounds():
    return int(os.environ.get(TIMES, "5"))


def runner(peer, name):
    """A function that runs the compiled program once to its end."""
    library = load(peer)
    library.peer = peer
    core = library.core
    function, arguments = {**PROGRAMS, **STEPS}[name](library)
    program, arguments = core.jit(function), core.block_until_ready(arguments)

    def run_once():
        core.block_until_ready(program(*arguments))

    run_once()
    run_once()
    return run_once


def shortest(run_once, seconds=0.1):
    """The shortest of the runs that fit into the time: what else the machine does only adds to it."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run_once()
        times.append(time.perf_counter() - start)
    return min(times)


def prepare(peer):
    """A sampler for run.py: it measures program after program, each as often as there are rounds."""
    turns = iter([(name, i) for name in chosen() for i in range(rounds())])
    current = SimpleNamespace(run=None)

    def sample():
        name, turn = next(turns)
        if turn == 0:
            current.run = runner(peer, name)
        return {name: shortest(current.run)}

    return sample


def table(samples):
    """The lines of the table."""
    yield "| program | pullback | JAX | JAX ÷ ours |"
    yield "|---|---|---|---|"
    ratios = []
    for name, values in samples.items():
        cells = [run.cell(values.get(peer), "seconds") for peer in PEERS]
        if all(peer in values for peer in PEERS):
            ratios.append(statistics.median(values["JAX"]) / statistics.median(values["pullback"]))
            cells.append(f"{ratios[-1]:.2f}")
        yield "| " + " | ".join([name, *cells]) + " |"
    if ratios:
        yield f"\nGeometric mean of {len(ratios)} programs: {statistics.geometric_mean(ratios):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="words in the programs wanted (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    options = parser.parse_args()
    os.environ.update({CHOSEN: "\n".join(options.words), TIMES: str(options.rounds)})
    run.print_table("compiled_steps", sys.modules[__name__], len(chosen()) * options.rounds, table, options.out)


ROUNDS = 0

if __name__ == "__main__":
    main()
