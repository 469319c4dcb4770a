"""Lists and masks: parts of lists, lists put together again, and flags grown until nothing changes."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def chosen(values: Iterable[T], mask: Iterable[bool]) -> list[T]:
    """The values whose flag is set."""
    return [v for v, m in zip(values, mask, strict=True) if m]


def others(values: Iterable[T], mask: Iterable[bool]) -> list[T]:
    """The values whose flag is not set."""
    return [v for v, m in zip(values, mask, strict=True) if not m]


def merged(mask: Iterable[bool], marked: Iterable[T], unmarked: Iterable[T]) -> list[T]:
    """The list that `chosen` and `others` took apart."""
    these, those = iter(marked), iter(unmarked)
    return [next(these) if m else next(those) for m in mask]


def filled(mask: Iterable[bool], marked: Iterable[T], defaults: Sequence[T]) -> list[T]:
    """One value for each flag: the next of `marked` where it is set, else the default in that place."""
    these = iter(marked)
    return [next(these) if m else default for m, default in zip(mask, defaults, strict=True)]


def cut(values: Sequence[T], *lengths: int) -> list[list[T]]:
    """Consecutive parts of the given lengths, and the rest."""
    parts, start = [], 0
    for n in lengths:
        parts.append(list(values[start:start + n]))
        start += n
    return [*parts, list(values[start:])]


def fixed_point(step: Callable[[tuple[bool, ...]], Iterable[bool]], flags: Iterable[bool]) -> tuple[bool, ...]:
    """The least flags, at least `flags`, to which `step` adds none."""
    flags = tuple(flags)
    while True:
        grown = tuple([a or b for a, b in zip(flags, step(flags), strict=True)])
        if grown == flags:
            return flags
        flags = grown
