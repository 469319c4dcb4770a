"""Initializers of parameters: functions `(key, shape, dtype)` that draw an array, and factories of them.

The variance-scaling family (LeCun 1998, Glorot and Bengio 2010, He et al. 2015) keeps the variance of activations, or
of gradients, from layer to layer: `fan_in` and `fan_out` count the inputs and outputs that a unit sees, the product of
all axes that are neither `in_axis`, `out_axis` nor `batch_axis` (a convolution's window) included.
"""

from __future__ import annotations

import math
import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from pullback import random
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.types import canonical_shape
from pullback._core.typing import DTypeLike, Placement
from pullback._ops.trig import complex as complex_numbers
from pullback.numpy._creation import creation
from pullback.numpy._elementwise import functions
from pullback.numpy._shape import manipulation
from pullback.random.keys import KeyLike

Axes = int | Sequence[int]

# the standard deviation of a normal distribution cut off at -2 and 2, and that of a complex one cut off at |z| = 2,
# where |z|**2 is exponentially distributed
_TRUNCATED_STDDEV = 0.87962566103423978
_COMPLEX_TRUNCATED_STDDEV = math.sqrt(1 - 4 / math.expm1(4))


class Initializer(Protocol):
    """The type of initializers: `init(key, shape, dtype=float)` returns an array.

    >>> from pullback import nn, random
    >>> init: nn.initializers.Initializer = nn.initializers.normal()
    >>> init(random.key(0), (2, 3)).shape
    (2, 3)
    """

    def __call__(self, key: Array, shape: Sequence[int], dtype: DTypeLike | None = None) -> Array: ...


def _dtype(name: str, dtype: DTypeLike, default: DTypeLike | None) -> np.dtype:
    chosen = default if dtype is None else dtype
    resolved = dtypes.requested_dtype(chosen, float)
    if not dtypes.is_inexact(resolved):
        raise TypeError(f"{name}: the dtype must be floating-point or complex, got {resolved.name}")
    return resolved


@boundary
def zeros(key: KeyLike, shape: Sequence[int], dtype: DTypeLike | None = None, out_sharding: Placement = None) -> Array:
    """Zeros of the given shape; `key` is not used. ValueError for a negative length.

    >>> from pullback import nn
    >>> print(nn.initializers.zeros(None, (2,)))
    [0. 0.]
    """
    return creation.zeros(shape, float if dtype is None else dtype, out_sharding=out_sharding)


@boundary
def ones(key: KeyLike, shape: Sequence[int], dtype: DTypeLike | None = None, out_sharding: Placement = None) -> Array:
    """Ones of the given shape; `key` is not used. ValueError for a negative length.

    >>> from pullback import nn
    >>> print(nn.initializers.ones(None, (2,)))
    [1. 1.]
    """
    return creation.ones(shape, float if dtype is None else dtype, out_sharding=out_sharding)


def constant(value: ArrayLike, dtype: DTypeLike | None = None) -> Initializer:
    """An initializer that fills with `value`.

    TypeError, at the call, for an integer dtype, ValueError for a `value` that does not broadcast to the shape.

    >>> from pullback import nn
    >>> print(nn.initializers.constant(3.)(None, (2,)))
    [3. 3.]
    """
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        return creation.full(shape, value, _dtype("constant", dtype, default))

    return init


def uniform(scale: float = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    """An initializer that draws uniformly from [0, scale).

    At the call, TypeError for an integer dtype, ValueError for a complex one.

    >>> from pullback import nn, random
    >>> nn.initializers.uniform(0.5)(random.key(0), (2, 3)).shape
    (2, 3)
    """
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        resolved = _dtype("uniform", dtype, default)
        return random.uniform(key, shape, resolved) * np.asarray(scale, resolved)

    return init


def normal(stddev: float = 1e-2, dtype: DTypeLike | None = None) -> Initializer:
    """An initializer that draws from the normal distribution of mean 0. TypeError, at the call, for an integer dtype.

    >>> from pullback import nn, random
    >>> nn.initializers.normal(0.5)(random.key(0), (2, 3)).shape
    (2, 3)
    """
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        resolved = _dtype("normal", dtype, default)
        return random.normal(key, shape, resolved) * np.asarray(stddev, resolved)

    return init


def truncated_normal(
    stddev: float = 1e-2, dtype: DTypeLike | None = None, lower: float = -2.0, upper: float = 2.0
) -> Initializer:
    """An initializer that draws from a normal distribution cut off at `lower` and `upper` standard deviations.

    `stddev` is that of the distribution before the cut. At the call, TypeError for an integer dtype, ValueError for a
    complex one.

    >>> from pullback import nn, random
    >>> nn.initializers.truncated_normal()(random.key(0), (2, 3)).shape
    (2, 3)
    """
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        resolved = _dtype("truncated_normal", dtype, default)
        return random.truncated_normal(key, lower, upper, shape, resolved) * np.asarray(stddev, resolved)

    return init


# --- variance scaling ---


def _length(shape: tuple[int, ...], axes: Axes) -> int:
    if isinstance(axes, int):
        return shape[axes]
    return math.prod(shape[a] for a in axes)


def _fans(name: str, shape: tuple[int, ...], in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> tuple[float, float]:
    if len(shape) <= 1 and in_axis == -2:
        raise ValueError(
            f"{name}: fan_in and fan_out by default need two axes, got shape {shape}. Say which axes "
            "count (in_axis=0, out_axis=() for a vector of inputs), or use normal or uniform"
        )
    try:
        inputs, outputs = _length(shape, in_axis), _length(shape, out_axis)
        batch = _length(shape, batch_axis)
    except IndexError:
        raise ValueError(
            f"{name}: in_axis={in_axis}, out_axis={out_axis} and batch_axis={batch_axis} must be axes of "
            f"the shape {shape}"
        ) from None
    window = math.prod(shape) / max(inputs * outputs * batch, 1)
    return inputs * window, outputs * window


def variance_scaling(
    scale: float,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DTypeLike | None = None,
) -> Initializer:
    """An initializer of variance `scale / n`.

    Args:
      scale: the factor of the variance.
      mode: the choice of n: "fan_in", "fan_out", "fan_avg" (their mean) or "fan_geo_avg" (their geometric mean).
      distribution: "truncated_normal" (cut off at two standard deviations), "normal" or "uniform".
      in_axis, out_axis, batch_axis: the axes of inputs, of outputs, and those that only repeat the layer.
      dtype: the dtype of the result, unless the call says otherwise.

    Complex numbers are drawn uniformly from a disk, or from a normal distribution that is cut off where |z| is two
    standard deviations.
    Raises: ValueError for another `mode` or `distribution` or a negative `scale`; at the call, ValueError for a shape
      without the axes named, TypeError for an integer dtype.

    >>> from pullback import nn, random
    >>> init = nn.initializers.variance_scaling(1., "fan_in", "normal")
    >>> init(random.key(0), (4, 8)).shape
    (4, 8)
    """
    modes = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
    if mode not in modes:
        raise ValueError(f"variance_scaling: mode must be one of {', '.join(modes)}, got {mode!r}")
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise ValueError(
            f"variance_scaling: distribution must be one of truncated_normal, normal, uniform, got {distribution!r}"
        )
    if scale < 0:
        raise ValueError(f"variance_scaling: scale must not be negative, got {scale}")
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        shape = canonical_shape(shape)
        resolved = _dtype("variance_scaling", dtype, default)
        fan_in, fan_out = _fans("variance_scaling", shape, in_axis, out_axis, batch_axis)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[mode]
        variance = scale / max(n, 1e-30)
        if distribution == "normal":
            return random.normal(key, shape, resolved) * np.asarray(math.sqrt(variance), resolved)
        if distribution == "uniform":
            bound = math.sqrt(3 * variance)
            if dtypes.is_complex(resolved):
                return _isotropic(key, shape, resolved, math.sqrt(2 * variance), lambda share: share)
            return random.uniform(key, shape, resolved, -bound, bound)
        if dtypes.is_complex(resolved):
            cut = math.expm1(-4)
            return _isotropic(
                key,
                shape,
                resolved,
                math.sqrt(variance) / _COMPLEX_TRUNCATED_STDDEV,
                lambda share: -functions.log1p(share * cut),
            )
        stddev = np.asarray(math.sqrt(variance) / _TRUNCATED_STDDEV, resolved)
        return random.truncated_normal(key, -2, 2, shape, resolved) * stddev

    return init


def _isotropic(key: KeyLike, shape: tuple[int, ...], dtype: np.dtype, scale: float, squared: Callable) -> Array:
    """Complex numbers of uniform angles; `squared` takes uniform numbers to the squares of the absolute values."""
    real = np.dtype(f"f{dtype.itemsize // 2}")
    for_radius, for_angle = random.split(key)
    radius = functions.sqrt(squared(random.uniform(for_radius, shape, real))) * np.asarray(scale, real)
    angle = random.uniform(for_angle, shape, real) * np.asarray(2 * math.pi, real)
    return complex_numbers(radius * functions.cos(angle), radius * functions.sin(angle))


@boundary
def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None) -> Initializer:
    """An initializer of orthogonal matrices times `scale`: of orthonormal rows or columns, whichever are fewer.

    Args:
      scale: a number.
      column_axis: the axis that runs over the columns; all others together run over the rows.
      dtype: the dtype by default, floating or complex; float32 if None.

    Raises, from the initializer: ValueError for fewer than two axes and for an axis out of bounds, TypeError for
    another dtype. See: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning" (2014).

    >>> from pullback import nn, random
    >>> w = nn.initializers.orthogonal()(random.key(0), (4, 2))
    >>> print(abs(w.T @ w).round(3))
    [[1. 0.]
     [0. 1.]]
    """
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        shape = canonical_shape(shape)
        resolved = _dtype("orthogonal", dtype, default)
        if len(shape) < 2:
            raise ValueError(f"orthogonal: expected the shape of a matrix, or one of more axes, got {shape}")
        if not -len(shape) <= column_axis < len(shape):
            raise ValueError(f"orthogonal: column_axis {column_axis} is out of bounds for shape {shape}")
        columns = shape[column_axis]
        rows = math.prod(shape) // columns if columns else 0
        matrix = random.orthogonal(key, rows, (), resolved, columns)
        rest = [n for i, n in enumerate(shape) if i != column_axis % len(shape)]
        return manipulation.moveaxis(matrix.reshape((*rest, columns)), -1, column_axis) * np.asarray(scale, resolved)

    return init


@boundary
def delta_orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: DTypeLike | None = None) -> Initializer:
    """An initializer of kernels of convolutions that keep lengths: an orthogonal matrix in the middle, zeros elsewhere.

    Args:
      scale: a number, by which the matrix is multiplied.
      column_axis: the axis that runs over the columns of the matrix; the matrix is in the last two axes.
      dtype: the dtype by default, floating or complex; float32 if None.

    Raises, from the initializer: ValueError for other than three to five axes, and for more input features (the last
    axis but one) than output features (the last), TypeError for another dtype. See: Xiao and others, "Dynamical
    isometry and a mean field theory of CNNs" (2018).

    >>> from pullback import nn, random
    >>> w = nn.initializers.delta_orthogonal()(random.key(0), (3, 2, 2))
    >>> print(abs(w[1].T @ w[1]).round(3), abs(w[0]).max())
    [[1. 0.]
     [0. 1.]] 0.0
    """
    matrix = orthogonal(scale, column_axis, dtype)
    default = dtype

    @boundary
    def init(key: Any, shape: Sequence[int], dtype: Any = None) -> Array:
        shape = canonical_shape(shape)
        if not 3 <= len(shape) <= 5:
            raise ValueError(f"delta_orthogonal: expected a shape with three to five axes, got {shape}")
        if shape[-1] < shape[-2]:
            raise ValueError(
                f"delta_orthogonal: there must be at least as many output features as input features, got shape {shape}"
            )
        resolved = _dtype("delta_orthogonal", dtype, default)
        middle = tuple((n - 1) // 2 for n in shape[:-2])
        return zeros(key, shape, resolved).at[middle].set(matrix(key, shape[-2:], resolved))

    return init


class InitializerFactory(Protocol):
    """A function that makes an initializer of a given scale."""

    def __call__(
        self, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
    ) -> Initializer:
        """See `variance_scaling`."""


def _scaled(name: str, scale: float, mode: str, distribution: str, says: str) -> InitializerFactory:
    def factory(
        in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DTypeLike | None = None
    ) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)

    factory.__name__ = factory.__qualname__ = name
    factory.__doc__ = f"""{says}: `variance_scaling({scale}, {mode!r}, {distribution!r})`, its errors too.

    >>> from pullback import nn, random
    >>> nn.initializers.{name}()(random.key(0), (4, 8)).shape
    (4, 8)
    """
    return factory


glorot_uniform: InitializerFactory = _scaled(
    "glorot_uniform", 1.0, "fan_avg", "uniform", "Glorot's initializer, also named for Xavier"
)
glorot_normal: InitializerFactory = _scaled(
    "glorot_normal", 1.0, "fan_avg", "truncated_normal", "Glorot's initializer, also named for Xavier"
)
lecun_uniform: InitializerFactory = _scaled("lecun_uniform", 1.0, "fan_in", "uniform", "LeCun's initializer")
lecun_normal: InitializerFactory = _scaled("lecun_normal", 1.0, "fan_in", "truncated_normal", "LeCun's initializer")
he_uniform: InitializerFactory = _scaled(
    "he_uniform", 2.0, "fan_in", "uniform", "He's initializer, also named for Kaiming"
)
he_normal: InitializerFactory = _scaled(
    "he_normal", 2.0, "fan_in", "truncated_normal", "He's initializer, also named for Kaiming"
)
xavier_uniform: InitializerFactory = glorot_uniform
xavier_normal: InitializerFactory = glorot_normal
kaiming_uniform: InitializerFactory = he_uniform
kaiming_normal: InitializerFactory = he_normal


__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
