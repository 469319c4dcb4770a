"""Sine and cosine of large arrays of float32: compiled by a polynomial, and eagerly by the compiled program."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import large_arrays
from pullback._ops.trig import cos_p, sin_p

N = large_arrays.LARGE
FUNCTIONS = [(lax.sin, np.sin), (lax.cos, np.cos)]


def numbers():
    """Numbers of many sizes, and those next to multiples of pi / 2, where all but the last digits cancel."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(-1, 1, 50_000) * np.exp2(rng.uniform(-30, 20, 50_000))
    near = np.arange(-40_000, 40_000) * (np.pi / 2)
    return np.concatenate([spread, near]).astype("float32")


def within_half_a_unit(got, expected):
    unit = np.spacing(np.abs(expected).astype("float32")).astype("float64")
    assert got.dtype == np.float32
    assert (np.abs(got.astype("float64") - expected) <= 0.500001 * unit).all()


@pytest.mark.parametrize(("ours", "exact"), FUNCTIONS)
def test_rounded_once(ours, exact):
    x = numbers()
    within_half_a_unit(np.asarray(pb.jit(ours)(x)), exact(x.astype("float64")))


@pytest.mark.parametrize(("ours", "exact"), FUNCTIONS)
def test_numbers_at_the_edges(ours, exact):
    x = np.zeros(N, "float32")
    edges = [0.0, -0.0, 1e-38, -1e-42, np.inf, -np.inf, np.nan, 3e38, 2.0**20, np.nextafter(2.0**20, 0), 1e10, -1e25]
    x[: len(edges)] = edges
    got = np.asarray(pb.jit(ours)(x))
    with np.errstate(invalid="ignore"):
        expected = exact(x.astype("float64"))
    np.testing.assert_allclose(got, expected, rtol=1.2e-7, atol=0)
    assert (np.signbit(got) == np.signbit(expected))[~np.isnan(expected)].all()
    # the smallest numbers without huge ones beside them
    x[4:12] = 1
    got, expected = np.asarray(pb.jit(ours)(x)), exact(x.astype("float64"))
    np.testing.assert_allclose(got, expected, rtol=1.2e-7, atol=0)
    assert (np.signbit(got) == np.signbit(expected)).all()


def test_only_large_arrays_of_float32_take_the_polynomial():
    def by_polynomial(shape, dtype):
        text = pb.jit(lax.sin).lower(pb.ShapeDtypeStruct(shape, dtype)).as_text()
        return "bitcast_convert" in text

    assert by_polynomial((N,), "float32")
    assert by_polynomial((2, N // 2), "float32")
    assert not by_polynomial((N - 1,), "float32")
    assert not by_polynomial((N,), "float16")


def test_derivatives_and_batches():
    x = np.linspace(-9, 9, N, dtype="float32")
    gradient = pb.jit(pb.grad(lambda x: pnp.sum(pnp.sin(x) * x)))(x)
    wide = x.astype("float64")
    np.testing.assert_allclose(gradient, np.cos(wide) * wide + np.sin(wide), rtol=1e-6, atol=1e-6)
    rows = pb.jit(pb.vmap(pnp.cos))(x.reshape(4, -1))
    within_half_a_unit(np.asarray(rows).ravel(), np.cos(wide))


@pytest.mark.parametrize(("p", "exact"), [(sin_p, np.sin), (cos_p, np.cos)])
def test_eager_calls_pass_to_the_program(p, exact, monkeypatch):
    asked = []

    def program_if_worth(*args, **kwargs):
        found = through(*args, **kwargs)
        asked.append(found is not None)
        return found

    through = large_arrays.program_if_worth
    monkeypatch.setattr(large_arrays, "program_if_worth", program_if_worth)
    monkeypatch.setattr(large_arrays, "_A_COMPILATION", 2 * (N + 7))
    x = pnp.array(np.resize(numbers(), N + 7))
    first, second, third = [np.asarray(p.bind(x)) for _ in range(3)]
    assert asked == [False, False, True]
    expected = exact(np.asarray(x).astype("float64"))
    for got in (first, second, third):
        within_half_a_unit(got, expected)
    p.bind(x[:9])
    p.bind(x.astype("float16"))
    assert len(asked) == 3
