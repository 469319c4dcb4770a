"""Clocks. All times are wall-clock seconds."""

import functools
import time
from collections.abc import Callable


def once(run: Callable[[], object]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def per_call(run: Callable[[int], object], seconds: float = 0.03) -> Callable[[], float]:
    """A sampler of the time per repetition of `run(n)`, which does its work n times.

    The warm-up happens here: n doubles until one batch lasts `seconds`, and then stays for all samples.
    """
    n = 8
    while once(functools.partial(run, n)) < seconds:
        n *= 2
    return lambda: once(functools.partial(run, n)) / n
