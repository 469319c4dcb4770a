"""The class of lists of devices, as JAX's module for sending Python functions to other processes has it.

Nothing is sent here: a function runs in its own process (`colocated_python`).
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback._xla import engine as _engine

__all__ = ["DeviceList"]

DeviceList: type = _engine.xla_client().DeviceList

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
