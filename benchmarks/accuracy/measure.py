"""Errors in units in the last place."""

from typing import NamedTuple

import numpy as np

from .exact import LARGE, NORMAL, SMALL, UNDEFINED, Exact

# derivatives may pass through a subnormal number, which is flushed, on the way to a result so many times as large
MARGIN = 16


class Errors(NamedTuple):
    """The errors on a grid, in units; and where a normal number came out as 0, infinite or nan."""

    units: np.ndarray
    lost: np.ndarray


def errors(result: np.ndarray, exact: Exact, limit: float, order: int) -> Errors:
    """Compare results with exact values. `limit`: what an infinity next to the largest number may be off by."""
    dtype = exact.nearest.dtype
    info = np.finfo(dtype)
    result = np.asarray(result, dtype)
    beyond = np.ldexp(1.0, 127 if dtype.itemsize == 4 else 1023)  # half of the number after the largest
    with np.errstate(all="ignore"):
        # infinity counts as the number after the largest; where there is no such number, all is halved
        scale = np.where(np.abs(exact.nearest) > 1, 0.5, 1.0)
        half = np.where(np.isinf(result), np.sign(result) * beyond, result.astype(np.float64) * scale)
        true = np.where(exact.kind == LARGE, np.sign(exact.nearest) * beyond, exact.nearest.astype(np.float64) * scale)
        ulp = np.spacing(np.clip(np.abs(exact.nearest), info.tiny, info.max)).astype(np.float64)
        units = np.abs((half - true) / (ulp * scale) - exact.fraction) / exact.unit
        # next to zero the error in ulp may itself be beyond the range
        units = np.where(exact.kind == SMALL, np.abs((half - true) / (ulp * exact.unit)), units)
        # what is too small for a normal number may be flushed to zero or kept
        bound = info.tiny * dtype.type(1 if order == 0 else MARGIN)
        small = (exact.kind == SMALL) | ((exact.kind == NORMAL) & (np.abs(exact.nearest) < bound))
        units = np.where(small & (np.abs(result - exact.nearest) <= bound), 0.0, units)
    units = np.where(np.isnan(result), np.inf, units)
    # beyond the largest number there is nothing to be nearer to
    units = np.where((exact.kind == LARGE) & (result == exact.nearest), 0.0, units)
    units = np.where(exact.kind == UNDEFINED, 0.0, units)
    vanished = (result == 0) | ~np.isfinite(result)
    return Errors(units, (exact.kind == NORMAL) & vanished & (units > limit))
