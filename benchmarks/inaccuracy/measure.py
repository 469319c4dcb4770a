"""One point of one expression: what is reported, and what is so."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np

import pullback as pb
from pullback.debug import LostDigits, find_inaccuracy

from .fpcore import Core
from .truth import Exact, Unknown, bits_between, mp, rounding, run

# the bits of error from which a result is erroneous: Herbie's for float64, a third of the digits of float32
LIMITS = {np.float32: 8, np.float64: 16}
# enough for what numbers of the whole range leave of one another; the second run tells whether it was
DIGITS = {np.float32: (1000, 1600), np.float64: (2400, 3600)}


class Counts:
    """Points; erroneous results, reported ones, both; results, rows and first rows that name an operation to blame."""

    def __init__(self) -> None:
        self.points = self.wrong = self.reported = self.hits = self.named = self.rows = self.right = self.first = 0

    def add(self, other: Counts) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def text(self) -> str:
        def share(part: int, whole: int) -> str:
            return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "none"

        return (
            f"{self.points} points. Of the erroneous results found (recall): {share(self.hits, self.wrong)}; "
            f"of those reported erroneous (precision): {share(self.hits, self.reported)}. An operation to blame is "
            f"named: {share(self.named, self.wrong)}; named operations that are to blame: "
            f"{share(self.right, self.rows)}; the first named is: {share(self.first, self.hits)}."
        )


def point(core: Core, dtype: Any, values: Sequence[Any], counts: dict[str, Counts], shown: bool) -> None:
    """Add a point to the counts, if its exact results are known and are numbers of the dtype."""
    f = core.function(dtype)
    truth = _exact(f, dtype, values)
    if truth is None:
        return
    seen, parts = truth
    limit = LIMITS[dtype]
    report = find_inaccuracy(f, tolerance=2.0**limit * float(np.finfo(dtype).eps) / 2)(*values)
    blamed = seen.blamed(limit)
    for part, results in parts.items():
        exact = [rounding(value, dtype) for _, value in results]
        if not all(map(np.isfinite, exact)):
            continue
        bits = max(bits_between(dtype(got), right) for (got, _), right in zip(results, exact, strict=True))
        wrong = bits > limit
        rows = [row for row in report.rows if any(leaf.startswith(part[:5]) for leaf in row.leaves) or not row.leaves]
        if part == "derivatives":
            rows = [row for row in report.rows if any(leaf.startswith("grad") for leaf in row.leaves) or not row.leaves]
        keys = [_key(row) for row in rows]
        count = counts[part]
        count.points += 1
        count.wrong += wrong
        count.reported += bool(rows)
        count.hits += bool(rows) and wrong
        named = [key in blamed for key in keys]
        if wrong:
            count.named += any(named)
            count.rows += len(rows)
            count.right += sum(named)
            count.first += bool(named) and named[0]
        if shown and (wrong != bool(rows) or (wrong and not any(named))):
            print(f"-- {core.name} {part} at {values}: {bits:.1f} bits, rows {keys}, blamed {blamed}")


def _key(row: LostDigits) -> tuple:
    line = row.forward or row.location
    return row.primitive, line.line if line is not None else 0, row.backward


def _exact(f: Any, dtype: Any, values: Sequence[Any]) -> tuple[Exact, dict[str, list[tuple[Any, Any]]]] | None:
    """The run in exact arithmetic, and what came and is right of value and derivatives; None where it is not known."""
    found = []
    xs = [pb.numpy.asarray(v) for v in values]
    for digits in DIGITS[dtype]:
        mp.prec = digits
        try:
            seen, (value, gradients) = run(dtype, functools.partial(_value_and_gradients, f, xs))
        except (Unknown, OverflowError, ValueError, ZeroDivisionError, MemoryError):
            return None
        exact = [seen.of(out) for out in (value, *gradients)]
        rounded = [rounding(x, dtype) for x in exact]
        found.append(rounded)
        if mpmath.isnan(exact[0]) or not np.isfinite(rounded[0]):
            return None
    if not np.array_equal(found[0], found[1], equal_nan=True):
        return None
    gots = [out.value for out in (value, *gradients)]
    pairs = list(zip(gots, exact, strict=True))
    return seen, {"value": pairs[:1], "derivatives": pairs[1:]}


def _value_and_gradients(f: Any, xs: Sequence[Any]) -> tuple[Any, Any]:
    value, pull = pb.vjp(f, *xs)
    return value, pull(pb.numpy.asarray(value.dtype.type(1)))
