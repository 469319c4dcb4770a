"""Hypergeometric functions."""

from __future__ import annotations

from pullback._core.array import Array
from pullback._ops.confluent_hypergeometric import hyp1f1_p
from pullback._ops.gauss_hypergeometric import hyp2f1_p
from pullback.numpy._elementwise.promotion import NEVER_WEAK_FLOAT, Operand, elementwise

__all__ = ["hyp1f1", "hyp2f1"]


@elementwise(NEVER_WEAK_FLOAT)
def hyp1f1(a: Operand, b: Operand, x: Operand) -> Array:
    """Kummer's confluent hypergeometric function M(a, b, x) (DLMF 13.2.2), for `b` other than 0, -1, -2, ...

    It is differentiable in all three, by `a` and `b` once (and by `x` after that), beyond it NotImplementedError. For
    large parameters of opposite signs its series cancels: where no digit is left the result is nan.

    >>> from pullback.scipy import special
    >>> print(special.hyp1f1(1., 2., 1.).round(4))
    1.7183
    """
    return hyp1f1_p.bind(a, b, x, of="")


@elementwise(NEVER_WEAK_FLOAT)
def hyp2f1(a: Operand, b: Operand, c: Operand, x: Operand) -> Array:
    """Gauss's hypergeometric function F(a, b; c; x) (DLMF 15.2.1), for `x` <= 1 and `c` other than 0, -1, -2, ...

    Beyond 1 it is nan, unless `a` or `b` is 0, -1, -2, ..., so that it is a polynomial. It is differentiable in `x`;
    the derivatives by the parameters raise NotImplementedError. Next to 1 and far below 0, where c - a - b (b - a) is
    next to a whole number but not equal to it up to rounding, it loses the digits in which they agree.

    >>> from pullback.scipy import special
    >>> print(special.hyp2f1(1., 1., 2., 0.5).round(4))
    1.3863
    """
    return hyp2f1_p.bind(a, b, c, x)
