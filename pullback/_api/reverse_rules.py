"""Reverse rules that return more, or other things, than cotangents: methods of `custom_rules`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pullback._api.made_rules import logging
from pullback._core.errors import boundary


class ReverseRules:
    """The methods `defvjp_with_logs` and `defvjp_with_accums`."""

    if TYPE_CHECKING:
        bwd_role: str
        defvjp: Callable[..., None]
        _label: Callable[[], str]

    @boundary
    def defvjp_with_logs(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
        *,
        argnums: int | Sequence[int] | None = None,
    ) -> None:
        """Set a reverse rule whose `bwd` returns a pair of the cotangents and a dict of pytrees to log, or None.

        `f_vjp.with_logs(ct)` returns the logs with the cotangents, where `vjp` returned `f_vjp`. Otherwise they are
        dropped, and in a traced program not computed. Inside a `scan` they are stacked.

        >>> import pullback as pb
        >>> f = pb.custom_vjp(lambda x: 2. * x)
        >>> f.defvjp_with_logs(lambda x: (f(x), None), lambda _, ct: ((2. * ct,), {"seen": ct}))
        >>> cotangents, logs = pb.vjp(lambda x: f(3. * x), 1.)[1].with_logs(1.)
        >>> print(*cotangents, logs)
        6.0 {'seen': Array(1., dtype=float32, weak_type=True)}
        """
        if not callable(bwd):
            raise TypeError(f"{self._label()}: expected a function as the bwd rule, got {bwd!r}")

        self.defvjp(fwd, logging(self, bwd), symbolic_zeros, optimize_remat, argnums=argnums)

    @boundary
    def defvjp_with_accums(
        self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False
    ) -> None:
        """Set a reverse rule whose `bwd` adds the cotangents of the arguments to accumulators.

        Args:
          fwd: as for `defvjp`. It may return a third value, structured residuals, a pytree that `f_vjp`, where `vjp`
            returned it, shows in `f_vjp.structured_residuals`.
          bwd: takes the residuals, the structured ones if there are some, the cotangent of the result, and for each
            differentiable argument a `GradAccum`, or a pytree of them: `accum(ct)` adds a cotangent to it. It is a
            `NullAccum` where none is wanted, so none need be computed, and a `RefAccum`, with the attribute `ref`,
            where the gradient goes to a Ref. It returns None, or a dict of pytrees to log, see `defvjp_with_logs`.
          symbolic_zeros: as for `defvjp`.

        >>> import pullback as pb, pullback.numpy as pnp
        >>> @pb.custom_vjp
        ... def product(x, w):
        ...     return x @ w
        >>> def bwd(res, ct, x_accum, w_accum):
        ...     x, w = res
        ...     if not isinstance(x_accum, pb.ad.NullAccum):
        ...         x_accum.accum(ct @ w.T)
        ...     w_accum.accum(x.T @ ct)
        >>> product.defvjp_with_accums(lambda x, w: (product(x, w), (x, w)), bwd)
        >>> print(pb.grad(lambda w: product(pnp.ones((1, 2)), w).sum())(pnp.eye(2)))
        [[1. 1.]
         [1. 1.]]
        """
        self.defvjp(fwd, bwd, symbolic_zeros)
        self.bwd_role = "bwd rule with accumulators"
