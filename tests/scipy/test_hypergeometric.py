"""Hypergeometric functions of scipy.special against mpmath: values, derivatives in all arguments, edges."""

import mpmath as mp
import numpy as np
import pytest
from exact import DTYPES, check, derivative

import pullback as pb
from pullback.scipy import special

RNG = np.random.default_rng(0)
A = np.concatenate([RNG.uniform(0.1, 5, 25), RNG.uniform(-3, 3, 15)])
B = RNG.uniform(0.2, 8, 40)
X = np.concatenate([RNG.uniform(-30, 30, 25), RNG.choice([-1, 1], 15) * np.logspace(-6, 1.9, 15)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_kummers_function(dtype):
    check(special.hyp1f1, mp.hyp1f1, (A, B, X), dtype, 32)

    def by_x(a, b, x):
        return a / b * mp.hyp1f1(a + 1, b + 1, x)

    def by_a(a, b, x):
        return mp.diff(lambda a: mp.hyp1f1(a, b, x), a)

    def by_b(a, b, x):
        return mp.diff(lambda b: mp.hyp1f1(a, b, x), b)

    some = A[::3], B[::3], X[::3]
    for i, slope in enumerate((by_a, by_b, by_x)):
        check(derivative(special.hyp1f1, 1, i), slope, some, dtype, 64)


def test_mixed_derivatives_of_kummers_function():
    with pb.enable_x64():
        for i in (0, 1):
            args = [0.5, 1.5, 2.0]
            mixed = pb.grad(pb.grad(special.hyp1f1, i), 2)(*args)
            swapped = pb.grad(pb.grad(special.hyp1f1, 2), i)(*args)

            def by_x(p, i=i, args=args):
                at = list(args)
                at[i] = p
                return mp.diff(lambda x: mp.hyp1f1(at[0], at[1], x), at[2])

            assert mixed == pytest.approx(float(mp.diff(by_x, args[i])), rel=1e-12)
            assert swapped == pytest.approx(float(mixed), rel=1e-12)
    with pytest.raises(NotImplementedError, match="hyp1f1 once differentiated by a parameter has no derivative"):
        pb.grad(pb.grad(special.hyp1f1))(0.5, 1.5, 2.0)


def test_edges_of_kummers_function():
    with pb.enable_x64():
        a = np.array([-2.0, -2, 0, 1, 0.5, 3, 100, 1, 2])
        b = np.array([0.5, 0.5, 1, 1, 2, 50, 0.5, 2, 2])
        x = np.array([3.0, -500, 5, -1e4, 1e3, 700, 1, 0, 300])
        exact = [float(mp.hyp1f1(*args)) for args in zip(a, b, x, strict=True)]
        for run in (special.hyp1f1, pb.jit(special.hyp1f1)):
            np.testing.assert_allclose(run(a, b, x), exact, rtol=1e-13)
            # a sum of terms that are 1e20 times as large
            assert np.isnan(run(40.0, 3.0, -60.0))
            assert np.isnan(run(1.0, 2.0, np.nan))
    assert special.hyp1f1(1, 2, 3).dtype == "float32"
    assert special.hyp1f1(np.ones((2, 0)), 1.0, 1.0).shape == (2, 0)
    with pytest.raises(TypeError, match="hyp1f1: expected a real number"):
        special.hyp1f1(1j, 1.0, 1.0)


# half of the parameters are multiples of 1/2, so that c - a - b is whole now and then
HALVES = RNG.integers(1, 5, 20) / 2
P = np.concatenate([HALVES, RNG.uniform(-3, 4, 20)])
Q = np.concatenate([RNG.integers(1, 5, 20) / 2, RNG.uniform(-2, 4, 20)])
R = np.concatenate([RNG.integers(1, 9, 20) / 2, RNG.uniform(0.2, 6, 20)])
Z = np.concatenate(
    [RNG.uniform(-5, 1, 10), 1 - np.logspace(-9, -0.5, 10), -np.logspace(-3, 5, 10), RNG.uniform(-1, 1, 10)]
)
Z = RNG.permutation(Z)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gauss_function(dtype):
    check(special.hyp2f1, mp.hyp2f1, (P, Q, R, Z), dtype, 32)

    def slope(a, b, c, x):
        return a * b / c * mp.hyp2f1(a + 1, b + 1, c + 1, x)

    check(derivative(special.hyp2f1, 1, 3), slope, (P[::2], Q[::2], R[::2], Z[::2]), dtype, 64)


def test_edges_of_gauss_function():
    a, b = np.array([1.0, 1, 1, 1, -2, 3, 0.5, 0]), np.array([1.0, 1, 2, 1, 3, -2, 0.5, 2])
    c, x = np.array([2.0, 2, 4, 2, 1.5, 1.5, 1.5, 3]), np.array([-1000, 0.9999, 1, 1, 5, 5, 2, 7])
    right = [0.00690875478, 9.211261498, 3, np.inf, 61, 61, np.nan, 1]
    for run in (special.hyp2f1, pb.jit(special.hyp2f1)):
        np.testing.assert_allclose(run(a, b, c, x), right, rtol=1e-4)
        assert np.isnan(run(1.0, 1.0, 2.0, np.nan))
    assert special.hyp2f1(1, 1, 2, np.zeros((2, 0))).shape == (2, 0)
    with pytest.raises(NotImplementedError, match="hyp2f1 has no derivative with respect to the parameter c"):
        pb.grad(special.hyp2f1, 2)(1.0, 1.0, 2.0, 0.5)


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_kummers_function_next_to_its_zeros(run):
    # M(2, 1, x) = exp(x) (1 + x), M(-1, b, x) = 1 - x / b
    near = np.float32([-1, np.nextafter(np.float32(-1), np.float32(0)), 1, 3])
    got = run(special.hyp1f1)(np.float32([2, 2, -1, -1]), np.float32([1, 1, 1, 3]), near)
    np.testing.assert_allclose(got, [0, np.exp(-1) * 2.0**-24, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_neighbours_do_not_make_kummers_function_diverge(run):
    # one element is summed by hundreds of terms, of the other, whose series diverges, only the first ones count
    a, b, x = np.array([[0.5, 1.0, 600.0], [0.5, 1.0, -60.0], [4.0, 2.25, -60.0]]).T
    x[0] = 150.0
    a[0], b[0] = 30.0, 200.0
    with pb.enable_x64():
        got = run(special.hyp1f1)(a, b, x)
        slope = run(derivative(special.hyp1f1))(a, b, x)
    exact = [mp.hyp1f1(*args) for args in zip(a, b, x, strict=True)]
    np.testing.assert_allclose(got, np.array(exact, float), rtol=1e-13)
    for i in (1, 2):
        right = mp.diff(lambda p, i=i: mp.hyp1f1(p, b[i], x[i]), a[i])
        np.testing.assert_allclose(slope[i], float(right), rtol=1e-12)
