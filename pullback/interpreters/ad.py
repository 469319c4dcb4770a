"""Derivative rules of primitives under JAX's names: tables, and functions that fill them."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any

from pullback._api.derivatives import jvp as jvp
from pullback._api.linear_maps import linearize as linearize
from pullback._api.rule_tables import UndefinedPrimal, primitive_jvps, primitive_transposes
from pullback._core.array import Array
from pullback._core.errors import described
from pullback._core.lazy import attributes as _attributes
from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._ops.elementwise import add
from pullback._ops.shape import instantiate
from pullback._ops.shape import zeros_like_aval as zeros_like_aval
from pullback._transforms.jvp import DualTracer
from pullback._transforms.jvp import JVPTrace as JVPTrace

JVPTracer = DualTracer

__all__ = [
    "UndefinedPrimal",
    "Zero",
    "add_jaxvals",
    "add_tangents",
    "defbilinear",
    "defjvp",
    "defjvp2",
    "deflinear",
    "deflinear2",
    "get_primitive_transpose",
    "instantiate_zeros",
    "is_undefined_primal",
    "jvp",
    "linearize",
    "primitive_jvps",
    "primitive_transposes",
]


def is_undefined_primal(x: AnyValue) -> bool:
    """Return whether an operand of a transpose rule is a linear one, without value. Raises nothing.

    >>> is_undefined_primal(1.)
    False
    """
    return type(x) is UndefinedPrimal


def instantiate_zeros(tangent: AnyValue) -> Any:
    """An array of zeros for a symbolic zero; anything else as it is. Raises nothing.

    >>> import pullback as pb
    >>> print(instantiate_zeros(Zero(pb.typeof(1.))))
    0.0
    """
    return instantiate(tangent) if type(tangent) is Zero else tangent


def add_jaxvals(x: Array, y: Array) -> Array:
    """The sum of two arrays of one type. TypeError for different types.

    >>> import pullback.numpy as pnp
    >>> print(add_jaxvals(pnp.ones(2), pnp.ones(2)))
    [2. 2.]
    """
    return add(x, y)


def add_tangents(x: AnyValue, y: AnyValue) -> Any:
    """The sum of two tangents, each of which may be a symbolic zero. TypeError for different types.

    >>> import pullback as pb
    >>> print(add_tangents(Zero(pb.typeof(1.)), pb.numpy.float32(2)))
    2.0
    """
    if type(x) is Zero:
        return y
    return x if type(y) is Zero else add(x, y)


def get_primitive_transpose(p: Primitive) -> Callable[..., Any]:
    """The transpose rule of a primitive. NotImplementedError if it has none.

    >>> from pullback import lax
    >>> callable(get_primitive_transpose(lax.neg_p))
    True
    """
    try:
        return primitive_transposes[p]
    except KeyError:
        raise NotImplementedError(
            f"the primitive '{p}' has no transpose rule: it is not known to be linear. Set one: "
            "primitive_transposes[p] = rule, or p.def_transpose(rule)."
        ) from None


def _single(function: str, primitive: AnyValue) -> Primitive:
    if not isinstance(primitive, Primitive) or primitive.multiple_results:
        raise TypeError(f"{function}: expected a primitive with a single result, got {described(primitive)}")
    return primitive


def defjvp(primitive: Primitive, *jvprules: Callable[..., Any] | None) -> None:
    """Set the jvp rule of a primitive with one result from a rule per operand.

    Args:
      primitive: the primitive.
      jvprules: for each operand `rule(tangent, *operands, **params)`, its part of the tangent, or None for none.

    Raises: TypeError for a primitive with several results.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> p = pb.extend.core.Primitive("square")
    >>> _ = p.def_impl(lambda x: x * x), p.def_abstract_eval(lambda x: x)
    >>> defjvp(p, lambda t, x: 2 * x * t)
    >>> print(pb.grad(p.bind)(3.))
    6.0
    """
    defjvp2(primitive, *[rule and _ignoring_result(rule) for rule in jvprules])


def _ignoring_result(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tangent, result, *operands, **params: rule(tangent, *operands, **params)


def defjvp2(primitive: Primitive, *jvprules: Callable[..., Any] | None) -> None:
    """As `defjvp`, for rules that also get the result: `rule(tangent, result, *operands, **params)`.

    TypeError for a primitive with several results.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> p = pb.extend.core.Primitive("exponential")
    >>> _ = p.def_impl(pnp.exp), p.def_abstract_eval(lambda x: x)
    >>> defjvp2(p, lambda t, y, x: y * t)
    >>> print(pb.grad(p.bind)(0.))
    1.0
    """
    _single("defjvp", primitive)

    def rule(primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any) -> tuple[Any, Any]:
        result = primitive.bind(*primals, **params)
        total: Any = Zero.of(result.aval)
        for part, tangent in zip(jvprules, tangents, strict=True):
            if part is not None and type(tangent) is not Zero:
                total = add_tangents(total, part(tangent, result, *primals, **params))
        return result, total

    primitive_jvps[primitive] = rule


def deflinear2(primitive: Primitive, transpose_rule: Callable[..., Any]) -> None:
    """Make a primitive with one result linear in all operands: `transpose_rule(cotangent, *operands, **params)`.

    TypeError for a primitive with several results.

    >>> import pullback as pb
    >>> p = pb.extend.core.Primitive("double")
    >>> _ = p.def_impl(lambda x: x + x), p.def_abstract_eval(lambda x: x)
    >>> deflinear2(p, lambda ct, x: [p.bind(ct)])
    >>> print(pb.grad(p.bind)(3.))
    2.0
    """
    _single("deflinear2", primitive)

    def rule(primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any) -> tuple[Any, Any]:
        result = primitive.bind(*primals, **params)
        if all(type(tangent) is Zero for tangent in tangents):
            return result, Zero.of(result.aval)
        return result, primitive.bind(*map(instantiate_zeros, tangents), **params)

    primitive_jvps[primitive] = rule
    primitive_transposes[primitive] = transpose_rule


def deflinear(primitive: Primitive, transpose_rule: Callable[..., Any]) -> None:
    """As `deflinear2`, for a rule that does not get the operands: `transpose_rule(cotangent, **params)`.

    TypeError for a primitive with several results.

    >>> import pullback as pb
    >>> p = pb.extend.core.Primitive("half")
    >>> _ = p.def_impl(lambda x: x / 2), p.def_abstract_eval(lambda x: x)
    >>> deflinear(p, lambda ct: [p.bind(ct)])
    >>> print(pb.grad(p.bind)(3.))
    0.5
    """
    deflinear2(primitive, lambda cotangent, *operands, **params: transpose_rule(cotangent, **params))


def defbilinear(prim: Primitive, lhs_rule: Callable[..., Any], rhs_rule: Callable[..., Any]) -> None:
    """Make a primitive linear in each of two operands; a rule gives the cotangent of one: `rule(ct, x, y, **params)`.

    TypeError for a primitive with several results.

    >>> import pullback as pb
    >>> p = pb.extend.core.Primitive("times")
    >>> _ = p.def_impl(lambda x, y: x * y), p.def_abstract_eval(lambda x, y: x)
    >>> defbilinear(p, lambda ct, x, y: ct * y, lambda ct, x, y: ct * x)
    >>> print(pb.grad(p.bind)(3., 4.))
    4.0
    """
    _single("defbilinear", prim)
    defjvp(
        prim,
        lambda tangent, x, y, **params: prim.bind(tangent, y, **params),
        lambda tangent, x, y, **params: prim.bind(x, tangent, **params),
    )

    def transpose(cotangent: Any, x: Any, y: Any, **params: Any) -> list[Any]:
        if is_undefined_primal(x):
            return [lhs_rule(cotangent, x, y, **params), None]
        return [None, rhs_rule(cotangent, x, y, **params)]

    primitive_transposes[prim] = transpose


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"add_jaxvals_p": "pullback.extend.core.primitives:add_jaxvals_p"})
