"""Lowering rules of primitives under JAX's names.

A rule emits StableHLO by `ctx.op`, is made of a function, or builds operations from MLIR's Python objects.
"""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable
from typing import Any

from pullback._api.rule_tables import LoweringContext, lower_from, lower_fun, rule_of_platform
from pullback._core.arguments import aval_of, check_callable
from pullback._core.array import ArrayLike
from pullback._core.errors import described
from pullback._core.lazy import attributes as _attributes
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray
from pullback._xla.built_rules import constant as _constant
from pullback._xla.lowering import Value as Value

LoweringRuleContext = LoweringContext

__all__ = ["ir_constant", "lower_fun", "register_lowering"]


def ir_constant(val: ArrayLike, *, const_lowering: Any = None, aval: ShapedArray | None = None) -> Any:
    """A number or an array as a constant, MLIR's value, for a lowering rule that builds operations.

    `aval` is its type, its own if None; `const_lowering` is without meaning here. TypeError for anything else;
    RuntimeError outside of a rule.

    >>> import pullback as pb
    >>> from jaxlib.mlir.dialects import stablehlo as hlo
    >>> p = pb.extend.core.Primitive("next")
    >>> _ = p.def_abstract_eval(lambda x: x)
    >>> register_lowering(p, lambda ctx, x: [hlo.add(x, ir_constant(1.0))])
    >>> print(pb.jit(p.bind)(2.0))
    3.0
    """
    return _constant(val, aval_of(val) if aval is None else aval)


def register_lowering(
    prim: Primitive,
    rule: Callable[..., Any],
    platform: str | None = None,
    inline: bool = True,
    cacheable: bool = True,
) -> None:
    """Set the lowering rule of a primitive: `rule(ctx, *operands, **params)`, usually `lower_fun(function)`.

    Args:
      prim: the primitive.
      rule: it gets `ctx.avals_in`, `ctx.avals_out` and what ARCHITECTURE.md says of `ctx`; it returns values. A rule
        that builds operations from MLIR's Python objects gets values of MLIR's, and returns such.
      platform: the platform that the rule is for, such as "cpu" or "cuda"; None: all that have no rule of their own.
      inline, cacheable: without meaning here.

    Raises: TypeError for anything but a primitive and a function.

    >>> import pullback as pb
    >>> p = pb.extend.core.Primitive("double")
    >>> _ = p.def_abstract_eval(lambda x: x)
    >>> register_lowering(p, lower_fun(lambda x: x + x, multiple_results=False))
    >>> print(pb.jit(p.bind)(2.))
    4.0
    """
    if not isinstance(prim, Primitive):
        raise TypeError(f"register_lowering: expected a primitive, got {described(prim)}")
    check_callable(f"register_lowering of {prim}", rule)
    prim.lower = rule_of_platform(prim, platform, lower_from(prim, rule))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
