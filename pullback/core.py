"""Jaxprs and tracers, for tools that read or run them."""

import typing as _typing

from pullback._api.primitives import Primitive
from pullback._core.check import check_jaxpr
from pullback._core.jaxpr import ClosedJaxpr, Equation, Jaxpr, Literal, Var, eval_jaxpr
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import Tracer
from pullback._core.types import ShapedArray
from pullback._transforms.dce import dce

__all__ = [
    "ClosedJaxpr",
    "Equation",
    "Jaxpr",
    "Literal",
    "Primitive",
    "ShapedArray",
    "Tracer",
    "Var",
    "check_jaxpr",
    "dce",
    "eval_jaxpr",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
