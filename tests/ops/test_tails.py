"""Derivatives far out, where a formula that subtracts nearly equal numbers has nothing left: closed forms by mpmath."""

import mpmath
import numpy as np
import pytest
from mpmath import mp

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn
from pullback.scipy import special


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def slope(x):
    return logistic(x) * logistic(-x)


def curvature(x):
    return -slope(x) * mp.tanh(x / 2)


def second(f):
    return pb.grad(pb.grad(f))


def gelu(x):
    return x * logistic(mp.sqrt(8 / mp.pi) * (x + mp.mpf("0.044715") * x**3))


FIRST = {
    "sigmoid": (nn.sigmoid, slope, (20.0, -20.0, 80.0, 0.5)),
    "tanh": (pnp.tanh, lambda x: mp.sech(x) ** 2, (10.0, -10.0, 40.0, 1.0)),
    "expm1": (pnp.expm1, mp.exp, (-18.0, -80.0, 1e-3)),
    "elu": (nn.elu, mp.exp, (-18.0, -80.0)),
    "exp2": (pnp.exp2, lambda x: mp.log(2) * mp.power(2, x), (128.4, -125.2, 3.0)),
    "log2": (pnp.log2, lambda x: 1 / (x * mp.log(2)), (1e38, 1e-37)),
    "arcsinh": (pnp.arcsinh, lambda x: 1 / mp.sqrt(1 + x * x), (1e28, -1e28, 0.5)),
    "soft_sign": (nn.soft_sign, lambda x: 1 / (1 + abs(x)) ** 2, (-6e14, 1e9, 0.5)),
    "erfcx": (special.erfcx, lambda x: 2 * x * mp.exp(x * x) * mp.erfc(x) - 2 / mp.sqrt(mp.pi), (1e3, 3.0, -8.0)),
    "dawsn": (special.dawsn, lambda x: 1 - mp.sqrt(mp.pi) * x * mp.exp(-x * x) * mp.erfi(x), (-30.0, 20.0, 1e-3)),
    "exp1": (special.exp1, lambda x: -mp.exp(-x) / x, (80.0, 1e-30)),
    "expi": (special.expi, lambda x: mp.exp(x) / x, (-80.0, 90.0, 1e-30)),
    "hard_sigmoid": (nn.hard_sigmoid, lambda x: mpmath.mpf(1) / 6, (2.9999998, -2.9999998)),
    "gelu": (nn.gelu, lambda x: mp.diff(gelu, x), (-7.0, 3.0)),
    "power": (
        lambda x: pnp.power(x, pnp.float32(1e-6)),
        lambda x: mp.mpf(np.float32(1e-6).item()) * x ** (mp.mpf(np.float32(1e-6).item()) - 1),
        (1e-30, 1e30),
    ),
}

SECOND = {
    "sigmoid": (nn.sigmoid, curvature, (20.0, -20.0, 1e-12)),
    "tanh": (pnp.tanh, lambda x: -2 * mp.tanh(x) * mp.sech(x) ** 2, (10.0, -40.0, 1e-20)),
    "softplus": (nn.softplus, slope, (20.0, -20.0, 80.0)),
    "log_sigmoid": (nn.log_sigmoid, lambda x: -slope(x), (20.0, -20.0, 80.0)),
    "silu": (nn.silu, lambda x: slope(x) * (2 - x * mp.tanh(x / 2)), (20.0, -20.0)),
    "expm1": (pnp.expm1, mp.exp, (-18.0, -80.0)),
    "logaddexp": (lambda x: pnp.logaddexp(x, 1.0), lambda x: slope(x - 1), (25.0, -25.0)),
    "log10": (pnp.log10, lambda x: -1 / (x * x * mp.log(10)), (4.7082636e-20,)),
    "arctan": (pnp.arctan, lambda x: -2 * x / (1 + x * x) ** 2, (1e12, 0.5)),
    "arcsinh": (pnp.arcsinh, lambda x: -x / mp.sqrt(1 + x * x) ** 3, (1e17, 0.5)),
    "arcsin": (pnp.arcsin, lambda x: x / mp.sqrt(1 - x * x) ** 3, (4e-28, 0.9999999)),
    "arctanh": (pnp.arctanh, lambda x: 2 * x / (1 - x * x) ** 2, (4e-28, 0.9999999)),
    "soft_sign": (nn.soft_sign, lambda x: -2 / (1 + x) ** 3, (3e9, 0.5)),
    "exp2": (pnp.exp2, lambda x: mp.log(2) ** 2 * mp.power(2, x), (129.0, -124.5)),
}


def check(f, exact, at, ulp):
    x = np.float32(at)
    with mp.workdps(60):
        right = float(exact(mp.mpf(x.item())))
    for g in (f, pb.jit(f)):
        assert abs(float(g(x)) - right) <= ulp * float(np.spacing(np.float32(abs(right)))), (float(g(x)), right)


@pytest.mark.parametrize("name", FIRST)
def test_first_derivatives(name):
    f, exact, points = FIRST[name]
    for at in points:
        check(pb.grad(f), exact, at, 32)


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    f, exact, points = SECOND[name]
    for at in points:
        check(second(f), exact, at, 64)


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_second_derivatives_are_infinite_where_the_first_are(wrap):
    assert wrap(second(pnp.arcsin))(1.0) == np.inf
    assert wrap(second(pnp.arcsin))(-1.0) == -np.inf
    assert wrap(second(pnp.arccos))(1.0) == -np.inf
    assert wrap(second(pnp.arccos))(-1.0) == np.inf


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_quotients_do_not_leave_the_range_on_the_way(wrap):
    # (x / y) / y must not become x / (y * y)
    y = np.float32(-5.2724844e-21)
    assert wrap(pb.grad(lax.div, 1))(y, y) == pytest.approx(1 / 5.2724844e-21, rel=1e-6)
    first, second_ = wrap(pb.grad(pnp.arctan2, (0, 1)))(np.float32(1e-21), np.float32(1e-21))
    assert (first, second_) == (pytest.approx(5e20, rel=1e-6), pytest.approx(-5e20, rel=1e-6))
    big = np.float32(2.5e38)
    assert wrap(pb.grad(pnp.hypot))(big, big) == pytest.approx(np.sqrt(0.5), rel=1e-6)
    bend = wrap(pb.grad(pb.grad(pnp.hypot)))(np.float32(1.0), np.float32(1e-5))
    assert bend == pytest.approx(1e-10, rel=1e-5)


def test_higher_derivatives_of_the_logistic_function_at_zero():
    # 1/4, 0, -1/8: the slope has no kink at 0 though it is computed from |x|
    third = pb.grad(pb.grad(pb.grad(nn.sigmoid)))
    assert third(0.0) == -0.125
    assert pb.jit(third)(0.0) == -0.125
    assert pb.grad(pb.grad(pb.grad(pnp.tanh)))(0.0) == -2


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_softmax_next_to_one(wrap):
    x = np.array([0.0, -30.0, -40.0], "float32")
    rest = float(mp.exp(-30) + mp.exp(-40))
    rows = np.array(
        [
            [rest, -np.exp(-30), -np.exp(-40)],
            [-np.exp(-30), np.exp(-30), -np.exp(-70)],
            [-np.exp(-40), -np.exp(-70), np.exp(-40)],
        ]
    )
    for jacobian in (pb.jacrev, pb.jacfwd):
        np.testing.assert_allclose(wrap(jacobian(nn.softmax))(x), rows, rtol=1e-5)
    np.testing.assert_allclose(wrap(nn.log_softmax)(x), [-rest, -30, -40], rtol=1e-6)
    np.testing.assert_allclose(
        wrap(pb.grad(lambda x: nn.log_softmax(x)[0]))(x), [rest, -np.exp(-30), -np.exp(-40)], rtol=1e-5
    )
    np.testing.assert_allclose(wrap(nn.logsumexp)(x), rest, rtol=1e-6)
    np.testing.assert_allclose(wrap(pb.hessian(nn.logsumexp))(x), rows, rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_log_softmax_both_ways_with_and_without_a_share_next_to_one(wrap):
    rows = np.array([[0.0, -30.0, -40.0], [1.0, 2.0, 1.5], [5.0, 5.0, -20.0]], "float32")
    wide = rows.astype("float64")
    shares = np.exp(wide - wide.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    right = np.eye(3) - shares[:, None, :]
    # of a share next to 1 the rest is the sum of the others
    right[0, 0, 0] = shares[0, 1:].sum()
    for jacobian in (pb.jacrev, pb.jacfwd):
        np.testing.assert_allclose(wrap(pb.vmap(jacobian(nn.log_softmax)))(rows), right, rtol=2e-6)
        # rows as columns: the batch is another axis
        columns = pb.vmap(jacobian(nn.log_softmax), in_axes=1)
        np.testing.assert_allclose(wrap(columns)(rows.T), right, rtol=2e-6)
    curved = pb.vmap(pb.hessian(lambda x: nn.log_softmax(x)[1]))
    right = shares[:, :, None] * shares[:, None, :] - np.eye(3) * shares[:, :, None]
    right[0, 0, 0] = -shares[0, 0] * shares[0, 1:].sum()
    np.testing.assert_allclose(wrap(curved)(rows), right, rtol=4e-6)


def by_logarithms_alone(x):
    return pnp.sum(pnp.exp(nn.log_softmax(x)) * nn.log_softmax(x))


def by_shares_and_logarithms(x):
    return pnp.sum(nn.softmax(x) * nn.log_softmax(x))


def by_shares_alone(x):
    return pnp.sum(nn.softmax(x) * pnp.log(nn.softmax(x)))


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("entropy", [by_logarithms_alone, by_shares_and_logarithms, by_shares_alone])
def test_the_entropy_of_nearly_certain_distributions(entropy, dtype, wrap):
    # nearly all of the cotangent is that of the share next to 1, whose own entry needs the sum of the tiny others
    for row in ([0, -30, -31], [-30, 0, -31], [0, -8, -9], [0, -2, -3]):
        with mp.workdps(60):
            terms = [mp.exp(v) for v in row]
            shares = [v / sum(terms) for v in terms]
            total = sum(p * mp.log(p) for p in shares)
            right = np.array([float(p * (mp.log(p) - total)) for p in shares])
        with pb.enable_x64(dtype == "float64"):
            got = wrap(pb.grad(entropy))(np.array(row, dtype))
        np.testing.assert_allclose(np.asarray(got, np.float64), right, rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_softmax_of_ties_and_infinities(wrap):
    even = np.full((2, 2), 0.25) * [[1, -1], [-1, 1]]
    np.testing.assert_allclose(wrap(pb.hessian(nn.logsumexp))(np.zeros(2, "float32")), even, rtol=1e-6)
    x = np.array([[np.inf, 0.0], [-np.inf, 0.0], [-np.inf, -np.inf]], "float32")
    np.testing.assert_array_equal(wrap(lambda x: nn.logsumexp(x, axis=1))(x), [np.inf, 0, -np.inf])
    np.testing.assert_array_equal(wrap(pb.grad(lambda x: nn.logsumexp(x, axis=1)[1:].sum()))(x)[1:], [[0, 1], [0, 0]])
    np.testing.assert_array_equal(wrap(lambda x: nn.softmax(x, where=x > -1))(x)[1:], [[0, 1], [0, 0]])
    assert wrap(nn.logsumexp)(np.zeros(0, "float32")) == -np.inf


def test_powers_with_integer_exponents_of_another_dtype():
    x, n = np.float32([2, -3]), np.int32([3, 3])
    for run in (pb.lax.pow, pb.jit(pb.lax.pow)):
        got = run(x, n)
        assert got.dtype == np.float32
        assert got.tolist() == [8, -27]
    assert pb.grad(lambda x: pb.lax.pow(x, np.int32(3)))(2.0) == 12
    assert pb.vmap(pb.grad(pb.lax.pow), (0, None))(x, np.int32(0)).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [200, -200, 127, -149, 300, -300, 1200, -1200, 2100, 0, 1])
def test_ldexp_with_a_constant_exponent(dtype, n):
    with pb.enable_x64(dtype == "float64"):
        x = np.array([0.0, -0.0, 1e-30, -3, 1e38, 1.2e-38, np.nan, np.inf, -np.inf], dtype)
        with np.errstate(all="ignore"):
            exact = np.ldexp(x, n)
        exact = np.where(np.abs(exact) < np.finfo(dtype).tiny, np.copysign(0, exact), exact)  # as compiled code flushes
        constant, given = pb.jit(lambda x: pb.numpy.ldexp(x, n))(x), pb.jit(pb.numpy.ldexp)(x, n)
        np.testing.assert_array_equal(constant, exact)
        np.testing.assert_array_equal(given, exact)
        np.testing.assert_array_equal(np.signbit(constant)[:6], np.signbit(exact)[:6])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sinc_of_large_numbers(dtype):
    """Large numbers are even: the sine vanishes there, and its slope is pi."""
    with pb.enable_x64(dtype == "float64"):
        xs = pnp.asarray(np.array([1, -3, 2**20, -620472517525504.0, np.finfo(dtype).max / 2], dtype))
        signs = np.array([-1, -1, 1, 1, 1])
        for wrap in (lambda f: f, pb.jit):
            assert not np.any(np.asarray(wrap(pnp.sinc)(xs))[2:])
            slopes = wrap(pb.vmap(pb.grad(pnp.sinc)))(xs)
            np.testing.assert_allclose(slopes[:4], (signs / np.asarray(xs))[:4], rtol=4 * np.finfo(dtype).eps)
            curvatures = wrap(pb.vmap(second(pnp.sinc)))(xs)
            np.testing.assert_allclose(
                curvatures[:4], -2 * signs[:4] / np.asarray(xs[:4], "float64") ** 2, rtol=8 * np.finfo(dtype).eps
            )
            assert np.all(np.abs(np.asarray([slopes[4], curvatures[4]])) <= 2 * np.finfo(dtype).tiny)
