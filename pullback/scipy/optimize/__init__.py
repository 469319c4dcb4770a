"""Minima of functions, as in `scipy.optimize`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy.optimize._minimize import OptimizeResults as OptimizeResults
from pullback.scipy.optimize._minimize import minimize as minimize

__all__ = ["OptimizeResults", "minimize"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
