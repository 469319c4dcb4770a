"""Straight-through estimators: functions that are constant nearly everywhere, with a useful derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pullback import lax
from pullback import numpy as pnp
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, describe_function
from pullback.numpy._elementwise.promotion import FLOAT, integer, promote_operands
from pullback.rules.gradients import with_gradient_of

__all__ = ["binarize", "fake_quantize", "straight_through"]


@boundary
def straight_through(fun: Callable[..., Any]) -> Callable[..., Array]:
    """The function `fun`, differentiated as if it were the identity of its first argument.

    Args:
      fun: from an array, and perhaps more arguments, to an array of the same shape. Only the first argument gets a
        gradient.

    Raises: when called, ValueError for a result of another shape than the first argument; TypeError where that is
      complex.
    Source: Bengio, Léonard, Courville, Estimating or propagating gradients through stochastic neurons (2013).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> rounded = pb.rules.straight_through(pnp.round)
    >>> print(rounded(1.7), pb.grad(rounded)(1.7))
    2.0 1.0
    """
    check_callable("straight_through: fun", fun)

    @functools.wraps(fun)
    @boundary
    def estimated(x: ArrayLike, *args: Any, **kwargs: Any) -> Array:
        (x,) = promote_operands("straight_through", FLOAT, x)
        value = pnp.asarray(fun(lax.stop_gradient(x), *args, **kwargs))
        if value.shape != x.shape:
            raise ValueError(
                f"straight_through: {describe_function(fun)} must return an array of the shape {x.shape} of its first "
                f"argument, got {value.aval.str_short()}"
            )
        return with_gradient_of(value, x)

    return estimated


@boundary
def binarize(x: ArrayLike) -> Array:
    """The sign of `x`, 1 at 0, with the derivative of `clip(x, -1, 1)`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> x = pnp.array([-2., -0.5, 0.])
    >>> print(pb.rules.binarize(x), pb.grad(lambda x: pb.rules.binarize(x).sum())(x))
    [-1. -1.  1.] [0. 1. 1.]

    nan stays nan. Raises: TypeError for complex numbers.
    Source: Hubara and others, Binarized neural networks (2016).
    """
    (x,) = promote_operands("binarize", FLOAT, x)
    return with_gradient_of(pnp.where(pnp.isnan(x), x, pnp.where(x < 0, -1, 1)), pnp.clip(x, -1, 1))


@boundary
def fake_quantize(x: ArrayLike, low: ArrayLike, high: ArrayLike, *, bits: int = 8) -> Array:
    """`x`, rounded to one of `2**bits` numbers from `low` to `high`, with the derivative of `clip(x, low, high)`.

    The bounds may be learnt: an entry outside passes its gradient to the bound that it was set to.

    Args:
      x: a real array.
      low, high: the bounds, numbers or arrays that broadcast against `x`, `low < high`.
      bits: the number of bits, from 1 to 16.

    Raises: ValueError for other bits; TypeError for complex numbers.
    Source: Jacob and others, Quantization and training of neural networks (2018).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.fake_quantize(pnp.array([-0.1, 0.3, 0.5, 2.]), 0., 1., bits=2))
    [0.         0.33333334 0.6666667  1.        ]
    """
    bits = integer("fake_quantize", "bits", bits)
    if not 1 <= bits <= 16:
        raise ValueError(f"fake_quantize: bits must be from 1 to 16, got {bits}")
    x, low, high = promote_operands("fake_quantize", FLOAT, x, low, high)
    inside = pnp.clip(x, low, high)
    steps = 2**bits - 1
    share = pnp.round((inside - low) / (high - low) * steps) / steps
    # both bounds are reached exactly
    return with_gradient_of(low * (1 - share) + high * share, inside)
