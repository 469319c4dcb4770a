"""The elementwise primitives, one table for all: kernel, compiled code and JAX agree for every dtype, at zeros, ties,
infinities and nan; derivatives are those of finite differences; batching is a loop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import check_batching
from jax import lax as jl

import pullback as pb
from pullback._core.array import lift
from pullback._ops import bases, bessel, beta, integer_bits, lengths, rounding, sigmoids, trig, zeta
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import gamma as g
from pullback._ops import incomplete_gamma as ig
from pullback._ops import special as s
from pullback._ops.remainders import rem_p

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
INEXACT = FLOATS + COMPLEX
NUMBERS = INEXACT + INTS
BITS = (*INTS, "bool")
ALL = (*NUMBERS, "bool")


class Op(NamedTuple):
    fun: Any
    oracle: Any
    dtypes: tuple[str, ...]
    arity: int = 1
    points: Any = None  # a function of the dtype, where the general points do not do


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def points(dtype):
    if dtype.kind == "b":
        return np.array([True, False])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        some = {0, 1, 2, 3, 7, 8, 100, limits.max, limits.max - 1, limits.min, limits.min + 1}
        return np.array(sorted(some | ({-1, -2, -3, -8, -100} if dtype.kind == "i" else set())), dtype=dtype)
    if dtype.kind == "c":
        parts = np.array([0.0, -0.5, 0.7, 2.0, -3.0, 1e-3, 5.0])
        return (parts[:, None] + 1j * parts).ravel().astype(dtype)
    inner = [0.0, 0.3, 0.5, 0.98, 1, 1.5, 2, 2.5, 3.7, 7.25, 10, 1e-3, 1e-7, np.inf]
    return np.array([*inner, *[-x for x in inner], np.nan]).astype(dtype)


def positive(dtype):
    return np.array([0.1, 0.5, 1, 2.5, 5, 10, 30]).astype(dtype)


def incomplete(dtype):
    return [positive(dtype), np.array([0, 0.1, 0.5, 1, 2.5, 5, 10, 30, 100]).astype(dtype)]


def arguments(op, name):
    dtype = dtype_of(name)
    sets = op.points(dtype) if op.points else [points(dtype)] * op.arity
    return [x.ravel() for x in np.meshgrid(*sets)]


def unary(p, oracle, dtypes, given=None, **params):
    return Op(lambda x: p.bind(x, **params), oracle, dtypes, 1, given)


def nary(p, oracle, dtypes, arity=2, given=None):
    return Op(p.bind, oracle, dtypes, arity, given)


OPS = {
    "neg": unary(e.neg_p, jl.neg, NUMBERS),
    "square": unary(e.square_p, jl.square, NUMBERS),
    "sign": unary(trig.sign_p, jl.sign, NUMBERS),
    "cbrt": unary(e.cbrt_p, jl.cbrt, FLOATS),
    "trunc": unary(rounding.trunc_p, jnp.trunc, FLOATS),
    "is_finite": unary(rounding.is_finite_p, jl.is_finite, FLOATS),
    "real": unary(trig.real_p, jl.real, COMPLEX),
    "imag": unary(trig.imag_p, jl.imag, COMPLEX),
    "conj": unary(trig.conj_p, jl.conj, COMPLEX),
    "abs": unary(trig.abs_p, jl.abs, (*INEXACT, "int8", "int16", "int32", "int64")),
    "not": unary(c.not_p, jl.bitwise_not, BITS),
    "population_count": unary(c.population_count_p, jl.population_count, INTS),
    "clz": unary(integer_bits.clz_p, jl.clz, INTS),
    "signbit": unary(s.signbit_p, jnp.signbit, FLOATS),
    "exponent": unary(s.exponent_p, lambda x: jnp.frexp(x.astype(jnp.promote_types(x.dtype, "float32")))[1], FLOATS),
    "bessel_i0e": unary(bessel.bessel_i0e_p, jl.bessel_i0e, FLOATS),
    "bessel_i1e": unary(bessel.bessel_i1e_p, jl.bessel_i1e, FLOATS),
    **{
        f"integer_pow {k}": unary(
            e.integer_pow_p, lambda x, k=k: jl.integer_pow(x, k), NUMBERS if k >= 0 else INEXACT, y=k
        )
        for k in (0, 1, 2, 3, 5, -1, -2)
    },
    **{
        f"round {way.name}": unary(
            rounding.round_p, lambda x, way=way: jl.round(x, way), FLOATS, rounding_method=int(way)
        )
        for way in jl.RoundingMethod
    },
    **{
        n: unary(getattr(e, f"{n}_p"), getattr(jl, n), INEXACT)
        for n in ("sqrt", "rsqrt", "exp", "log", "log1p", "expm1")
    },
    "exp2": unary(bases.exp2_p, jl.exp2, INEXACT),
    **{n: unary(getattr(rounding, f"{n}_p"), getattr(jl, n), FLOATS) for n in ("floor", "ceil")},
    **{
        n: unary(getattr(trig, f"{n}_p"), getattr(jl, n), INEXACT)
        for n in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")
    },
    **{n: unary(getattr(sigmoids, f"{n}_p"), getattr(jl, n), INEXACT) for n in ("logistic", "tanh")},
    **{n: unary(getattr(s, f"{n}_p"), getattr(jl, n), FLOATS) for n in ("erf", "erfc", "erf_inv")},
    "lgamma": unary(g.lgamma_p, jl.lgamma, FLOATS),
    "digamma": unary(g.digamma_p, lambda x: jnp.where(x == 0, jnp.nan, jl.digamma(x)), FLOATS),
    **{n: nary(getattr(e, f"{n}_p"), getattr(jl, n), NUMBERS) for n in ("add", "sub", "mul", "div")},
    **{n: nary(getattr(e, f"{n}_p"), getattr(jl, n), ALL) for n in ("max", "min")},
    **{
        n: nary(getattr(c, f"{n}_p"), getattr(jnp, f), ALL)
        for n, f in (
            ("eq", "equal"),
            ("ne", "not_equal"),
            ("lt", "less"),
            ("le", "less_equal"),
            ("gt", "greater"),
            ("ge", "greater_equal"),
        )
    },
    **{n: nary(getattr(c, f"{n}_p"), getattr(jl, f"bitwise_{n}"), BITS) for n in ("and", "or", "xor")},
    **{
        n: nary(getattr(c, f"{n}_p"), getattr(jl, n), INTS)
        for n in ("shift_left", "shift_right_logical", "shift_right_arithmetic")
    },
    "rem": nary(rem_p, jl.rem, FLOATS + INTS),
    "pow": nary(e.pow_p, jl.pow, FLOATS),
    # lax.pow of JAX takes no two integers; its numpy.power does, for exponents below 64
    "pow of integers": nary(
        e.pow_p, jnp.power, ("int32", "uint8", "int64"), given=lambda d: [points(d), np.array([0, 1, 2, 3, 7, 31], d)]
    ),
    # at a base of 0 JAX gives nan where the power is 0
    "pow of complex": nary(e.pow_p, jl.pow, COMPLEX, given=lambda d: [points(d)[points(d) != 0], points(d)]),
    "atan2": nary(lengths.atan2_p, jl.atan2, FLOATS),
    "complex": nary(trig.complex_p, jl.complex, ("float32", "float64")),
    "logaddexp": nary(s.logaddexp_p, jnp.logaddexp, FLOATS),
    "logaddexp2": nary(s.logaddexp2_p, jnp.logaddexp2, FLOATS),
    "nextafter": nary(s.nextafter_p, jl.nextafter, FLOATS),
    # |x| of the least integer does not exist
    "gcd": nary(s.gcd_p, jnp.gcd, INTS, given=lambda d: [points(d)[(d.kind == "i") :]] * 2),
    "clamp": nary(s.clamp_p, jl.clamp, FLOATS + INTS, 3, lambda d: [points(d)[::3]] * 3),
    "igamma": nary(ig.igamma_p, jl.igamma, FLOATS, given=incomplete),
    "igammac": nary(ig.igammac_p, jl.igammac, FLOATS, given=incomplete),
    "zeta": nary(zeta.zeta_p, jl.zeta, FLOATS, given=lambda d: [positive(d) + d.type(1.1), positive(d)]),
    "polygamma": nary(zeta.polygamma_p, jl.polygamma, FLOATS, given=lambda d: [np.arange(4).astype(d), positive(d)]),
    "betainc": nary(
        beta.regularized_incomplete_beta_p,
        jl.betainc,
        ("float32", "float64"),
        3,
        lambda d: [positive(d), positive(d), np.array([0, 0.1, 0.4, 0.9, 1]).astype(d)],
    ),
}
# a few units in the last place; XLA's half precision rounds each step of a composite operation
TOLERANCE = {
    "float16": 2e-2,
    "bfloat16": 8e-2,
    "float32": 4e-5,
    "float64": 2e-12,
    "complex64": 2e-4,
    "complex128": 2e-12,
}
# near a zero of the function, XLA has an absolute rather than a relative error
ABSOLUTE = {
    "lgamma": {"float64": 1e-14, "float32": 2e-6, "bfloat16": 2e-6},
    "logaddexp2": {"float64": 1e-16, "float32": 1e-7, "bfloat16": 1e-2},
    # 1 less the other tail, which without fused multiply-adds has an error of 60 units
    "betainc": {"float32": 4e-6},
}


def assert_same(got, expected, name, op, absolute=0.0):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype, (op, name)
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected, err_msg=f"{op} of {name}")
        return
    tiny = float(ml_dtypes.finfo(got.dtype).tiny)  # XLA flushes subnormal numbers to 0
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    got, expected = got.astype(wide), expected.astype(wide)
    with np.errstate(all="ignore"):
        near = np.abs(got - expected) <= TOLERANCE[name] * np.abs(expected) + 1e3 * tiny + absolute
        same = near | (got == expected) | (np.isnan(got) & np.isnan(expected))
        if wide is np.complex128:  # which part of a complex infinity is nan, is nobody's promise
            same |= ~np.isfinite(got) & ~np.isfinite(expected)
    bad = np.flatnonzero(~same)
    assert not len(bad), f"{op} of {name}: {got[bad][:5]}, expected {expected[bad][:5]}"


@pytest.mark.parametrize("name", OPS)
def test_kernel_compiled_code_and_jax_agree(name):
    op = OPS[name]
    with pb.enable_x64(), jax.enable_x64():
        args = [arguments(op, dtype) for dtype in op.dtypes]
        eager = [op.fun(*map(lift, xs)) for xs in args]
        compiled = pb.jit(lambda args: [op.fun(*xs) for xs in args])(args)
        with np.errstate(all="ignore"):
            expected = jax.jit(lambda args: [op.oracle(*xs) for xs in args])(args)
        for dtype, mine, xla, theirs in zip(op.dtypes, eager, compiled, expected, strict=True):
            absolute = ABSOLUTE.get(name, {}).get(dtype, 0.0)
            assert_same(mine, xla, dtype, f"kernel of {name}", absolute)
            assert_same(xla, theirs, dtype, name, absolute)


@pytest.mark.parametrize("name", OPS)
def test_scalars_and_empty_arrays(name):
    op = OPS[name]
    with pb.enable_x64():
        for dtype in op.dtypes:
            args = arguments(op, dtype)
            whole = np.asarray(op.fun(*map(lift, args)))
            one = op.fun(*[lift(x[1]) for x in args])
            assert one.shape == ()
            assert_same(np.asarray(one), whole[1], dtype, name)
            none = op.fun(*[lift(x[:0]) for x in args])
            assert none.shape == (0,)
            assert none.dtype == whole.dtype
            assert np.asarray(none).dtype == whole.dtype


def test_integer_powers_of_integers_are_exact_and_never_refuse():
    x = np.array([2, -1, -1, 1, 0, 3], np.int32)
    y = np.array([-1, -3, -2, -5, 0, 19], np.int32)
    expected = [0, -1, 1, 1, 1, 3**19]
    for run in (e.pow_p.bind, pb.jit(e.pow_p.bind)):
        np.testing.assert_array_equal(np.asarray(run(lift(x), lift(y))), expected)
    with pytest.raises(TypeError, match="negative power"):
        e.integer_pow(lift(x), -1)


# ---- Derivatives

RNG = np.random.default_rng(0)
INNER = np.array([0.15, 0.4, 0.85])
SMOOTH = {
    name: (op, INNER + 1 if name == "acosh" else INNER)
    for name, op in OPS.items()
    if "float64" in op.dtypes
    and name
    not in (
        "sign",
        "trunc",
        "is_finite",
        "signbit",
        "exponent",
        "floor",
        "ceil",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "nextafter",
        "clamp",
    )
    and not name.startswith("round")
}
ORDER_ONLY = {"polygamma": 1}


def close(a, b, tolerance=1e-6):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_are_finite_differences_and_adjoint(name):
    op, x = SMOOTH[name]
    args = [x, np.array([0.35, 0.6, 0.25]), np.array([0.2, 0.5, 0.7])][: op.arity]
    if name == "polygamma":
        args[0] = np.array([1.0, 2.0, 3.0])
    if name == "zeta":
        args[0] = args[0] + 2
    first = ORDER_ONLY.get(name, 0)  # the arguments before it have no derivative
    fixed, args = args[:first], args[first:]
    kinds = ["float64"] + (["complex128"] if "complex128" in op.dtypes and name not in ("abs", "max", "min") else [])
    with pb.enable_x64():
        for kind in kinds:
            xs = [a + (0.3j * (i + 1) if kind == "complex128" else 0) for i, a in enumerate(args)]

            def fun(*xs):
                return op.fun(*map(lift, fixed), *xs)

            ts = [
                RNG.standard_normal(x.shape) + (1j * RNG.standard_normal(x.shape) if kind == "complex128" else 0)
                for x in xs
            ]
            y, dy = pb.jvp(fun, tuple(xs), tuple(ts))
            eps = 1e-6
            up = np.asarray(fun(*[lift(x + eps * t) for x, t in zip(xs, ts, strict=True)]))
            down = np.asarray(fun(*[lift(x - eps * t) for x, t in zip(xs, ts, strict=True)]))
            close(dy, (up - down) / (2 * eps))
            ct = RNG.standard_normal(y.shape) + (1j * RNG.standard_normal(y.shape) if y.dtype.kind == "c" else 0)
            for transform in (lambda f: f, pb.jit):
                cts = transform(lambda *xs, ct=ct: pb.vjp(fun, *xs)[1](ct))(*xs)
                left = np.sum(ct * np.asarray(dy))
                right = sum(np.sum(np.asarray(c) * t) for c, t in zip(cts, ts, strict=True))
                close(np.real(left), np.real(right))


@pytest.mark.parametrize("name", ["abs", "real", "imag", "conj"])
def test_parts_of_complex_numbers_are_differentiable_over_the_reals(name):
    fun = OPS[name].fun
    with pb.enable_x64():
        x = np.array([0.3 + 0.4j, -1 + 2j])
        t = np.array([0.5 - 1j, 0.2 + 0.1j])
        y, dy = pb.jvp(fun, (x,), (t,))
        close(dy, (np.asarray(fun(lift(x + 1e-6 * t))) - np.asarray(fun(lift(x - 1e-6 * t)))) / 2e-6)
        ct = np.array([0.7, -0.3]).astype(y.dtype)
        (xbar,) = pb.vjp(fun, x)[1](ct)
        close(np.real(np.sum(ct * np.asarray(dy))), np.real(np.sum(np.asarray(xbar) * t)))


def test_derivatives_where_operands_tie():
    for p in (e.max_p, e.min_p):
        assert [float(x) for x in pb.grad(p.bind, (0, 1))(lift(2.0), lift(2.0))] == [0.5, 0.5]
    one = lift(1.0)
    # the bounds of clamp have the derivative only where they are strictly passed, as in JAX
    for x in (-1.0, 0.5, 2.0, 0.0, 1.0):
        expected = jax.grad(jl.clamp, (0, 1, 2))(0.0, x, 1.0)
        assert [float(v) for v in pb.grad(s.clamp, (0, 1, 2))(0.0, x, one)] == [float(v) for v in expected]


def test_derivatives_of_powers_at_zero():
    zero = lift(0.0)
    assert float(pb.grad(e.pow_p.bind)(zero, lift(2.0))) == 0
    assert float(pb.grad(e.pow_p.bind)(zero, lift(1.0))) == 1
    assert float(pb.grad(e.pow_p.bind)(zero, zero)) == 0
    assert float(pb.grad(e.pow_p.bind, 1)(zero, lift(2.0))) == 0
    assert np.isinf(float(pb.grad(e.sqrt)(zero)))
    assert np.isinf(float(pb.grad(e.cbrt)(zero)))


def test_orders_have_no_derivative_and_say_so():
    with pytest.raises(NotImplementedError, match="polygamma has no derivative"):
        pb.grad(zeta.polygamma)(1.0, 2.0)


def test_scale_is_exact_and_linear():
    x = np.array([1.5, -0.75, 1e-30, 3.0], np.float32)
    n = np.array([4, -3, -20, 127], np.int32)
    for run in (s.scale, pb.jit(s.scale)):
        got = np.asarray(run(x, n))
        np.testing.assert_array_equal(got[:2], np.ldexp(x[:2], n[:2]))
        assert np.isinf(got[3])
    assert float(pb.grad(lambda x: s.scale(x, np.int32(3)))(1.0)) == 8
    check_batching(lambda x: s.scale(x, np.int32(3)), x)


# ---- Broadcasting and batching


def test_operands_broadcast_eagerly_and_compiled():
    x, y = np.arange(3, dtype=np.float32)[:, None], np.arange(4, dtype=np.float32)
    for p, f in ((e.add_p, np.add), (e.max_p, np.maximum), (c.lt_p, np.less), (lengths.atan2_p, np.arctan2)):
        for run in (p.bind, pb.jit(p.bind)):
            np.testing.assert_allclose(np.asarray(run(lift(x), lift(y))), f(x, y), rtol=1e-6)
    xbar, ybar = pb.grad(lambda x, y: e.mul_p.bind(x, y).sum(), (0, 1))(x, y)
    np.testing.assert_array_equal(np.asarray(xbar), np.full((3, 1), 6))
    np.testing.assert_array_equal(np.asarray(ybar), np.full(4, 3))


@pytest.mark.parametrize("name", ["add", "mul", "max", "atan2", "logaddexp", "lt"])
def test_batching_is_a_loop(name):
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    for y in (
        np.float32(0.5),
        RNG.standard_normal(3).astype(np.float32),
        RNG.standard_normal((2, 1)).astype(np.float32),
    ):
        if y.ndim:
            check_batching(OPS[name].fun, x, y)
        check_batching(lambda x, y=y: OPS[name].fun(x, lift(y)), x)
        check_batching(lambda x, y=y: OPS[name].fun(lift(y), x), x)


def test_select_batches_mask_and_choices():
    mask = np.array([True, False, True])
    check_batching(
        lambda m, x, y: c.select(c.gt(m, np.float32(0)), x, y),
        mask.astype(np.float32),
        np.float32([1, 2, 3]),
        np.float32([4, 5, 6]),
    )


def test_types_are_checked_in_the_users_words():
    with pytest.raises(TypeError, match=r"add: operands must have one dtype, got f32\[\], i32\[2\]"):
        e.add_p.bind(lift(1.0), lift(np.zeros(2, np.int32)))
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(3,\) do not broadcast"):
        e.add_p.bind(lift(np.zeros(2)), lift(np.zeros(3)))
    with pytest.raises(TypeError, match="erf: expected a floating-point dtype"):
        s.erf(lift(1j))
    with pytest.raises(TypeError, match="select: pred must be of bools"):
        c.select(lift(1.0), lift(1.0), lift(2.0))
    with pytest.raises(ValueError, match="clamp: min must be a scalar or have the shape"):
        s.clamp(np.zeros(1, np.float32), np.zeros((2, 2), np.float32), 1.0)


def test_second_derivatives_of_the_absolute_value_of_complex_numbers():
    z, t = np.complex64(1 + 2j), np.complex64(1 - 0.5j)

    def second(lib, f):
        return lib.jvp(lambda z: lib.jvp(f, (z,), (t,))[1], (z,), (t,))[1], lib.jvp(lib.grad(f), (z,), (t,))[1]

    for got, expected in zip(second(pb, trig.abs), second(jax, jnp.abs), strict=True):
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5)
    assert complex(pb.grad(trig.abs)(np.complex64(0))) == 0
