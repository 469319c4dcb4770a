"""The engine's own module for programs that are sent to other processes, as JAX hands it on."""

import typing as _typing
from types import ModuleType as _ModuleType

from pullback._core.lazy import attributes as _attributes
from pullback._xla import engine as _engine

__all__ = ["ifrt_programs"]

ifrt_programs: _ModuleType = _engine.xla_client()._xla.ifrt_programs

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
