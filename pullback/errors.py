"""The exceptions of the library."""
from pullback._core.check import JaxprTypeError
from pullback._core.dtypes import TypePromotionError
from pullback._core.errors import (
    ConcretizationTypeError,
    NonConcreteBooleanIndexError,
    RuleCheckError,
    RuleError,
    RuleNotDefinedError,
    RuleOrderWarning,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
)

__all__ = ["ConcretizationTypeError", "JaxprTypeError", "NonConcreteBooleanIndexError", "RuleCheckError", "RuleError",
           "RuleNotDefinedError", "RuleOrderWarning", "TracerArrayConversionError", "TracerBoolConversionError",
           "TracerIntegerConversionError", "TypePromotionError", "UnexpectedTracerError"]
