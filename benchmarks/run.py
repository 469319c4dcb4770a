"""Measure every figure for pullback and its peers in one run, and print one Markdown table.

    python benchmarks/run.py [--out table.md] [FIGURE ...]

Each library has a process of its own. The processes take turns: in each round every library gives one sample,
in alternating order, so that what the machine does meanwhile falls on all of them alike. A cell is the median
of the rounds, with the quartiles behind it. Figures of a first call start fresh processes for each sample. A figure
is in seconds unless its module names another UNIT; one that is the same each time has one round.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from peers import PACKAGES, version

FIGURES = (
    "eager_grad",
    "first_grad",
    "first_transformer_grad",
    "lowering",
    "jit_call",
    "compiled_step",
    "first_compiled_step",
    "first_tiered_step",
    "chain",
    "eager_arrays",
    "eager_mlp",
    "eager_memory",
    "rule_overhead",
    "eager_rules",
    "primitive_class",
    "scan_rule",
    "fixed_point",
    "checkpoint_time",
    "memory",
    "nested_call",
    "odeint",
    "likelihood",
    "many_leaves",
    "carried_leaves",
    "kept_memory",
    "embedding",
    "microbatches",
    "quantised",
    "export",
    "export_size",
    "processes",
)
OURS = "pullback"
# Sizes from the largest down, by the figure's UNIT; what is below the last is written in it.
UNITS = {
    "seconds": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)),
    "bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)),
}


class Worker:
    """A process that samples one figure for one library (see worker.py)."""

    def __init__(self, figure: str, peer: str):
        script = Path(__file__).with_name("worker.py")
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "1"}
        environment.setdefault("PULLBACK_ENABLE_COMPILATION_CACHE", "0")  # first results are to include compilations
        self.process = subprocess.Popen(
            [sys.executable, str(script), figure, peer],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.name = f"{figure} for {peer}"
        self.answer()

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the process ended ({self.process.wait()}), see its error above")
        return line

    def sample(self) -> dict[str, float]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.answer())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def print_table(name: str, module, rounds: int, table, out: Path | None) -> None:
    """Measure the figure that a program itself is, whose parts take `rounds` samples in all, and print its table."""
    module.ROUNDS = rounds
    sys.modules[name] = module
    samples, failed = measure(name)
    text = "\n".join([*table(samples), *(f"{peer} failed" for peer in failed)]) + "\n"
    print(text, end="")
    if out:
        out.write_text(text, encoding="utf-8")


def measure(name: str) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """All samples of a figure, {row: {library: values}}, and the libraries that failed."""
    figure = importlib.import_module(name)
    samples: dict[str, dict[str, list[float]]] = {}
    workers: dict[str, Worker] = {}
    failed: list[str] = []
    for round_number in range(figure.ROUNDS):
        for peer in figure.PEERS if round_number % 2 == 0 else reversed(figure.PEERS):
            if peer in failed:
                continue
            try:
                if peer not in workers:
                    workers[peer] = Worker(name, peer)
                for row, value in workers[peer].sample().items():
                    samples.setdefault(row, {}).setdefault(peer, []).append(value)
            except (RuntimeError, BrokenPipeError) as error:
                print(f"run.py: {error}", file=sys.stderr)
                failed.append(peer)
                continue
            if figure.FRESH:
                workers.pop(peer).close()
    for worker in workers.values():
        worker.close()
    return samples, failed


def human(value: float, unit: str) -> str:
    symbol, size = next((pair for pair in UNITS[unit] if value >= pair[1]), UNITS[unit][-1])
    return f"{float(f'{value / size:.3g}'):g} {symbol}"


def cell(values: list[float] | None, unit: str) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return human(values[0], unit)
    low, middle, high = (human(q, unit) for q in statistics.quantiles(values, n=4, method="inclusive"))
    return f"{middle} ({low} to {high})"


def ratio(values: dict[str, list[float]], peer: str) -> str:
    if OURS not in values or peer not in values:
        return "-"
    return f"{statistics.median(values[peer]) / statistics.median(values[OURS]):.3g} ×"


def rows_of(name: str) -> tuple[list[str], bool]:
    """The figure's rows of the table, and whether every library gave them."""
    samples, failed = measure(name)
    figure = importlib.import_module(name)
    unit = getattr(figure, "UNIT", "seconds")
    lines = []
    for row, values in samples.items():
        goal = f"≤ {human(figure.GOALS[row], unit)}" if row in figure.GOALS else "-"
        cells = [
            row,
            *(cell(values.get(peer), unit) for peer in PACKAGES),
            goal,
            *(ratio(values, peer) for peer in PACKAGES if peer != OURS),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {name}: {peer} failed |" + " |" * (2 * len(PACKAGES)) for peer in failed]
    return lines, not failed


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmarks of pullback beside its peers.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(FIGURES)} (default: all)")
    parser.add_argument("--out", type=Path, help="write the table to this file, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")

    titles = [f"{peer} {version(peer)}" for peer in PACKAGES]
    ratios = [f"{peer} / {OURS}" for peer in PACKAGES if peer != OURS]
    header = ["figure", *titles, "goal", *ratios]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    good, start = True, time.perf_counter()
    for name in arguments.figures or FIGURES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows, all_there = rows_of(name)
        lines += rows
        good &= all_there
    lines += [
        "",
        f"Medians (quartiles), {time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, "
        f"jaxlib {importlib.metadata.version('jaxlib')}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} CPUs, CPU only; the whole run took {time.perf_counter() - start:.0f} s.",
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    sys.exit(not good)


if __name__ == "__main__":
    main()
