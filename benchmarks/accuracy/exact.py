"""Exact values and derivatives by mpmath, and how much half a unit in the last place of the arguments moves them.

Precision is raised until two evaluations, with other numbers of bits and other steps of the differences, agree.
What they agree on is kept on disk, in the user's cache directory, until the reference or the grid changes.
"""

import hashlib
import marshal
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mp

from .function import Function

VERSION = 4
AGREE = mpmath.ldexp(1, -80)
PATIENCE = 1.0
PRECISIONS = (160, 400, 800, 1600, 3200, 6400)


class Exact(NamedTuple):
    """Exact results on a grid: the true value is `nearest + fraction * ulp(nearest)`.

    `unit` is what an error is measured in: 1 ulp, or the change of the result, in ulp, when the arguments change by
    half an ulp, if that is more. `kind` says what the value is.
    """

    nearest: np.ndarray
    fraction: np.ndarray
    unit: np.ndarray
    kind: np.ndarray


NORMAL, SMALL, LARGE, UNDEFINED = range(4)  # SMALL: zero or subnormal; LARGE: beyond the largest finite number


def _difference(f: Callable, order: int, argument: int, at: tuple, relative: bool) -> Any:
    """The value or a central difference, with a step that fits the working precision."""
    if order == 0:
        return f(*at)
    x = at[argument]
    h = mpmath.ldexp(abs(x) if relative else 1, -(mp.prec // 4))

    def shifted(by):
        return f(*at[:argument], x + by, *at[argument + 1 :])

    if order == 1:
        return (shifted(h) - shifted(-h)) / (2 * h)
    return (shifted(h) - 2 * f(*at) + shifted(-h)) / (h * h)


def _attempt(*args: Any) -> Any:
    """A finite real number, or None."""
    try:
        value = _difference(*args)
    except (ZeroDivisionError, ValueError, mpmath.libmp.ComplexResult, mpmath.libmp.NoConvergence, OverflowError):
        return None
    if isinstance(value, mpmath.mpc):
        if value.imag:
            return None
        value = value.real
    value = mpmath.mpf(value)
    return value if mpmath.isfinite(value) else None


def evaluate(function: Function, order: int, argument: int, at: tuple[float, ...], half_ulps: tuple[float, ...]) -> Any:
    """The exact value and the sum of its changes under changes of the arguments by half an ulp; None if undefined."""
    closed = function.derivatives.get((order, argument)) if order else None
    f = closed or function.reference
    order = 0 if closed else order
    exact = tuple(map(mpmath.mpf, at))
    smooth = order == 0 or not 0 < abs(at[argument]) < 1
    for relative in (False,) if smooth else (True, False):
        last = None
        for precision in PRECISIONS if order == 0 else PRECISIONS[1:]:
            with mp.workprec(precision):
                value = _attempt(f, order, argument, exact, relative)
                if value is not None and last is not None and value and abs(value - last) <= AGREE * abs(value):
                    return value, _moved(f, order, argument, exact, relative, value, half_ulps)
                last = value
            if value is None and precision >= 800:
                break
        flat = not relative or bool(function.ranges[argument].kinks)  # a wide step would reach beyond the kink
        if last is not None and last == 0 and flat:
            return last, _moved(f, order, argument, exact, relative, last, half_ulps)
    return None


def _moved(f: Callable, order: int, argument: int, at: tuple, relative: bool, value: Any, steps: tuple) -> Any:
    total = mpmath.mpf(0)
    for i, step in enumerate(steps):
        changes = [mpmath.mpf(0)]
        for sign in (1, -1):
            moved = (*at[:i], at[i] + sign * step, *at[i + 1 :])
            there = _attempt(f, order, argument, moved, relative)
            if there is not None:
                changes.append(abs(there - value))
        total += max(changes)
    return total


def _measure(value: Any, moved: Any, dtype: np.dtype) -> tuple[float, float, float, int]:
    info = np.finfo(dtype)
    tiny, bound = mpmath.mpf(float(info.tiny)), mpmath.ldexp(1, 128 if dtype.itemsize == 4 else 1024)
    size = abs(value)
    with mp.workprec(200):
        if size >= bound * (1 - mpmath.ldexp(1, -info.nmant - 2)):
            return (np.inf if value > 0 else -np.inf), 0.0, 1.0, LARGE
        if size < tiny:
            ulp = mpmath.mpf(float(info.smallest_subnormal))
            unit = max(moved / ulp, 1)
            return float(value), 0.0, float(min(unit, mpmath.mpf(1e308))), SMALL
        _, exponent = mpmath.frexp(size)
        ulp = mpmath.ldexp(1, exponent - 1 - info.nmant)
        nearest = mpmath.nint(value / ulp) * ulp
        unit = max(moved / ulp, 1)
        return float(nearest), float((value - nearest) / ulp), float(min(unit, mpmath.mpf(1e300))), NORMAL


def _code(code: CodeType) -> bytes:
    """The code of a function without the lines it stands on."""
    constants = tuple(_code(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts)
    return marshal.dumps((code.co_code, constants, code.co_names, code.co_varnames))


def _closed_over(f: Callable) -> Iterator[bytes]:
    """The code of the functions that a function closes over or has as defaults, and of theirs if they are our own."""
    held = [cell.cell_contents for cell in getattr(f, "__closure__", None) or ()]
    for inner in (*held, *(getattr(f, "__defaults__", None) or ())):
        if hasattr(inner, "__code__"):
            yield _code(inner.__code__)
            if inner.__module__.startswith(__package__):
                yield from _closed_over(inner)


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    home = Path(cache) if cache else Path.home() / ".cache"
    try:
        (home / "pullback-accuracy").mkdir(parents=True, exist_ok=True)
        return home / "pullback-accuracy"
    except OSError:
        folder = Path(tempfile.gettempdir()) / "pullback-accuracy"
        folder.mkdir(exist_ok=True)
        return folder


class TooSlow(Exception):
    """An exact value took longer than PATIENCE seconds."""


def _give_up(*_: Any) -> None:
    raise TooSlow


def _evaluate_in_time(function: Function, order: int, argument: int, at: tuple, steps: tuple) -> Any:
    """`evaluate`, or None after PATIENCE seconds."""
    # of the processor: what else the machine does must not count
    before = signal.signal(signal.SIGPROF, _give_up)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        return evaluate(function, order, argument, at, steps)
    except TooSlow:
        print(f"no exact value of {function.name}, order {order}, at {at} in {PATIENCE} s", file=sys.stderr)
        return None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def on_grid(function: Function, order: int, argument: int, grid: list[np.ndarray], keep: bool = True) -> Exact:
    """The exact values of a function or of its derivative on a grid."""
    dtype = grid[0].dtype
    # what a closed form calls is not seen by `_code`: VERSION is for changes of that
    key = hashlib.sha256(repr((VERSION, function.name, order, argument, dtype.str)).encode())
    for f in (function.reference, function.derivatives.get((order, argument))):
        if f is not None:
            key.update(_code(f.__code__) if hasattr(f, "__code__") else repr(f.__name__).encode())
            for code in _closed_over(f):
                key.update(code)
    for x in grid:
        key.update(x.tobytes())
    path = _folder() / f"{key.hexdigest()[:32]}.npz"
    if keep and path.exists():
        with np.load(path) as data:
            return Exact(*[data[name] for name in Exact._fields])
    rows = []
    for at in zip(*[x.tolist() for x in grid]):
        steps = tuple(float(np.spacing(np.abs(dtype.type(x)))) / 2 if x else 0.0 for x in at)
        kink = order and at[argument] in function.ranges[argument].kinks
        found = None if kink else _evaluate_in_time(function, order, argument, at, steps)
        rows.append((0.0, 0.0, 1.0, UNDEFINED) if found is None else _measure(*found, dtype))
    columns = list(zip(*rows))
    exact = Exact(np.array(columns[0]).astype(dtype), *map(np.array, columns[1:]))
    if keep:
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, **exact._asdict())
        partial.replace(path)
    return exact
