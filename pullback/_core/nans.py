"""The search for NaNs: the operation that produced one, and its operands.

While `debug_nans` is on, the evaluator reports the operands and results of every operation. The first NaN raises, or,
inside `find_nan`, is recorded and the run continues. A `Watcher` takes the place of the search.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pullback._core import dtypes
from pullback._core.config import config, nans_were_debugged
from pullback._core.errors import Location
from pullback._core.origins import Origin, origin_here
from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue


@dataclass
class Birth:
    """A NaN (or an infinity) in the result of an operation.

    `made` is False if an operand already had one that no earlier operation had produced. `result` and `operands`
    describe the arrays in words; `index` is the first index in the result, `count` the number of entries.
    """

    kind: str
    primitive: str
    made: bool
    result: str
    operands: list[str]
    index: tuple[int, ...]
    count: int
    origin: Origin

    @property
    def location(self) -> Location | None:
        """The user's line that applied the operation."""
        return self.origin.location

    @property
    def forward(self) -> Location | None:
        """The line whose derivative the operation belongs to, if it is known; only in a backward pass."""
        return self.origin.forward

    @property
    def backward(self) -> bool:
        """True if the operation belongs to a backward pass."""
        return self.origin.backward

    @property
    def rule(self) -> str | None:
        """The custom rule that the operation belongs to, with the location of its definition."""
        return self.origin.rule

    @property
    def steps(self) -> list[str]:
        """The steps of the loops that the operation ran in, innermost first."""
        return self.origin.steps

    @property
    def headline(self) -> str:
        """The sentence that names the operation."""
        if self.made:
            return f"'{self.primitive}' made {_A[self.kind]}"
        return f"'{self.primitive}' was given {_A[self.kind]} that no operation made, and passed it on"

    @property
    def details(self) -> list[str]:
        """The origin, the result and the operands, one line each."""
        return [
            *self.origin.lines(),
            f"result: {self.result}",
            *(f"operand {i}: {operand}" for i, operand in enumerate(self.operands)),
        ]

    def __str__(self) -> str:
        return "\n".join([self.headline, *("  " + line for line in self.details)])


_A = {"nan": "a nan", "inf": "an inf"}
_TESTS: dict[str, Callable] = {"nan": np.isnan, "inf": np.isinf}


class Watcher(Protocol):
    """Who looks at every operation that runs under `watching`."""

    def announced(self, primitive: Primitive) -> None:
        """Look at a primitive that holds functions or has an effect, before it runs."""

    def observed(self, primitive: Primitive, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
        """Look at an operation that has run: its operands and results, concrete arrays."""


class _Search(threading.local):
    """This thread's response to NaNs: append to `births`, or raise if that is None. `infs`: find infinities too.

    A `watcher` looks at all operations in place of the search.
    """

    births: list[Birth] | None = None
    infs = False
    watcher: Watcher | None = None


_search = _Search()
_MANY = 16


@contextmanager
def recording(infs: bool) -> Iterator[list[Birth]]:
    """Record NaNs in a list, instead of raising, while the context lasts."""
    outer = _search.births, _search.infs
    births: list[Birth] = []
    _search.births, _search.infs = births, infs
    try:
        yield births
    finally:
        _search.births, _search.infs = outer


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Show each operation to the watcher, instead of searching it for NaNs, while the context lasts."""
    outer = _search.watcher
    _search.watcher = watcher
    try:
        yield
    finally:
        _search.watcher = outer


def is_watched() -> bool:
    """Return whether someone follows every value: then none may pass from one array to another but by an operation."""
    return nans_were_debugged[0] and _search.watcher is not None


def announce(primitive: Primitive) -> None:
    """Tell the watcher, if there is one, which primitive will run."""
    if _search.watcher is not None:
        _search.watcher.announced(primitive)


def find(kind: str, value: AnyValue) -> np.ndarray | None:
    """A mask of the NaNs (or infinities) in a value; None if there are none."""
    value = np.asarray(value)
    if not dtypes.is_inexact(value.dtype):
        return None
    mask = _TESTS[kind](value)
    return mask if mask.any() else None


def inspect_operation(primitive: Any, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
    """Search the results of an operation for NaNs, or show it to the watcher; `args` and `outs` are concrete arrays."""
    if _search.watcher is not None:
        _search.watcher.observed(primitive, args, outs, params)
        return
    operands, results = [a.value for a in args], [out.value for out in outs]
    recorded = _search.births is not None
    for kind, wanted in (("nan", recorded or config.debug_nans), ("inf", _search.infs or config.debug_infs)):
        if not wanted:
            continue
        for result in results:
            mask = find(kind, result)
            if mask is not None:
                _report(kind, primitive, operands, np.asarray(result), mask)
                return


def _report(kind: str, primitive: Primitive, operands: Sequence[Any], result: np.ndarray, mask: np.ndarray) -> None:
    births = _search.births
    given = any(find(k, x) is not None for x in operands for k in ("nan", kind))
    if births is not None and (len(births) >= _MANY or (given and births)):
        return
    index = tuple(int(i) for i in np.argwhere(mask)[0])
    descriptions = [
        describe_value(x, index if x.shape == result.shape else () if x.ndim == 0 else None)
        for x in map(np.asarray, operands)
    ]
    birth = Birth(
        kind,
        primitive.name,
        not given,
        describe_value(result, None),
        descriptions,
        index,
        int(mask.sum()),
        origin_here(sys._getframe(2)),
    )
    if births is None:
        error = FloatingPointError(f"{birth.headline} (debug_{kind}s is on)")
        error.add_note("\n".join(birth.details))
        raise error
    if not any(_same_place(birth, other) for other in births):
        births.append(birth)


def _same_place(a: Birth, b: Birth) -> bool:
    return (a.primitive, a.kind, a.location, a.forward, a.rule) == (b.primitive, b.kind, b.location, b.forward, b.rule)


def describe_value(value: np.ndarray, there: tuple[int, ...] | None) -> str:
    """The type of a value, a count of non-finite entries, and its entry at the index `there`, unless that is None."""
    text = f"{value.dtype.name}[{','.join(map(str, value.shape))}]"
    parts = []
    for kind in ("nan", "inf"):
        mask = find(kind, value)
        if mask is not None:
            many = "" if value.ndim == 0 else f"{int(mask.sum())} of {value.size} "
            first = "" if value.ndim == 0 else f", the first at {[int(i) for i in np.argwhere(mask)[0]]}"
            parts.append(f"{many}{kind}{first}")
    text += ", " + (" and ".join(parts) or "finite")
    if there is None or (parts and not value.ndim):
        return text
    return f"{text}: {value[there]}" + (f" at {list(there)}" if there else "")
