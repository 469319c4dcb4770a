"""Rotations of space, as in `scipy.spatial`: see `spatial.transform`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy.spatial import transform as transform

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
