"""Functions with derivative rules that their author wrote, under JAX's names."""

from __future__ import annotations

import typing as _typing
from typing import Any, ClassVar

from pullback._api.closures import closure_convert, custom_gradient, linear_call
from pullback._api.rules import custom_rules
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree, Q, R
from pullback._core.zeros import Zero as SymbolicZero
from pullback._core.zeros import zero_of
from pullback._higher_order.custom.checks import zeros_for_user
from pullback._higher_order.custom.user_rules import CustomVJPPrimal
from pullback._ops.families import operands

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_rules",
    "custom_vjp",
    "linear_call",
    "zero_from_primal",
]


class custom_jvp(custom_rules[R, Q]):
    """A function with a forward-mode rule; reverse mode follows by transposing it.

    Args:
      fun: the function, of arrays or pytrees of arrays.
      nondiff_argnums, nondiff_argnames: arguments that are not arrays (functions, strings), by position or name. They
        come first among the arguments of the rule.

    The rule is given by `defjvp`, or argument by argument by `defjvps`. It must be linear in the tangents.
    Keyword arguments and defaults are mapped to positions through the function's signature.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.custom_jvp
    ... def log1pexp(x):
    ...     return pnp.log(1. + pnp.exp(x))
    >>> @log1pexp.defjvp
    ... def log1pexp_jvp(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), (1 - 1 / (1 + pnp.exp(x))) * t
    >>> print(pb.grad(log1pexp)(100.))
    1.0
    """

    definable: ClassVar[tuple[str, ...]] = "defjvp(rule)", "defjvps(*rules)"


class custom_vjp(custom_rules[R, Q]):
    """A function with a reverse-mode rule. Forward mode is refused unless `jvp` names its source.

    Args:
      fun: the function, of arrays or pytrees of arrays.
      nondiff_argnums, nondiff_argnames: arguments that are not arrays (functions, strings), by position or name. `fwd`
        takes them where `fun` does; they come first among the arguments of `bwd`.
      jvp: the source of forward mode: None, "transpose", "fwd" or "primal", see `custom_rules`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @pb.custom_vjp
    ... def clip_gradient(lo, hi, x):
    ...     return x
    >>> clip_gradient.defvjp(lambda lo, hi, x: (x, (lo, hi)),
    ...                      lambda res, g: (None, None, pnp.clip(g, *res)))
    >>> print(pb.grad(lambda x: clip_gradient(-1., 1., x) * 5.)(2.))
    1.0
    """

    definable: ClassVar[tuple[str, ...]] = ("defvjp(fwd, bwd)",)


@boundary
def zero_from_primal(val: PyTree, symbolic_zeros: bool = False) -> Any:
    """The zero tangent at a value: of its shape and dtype, or of the dtype float0 where it has no derivative.

    Args:
      val: an array or number, or a pytree of them, of which the result is one of zeros.
      symbolic_zeros: whether to return a `SymbolicZero`, which stores the type alone.

    Raises: TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> from pullback.custom_derivatives import zero_from_primal
    >>> print(zero_from_primal(pnp.ones(2)), zero_from_primal(pnp.ones(2), symbolic_zeros=True))
    [0. 0.] SymbolicZero(f32[2])
    """
    if isinstance(val, Array):
        return _zero_at(val, symbolic_zeros)
    return tree_map(lambda leaf: _zero_at(leaf, symbolic_zeros), val)


def _zero_at(val: ArrayLike, symbolic: bool) -> Any:
    aval = operands("zero_from_primal", val)[0].aval
    return zero_of(aval) if symbolic else zeros_for_user(aval.to_tangent_aval())


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
