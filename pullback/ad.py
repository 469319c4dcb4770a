"""The parts of a backward pass: accumulators, where it adds cotangents up, and where gradients go."""

import typing as _typing

from pullback._api.gradient_entries import DidntWant, DontWant, GradRef, GradValue, NotNeeded, NotSaveable
from pullback._api.vjp_object import VJP
from pullback._core.lazy import attributes as _attributes
from pullback._transforms.accumulators import GradAccum, NullAccum, RefAccum, ValAccum

__all__ = [
    "DidntWant",
    "DontWant",
    "GradAccum",
    "GradRef",
    "GradValue",
    "NotNeeded",
    "NotSaveable",
    "NullAccum",
    "RefAccum",
    "VJP",
    "ValAccum",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
