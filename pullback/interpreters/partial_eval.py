"""Partial evaluation and tracing under JAX's names, as libraries ask for them."""

from __future__ import annotations

import typing as _typing

from pullback._api.partial_evaluation import (
    PartialVal,
    dce_jaxpr,
    dce_jaxpr_consts,
    trace_to_jaxpr_dynamic,
    trace_to_jaxpr_nounits,
)
from pullback._core.lazy import attributes as _attributes
from pullback._core.staging import StagedTracer

Val = _typing.Any
DynamicJaxprTracer = JaxprTracer = StagedTracer

__all__ = [
    "PartialVal",
    "dce_jaxpr",
    "dce_jaxpr_consts",
    "trace_to_jaxpr_dynamic",
    "trace_to_jaxpr_nounits",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
