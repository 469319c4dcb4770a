"""Lists and masks: selecting from lists, merging them, and least fixed points of flags."""

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
    """The inverse of `chosen` and `others`: the list whose parts they are."""
    these, those = iter(marked), iter(unmarked)
    return [next(these) if m else next(those) for m in mask]


def filled(mask: Iterable[bool], marked: Iterable[T], defaults: Sequence[T]) -> list[T]:
    """One value per flag: the next value of `marked` where the flag is set, else the default at that index."""
    these = iter(marked)
    return [next(these) if m else default for m, default in zip(mask, defaults, strict=True)]


def cut(values: Sequence[T], *lengths: int) -> list[list[T]]:
    """Consecutive slices of the given lengths, and the rest."""
    parts, start = [], 0
    for n in lengths:
        parts.append(list(values[start : start + n]))
        start += n
    return [*parts, list(values[start:])]


def fixed_point(step: Callable[[tuple[bool, ...]], Iterable[bool]], flags: Iterable[bool]) -> tuple[bool, ...]:
    """The least fixed point at or above `flags` of `step`, which may set flags."""
    flags = tuple(flags)
    while True:
        grown = tuple([a or b for a, b in zip(flags, step(flags), strict=True)])
        if grown == flags:
            return flags
        flags = grown
