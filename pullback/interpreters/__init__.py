"""The rules of primitives, by transformation, under JAX's names: tables that lead to the rules of our primitives."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes

if _typing.TYPE_CHECKING:
    from pullback.interpreters import ad, batching, mlir, partial_eval, pxla, xla

__all__ = ["ad", "batching", "mlir", "partial_eval", "pxla", "xla"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {name: f"{__name__}.{name}" for name in __all__})
