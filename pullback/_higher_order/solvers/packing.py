"""The parts of a state as few arrays, so that a solver has little to do, and the compiler little to compile, for each.

Parts that the function of a problem reads stay what they are. What it only writes, such as the integrals of an adjoint
equation, of which there is one for each parameter, is one vector for each dtype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pullback._core.array import Array
from pullback._core.types import ShapedArray
from pullback._ops.assemble import concatenate
from pullback._ops.shape import reshape
from pullback._ops.slicing import slice_in_dim


class Packing:
    """How parts, whose leading axes are `lanes` in number, become arrays; `reads` flags the arrays that are read."""

    def __init__(self, avals: Sequence[ShapedArray], reads: Sequence[bool], lanes: int):
        self._avals = avals
        self._lanes = lanes
        vectors: dict[np.dtype, list[int]] = {}
        for i, aval in enumerate(avals):
            if not reads[i]:
                vectors.setdefault(aval.dtype, []).append(i)
        self._groups: list[list[int]] = [[i] for i, read in enumerate(reads) if read]
        self.reads: list[bool] = [True] * len(self._groups) + [False] * len(vectors)
        self._groups += vectors.values()

    def packed(self, parts: Sequence[Array]) -> list[Array]:
        """The arrays of the parts."""
        return [
            parts[group[0]] if len(group) == 1 else concatenate([self._flat(parts[i]) for i in group], self._lanes)
            for group in self._groups
        ]

    def _flat(self, x: Array) -> Array:
        shape = x.aval.shape
        return reshape(x, (*shape[: self._lanes], math.prod(shape[self._lanes :])))

    def unpacked(self, arrays: Sequence[Array], further: int = 0) -> list[Array]:
        """The parts of arrays, which may have further leading axes."""
        parts: dict[int, Array] = {}
        for group, x in zip(self._groups, arrays, strict=True):
            axis, start = self._lanes + further, 0
            for i in group:
                shape = self._avals[i].shape[self._lanes :]
                stop = start + math.prod(shape)
                part = x if len(group) == 1 else slice_in_dim(x, start, stop, 1, axis)
                parts[i] = reshape(part, (*x.aval.shape[:axis], *shape))
                start = stop
        return [parts[i] for i in range(len(self._avals))]


__all__ = ["Packing"]
