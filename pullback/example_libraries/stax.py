"""Layers of networks as pairs of functions: `init_fun(rng, input_shape)` and `apply_fun(params, inputs, **kwargs)`.

The first returns the shape of the layer's result and its parameters.
"""

from __future__ import annotations

import functools
import math
import operator
import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any

import pullback.numpy as pnp
from pullback import lax, nn, random
from pullback._core.array import Array
from pullback._core.lazy import attributes as _attributes
from pullback.nn.initializers import glorot_normal, normal, ones, zeros

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Dense",
    "Dropout",
    "Elu",
    "Exp",
    "FanInConcat",
    "FanInSum",
    "FanOut",
    "Flatten",
    "Gelu",
    "GeneralConv",
    "Identity",
    "LeakyRelu",
    "LogSoftmax",
    "MaxPool",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SumPool",
    "Tanh",
    "elementwise",
    "parallel",
    "serial",
    "shape_dependent",
]

Layer = tuple[Callable[..., Any], Callable[..., Any]]

_GLOROT, _SMALL, _TINY = glorot_normal(), normal(), normal(1e-6)


def _plain(apply: Callable[[Any], Any], shape: Callable[[Any], Any] = lambda shape: shape) -> Layer:
    """A layer without parameters."""
    return (lambda rng, input_shape: (shape(input_shape), ())), (lambda params, inputs, **kwargs: apply(inputs))


def elementwise(fun: Callable[..., Array], **fun_kwargs: Any) -> Layer:
    """The layer of a function of an array that keeps its shape. Raises nothing.

    >>> init, apply = elementwise(pnp.exp)
    >>> init(None, (3,)), apply((), pnp.zeros(1)).tolist()
    (((3,), ()), [1.0])
    """
    return _plain(functools.partial(_with_keywords, fun, fun_kwargs))


def _with_keywords(fun: Callable[..., Array], keywords: dict[str, Any], inputs: Array) -> Array:
    return fun(inputs, **keywords)


Tanh: Layer = elementwise(pnp.tanh)
Relu: Layer = elementwise(nn.relu)
Exp: Layer = elementwise(pnp.exp)
LogSoftmax: Layer = elementwise(nn.log_softmax, axis=-1)
Softmax: Layer = elementwise(nn.softmax, axis=-1)
Softplus: Layer = elementwise(nn.softplus)
Sigmoid: Layer = elementwise(nn.sigmoid)
Elu: Layer = elementwise(nn.elu)
LeakyRelu: Layer = elementwise(nn.leaky_relu)
Selu: Layer = elementwise(nn.selu)
Gelu: Layer = elementwise(nn.gelu)
Identity: Layer = _plain(lambda x: x)
Flatten: Layer = _plain(lambda x: pnp.reshape(x, (x.shape[0], -1)), lambda shape: (shape[0], math.prod(shape[1:])))


def Dense(out_dim: int, W_init: Callable = _GLOROT, b_init: Callable = _SMALL) -> Layer:
    """A fully connected layer, of the last axis. Raises nothing.

    >>> init, apply = Dense(3)
    >>> shape, (W, b) = init(random.key(0), (5, 2))
    >>> shape, apply((W, b), pnp.ones((5, 2))).shape
    ((5, 3), (5, 3))
    """

    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        first, second = random.split(rng)
        params = W_init(first, (input_shape[-1], out_dim)), b_init(second, (out_dim,))
        return (*input_shape[:-1], out_dim), params

    def apply_fun(params: Any, inputs: Array, **kwargs: Any) -> Array:
        W, b = params
        return pnp.dot(inputs, W) + b

    return init_fun, apply_fun


def GeneralConv(
    dimension_numbers: tuple[str, str, str],
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Any = "VALID",
    W_init: Callable | None = None,
    b_init: Callable = _TINY,
) -> Layer:
    """A convolution, whose axes are named as in `lax.conv_general_dilated`; its errors.

    >>> init, apply = GeneralConv(("NHWC", "HWIO", "NHWC"), 4, (2, 2))
    >>> init(random.key(0), (1, 5, 5, 3))[0]
    (1, 4, 4, 4)
    """
    lhs, rhs, out = dimension_numbers
    steps = tuple(strides) if strides else (1,) * len(filter_shape)
    make = W_init or glorot_normal(rhs.index("I"), rhs.index("O"))

    def apply_fun(params: Any, inputs: Array, **kwargs: Any) -> Array:
        W, b = params
        return lax.conv_general_dilated(inputs, W, steps, padding, dimension_numbers=dimension_numbers) + b

    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        sizes = iter(filter_shape)
        lengths = {"O": out_chan, "I": input_shape[lhs.index("C")]}
        kernel = [lengths[c] if c in lengths else next(sizes) for c in rhs]
        first, second = random.split(rng)
        params = make(first, kernel), b_init(second, [out_chan if c == "C" else 1 for c in out])
        shape = lax.conv_general_shape_tuple(tuple(input_shape), tuple(kernel), steps, padding, dimension_numbers)
        return tuple(shape), params

    return init_fun, apply_fun


def Conv(
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Any = "VALID",
    W_init: Callable | None = None,
    b_init: Callable = _TINY,
) -> Layer:
    """A convolution of images whose last axis is that of the channels; the errors of `lax.conv_general_dilated`.

    >>> init, apply = Conv(4, (2, 2))
    >>> init(random.key(0), (1, 5, 5, 3))[0]
    (1, 4, 4, 4)
    """
    return GeneralConv(("NHWC", "HWIO", "NHWC"), out_chan, filter_shape, strides, padding, W_init, b_init)


def BatchNorm(
    axis: int | Sequence[int] = (0, 1, 2),
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_init: Callable = zeros,
    gamma_init: Callable = ones,
) -> Layer:
    """Normalization over axes, those of the batch of images by default, with an offset and a scale. Raises nothing.

    >>> init, apply = BatchNorm(axis=0)
    >>> _, params = init(random.key(0), (2, 1))
    >>> apply(params, pnp.array([[1.], [3.]])).round(2).tolist()
    [[-1.0], [1.0]]
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)

    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        shape = tuple(n for d, n in enumerate(input_shape) if d not in axes)
        first, second = random.split(rng)
        beta = beta_init(first, shape) if center else ()
        return tuple(input_shape), (beta, gamma_init(second, shape) if scale else ())

    def apply_fun(params: Any, inputs: Array, **kwargs: Any) -> Array:
        index = tuple(None if d in axes else slice(None) for d in range(pnp.ndim(inputs)))
        out = nn.standardize(inputs, axis=axes, epsilon=epsilon)
        beta, gamma = params
        out = gamma[index] * out if scale else out
        return out + beta[index] if center else out

    return init_fun, apply_fun


def _pool(name: str, what: str, example: str, reducer: Callable, start: float, average: bool) -> Callable[..., Layer]:
    def pooling(
        window_shape: Sequence[int],
        strides: Sequence[int] | None = None,
        padding: str = "VALID",
        spec: str | None = None,
    ) -> Layer:
        steps = list(strides or (1,) * len(window_shape))
        window = list(window_shape)
        for i in sorted(map((spec or "N" + "X" * len(window) + "C").index, "NC")):
            window.insert(i, 1)
            steps.insert(i, 1)

        def apply(inputs: Array) -> Array:
            out = lax.reduce_window(inputs, start, reducer, window, steps, padding)
            if not average:
                return out
            return out / lax.reduce_window(pnp.ones_like(inputs), 0.0, lax.add, window, steps, padding)

        def shape(input_shape: Sequence[int]) -> tuple[int, ...]:
            pads = lax.padtype_to_pads(input_shape, window, steps, padding)
            return lax.reduce_window_shape_tuple(tuple(input_shape), window, steps, pads)

        return _plain(apply, shape)

    pooling.__name__ = pooling.__qualname__ = name
    pooling.__doc__ = f"""{what} in windows.

    They go over the axes between the first and the last, or those that `spec` calls neither N nor C. Raises nothing.

    >>> init, apply = {name}((2,))
    >>> apply((), pnp.array([[[1.], [3.], [5.]]])).tolist()
    {example}
    """
    return pooling


MaxPool: Callable[..., Layer] = _pool("MaxPool", "The largest value", "[[[3.0], [5.0]]]", lax.max, -math.inf, False)
SumPool: Callable[..., Layer] = _pool("SumPool", "The sum", "[[[4.0], [8.0]]]", lax.add, 0.0, False)
AvgPool: Callable[..., Layer] = _pool("AvgPool", "The mean", "[[[2.0], [4.0]]]", lax.add, 0.0, True)


def FanOut(num: int) -> Layer:
    """The same for each of `num` layers that follow in parallel. Raises nothing.

    >>> FanOut(2)[1]((), 5)
    [5, 5]
    """
    return _plain(lambda x: [x] * num, lambda shape: [shape] * num)


FanInSum: Layer = _plain(lambda inputs: functools.reduce(operator.add, inputs), lambda shapes: shapes[0])


def FanInConcat(axis: int = -1) -> Layer:
    """The results of parallel layers, joined along an axis. Raises nothing.

    >>> FanInConcat()[1]((), [pnp.ones(1), pnp.ones(2)]).shape
    (3,)
    """

    def shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
        at = axis % len(shapes[0])
        return (*shapes[0][:at], sum(s[at] for s in shapes), *shapes[0][at + 1 :])

    return _plain(lambda inputs: pnp.concatenate(inputs, axis), shape)


def Dropout(rate: float, mode: str = "train") -> Layer:
    """In training a share of `rate` is kept and scaled up, the rest set to zero; else everything is kept.

    ValueError in training without a key: `apply_fun(params, inputs, rng=key)`.

    >>> Dropout(0.5, mode="test")[1]((), 3.0)
    3.0
    """

    def apply_fun(params: Any, inputs: Array, **kwargs: Any) -> Array:
        key = kwargs.get("rng")
        if mode != "train":
            return inputs
        if key is None:
            raise ValueError("Dropout: in training it needs a key: apply_fun(params, inputs, rng=key)")
        kept = random.bernoulli(key, rate, inputs.shape)
        return pnp.where(kept, inputs / rate, 0)

    return (lambda rng, input_shape: (input_shape, ())), apply_fun


def serial(*layers: Layer) -> Layer:
    """Layers, one after the other. Raises what they raise.

    >>> init, apply = serial(Dense(4), Relu, Dense(2))
    >>> shape, params = init(random.key(0), (1, 3))
    >>> shape, apply(params, pnp.ones((1, 3))).shape
    ((1, 2), (1, 2))
    """

    def init_fun(rng: Any, input_shape: Any) -> Any:
        params = []
        for init, _ in layers:
            rng, key = random.split(rng)
            input_shape, param = init(key, input_shape)
            params.append(param)
        return input_shape, params

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        keys = _keys(kwargs.pop("rng", None), len(layers))
        for (_, apply), param, key in zip(layers, params, keys, strict=True):
            inputs = apply(param, inputs, rng=key, **kwargs)
        return inputs

    return init_fun, apply_fun


def parallel(*layers: Layer) -> Layer:
    """Layers side by side, each on one of a list of inputs. Raises what they raise.

    >>> init, apply = serial(FanOut(2), parallel(Identity, Exp), FanInSum)
    >>> apply(init(random.key(0), (1,))[1], pnp.zeros(1)).tolist()
    [1.0]
    """

    def init_fun(rng: Any, input_shape: Any) -> Any:
        keys = random.split(rng, len(layers))
        both = [init(key, shape) for (init, _), key, shape in zip(layers, keys, input_shape, strict=True)]
        return tuple(shape for shape, _ in both), tuple(params for _, params in both)

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        keys = _keys(kwargs.pop("rng", None), len(layers))
        return [
            apply(param, x, rng=key, **kwargs)
            for (_, apply), param, x, key in zip(layers, params, inputs, keys, strict=True)
        ]

    return init_fun, apply_fun


def _keys(rng: Any, count: int) -> Any:
    return (None,) * count if rng is None else random.split(rng, count)


def shape_dependent(make_layer: Callable[[Any], Layer]) -> Layer:
    """The layer that `make_layer` makes of the shape of its input. Raises what it raises.

    >>> init, apply = shape_dependent(lambda shape: Dense(shape[-1]))
    >>> init(random.key(0), (1, 3))[0]
    (1, 3)
    """

    def init_fun(rng: Any, input_shape: Any) -> Any:
        return make_layer(input_shape)[0](rng, input_shape)

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return make_layer(inputs.shape)[1](params, inputs, **kwargs)

    return init_fun, apply_fun


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
