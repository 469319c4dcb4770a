"""Closed forms of the derivatives of compositions, from those of the parts."""

from collections.abc import Callable

from mpmath import mp

Slopes = dict[tuple[int, int], Callable]


def of_exp(log: Callable, slopes: Slopes) -> Slopes:
    """The derivatives of exp(log), from those of log of the first and second order."""
    found: Slopes = {}
    for i in {i for _, i in slopes}:
        first, second = slopes[1, i], slopes[2, i]
        found[1, i] = lambda *xs, first=first: mp.exp(log(*xs)) * first(*xs)
        found[2, i] = lambda *xs, first=first, second=second: mp.exp(log(*xs)) * (first(*xs) ** 2 + second(*xs))
    return found


def of_log(f: Callable, slopes: Slopes) -> Slopes:
    """The derivatives of log(f), from those of f."""
    found: Slopes = {}
    for i in {i for _, i in slopes}:
        first, second = slopes[1, i], slopes[2, i]
        found[1, i] = lambda *xs, first=first: first(*xs) / f(*xs)
        found[2, i] = lambda *xs, first=first, second=second: second(*xs) / f(*xs) - (first(*xs) / f(*xs)) ** 2
    return found


def negated(slopes: Slopes) -> Slopes:
    return {key: lambda *xs, f=f: -f(*xs) for key, f in slopes.items()}


def scaled(slopes: Slopes, factor: float) -> Slopes:
    """The derivatives of f(factor * x, ...), along each of the arguments, which all are scaled."""
    return {
        (order, i): lambda *xs, f=f, order=order: factor**order * f(*[factor * x for x in xs])
        for (order, i), f in slopes.items()
    }
