"""A type of one's own for tests: arrays of 8-bit integers with a scale for each row, and functions with rules on them.

Tangents are arrays of float32. Rounding has the derivative of the identity, so that a program on quantised values has
the derivatives of the same program on the arrays they stand for.
"""

import dataclasses
from typing import Any

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.hijax import HiType, ShapedArray, aval_method, aval_property, register_hitype


@dataclasses.dataclass(frozen=True)
class QuantisedType(HiType):
    dims: tuple[int, ...]
    kind = "8 bits"

    def lo_ty(self):
        return [ShapedArray(self.dims, "int8"), ShapedArray(self.dims[:-1], "float32")]

    def lower_val(self, value):
        return [value.numbers, value.scales]

    def raise_val(self, numbers, scales):
        return Quantised(numbers, scales)

    def to_tangent_aval(self):
        return ShapedArray(self.dims, "float32")

    def dec_rank(self, size, spec):
        assert self.dims[0] == size
        return QuantisedType(self.dims[1:])

    def inc_rank(self, size, spec):
        return QuantisedType((size, *self.dims))

    def str_short(self, short_dtypes=False, **_):
        return f"q8[{','.join(map(str, self.dims))}]"

    count = aval_property(lambda x: int(np.prod(x.dims)))
    times = aval_method(lambda x, factor: scaled(x, factor))

    @staticmethod
    def _add(x, y):
        return quantise(dequantise(x) + (dequantise(y) if isinstance(pb.typeof(y), QuantisedType) else y))

    @staticmethod
    def _radd(x, y):
        return quantise(y + dequantise(x))

    @staticmethod
    def _neg(x):
        return scaled(x, -1.0)

    @staticmethod
    def _getitem(x, index):
        return dequantise(x)[index]


@dataclasses.dataclass(frozen=True)
class Quantised:
    numbers: Any
    scales: Any

    def __neg__(self):
        return scaled(self, -1.0)

    def __add__(self, other):
        return QuantisedType._add(self, other)

    @property
    def nothing(self):
        return None


register_hitype(Quantised, lambda value: QuantisedType(tuple(value.numbers.shape)))


@pb.custom_jvp
def quantise(x):
    scales = pnp.max(pnp.abs(x), -1) / 127.0
    return Quantised(pnp.round(x / pnp.where(scales > 0, scales, 1.0)[..., None]).astype("int8"), scales)


@quantise.defjvp
def _(primals, tangents):
    return quantise(*primals), tangents[0]


@pb.custom_jvp
def dequantise(q):
    return q.numbers.astype("float32") * q.scales[..., None]


@dequantise.defjvp
def _(primals, tangents):
    return dequantise(*primals), tangents[0]


@pb.custom_jvp
def product(q, x):
    """`q @ x`, by a jvp rule."""
    return (q.numbers.astype("float32") * q.scales[..., None]) @ x


@product.defjvp
def _(primals, tangents):
    q, x = primals
    q_dot, x_dot = tangents
    return product(q, x), q_dot @ x + product(q, x_dot)


@pb.custom_vjp
def product_by_vjp(q, x):
    """`q @ x`, by a vjp rule that reads the parts of the value."""
    return (q.numbers.astype("float32") * q.scales[..., None]) @ x


def _fwd(q, x):
    return product_by_vjp(q, x), (q, x)


def _bwd(saved, ct):
    q, x = saved
    return pnp.outer(ct, x), (q.numbers.astype("float32") * q.scales[:, None]).T @ ct


product_by_vjp.defvjp(_fwd, _bwd)


def scaled(q, factor):
    """The quantised value times a number, which is written into the scales."""
    return _scaled(q, pnp.asarray(factor, "float32"))


@pb.custom_jvp
def _scaled(q, factor):
    return Quantised(q.numbers, q.scales * factor)


@_scaled.defjvp
def _(primals, tangents):
    q, factor = primals
    q_dot, factor_dot = tangents
    return _scaled(q, factor), q_dot * factor + dequantise(q) * factor_dot


def straight_through(x):
    """What `dequantise(quantise(x))` is, for arrays alone: its value, with the derivative of the identity."""
    return x + pb.lax.stop_gradient(dequantise(quantise(x)) - x)


def weights(*shape, seed=0):
    """A quantised value, and the array it stands for."""
    q = quantise(pnp.array(np.random.default_rng(seed).normal(size=shape), "float32"))
    return q, dequantise(q)


def array(*shape, seed=1):
    return pnp.array(np.random.default_rng(seed).normal(size=shape), "float32")
