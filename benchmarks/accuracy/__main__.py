"""Compare elementwise functions and their derivatives with exact values, beside JAX and PyTorch.

    make accuracy                                        the whole table, into docs/accuracy.md
    make accuracy ARGS="nn.softplus special.erf*"        the lines of some functions, printed
    python -m benchmarks.accuracy [NAME ...] [--out FILE] [--dtype float32] [--order 1] [--columns eager,compiled]
                                  [--worst] [--list]

A NAME is a function such as numpy.expm1, or a pattern with * or ?; what stands after the name in the table, as in
"nn.gelu tanh", may be left out. With --worst a line says what came and what is right at its worst point. A function is
added by a line in elementwise.py, special.py or stats.py.
"""

import argparse
import fnmatch
import os
import sys
from pathlib import Path

# libraries are compared with their default options
os.environ["XLA_FLAGS"] = ""
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from . import report
from .compare import Line, lines
from .elementwise import COMPLEX, NN, NUMPY
from .libraries import COLUMNS
from .special import SPECIAL
from .stats import STATS

TABLE = [*NUMPY, *NN, *SPECIAL, *STATS, *COMPLEX]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtype", action="append")
    parser.add_argument("--order", action="append", type=int)
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    chosen = [f for f in TABLE if not args.names or any(
        fnmatch.fnmatch(f.name, name) or fnmatch.fnmatch(f.name.split(" ")[0], name) for name in args.names)]
    if args.list or not chosen:
        print("\n".join(f.name for f in TABLE))
        return
    found: list[Line] = []
    for i, function in enumerate(chosen):
        print(f"{i + 1}/{len(chosen)} {function.name}", file=sys.stderr, flush=True)
        for line in lines(function, args.dtype or ("float32", "float64"), args.order or (0, 1, 2),
                          args.columns.split(",")):
            found.append(line)
            if not args.out:
                print(_short(line, args.worst), flush=True)
    if args.out:
        args.out.write_text(report.page(found))


def _short(line: Line, worst: bool) -> str:
    mark = " " if line.good else "!"
    text = f"{mark} {line.name:24} {line.dtype[-2:]} {line.order} "
    text += "  ".join(f"{name}: {'-' if cell is None else f'{cell.worst:.3g}'}"
                      + (f" (lost {cell.lost})" if cell and cell.lost else "") for name, cell in line.cells.items())
    if worst:
        for name, cell in line.cells.items():
            if cell is not None and cell.worst > line.limit:
                text += (f"\n      {name}: {cell.worst:.3g} by argument {cell.argument} at {cell.where}: "
                         f"{cell.got!r}, right {cell.true!r}")
    return text


main()
