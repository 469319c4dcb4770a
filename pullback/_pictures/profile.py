"""`profile`: what takes the time and the memory of a function, by source line and rule."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, describe_function, function_name, wrapping
from pullback._core.trace import context
from pullback._core.typing import AnyValue, PyTree
from pullback._pictures.compiled_times import compiled_times
from pullback._pictures.flames import collapsed, flame_svg, pass_of, short, speedscope, time_of
from pullback._pictures.graphs import short_rule
from pullback._pictures.layout import amount
from pullback._pictures.measuring import Held, MemoryMeter, Place, Stopwatch, watched

_SHOWN = 20


class ProfileRow(NamedTuple):
    """A row of a `Profile`: a source line in one pass, and the custom rule that worked there, if one did.

    `line` is the innermost line, `None` if it is not known; in a backward pass the one whose derivative it is.
    `operations` counts them by their names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> row = pb.debug.profile(lambda x: pnp.sin(x) * 2.)(1.).rows[0]
    >>> sorted(row.operations), row.backward, row.rule, row.seconds > 0
    (['mul', 'sin'], False, None, True)
    """

    line: str | None
    backward: bool | None
    rule: str | None
    seconds: float
    operations: dict[str, int]


class Profile:
    """The report of `profile`; `str` gives tables, notebooks show these and the flame graph.

    `rows` are the source lines, the longest first; `value` is the result. `seconds` is the time of a run, of which
    `forward_seconds` and `backward_seconds` are the passes. `peak_bytes` is the most memory in use at once; `peak` says
    what that was, and `residuals` what the backward pass read of the forward pass's. Of a compiled run `peak_bytes` is
    XLA's count, with arguments and results, and `peak` what is alive by its schedule, without the arguments.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> report = pb.debug.profile(pb.grad(lambda x: pnp.sum(pnp.sin(x))))(pnp.ones(1000))
    >>> report.backward_seconds > 0, [(held.place.primitive, held.nbytes) for held in report.residuals]
    (True, [('cos', 4000)])
    """

    def __init__(
        self,
        subject: str,
        value: AnyValue,
        seconds: Mapping[Place, float],
        counts: Mapping[Place, int],
        peak_bytes: int,
        peak: Sequence[Held] = (),
        residuals: Sequence[Held] = (),
        compiled: bool = False,
    ):
        self.subject = subject
        self.value = value
        self.compiled = compiled
        self.peak_bytes = peak_bytes
        self.peak = [*peak]
        self.residuals = [*residuals]
        self._seconds = seconds
        self.rows = _rows(seconds, counts)

    @property
    def seconds(self) -> float:
        """The time of all operations."""
        return sum(self._seconds.values())

    @property
    def forward_seconds(self) -> float:
        """The time of the operations of no backward pass."""
        return sum(spent for place, spent in self._seconds.items() if place.backward is False)

    @property
    def backward_seconds(self) -> float:
        """The time of the operations of backward passes."""
        return sum(spent for place, spent in self._seconds.items() if place.backward)

    @functools.cached_property
    def svg(self) -> str:
        """The flame graph as SVG."""
        return flame_svg(self._seconds, self._headline())

    @functools.cached_property
    def memory_svg(self) -> str:
        """The flame graph of the memory at its fullest: `peak`, by source line and rule."""
        sizes: dict[Place, float] = {}
        for held in self.peak:
            sizes[held.place] = sizes.get(held.place, 0.0) + held.nbytes
        return flame_svg(sizes, f"{self.subject}, memory of {amount(sum(held.nbytes for held in self.peak))}", _amount)

    @property
    def speedscope(self) -> str:
        """The stacks as JSON, which speedscope.app opens."""
        return speedscope(self._seconds, self.subject)

    @property
    def collapsed(self) -> str:
        """The stacks as text, a line with its microseconds each, as flame graph tools read them."""
        return collapsed(self._seconds)

    @boundary
    def save(self, path: os.PathLike[str] | str) -> None:
        """Write the profile into a file: .svg (flame graph), .html (all), .txt (tables), .json (for speedscope),
        .folded (collapsed stacks); ValueError for another ending.

        >>> import pullback as pb, tempfile
        >>> report = pb.debug.profile(lambda x: 2. * x)(1.)
        >>> report.save(os.path.join(tempfile.mkdtemp(), "double.json"))
        """
        name = os.fspath(path)
        forms: dict[str, Callable[[], str]] = {
            ".svg": lambda: self.svg,
            ".html": self._page,
            ".txt": self.__str__,
            ".json": lambda: self.speedscope,
            ".folded": lambda: self.collapsed,
        }
        form = forms.get(os.path.splitext(name)[1].lower())
        if form is None:
            raise ValueError(f"save: the name of the file must end with {', '.join(forms)}, got {name!r}")
        content = form()
        with open(name, "w", encoding="utf-8") as file:
            file.write(content)

    def _headline(self) -> str:
        how = "compiled" if self.compiled else "eager"
        passes = ""
        if self.backward_seconds:
            passes = f": forward {time_of(self.forward_seconds)}, backward {time_of(self.backward_seconds)}"
        return f"{self.subject}, {how}, {time_of(self.seconds)}{passes}"

    def __str__(self) -> str:
        total = self.seconds or 1.0
        table = [("time", "share", "pass", "line", "operations")]
        for row in self.rows[:_SHOWN]:
            names = ", ".join(name if n == 1 else f"{n} {name}" for name, n in row.operations.items())
            where = row.line or "unknown"
            if row.rule:
                where += f", {short_rule(row.rule)}"
            share = f"{100 * row.seconds / total:.0f}%"
            table.append((time_of(row.seconds), share, pass_of(row.backward), where, names))
        lines = [f"profile of {self._headline()}", *_aligned(table)]
        if len(self.rows) > _SHOWN:
            lines.append(f"  and {len(self.rows) - _SHOWN} further lines")
        lines.append(f"memory: {amount(self.peak_bytes)} at most")
        if self.compiled:
            lines[-1] += ", of arguments, results and what lies between; by XLA's schedule, each value counted apart:"
        lines += _memory_lines(self.peak)
        if self.residuals:
            lines.append(f"kept for the backward pass: {amount(sum(held.nbytes for held in self.residuals))}")
            lines += _memory_lines([held._replace(residual=False) for held in self.residuals])
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        memory = self.memory_svg if self.peak else ""
        return f'<div style="overflow-x:auto">{self.svg}{memory}<pre>{escape(str(self))}</pre></div>'

    def _page(self) -> str:
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(self.subject)}</title>'
            '<meta name="color-scheme" content="light dark"></head>'
            f"<body>{self._repr_html_()}</body></html>"
        )


def _amount(size: float) -> str:
    return amount(round(size))


def _rows(seconds: Mapping[Place, float], counts: Mapping[Place, int]) -> list[ProfileRow]:
    sums: dict[tuple[str | None, bool | None, str | None], float] = {}
    names: dict[tuple[str | None, bool | None, str | None], dict[str, int]] = {}
    for place, spent in seconds.items():
        key = (short(place.calls[-1]) if place.calls else None, place.backward, place.rule)
        sums[key] = sums.get(key, 0.0) + spent
        count = names.setdefault(key, {})
        count[place.primitive] = count.get(place.primitive, 0) + counts[place]
    rows = [ProfileRow(*key, spent, names[key]) for key, spent in sums.items()]
    return sorted(rows, key=lambda row: -row.seconds)


def _memory_lines(memory: Sequence[Held]) -> list[str]:
    lines = _aligned([(amount(h.nbytes), _where(h.place), _made(h)) for h in memory[:_SHOWN]])
    return [*lines, f"  and {len(memory) - _SHOWN} further"] if len(memory) > _SHOWN else lines


def _where(place: Place) -> str:
    return short(place.calls[-1]) if place.calls else "unknown"


def _made(held: Held) -> str:
    made = held.place.primitive if held.arrays == 1 else f"{held.arrays} of {held.place.primitive}"
    return f"{made}, a residual" if held.residual else made


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; numbers, in the first column, to the right."""
    if not table:
        return []
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  " + "  ".join([row[0].rjust(widths[0]), *(c.ljust(w) for c, w in zip(row[1:], widths[1:]))]).rstrip()
        for row in table
    ]


@boundary
def profile(fun: Callable, *, compiled: bool = False, runs: int = 3) -> Callable[..., Profile]:
    """A function that runs `fun` and reports what took the time and the memory, by source line and custom rule.

    Eagerly, operation by operation: the time of one is from the end of the one before, so what Python does in between
    is part of it; inside compiled functions and loops too. Memory is that of arrays that operations make, without the
    arguments. Compiled, the whole function is one program, measured by XLA's profiler; operations that XLA has fused
    are at the line of their result. `fun` may be transformed: of `grad(loss)` the backward pass is told apart, its
    operations are at the lines whose derivatives they are.

    Args:
      fun: a function of arrays or pytrees of arrays. It is called once to warm up, where the memory is measured, and
        then `runs` times; compiled, it is traced once.
      compiled: whether to compile it and to measure the program.
      runs: the number of runs, of which the times are averages.

    Returns: a function with the arguments of `fun` that returns a `Profile`.
    Raises: TypeError inside `jit`, `scan` and similar functions, ValueError for `runs` below 1; compiled, TypeError for
      arguments or results that are not arrays, RuntimeError while `profiler.trace` records.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def loss(w, x):
    ...     y = pnp.tanh(x @ w)
    ...     return pnp.sum(y * y)
    >>> report = pb.debug.profile(pb.grad(loss))(pnp.ones((3, 3)), pnp.ones((100, 3)))
    >>> print(report)
    profile of loss, eager, ... forward ..., backward ...
        time  share  pass  line  operations
    ...
    >>> [(held.place.primitive, held.nbytes) for held in report.residuals]
    [('tanh', 1200), ('tanh_slope', 1200)]
    """
    check_callable("profile", fun)
    if not isinstance(runs, int) or runs < 1:
        raise ValueError(f"profile: runs must be a positive number, got {runs!r}")

    @boundary
    @wrapping(fun)
    def profiled(*args: PyTree, **kwargs: PyTree) -> Profile:
        if not context.trace.transparent:
            raise TypeError(
                f"profile of {describe_function(fun)} was called while another function is traced: nothing runs there. "
                "Call it outside, as profile(jit(f)) say."
            )
        name = function_name(fun)
        if compiled:
            times = compiled_times(fun, args, kwargs, runs)
            stats = times.memory
            most = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
            return Profile(name, times.value, times.seconds, times.counts, most, times.peak, times.residuals, True)

        def run() -> Any:
            return fun(*args, **kwargs)

        meter = MemoryMeter()
        value = watched(run, meter)
        most, peak = meter.peak()
        watch = Stopwatch()
        for _ in range(runs):
            watched(run, watch)
        seconds = {place: spent / runs for place, spent in watch.seconds.items()}
        counts = {place: -(-count // runs) for place, count in watch.counts.items()}
        return Profile(name, value, seconds, counts, most, peak, meter.kept())

    return profiled
