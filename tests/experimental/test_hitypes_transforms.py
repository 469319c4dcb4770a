"""Programs on values of a type of one's own, in every transformation, against the same programs on arrays."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from quantised import (
    Quantised,
    QuantisedType,
    array,
    dequantise,
    product,
    product_by_vjp,
    quantise,
    scaled,
    straight_through,
    weights,
)
from wrappers import checkpoint, eager, in_cond, in_scan, jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr
from pullback.experimental.hijax import HiType, MappingSpec, ShapedArray, register_hitype

FRONT = MappingSpec()
either = pytest.mark.parametrize("compiled", [eager, jit])
both_rules = pytest.mark.parametrize("times", [product, product_by_vjp])


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-5)


def loss(q, x):
    return (product(q, x) ** 2).sum()


def loss_of_arrays(d, x):
    return ((d @ x) ** 2).sum()


def test_a_value_is_one_leaf_with_its_type():
    q, _ = weights(3, 4)
    assert pb.typeof(q) == QuantisedType((3, 4))
    assert pb.tree.leaves({"w": q}) == [q]


@either
def test_argument_result_and_constant_of_jit(compiled):
    q, d = weights(3, 4)
    x = array(4)
    close(compiled(lambda q, x: product(q, x))(q, x), d @ x)
    close(compiled(lambda x: product(q, x))(x), d @ x)
    out = compiled(lambda q: {"w": scaled(q, 2.0), "same": q})(q)
    assert type(out["w"]) is Quantised
    assert pb.typeof(out["w"]) == QuantisedType((3, 4))
    close(dequantise(out["w"]), 2 * d)
    close(dequantise(out["same"]), d)
    close(dequantise(compiled(lambda: q)()), d)


@both_rules
@pytest.mark.parametrize("wrap", [eager, jit, checkpoint, in_cond, in_scan])
def test_gradient_of_a_product(times, wrap):
    q, d = weights(3, 4)
    x = array(4)

    def f(q, x):
        return (times(q, x) ** 2).sum()

    expected = pb.grad(loss_of_arrays, (0, 1))(d, x)
    for gradient in (pb.grad(wrap(f), (0, 1)), pb.jit(pb.grad(wrap(f), (0, 1)))):
        got = gradient(q, x)
        assert all(isinstance(g, pb.Array) for g in got)
        close(got[0], expected[0])
        close(got[1], expected[1])


@either
def test_gradient_through_quantisation(compiled):
    w, x = array(3, 4), array(4, seed=2)

    def f(w, x):
        return loss(quantise(pnp.sin(w)), x)

    def of_arrays(w, x):
        return loss_of_arrays(straight_through(pnp.sin(w)), x)

    got, expected = compiled(pb.grad(f, (0, 1)))(w, x), pb.grad(of_arrays, (0, 1))(w, x)
    close(got[0], expected[0])
    close(got[1], expected[1])


@either
def test_two_uses_add_and_an_unused_value_has_gradient_zero(compiled):
    q, d = weights(3, 4)
    x = array(4)
    close(compiled(pb.grad(lambda q: loss(q, x) + dequantise(q).sum()))(q), pb.grad(loss_of_arrays)(d, x) + 1)
    close(compiled(pb.grad(lambda q, x: x.sum()))(q, x), np.zeros((3, 4)))


@either
def test_forward_mode_linearize_and_vjp(compiled):
    w, t = array(3, 4), array(3, 4, seed=2)

    def f(w):
        return scaled(quantise(w), 3.0)

    out, dot = compiled(lambda w, t: pb.jvp(f, (w,), (t,)))(w, t)
    assert pb.typeof(out) == QuantisedType((3, 4))
    close(dot, 3 * t)
    close(compiled(lambda w, t: pb.linearize(f, w)[1](t))(w, t), 3 * t)
    close(compiled(lambda w, t: pb.vjp(f, w)[1](t)[0])(w, t), 3 * t)
    q, _ = weights(3, 4)
    close(compiled(lambda q, t: pb.jvp(dequantise, (q,), (t,))[1])(q, t), t)


@either
def test_second_derivatives_go_through_the_rules(compiled):
    q, d = weights(3, 4)
    x, t = array(4), array(3, 4, seed=2)

    def gradient(q):
        return pb.grad(loss)(q, x)

    def of_arrays(d):
        return pb.grad(loss_of_arrays)(d, x)

    expected = pb.jvp(of_arrays, (d,), (t,))[1]
    for inner in (gradient, pb.jit(gradient)):
        close(compiled(lambda q, inner=inner: pb.jvp(inner, (q,), (t,))[1])(q), expected)
    twice = pb.grad(lambda d: (of_arrays(d) ** 2).sum())(d)
    close(compiled(pb.grad(lambda q: (gradient(q) ** 2).sum()))(q), twice)
    close(compiled(pb.hessian(lambda x: loss(q, x)))(x), pb.hessian(lambda x: loss_of_arrays(d, x))(x))
    close(compiled(pb.jacrev(dequantise))(q), np.eye(12).reshape(3, 4, 3, 4))


@either
def test_vmap_over_arrays_shares_a_value(compiled):
    q, d = weights(3, 4)
    xs = array(5, 4)
    close(compiled(pb.vmap(loss, (None, 0)))(q, xs), pb.vmap(loss_of_arrays, (None, 0))(d, xs))
    close(
        compiled(pb.vmap(pb.grad(loss), (None, 0)))(q, xs),
        pb.vmap(pb.grad(loss_of_arrays), (None, 0))(d, xs),
    )
    close(
        compiled(pb.grad(lambda q: pb.vmap(loss, (None, 0))(q, xs).sum()))(q),
        pb.grad(lambda d: pb.vmap(loss_of_arrays, (None, 0))(d, xs).sum())(d),
    )


@either
@both_rules
def test_vmap_over_values(compiled, times):
    q, d = weights(5, 3, 4)
    x = array(4)

    def f(q, x):
        return (times(q, x) ** 2).sum()

    mapped, plain = pb.vmap(f, (FRONT, None), axis_size=5), pb.vmap(loss_of_arrays, (0, None))
    close(compiled(mapped)(q, x), plain(d, x))
    close(compiled(pb.grad(lambda q: mapped(q, x).sum()))(q), pb.grad(lambda d: plain(d, x).sum())(d))
    per_example = pb.vmap(pb.grad(f, (0, 1)), (FRONT, None), axis_size=5)
    expected = pb.vmap(pb.grad(loss_of_arrays, (0, 1)), (0, None))(d, x)
    for got, want in zip(compiled(per_example)(q, x), expected, strict=True):
        close(got, want)
    pairs = pb.vmap(pb.vmap(f, (None, 0)), (FRONT, None), axis_size=5)
    xs = array(2, 4)
    close(compiled(pairs)(q, xs), pb.vmap(pb.vmap(loss_of_arrays, (None, 0)), (0, None))(d, xs))


@either
def test_values_as_results_of_vmap(compiled):
    w = array(5, 3, 4)
    out = compiled(pb.vmap(quantise, out_axes=FRONT))(w)
    assert pb.typeof(out) == QuantisedType((5, 3, 4))
    close(dequantise(out), dequantise(quantise(w)))
    q, d = weights(3, 4)
    repeated = compiled(pb.vmap(lambda x: q, out_axes=FRONT))(pnp.zeros(2))
    close(dequantise(repeated), np.stack([d, d]))
    shared = compiled(pb.vmap(lambda x: q, out_axes=None))(pnp.zeros(2))
    close(dequantise(shared), d)
    both = compiled(pb.vmap(lambda w: {"q": quantise(w), "x": w}, out_axes={"q": FRONT, "x": 1}))(w)
    assert pb.typeof(both["q"]) == QuantisedType((5, 3, 4))
    assert both["x"].shape == (3, 5, 4)


@either
def test_checkpoint_recomputes_values(compiled):
    q, d = weights(3, 4)
    x = array(4)

    def f(q, x):
        return loss(quantise(pnp.sin(dequantise(q))), x)

    def of_arrays(d, x):
        return loss_of_arrays(straight_through(pnp.sin(d)), x)

    close(compiled(pb.grad(pb.checkpoint(f)))(q, x), pb.grad(of_arrays)(d, x))


@either
def test_stop_gradient(compiled):
    q, d = weights(3, 4)

    def f(q):
        return (dequantise(lax.stop_gradient(q)) * dequantise(q)).sum()

    close(compiled(pb.grad(f))(q), d)
    assert lax.stop_gradient({"w": q})["w"] == q


def test_a_value_may_be_made_of_traced_parts_outside_of_rules():
    q, d = weights(3, 4)
    close(pb.jit(lambda numbers, scales: dequantise(Quantised(numbers, scales)))(q.numbers, q.scales), d)
    out = pb.jit(lambda numbers, scales: Quantised(numbers, 2 * scales))(q.numbers, q.scales)
    close(dequantise(out), 2 * d)


def test_types_without_values():
    q, _ = weights(3, 4)
    assert pb.eval_shape(quantise, pb.ShapeDtypeStruct((3, 4), "float32")) == QuantisedType((3, 4))
    assert pb.eval_shape(dequantise, QuantisedType((3, 4))).shape == (3, 4)
    assert pb.jit(quantise).eval_shape(array(3, 4)) == QuantisedType((3, 4))
    jaxpr = pb.make_jaxpr(lambda q: scaled(q, 2.0))(q)
    check_jaxpr(jaxpr)
    assert "a:q8[3,4]" in str(jaxpr)
    assert jaxpr.out_avals == [QuantisedType((3, 4))]


def test_the_stages_of_compilation():
    q, d = weights(3, 4)
    lowered = pb.jit(dequantise).lower(q)
    assert "tensor<3x4xi8>" in lowered.as_text()
    assert lowered.out_info.shape == (3, 4)
    close(lowered.compile()(q), d)
    values = pb.jit(lambda q: scaled(q, 2.0)).lower(q).compile()
    close(dequantise(values(q)), 2 * d)


def test_traces_and_programs_are_found_by_the_type():
    traces = []

    @pb.jit
    def f(q):
        traces.append(pb.typeof(q))
        return dequantise(q).sum()

    for seed in range(3):
        f(weights(3, 4, seed=seed)[0])
    f(weights(2, 4)[0])
    assert traces == [QuantisedType((3, 4)), QuantisedType((2, 4))]


@either
def test_a_linear_map_as_a_pytree(compiled):
    q, d = weights(3, 4)
    x = array(4)
    _, pullback = compiled(lambda q, x: pb.vjp(loss, q, x))(q, x)
    close(pullback(1.0)[0], pb.grad(loss_of_arrays)(d, x))


def test_device_put_and_donation():
    q, d = weights(3, 4)
    assert pb.device_put({"w": q})["w"] == q
    copy = Quantised(q.numbers + 0, q.scales + 0)
    close(pb.jit(dequantise, donate_argnums=0)(copy), d)
    assert copy.scales.is_deleted()


def test_static_arguments_may_be_types():
    t = QuantisedType((3,))
    assert pb.jit(lambda t, x: x * len(t.dims), static_argnums=0)(t, 2.0) == 2.0


def test_numpy_data_in_parts():
    q, d = weights(3, 4)
    host = Quantised(np.asarray(q.numbers), np.asarray(q.scales))
    close(pb.jit(dequantise)(host), d)
    close(dequantise(pb.jit(lambda q: q)(host)), d)
    close(pb.grad(lambda q: product_by_vjp(q, array(4)).sum())(host), np.outer(np.ones(3), array(4)))


def test_empty_values():
    q = Quantised(pnp.zeros((0, 4), "int8"), pnp.zeros(0))
    assert pb.jit(pb.grad(lambda q: dequantise(q).sum()))(q).shape == (0, 4)
    assert pb.vmap(dequantise, FRONT, axis_size=0)(q).shape == (0, 4)


def test_warm_calls_check_parts_as_the_first_did():
    q, d = weights(3, 4)
    f = pb.jit(lambda q, x: {"same": q, "out": dequantise(q) * x})
    for x in (1.0, 2.0, np.float32(3.0), array()):
        out = f(q, x)
        close(out["out"], d * x)
        close(dequantise(out["same"]), d)
    wrong = Quantised(q.numbers, q.scales.astype("int32"))
    with pytest.raises(TypeError, match=r"part 1 has type i32\[3\], but lo_ty says f32\[3\]"):
        f(wrong, 1.0)
    host = Quantised(np.asarray(q.numbers), np.asarray(q.scales))
    close(f(host, 1.0)["out"], d)
    close(pb.jit(lambda q, n: scaled(q, n).scales if n is None else dequantise(q) * n, static_argnums=1)(q, 2), 2 * d)
    f.clear_cache()
    close(f(q, 1.0)["out"], d)


@dataclasses.dataclass(frozen=True)
class Last(MappingSpec):
    """The examples are in the last axis of each part."""


@dataclasses.dataclass(frozen=True)
class ColumnsType(HiType):
    """An array as one part; it may be mapped over its first axis or over its last."""

    shape: tuple[int, ...]

    def lo_ty(self):
        return [ShapedArray(self.shape, "float32")]

    def lower_val(self, value):
        return [value.array]

    def raise_val(self, array):
        return Columns(array)

    def to_tangent_aval(self):
        return ShapedArray(self.shape, "float32")

    def dec_rank(self, size, spec):
        return ColumnsType(self.shape[:-1] if spec == Last() else self.shape[1:])

    def inc_rank(self, size, spec):
        return ColumnsType((*self.shape, size) if spec == Last() else (size, *self.shape))


@dataclasses.dataclass(frozen=True)
class Columns:
    array: Any


register_hitype(Columns, lambda value: ColumnsType(value.array.shape))


@pb.custom_vjp
def doubled(columns):
    return Columns(2 * columns.array)


doubled.defvjp(lambda c: (doubled(c), None), lambda _, ct: (2 * ct,))


@pb.custom_vjp
def weighted(columns):
    return (columns.array * pnp.arange(1.0, 1 + columns.array.shape[0])).sum()


weighted.defvjp(lambda c: (weighted(c), pb.typeof(c).shape[0]), lambda n, ct: (ct * pnp.arange(1.0, 1 + n),))


@either
def test_specs_of_ones_own_tell_where_the_axis_is(compiled):
    x = array(2, 3)
    close(compiled(pb.vmap(weighted, Last(), axis_size=3))(Columns(x)), x[0] + 2 * x[1])
    out = compiled(pb.vmap(doubled, Last(), Last(), axis_size=3))(Columns(x))
    close(out.array, 2 * x)
    close(compiled(pb.vmap(doubled, Last(), FRONT, axis_size=3))(Columns(x)).array, 2 * x.T)
    with pytest.raises(ValueError, match=r"along Last\(\).* which is no axis of length 5"):
        pb.vmap(weighted, Last(), axis_size=5)(Columns(x))
    with pytest.raises(ValueError, match=r"the axis may be any of \[0, 1\]"):
        pb.vmap(doubled, Last(), axis_size=3)(Columns(array(3, 3)))
