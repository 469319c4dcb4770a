"""User primitives: operations with their own rules for every transformation."""

import typing as _typing

from pullback._api.primitives import Primitive
from pullback._core.jaxpr import ClosedJaxpr, Jaxpr, Literal, Var
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray
from pullback._core.zeros import Zero
from pullback._ops.shape import instantiate

__all__ = ["ClosedJaxpr", "Jaxpr", "Literal", "Primitive", "ShapedArray", "Var", "Zero", "instantiate", "is_linear"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
