"""Hypergeometric functions."""

from __future__ import annotations

from pullback._core.array import Array
from pullback._ops.confluent_hypergeometric import hyp1f1_p
from pullback.numpy._elementwise.promotion import FLOAT, Operand, elementwise

__all__ = ["hyp1f1"]


@elementwise(FLOAT)
def hyp1f1(a: Operand, b: Operand, x: Operand) -> Array:
    """Kummer's confluent hypergeometric function M(a, b, x) (DLMF 13.2.2), for `b` other than 0, -1, -2, ...

    It is differentiable in all three, by `a` and `b` once (and by `x` after that), beyond it NotImplementedError. For
    large parameters of opposite signs its series cancels: where no digit is left the result is nan.

    >>> from pullback.scipy import special
    >>> print(special.hyp1f1(1., 2., 1.).round(4))
    1.7183
    """
    return hyp1f1_p.bind(a, b, x, of="")
