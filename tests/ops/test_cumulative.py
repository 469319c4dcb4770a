"""Running sums, products, extremes and log-sum-exps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, check_value
from jax import lax

import pullback as pb
from pullback._ops import cumulative

NAMES = ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"]
INEXACT = ["float16", "bfloat16", "float32"]
DTYPES = {
    "cumsum": [*INEXACT, "int8", "uint32", "complex64"],
    "cumprod": ["float32", "int8", "uint32", "complex64"],
    "cummax": [*INEXACT, "int8", "uint32", "complex64"],
    "cummin": [*INEXACT, "int8", "uint32", "complex64"],
    "cumlogsumexp": INEXACT,
}
rng = np.random.default_rng(0)


data = Sampler()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in NAMES for dtype in DTYPES[name]])
def test_values(name, dtype, reverse):
    x = data((4, 5), dtype)
    for axis in (0, 1):
        agree(getattr(cumulative, name), getattr(lax, name), x, axis=axis, reverse=reverse)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0,), (1,), (17,), (2, 0)])
def test_short_and_empty_axes(name, shape):
    x = data(shape)
    check_value(
        lambda x: getattr(cumulative, name)(x, len(shape) - 1), lambda x: getattr(lax, name)(x, len(shape) - 1), x
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reverse", [False, True])
def test_rules(name, reverse):
    x = rng.permutation(15).reshape(3, 5).astype("float32") / 4 - 1.6
    f = lambda x: getattr(cumulative, name)(x, 1, reverse)  # noqa: E731
    check_derivative(f, x)
    check_batching(lambda x: getattr(cumulative, name)(x, 0, reverse), x[0])


@pytest.mark.parametrize("name", ["cumprod", "cumlogsumexp"])
def test_second_derivatives_are_jax_s(name):
    x = data((5,))
    x[2] = 0
    np.testing.assert_allclose(
        pb.hessian(lambda x: getattr(cumulative, name)(x, 0)[-1])(x),
        jax.hessian(lambda x: getattr(lax, name)(x, 0)[-1])(x),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", ["cumsum", "cummax", "cummin", "cumlogsumexp"])
def test_nan_and_infinity(name):
    for values in ([1, np.nan, 2], [-np.inf, -np.inf, 1, 2, -np.inf], [np.inf, 1, np.inf]):
        x = np.array(values, "float32")
        check_value(lambda x: getattr(cumulative, name)(x), lambda x: getattr(lax, name)(x), x)


def test_the_gradient_of_cumlogsumexp_is_finite_where_everything_so_far_is_nothing():
    x = np.array([-np.inf, -np.inf, 1, 2, -np.inf, 100, -100], "float32")
    weights = np.array([0, 0, 1, 1, 1, 1, 1], "float32")

    def f(x):
        return jnp.vdot(weights[2:], lax.cumlogsumexp(x)[2:])

    def ours(x):
        return (cumulative.cumlogsumexp(x)[2:] * weights[2:]).sum()

    np.testing.assert_allclose(pb.grad(ours)(x)[2:], jax.grad(f)(x)[2:], rtol=1e-5, atol=1e-6)
    assert np.isfinite(pb.grad(ours)(x)).all()


def test_refusals():
    with pytest.raises(TypeError, match="cumsum: expected a number"):
        cumulative.cumsum(np.zeros(3, bool))
    with pytest.raises(TypeError, match="cumlogsumexp: expected a floating-point dtype"):
        cumulative.cumlogsumexp(np.zeros(3, "int32"))
    with pytest.raises(IndexError, match="axis 2"):
        cumulative.cumsum(np.zeros(3, "float32"), 2)


# --- long axes, which compiled code treats in blocks ---

LONG = [(1000, 3), (4097, 2), (64, 5)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_long_axes(name, reverse, monkeypatch):
    monkeypatch.setattr(cumulative, "pays", lambda *args, **options: True)
    for shape in LONG:
        for axis, x in ((0, data(shape)), (1, data(shape).T)):
            x = 1 + x / 100 if name == "cumprod" else x
            wide = np.flip(x, axis).astype("float64") if reverse else x.astype("float64")
            exact = {
                "cumsum": np.add,
                "cumprod": np.multiply,
                "cummax": np.maximum,
                "cummin": np.minimum,
                "cumlogsumexp": np.logaddexp,
            }[name].accumulate(wide, axis)
            exact = np.flip(exact, axis) if reverse else exact
            got = np.asarray(pb.jit(getattr(cumulative, name), static_argnums=(1, 2))(x, axis, reverse))
            # each element is reached by up to 16 steps in each of 2 levels, and by up to 63 in the last one
            scale = np.add.accumulate(np.abs(wide), axis).max() if name == "cumsum" else np.abs(exact)
            assert (np.abs(got - exact) <= 96 * 2**-24 * scale + 1e-6).all()


@pytest.mark.parametrize("dtype", ["int8", "uint32", "bfloat16", "float16", "complex64"])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_of_long_axes(name, dtype, monkeypatch):
    monkeypatch.setattr(cumulative, "pays", lambda *args, **options: True)
    if dtype in DTYPES[name]:
        x = data((200, 2), dtype)
        x = x / np.asarray(8).astype(x.dtype) if name == "cumprod" and x.dtype.kind == "c" else x
        f = getattr(cumulative, name)
        eager, compiled = np.asarray(f(x, 0)), np.asarray(pb.jit(f)(x))
        assert compiled.dtype == eager.dtype
        wide = "complex128" if dtype == "complex64" else "float64"
        tolerance = 1e-4 if dtype == "complex64" else 0 if "int" in dtype else 2e-2
        np.testing.assert_allclose(compiled.astype(wide), eager.astype(wide), rtol=tolerance, atol=tolerance)


def test_special_values_of_long_axes(monkeypatch):
    monkeypatch.setattr(cumulative, "pays", lambda *args, **options: True)
    x = np.zeros(300, "float32")
    x[40], x[70], x[200] = -np.inf, np.inf, np.nan
    for name in NAMES:
        for reverse in (False, True):
            f = getattr(cumulative, name)
            with np.errstate(invalid="ignore"):
                eager = f(x, 0, reverse)
            np.testing.assert_allclose(pb.jit(f, static_argnums=(1, 2))(x, 0, reverse), eager, rtol=1e-6)
    nothing = np.full(300, -np.inf, "float32")
    np.testing.assert_array_equal(pb.jit(cumulative.cumlogsumexp)(nothing), nothing)


def test_long_axes_have_no_window_as_long():
    def windows(n):
        text = pb.jit(cumulative.cumlogsumexp).lower(pb.ShapeDtypeStruct((n,), "float32")).as_text()
        return text.count("reduce_window"), text.count("stablehlo.concatenate")

    assert windows(63) == (1, 0)
    assert windows(64) == (1, 1)
    assert windows(16 * 63) == (1, 1)
    assert windows(16 * 64) == (1, 2)

    def by_blocks(shape, axis):
        text = pb.jit(cumulative.cumsum, static_argnums=1).lower(pb.ShapeDtypeStruct(shape, "float32"), axis).as_text()
        return "stablehlo.concatenate" in text

    assert by_blocks((1000, 1000), 0)
    assert not by_blocks((1000, 999), 0)
    assert not by_blocks((63, 16_000), 0)


# --- derivatives along longer axes, in which neighbours are combined first ---


def jacobian_of(name, x):
    """The derivatives of all results by all elements, of a vector in float64: d y[i] / d x[j]."""
    n = len(x)
    if name == "cumprod":
        return np.array([[np.prod(np.delete(x[: i + 1], j)) if j <= i else 0 for j in range(n)] for i in range(n)])
    return np.tril(np.exp(x[None] - np.logaddexp.accumulate(x)[:, None]))


@pytest.mark.parametrize("n", [33, 34, 67, 130])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["cumprod", "cumlogsumexp"])
def test_derivatives_along_longer_axes(name, reverse, n):
    x = rng.standard_normal(n).astype("float32") / 8 + (name == "cumprod")
    x[[3, 20]] = 0, -0.5
    x[17] = 0 if name == "cumprod" else -np.inf
    t, w = rng.standard_normal((2, n)).astype("float32")
    with np.errstate(invalid="ignore"):
        exact = jacobian_of(name, np.flip(x).astype("float64") if reverse else x.astype("float64"))
    exact = np.flip(exact) if reverse else exact

    def run(x):
        return getattr(cumulative, name)(x, 0, reverse)

    def weighted(x):
        return (run(x) * w).sum()

    tangent = pb.jit(lambda x, t: pb.jvp(run, (x,), (t,))[1])(x, t)
    gradient = pb.jit(pb.grad(weighted))(x)
    # up to 17 combinations of two roundings, and sums of as many terms
    unit = 64 * 2**-24
    assert (np.abs(tangent - exact @ t) <= unit * (np.abs(exact) @ np.abs(t)) + 1e-30).all()
    assert (np.abs(gradient - w @ exact) <= unit * (np.abs(w) @ np.abs(exact)) + 1e-30).all()
    for axis in (0, 1):
        rows = [np.moveaxis(np.broadcast_to(z, (3, n)), 1, axis) for z in (x, t)]
        _, across = pb.jvp(partial(getattr(cumulative, name), axis=axis, reverse=reverse), *[(z,) for z in rows])
        np.testing.assert_allclose(np.moveaxis(np.asarray(across), axis, 1)[2], tangent, rtol=1e-4, atol=1e-6)


def test_derivatives_take_a_number_of_operations_that_grows_with_the_length():
    def pushed(x):
        return pb.jvp(cumulative.cumprod, (x,), (x,))

    jaxpr = pb.make_jaxpr(pushed)(np.ones(4096, "float32"))
    whole = sum(eqn.outvars[0].aval.shape == (4096,) for eqn in jaxpr.jaxpr.eqns)
    assert whole <= 12
