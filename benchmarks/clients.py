"""Programs of libraries written for JAX (`clients/problems`), on JAX and on pullback, in fresh processes by turns.

python benchmarks/clients.py [--rounds 3] [--out FILE] [LIBRARY ...]

Of each library: its import, all its problems run for the first time (traced, compiled, computed), and once more in the
same process; and the whole process, with the start of Python. `eager` as a library is the programs of
`eager_programs.py`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBLEMS = ROOT / "clients" / "problems"
# in the place of a library: programs of small operations without jit (`eager_programs.py`)
EAGER = "eager"
PEERS = {"pullback": ["-m", "pullback.as_jax"], "JAX": []}
FIGURES = {"process": "whole process", "import": "import", "first": "first run", "again": "second run"}


def worker(library):
    """Print the seconds of the import, and of the first and second runs of the problems that do not fail."""
    sys.path[:0] = [str(ROOT / "clients"), str(ROOT / "benchmarks")]
    path = "eager_programs" if library == EAGER else f"problems.{library}_problems"
    start = time.perf_counter()
    module = __import__(path, fromlist=["problems"])
    seconds = {"import": time.perf_counter() - start, "first": {}, "again": {}}
    from run import numbers

    for name, problem in vars(module).items():
        if name.startswith("_") or getattr(problem, "__module__", None) != module.__name__ or not callable(problem):
            continue
        try:
            for figure in ("first", "again"):
                start = time.perf_counter()
                numbers(problem())
                seconds[figure][name] = time.perf_counter() - start
        except Exception as error:
            print(f"{library}: {name}: {error}", file=sys.stderr)
            seconds["first"].pop(name, None)
    print(json.dumps(seconds))


def once(peer, library):
    """The seconds of one fresh process."""
    environment = {
        **os.environ,
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "PULLBACK_ENABLE_COMPILATION_CACHE": "0",
    }
    command = [sys.executable, "-W", "ignore", *PEERS[peer], __file__, "--worker", library]
    start = time.perf_counter()
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - start
    return {"process": seconds, **json.loads(process.stdout.splitlines()[-1])}


def measured(library, rounds):
    """Figure -> the seconds of each peer: medians, of the problems that both run."""
    samples = {peer: [] for peer in PEERS}
    for i in range(rounds):
        for peer in list(PEERS)[:: 1 if i % 2 else -1]:
            samples[peer].append(once(peer, library))
    shared = set.intersection(*(set(sample["again"]) for found in samples.values() for sample in found))
    totals = {
        peer: [
            {key: sum(x[name] for name in shared) if isinstance(x, dict) else x for key, x in sample.items()}
            for sample in found
        ]
        for peer, found in samples.items()
    }
    return {
        figure: {peer: statistics.median(sample[figure] for sample in totals[peer]) for peer in PEERS}
        for figure in FIGURES
    }


def main():
    """Print the table, a line for each library."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("libraries", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out")
    parser.add_argument("--worker")
    chosen = parser.parse_args()
    if chosen.worker:
        return worker(chosen.worker)
    libraries = chosen.libraries or sorted(path.stem.removesuffix("_problems") for path in PROBLEMS.glob("*.py"))
    lines = [f"| JAX's time ÷ ours | {' | '.join(FIGURES.values())} |", "|---" * (len(FIGURES) + 1) + "|"]
    for library in libraries:
        try:
            found = measured(library, chosen.rounds)
        except subprocess.CalledProcessError as error:
            print(f"{library}: {error}", file=sys.stderr)
            continue
        cells = [f"{s['JAX'] / s['pullback']:.2f} ({s['JAX']:.2f} s / {s['pullback']:.2f} s)" for s in found.values()]
        lines.append(f"| {library} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if chosen.out:
        Path(chosen.out).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
