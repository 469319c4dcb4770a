"""`debug.progress`: loops that say how far they are.

A loop is cut into about a hundred stretches, each a loop of its own, and between two of them the host is told: a step
costs what it costs without, and a report is one call of the host.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from pullback import lax
from pullback import numpy as pnp
from pullback._api.callbacks import debug_callback
from pullback._api.vectorize import vmap
from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, described
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.bodies import lift_tree
from pullback.numpy._elementwise.promotion import integer

# the number of reports of a loop whose length is known
_REPORTS = 100
# the number of steps between two reports of one whose length is not
_UNKNOWN = 100


class Bar(Protocol):
    """What shows the progress of one run: a bar of tqdm, or `Line`."""

    n: int
    total: int | None

    def update(self, n: int) -> Any:
        """Show that so many more steps are done."""

    def close(self) -> None:
        """End the display."""


class Line:
    """The progress as a line of text, written over itself, where tqdm is not installed."""

    def __init__(self, total: int | None, name: str, file: TextIO):
        self.n = 0
        self.total = total
        self.name = name
        self.file = file

    def update(self, n: int) -> None:
        """Write the line anew."""
        self.n += n
        share = "" if not self.total else f" of {self.total}, {100 * self.n // self.total}%"
        self.file.write(f"\r{self.name}: step {self.n}{share}")
        self.file.flush()

    def close(self) -> None:
        """End the line."""
        self.file.write("\n")
        self.file.flush()


def open_bar(total: int | None, name: str) -> Bar:
    """A bar of tqdm, in a terminal or a notebook; a line of text on the standard error without tqdm."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return Line(total, name, sys.stderr)
    bar: Bar = tqdm(total=total, desc=name)
    return bar


class _Display:
    """The bar of a loop: of the run that is under way, for a compiled loop runs many times."""

    def __init__(self, name: str):
        self.name = name
        self.bar: Bar | None = None

    def report(self, done: AnyValue, total: AnyValue, last: AnyValue) -> None:
        """Take note that so many steps are done, of `total`, or of a number that is not known, -1."""
        done, length = int(done), int(total)
        if self.bar is not None and done < self.bar.n and length >= 0:
            self.bar.close()  # the run before was cut short by an error
            self.bar = None
        if self.bar is None:
            self.bar = open_bar(None if length < 0 else length, self.name)
        if done > self.bar.n:
            self.bar.update(done - self.bar.n)
        if last:
            self.bar.close()
            self.bar = None


@boundary
def progress(loop: Callable[..., Any], name: str | None = None, *, every: int | None = None) -> Callable[..., Any]:
    """The loop function `loop`, which shows how many steps it has done, under every transformation.

    It shows a bar of tqdm, where that is installed (`pip install pullback[progress]`), else a line of text on the
    standard error. Under `grad` it shows the forward pass, under `vmap` one bar for the batch.

    Args:
      loop: `lax.scan`, `lax.fori_loop`, `lax.while_loop` or `lax.map`.
      name: what is written before the bar, by default the name of the loop.
      every: the number of steps between two reports, by default a hundredth of all, or 100 where their number is not
        known.

    Returns: a function with the parameters of `loop` and its results.
    Raises: ValueError for another function, or an `every` below 1.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import debug, lax
    >>> def step(total, x):
    ...     return total + x, total
    >>> total, _ = debug.progress(lax.scan, "adding")(step, 0., pnp.arange(1000.))  # shows a bar
    >>> print(total)
    499500.0
    """
    make = next((make for known, make in _LOOPS if known is loop), None)
    if make is None:
        names = ", ".join(f"lax.{known.__name__}" for known, _ in _LOOPS)
        raise ValueError(f"progress: loop must be one of {names}, got {described(loop)}")
    if every is not None and integer("progress", "every", every) < 1:
        raise ValueError(f"progress: every must be at least 1, got {every}")
    return make(_Display(name or loop.__name__), every)


def _tell(display: _Display, done: Any, total: Any, last: Any, value: PyTree) -> PyTree:
    """The value, of which a report is made when it is computed."""
    leaves, tree = tree_flatten(value)
    if leaves:
        done, *leaves = lax.optimization_barrier([pnp.asarray(done), *leaves])
    debug_callback(display.report, done, total, last)
    return tree_unflatten(tree, leaves)


def _stretch(length: int, every: int | None) -> int:
    return min(every or max(length // _REPORTS, 1), max(length, 1))


def _with_scan(display: _Display, every: int | None) -> Callable[..., Any]:
    def scan(
        f: Callable, init: PyTree, xs: PyTree = None, length: int | None = None, reverse: bool = False, **options: Any
    ) -> Any:
        leaves = lift_tree("scan", "xs", xs)[0]
        known = [x.shape[0] for x in leaves if x.ndim] if length is None else [int(length)]
        if len({*known, *(x.shape[0] if x.ndim else -1 for x in leaves)}) != 1 or known[0] < 1:
            return lax.scan(f, init, xs, length, reverse, **options)  # nothing to do, or its error
        n = known[0]
        steps = _stretch(n, every)
        stretches, rest = divmod(n, steps)

        def part(carry, start, stop):
            cut = tree_map(lambda x: x[start:stop], xs)
            return lax.scan(f, carry, cut, stop - start, reverse, **options)

        def stretch(carry, inputs):
            number, cut = inputs
            carry, ys = lax.scan(f, carry, cut, steps, reverse, **options)
            done = (stretches - number if reverse else number + 1) * steps
            return _tell(display, done, n, done == n, carry), ys

        # what does not fill a stretch comes last
        begin = rest if reverse else 0
        blocks = tree_map(
            lambda x: pnp.reshape(x[begin : begin + stretches * steps], (stretches, steps, *x.shape[1:])), xs
        )
        carry, ys = lax.scan(stretch, init, (pnp.arange(stretches), blocks), stretches, reverse)
        ys = tree_map(lambda y: pnp.reshape(y, (stretches * steps, *y.shape[2:])), ys)
        if not rest:
            return carry, ys
        carry, others = part(carry, 0, rest) if reverse else part(carry, n - rest, n)
        carry = _tell(display, n, n, True, carry)
        pairs = (others, ys) if reverse else (ys, others)
        return carry, tree_map(lambda a, b: pnp.concatenate([a, b]), *pairs)

    return scan


def _with_map(display: _Display, every: int | None) -> Callable[..., Any]:
    scan = _with_scan(display, every)

    def map(f: Callable, xs: PyTree, *, batch_size: int | None = None) -> Any:
        check_callable("map: f", f)
        leaves = lift_tree("map", "xs", xs)[0]
        size = 1 if batch_size is None else batch_size
        lengths = {x.shape[0] if x.ndim else -1 for x in leaves}
        if len(lengths) != 1 or size < 1 or min(lengths) < size:
            return lax.map(f, xs, batch_size=batch_size)
        if batch_size is None:
            return scan(lambda _, x: (None, f(x)), None, xs)[1]
        whole = min(lengths) // size * size
        groups = tree_map(lambda x: pnp.reshape(x[:whole], (-1, size, *x.shape[1:])), xs)
        ys = scan(lambda _, group: (None, vmap(f)(group)), None, groups)[1]
        ys = tree_map(lambda y: pnp.reshape(y, (whole, *y.shape[2:])), ys)
        if whole == min(lengths):
            return ys
        others = vmap(f)(tree_map(lambda x: x[whole:], xs))
        return tree_map(lambda a, b: pnp.concatenate([a, b]), ys, others)

    return map


def _with_fori_loop(display: _Display, every: int | None) -> Callable[..., Any]:
    def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: PyTree, **options: Any) -> Any:
        if isinstance(lower, int) and isinstance(upper, int):
            return counted(lower, upper, body_fun, init_val, **options)
        total = pnp.maximum(upper - lower, 0)
        steps = pnp.maximum(total // _REPORTS, 1) if every is None else every

        def stretch(carry):
            i, value = carry
            stop = pnp.minimum(i + steps, upper)
            value = lax.fori_loop(i, stop, body_fun, value, **options)
            return stop, _tell(display, stop - lower, total, stop == upper, value)

        start = pnp.asarray(lower) + pnp.zeros_like(upper)
        return lax.while_loop(lambda carry: carry[0] < upper, stretch, (start, init_val))[1]

    def counted(lower: int, upper: int, body_fun: Callable, init_val: PyTree, **options: Any) -> Any:
        total = max(upper - lower, 0)
        steps = _stretch(total, every)

        def stretch(number, value):
            start = lower + number * steps
            value = lax.fori_loop(0, steps, lambda j, value: body_fun(start + j, value), value, **options)
            done = (number + 1) * steps
            return _tell(display, done, total, done == total, value)

        value = lax.fori_loop(0, total // steps, stretch, init_val)
        rest = total % steps
        if not rest:
            return value
        value = lax.fori_loop(upper - rest, upper, body_fun, value, **options)
        return _tell(display, total, total, True, value)

    return fori_loop


def _with_while_loop(display: _Display, every: int | None) -> Callable[..., Any]:
    steps = every or _UNKNOWN

    def while_loop(cond_fun: Callable, body_fun: Callable, init_val: PyTree, *, max_steps: int | None = None) -> Any:
        if max_steps is not None:
            return bounded(cond_fun, body_fun, init_val, max_steps)

        def stretch(state):
            value, done = state
            value, taken = lax.while_loop(
                lambda state: cond_fun(state[0]) & (state[1] < steps),
                lambda state: (body_fun(state[0]), state[1] + 1),
                (value, 0),
            )
            done = done + taken
            return _tell(display, done, -1, pnp.logical_not(cond_fun(value)), value), done

        return lax.while_loop(lambda state: cond_fun(state[0]), stretch, (init_val, 0))[0]

    def bounded(cond_fun: Callable, body_fun: Callable, init_val: PyTree, max_steps: int) -> Any:
        # a bounded loop is differentiated by its steps: it stays one loop, and its last step is told
        value, taken = lax.while_loop(
            lambda state: cond_fun(state[0]),
            lambda state: (body_fun(state[0]), state[1] + 1),
            (init_val, 0),
            max_steps=max_steps,
        )
        return _tell(display, taken, max_steps, True, value)

    return while_loop


_LOOPS = (
    (lax.scan, _with_scan),
    (lax.fori_loop, _with_fori_loop),
    (lax.while_loop, _with_while_loop),
    (lax.map, _with_map),
)
