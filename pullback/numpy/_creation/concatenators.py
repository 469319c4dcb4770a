"""`r_` and `c_`, which join slices and pieces in square brackets; `s_` and `index_exp`, which give indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue
from pullback._ops.shape import reshape
from pullback.numpy._creation.creation import as_array
from pullback.numpy._creation.ranges import from_slice
from pullback.numpy._shape.joining import concatenate

__all__ = ["c_", "index_exp", "r_", "s_"]


class _Concatenator:
    """Pieces joined along an axis: `axis`, the least number of axes `ndmin`, and where the axes of a piece go, `first`.

    A string as the first piece sets them, as "axis", "axis,ndmin" or "axis,ndmin,first"; "r" and "c" make a row and a
    column of vectors.
    """

    def __init__(self, name: str, axis: int, ndmin: int, first: int):
        self.name = name
        self.settings: tuple[int, int, int] = axis, ndmin, first

    def __repr__(self) -> str:
        return f"numpy.{self.name}"

    @boundary
    def __getitem__(self, key: AnyValue) -> Array:
        pieces = list(key) if isinstance(key, tuple) else [key]
        settings, matrix = self.settings, ""
        if pieces and isinstance(pieces[0], str):
            matrix = pieces[0] if pieces[0] in ("r", "c") else ""
            if not matrix:
                settings = self._directive(pieces[0])
            elif self is r_:  # those of c_ make columns already
                settings = 0, 1, -1
            del pieces[0]
        if any(isinstance(piece, str) for piece in pieces):
            raise ValueError(f"{self.name}: a string that says how to join must come first, got {key!r}")
        if not pieces:
            raise ValueError(f"{self.name}: expected pieces to join, got none")
        axis, ndmin, first = settings
        result = concatenate([self._piece(piece, ndmin, first) for piece in pieces], axis)
        if matrix and result.ndim == 1:
            return reshape(result, (1, result.size) if matrix == "r" else (result.size, 1))
        return result

    def _directive(self, text: str) -> tuple[int, int, int]:
        axis, ndmin, first = self.settings
        try:
            given = [int(part) for part in text.split(",")]
        except ValueError:
            given = []
        if not 1 <= len(given) <= 3:
            raise ValueError(
                f"{self.name}: the string must be 'r', 'c', or up to three integers 'axis,ndmin,first', got {text!r}"
            )
        axis, ndmin, first = (*given, *(axis, ndmin, first)[len(given) :])
        return axis, ndmin, first

    def _piece(self, piece: Any, ndmin: int, first: int) -> Array:
        x = from_slice(piece) if isinstance(piece, slice) else as_array(self.name, piece)
        lacking = max(ndmin - x.ndim, 0)
        before = first if first >= 0 else lacking + 1 + first
        if lacking and not 0 <= before <= lacking:
            raise ValueError(
                f"{self.name}: the axes of a piece of {x.ndim} can begin at 0 to {lacking} of {ndmin}, got {first}"
            )
        return reshape(x, (*(1,) * before, *x.shape, *(1,) * (lacking - before))) if lacking else x


r_: _Concatenator = _Concatenator("r_", 0, 1, -1)
c_: _Concatenator = _Concatenator("c_", -1, 2, 0)
# they return the indices that they are given, and hold no arrays
s_: Any = np.s_
index_exp: Any = np.index_exp
