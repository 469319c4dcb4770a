"""One line of the table: a function in a dtype, or one of its derivatives, by every library."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from . import exact, grid, libraries, measure
from .exact import UNDEFINED
from .function import Function


class Cell(NamedTuple):
    """The worst error of a library on a grid, where it is, how many values were lost, and what the value was."""

    worst: float
    where: tuple[float, ...]
    lost: int
    argument: int
    got: float
    true: float


class Line(NamedTuple):
    name: str
    dtype: str
    order: int
    limit: float
    cells: dict[str, Cell | None]

    @property
    def ours(self) -> list[Cell]:
        return [cell for name in ("eager", "compiled") if (cell := self.cells.get(name)) is not None]

    @property
    def good(self) -> bool:
        return all(cell.worst <= self.limit and not cell.lost for cell in self.ours)

    @property
    def behind(self) -> bool:
        """Whether JAX is nearer, beyond the goal."""
        peer = self.cells.get("JAX")
        return peer is not None and any(cell.worst > max(peer.worst, self.limit) for cell in self.ours)


def _cells(
    function: Function, order: int, argument: int, points: list[np.ndarray], columns: Iterable[str], keep: bool
) -> dict[str, Cell | None]:
    true = exact.on_grid(function, order, argument, points, keep)
    known = true.kind != UNDEFINED
    cells: dict[str, Cell | None] = {}
    for name in columns:
        with np.errstate(all="ignore"):
            result = libraries.COLUMNS[name](function, order, argument, points)
        if result is None:
            cells[name] = None
            continue
        units, lost = measure.errors(result, true, function.limit(order), order)
        at = int(np.argmax(np.where(known, units, -1.0)))
        cells[name] = Cell(
            float(units[at]),
            tuple(float(x[at]) for x in points),
            int(lost.sum()),
            argument,
            float(result[at]),
            float(true.nearest[at]),
        )
    return cells


def _worse(a: Cell | None, b: Cell | None) -> Cell | None:
    if a is None or b is None:
        return a or b
    return (a if a.worst >= b.worst else b)._replace(lost=a.lost + b.lost)


def lines(
    function: Function,
    dtypes: Iterable[str] = ("float32", "float64"),
    orders: Iterable[int] = (0, 1, 2),
    columns: Iterable[str] = tuple(libraries.COLUMNS),
    scale: float = 1.0,
    keep: bool = True,
) -> Iterator[Line]:
    """The lines of a function. `scale`: how many numbers, 1 for all; `keep`: use the store of exact values."""
    for dtype in dtypes:
        if dtype not in function.dtypes:
            continue
        points = grid.of_function(function, np.dtype(dtype), scale)
        for order in orders:
            if order not in function.orders:
                continue
            arguments = [i for i in range(function.arity) if i not in function.constant] if order else [0]
            total: dict[str, Cell | None] = dict.fromkeys(columns)
            for argument in arguments:
                found = _cells(function, order, argument, points, columns, keep)
                total = {name: _worse(total[name], found[name]) for name in columns}
            yield Line(function.name, dtype, order, function.limit(order), total)
