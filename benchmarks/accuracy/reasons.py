"""Why a line misses its goal, where that is known and stays: the last column of "Goals missed".

A reason says what bounds the error, and what a better result would cost. A line without one is open.
"""

import fnmatch
from typing import NamedTuple

from .compare import Line


class Reason(NamedTuple):
    """`name` is the name of a function, or a pattern with * or ?; `dtype` or `order` None stands for all."""

    name: str
    dtype: str | None
    order: int | None
    why: str

    def holds_for(self, line: Line) -> bool:
        return (fnmatch.fnmatchcase(line.name, self.name) and self.dtype in (None, line.dtype)
                and self.order in (None, line.order))


REASONS: tuple[Reason, ...] = ()


def why(line: Line) -> str:
    """The first reason for a line, or "open"."""
    return next((reason.why for reason in REASONS if reason.holds_for(line)), "open")
