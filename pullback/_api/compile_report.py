"""`compile_report`: what the time of first calls went to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pullback._core.compilations import Compilation, watching
from pullback._core.notebooks import table

_STAGES = ("trace", "lower", "compile", "first_run")


class CompileReport:
    """The report of `compile_report`: `programs`, in the order in which they were traced; `str` gives a table.

    >>> import pullback as pb
    >>> with pb.debug.compile_report() as report:
    ...     _ = pb.jit(lambda x: x + 1.03125)(2.)
    >>> program, = report.programs
    >>> program.reason, program.origin, program.seconds > 0
    ('the first call', 'compiled', True)
    """

    def __init__(self, programs: list[Compilation]):
        self.programs = programs

    @property
    def seconds(self) -> float:
        """The time of all stages of all programs."""
        return sum(program.seconds for program in self.programs)

    def __len__(self) -> int:
        return len(self.programs)

    def __repr__(self) -> str:
        return f"<CompileReport of {len(self.programs)} programs, {self.seconds:.3g} s>"

    def __str__(self) -> str:
        if not self.programs:
            return "nothing was traced or compiled"
        rows = self._table()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
        lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[-1]]).rstrip() for row in rows]
        return "\n".join([*lines, self._sum()])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        return table(self._sum() if rows else str(self), head, rows)

    def _sum(self) -> str:
        return f"{len(self.programs)} programs, {self.seconds:.3f} s"

    def _table(self) -> list[list[str]]:
        """The cells of the table, the names of the columns first."""
        tiered = any(program.interpreted for program in self.programs)
        rows = [["", "trace", "lower", "compile", "first run", "program from", "traced because of"]]
        if tiered:
            rows[0].insert(5, "answered by NumPy before")
        for program in self.programs:
            times = [getattr(program, stage) for stage in _STAGES]
            cells = ["" if t is None else f"{t * 1e3:.1f} ms" for t in times]
            if tiered:
                cells.append(_first_tier(program))
            rows.append([program.name, *cells, program.origin, program.reason])
        return rows


def _first_tier(program: Compilation) -> str:
    """How many calls the NumPy kernels answered, and when the program took over."""
    if not program.interpreted:
        return ""
    calls = f"{program.interpreted} call{'s' * (program.interpreted != 1)}"
    return calls if program.switched is None else f"{calls}, until {program.switched * 1e3:.1f} ms"


@contextmanager
def compile_report() -> Iterator[CompileReport]:
    """Report every program that is made while the context lasts: what each stage took, and why it was traced.

    A row for each trace of a jitted function and for each eager operation that had to be compiled: seconds of tracing,
    lowering, compiling and of the first run; of a tiered function how many calls the NumPy kernels answered, and after
    how many seconds the program took over (`interpreted`, `switched`); whether the program was compiled or found, in
    the process or on disk; and why the function was traced again: which argument differed from the calls before, by
    path. To have the same written to the log "pullback" of Python's `logging` as it happens:
    `config.update("log_compiles", True)`, and `"explain_cache_misses"` for the reasons.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.jit
    ... def double(params):
    ...     return 2 * params["w"]
    >>> with pb.debug.compile_report() as report:
    ...     _ = double({"w": pnp.ones(3)})
    ...     _ = double({"w": pnp.ones(4)})
    >>> print(report.programs[1].reason)
    argument 'params'['w']: f32[4], before f32[3]
    """
    with watching() as programs:
        yield CompileReport(programs)
