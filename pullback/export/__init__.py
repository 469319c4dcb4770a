"""Functions in files: exported here, called elsewhere, with their rules and under every transformation.

The names are those of `jax.export`, and so is the format: JAX opens the files, and its own are opened here.
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.export._exported import Exported
from pullback.export._exporting import NEWEST_CONVENTION as maximum_supported_calling_convention_version
from pullback.export._exporting import OLDEST_CONVENTION as minimum_supported_calling_convention_version
from pullback.export._exporting import default_export_platform, export
from pullback.export._files import deserialize
from pullback.export._flatbuffers import MalformedFileError
from pullback.export._symbolic import SymbolicScope, is_symbolic_dim, symbolic_args_specs, symbolic_shape
from pullback.export._trees import register_namedtuple_serialization, register_pytree_node_serialization
from pullback.export._types import DisabledSafetyCheck

__all__ = [
    "DisabledSafetyCheck",
    "Exported",
    "MalformedFileError",
    "SymbolicScope",
    "default_export_platform",
    "deserialize",
    "export",
    "is_symbolic_dim",
    "maximum_supported_calling_convention_version",
    "minimum_supported_calling_convention_version",
    "register_namedtuple_serialization",
    "register_pytree_node_serialization",
    "symbolic_args_specs",
    "symbolic_shape",
]

MalformedFileError.__module__ = __name__  # where users see it

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
