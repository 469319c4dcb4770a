"""Primitives that are classes, on values of types of one's own; operators and attributes of traced values."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from quantised import QuantisedType, array, dequantise, quantise, scaled, weights
from wrappers import eager, jit

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.hijax import HiPrim, HiType, MappingSpec, ShapedArray, register_hitype

FRONT = MappingSpec()
either = pytest.mark.parametrize("compiled", [eager, jit])


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-5)


class Product(HiPrim):
    """`q @ x`."""

    def __init__(self, q, x):
        self.in_avals = (q, x)
        self.out_aval = ShapedArray((q.dims[0],), "float32")
        self.params = {}
        super().__init__()

    def expand(self, q, x):
        return (q.numbers.astype("float32") * q.scales[:, None]) @ x

    def vjp_fwd(self, nzs_in, q, x):
        return self(q, x), (q, x)

    def vjp_bwd(self, saved, ct, q_accum, x_accum):
        q, x = saved
        q_accum.accum(pnp.outer(ct, x))
        x_accum.accum(dequantise(q).T @ ct)

    def batch(self, axis_data, args, dims):
        def one(q, x):
            return dequantise(q) @ x

        return pb.vmap(one, tuple(dims), axis_size=axis_data.size)(*args), 0


class Quantise(HiPrim):
    """An array as a quantised value."""

    def __init__(self, x):
        self.in_avals = (x,)
        self.out_aval = QuantisedType(x.shape)
        self.params = {}
        super().__init__()

    def expand(self, x):
        return quantise(x)

    def jvp(self, primals, tangents):
        return self(*primals), tangents[0]


def product(q, x):
    return Product(pb.typeof(q), pb.typeof(x))(q, x)


def loss(q, x):
    return (product(q, x) ** 2).sum()


def loss_of_arrays(d, x):
    return ((d @ x) ** 2).sum()


@either
def test_a_class_takes_values(compiled):
    q, d = weights(3, 4)
    x = array(4)
    close(compiled(product)(q, x), d @ x)
    got, expected = compiled(pb.grad(loss, (0, 1)))(q, x), pb.grad(loss_of_arrays, (0, 1))(d, x)
    close(got[0], expected[0])
    close(got[1], expected[1])


@either
def test_its_batch_rule_gets_the_spec_of_a_value(compiled):
    q, d = weights(2, 3, 4)
    x = array(4)
    close(compiled(pb.vmap(product, (FRONT, None), axis_size=2))(q, x), d @ x)
    got = compiled(pb.vmap(pb.grad(loss), (FRONT, None), axis_size=2))(q, x)
    close(got, pb.vmap(pb.grad(loss_of_arrays), (0, None))(d, x))


@either
def test_a_class_returns_values(compiled):
    w = array(2, 3, 4)

    def f(w):
        return Quantise(pb.typeof(w))(w)

    close(dequantise(compiled(f)(w)), dequantise(quantise(w)))
    close(compiled(pb.grad(lambda w: dequantise(f(w)).sum()))(w), np.ones((2, 3, 4)))
    out = compiled(pb.vmap(f, out_axes=FRONT))(w)
    assert pb.typeof(out) == QuantisedType((2, 3, 4))


def test_a_class_refuses_a_value_of_another_type():
    q, _ = weights(3, 4)
    other, _ = weights(2, 4)
    x = array(4)
    instance = Product(pb.typeof(q), pb.typeof(x))
    with pytest.raises(TypeError, match=r"argument 'q'.* expected q8\[3,4\], got q8\[2,4\]"):
        instance(other, x)
    with pytest.raises(TypeError, match=r"argument 'q'.* expected q8\[3,4\], got f32\[3,4\]"):
        instance(array(3, 4), x)
    with pytest.raises(TypeError, match=r"argument 'x'.* expected f32\[4\], got q8\[3,4\]"):
        instance(q, q)


def test_attributes_of_a_traced_value_are_those_of_its_type():
    q, d = weights(3, 4)
    seen = []

    @pb.jit
    def f(q):
        seen.append((q.dims, q.kind, q.count))
        return dequantise(q.times(2.0))

    close(f(q), 2 * d)
    assert seen == [((3, 4), "8 bits", 12)]
    assert not hasattr(pnp.ones(2), "dims")
    pb.jit(lambda x: seen.append(hasattr(x, "dims")))(1.0)
    assert seen[-1] is False


@either
def test_operators_that_the_type_declares(compiled):
    q, d = weights(3, 4)
    close(dequantise(compiled(lambda q: -q)(q)), -d)
    close(dequantise(compiled(lambda q: q + q)(q)), 2 * d)
    close(pb.jit(lambda q: q[1])(q), d[1])
    np.testing.assert_allclose(dequantise(pb.jit(lambda q, x: q + x)(q, d)), 2 * d, atol=0.05)
    np.testing.assert_allclose(dequantise(pb.jit(lambda q, x: x + q)(q, d)), 2 * d, atol=0.05)
    close(pb.grad(lambda q: dequantise(q + q).sum())(q), 2 * np.ones((3, 4)))


def test_operators_of_arrays_stay_what_they_are():
    weights(3, 4)
    x = array(3)
    close(pb.jit(lambda x: -x + 2 * x - x / 2 + (x @ x) * x[0] - abs(x))(x), x / 2 + (x @ x) * x[0] - abs(x))
    close(pb.grad(lambda x: (x**2).sum())(x), 2 * x)


def test_a_rule_may_read_parts_under_every_transformation_but_its_own_derivative():
    q, _d = weights(3, 4)
    kinds = []

    @pb.custom_jvp
    def first_row(q):
        kinds.append(type(q).__name__)
        return q.numbers[0].astype("float32") * q.scales[0]

    @first_row.defjvp
    def _(primals, tangents):
        (q,) = primals
        kinds.append(type(q).__name__)
        return first_row(q), tangents[0][0]

    for f in (first_row, pb.jit(first_row), pb.jit(pb.grad(lambda q: first_row(q).sum()))):
        f(q)
    assert set(kinds) == {"Quantised"}
    close(scaled(q, 1.0).scales, q.scales)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Its fields have names that the library's own classes use."""

    value: Any
    primal: Any


@dataclasses.dataclass(frozen=True)
class MeasuredType(HiType):
    shape: tuple[int, ...]

    def lo_ty(self):
        return [ShapedArray(self.shape, "float32")] * 2

    def lower_val(self, x):
        return [x.value, x.primal]

    def raise_val(self, value, primal):
        return Measured(value, primal)

    def to_tangent_aval(self):
        return ShapedArray(self.shape, "float32")

    def dec_rank(self, size, spec):
        return MeasuredType(self.shape[1:])

    def inc_rank(self, size, spec):
        return MeasuredType((size, *self.shape))


register_hitype(Measured, lambda x: MeasuredType(x.value.shape))


@either
def test_fields_may_have_any_names(compiled):
    @pb.custom_jvp
    def measured(x):
        return Measured(x, 2 * x)

    measured.defjvp(lambda primals, tangents: (measured(*primals), tangents[0]))

    @pb.custom_jvp
    def total(m):
        again = measured(m.value)  # traced values in rules have the attributes of a value
        return (again.value + m.primal).sum()

    total.defjvp(lambda primals, tangents: (total(*primals), 3 * tangents[0].sum()))
    x = array(2, 3)
    close(compiled(lambda x: total(measured(x)))(x), 3 * x.sum())
    close(compiled(pb.grad(lambda x: total(measured(x))))(x), 3 * np.ones((2, 3)))
    close(compiled(pb.vmap(lambda x: total(measured(x))))(x), 3 * x.sum(1))
    close(compiled(pb.vmap(total, FRONT, axis_size=2))(measured(x)), 3 * x.sum(1))
    with pytest.raises(AttributeError, match=r"MeasuredType.* has no attribute 'value'"):
        pb.jit(lambda m: m.value)(measured(x))
