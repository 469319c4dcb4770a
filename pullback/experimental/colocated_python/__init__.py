"""Python functions beside the devices of their arguments, under JAX's names: `colocated_python` and its like."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.experimental.colocated_python.api import colocated_cpu_devices as colocated_cpu_devices
from pullback.experimental.colocated_python.api import colocated_python as colocated_python
from pullback.experimental.colocated_python.api import colocated_python_class as colocated_python_class

__all__ = ["colocated_cpu_devices", "colocated_python", "colocated_python_class"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
