"""Functions with derivative rules that their author wrote, under JAX's names."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pullback._api.closures import closure_convert, custom_gradient, linear_call
from pullback._api.primitive_names import subset as _primitives
from pullback._api.rules import custom_rules
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree, Q, R
from pullback._core.zeros import Zero as SymbolicZero
from pullback._core.zeros import zero_of
from pullback._higher_order.custom.checks import zeros_for_user
from pullback._higher_order.custom.user_remat import UserRemat
from pullback._higher_order.custom.user_rules import CustomVJPPrimal
from pullback._ops.families import operands

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_remat",
    "custom_rules",
    "custom_vjp",
    "custom_vjp_primal_tree_values",
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


class custom_remat(custom_rules[R, Q]):
    """A function with rules of its own for `checkpoint`: what is saved of it, and how the rest is recomputed.

    Args:
      f: the function, of arrays or pytrees of arrays.
      f_fwd: `f_fwd(policy, *args) -> (out, residuals)`, in the forward pass. `policy` is that of the innermost
        `checkpoint`, None if it has none. The residuals are all that is saved, beside the arguments.
      f_rem: `f_rem(residuals, *args) -> (out, residuals)`, in the backward pass, returns those that `f_bwd` needs. Its
        `out` takes the place of the first one where that is recomputed; structure, shapes and dtypes are checked.
      f_bwd: `f_bwd(residuals, out_ct) -> args_ct`, a tuple with a cotangent for each argument that is not static; None
        is zero.
      static_argnums, static_argnames: arguments that are Python values, by position or name: `f`, `f_fwd` and `f_rem`
        get them in their places, `f_bwd` does not.
      jvp: the source of forward mode: "transpose" of `f_bwd`, derivative of "fwd" (that is `f_fwd`) or of "primal"
        (`f` itself), or None to refuse it.

    Without `checkpoint`, `f_rem` runs right after `f_fwd`. A policy that allows to save what `f` returns, such as
    `everything_saveable`, counts as no checkpoint. A checkpoint around another one saves the same residuals, unless its
    policy is another: then it runs `f_fwd` again. See `custom_rules.defremat` for a function with other rules beside.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def attention(q, k):
    ...     return pnp.exp(q @ k.T)
    >>> f = pb.custom_remat(attention, lambda policy, q, k: (attention(q, k), q @ k.T),
    ...                     lambda scores, q, k: (pnp.exp(scores), (q, k, pnp.exp(scores))),
    ...                     lambda res, ct: (ct * res[2] @ res[1], (ct * res[2]).T @ res[0]))
    >>> q, k = pnp.ones((2, 3)), pnp.zeros((4, 3))
    >>> print(pb.grad(pb.checkpoint(lambda q, k: f(q, k).sum()), 1)(q, k).sum())
    24.0
    """

    definable: ClassVar[tuple[str, ...]] = ("defvjp(fwd, bwd)",)

    @boundary
    def __init__(
        self,
        f: Callable[Q, R],
        f_fwd: Callable[..., Any],
        f_rem: Callable[..., Any],
        f_bwd: Callable[..., Any],
        *,
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        jvp: str | None = "transpose",
    ):
        super().__init__(f, static_argnums, static_argnames, jvp=jvp)
        self._set_remat(UserRemat(f_fwd, f_rem, f_bwd, by_policy=True, with_fixed=False))


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


def custom_vjp_primal_tree_values(tree: PyTree) -> Any:
    """The values in a pytree of a forward rule with `symbolic_zeros`, without what is differentiated. Raises nothing.

    >>> custom_vjp_primal_tree_values([CustomVJPPrimal(1.0, True), CustomVJPPrimal(2.0, False)])
    [1.0, 2.0]
    """

    def value(x):
        return x.value if isinstance(x, CustomVJPPrimal) else x

    return tree_map(value, tree, is_leaf=lambda x: isinstance(x, CustomVJPPrimal))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, _primitives(("custom_jvp_call_p", "custom_vjp_call_p", "remat_opt_p")))
