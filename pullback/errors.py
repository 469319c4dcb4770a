"""The exceptions of the library."""

import typing as _typing

from pullback._core.check import JaxprTypeError
from pullback._core.dtypes import TypePromotionError
from pullback._core.errors import (
    ConcretizationTypeError,
    InconclusiveDimensionOperation,
    JAXIndexError,
    JAXTypeError,
    KeyReuseError,
    NonConcreteBooleanIndexError,
    ProcessFailureError,
    RuleCheckError,
    RuleError,
    RuleNotDefinedError,
    RuleOrderWarning,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
)
from pullback._core.lazy import attributes as _attributes

__all__ = [
    "ConcretizationTypeError",
    "InconclusiveDimensionOperation",
    "JAXIndexError",
    "JAXTypeError",
    "KeyReuseError",
    "JaxprTypeError",
    "NonConcreteBooleanIndexError",
    "ProcessFailureError",
    "RuleCheckError",
    "RuleError",
    "RuleNotDefinedError",
    "RuleOrderWarning",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
    "TypePromotionError",
    "UnexpectedTracerError",
]

if _typing.TYPE_CHECKING:
    JaxRuntimeError = RuntimeError  # the engine's class, derived from it
else:
    __getattr__, __dir__ = _attributes(__name__, {"JaxRuntimeError": "pullback._xla.engine:JaxRuntimeError"})
