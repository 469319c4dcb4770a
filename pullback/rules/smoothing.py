"""Functions of discrete choices, smoothed by noise on their argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback import numpy as pnp
from pullback._api.jacobians import jacfwd
from pullback._api.vectorize import vmap
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, described
from pullback.custom_derivatives import custom_jvp
from pullback.nn import one_hot
from pullback.numpy._elementwise.promotion import FLOAT, integer, promote_operands
from pullback.numpy._reductions.reductions import one_axis
from pullback.random import normal

__all__ = ["perturbed", "perturbed_argmax"]


@boundary
def perturbed(
    fun: Callable[[Any], Any], key: Any, *, samples: int = 1000, noise: float = 0.1
) -> Callable[[ArrayLike], Any]:
    """The mean of `fun(x + noise * z)` over normal `z`, as a function of `x` that can be differentiated.

    `fun` need not be continuous: the derivative is one of the density of the noise (Stein's lemma), the mean of
    `(fun(x + noise * z) - fun(x)) * z / noise`, and of Hermite polynomials of `z` for higher orders. Its standard error
    falls with the root of the number of samples. Forward and reverse mode see the same noise, and build the Jacobian.

    Args:
      fun: from an array to an array. It is mapped over the samples, and is not differentiated.
      key: a key of `random`; the same key gives the same noise.
      samples: the number of samples, at least 1.
      noise: the standard deviation, a positive number, in the unit of `x`.

    Raises: TypeError for a `fun` that is not callable; ValueError for a number of samples below 1. When called,
      TypeError for complex numbers.
    Source: Berthet and others, Learning with differentiable perturbed optimizers (2020); Abernethy and others (2016).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> smooth = pb.rules.perturbed(lambda x: (x > 0).astype(float), pb.random.key(0), samples=10_000, noise=1.)
    >>> print(f"{smooth(0.):.2f} {pb.grad(smooth)(0.):.2f}")
    0.50 0.40
    """
    check_callable("perturbed: fun", fun)
    samples = integer("perturbed", "samples", samples)
    if samples < 1:
        raise ValueError(f"perturbed: samples must be at least 1, got {samples}")
    if not isinstance(noise, (int, float)) or not noise > 0:
        raise ValueError(f"perturbed: noise must be a positive number, got {described(noise)}")

    @boundary
    def smoothed(x: ArrayLike) -> Any:
        (x,) = promote_operands("perturbed", FLOAT, x)
        z = normal(key, (samples, *x.shape), x.dtype)
        return _mean(fun, z, noise, _one, 0)(x)

    return smoothed


def _one(z: Array) -> Array:
    return pnp.ones((), z.dtype)


def _mean(fun: Callable, z: Array, noise: float, weight: Callable, order: int) -> Callable:
    """The mean of `fun(x + noise * z)` times `weight(z)`, an array with `order` axes of the entries of x.

    The weights are Hermite polynomials, the derivatives of the density of z divided by it. Arrays, and not functions of
    the tangents, for a derivative must depend on x by rules alone: that of `fun` is not the one that is meant.
    """

    @custom_jvp
    def mean(x):
        values = vmap(lambda z: pnp.asarray(fun(x + noise * z)).astype(x.dtype))(z)
        if order:  # these weights have the mean 0: the difference has the same mean, with less variance
            values = values - pnp.asarray(fun(x)).astype(x.dtype)
        weights = vmap(weight)(z.reshape(z.shape[0], -1)) / noise**order
        return pnp.tensordot(values, weights, axes=(0, 0)) / z.shape[0]

    def next_weight(z):
        return pnp.expand_dims(weight(z), -1) * z - jacfwd(weight)(z)

    @mean.defjvp
    def mean_jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        return mean(x), pnp.tensordot(_mean(fun, z, noise, next_weight, order + 1)(x), t.reshape(-1), axes=1)

    return mean


@boundary
def perturbed_argmax(x: ArrayLike, key: Any, *, samples: int = 1000, noise: float = 0.1, axis: int = -1) -> Array:
    """How often each entry is the largest when normal noise is added: a smooth one-hot argmax.

    Args:
      x: a real array with an axis of length n.
      key, samples, noise: see `perturbed`.
      axis: the axis, the last by default.

    Returns: an array of the shape of `x`, whose sum along the axis is 1.
    Raises: as `perturbed`; ValueError for an axis out of range.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.perturbed_argmax(pnp.array([1., 3., 2.]), pb.random.key(0)))
    [0. 1. 0.]
    """
    (x,) = promote_operands("perturbed_argmax", FLOAT, x)
    axis = one_axis("perturbed_argmax", axis, x.ndim)

    def chosen(x):
        return one_hot(pnp.argmax(x, axis=axis), x.shape[axis], dtype=x.dtype, axis=axis)

    return perturbed(chosen, key, samples=samples, noise=noise)(x)
