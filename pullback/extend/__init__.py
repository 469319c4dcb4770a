"""Extension of the library: see `pullback.extend.core`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.extend import backend, core, linear_util, source_info_util

__all__ = ["backend", "core", "linear_util", "source_info_util"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {name: f"{__name__}.{name}" for name in ("ifrt_programs", "random")})
