"""A step length along a direction of descent, by the strong conditions of Wolfe.

Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6, in one loop: the step is doubled until an
interval holds a good one, then interpolated in it. Where rounding hides the decrease of the function, that of its slope
decides: Hager and Zhang, SIAM J. Optim. 16 (2005).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pullback.numpy as pnp
from pullback import lax
from pullback._core.array import Array

_DECREASE, _CURVATURE = 1e-4, 0.9


class Step(NamedTuple):
    """The step found: its length, the function and its gradient there, the evaluations, and whether it is good."""

    length: Array
    value: Array
    gradient: Array
    count: Array  # type: ignore[assignment]
    good: Array


class _State(NamedTuple):
    """The next trial; the end of the interval with the lesser value, and the other; what is there."""

    trial: Array
    low: Array
    f_low: Array
    slope_low: Array
    g_low: Array
    high: Array
    f_high: Array
    slope_high: Array
    enclosed: Any
    count: Any
    good: Any


def _between(s: _State) -> Array:
    """The minimum of the cubic through the ends of the interval, well inside of it, or else its middle."""
    width = s.high - s.low
    mean = s.slope_low + s.slope_high - 3 * (s.f_high - s.f_low) / width
    root = pnp.sqrt(pnp.maximum(mean * mean - s.slope_low * s.slope_high, 0)) * pnp.sign(width)
    part = 1 - (s.slope_high + root - mean) / (s.slope_high - s.slope_low + 2 * root)
    part = pnp.where(pnp.isfinite(part), pnp.clip(part, 0.1, 0.9), 0.5)
    return s.low + part * width


def line_search(
    value_and_grad: Callable[[Array], tuple[Array, Array]],
    x: Array,
    direction: Array,
    f: Array,
    gradient: Array,
    first: Array,
    limit: Any,
) -> Step:
    """A step from `x` along `direction`, tried at `first` and at most at `limit` lengths."""
    slope = gradient @ direction
    eps = float(pnp.finfo(f.dtype).eps)

    def goes_on(s: _State) -> Any:
        return ~s.good & (s.count < limit)

    def step(s: _State) -> _State:
        a = s.trial
        value, g = value_and_grad(x + a * direction)
        d = g @ direction
        # not a number, or infinite: too far
        usable = pnp.isfinite(value) & pnp.isfinite(d)
        hidden = abs(value - f) <= 4 * eps * abs(f)
        flat = abs(d) <= -_CURVATURE * slope
        lower = usable & (value <= f + _DECREASE * a * slope) & ((value < s.f_low) | (s.low == 0))
        good = usable & flat & (lower | (hidden & (d <= (2 * _DECREASE - 1) * slope)))
        # the function rises towards the old end: the minimum is on this side of it
        turns = lower & pnp.where(s.enclosed, d * (s.high - s.low) >= 0, d >= 0)

        def chosen(of_trial: Array, of_low: Array, of_high: Array) -> tuple[Array, Array]:
            """The two ends of the next interval."""
            return (
                pnp.where(lower | good, of_trial, of_low),
                pnp.where(lower, pnp.where(turns, of_low, of_high), of_trial),
            )

        low, high = chosen(a, s.low, s.high)
        f_low, f_high = chosen(value, s.f_low, s.f_high)
        slope_low, slope_high = chosen(d, s.slope_low, s.slope_high)
        following = s._replace(
            low=low,
            f_low=f_low,
            slope_low=slope_low,
            g_low=pnp.where(lower | good, g, s.g_low),
            high=high,
            f_high=f_high,
            slope_high=slope_high,
            enclosed=s.enclosed | ~lower | turns,
            count=s.count + 1,
            good=good,
        )
        return following._replace(trial=pnp.where(following.enclosed, _between(following), 2 * a))

    zero = pnp.zeros_like(f)
    infinite = pnp.full_like(f, pnp.inf)
    start = _State(first, zero, f, slope, gradient, infinite, infinite, infinite, False, 0, False)
    end = lax.while_loop(goes_on, step, start)
    # a lesser value will do where no length satisfied both conditions
    return Step(end.low, end.f_low, end.g_low, end.count, end.good | (end.f_low < f))
