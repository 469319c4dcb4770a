"""What `pullback.lax` refuses: axes, shapes, strides, what is no function, numbers of operands; and what it takes."""

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import elementwise, trig
from pullback.extend.core import Primitive

V, M = pnp.arange(3.), pnp.arange(6.).reshape(2, 3)
BITS = pnp.arange(6).reshape(2, 3)
REDUCTIONS = {"reduce_sum": M, "reduce_max": M, "reduce_min": M, "reduce_prod": M, "reduce_and": BITS,
              "reduce_or": BITS, "reduce_xor": BITS}


def refused(call, error, *parts):
    with pytest.raises(error) as info:
        call()
    for part in parts:
        assert part in str(info.value), str(info.value)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_agree_on_axes(name):
    reduce, x = getattr(lax, name), REDUCTIONS[name]
    assert reduce(x, (-1,)).tolist() == reduce(x, (1,)).tolist()
    assert reduce(x, [1, 0]).tolist() == reduce(x, (-2, -1)).tolist()
    assert reduce(x, ()).tolist() == x.tolist()
    refused(lambda: reduce(x, (2,)), ValueError, f"{name}: axis 2 is out of bounds for an array of 2 axes")
    refused(lambda: reduce(x, (0, -2)), ValueError, f"{name}: (0, -2) names an axis twice")
    refused(lambda: reduce(x, 1), TypeError, f"{name}: axes must be a sequence of ints, got 1")
    refused(lambda: reduce(x, (1.,)), TypeError, f"{name}: an axis must be an int, got 1.0 of type float")
    refused(lambda: pb.jit(lambda i: reduce(x, (i,)))(1), pb.errors.TracerIntegerConversionError, "static")


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_bound_by_hand(name):
    p = getattr(__import__("pullback._ops.reduce", fromlist=[""]), name + "_p")
    refused(lambda: p.bind(REDUCTIONS[name], axes=(2,)), ValueError, f"{name}: axes must be distinct and lie in [0, 2)")


def test_reduce():
    assert lax.reduce(M, 0., lax.add, (-1,)).tolist() == [3., 12.]
    refused(lambda: lax.reduce(V, 0., lax.add, (3,)), ValueError, "reduce: axis 3 is out of bounds", "1 axes")
    refused(lambda: lax.reduce(M, 0., lax.add, (0, 0)), ValueError, "reduce: (0, 0) names an axis twice")
    refused(lambda: lax.reduce(1., 0., lax.add, (0,)), ValueError, "reduce: axis 0", "0 axes")
    refused(lambda: lax.reduce(V, [0., 1.], lax.add, (0,)), ValueError, "reduce: init_values", "for each")
    refused(lambda: lax.reduce([], [], lax.add, (0,)), ValueError, "reduce: init_values", "at least one")
    refused(lambda: lax.reduce(V, V, lax.add, (0,)), ValueError, "reduce: operands must have one shape", "(3,)")


def test_expand_dims_and_squeeze():
    assert lax.expand_dims(M, (0, -1)).shape == (1, 2, 3, 1)
    refused(lambda: lax.expand_dims(V, (7,)), ValueError, "expand_dims: axis 7 is out of bounds for an array of 2 axes")
    refused(lambda: lax.expand_dims(V, (0, 0)), ValueError, "expand_dims: (0, 0) names an axis twice")
    refused(lambda: lax.expand_dims(V, (0, -3)), ValueError, "expand_dims: (0, -3) names an axis twice")
    x = pnp.ones((1, 3))
    assert lax.squeeze(x, (-2,)).shape == (3,)
    refused(lambda: lax.squeeze(x, (5,)), ValueError, "squeeze: axis 5 is out of bounds for an array of 2 axes")
    refused(lambda: lax.squeeze(x, (0, -2)), ValueError, "squeeze: (0, -2) names an axis twice")
    refused(lambda: lax.squeeze(x, (-1,)), ValueError, "squeeze: axis 1", "has length 3, expected 1")


@pytest.mark.parametrize("value", [1., 2, True, 1j, np.float16(3), np.int8(4)])
def test_full_takes_the_dtype_of_its_value(value):
    ours, theirs = lax.full((2,), value), jax.lax.full((2,), value)
    assert (ours.dtype, ours.weak_type, ours.tolist()) == (theirs.dtype, theirs.weak_type, theirs.tolist())


@pytest.mark.parametrize(("dtype", "expected"), [
    ("float32", "float32"), (np.int32, "int32"), (bool, "bool")])
def test_full_in_a_dtype(dtype, expected):
    ours = lax.full((2,), 3, dtype)
    assert (ours.dtype, ours.weak_type) == (np.dtype(expected), False)
    assert ours.tolist() == np.full(2, 3, expected).tolist()


def test_full_of_a_traced_value():
    assert pb.grad(lambda v: lax.full((3,), v).sum())(2.) == 3.
    assert pb.jit(lambda v: lax.full((2,), v, "int32"))(2.5).tolist() == [2, 2]


def test_what_full_refuses():
    refused(lambda: lax.full((-1,), 1., "float32"), ValueError, "full: shapes must be made of non-negative", "got -1")
    refused(lambda: lax.full((1.5,), 1.), TypeError, "full: shapes must be made of concrete integers, got 1.5")
    refused(lambda: lax.full((3,), V), TypeError, "full: fill_value must be a scalar, got f32[3]")
    refused(lambda: lax.full((3,), np.ones(3), "float32"), TypeError, "full: fill_value must be a scalar, got f32[3]")
    refused(lambda: pb.jit(lambda n: lax.full((n,), 1.))(3), TypeError, "full: ", "static")


def test_conv_transpose():
    x, w = pnp.ones((1, 3, 1)), pnp.ones((2, 1, 1))
    refused(lambda: lax.conv_transpose(x, w, (2, 3), "SAME"), ValueError,
            "conv_transpose: strides must have a positive int for each of 1 spatial axes, got (2, 3)")
    refused(lambda: lax.conv_transpose(x, w, (2,), "SAME", rhs_dilation=(1, 1)), ValueError,
            "conv_transpose: rhs_dilation")
    refused(lambda: lax.conv_transpose(x, w, (2,), [(0, 0)] * 2), ValueError, "conv_transpose: padding must")
    refused(lambda: lax.conv_transpose(x, w, (0,), "SAME"), ValueError, "conv_transpose: strides", "(0,)")


def test_map_takes_a_function():
    refused(lambda: lax.map(1, V), TypeError, "map: expected a function, got 1 of type int")
    refused(lambda: lax.map(1, V, batch_size=2), TypeError, "map: expected a function")
    refused(lambda: lax.scan(1, 0., V), TypeError, "scan: expected a function")


@pytest.mark.parametrize("where", [lambda f: f, pb.jit, pb.make_jaxpr], ids=["eager", "jit", "make_jaxpr"])
def test_the_number_of_operands_of_a_primitive(where):
    refused(lambda: where(lambda x: elementwise.add_p.bind(x))(V), TypeError, "add: expected 2 operands, got 1")
    refused(lambda: where(lambda x: elementwise.mul_p.bind(x, x, x))(V), TypeError, "mul: expected 2 operands, got 3")
    refused(lambda: where(lambda x: trig.sin_p.bind(x, x))(V), TypeError, "sin: expected 1 operand, got 2")
    p = Primitive("twice")
    p.def_kernel(lambda x: x + x)
    p.def_abstract_eval(lambda x: x)
    refused(lambda: where(lambda x: p.bind(x, x))(V), TypeError, "twice: got 2 operands", "do not fit")
    refused(lambda: where(lambda x: p.bind(x, by=3))(V), TypeError, "twice: got 1 operand and the parameters ['by']")


def test_errors_of_a_typing_rule_are_its_own():
    p = Primitive("picky")

    @p.def_abstract_eval
    def rule(x):
        raise TypeError("picky: not today")

    refused(lambda: pb.make_jaxpr(p.bind)(V), TypeError, "picky: not today")


def test_operands_that_are_no_arrays():
    refused(lambda: lax.add(V, "text"), TypeError, "add: expected an array or a number, got 'text'")
    refused(lambda: lax.sin("text"), TypeError, "sin: expected an array or a number, got 'text'")


@pytest.mark.parametrize(("which", "n"), [(True, 2), ([True, False, True], 2), ([0, 2, 1], 3), (1, 3), ([0, 0, 1], 2)])
def test_select_n(which, n):
    which = np.asarray(which, np.int32 if np.asarray(which).dtype.kind == "i" else bool)
    cases = [np.float32(i) + np.arange(3, dtype=np.float32) for i in range(n)]
    expected = jax.lax.select_n(which, *cases)
    assert lax.select_n(which, *cases).tolist() == expected.tolist()
    assert pb.jit(lax.select_n)(which, *cases).tolist() == expected.tolist()
    grads = pb.grad(lambda cs: lax.select_n(which, *cs).sum())(cases)
    for got, want in zip(grads, jax.grad(lambda cs: jax.lax.select_n(which, *cs).sum())(cases), strict=True):
        assert got.tolist() == want.tolist()


def test_what_select_n_refuses():
    assert lax.select_n(np.array([-1, 5, 1], np.int32), V, V + 10).tolist() == [0., 11., 12.]
    assert lax.select_n(False, V).tolist() == V.tolist()
    refused(lambda: lax.select_n(True), ValueError, "select_n: expected at least one case")
    refused(lambda: lax.select_n(True, V, V, V), TypeError, "select_n: which must be of int32s")
    refused(lambda: lax.select_n(1., V, V), TypeError, "select_n: which must be of int32s")
    refused(lambda: lax.select_n(True, V, M), ValueError, "select_n: the cases must have one shape", "f32[2,3]")
    refused(lambda: lax.select_n(np.array([True, False]), V, V), ValueError, "select_n: ", "bool[2]")
    refused(lambda: lax.select_n(True, V, pnp.arange(3)), TypeError, "select_n: the cases must have one dtype")


def test_full_like_and_reciprocal():
    assert lax.full_like(pnp.ones((2, 3), np.float16), 2).dtype == np.float16
    assert lax.full_like(V, 7, shape=(2,)).tolist() == [7., 7.]
    assert lax.full_like(V, 7, np.int32).dtype == np.int32
    assert lax.reciprocal(pnp.array([2., -4.])).tolist() == [.5, -.25]
    assert pb.grad(lax.reciprocal)(2.).tolist() == -.25
    refused(lambda: lax.reciprocal(pnp.arange(1, 3)), TypeError, "reciprocal: expected a floating-point", "i32[2]")
    refused(lambda: lax.full_like("s", 1.), TypeError, "'s'")


@pytest.mark.parametrize(("number", "dtype"), [(1.5, "int8"), (2j, "int32"), (2j, "float32"), (2, "bool")])
@pytest.mark.parametrize("name", ["add", "mul", "sub", "div", "max", "min", "lt", "eq", "atan2"])
def test_a_number_does_not_lose_its_fraction_beside_an_array(name, number, dtype):
    array = pnp.ones(2, dtype)
    for operands in ((number, array), (array, number)):
        with pytest.raises(TypeError, match=rf"^{name}: "):
            getattr(lax, name)(*operands)


def test_a_power_of_a_number_with_integer_exponents():
    assert lax.pow(1.5, pnp.array([1, 2], "int8")).tolist() == [1.5, 2.25]
    assert lax.pow(2.0, 3).weak_type
