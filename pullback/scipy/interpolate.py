"""Interpolation on grids, as in `scipy.interpolate`."""

from __future__ import annotations

import itertools
import typing as _typing
from collections.abc import Sequence

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import Tracer
from pullback._core.tree import register_pytree_node
from pullback.numpy._elementwise.promotion import FLOAT, INEXACT, as_operand, promote_operands

__all__ = ["RegularGridInterpolator"]

_METHODS = ("linear", "nearest")


class RegularGridInterpolator:
    """A function of n variables, interpolated between its values on a rectangular grid.

    Args:
      points: n vectors, the coordinates of the grid along each axis, rising, or falling where they are no tracers.
      values: the values on the grid, of shape (len(points[0]), ..., len(points[n - 1])) and any further axes.
      method: "linear" or "nearest".
      bounds_error: whether a point outside of the grid raises an error; not implemented, since compiled code cannot.
      fill_value: the value outside of the grid, of a type that `values` can hold; None extrapolates.

    It is a pytree whose leaves are the grid, the values and the value outside, so it may be an argument or a result of
    transformed functions. A call `interpolator(xi, method=None)` takes points of shape (..., n), or a tuple of n arrays
    that broadcast, and returns the values there, differentiable in the points, the grid and the values.

    Raises: ValueError for shapes that do not match, unsorted coordinates, an unknown method or a complex `fill_value`
      for real values; NotImplementedError for `bounds_error=True`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.interpolate import RegularGridInterpolator
    >>> f = RegularGridInterpolator((pnp.array([0., 1.]), pnp.array([0., 2.])), pnp.array([[0., 2.], [1., 3.]]))
    >>> print(f(pnp.array([[0.5, 1.], [3., 0.]])))
    [1.5 nan]
    """

    @boundary
    def __init__(
        self,
        points: Sequence[ArrayLike],
        values: ArrayLike,
        method: str = "linear",
        bounds_error: bool = False,
        fill_value: ArrayLike | None = np.nan,
    ) -> None:
        _check_method(method)
        if bounds_error:
            raise NotImplementedError(
                "RegularGridInterpolator: bounds_error=True is not implemented, for compiled code cannot raise; "
                "points outside of the grid get fill_value"
            )
        self.method: str = method
        self.bounds_error: bool = bounds_error
        (table,) = promote_operands("RegularGridInterpolator", INEXACT, values)
        grid = [as_operand(x, "RegularGridInterpolator", f"points[{i}]") for i, x in enumerate(points)]
        if len(grid) > table.ndim:
            raise ValueError(
                f"RegularGridInterpolator: there are {len(grid)} vectors of points, but values has shape {table.shape}"
            )
        for i, line in enumerate(grid):
            if line.ndim != 1 or line.size != table.shape[i] or not line.size:
                raise ValueError(
                    f"RegularGridInterpolator: points[{i}] must be a vector as long as axis {i} of values, of shape "
                    f"{table.shape}, got shape {line.shape}"
                )
            if isinstance(line, Tracer):
                continue
            steps = np.diff(np.asarray(line).astype(np.float64))
            if (steps < 0).all() and steps.size:
                grid[i], table = line[::-1], pnp.flip(table, i)
            elif not (steps > 0).all():
                raise ValueError(f"RegularGridInterpolator: points[{i}] must rise or fall, got {np.asarray(line)}")
        self.fill_value: Array | None = None
        if fill_value is not None:
            fill = as_operand(fill_value, "RegularGridInterpolator", "fill_value")
            if dtypes.is_complex(fill.dtype) and not dtypes.is_complex(table.dtype):
                raise ValueError("RegularGridInterpolator: fill_value must be real, as values is")
            self.fill_value = fill
        self.grid: tuple[Array, ...] = tuple(grid)
        self.values: Array = table

    @boundary
    def __call__(self, xi: ArrayLike | tuple[ArrayLike, ...], method: str | None = None) -> Array:
        """The values at points of shape (..., n), or at a tuple of n arrays of coordinates."""
        method = self.method if method is None else method
        _check_method(method)
        n = len(self.grid)
        where = "RegularGridInterpolator"
        if isinstance(xi, tuple) and len(xi) != 1:
            at = list(promote_operands(where, FLOAT, *xi))
            if len(at) != n:
                raise ValueError(f"{where}: expected {n} arrays of coordinates, got {len(at)}")
            shape = pnp.broadcast_shapes(*(x.shape for x in at))
        else:
            (place,) = promote_operands(where, FLOAT, xi[0] if isinstance(xi, tuple) else xi)
            if place.ndim < 2:
                if n == 0 or place.size % n:
                    raise ValueError(f"{where}: expected points of {n} coordinates, got shape {place.shape}")
                place = place.reshape(-1, n)
            if place.shape[-1] != n:
                raise ValueError(f"{where}: expected points of {n} coordinates, got shape {place.shape}")
            at, shape = [place[..., i] for i in range(n)], place.shape[:-1]
        trailing = self.values.ndim - n
        cells = [_cell(x, line) for x, line in zip(at, self.grid, strict=True)]
        if method == "nearest":
            result = self.values[tuple(pnp.where(t <= 0.5, low, high) for low, high, t in cells)]
            lost = sum((pnp.isnan(t) for *_, t in cells), pnp.zeros(shape, bool))
            result = pnp.where(lost.reshape(*shape, *(1,) * trailing), np.nan, result)
        else:
            result = pnp.zeros((), self.values.dtype)
            for corner in itertools.product((0, 1), repeat=n):
                part = self.values[tuple(cell[side] for side, cell in zip(corner, cells, strict=True))]
                for side, (_, _, t) in zip(corner, cells, strict=True):
                    part = part * (t if side else 1 - t).reshape(*t.shape, *(1,) * trailing)
                result = result + part
        if self.fill_value is not None:
            outside = pnp.zeros(shape, bool)
            for x, line in zip(at, self.grid, strict=True):
                outside = outside | (x < line[0]) | (x > line[-1])
            result = pnp.where(outside.reshape(*shape, *(1,) * trailing), self.fill_value, result)
        return result


def _check_method(method: str) -> None:
    if method not in _METHODS:
        raise ValueError(f"RegularGridInterpolator: method must be 'linear' or 'nearest', got {method!r}")


def _cell(x: Array, line: Array) -> tuple[Array, Array, Array]:
    """The indices of the ends of the cell that numbers are in, and how far in it they are, from 0 to 1."""
    last = line.size - 1
    low = pnp.clip(pnp.searchsorted(line, x, side="left") - 1, 0, max(last - 1, 0))
    high = pnp.minimum(low + 1, last)
    width = line[high] - line[low] if last else 1
    return low, high, (x - line[low]) / width


def _flatten(f: RegularGridInterpolator) -> tuple[tuple, tuple]:
    return (f.grid, f.values, f.fill_value), (f.method, f.bounds_error)


def _unflatten(aux: tuple, children: tuple) -> RegularGridInterpolator:
    f = object.__new__(RegularGridInterpolator)
    (f.grid, f.values, f.fill_value), (f.method, f.bounds_error) = children, aux
    return f


register_pytree_node(RegularGridInterpolator, _flatten, _unflatten)

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
