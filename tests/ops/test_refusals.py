"""What `pullback.lax` refuses: axes, shapes, strides, what is no function, numbers of operands; and what it takes."""

from functools import partial

import jax
import numpy as np
import pytest
from refusals import raises
from wrappers import eager

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import elementwise, trig
from pullback.extend.core import Primitive

V, M = pnp.arange(3.0), pnp.arange(6.0).reshape(2, 3)
BITS = pnp.arange(6).reshape(2, 3)
REDUCTIONS = {
    "reduce_sum": M,
    "reduce_max": M,
    "reduce_min": M,
    "reduce_prod": M,
    "reduce_and": BITS,
    "reduce_or": BITS,
    "reduce_xor": BITS,
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_agree_on_axes(name):
    reduce, x = getattr(lax, name), REDUCTIONS[name]
    assert reduce(x, (-1,)).tolist() == reduce(x, (1,)).tolist()
    assert reduce(x, [1, 0]).tolist() == reduce(x, (-2, -1)).tolist()
    assert reduce(x, ()).tolist() == x.tolist()
    with raises(np.exceptions.AxisError, f"{name}: axis 2 is out of bounds for an array of 2 axes"):
        reduce(x, (2,))
    with raises(ValueError, f"{name}: (0, -2) names an axis twice"):
        reduce(x, (0, -2))
    with raises(TypeError, f"{name}: axes must be a sequence of ints, got 1"):
        reduce(x, 1)
    with raises(TypeError, f"{name}: an axis must be an int, got 1.0 of type float"):
        reduce(x, (1.0,))
    with raises(pb.errors.TracerIntegerConversionError, "static"):
        pb.jit(lambda i: reduce(x, (i,)))(1)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_bound_by_hand(name):
    p = getattr(__import__("pullback._ops.reduce", fromlist=[""]), name + "_p")
    with raises(ValueError, f"{name}: axes must be distinct and lie in [0, 2)"):
        p.bind(REDUCTIONS[name], axes=(2,))


def test_reduce():
    assert lax.reduce(M, 0.0, lax.add, (-1,)).tolist() == [3.0, 12.0]
    with raises(np.exceptions.AxisError, "reduce: axis 3 is out of bounds", "1 axes"):
        lax.reduce(V, 0.0, lax.add, (3,))
    with raises(ValueError, "reduce: (0, 0) names an axis twice"):
        lax.reduce(M, 0.0, lax.add, (0, 0))
    with raises(np.exceptions.AxisError, "reduce: axis 0", "0 axes"):
        lax.reduce(1.0, 0.0, lax.add, (0,))
    with raises(ValueError, "reduce: init_values", "for each"):
        lax.reduce(V, [0.0, 1.0], lax.add, (0,))
    with raises(ValueError, "reduce: init_values", "at least one"):
        lax.reduce([], [], lax.add, (0,))
    with raises(ValueError, "reduce: operands must have one shape", "(3,)"):
        lax.reduce(V, V, lax.add, (0,))


def test_expand_dims_and_squeeze():
    assert lax.expand_dims(M, (0, -1)).shape == (1, 2, 3, 1)
    with raises(np.exceptions.AxisError, "expand_dims: axis 7 is out of bounds for an array of 2 axes"):
        lax.expand_dims(V, (7,))
    with raises(ValueError, "expand_dims: (0, 0) names an axis twice"):
        lax.expand_dims(V, (0, 0))
    with raises(ValueError, "expand_dims: (0, -3) names an axis twice"):
        lax.expand_dims(V, (0, -3))
    x = pnp.ones((1, 3))
    assert lax.squeeze(x, (-2,)).shape == (3,)
    with raises(np.exceptions.AxisError, "squeeze: axis 5 is out of bounds for an array of 2 axes"):
        lax.squeeze(x, (5,))
    with raises(ValueError, "squeeze: (0, -2) names an axis twice"):
        lax.squeeze(x, (0, -2))
    with raises(ValueError, "squeeze: axis 1", "has length 3, expected 1"):
        lax.squeeze(x, (-1,))


@pytest.mark.parametrize("value", [1.0, 2, True, 1j, np.float16(3), np.int8(4)])
def test_full_takes_the_dtype_of_its_value(value):
    ours, theirs = lax.full((2,), value), jax.lax.full((2,), value)
    assert (ours.dtype, ours.weak_type, ours.tolist()) == (theirs.dtype, theirs.weak_type, theirs.tolist())


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "float32"), (np.int32, "int32"), (bool, "bool")])
def test_full_in_a_dtype(dtype, expected):
    ours = lax.full((2,), 3, dtype)
    assert (ours.dtype, ours.weak_type) == (np.dtype(expected), False)
    assert ours.tolist() == np.full(2, 3, expected).tolist()


def test_full_of_a_traced_value():
    assert pb.grad(lambda v: lax.full((3,), v).sum())(2.0) == 3.0
    assert pb.jit(lambda v: lax.full((2,), v, "int32"))(2.5).tolist() == [2, 2]


def test_what_full_refuses():
    with raises(ValueError, "full: shapes must be made of non-negative", "got -1"):
        lax.full((-1,), 1.0, "float32")
    with raises(TypeError, "full: shapes must be made of concrete integers, got 1.5"):
        lax.full((1.5,), 1.0)
    with raises(TypeError, "full: fill_value must be a scalar, got f32[3]"):
        lax.full((3,), V)
    with raises(TypeError, "full: fill_value must be a scalar, got f32[3]"):
        lax.full((3,), np.ones(3), "float32")
    with raises(TypeError, "full: ", "static"):
        pb.jit(lambda n: lax.full((n,), 1.0))(3)


def test_conv_transpose():
    x, w = pnp.ones((1, 3, 1)), pnp.ones((2, 1, 1))
    with raises(ValueError, "conv_transpose: strides must have a positive int for each of 1 spatial axes, got (2, 3)"):
        lax.conv_transpose(x, w, (2, 3), "SAME")
    with raises(ValueError, "conv_transpose: rhs_dilation"):
        lax.conv_transpose(x, w, (2,), "SAME", rhs_dilation=(1, 1))
    with raises(ValueError, "conv_transpose: padding must"):
        lax.conv_transpose(x, w, (2,), [(0, 0)] * 2)
    with raises(ValueError, "conv_transpose: strides", "(0,)"):
        lax.conv_transpose(x, w, (0,), "SAME")


def test_map_takes_a_function():
    with raises(TypeError, "map: expected a function, got 1 of type int"):
        lax.map(1, V)
    with raises(TypeError, "map: expected a function"):
        lax.map(1, V, batch_size=2)
    with raises(TypeError, "scan: expected a function"):
        lax.scan(1, 0.0, V)


@pytest.mark.parametrize("where", [eager, pb.jit, pb.make_jaxpr])
def test_the_number_of_operands_of_a_primitive(where):
    with raises(TypeError, "add: expected 2 operands, got 1"):
        where(lambda x: elementwise.add_p.bind(x))(V)
    with raises(TypeError, "mul: expected 2 operands, got 3"):
        where(lambda x: elementwise.mul_p.bind(x, x, x))(V)
    with raises(TypeError, "sin: expected 1 operand, got 2"):
        where(lambda x: trig.sin_p.bind(x, x))(V)
    p = Primitive("twice")
    p.def_kernel(lambda x: x + x)
    p.def_abstract_eval(lambda x: x)
    with raises(TypeError, "twice: got 2 operands", "do not fit"):
        where(lambda x: p.bind(x, x))(V)
    with raises(TypeError, "twice: got 1 operand and the parameters ['by']"):
        where(lambda x: p.bind(x, by=3))(V)


def test_errors_of_a_typing_rule_are_its_own():
    p = Primitive("picky")

    @p.def_abstract_eval
    def rule(x):
        raise TypeError("picky: not today")

    with raises(TypeError, "picky: not today"):
        pb.make_jaxpr(p.bind)(V)


def test_operands_that_are_no_arrays():
    with raises(TypeError, "add: expected an array or a number, got 'text'"):
        lax.add(V, "text")
    with raises(TypeError, "sin: expected an array or a number, got 'text'"):
        lax.sin("text")


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
    assert lax.select_n(np.array([-1, 5, 1], np.int32), V, V + 10).tolist() == [0.0, 11.0, 12.0]
    assert lax.select_n(False, V).tolist() == V.tolist()
    with raises(ValueError, "select_n: expected at least one case"):
        lax.select_n(True)
    with raises(TypeError, "select_n: which must be of int32s"):
        lax.select_n(True, V, V, V)
    with raises(TypeError, "select_n: which must be of int32s"):
        lax.select_n(1.0, V, V)
    with raises(ValueError, "select_n: the cases must have one shape", "f32[2,3]"):
        lax.select_n(True, V, M)
    with raises(ValueError, "select_n: ", "bool[2]"):
        lax.select_n(np.array([True, False]), V, V)
    with raises(TypeError, "select_n: the cases must have one dtype"):
        lax.select_n(True, V, pnp.arange(3))


def test_full_like_and_reciprocal():
    assert lax.full_like(pnp.ones((2, 3), np.float16), 2).dtype == np.float16
    assert lax.full_like(V, 7, shape=(2,)).tolist() == [7.0, 7.0]
    assert lax.full_like(V, 7, np.int32).dtype == np.int32
    assert lax.reciprocal(pnp.array([2.0, -4.0])).tolist() == [0.5, -0.25]
    assert pb.grad(lax.reciprocal)(2.0).tolist() == -0.25
    with raises(TypeError, "reciprocal: expected a floating-point", "i32[2]"):
        lax.reciprocal(pnp.arange(1, 3))
    with raises(TypeError, "'s'"):
        lax.full_like("s", 1.0)


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


# --- parameters that do not fit ---

IMAGE, KERNEL = pnp.ones((1, 1, 4)), pnp.ones((1, 1, 2))
KEYS = np.zeros((2,), np.uint32)


def scattered(window_axes):
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=window_axes, inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
    )
    return lax.scatter(M, np.zeros((1, 1), np.int32), pnp.ones((1, 3)), numbers)


MISFITS = [
    (
        partial(lax.conv_general_dilated, IMAGE, KERNEL, (1,), "SAME", dimension_numbers=("NCH", "OIW", "NCH")),
        ValueError,
        "must have N, C and the spatial letters of the kernel",
    ),
    (partial(lax.conv_general_dilated, IMAGE, KERNEL, (1,), "SAME", out_sharding="x"), Exception, "out_sharding"),
    (partial(lax.conv_general_dilated, IMAGE, KERNEL, (1,), 3), ValueError, "padding must be a pair of ints"),
    (
        partial(lax.conv_general_dilated, IMAGE, KERNEL, (1,), [(0, 0), (0, 0)]),
        ValueError,
        "for each of 1 spatial axes",
    ),
    (partial(lax.conv_general_dilated, IMAGE > 0, KERNEL > 0, (1,), "SAME"), TypeError, "expected numbers, got bools"),
    (
        partial(
            lax.conv_general_dilated,
            pnp.ones((2, 2, 4)),
            pnp.ones((2, 1, 2)),
            (1,),
            "SAME",
            feature_group_count=2,
            batch_group_count=2,
        ),
        ValueError,
        "one of feature_group_count and batch_group",
    ),
    (
        partial(lax.conv_transpose, IMAGE, KERNEL, (1,), "FULL", dimension_numbers=("NCH", "OIH", "NCH")),
        ValueError,
        "conv_transpose: padding must be 'SAME', 'VALID' or pairs of ints, got 'FULL'",
    ),
    (partial(lax.reduce_window, M, 0.0, lax.add, (2,), (1, 1), "VALID"), ValueError, "an entry for each axis of shape"),
    (partial(lax.concatenate, [], 0), ValueError, "concatenate: expected at least one operand, got none"),
    (partial(lax.concatenate, [V, pnp.arange(3)], 0), TypeError, "operands must have one dtype, got f32"),
    (partial(lax.iota, bool, 3), TypeError, "expected a numeric dtype, got bool"),
    (partial(lax.broadcast_in_dim, V, (3, 2), (0, 1)), ValueError, "broadcast_dimensions must name an axis"),
    (partial(lax.broadcast_in_dim, V, (3, 2), (1,)), ValueError, "does not broadcast to"),
    (partial(lax.reshape, V, (2, 2)), ValueError, "reshape: cannot turn shape (3,) (3 elements) into (2, 2)"),
    (partial(lax.transpose, M, (0, 0)), ValueError, "does not permute the 2 axes"),
    (partial(lax.pad, V, V, [(1, 0, 0)]), ValueError, "pad: padding_value must be a scalar, got shape (3,)"),
    (partial(lax.pad, V, V, [(0, 0, 0)]), ValueError, "pad: padding_value must be a scalar, got shape (3,)"),
    (partial(lax.pad, V, pnp.int32(1), [(0, 0, 0)]), TypeError, "pad: operand and padding_value must have one dtype"),
    (partial(lax.rev, M, (0, 0)), ValueError, "rev: dimensions must be distinct"),
    (
        partial(lax.dynamic_slice, M, np.zeros((1, 2), int), (1, 1)),
        ValueError,
        "must be a sequence of scalars or a 1-d",
    ),
    (partial(lax.dynamic_slice, M, (0.0, 0.0), (1, 1)), TypeError, "starts must be integer scalars, got f32[]"),
    (partial(scattered, ()), ValueError, "expected a window axis in the updates for each of the 1 axes"),
]


@pytest.mark.parametrize(("call", "error", "words"), MISFITS)
def test_parameters_that_do_not_fit(call, error, words):
    with pytest.raises(error) as info:
        call()
    assert words in str(info.value)


def test_groups_are_of_one_axis():
    def total(x):
        return lax.psum(x, ("a", "b"), axis_index_groups=[[0, 1]])

    with raises(ValueError, "psum: axis_index_groups are of one axis, got the names ('a', 'b')"):
        pb.vmap(pb.vmap(total, axis_name="a"), axis_name="b")(M)


def test_bools_are_counted_by_psum():
    def count(x):
        return lax.psum(x, "rows")

    assert pb.vmap(count, axis_name="rows")(V > 0).tolist() == [2, 2, 2]
