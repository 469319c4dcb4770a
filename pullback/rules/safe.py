"""Functions whose derivative stays finite where that of the plain function is infinite or nan.

Inside their domain they are the plain functions, with the same derivatives. On its edge and outside the derivative is
0, in both modes and to any order. nan stays nan, and has the derivative nan.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pullback import numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import Axis
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.promotion import FLOAT, INEXACT, promote_operands
from pullback.numpy._reductions.reductions import axes_of

__all__ = ["safe_arccos", "safe_arcsin", "safe_divide", "safe_log", "safe_norm", "safe_sqrt"]


def _quotient(edge: Array, t: Array, x: Array) -> Array:
    """`t / x`, and 0 on the edge, where x may be 0: a division by 0 would be nan at the next order."""
    return pnp.where(edge, 0, t / pnp.where(edge, 1, x))


@boundary
def safe_sqrt(x: ArrayLike) -> Array:
    """The square root, 0 for negative `x`; its derivative is 0 where `x <= 0`.

    Raises: TypeError for complex numbers.

    >>> import pullback as pb
    >>> print(pb.grad(pb.numpy.sqrt)(0.), pb.grad(pb.rules.safe_sqrt)(0.), pb.grad(pb.rules.safe_sqrt)(4.))
    inf 0.0 0.25
    """
    return _sqrt(*promote_operands("safe_sqrt", FLOAT, x))


@custom_jvp
def _sqrt(x):
    return pnp.sqrt(pnp.maximum(x, 0))


@_sqrt.defjvp
def _sqrt_jvp(primals, tangents):
    root = _sqrt(*primals)
    return root, _quotient(root == 0, tangents[0], 2 * root)


@boundary
def safe_log(x: ArrayLike) -> Array:
    """The logarithm; below the smallest normal number its logarithm, with the derivative 0.

    Raises: TypeError for complex numbers.

    >>> import pullback as pb
    >>> print(f"{pb.rules.safe_log(0.):.3f}", pb.grad(pb.rules.safe_log)(0.), pb.grad(pb.rules.safe_log)(4.))
    -87.337 0.0 0.25
    """
    return _log(*promote_operands("safe_log", FLOAT, x))


@custom_jvp
def _log(x):
    return pnp.log(pnp.maximum(x, pnp.finfo(x.dtype).smallest_normal))


@_log.defjvp
def _log_jvp(primals, tangents):
    (x,) = primals
    return _log(x), _quotient(x < pnp.finfo(x.dtype).smallest_normal, tangents[0], x)


@boundary
def safe_divide(x: ArrayLike, y: ArrayLike) -> Array:
    """`x / y`, and 0 where `y` is 0, with derivatives 0. Raises: ValueError for shapes that do not broadcast.

    >>> import pullback as pb
    >>> print(pb.rules.safe_divide(1., 0.), pb.grad(pb.rules.safe_divide)(1., 4.))
    0.0 0.25
    """
    return _divide(*promote_operands("safe_divide", INEXACT, x, y))


@custom_jvp
def _divide(x, y):
    return _quotient(y == 0, x, y)


@_divide.defjvp
def _divide_jvp(primals, tangents):
    (_, y), (s, t) = primals, tangents
    quotient = _divide(*primals)
    return quotient, _quotient(y == 0, s - quotient * t, y)


@boundary
def safe_arccos(x: ArrayLike) -> Array:
    """The arc cosine of `x` clipped to [-1, 1]; its derivative is 0 on the ends and outside.

    Raises: TypeError for complex numbers.

    >>> import pullback as pb
    >>> print(pb.rules.safe_arccos(1.0001), pb.grad(pb.rules.safe_arccos)(1.), pb.grad(pb.rules.safe_arccos)(0.))
    0.0 0.0 -1.0
    """
    return _arccos(*promote_operands("safe_arccos", FLOAT, x))


@custom_jvp
def _arccos(x):
    return pnp.arccos(pnp.clip(x, -1, 1))


def _slope(x: Array, t: Array) -> Array:
    """`t / sqrt(1 - x²)`; the product of both factors is exact to rounding near the ends, the difference is not."""
    edge = abs(x) >= 1
    inside = pnp.where(edge, 0, x)
    return _quotient(edge, t, pnp.sqrt((1 - inside) * (1 + inside)))


@_arccos.defjvp
def _arccos_jvp(primals, tangents):
    return _arccos(*primals), -_slope(primals[0], tangents[0])


@boundary
def safe_arcsin(x: ArrayLike) -> Array:
    """The arc sine of `x` clipped to [-1, 1]; its derivative is 0 on the ends and outside.

    Raises: TypeError for complex numbers.

    >>> import pullback as pb
    >>> print(pb.rules.safe_arcsin(2.), pb.grad(pb.rules.safe_arcsin)(-1.), pb.grad(pb.rules.safe_arcsin)(0.))
    1.5707964 0.0 1.0
    """
    return _arcsin(*promote_operands("safe_arcsin", FLOAT, x))


@custom_jvp
def _arcsin(x):
    return pnp.arcsin(pnp.clip(x, -1, 1))


@_arcsin.defjvp
def _arcsin_jvp(primals, tangents):
    return _arcsin(*primals), _slope(primals[0], tangents[0])


@boundary
def safe_norm(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The Euclidean norm of the numbers along the axes, whose derivative is 0 where all of them are 0.

    Args:
      x: an array, real or complex.
      axis: an axis or several, all by default.
      keepdims: whether they stay, with length 1.

    Unlike `numpy.linalg.norm`, large and small numbers do not overflow or vanish when they are squared, and second
    derivatives are 0 there, too, not nan. Raises: ValueError for an axis out of range.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.grad(pb.rules.safe_norm)(pnp.zeros(2)), pb.rules.safe_norm(pnp.array([3e30, 4e30])))
    [0. 0.] 5e+30
    """
    (x,) = promote_operands("safe_norm", INEXACT, x)
    axes = axes_of("safe_norm", axis, x.ndim)
    return _norm(axes, bool(keepdims), x)


@partial(custom_jvp, nondiff_argnums=(0, 1))
def _norm(axes: tuple[int, ...], keepdims: bool, x: Any) -> Any:
    sizes = abs(x)
    largest = pnp.max(sizes, axis=axes, keepdims=True, initial=0)
    unit = pnp.where((largest == 0) | pnp.isinf(largest), 1, largest)
    norm = pnp.sqrt(pnp.sum((sizes / unit) ** 2, axis=axes, keepdims=True)) * unit
    return norm if keepdims else pnp.squeeze(norm, axis=axes)


@_norm.defjvp
def _norm_jvp(axes, keepdims, primals, tangents):
    (x,), (t,) = primals, tangents
    norm = _norm(axes, True, x)
    direction = _quotient(norm == 0, x, norm)
    tangent = pnp.sum(pnp.real(pnp.conj(direction) * t), axis=axes, keepdims=keepdims)
    return norm if keepdims else pnp.squeeze(norm, axis=axes), tangent
