"""The text that is emitted: MLIR's names and attributes, each operation of a block run, each function emitted once."""

import ml_dtypes
import numpy as np
import pytest
from emitted import aval_of, jaxpr_of, program_of, run_emitted

import pullback as pb
import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._xla.attributes import int_array, int_matrix
from pullback._xla.lowering import Block, Module, dense, lower_module
from pullback._xla.single_operations import single_equation
from pullback._xla.tensor_types import tensor_type
from pullback.errors import RuleNotDefinedError

F32 = np.dtype(np.float32)
I32 = np.dtype(np.int32)
BOOL = np.dtype(bool)


@pytest.mark.parametrize(
    ("shape", "dtype", "text"),
    [
        ((), np.float32, "tensor<f32>"),
        ((3,), np.int8, "tensor<3xi8>"),
        ((2, 0, 4), np.uint64, "tensor<2x0x4xui64>"),
        ((1,), bool, "tensor<1xi1>"),
        ((), np.complex64, "tensor<complex<f32>>"),
        ((5,), ml_dtypes.bfloat16, "tensor<5xbf16>"),
        ((5,), ml_dtypes.float8_e4m3fn, "tensor<5xf8E4M3FN>"),
        ((5,), ml_dtypes.int4, "tensor<5xi4>"),
        ((5,), dtypes.float0, "tensor<5xi1>"),
    ],
    ids=str,
)
def test_types_of_arrays(shape, dtype, text):
    assert tensor_type(aval_of(shape, dtype)) == text


def test_every_dtype_of_arrays_has_a_name():
    for dtype in (*dtypes._ABSTRACT, dtypes.float0):
        assert tensor_type(make_aval((), dtype)).startswith("tensor<")


def test_weak_types_are_those_of_strong_ones():
    assert tensor_type(make_aval((2,), F32, True)) == tensor_type(make_aval((2,), F32)) == "tensor<2xf32>"


def test_attributes_of_integers():
    assert int_array((1, -2, 3)) == "array<i64: 1, -2, 3>"
    assert int_array(()) == "array<i64>"
    assert int_matrix([(0, 1), (2, -3)]) == "dense<[[0, 1], [2, -3]]> : tensor<2x2xi64>"
    assert int_matrix([]) == "dense<> : tensor<0x2xi64>"


SCALARS = [
    (bool, [True, False]),
    (np.int8, [-128, 127]),
    (np.uint64, [0, 2**64 - 1]),
    (np.int64, [-(2**63), 2**63 - 1]),
    (np.float16, [0.1, 65504, 6e-8, np.inf, -np.inf]),
    (np.float32, [0.1, 1 / 3, -0.0, 1e-45, np.finfo(np.float32).max, np.inf, -np.inf]),
    (np.float64, [0.1, 1 / 3, -0.0, 5e-324, np.finfo(np.float64).max, np.inf, -np.inf]),
    (np.complex64, [0.1 - 0.2j, complex(-0.0, np.inf)]),
    (np.complex128, [1 / 3 - 1e300j, complex(-np.inf, -0.0)]),
    (ml_dtypes.bfloat16, [0.1, -3.3895314e38, np.inf]),
    (ml_dtypes.int4, [-8, 7]),
    (ml_dtypes.float8_e5m2, [0.3, 57344]),
]


@pytest.mark.parametrize(("dtype", "value"), [(dtype, value) for dtype, values in SCALARS for value in values], ids=str)
def test_scalar_constants_keep_every_bit(dtype, value):
    expected = np.asarray(value, dtype)
    aval = aval_of((), dtype)

    def emit(ctx):
        return [ctx.constant(expected, aval)]

    (out,) = run_emitted(emit, [aval])
    assert out.dtype == expected.dtype
    assert out.tobytes() == expected.tobytes()


def test_the_bits_of_a_nan():
    assert dense(np.float32(np.nan), F32) == "0x7FC00000"
    assert dense(np.float64(np.nan), np.dtype(np.float64)) == "0x7FF8000000000000"


@pytest.mark.parametrize(
    "dtype",
    [bool, np.int8, np.uint32, np.float32, np.complex128, ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.float8_e5m2],
)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 11), (0,), (2, 0)], ids=str)
def test_array_constants_keep_every_bit(dtype, shape):
    expected = (np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 7 // 2).astype(dtype)
    aval = aval_of(shape, dtype)

    def emit(ctx):
        return [ctx.constant(expected, aval)]

    (out,) = run_emitted(emit, [aval])
    assert out.shape == shape
    assert out.tobytes() == expected.tobytes()


def test_a_scalar_fills_the_shape():
    aval = aval_of((2, 3), np.int32)

    def emit(ctx):
        return [ctx.constant(7, aval)]

    (out,) = run_emitted(emit, [aval])
    assert out.tolist() == [[7, 7, 7], [7, 7, 7]]


def test_equal_scalars_are_emitted_once_a_block():
    block = Block(Module())
    scalar, vector = aval_of((), F32), aval_of((2,), F32)
    first, again = block.constant(1.5, scalar), block.constant(np.float32(1.5), scalar)
    assert first is again
    assert block.constant(1.5, vector) is not first
    assert block.constant(-0.0, scalar) is not block.constant(0.0, scalar)
    assert len(block.lines) == 4


# --- the operations of a block, run ---


def test_equal_products_and_transpositions_are_emitted_once_a_block():
    def products(x, y):
        return pnp.matrix_transpose(x @ y), pnp.swapaxes(x @ y, -1, -2), pnp.matrix_transpose(y @ x), x @ x

    x = np.arange(8, dtype="f4").reshape(2, 2, 2)
    y = x[::-1] + 1
    text = pb.jit(products).lower(x, y).as_text()
    assert text.count("stablehlo.dot_general") == 3
    assert text.count("stablehlo.transpose") == 2

    def in_branches(flag, x):
        once = pnp.matrix_transpose(x)
        return pb.lax.cond(flag, lambda x: pnp.matrix_transpose(x) + once, lambda x: once, x)

    for flag in (True, False):
        np.testing.assert_array_equal(pb.jit(in_branches)(flag, x), in_branches(flag, x))

    def of_two_types(x):
        wide = pb.lax.dot(x, x, preferred_element_type="float32")
        return wide, pb.lax.dot(x, x)

    half = x[0].astype("float16") * 100
    for got, right in zip(pb.jit(of_two_types)(half), of_two_types(half), strict=True):
        assert got.dtype == right.dtype
        np.testing.assert_array_equal(got, right)


def test_conversions_and_shapes():
    x = np.array([[1.5, -2.5, 3.25]], np.float32)
    outs = [aval_of((1, 3), I32), aval_of((1, 3), F32), aval_of((3,), F32), aval_of((2, 3), F32), aval_of((3, 2), F32)]

    def emit(ctx, x):
        flat = ctx.reshape(x, (3,))
        assert ctx.convert(x, F32) is x
        assert ctx.reshape(x, (1, 3)) is x
        assert ctx.broadcast(x, (1, 3)) is x
        return [
            ctx.convert(x, I32),
            ctx.full_like(x, 2),
            flat,
            ctx.broadcast(flat, (2, 3)),
            ctx.broadcast(flat, (3, 2), (0,)),
        ]

    integers, twos, flat, rows, columns = run_emitted(emit, outs, x)
    assert integers.tolist() == [[1, -2, 3]]
    assert twos.tolist() == [[2, 2, 2]]
    assert flat.tolist() == x[0].tolist()
    assert rows.tolist() == [x[0].tolist()] * 2
    assert columns.tolist() == [[v, v] for v in x[0].tolist()]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("EQ", np.equal),
        ("NE", np.not_equal),
        ("LT", np.less),
        ("LE", np.less_equal),
        ("GT", np.greater),
        ("GE", np.greater_equal),
    ],
)
def test_comparisons(direction, expected):
    x, y = np.array([1.0, 2.0, np.nan], np.float32), np.array([1.0, 1.0, np.nan], np.float32)

    def emit(ctx, x, y):
        return [ctx.compare(direction, x, y)]

    (out,) = run_emitted(emit, [aval_of((3,), bool)], x, y)
    assert out.tolist() == expected(x, y).tolist()


def test_a_loop():
    number = aval_of((), I32)

    def below(block, state):
        return [block.compare("LT", state[0], block.constant(5, number))]

    def step(block, state):
        i, product = state
        i = block.op("stablehlo.add", [i, block.constant(1, number)])
        return [i, block.op("stablehlo.multiply", [product, i])]

    def emit(ctx, i, product):
        return ctx.loop([i, product], below, step)

    last, product = run_emitted(emit, [number, number], np.int32(0), np.int32(1))
    assert (last, product) == (5, 120)


@pytest.mark.parametrize(("index", "expected"), [(0, -3), (1, 9), (2, 9), (-1, 9)])
def test_a_choice(index, expected):
    """StableHLO takes the last branch for an index that no branch has."""
    number = aval_of((), I32)

    def emit(ctx, index, x):
        def negative(block):
            return [block.op("stablehlo.negate", [x])]

        def squared(block):
            return [block.op("stablehlo.multiply", [x, x])]

        return ctx.choose(index, [number], [negative, squared])

    (out,) = run_emitted(emit, [number], np.int32(index), np.int32(3))
    assert out == expected


def test_a_choice_without_results_is_no_operation():
    block = Block(Module())
    assert block.choose(block.constant(0, aval_of((), I32)), [], [lambda _: [], lambda _: []]) == []
    assert len(block.lines) == 1


def test_one_result_or_a_list():
    x = aval_of((2,), F32)

    def emit(ctx, a):
        single = ctx.op("stablehlo.negate", [a])
        (listed,) = ctx.op("stablehlo.negate", [single], [x])
        return [single, listed]

    negated, back = run_emitted(emit, [x, x], np.array([1.0, -2.0], np.float32))
    assert (negated.tolist(), back.tolist()) == ([-1, 2], [1, -2])


# --- functions ---


def square_plus_one(x):
    return x * x + 1


def test_a_function_is_emitted_once_and_called_twice():
    inner = pb.make_jaxpr(square_plus_one)(pnp.float32(0)).jaxpr
    number = aval_of((), F32)

    def emit(ctx, x):
        (once,) = ctx.call(inner, [x], "inner")
        return ctx.call(inner, [once], "inner")

    program = program_of(emit, [number], [number])
    assert program.module.text().count("func.func private @inner(") == 1
    assert program.module.text().count("callee = @inner") == 2
    (out,) = run_emitted(emit, [number], np.float32(2))
    assert out == 26


def test_an_inlined_function_leaves_the_types_of_results_alone():
    inner = pb.make_jaxpr(square_plus_one)(pnp.float32(0)).jaxpr
    number = aval_of((), F32)

    def emit(ctx, x):
        before = ctx.out_avals
        outs = ctx.inline(inner, [x])
        assert ctx.out_avals is before
        return outs

    (out,) = run_emitted(emit, [number], np.float32(3))
    assert out == 10


def test_names_are_unique_and_plain():
    module = Module()
    assert [module.unique(name) for name in ("f", "f", "<lambda>", "f", "main", "größe 2")] == [
        "f",
        "f_1",
        "_lambda_",
        "f_2",
        "main_0",
        "größe_2",
    ]


def test_a_primitive_without_lowering_is_named_with_the_line_that_applied_it():
    silent_p = Primitive("silent")
    silent_p.abstract_eval = lambda x: x

    def apply(x):
        return silent_p.bind(x)

    closed = pb.make_jaxpr(apply)(1.0)
    with pytest.raises(RuleNotDefinedError, match=r"'silent'.*applied at .*test_lowering\.py:\d+ \(apply\)"):
        lower_module(closed.jaxpr)


# --- the border of a program ---


@pytest.mark.parametrize(
    ("dtype", "outside"),
    [
        (np.float32, "f32"),
        (ml_dtypes.bfloat16, "ui16"),
        (ml_dtypes.float8_e4m3fn, "ui8"),
        (ml_dtypes.int4, "i8"),
        (ml_dtypes.uint4, "ui8"),
        (dtypes.float0, "i1"),
    ],
    ids=str,
)
def test_values_cross_under_the_type_of_their_carrier(dtype, outside):
    aval = aval_of((2,), dtype)
    text = lower_module(jaxpr_of(lambda ctx, x: [x], [aval], [aval])).text()
    assert f"func.func public @main(%arg0: tensor<2x{outside}>) -> (tensor<2x{outside}>)" in text


def test_donated_inputs_are_marked():
    aval = aval_of((2,), F32)
    text = lower_module(jaxpr_of(lambda ctx, x, y: [y], [aval], [aval, aval]), frozenset({1})).text()
    assert "@main(%arg0: tensor<2xf32>, %arg1: tensor<2xf32> {jax.buffer_donor = true})" in text


def test_constants_of_a_jaxpr_come_first():
    table = pnp.array([1.0, 2.0])
    closed = pb.make_jaxpr(lambda i: table * i)(pnp.int32(3))
    assert len(closed.jaxpr.constvars) == 1
    assert "@main(%arg0: tensor<2xf32>, %arg1: tensor<i32>)" in lower_module(closed.jaxpr).text()


def test_a_jaxpr_that_returns_nothing_or_its_input():
    aval = aval_of((), F32)
    nothing = single_equation_without_results(aval)
    assert "-> () {" in lower_module(nothing).text()


def single_equation_without_results(aval):
    quiet_p = Primitive("quiet")
    quiet_p.multiple_results = True
    quiet_p.abstract_eval = lambda x: []
    quiet_p.lower = lambda ctx, x: []
    return single_equation(quiet_p, (aval,), {})
