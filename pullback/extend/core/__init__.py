"""User primitives: operations with their own rules for every transformation; what tools ask of jaxprs and traces."""

import typing as _typing
from collections.abc import Set

from pullback._api.primitives import Primitive
from pullback._api.trace_state import (
    DropVar,
    array_types,
    call_impl,
    concrete_or_error,
    find_top_trace,
    gensym,
    get_aval,
    get_opaque_trace_state,
    jaxpr_as_fun,
    jaxprs_in_params,
    mapped_aval,
    new_jaxpr_eqn,
    primal_dtype_to_tangent_dtype,
    set_current_trace,
    subjaxprs,
    take_current_trace,
    trace_state_clean,
    unmapped_aval,
    valid_jaxtype,
)
from pullback._api.trace_state import nonempty_axis_env as nonempty_axis_env_DO_NOT_USE
from pullback._api.trace_state import unsafe_am_i_under_a_jit as unsafe_am_i_under_a_jit_DO_NOT_USE
from pullback._api.trace_state import unsafe_am_i_under_a_vmap as unsafe_am_i_under_a_vmap_DO_NOT_USE
from pullback._api.trace_state import unsafe_get_axis_names as unsafe_get_axis_names_DO_NOT_USE
from pullback._core.check import JaxprTypeError, check_jaxpr
from pullback._core.errors import InconclusiveDimensionOperation
from pullback._core.jaxpr import ClosedJaxpr, Effect, Jaxpr, Literal, Var
from pullback._core.jaxpr import Equation as JaxprEqn
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray
from pullback._core.zeros import Zero
from pullback._ops.shape import instantiate

if _typing.TYPE_CHECKING:
    from pullback.api_util import DebugInfo as DebugInfo
    from pullback.extend.core import primitives as primitives

Effects = Set[Effect]
no_effects: Effects = frozenset()

__all__ = [
    "ClosedJaxpr",
    "DebugInfo",
    "DropVar",
    "Effect",
    "InconclusiveDimensionOperation",
    "Jaxpr",
    "JaxprEqn",
    "JaxprTypeError",
    "Literal",
    "Primitive",
    "ShapedArray",
    "Var",
    "Zero",
    "array_types",
    "call_impl",
    "check_jaxpr",
    "concrete_or_error",
    "find_top_trace",
    "gensym",
    "get_aval",
    "get_opaque_trace_state",
    "instantiate",
    "is_linear",
    "jaxpr_as_fun",
    "jaxprs_in_params",
    "mapped_aval",
    "new_jaxpr_eqn",
    "no_effects",
    "nonempty_axis_env_DO_NOT_USE",
    "primal_dtype_to_tangent_dtype",
    "set_current_trace",
    "subjaxprs",
    "take_current_trace",
    "trace_state_clean",
    "unmapped_aval",
    "unsafe_am_i_under_a_jit_DO_NOT_USE",
    "unsafe_am_i_under_a_vmap_DO_NOT_USE",
    "unsafe_get_axis_names_DO_NOT_USE",
    "valid_jaxtype",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(
        __name__, {"primitives": "pullback.extend.core.primitives", "DebugInfo": "pullback.api_util:DebugInfo"}
    )
