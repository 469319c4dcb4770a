"""How often `debug.find_inaccuracy` finds lost digits, and names the operation to blame, on FPBench's expressions.

    python -m benchmarks.inaccuracy FOLDER [--points 100] [--dtype float32] [--seed 0] [--name "NMSE p42"] [--misses]

FOLDER has the files *.fpcore of FPBench (https://fpbench.org). Each expression, and its derivatives, is evaluated at
points drawn as Herbie draws them, and the reports are compared with exact arithmetic: `truth.py` says how. Prints the
table of docs/inaccuracy.md.
"""

import argparse
import os
from pathlib import Path

os.environ["XLA_FLAGS"] = ""

import numpy as np

import pullback as pb

from . import fpcore, measure


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inaccuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="")
    parser.add_argument("--misses", action="store_true")
    options = parser.parse_args()
    pb.config.update("enable_x64", options.dtype == "float64")
    dtype = np.dtype(options.dtype).type
    total = {"value": measure.Counts(), "derivatives": measure.Counts()}
    print("| expression | points | wrong values | found | named | wrong derivatives | found | named |")
    print("|---|---|---|---|---|---|---|---|")
    for number, core in enumerate(fpcore.read(options.folder)):
        if options.name not in core.name:
            continue
        rng = np.random.default_rng([options.seed, number])
        counts = {"value": measure.Counts(), "derivatives": measure.Counts()}
        for values in fpcore.sample(core, dtype, options.points, rng):
            measure.point(core, dtype, values, counts, options.misses)
        cells = [cell for part in counts.values() for cell in (part.wrong, part.hits, part.named)]
        print(f"| {core.name} | {counts['value'].points} |", " | ".join(map(str, cells)), "|", flush=True)
        for part, sums in total.items():
            sums.add(counts[part])
    for part, sums in total.items():
        print(f"\n{part}: {sums.text()}")


main()
