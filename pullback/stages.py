"""The stages of compilation as objects: `jit(f).trace(...)`, `.lower()`, `.compile()`."""

import typing as _typing

from pullback._api.stages import ArgInfo, Compiled, Lowered
from pullback._api.stages import Jitted as Wrapped
from pullback._api.stages import TracedStage as Traced
from pullback._core.lazy import attributes as _attributes

CompilerOptions = dict[str, str | bool]

__all__ = ["ArgInfo", "Compiled", "Lowered", "Traced", "Wrapped"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
