"""Activation functions, elementwise, and the gated linear unit.

Integers and bools are computed in floating point, the dtype of a floating-point `x` is kept. Where a function has a
kink, its derivative there is that of JAX, and its docstring gives it.
"""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import lengths, sigmoids, special, trig
from pullback._ops.elementwise import scalar
from pullback._ops.families import UnaryFunction
from pullback._ops.slicing import slice_in_dim
from pullback.numpy._elementwise.functions import tanh as tanh
from pullback.numpy._elementwise.promotion import (
    BESIDE_A_FLOAT,
    FLOAT,
    INEXACT,
    NEVER_WEAK_FLOAT,
    NUMBER,
    as_operand,
    cast,
    common_dtype,
    elementwise,
    promote_operands,
    unary,
)
from pullback.numpy._reductions.reductions import one_axis

_HERE = "pullback.nn.activations"


def _positive_part(x: Array) -> Array:
    # a selection, unlike a maximum, gives the derivative 0 at 0; nan is not <= 0 and stays
    return c.select_p.bind(c.le_p.bind(x, scalar(x, 0)), scalar(x, 0), x)


@elementwise(NUMBER)
def relu(x: Array) -> Array:
    """The rectifier `max(x, 0)`, whose derivative at 0 is 0. Integers stay integers.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.relu(pnp.array([-1., 0., 2.])))
    [0. 0. 2.]
    """
    return _positive_part(x)


def _clipped(x: Array, low: float, high: float) -> Array:
    lowest, highest = scalar(x, low), scalar(x, high)
    return c.select_p.bind(c.le_p.bind(x, lowest), lowest, c.select_p.bind(c.ge_p.bind(x, highest), highest, x))


@elementwise(BESIDE_A_FLOAT)
def relu6(x: Array) -> Array:
    """`min(max(x, 0), 6)`, whose derivative at 0 and at 6 is 0.

    >>> from pullback import nn
    >>> print(nn.relu6(7.))
    6.0
    """
    return _clipped(x, 0, 6)


sigmoid: UnaryFunction = unary(
    "sigmoid",
    sigmoids.logistic_p,
    INEXACT,
    """The logistic function `1 / (1 + exp(-x))`.

    >>> from pullback import nn
    >>> print(nn.sigmoid(0.))
    0.5
    """,
    module=_HERE,
    parameters="x",
)


@elementwise(FLOAT)
def softplus(x: Array) -> Array:
    """`log(1 + exp(x))` without overflow.

    >>> from pullback import nn
    >>> print(nn.softplus(100.))
    100.0
    """
    return special.logaddexp_p.bind(x, scalar(x, 0))


@elementwise(FLOAT)
def log_sigmoid(x: Array) -> Array:
    """`log(sigmoid(x))` without underflow.

    >>> from pullback import nn
    >>> print(nn.log_sigmoid(-100.))
    -100.0
    """
    return e.neg(special.logaddexp_p.bind(e.neg(x), scalar(x, 0)))


@elementwise(FLOAT)
def soft_sign(x: Array) -> Array:
    """`x / (|x| + 1)`.

    >>> from pullback import nn
    >>> print(nn.soft_sign(1.))
    0.5
    """
    return sigmoids.soft_sign_p.bind(x)


@elementwise(INEXACT)
def silu(x: Array) -> Array:
    """`x * sigmoid(x)`, also known as swish (Elfwing et al. 2018).

    >>> from pullback import nn
    >>> print(nn.silu(0.))
    0.0
    """
    return e.mul_p.bind(x, sigmoids.logistic_p.bind(x))


swish = silu


@elementwise(FLOAT)
def mish(x: Array) -> Array:
    """`x * tanh(softplus(x))` (Misra 2019).

    >>> from pullback import nn
    >>> print(nn.mish(0.))
    0.0
    """
    return e.mul_p.bind(x, sigmoids.tanh_p.bind(special.logaddexp_p.bind(x, scalar(x, 0))))


@boundary
def gelu(x: ArrayLike, approximate: bool = True) -> Array:
    """The Gaussian error linear unit `x * Phi(x)` (Hendrycks and Gimpel 2016), by default with tanh in place of erf.

    TypeError for complex numbers.

    >>> from pullback import nn
    >>> print(nn.gelu(1.), nn.gelu(1., approximate=False))
    0.841192 0.8413447
    """
    (x,) = promote_operands("gelu", NEVER_WEAK_FLOAT, x)
    if approximate:
        # (1 + tanh z) / 2 is logistic(2 z), whose tail does not cancel; it is 0 or 1 long before the bounds
        near = special.clamp_p.bind(scalar(x, -40), x, scalar(x, 40))
        inner = e.mul(
            scalar(x, 2 * np.sqrt(2 / np.pi)), e.add(near, e.mul(scalar(x, 0.044715), e.integer_pow_p.bind(near, y=3)))
        )
        return e.mul(x, sigmoids.logistic_p.bind(inner))
    return e.mul(e.mul(scalar(x, 0.5), x), special.erfc_p.bind(e.mul(e.neg(x), scalar(x, np.sqrt(0.5)))))


@boundary
def elu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Array:
    """The exponential linear unit: `x` where positive, else `alpha * (exp(x) - 1)` (Clevert et al. 2015).

    `x` and `alpha` broadcast. The derivative at 0 is `alpha`. TypeError for complex numbers, ValueError for shapes that
    do not broadcast.

    >>> from pullback import nn
    >>> print(nn.elu(-1.))
    -0.63212055
    """
    return _elu(*promote_operands("elu", FLOAT, x, alpha))


def _elu(x: Array, alpha: Array) -> Array:
    positive = c.gt_p.bind(x, scalar(x, 0))
    below = c.select_p.bind(positive, scalar(x, 0), x)
    return c.select_p.bind(positive, x, e.mul_p.bind(alpha, e.expm1_p.bind(below)))


@elementwise(BESIDE_A_FLOAT)
def selu(x: Array) -> Array:
    """The scaled exponential linear unit, with the constants of Klambauer et al. 2017; the derivative at 0 is 1.7581.

    >>> from pullback import nn
    >>> print(nn.selu(1.))
    1.050701
    """
    return e.mul_p.bind(
        scalar(x, 1.0507009873554804934193349852946), _elu(x, scalar(x, 1.6732632423543772848170429916717))
    )


@boundary
def celu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Array:
    """The continuously differentiable exponential linear unit: `x`, below 0 `alpha * (exp(x / alpha) - 1)`.

    `x` and `alpha` broadcast. See: Barron 2017. TypeError for complex numbers, ValueError for shapes that do not
    broadcast.

    >>> from pullback import nn
    >>> print(nn.celu(-1.))
    -0.63212055
    """
    x, alpha = promote_operands("celu", FLOAT, x, alpha)
    zero = scalar(x, 0)
    below = e.mul_p.bind(alpha, e.expm1_p.bind(e.div_p.bind(e.min_p.bind(x, zero), alpha)))
    return e.add_p.bind(e.max_p.bind(x, zero), below)


@boundary
def leaky_relu(x: ArrayLike, negative_slope: ArrayLike = 1e-2) -> Array:
    """`x`, below 0 `negative_slope * x`; the derivative at 0 is 1. The two broadcast.

    TypeError for complex numbers, ValueError for shapes that do not.

    >>> from pullback import nn
    >>> print(nn.leaky_relu(-1.))
    -0.01
    """
    x, slope = promote_operands("leaky_relu", FLOAT, x, negative_slope)
    return c.select_p.bind(c.ge_p.bind(x, scalar(x, 0)), x, e.mul_p.bind(slope, x))


@elementwise(NUMBER)
def hard_tanh(x: Array) -> Array:
    """-1 below -1, 1 above 1, else `x`. Integers stay integers. The derivative at -1 and at 1 is 1.

    >>> from pullback import nn
    >>> print(nn.hard_tanh(3.))
    1.0
    """
    one, minus = scalar(x, 1), scalar(x, -1)
    above, below = c.gt_p.bind(x, one), c.lt_p.bind(x, minus)
    return c.select_p.bind(above, one, c.select_p.bind(below, minus, x))


@elementwise(BESIDE_A_FLOAT)
def hard_sigmoid(x: Array) -> Array:
    """`relu6(x + 3) / 6`, whose derivative at -3 and at 3 is 0.

    >>> from pullback import nn
    >>> print(nn.hard_sigmoid(0.))
    0.5
    """
    return _hard_sigmoid(x)


def _hard_sigmoid(x: Array) -> Array:
    # the bounds are those of x: x + 3 may round to 6
    between = e.div_p.bind(e.add_p.bind(x, scalar(x, 3)), scalar(x, 6))
    upper = c.select_p.bind(c.ge_p.bind(x, scalar(x, 3)), scalar(x, 1), between)
    return c.select_p.bind(c.le_p.bind(x, scalar(x, -3)), scalar(x, 0), upper)


@elementwise(BESIDE_A_FLOAT)
def hard_silu(x: Array) -> Array:
    """`x * hard_sigmoid(x)`, also known as hard_swish; the derivative is 0 at -3 and 1 at 3.

    >>> from pullback import nn
    >>> print(nn.hard_silu(3.))
    3.0
    """
    return e.mul_p.bind(x, _hard_sigmoid(x))


hard_swish = hard_silu


@boundary
def squareplus(x: ArrayLike, b: ArrayLike = 4) -> Array:
    """`(x + sqrt(x**2 + b)) / 2`, a smooth rectifier (Barron 2021). The two broadcast.

    TypeError for complex numbers, ValueError for shapes that do not.

    >>> from pullback import nn
    >>> print(nn.squareplus(0.))
    1.0
    """
    (x,) = promote_operands("squareplus", FLOAT, x)
    x, b = promote_operands("squareplus", FLOAT, x, b)
    # x**2 would overflow, and below 0 the sum of x and the root cancels
    size = trig.abs_p.bind(x)
    more = e.sub_p.bind(lengths.hypot_p.bind(x, e.sqrt_p.bind(b)), size)
    above = e.add_p.bind(size, e.mul_p.bind(scalar(x, 0.5), more))
    below = e.div_p.bind(e.mul_p.bind(scalar(x, 0.25), b), above)
    return c.select_p.bind(c.lt_p.bind(x, scalar(x, 0)), below, above)


@elementwise(BESIDE_A_FLOAT)
def sparse_plus(x: Array) -> Array:
    """0 below -1, `x` above 1, `(x + 1)**2 / 4` between.

    >>> from pullback import nn
    >>> print(nn.sparse_plus(0.))
    0.25
    """
    between = e.mul_p.bind(scalar(x, 0.25), e.square_p.bind(e.add_p.bind(x, scalar(x, 1))))
    upper = c.select_p.bind(c.ge_p.bind(x, scalar(x, 1)), x, between)
    return c.select_p.bind(c.le_p.bind(x, scalar(x, -1)), scalar(x, 0), upper)


@elementwise(BESIDE_A_FLOAT)
def sparse_sigmoid(x: Array) -> Array:
    """0 below -1, 1 above 1, `(x + 1) / 2` between: the derivative of `sparse_plus`.

    >>> from pullback import nn
    >>> print(nn.sparse_sigmoid(0.))
    0.5
    """
    shifted = e.add_p.bind(x, scalar(x, 1))
    return e.mul_p.bind(scalar(x, 0.5), e.min_p.bind(e.max_p.bind(shifted, scalar(x, 0)), scalar(x, 2)))


@elementwise(FLOAT)
def log1mexp(x: Array) -> Array:
    """`log(1 - exp(-x))` of positive `x`, by the one of its two forms that is accurate.

    >>> from pullback import nn
    >>> print(nn.log1mexp(1000.))
    -0.0
    """
    # above log 2 exp(-x) is small, below it is near 1: Maechler 2012; each form gets harmless values of the other
    small = c.lt_p.bind(x, scalar(x, np.log(2)))
    low, high = c.select_p.bind(small, x, scalar(x, 1)), c.select_p.bind(small, scalar(x, 1), x)
    return c.select_p.bind(
        small, e.log_p.bind(e.neg(e.expm1_p.bind(e.neg(low)))), e.log1p_p.bind(e.neg(e.exp_p.bind(e.neg(high))))
    )


@boundary
def identity(x: ArrayLike) -> Array:
    """`x` as an array. TypeError for anything but an array or a number.

    >>> from pullback import nn
    >>> print(nn.identity(1.))
    1.0
    """
    return distinct(as_operand(x, "identity", 0), x)


@boundary
def glu(x: ArrayLike, axis: int = -1) -> Array:
    """The gated linear unit: the first half of `x` along `axis` times the sigmoid of the second half.

    Raises ValueError where the axis has odd length.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.glu(pnp.array([2., 0.])))
    [1.]
    """
    x = as_operand(x, "glu", 0)
    x = cast(x, *common_dtype("glu", FLOAT, [x.aval]))
    axis = one_axis("glu", axis, x.aval.ndim)
    size = x.aval.shape[axis]
    if size % 2:
        raise ValueError(f"glu: axis {axis} must have even length, got shape {x.aval.shape}")
    value, gate = slice_in_dim(x, 0, size // 2, axis=axis), slice_in_dim(x, size // 2, size, axis=axis)
    return e.mul_p.bind(value, sigmoids.logistic_p.bind(gate))


__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log1mexp",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh",
]
