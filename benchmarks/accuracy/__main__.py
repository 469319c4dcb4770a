"""Compare elementwise functions and their derivatives with exact values, beside JAX and PyTorch.

    make accuracy                                        the whole table, into docs/accuracy.md
    make accuracy ARGS="nn.softplus special.erf*"        the lines of some functions, printed
    python -m benchmarks.accuracy [NAME ...] [--out FILE] [--lines FILE] [--dtype float32] [--order 1]
                                  [--columns eager,compiled] [--worst] [--list]

A NAME is a function such as numpy.expm1, or a pattern with * or ?; what stands after the name in the table, as in
"nn.gelu tanh", may be left out. With --worst a line says what came and what is right at its worst point. With --lines
the lines of functions that the file has are taken from it, and others are measured and appended to it: a page can be
printed from several runs. A function is added by a line in elementwise.py, special.py, integrals.py,
stats.py, counts.py or vectors.py; why a line misses
its goal, if that is to stay, is said in reasons.py.
"""

import argparse
import fnmatch
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# libraries are compared with their default options
os.environ["XLA_FLAGS"] = ""
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from . import kept, report
from .compare import Line, lines
from .function import Function
from .libraries import COLUMNS
from .table import TABLE


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--lines", type=Path)
    parser.add_argument("--dtype", action="append")
    parser.add_argument("--order", action="append", type=int)
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    chosen = [
        f
        for f in TABLE
        if not args.names
        or any(fnmatch.fnmatch(f.name, name) or fnmatch.fnmatch(f.name.split(" ")[0], name) for name in args.names)
    ]
    if args.list or not chosen:
        print("\n".join(f.name for f in TABLE))
        return
    dtypes, orders, columns = args.dtype or ("float32", "float64"), args.order or (0, 1, 2), args.columns.split(",")
    earlier = kept.read(args.lines)
    found: list[Line] = []
    for i, function in enumerate(chosen):
        print(f"{i + 1}/{len(chosen)} {function.name}", file=sys.stderr, flush=True)
        of_function = _kept(function, dtypes, orders, columns, earlier)
        if of_function is None:
            of_function = list(lines(function, dtypes, orders, columns))
            if args.lines:
                kept.append(args.lines, of_function)
        found += of_function
        if not args.out:
            print("\n".join(_short(line, args.worst) for line in of_function), flush=True)
    if args.out:
        args.out.write_text(report.page(found))


def _kept(
    function: Function, dtypes: Iterable[str], orders: Iterable[int], columns: list[str], earlier: dict[kept.Key, Line]
) -> list[Line] | None:
    """The lines of a function if all of them were kept, with these columns."""
    found = [
        earlier.get((function.name, dtype, order))
        for dtype in dtypes
        if dtype in function.dtypes
        for order in orders
        if order in function.orders
    ]
    complete = [line for line in found if line is not None and list(line.cells) == columns]
    return complete if len(complete) == len(found) else None


def _short(line: Line, worst: bool) -> str:
    mark = " " if line.good else "!"
    text = f"{mark} {line.name:24} {line.dtype[-2:]} {line.order} "
    text += "  ".join(
        f"{name}: {'-' if cell is None else f'{cell.worst:.3g}'}"
        + (f" (lost {cell.lost})" if cell and cell.lost else "")
        for name, cell in line.cells.items()
    )
    if worst:
        for name, cell in line.cells.items():
            if cell is not None and cell.worst > line.limit:
                text += (
                    f"\n      {name}: {cell.worst:.3g} by argument {cell.argument} at {cell.where}: "
                    f"{cell.got!r}, right {cell.true!r}"
                )
    return text


main()
