"""Arrays in the hands of other libraries: what takes array-likes or follows the array API takes these arrays.

Libraries that are not installed are skipped: the tests need none of them.
"""

import copy
import io
import os
import pickle
import subprocess
import sys

import cloudpickle
import numpy as np
import opt_einsum
import pytest

import pullback as pb
import pullback.numpy as pnp

X = pnp.arange(6.0).reshape(2, 3)
VALUES = np.arange(6.0, dtype=np.float32).reshape(2, 3)


def library(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


def test_memoryviews_are_made_of_numpy_s_view():
    view = memoryview(np.asarray(X))
    assert (view.shape, view.format, view.readonly) == ((2, 3), "f", True)
    assert view.tolist() == VALUES.tolist()


@pytest.mark.parametrize("module", [pickle, cloudpickle])
@pytest.mark.parametrize("value", [X, pnp.ones(2, "bfloat16"), {"a": [X, 1]}, pb.random.key(0)])
def test_pickles(module, value):
    back = module.loads(module.dumps(value))
    for got, expected in zip(pb.tree.leaves(back), pb.tree.leaves(value), strict=True):
        assert type(got) is type(expected)
        assert np.all(np.asarray(got == expected))


def test_copies():
    assert copy.copy(X).shape == copy.deepcopy(X).shape == (2, 3)


def test_a_compiled_function_of_a_closure_is_pickled_by_cloudpickle():
    scale = pnp.array(2.0)

    def double(x):
        return scale * x

    back = cloudpickle.loads(cloudpickle.dumps(double))
    np.testing.assert_array_equal(np.asarray(pb.jit(back)(X)), 2 * VALUES)


def test_opt_einsum_contracts_and_differentiates():
    expression = opt_einsum.contract_expression("ij,jk,kl->il", (2, 3), (3, 2), (2, 2))
    product = expression(X, X.T, pnp.eye(2), backend="pullback.numpy")
    np.testing.assert_allclose(np.asarray(product), VALUES @ VALUES.T, rtol=1e-6)
    slope = pb.grad(lambda x: opt_einsum.contract("ij,ij->", x, x, backend="pullback.numpy"))(X)
    np.testing.assert_allclose(np.asarray(slope), 2 * VALUES, rtol=1e-6)


def test_numpy_reads_arrays_on_either_side():
    assert isinstance(np.ones(3) + X, pb.Array)
    assert isinstance(X * np.float32(2), pb.Array)
    np.testing.assert_array_equal(np.vstack([X, VALUES]), np.vstack([VALUES, VALUES]))
    np.testing.assert_array_equal(np.linalg.norm(X), np.linalg.norm(VALUES))
    assert VALUES[pnp.array([1]), 0] == 3


def test_einops_by_the_array_api():
    einops = library("einops.array_api")
    moved = einops.rearrange(X, "a (b c) -> (a b) c", b=3)
    assert isinstance(moved, pb.Array)
    np.testing.assert_array_equal(np.asarray(moved), VALUES.reshape(6, 1))
    np.testing.assert_allclose(np.asarray(einops.reduce(X, "a b -> b", "mean")), VALUES.mean(0))
    traced = pb.jit(lambda x: einops.repeat(x, "a b -> a (b r)", r=2))(X)
    np.testing.assert_array_equal(np.asarray(traced), np.repeat(VALUES, 2, axis=1))


def as_jax(code):
    """Run a program of a library that knows JAX's arrays, with pullback's in their place."""
    command = [sys.executable, "-W", "ignore", "-m", "pullback.as_jax", "-c", code]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_einops_on_what_it_takes_for_jax():
    library("einops")
    as_jax("""
import einops, jax, jax.numpy as jnp, numpy as np
x = jnp.arange(6.).reshape(2, 3)
assert einops.rearrange(x, "a b -> (b a)").tolist() == [0, 3, 1, 4, 2, 5]
slope = jax.grad(lambda x: einops.einsum(x, x, "a b, a b ->"))(x)
np.testing.assert_array_equal(slope, 2 * x)
assert jax.jit(lambda x: einops.reduce(x, "a b -> b", "max"))(x).tolist() == [3, 4, 5]
""")


def test_array_api_compat():
    compat = library("array_api_compat")
    xp = compat.array_namespace(X)
    assert xp is pnp
    assert compat.is_array_api_obj(X)
    assert compat.device(X) == X.device
    assert compat.size(X) == 6


def test_array_api_extra():
    extra = library("array_api_extra")
    np.testing.assert_allclose(np.asarray(extra.cov(X)), np.cov(VALUES))
    np.testing.assert_array_equal(np.asarray(extra.kron(pnp.eye(2), X)), np.kron(np.eye(2), VALUES))
    assert isinstance(extra.sinc(X), pb.Array)


def test_scipy_dispatches_by_the_array_api():
    as_jax("""
import numpy as np, scipy.special, scipy.stats, scipy.signal, jax, jax.numpy as jnp
x = jnp.linspace(0.5, 2.0, 6)
for function in (scipy.special.logsumexp, scipy.special.softmax, scipy.stats.skew, scipy.stats.zscore,
                 scipy.stats.gmean, scipy.special.gammaln, scipy.stats.variation, scipy.special.entr):
    got = function(x)
    assert isinstance(got, jax.Array), (function, type(got))
    np.testing.assert_allclose(np.asarray(got), function(np.asarray(x)), rtol=1e-5, atol=1e-6)
""")


def test_scikit_learn_dispatches_by_the_array_api():
    library("sklearn")
    as_jax("""
import numpy as np, sklearn
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error
import jax.numpy as jnp
x, y = jnp.arange(4.), jnp.array([0., 1., 2.5, 3.])
with sklearn.config_context(array_api_dispatch=True):  # its estimators write into arrays: JAX's are refused too
    for score in (mean_squared_error, mean_absolute_error):
        np.testing.assert_allclose(float(score(x, y)), score(np.asarray(x), np.asarray(y)), rtol=1e-6)
    assert float(accuracy_score(jnp.array([0, 1, 1, 1]), jnp.array([0, 1, 0, 1]))) == 0.75
""")


def test_joblib():
    joblib = library("joblib")
    assert joblib.hash(X) == joblib.hash(pnp.arange(6.0).reshape(2, 3)) != joblib.hash(X + 1)
    file = io.BytesIO()
    joblib.dump({"x": X}, file)
    file.seek(0)
    np.testing.assert_array_equal(np.asarray(joblib.load(file)["x"]), VALUES)


def test_pandas():
    pandas = library("pandas")
    frame = pandas.DataFrame({"a": X[0], "b": X[1]})
    assert frame["b"].tolist() == [3.0, 4.0, 5.0]
    np.testing.assert_array_equal(np.asarray(pnp.asarray(frame)), VALUES.T)
    series = pandas.Series(np.ones(3)) + X[0]
    assert isinstance(series, pandas.Series)
    assert isinstance(X[0] + pandas.Series(np.ones(3)), pandas.Series)


def test_polars():
    polars = library("polars")
    series = polars.Series("a", np.asarray(X[0]))
    assert series.to_list() == [0.0, 1.0, 2.0]
    assert pnp.asarray(series).tolist() == [0.0, 1.0, 2.0]


def test_xarray():
    xarray = library("xarray")
    labelled = xarray.DataArray(np.asarray(X), dims=("t", "x"))
    assert isinstance(X + labelled, xarray.DataArray)
    wrapped = xarray.DataArray(X, dims=("t", "x"))
    np.testing.assert_array_equal(np.asarray(wrapped.mean("t").data), VALUES.mean(0))


def test_matplotlib():
    library("matplotlib").use("agg")
    from matplotlib.figure import Figure

    figure = Figure()
    (line,) = figure.subplots().plot(X[0], X[1])
    figure.subplots().imshow(X)
    np.testing.assert_array_equal(line.get_ydata(), VALUES[1])


def test_jaxtyping_with_beartype():
    jaxtyping, beartype = library("jaxtyping"), library("beartype")
    kind = jaxtyping.Float[pb.Array, "2 3"]
    assert isinstance(X, kind)
    assert not isinstance(X.T, kind)

    @jaxtyping.jaxtyped(typechecker=beartype.beartype)
    def first(x: jaxtyping.Float[pb.Array, "n m"]) -> jaxtyping.Float[pb.Array, " n"]:  # noqa: F722
        return x[:, 0]

    assert pb.jit(first)(X).shape == (2,)
    with pytest.raises(jaxtyping.TypeCheckError):
        first(X[0])
