"""Functions that change gradients and leave values as they are. Integer leaves pass through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.dtypes import is_complex, is_inexact
from pullback._core.errors import boundary
from pullback._core.tree import tree_unflatten
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import lift_tree
from pullback.custom_derivatives import custom_jvp, custom_vjp
from pullback.numpy._elementwise.promotion import FLOAT, promote_operands

__all__ = [
    "clip_gradient",
    "clip_gradient_norm",
    "reverse_gradient",
    "scale_gradient",
    "stop_gradient_where",
    "with_gradient_of",
]


def _through(function: str, x: PyTree, identity: Callable[[list[Array]], Sequence[Array]], real: bool = False) -> Any:
    """The pytree, its floating-point leaves passed through an identity with a rule."""
    leaves, tree = lift_tree(function, "x", x)
    places = [i for i, leaf in enumerate(leaves) if is_inexact(leaf.dtype)]
    for i in places:
        if real and is_complex(leaves[i].dtype):
            raise TypeError(f"{function}: expected real numbers, got {leaves[i].aval.str_short()}")
    for i, leaf in zip(places, identity([leaves[i] for i in places]), strict=True):
        leaves[i] = leaf
    return tree_unflatten(tree, leaves)


@boundary
def clip_gradient(x: PyTree, low: ArrayLike, high: ArrayLike) -> PyTree:
    """`x`, whose gradient is clipped, entry by entry, to the interval from `low` to `high`.

    Args:
      x: an array or a pytree of arrays, real.
      low, high: the bounds, numbers or arrays that broadcast against every leaf. They get no gradient.

    Raises: TypeError for complex numbers; in forward mode, for the rule is not linear.
    Source: Mikolov, Statistical Language Models Based on Neural Networks (2012), section 3.2.2.

    >>> import pullback as pb
    >>> print(pb.grad(lambda x: 5. * pb.rules.clip_gradient(x, -1., 1.))(2.))
    1.0
    """
    bounds = promote_operands("clip_gradient", FLOAT, low, high)
    return _through("clip_gradient", x, lambda xs: _with_clipped_gradient(xs, *bounds), real=True)


@custom_vjp
def _with_clipped_gradient(xs, low, high):
    return xs


def _clipped_fwd(xs, low, high):
    return _with_clipped_gradient(xs, low, high), (low, high)


def _clipped_bwd(bounds, cotangents):
    low, high = bounds
    return [pnp.clip(ct, low, high).astype(ct.dtype) for ct in cotangents], None, None


_with_clipped_gradient.defvjp(_clipped_fwd, _clipped_bwd)


@boundary
def clip_gradient_norm(x: PyTree, max_norm: ArrayLike) -> PyTree:
    """`x`, whose gradient is made shorter where its Euclidean norm, over all leaves, exceeds `max_norm`.

    Args:
      x: an array or a pytree of arrays.
      max_norm: the largest norm, a number. It gets no gradient.

    A gradient that holds nan or an infinity becomes nan: it has no direction. Raises: TypeError in forward mode, for
    the rule is not linear.
    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks (2013).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> slope = pb.grad(lambda x: (pb.rules.clip_gradient_norm(x, 1.) * pnp.array([3., 4.])).sum())
    >>> print(slope(pnp.zeros(2)))
    [0.6 0.8]
    """
    (limit,) = promote_operands("clip_gradient_norm", FLOAT, max_norm)
    return _through("clip_gradient_norm", x, lambda xs: _with_short_gradient(xs, limit))


@custom_vjp
def _with_short_gradient(xs, limit):
    return xs


def _short_fwd(xs, limit):
    return _with_short_gradient(xs, limit), limit


def _short_bwd(limit, cotangents):
    sizes = [abs(ct) for ct in cotangents if ct.size]
    if not sizes:
        return cotangents, None
    # divided by the largest entry first: squares of large or small numbers leave the range of the dtype
    largest = pnp.max(pnp.stack([pnp.max(size).astype(limit.dtype) for size in sizes]))
    unit = pnp.where(largest == 0, 1, largest)
    norm = pnp.sqrt(sum(pnp.sum((size.astype(limit.dtype) / unit) ** 2) for size in sizes)) * unit
    scale = pnp.where(norm <= limit, 1, limit / pnp.where(norm == 0, 1, norm))
    return [(ct * scale).astype(ct.dtype) for ct in cotangents], None


_with_short_gradient.defvjp(_short_fwd, _short_bwd)


@boundary
def scale_gradient(x: PyTree, scale: ArrayLike) -> PyTree:
    """`x`, whose derivative, in both modes, is multiplied by `scale`.

    Args:
      x: an array or a pytree of arrays.
      scale: a number, or an array that broadcasts against every leaf. It gets no gradient.

    Raises: TypeError for leaves that are no arrays; in differentiation, ValueError for shapes that do not broadcast.

    >>> import pullback as pb
    >>> print(pb.grad(lambda x: pb.rules.scale_gradient(x, 0.1) ** 2)(5.))
    1.0
    """
    (scale,) = promote_operands("scale_gradient", FLOAT, scale)
    return _through("scale_gradient", x, lambda xs: _with_scaled_gradient(xs, scale))


@custom_jvp
def _with_scaled_gradient(xs, scale):
    return xs


@_with_scaled_gradient.defjvp
def _scaled_jvp(primals, tangents):
    xs, scale = primals
    scale = lax.stop_gradient(scale)
    return _with_scaled_gradient(xs, scale), [(scale * t).astype(t.dtype) for t in tangents[0]]


@boundary
def reverse_gradient(x: PyTree, scale: ArrayLike = 1.0) -> PyTree:
    """`x`, whose derivative is multiplied by `-scale`: what comes before learns to make worse what comes after.

    Args:
      x: an array or a pytree of arrays.
      scale: a number, or an array that broadcasts against every leaf. It gets no gradient.

    Raises: TypeError for leaves that are no arrays; in differentiation, ValueError for shapes that do not broadcast.
    Source: Ganin and Lempitsky, Unsupervised domain adaptation by backpropagation (2015).

    >>> import pullback as pb
    >>> print(pb.grad(lambda x: pb.rules.reverse_gradient(x) ** 2)(3.))
    -6.0
    """
    (scale,) = promote_operands("reverse_gradient", FLOAT, scale)
    return _through("reverse_gradient", x, lambda xs: _with_scaled_gradient(xs, -scale))


@boundary
def stop_gradient_where(mask: ArrayLike, x: ArrayLike) -> Array:
    """`x`, which is a constant for differentiation where the mask is true.

    Args:
      mask: bools, of a shape that broadcasts to that of `x`.
      x: an array.

    Raises: TypeError for a mask that is not of bools, ValueError for shapes that do not broadcast to that of `x`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> mask = pnp.array([True, False])
    >>> print(pb.grad(lambda x: pb.rules.stop_gradient_where(mask, x).sum())(pnp.ones(2)))
    [0. 1.]
    """
    mask, x = pnp.asarray(mask), pnp.asarray(x)
    if mask.dtype != np.bool_:
        raise TypeError(f"stop_gradient_where: the mask must be of bools, got {mask.aval.str_short()}")
    lengths = zip(reversed(mask.shape), reversed(x.shape), strict=False)
    if mask.ndim > x.ndim or any(length not in (1, of) for length, of in lengths):
        raise ValueError(f"stop_gradient_where: the mask's shape {mask.shape} does not broadcast to {x.shape}")
    return pnp.where(mask, lax.stop_gradient(x), x)


@boundary
def with_gradient_of(value: ArrayLike, surrogate: ArrayLike) -> Array:
    """`value`, to the last bit, with the derivatives of `surrogate`, in both modes and to any order.

    The usual `surrogate + stop_gradient(value - surrogate)` rounds the value.

    Args:
      value: an array of any dtype; it gets no gradient.
      surrogate: a floating-point array of the same shape.

    Returns: the value in the dtype of the surrogate.
    Raises: ValueError for different shapes, TypeError for a surrogate that is no floating-point or complex array.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def step(x):
    ...     return pb.rules.with_gradient_of(x > 0, pb.nn.sigmoid(x))
    >>> print(step(0.5), pb.grad(step)(0.))
    1.0 0.25
    """
    value, surrogate = pnp.asarray(value), pnp.asarray(surrogate)
    if value.shape != surrogate.shape:
        raise ValueError(f"with_gradient_of: value of shape {value.shape}, surrogate of shape {surrogate.shape}")
    if not is_inexact(surrogate.dtype):
        raise TypeError(f"with_gradient_of: a surrogate {surrogate.aval.str_short()} has no derivative")
    return _value_of_first(value.astype(surrogate.dtype), surrogate)


@custom_jvp
def _value_of_first(value, surrogate):
    return value


@_value_of_first.defjvp
def _value_of_first_jvp(primals, tangents):
    # the surrogate of a derivative of higher order is that of its tangent
    return _value_of_first(*primals), tangents[1]
