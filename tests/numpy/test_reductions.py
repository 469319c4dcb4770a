"""Reductions of pullback.numpy: values, dtypes and arguments as JAX's, derivatives, refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, check_value, close

import pullback as pb
import pullback.numpy as pnp

DTYPES = ["bool", "int8", "uint32", "float16", "bfloat16", "float32", "complex64"]
NAMES = ["sum", "prod", "max", "min", "any", "all", "mean", "var", "std", "argmax", "argmin", "count_nonzero", "ptp"]
NAN_NAMES = [
    "nansum",
    "nanprod",
    "nanmax",
    "nanmin",
    "nanmean",
    "nanvar",
    "nanstd",
    "nanargmax",
    "nanargmin",
    "nanmedian",
]
rng = np.random.default_rng(0)


data = Sampler()


def holes(shape):
    """Numbers with nan among them, and one row of nothing else."""
    x = data(shape)
    x[rng.random(shape) < 0.3] = np.nan
    x[1] = np.nan
    return x


def accepts(name, dtype):
    """Complex numbers have no order, and bools no difference."""
    if dtype == "bool":
        return name != "ptp"
    return dtype != "complex64" or name not in ("argmax", "argmin")


@pytest.mark.parametrize(("name", "dtype"), [(n, d) for n in NAMES for d in DTYPES if accepts(n, d)])
def test_axes_and_keepdims_in_every_dtype(name, dtype):
    cases = [(None, False), (0, True), (-1, False)]
    if not name.startswith("arg"):
        cases.append(((0, 1), True))

    def every_case(library):
        return lambda x: [getattr(library, name)(x, axis=axis, keepdims=keepdims) for axis, keepdims in cases]

    check_value(every_case(pnp), jax.jit(every_case(jnp)), data((3, 4), dtype))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("x", [2.5, 3, True])
def test_scalars_give_results_of_strong_types(name, x):
    if not (name == "ptp" and x is True):
        check_value(getattr(pnp, name), getattr(jnp, name), x)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "any", "all"])
def test_where(name):
    x, mask = data((3, 4)), data((3, 4), "bool")
    f, g = getattr(pnp, name), getattr(jnp, name)
    for where in (mask, mask[:1], mask[0]):
        check_value(lambda x, where: f(x, axis=0, where=where), lambda x, where: g(x, axis=0, where=where), x, where)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_initial(name):
    x, mask = data((3, 4)), data((3, 4), "bool")
    f, g = getattr(pnp, name), getattr(jnp, name)
    check_value(lambda x: f(x, axis=1, initial=0.3), lambda x: g(x, axis=1, initial=0.3), x)
    check_value(lambda x: f(x, where=mask, initial=0.3), lambda x: g(x, where=mask, initial=0.3), x)
    check_value(lambda x: f(x, initial=2), lambda x: g(x, initial=2), np.zeros((0,), "float32"))


def test_dtypes_on_request():
    x = np.array([1.5, 2.5, 3.5], "float32")
    for dtype in ("int32", "float16", "bool", "complex64"):
        agree(pnp.sum, jnp.sum, x, dtype=dtype)
        agree(pnp.prod, jnp.prod, x, dtype=dtype)
    check_value(lambda x: pnp.mean(x, dtype="int32"), lambda x: jnp.mean(x, dtype="int32"), x)
    check_value(lambda x: pnp.var(x, dtype="float16"), lambda x: jnp.var(x, dtype="float16"), x)
    small = np.arange(5, dtype="int8")
    check_value(lambda x: pnp.sum(x, promote_integers=False), lambda x: jnp.sum(x, promote_integers=False), small)
    with pytest.raises(ValueError, match="complex dtype"):
        pnp.var(data((3,), "complex64"), dtype="float32")


def test_integers_with_64_bit_types():
    with pb.enable_x64(True):
        assert pnp.sum(np.ones(3, "int32")).dtype == np.int64
        assert pnp.mean(np.ones(3, "int64")).dtype == np.float64
        assert pnp.argmax(np.ones(3)).dtype == np.int64


def test_means_of_half_precision_do_not_overflow():
    x = np.full(1000, 1000.0, "float16")
    close(pnp.mean(x), np.float16(1000))
    close(pb.jit(pnp.mean)(x), np.float16(1000))
    close(pnp.var(x), np.float16(0))


def test_freedom_of_variances():
    x = data((3, 4))
    for options in (
        {"ddof": 1},
        {"correction": 1},
        {"axis": 0, "ddof": 2, "keepdims": True},
        {"axis": 1, "mean": x.mean(1, keepdims=True)},
        {"axis": 0, "ddof": 3},
    ):
        agree(pnp.var, jnp.var, x, **options)
    assert np.isnan(pnp.var(x[:1], axis=0, ddof=2)).all()
    with pytest.raises(ValueError, match="two names"):
        pnp.std(x, ddof=1, correction=2)


def test_average():
    x, w = data((3, 4)), np.abs(data((3, 4)))
    for options in (
        {},
        {"weights": w},
        {"axis": 1, "weights": w[0]},
        {"axis": (0, 1)},
        {"axis": 1, "returned": True},
        {"axis": 0, "returned": True, "weights": w, "keepdims": True},
    ):
        agree(pnp.average, jnp.average, x, **options)
    check_value(
        lambda x: pnp.average(x, weights=np.arange(3)), lambda x: jnp.average(x, weights=np.arange(3)), np.arange(3)
    )
    with pytest.raises(ValueError, match="weights must have the shape of a"):
        pnp.average(x, weights=w[0])


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std"])
def test_rules(name):
    x = rng.permutation(12).reshape(3, 4).astype("float32") / 4 + 0.25
    f = getattr(pnp, name)
    check_derivative(f, x[:, :2])
    check_derivative(lambda x: f(x, axis=0, keepdims=True), x)
    check_batching(lambda x: f(x, axis=-1), x)


@pytest.mark.parametrize("name", NAN_NAMES)
def test_without_nan(name):
    x = holes((4, 5))
    f, g = getattr(pnp, name), getattr(jnp, name)
    for axis, keepdims in ((None, False), (0, True), (1, False)):
        agree(f, g, x, axis=axis, keepdims=keepdims)
    check_value(f, g, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("name", ["nansum", "nanmax", "nanmean", "nanvar"])
def test_gradients_without_nan_are_finite(name):
    x = holes((4, 5))
    f, g = getattr(pnp, name), getattr(jnp, name)
    gradient = pb.grad(f)(x)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, jax.grad(g)(x), rtol=1e-4, atol=1e-6)
    mask = data((4, 5), "bool")
    kept = {"where": mask, "initial": -5.0} if name == "nanmax" else {"where": mask}
    check_value(lambda x: f(x, **kept), lambda x: g(x, **kept), x)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "nancumsum", "nancumprod"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "complex64"])
def test_running_sums_and_products(name, dtype):
    x = holes((3, 4)) if name.startswith("nan") and dtype == "float32" else data((3, 4), dtype)
    f, g = getattr(pnp, name), getattr(jnp, name)
    for axis in (None, 0, -1):
        agree(f, g, x, axis=axis)
    check_value(lambda x: f(x, 0, dtype="complex64"), lambda x: g(x, 0, dtype="complex64"), x)


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_running_sums_with_the_initial_one(name):
    f, g = getattr(pnp, name), getattr(jnp, name)
    for options in ({"axis": 1}, {"axis": 0, "include_initial": True}, {"axis": 0, "dtype": "float32"}):
        agree(f, g, data((3, 4), "int8"), **options)
    check_value(f, g, data((4,)))
    with pytest.raises(ValueError, match="for vectors only"):
        f(data((2, 2)))
    with pytest.raises(ValueError, match="got a scalar"):
        f(1.0)


@pytest.mark.parametrize("name", ["quantile", "nanquantile", "percentile", "nanpercentile"])
def test_weighted_quantiles(name):
    """As NumPy's, which leaves out what has no weight at q = 0, where JAX does not."""
    x = np.array([[3.0, 1.0, 2.0, 2.0, 0.0], [5.0, 4.0, 4.0, 1.0, 3.0]])
    if "nan" in name:
        x[0, 2] = np.nan
    weights = np.array([[1, 2, 1, 0, 1], [0, 3, 1, 0, 2]])
    q = np.array([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]) * (100 if "percentile" in name else 1)
    for axis in (None, 0, 1, (0, 1)):
        for keepdims in (False, True):
            settings = {"axis": axis, "keepdims": keepdims, "method": "inverted_cdf"}
            expected = getattr(np, name)(x, q, weights=weights + (axis == 0), **settings)
            run = pb.jit(lambda x, w, settings=settings: getattr(pnp, name)(x, q, weights=w, **settings))
            np.testing.assert_array_equal(run(x, weights + (axis == 0)), expected)
    vector = getattr(np, name)(x, q, axis=1, weights=np.stack([weights[0]] * 2), method="inverted_cdf")
    np.testing.assert_array_equal(getattr(pnp, name)(x, q, axis=1, weights=weights[0], method="inverted_cdf"), vector)


def test_the_derivative_of_a_weighted_quantile():
    def median(x):
        return pnp.quantile(x, 0.5, weights=np.array([1, 1, 5]), method="inverted_cdf")

    np.testing.assert_array_equal(pb.grad(median)(np.array([3.0, 1.0, 2.0])), [0.0, 0.0, 1.0])
    assert np.isnan(pnp.quantile(np.ones(2), 0.5, weights=np.zeros(2), method="inverted_cdf"))


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, method):
    q = np.array([0, 0.1, 0.5, 0.77, 1], "float32")
    f, g = getattr(pnp, name), getattr(jnp, name)
    x = data((4, 5))
    for axis, keepdims in ((None, True), (0, False), ((0, 1), False)):
        agree(f, g, x, q, axis=axis, keepdims=keepdims, method=method)
    check_value(lambda x: f(x, 0.3, method=method), lambda x: g(x, 0.3, method=method), np.arange(7))
    np.testing.assert_allclose(
        pb.grad(lambda x: f(x, 0.3, method=method))(x),
        jax.grad(lambda x: g(x, 0.3, method=method))(x),
        rtol=1e-4,
        atol=1e-6,
    )
    with_nan = holes((4, 5))
    check_value(lambda x: f(x, q[1:4], axis=1, method=method), lambda x: g(x, q[1:4], axis=1, method=method), with_nan)


def test_medians_and_percentiles():
    for x in (data((4, 5)), data((3, 4), "float16"), np.arange(8), holes((4, 5))):
        for axis in (None, 0, -1):
            agree(pnp.median, jnp.median, x, axis=axis)
    x, q = data((4, 5)), np.array([10, 90])
    check_value(lambda x, q: pnp.percentile(x, q, 1), lambda x, q: jnp.percentile(x, q, 1), x, q)
    check_value(lambda x, q: pnp.nanpercentile(x, q, 1), lambda x, q: jnp.nanpercentile(x, q, 1), holes((4, 5)), q)
    assert pnp.quantile(np.array([1, 2, np.inf], "float32"), 1.0) == np.inf
    check_derivative(lambda x: pnp.median(x, axis=0), rng.permutation(12).reshape(4, 3).astype("float32"))
    check_batching(lambda x: pnp.median(x, axis=0), x)


REFUSED = [
    (partial(pnp.sum, [1, 2]), TypeError, "sum: argument 0: expected an array or a number, got"),
    (partial(pnp.sum, np.zeros(3), axis=1), ValueError, "sum: axis 1 is out of bounds for an array of 1 axes"),
    (partial(pnp.sum, np.zeros((3, 3)), axis=(0, -2)), ValueError, "names an axis twice"),
    (partial(pnp.sum, np.zeros(3), axis="x"), TypeError, "sum: an axis must be an int, got 'x' of type str"),
    (partial(pnp.sum, np.zeros(3), out=np.zeros(())), NotImplementedError, "'out' is not supported"),
    (partial(pnp.sum, np.zeros(3), where=np.zeros(3)), TypeError, "where must be a mask of bools"),
    (partial(pnp.sum, np.zeros(3), initial=np.zeros(3)), ValueError, "initial must be a scalar"),
    (partial(pnp.max, np.zeros((3, 0)), axis=1), ValueError, "has no elements"),
    (partial(pnp.max, np.zeros(3), where=np.ones(3, bool)), ValueError, "with where, give initial"),
    (partial(pnp.argmax, np.zeros((0,))), ValueError, "no element to point at"),
    (partial(pnp.argmax, np.zeros((2, 2)), axis=(0, 1)), TypeError, "axis must be an int"),
    (partial(pnp.quantile, np.zeros(3), 0.5, method="best"), ValueError, "method must be one of linear"),
    (partial(pnp.quantile, np.zeros(0), 0.5), ValueError, "there are no elements"),
    (partial(pnp.quantile, np.zeros(3), 0.5, weights=np.ones(3)), ValueError, "method must be 'inverted_cdf'"),
    (
        partial(pnp.quantile, np.zeros(3), 0.5, weights=np.ones(2), method="inverted_cdf"),
        ValueError,
        "weights must have",
    ),
    (partial(pnp.quantile, np.zeros(3), 0.5, weights=-np.ones(3), method="inverted_cdf"), ValueError, "be negative"),
    (partial(pnp.median, np.zeros(3, "complex64")), ValueError, "complex numbers have no order"),
    (partial(pnp.percentile, np.zeros(3), 50, weights=np.ones(3)), ValueError, "method must be 'inverted_cdf'"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
