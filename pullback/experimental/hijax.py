"""Primitives as classes that carry their rules, and types of one's own.

docs/own_types.md is the guide to types: values of a registered class are passed to functions, returned, differentiated
and mapped as arrays are; what is done with them is done by functions with rules and by such primitives.
"""

import typing as _typing

from pullback._api.batch_helpers import bdims_at_front, unmap_avals, vmap_rule
from pullback._api.derived_rules import (
    jvp_from_expand,
    jvp_from_lin,
    linearize_from_jvp,
    vjp_from_expand,
    vjp_from_jvp,
    vjp_from_lin,
)
from pullback._api.older_hijax import HiPrimitive, MutableHiType, control_flow_allowed_effects
from pullback._api.primitive_class import HiPrim, VJPHiPrimitive
from pullback._core.errors import boundary
from pullback._core.hitypes import HiType, MappingSpec, register_hitype
from pullback._core.lazy import attributes as _attributes
from pullback._core.own_attributes import aval_method, aval_property
from pullback._core.tree_paths import tree_map
from pullback._core.types import ShapedArray
from pullback._core.typing import PyTree
from pullback._core.zeros import Zero
from pullback._higher_order.custom.class_call import AxisData
from pullback._higher_order.custom.class_remat import RematTrace
from pullback._higher_order.custom.ruled_call import instantiated
from pullback._transforms.accumulators import GradAccum, NullAccum, RefAccum, ValAccum

__all__ = [
    "AxisData",
    "GradAccum",
    "HiPrim",
    "HiPrimitive",
    "HiType",
    "MappingSpec",
    "MutableHiType",
    "NullAccum",
    "RefAccum",
    "RematTrace",
    "ShapedArray",
    "VJPHiPrimitive",
    "ValAccum",
    "Zero",
    "aval_method",
    "aval_property",
    "bdims_at_front",
    "control_flow_allowed_effects",
    "instantiate_zeros",
    "jvp_from_expand",
    "jvp_from_lin",
    "linearize_from_jvp",
    "register_hitype",
    "unmap_avals",
    "vjp_from_expand",
    "vjp_from_jvp",
    "vjp_from_lin",
    "vmap_rule",
]


@boundary
def instantiate_zeros(tree: PyTree) -> _typing.Any:
    """A pytree of tangents or cotangents with arrays of zeros in place of symbolic zeros.

    >>> import pullback as pb
    >>> from pullback.experimental.hijax import Zero, instantiate_zeros
    >>> instantiate_zeros((Zero(pb.typeof(1.)), 2.))
    (Array(0., dtype=float32, weak_type=True), 2.0)
    """
    return tree_map(instantiated, tree)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
