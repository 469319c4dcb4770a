"""Small libraries under JAX's names, which programs and other libraries import: `optimizers` and `stax`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes

if _typing.TYPE_CHECKING:
    from pullback.example_libraries import optimizers as optimizers
    from pullback.example_libraries import stax as stax

__all__ = ["optimizers", "stax"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {name: f"pullback.example_libraries.{name}" for name in __all__})
