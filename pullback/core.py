"""Jaxprs and tracers, for tools that read or run them."""

import typing as _typing

from pullback._api.compile_time import ensure_compile_time_eval
from pullback._api.primitives import Primitive
from pullback._api.trace_state import eval_context, get_aval
from pullback._core.check import check_jaxpr
from pullback._core.jaxpr import Atom, ClosedJaxpr, Equation, Jaxpr, Literal, Var, eval_jaxpr
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import Trace as Trace
from pullback._core.trace import Tracer
from pullback._core.types import AbstractValue, ShapedArray
from pullback._transforms.dce import dce

Value = _typing.Any
ParamDict = dict[str, _typing.Any]
max_dim = max
min_dim = min

__all__ = [
    "AbstractValue",
    "Atom",
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
    "ensure_compile_time_eval",
    "eval_context",
    "eval_jaxpr",
    "get_aval",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(
        __name__, {"pytype_aval_mappings": "pullback.interpreters.xla:pytype_aval_mappings"}
    )
