"""The parts of a backward pass: accumulators, where it adds cotangents up."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback._transforms.accumulators import GradAccum, NullAccum, ValAccum

__all__ = ["GradAccum", "NullAccum", "ValAccum"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
