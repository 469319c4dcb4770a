"""i0, i1, i0e and i1e: values and derivatives of first and second order against mpmath, eagerly and compiled."""

import mpmath
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import special

NAMES = ["i0", "i1", "i0e", "i1e"]
POINTS = np.array([1e-30, 1e-8, 1e-6, 0.03, 0.5, 1.0, 2.1, 7.9, 8.1, 30.77, 87.0, 300.0, 712.0, 1e4])


def bessel(nu, order, x):
    """The derivative of this order of I_nu, DLMF 10.29.5: for a whole nu nothing cancels."""
    return (
        sum(mpmath.binomial(order, k) * mpmath.besseli(abs(nu - order + 2 * k), x) for k in range(order + 1)) / 2**order
    )


def exact(name, order, x):
    """The derivative of this order at x > 0; those of exp(-x) I(x) by Leibniz' rule, with digits to spare for it."""
    nu = int(name[1])
    with mpmath.workdps(60 + 3 * order * max(0, int(np.log10(x)))):
        x = mpmath.mpf(float(x))
        if name[2:] != "e":
            return bessel(nu, order, x)
        terms = [mpmath.binomial(order, k) * (-1) ** (order - k) * bessel(nu, k, x) for k in range(order + 1)]
        return mpmath.exp(-x) * sum(terms)


def derivative(fun, order):
    for _ in range(order):
        fun = slope_of(fun)
    return fun


def slope_of(fun):
    return pb.grad(lambda x: fun(x).sum())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives(name, order, dtype):
    eps, info = float(np.finfo(dtype).eps), np.finfo(dtype)
    x = POINTS.astype(dtype)
    expected = [exact(name, order, v) for v in x]
    with pb.enable_x64(True):
        fun = derivative(getattr(special, name), order)
        for got in (fun(x), pb.jit(fun)(x)):
            for v, g, e in zip(x, np.asarray(got, np.float64), expected, strict=True):
                if float(info.tiny) < abs(e) < float(info.max):
                    # i1e has a maximum at 1.545 and turns at 2.42
                    zero = name == "i1e" and 1 < v < 3
                    assert abs(float((mpmath.mpf(float(g)) - e) / e)) < (64 if zero else 16) * eps, (v, g, e)
                elif abs(e) >= float(info.max):
                    assert g == np.inf


def test_far_out():
    # of exp(-x) I(x) the first terms of the asymptotic series, which is x**-1/2, alternately
    x = np.float32(1e20)
    for name in ("i0e", "i1e"):
        for order, front in ((0, 1), (1, -0.5)):
            fun = derivative(getattr(special, name), order)
            for got in (fun(x), pb.jit(fun)(x)):
                np.testing.assert_allclose(got, front * (2 * np.pi * 1e20) ** -0.5 / 1e20**order, 1e-6)


def test_at_the_ends():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    for run in (lambda fun: fun, pb.jit):
        np.testing.assert_array_equal(run(special.i0)(x), [1, 1, np.inf, np.inf, np.nan])
        np.testing.assert_array_equal(run(special.i1)(x), [0, 0, np.inf, -np.inf, np.nan])
        np.testing.assert_array_equal(run(special.i0e)(x), [1, 1, 0, 0, np.nan])
        np.testing.assert_array_equal(run(special.i1e)(x), [0, 0, 0, 0, np.nan])
        assert run(pb.grad(special.i1))(0.0) == 0.5
        assert run(pb.grad(pb.grad(special.i0)))(0.0) == 0.5
        assert run(pb.grad(pb.grad(special.i1)))(0.0) == 0
        assert run(pb.grad(special.i1e))(0.0) == 0.5
        assert run(pb.grad(special.i1e))(np.float32(np.inf)) == 0


def test_odd_and_even():
    x = POINTS[:-1].astype(np.float32)
    for name, sign in (("i0", 1), ("i1", -1), ("i0e", 1), ("i1e", -1)):
        fun = getattr(special, name)
        for run in (fun, pb.jit(fun)):
            np.testing.assert_array_equal(run(-x), sign * np.asarray(run(x)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(dtype):
    x = pnp.asarray([0.1, 1.0, 3.0], dtype)
    for name in NAMES:
        fun = getattr(special, name)
        expected = np.asarray(fun(x.astype("float32")), np.float32)
        eps = float(pnp.finfo(dtype).eps)
        for got in (fun(x), pb.jit(fun)(x)):
            assert got.dtype == x.dtype
            np.testing.assert_allclose(np.asarray(got, np.float32), expected, 0.51 * eps)


def test_i0_of_numpy_does_not_overflow_early():
    with pb.enable_x64(True):
        for fun in (pnp.i0, pb.jit(pnp.i0)):
            assert abs(float(fun(712.0)) / float(mpmath.besseli(0, 712)) - 1) < 1e-15


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["i0e", "i1e"])
def test_next_to_the_largest_number(name, dtype):
    with pb.enable_x64():
        x = np.array(0.9 * np.finfo(dtype).max, dtype)
        right = 1 / np.sqrt(2 * np.pi * 0.9) / np.sqrt(float(np.finfo(dtype).max))
        for run in (getattr(special, name), pb.jit(getattr(special, name))):
            np.testing.assert_allclose(run(x), right, 8 * np.finfo(dtype).eps)
