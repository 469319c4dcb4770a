"""Elementwise functions of numpy: dtypes, weakness and values are JAX's for every mix of operands; errors name the
function; jaxprs hold no conversions of constants."""

import itertools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import check_derivative

import pullback as pb
import pullback.numpy as pnp
from pullback._core.option_contexts import numpy_rank_promotion as rank_promotion
from pullback.numpy._elementwise import arithmetic, complex_parts, float_parts, functions, logic, rounding, selection

RNG = np.random.default_rng(0)


def sample(dtype, shape=(3,)):
    if dtype == "bool":
        return RNG.integers(0, 2, shape).astype(bool)
    dtype = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    if dtype.kind in "iu":
        return RNG.integers(1, 5, shape).astype(dtype)
    x = RNG.uniform(0.2, 0.9, shape)
    return (x + 1j * RNG.uniform(0.1, 0.9, shape) if dtype.kind == "c" else x).astype(dtype)


DTYPES = ("bool", "int8", "uint8", "int32", "float16", "bfloat16", "float32", "complex64")
OPERANDS = {
    **{d: sample(d) for d in DTYPES},
    "int": 2,
    "float": 0.5,
    "complex": 0.5 + 0.25j,
    "True": True,
    "np.float32": np.float32(0.5),
}
UNARY = [
    "negative",
    "positive",
    "abs",
    "absolute",
    "fabs",
    "sign",
    "sqrt",
    "cbrt",
    "square",
    "reciprocal",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "arccosh",
    "arctanh",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "deg2rad",
    "rad2deg",
    "isfinite",
    "isinf",
    "isnan",
    "isposinf",
    "isneginf",
    "signbit",
    "real",
    "imag",
    "conj",
    "angle",
    "iscomplex",
    "isreal",
    "nan_to_num",
    "sinc",
    "i0",
    "invert",
    "logical_not",
    "frexp",
    "modf",
    "spacing",
    "round",
]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "floor_divide",
    "remainder",
    "fmod",
    "divmod",
    "power",
    "float_power",
    "logaddexp",
    "logaddexp2",
    "arctan2",
    "hypot",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
    "copysign",
    "nextafter",
    "heaviside",
    "gcd",
    "lcm",
    "ldexp",
    "isclose",
    "allclose",
    "array_equal",
]
# where this library decides otherwise: weakness is kept where JAX drops it with no reason
KEEPS_WEAK = {
    "rint",
    "frexp",
    "spacing",
    "angle",
    "hypot",
    "power",
    "logaddexp",
    "logaddexp2",
    "copysign",
    "heaviside",
    "gcd",
    "lcm",
    "ldexp",
    "modf",
    "nextafter",
    "log2",
}
# no real number: JAX computes something, NumPy refuses, so do we
REFUSES_COMPLEX = {"arctan2"}
REFUSES_BOOL = {"round"}


def attempt(fun, *args):
    try:
        out = fun(*args)
    except (TypeError, ValueError):
        return None
    return out if isinstance(out, tuple) else (out,)


def assert_agrees(name, calls):
    # all calls of the oracle in one program: it compiles for longer than it runs
    answers = jax.jit(lambda: [attempt(getattr(jnp, name), *args) for args in calls])()
    for args, theirs in zip(calls, answers, strict=True):
        mine = attempt(getattr(pnp, name), *args)
        if name in REFUSES_COMPLEX and any(np.iscomplexobj(x) for x in args):
            assert mine is None
        else:
            compare(name, mine, theirs)


def compare(name, mine, theirs):
    assert (mine is None) == (theirs is None), f"one refuses: {mine}, {theirs}"
    for got, expected in zip(mine or (), theirs or (), strict=True):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        if name not in KEEPS_WEAK:
            assert got.weak_type == expected.weak_type
        wide = complex if got.dtype.kind == "c" else float
        tolerance = {2: 4e-2}.get(got.dtype.itemsize, 2e-5)
        np.testing.assert_allclose(
            np.asarray(got).astype(wide), np.asarray(expected).astype(wide), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_are_those_of_jax(name):
    refused = ("bool", "True") if name in REFUSES_BOOL else ()
    assert_agrees(name, [[x] for kind, x in OPERANDS.items() if kind not in refused])


@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_are_those_of_jax(name):
    assert_agrees(name, list(itertools.product(OPERANDS.values(), repeat=2)))


def test_every_function_is_public():
    for module in (arithmetic, functions, logic, selection, rounding, complex_parts, float_parts):
        for name in module.__all__:
            assert getattr(pnp, name) is getattr(module, name)
            assert getattr(module, name).__doc__


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 3.0, -3.0, np.inf, -np.inf, np.nan], np.float32)


@pytest.mark.parametrize(
    "name",
    ["floor_divide", "remainder", "fmod", "hypot", "heaviside", "copysign", "fmax", "fmin", "logaddexp", "logaddexp2"],
)
def test_special_values(name):
    x, y = (a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
    expected = np.asarray(getattr(jnp, name)(x, y))
    for run in (getattr(pnp, name), pb.jit(getattr(pnp, name))):
        np.testing.assert_allclose(np.asarray(run(x, y)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "gcd", "lcm"])
def test_integers_by_their_sign(name):
    for dtype in (np.int32, np.uint8):
        x = np.arange(-6, 7) if dtype is np.int32 else np.arange(13)
        x, y = (a.ravel() for a in np.meshgrid(x.astype(dtype), x[x != 0].astype(dtype)))
        for run in (getattr(pnp, name), pb.jit(getattr(pnp, name))):
            np.testing.assert_array_equal(np.asarray(run(x, y)), getattr(np, name)(x, y))


def test_rounding():
    x = np.array([0.5, 1.5, -2.5, 1234.567, -0.0449], np.float32)
    for decimals in (0, 1, 2, -2):
        np.testing.assert_allclose(np.asarray(pnp.round(x, decimals)), np.round(x, decimals), rtol=1e-6)
    assert pnp.round(np.array([149, 151], np.int32), -2).tolist() == [100, 200]
    assert pnp.round(np.array([150, 250], np.int32), -2).tolist() == [200, 200]
    assert pnp.round(np.arange(3), 2).tolist() == [0, 1, 2]
    half = np.array([1.234, 300.0], np.float16)
    np.testing.assert_allclose(np.asarray(pnp.round(half, 1)), np.asarray(jnp.round(half, 1)))
    with pytest.raises(TypeError, match="round: decimals must be a Python integer"):
        pnp.round(x, 0.5)


def test_frexp_and_ldexp_are_exact_inverses():
    x = np.array([0.0, 1.0, -12.0, 0.1, 3e-39, np.inf, -np.inf, np.nan, 1e38], np.float32)
    mantissa, exponent = pnp.frexp(x)
    expected = np.frexp(x)
    np.testing.assert_array_equal(np.asarray(mantissa), expected[0])
    finite = np.isfinite(x)
    np.testing.assert_array_equal(np.asarray(exponent)[finite], expected[1][finite])
    np.testing.assert_array_equal(np.asarray(pnp.ldexp(mantissa, exponent)), x)


# ---- Scalars and constants


def test_python_integers_wrap_as_in_jax_and_refuse_what_no_integer_holds():
    x = np.arange(3, dtype=np.uint8)
    assert pnp.add(x, -1).tolist() == [255, 0, 1]
    assert pnp.add(x.astype(np.int8), 300).tolist() == [44, 45, 46]
    with pytest.raises(OverflowError, match="does not fit int32"):
        pnp.add(np.arange(3, dtype=np.int32), 2**40)
    assert float(pnp.add(pnp.float32(0), 2**40)) == 2.0**40


def test_sixty_four_bits():
    with pb.enable_x64(), jax.enable_x64():
        for args in ((np.arange(3), 1.5), (np.arange(3), np.float32(1)), (2**40, 1), (np.float32(1), 0.1)):
            got, expected = pnp.add(*args), jnp.add(*args)
            assert (got.dtype, got.weak_type) == (expected.dtype, expected.weak_type)
            np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
        assert pnp.exp(np.arange(3)).dtype == np.float64
    # what was planned with 64 bits is not used without
    assert pnp.add(np.arange(3), 1.5).dtype == np.float32


def jaxpr(fun, *args):
    return str(pb.make_jaxpr(fun)(*args))


def test_jaxprs_have_no_conversion_of_constants():
    assert (
        jaxpr(lambda x: pnp.log(1.0 + pnp.exp(x)), 3.0)
        == """\
{ lambda ; a:f32[]. let
    b:f32[] = exp a
    c:f32[] = add 1.0 b
    d:f32[] = log c
  in (d,) }"""
    )
    x = np.zeros(3, np.float16)
    for fun in (
        lambda x: x + 1,
        lambda x: 2 * x,
        lambda x: x / 3.0,
        lambda x: pnp.where(x > 0, x, 0),
        lambda x: x**0.5,
        lambda x: pnp.maximum(0, x),
        lambda x: x - np.float16(1),
        lambda x: pnp.clip(x, 0, 1),
    ):
        assert "convert" not in jaxpr(fun, x)
    assert "integer_pow[y=2]" in jaxpr(lambda x: x**2, x)
    assert "pow a 2.0" in jaxpr(lambda x: x**2.0, x)
    assert "broadcast" not in jaxpr(lambda x: x[None] + x[:, None], x)


def test_powers():
    x = np.array([-2.0, 0.0, 3.0], np.float32)
    for n in (-2, -1, 0, 1, 2, 3, 7):
        np.testing.assert_allclose(np.asarray(pnp.power(x, n)), np.asarray(jnp.power(x, n)), rtol=1e-6)
        np.testing.assert_allclose(np.asarray(pnp.power(x, np.int64(n))), np.asarray(jnp.power(x, n)), rtol=1e-6)
    assert pnp.power(np.arange(4), 3).tolist() == [0, 1, 8, 27]
    assert pnp.power(2, np.arange(4)).tolist() == [1, 2, 4, 8]
    assert pnp.power(True, 2).dtype == np.int32
    message = r"power: an integer array \(i32\[3\]\) cannot be raised to the negative power -1"
    with pytest.raises(TypeError, match=message):
        pnp.power(np.arange(3), -1)


# ---- Errors


def test_errors_name_the_function_the_argument_and_what_to_do():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"multiply: shapes \(2, 3\), \(2,\) do not broadcast"):
        pnp.multiply(x, np.zeros(2))
    with pytest.raises(ValueError, match=r"subtract: shapes"):
        pb.jit(lambda x, y: x - y)(x, np.zeros(2))
    with pytest.raises(TypeError, match=r"add: argument 1: .*list.*asarray"):
        pnp.add(x, [1, 2, 3])
    with pytest.raises(TypeError, match="exp: argument 0: expected an array or a number, got 'a'"):
        pnp.exp("a")
    with pytest.raises(TypeError, match=r"subtract: expected a number, got bool\[\], bool\[\]"):
        pnp.subtract(True, False)
    with pytest.raises(TypeError, match=r"floor: expected a real number, got c64\[\]"):
        pnp.floor(1j)
    with pytest.raises(TypeError, match="bitwise_and: expected an integer dtype or bool"):
        pnp.bitwise_and(1.0, 2)
    with pytest.raises(ValueError, match="isposinf: a complex infinity has no sign"):
        pnp.isposinf(1j)
    with pytest.raises(TypeError, match="clip: complex numbers have no order"):
        pnp.clip(1j, 0, 1)
    with pytest.raises(TypeError, match="ldexp: the exponent must be of integers"):
        pnp.ldexp(1.0, 2.0)


def test_tracebacks_end_in_the_users_line():
    try:
        pnp.add(np.zeros(2), np.zeros(3))
    except ValueError as error:
        frames, entry = [], error.__traceback__
        while entry:
            frames.append(entry.tb_frame.f_code.co_filename)
            entry = entry.tb_next
        assert frames == [__file__]
    else:
        pytest.fail("no error")


def test_rank_promotion_is_the_users_choice():
    x, y = np.zeros((2, 3)), np.zeros(3)
    with rank_promotion("raise"):
        with pytest.raises(ValueError, match="add: operands of different ranks"):
            pnp.add(x, y)
        with pytest.raises(ValueError, match="logaddexp: operands of different ranks"):
            pnp.logaddexp(x, y)
        with pytest.raises(ValueError, match="multiply: operands of different ranks"):
            pnp.asarray(x) * y
        assert pnp.add(x, 1.0).shape == (2, 3)
    with rank_promotion("warn"), pytest.warns(UserWarning, match="different ranks"):
        pnp.add(x, y)
    assert pnp.add(x, y).shape == (2, 3)


# ---- Selection


def test_where():
    x = np.array([1.0, -2.0, 3.0], np.float32)
    for args in ((x > 0, x, 0), (x > 0, 1, 2.0), (x, x, np.float16(1)), (True, x, x[:, None]), (np.arange(3), 1, 2)):
        got, expected = pnp.where(*args), jnp.where(*args)
        assert (got.dtype, got.weak_type) == (expected.dtype, expected.weak_type)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    check_derivative(lambda x, y: pnp.where(np.array([True, False]), x, y), np.float32([1, 2]), np.float32(3))
    with pytest.raises(ValueError, match="where: expected both x and y"):
        pnp.where(True, 1.0, None)


def test_clip_and_nan_to_num():
    x = np.array([-1.0, 0.5, 2.0, np.nan, np.inf, -np.inf], np.float32)
    for args in ((0, 1), (None, 1), (0, None), (None, None), (np.arange(6.0), 3)):
        np.testing.assert_array_equal(np.asarray(pnp.clip(x, *args)), np.asarray(jnp.clip(x, *args)))
    np.testing.assert_array_equal(np.asarray(pnp.nan_to_num(x)), np.nan_to_num(x))
    np.testing.assert_array_equal(
        np.asarray(pnp.nan_to_num(x, nan=1, posinf=2, neginf=3)), np.nan_to_num(x, nan=1, posinf=2, neginf=3)
    )
    assert pnp.nan_to_num(np.arange(3)).tolist() == [0, 1, 2]


def test_closeness():
    x = np.array([1.0, np.inf, np.nan, 0.0, -np.inf, 1e10], np.float32)
    y = np.array([1.0 + 5e-6, np.inf, np.nan, 1e-9, np.inf, 1.0001e10], np.float32)
    for equal_nan in (False, True):
        np.testing.assert_array_equal(
            np.asarray(pnp.isclose(x, y, equal_nan=equal_nan)), np.isclose(x, y, equal_nan=equal_nan)
        )
        assert bool(pnp.allclose(x[:4], y[:4], equal_nan=equal_nan)) == equal_nan
        assert bool(pnp.array_equal(x[:3], x[:3], equal_nan=equal_nan)) == equal_nan
    assert bool(pnp.isclose(np.uint8(3), np.uint8(5), rtol=0, atol=2))
    assert not bool(pnp.array_equal(np.zeros(2), np.zeros(3)))
    assert bool(pnp.array_equiv(np.zeros((2, 2)), np.zeros(2)))
    assert not bool(pnp.array_equiv(np.zeros(3), np.zeros(2)))


# ---- Derivatives that need care


def test_gradients_at_kinks_and_removable_singularities():
    assert float(pb.grad(pnp.hypot)(0.0, 0.0)) == 0
    assert float(pb.grad(pnp.sinc)(0.0)) == 0
    np.testing.assert_allclose(float(pb.grad(pb.grad(pnp.sinc))(0.0)), -(np.pi**2) / 3, rtol=1e-5)
    for x, y in ((np.inf, 0.0), (0.0, np.inf), (-np.inf, -np.inf), (np.inf, np.inf), (-np.inf, 3.0)):
        dx, dy = pb.grad(pnp.logaddexp, (0, 1))(x, y)
        assert float(dx) + float(dy) == 1
    np.testing.assert_allclose(float(pb.grad(pb.grad(pnp.logaddexp))(0.0, 0.0)), 0.25)
    np.testing.assert_allclose(float(pb.grad(pnp.logaddexp2)(1.0, 1.0)), 0.5)
    assert [float(x) for x in pb.grad(pnp.maximum, (0, 1))(1.0, 1.0)] == [0.5, 0.5]
    assert float(pb.grad(pnp.abs)(0.0)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "multiply",
        "divide",
        "power",
        "logaddexp",
        "hypot",
        "arctan2",
        "maximum",
        "fmax",
        "remainder",
        "floor_divide",
        "float_power",
        "copysign",
    ],
)
def test_derivatives(name):
    check_derivative(getattr(pnp, name), np.float32([[1.3, 2.2, 0.7]]), np.float32([[0.45], [1.7]]))


def test_exponents_of_every_integer_dtype():
    for dtype in ("uint8", "uint16", "uint32", "int8", "int16", "int32"):
        got = pnp.ldexp(np.float32(1.5), np.array([3, 100], dtype))
        np.testing.assert_array_equal(got, np.float32([12.0, 1.5 * 2.0**100]))
    assert pnp.ldexp(np.float32(1.5), np.array([2**32 - 1], "uint32"))[0] == np.inf
    assert pb.jit(pnp.ldexp)(np.float32(1.5), np.array([2**32 - 1], "uint32"))[0] == np.inf
    with pb.enable_x64(True):
        got = pnp.ldexp(1.5, np.array([2**62, -(2**62), 2**32, 1]))
        np.testing.assert_array_equal(got, [np.inf, 0.0, np.inf, 3.0])
        assert pnp.ldexp(1.5, np.array([2**63 + 5], "uint64"))[0] == np.inf


def test_the_bits_of_bools():
    x = np.array([True, False])
    np.testing.assert_array_equal(pnp.bitwise_count(x), np.bitwise_count(x))
    assert pnp.bitwise_count(x).dtype == np.bitwise_count(x).dtype == "uint8"


def test_piecewise_with_conditions_that_are_scalars():
    x = np.arange(4, dtype="float32")
    for conditions, choices in (
        ([True, False], [1.0, 2.0]),
        ([False, False], [1.0, 2.0, lambda v: v * 5]),
        ([x > 2, [True] * 4], [1.0, lambda v: v * 2]),
        (np.array([[True] * 4, [False] * 4]), [1.0, 2.0]),
        (np.array([False, True, False]), [lambda v: v, lambda v: v * 10, 3.0]),
        (np.array([False, False]), [1.0, 2.0, lambda v: v * 5]),
        ([np.True_], [lambda v: v + 1]),
    ):
        expected = jax.numpy.piecewise(x, conditions, choices)
        np.testing.assert_array_equal(pnp.piecewise(x, conditions, choices), expected)
        np.testing.assert_array_equal(pb.jit(lambda v, c=conditions, f=choices: pnp.piecewise(v, c, f))(x), expected)
    np.testing.assert_array_equal(pnp.piecewise(x, [x > 2, True], [1.0, 2.0]), [2.0] * 4)
    np.testing.assert_array_equal(pnp.piecewise(x, True, [3.0]), np.piecewise(x, True, [3.0]))
    np.testing.assert_array_equal(pnp.piecewise(x, x > 2, [3.0]), np.piecewise(x, x > 2, [3.0]))
    assert float(pb.jit(lambda v: pnp.piecewise(v, [v > 2, v > 3], [1.0, 2.0, 5.0]))(2.0)) == 5.0
    np.testing.assert_array_equal(pb.jit(lambda v: pnp.piecewise(v, [v[0] > 0, v[1] > 0], [1.0, 2.0]))(x), [2.0] * 4)


def test_what_would_write_into_an_array_is_refused():
    """`out` and `where` by name, as in JAX; their defaults may be passed."""
    import jax

    for name in ("add", "subtract", "multiply", "negative", "maximum", "logaddexp", "logical_and", "bitwise_or"):
        function, theirs = getattr(pnp, name), getattr(jax.numpy, name)
        args = (1,) if name == "negative" else (1, 2)
        assert function(*args, out=None, where=None) == function(*args)
        for keywords in ({"out": np.zeros(())}, {"where": True}):
            with pytest.raises(NotImplementedError):
                theirs(*args, **keywords)
            with pytest.raises(NotImplementedError, match=f"{name}: the argument '{next(iter(keywords))}'"):
                function(*args, **keywords)
    with pytest.raises(NotImplementedError, match="modf: the argument 'out'"):
        pnp.modf(1.5, out=np.zeros(()))
