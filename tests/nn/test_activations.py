"""nn and scipy.special: values, dtypes and derivatives are JAX's, and what is safer than JAX's is said and tested."""

import jax
import jax.nn as jnn
import jax.numpy as jnp
import jax.scipy.special as jspecial
import numpy as np
import pytest
from agreement import check_batching, check_derivative

import pullback as pb
from pullback import nn, random
from pullback.scipy import special

RNG = np.random.default_rng(0)
POINTS = np.array([0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3.7, -3.7, 3, -3, 6, 30, -30, 100, -100, 1e-4], np.float32)
HALF = 0.5
ACTIVATIONS = ["relu", "relu6", "sigmoid", "softplus", "log_sigmoid", "soft_sign", "silu", "mish", "gelu", "elu",
               "selu", "celu", "leaky_relu", "hard_tanh", "hard_sigmoid", "hard_silu", "squareplus", "sparse_plus",
               "sparse_sigmoid", "tanh", "identity"]
SPECIAL = ["expit", "logit", "erf", "erfc", "erfinv", "ndtr", "ndtri", "log_ndtr", "gammaln", "digamma", "gamma",
           "entr", "i0", "i1", "i0e", "i1e", "gammasgn", "factorial"]


def close(got, expected, tolerance=2e-5):
    np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=tolerance,
                               atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    fun, oracle = getattr(nn, name), getattr(jnn, name)
    close(fun(POINTS), oracle(POINTS))
    close(pb.jit(fun)(POINTS), oracle(POINTS))
    close(pb.vmap(pb.grad(fun))(POINTS), jax.vmap(jax.grad(oracle))(POINTS))
    for x in (np.float16([0.5, -2]), jnp.bfloat16(0.75), HALF):
        got, expected = fun(x), oracle(x)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert got.weak_type == expected.weak_type
        close(got, expected, 2e-2)
    # JAX refuses integers in some of these
    assert fun(np.int32(2)).dtype == (np.int32 if name in ("relu", "hard_tanh", "identity") else np.float32)
    close(fun(2), fun(2.0))


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu", "gelu", "log_sigmoid", "mish"])
def test_second_derivatives_of_smooth_activations(name):
    fun, oracle = getattr(nn, name), getattr(jnn, name)
    close(pb.vmap(pb.grad(pb.grad(fun)))(POINTS), jax.vmap(jax.grad(jax.grad(oracle)))(POINTS), 1e-4)


def test_the_rectifier_has_derivative_zero_at_zero_and_keeps_nan():
    assert float(pb.grad(nn.relu)(0.0)) == 0
    assert float(pb.grad(pb.jit(nn.relu))(0.0)) == 0
    assert np.isnan(float(nn.relu(np.nan)))
    assert float(pb.grad(nn.relu)(np.inf)) == 1
    assert str(pb.make_jaxpr(nn.relu)(1.0)).count("\n") == 3


def test_parameters_of_activations():
    x = POINTS
    close(nn.elu(x, 0.5), jnn.elu(x, 0.5))
    close(nn.celu(x, 2.0), jnn.celu(x, 2.0))
    close(nn.leaky_relu(x, 0.2), jnn.leaky_relu(x, 0.2))
    close(nn.gelu(x, approximate=False), jnn.gelu(x, approximate=False))
    close(nn.squareplus(x, 1.0), jnn.squareplus(x, 1.0))
    close(pb.grad(lambda a: nn.elu(x, a).sum())(0.5), jax.grad(lambda a: jnn.elu(x, a).sum())(0.5))
    positive = np.float32([0.1, 0.5, 0.69, 0.7, 1, 10, 100])
    close(nn.log1mexp(positive), jnn.log1mexp(positive))
    close(pb.vmap(pb.grad(nn.log1mexp))(positive), jax.vmap(jax.grad(jnn.log1mexp))(positive))


def test_gated_linear_unit():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    close(nn.glu(x), jnn.glu(x))
    close(nn.glu(x[:2], axis=0), jnn.glu(x[:2], axis=0))
    check_derivative(nn.glu, x)
    with pytest.raises(ValueError, match=r"glu: axis 0 must have even length, got shape \(3, 4\)"):
        nn.glu(x, axis=0)


# ---- softmax and its relatives

ROWS = np.float32([[1, 2, 3], [1000, 0, -1000], [-np.inf, 0, 1], [5, 5, 5]])
MASK = np.array([[True, False, True], [True, True, True], [True, True, False], [False, True, False]])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name):
    fun, oracle = getattr(nn, name), getattr(jnn, name)
    for axis in (-1, 0, (0, 1), None):
        close(fun(ROWS, axis), oracle(ROWS, axis))
        close(pb.jit(lambda x, axis=axis: fun(x, axis))(ROWS), oracle(ROWS, axis))
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    weights = RNG.standard_normal((3, 4)).astype(np.float32)
    close(pb.grad(lambda x: (fun(x) * weights).sum())(x), jax.grad(lambda x: (oracle(x) * weights).sum())(x))
    check_derivative(fun, x)
    check_batching(fun, x)
    for y in (np.float16([1, 2]), jnp.bfloat16([1, 2])):
        assert fun(y).dtype == oracle(y).dtype
    assert fun(np.int32([1, 2])).dtype == np.float32
    assert fun(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_masked_softmax():
    close(nn.softmax(ROWS, where=MASK), jnn.softmax(ROWS, where=MASK))
    got = np.asarray(nn.log_softmax(ROWS, where=MASK))
    close(np.exp(got), nn.softmax(ROWS, where=MASK))
    # where nothing is left of a row, there is no weight, and no nan in values or gradients
    nothing = np.zeros((2, 3), bool)
    x = np.ones((2, 3), np.float32)
    assert not np.asarray(nn.softmax(x, where=nothing)).any()
    for masked in (nn.log_softmax, pb.jit(nn.log_softmax)):
        assert np.all(np.asarray(masked(x, where=nothing)) == -np.inf)
    assert not np.asarray(pb.grad(lambda x: pb.numpy.exp(nn.log_softmax(x, where=nothing)).sum())(x)).any()
    assert not np.asarray(pb.grad(lambda x: nn.softmax(x, where=nothing).sum())(x)).any()


def test_logsumexp():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    for kwargs in ({}, {"axis": 1}, {"axis": (0, 1), "keepdims": True}, {"axis": 0, "b": x**2}, {"axis": 1, "b": 2.0},
                   {"axis": 1, "where": x > 0}):
        close(nn.logsumexp(x, **kwargs), jnn.logsumexp(x, **kwargs))
        close(pb.grad(lambda x, k=kwargs: nn.logsumexp(x, **k).sum())(x),
              jax.grad(lambda x, k=kwargs: jnn.logsumexp(x, **k).sum())(x))
    value, sign = nn.logsumexp(x, axis=1, b=-1.0, return_sign=True)
    expected = jnn.logsumexp(x, axis=1, b=-1.0, return_sign=True)
    close(value, expected[0])
    close(sign, expected[1])
    assert np.isnan(np.asarray(nn.logsumexp(x, b=-1.0)))
    close(nn.logsumexp(np.float32([1000, 1000])), 1000 + np.log(2))
    z = (x + 1j * x[::-1]).astype(np.complex64)
    np.testing.assert_allclose(np.asarray(nn.logsumexp(z, 1)), np.asarray(jnn.logsumexp(z, 1)), rtol=1e-5)
    close(nn.logmeanexp(x, 1), jnn.logmeanexp(x, 1))
    assert special.logsumexp is nn.logsumexp


def test_logsumexp_of_infinities_has_safe_gradients():
    nothing = np.float32([-np.inf, -np.inf])
    assert float(nn.logsumexp(nothing)) == -np.inf
    assert np.asarray(pb.grad(nn.logsumexp)(nothing)).tolist() == [0, 0]
    assert np.asarray(pb.grad(nn.logsumexp)(np.float32([-np.inf, 1]))).tolist() == [0, 1]
    assert float(nn.logsumexp(np.float32([np.inf, 1]))) == np.inf
    # a weight of 0 takes even an infinite element out
    assert float(nn.logsumexp(np.float32([np.inf, 1]), b=np.float32([0, 1]))) == 1


def test_standardize():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    for kwargs in ({}, {"axis": 0}, {"mean": 0.5, "variance": 2.0}, {"epsilon": 0.1}, {"axis": (0, 1)}):
        close(nn.standardize(x, **kwargs), jnn.standardize(x, **kwargs))
    check_derivative(nn.standardize, x)
    mask = np.array([True, True, False, True])
    close(nn.standardize(x, where=mask), jnn.standardize(x, where=mask))


def test_one_hot():
    for x, n, kwargs in ((np.array([0, 2, -1, 5]), 3, {}), (np.uint8([[1, 0]]), 2, {"dtype": np.int32}),
                         (1, 3, {"dtype": bool}), (np.array([0, 2]), 3, {"axis": 0})):
        got, expected = nn.one_hot(x, n, **kwargs), jnn.one_hot(x, n, **kwargs)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    assert float(nn.one_hot(np.uint8(0), 300).sum()) == 1
    with pytest.raises(TypeError, match="one_hot: num_classes must be a Python integer"):
        pb.jit(nn.one_hot)(np.array([0]), 3)


# ---- initializers

FAMILY = ["glorot_uniform", "glorot_normal", "lecun_uniform", "lecun_normal", "he_uniform", "he_normal"]


@pytest.mark.parametrize("name", FAMILY)
def test_variance_scaling(name):
    init = getattr(nn.initializers, name)()
    x = np.asarray(init(random.key(1), (200, 300)))
    fans = {"glorot": 250, "lecun": 200, "he": 200}[name.split("_")[0]]
    scale = 2 if name.startswith("he") else 1
    np.testing.assert_allclose(x.var(), scale / fans, rtol=2e-2)
    np.testing.assert_allclose(x.mean(), 0, atol=1e-3)
    assert init(random.key(1), (3, 4), np.float16).dtype == np.float16
    close(init(random.key(7), (3, 4)), getattr(jnn.initializers, name)()(jax.random.key(7), (3, 4)))


@pytest.mark.parametrize(("shape", "axis"), [((4, 2), -1), ((2, 4), -1), ((3, 4, 2), 0), ((0, 3), -1)])
def test_orthogonal_matrices(shape, axis):
    ours = nn.initializers.orthogonal(2.0, axis)(random.key(1), shape)
    close(ours, jnn.initializers.orthogonal(2.0, axis)(jax.random.key(1), shape), 10)
    with pytest.raises(ValueError, match=r"orthogonal: .*matrix"):
        nn.initializers.orthogonal()(random.key(1), (3,))


def test_simple_initializers():
    key = random.key(0)
    assert np.asarray(nn.initializers.zeros(key, (2,))).tolist() == [0, 0]
    assert np.asarray(nn.initializers.ones(key, (2,), np.int32)).tolist() == [1, 1]
    assert np.asarray(nn.initializers.constant(3.0)(key, (2,))).tolist() == [3, 3]
    theirs = jax.random.key(0)
    close(nn.initializers.normal(0.5)(key, (4,)), jnn.initializers.normal(0.5)(theirs, (4,)))
    close(nn.initializers.uniform(0.5)(key, (4,)), jnn.initializers.uniform(0.5)(theirs, (4,)))
    close(nn.initializers.truncated_normal(0.5)(key, (4,)), jnn.initializers.truncated_normal(0.5)(theirs, (4,)))
    kernel = nn.initializers.variance_scaling(1.0, "fan_geo_avg", "normal", in_axis=2, out_axis=3)
    assert kernel(key, (3, 3, 8, 16)).shape == (3, 3, 8, 16)


def test_initializers_refuse_what_has_no_fans():
    with pytest.raises(ValueError, match=r"variance_scaling: fan_in .* by default need two axes, got shape \(3,"):
        nn.initializers.he_normal()(random.key(0), (3,))
    with pytest.raises(ValueError, match="mode must be one of"):
        nn.initializers.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ValueError, match="distribution must be one of"):
        nn.initializers.variance_scaling(1.0, "fan_in", "gauss")
    with pytest.raises(TypeError, match="must be floating-point"):
        nn.initializers.he_normal()(random.key(0), (3, 4), np.int32)


# ---- scipy.special


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name):
    fun, oracle = getattr(special, name), getattr(jspecial, name)
    x = np.float32([0.1, 0.25, 0.5, 0.75, 0.9])
    if name not in ("logit", "erfinv", "ndtri"):
        x = np.append(x, np.float32([-0.5, 1.5, 3, -2.5, 8]))
    close(fun(x), oracle(x), 1e-4)
    close(pb.jit(fun)(x), oracle(x), 1e-4)
    if name not in ("entr",):
        close(pb.vmap(pb.grad(fun))(x), jax.vmap(jax.grad(oracle))(x), 2e-4)
    assert fun(1).dtype == np.float32
    assert fun(np.float16(0.5)).dtype == np.float16


TWO = {"xlogy": (0, 1), "xlog1py": (0, 1), "betaln": (0, 1), "rel_entr": (0, 1), "kl_div": (0, 1), "gammainc": (1,),
       "gammaincc": (1,), "zeta": (1,), "beta": (0, 1), "poch": (0, 1)}


@pytest.mark.parametrize("name", TWO)
def test_special_functions_of_two_arguments(name):
    fun, oracle = getattr(special, name), getattr(jspecial, name)
    x, y = (a.ravel() for a in np.meshgrid(np.float32([1.5, 2.5, 10]), np.float32([0.1, 0.5, 1.25, 3, 12])))
    close(fun(x, y), oracle(x, y), 1e-4)
    close(pb.jit(fun)(x, y), oracle(x, y), 1e-4)
    for i in TWO[name]:
        close(pb.vmap(pb.grad(fun, i))(x, y), jax.vmap(jax.grad(oracle, i))(x, y), 5e-4)


def test_polygamma_and_betainc():
    x = np.float32([0.5, 1, 2.5])
    for n in (0, 1, 2):
        close(special.polygamma(n, x), jspecial.polygamma(n, x), 1e-4)
    close(pb.vmap(pb.grad(lambda x: special.polygamma(1, x)))(x), jspecial.polygamma(2, x), 1e-4)
    u = np.float32([0.1, 0.4, 0.8])
    close(special.betainc(2.0, 0.5, u), jspecial.betainc(2.0, 0.5, u), 1e-5)
    check_derivative(lambda u: special.betainc(2.0, 0.5, u), u)


def test_products_with_logarithms_at_zero():
    assert float(special.xlogy(0.0, 0.0)) == 0
    assert float(special.xlog1py(0.0, -1.0)) == 0
    assert np.isnan(float(special.xlogy(0.0, np.nan)))
    assert float(special.entr(0.0)) == 0
    assert float(special.entr(-1.0)) == -np.inf
    close(pb.grad(special.xlogy)(0.0, 2.0), np.log(2))
    assert float(pb.grad(special.entr)(0.0)) == np.inf


def test_the_tail_of_the_normal_distribution_keeps_its_digits():
    with pb.enable_x64():
        from scipy import special as oracle

        x = np.array([-1e4, -300.0, -100, -21, -19, -5, -1, 0.5, 3, 9, 40])
        np.testing.assert_allclose(np.asarray(special.log_ndtr(x)), oracle.log_ndtr(x), rtol=1e-13)
        density = np.exp(-(x**2) / 2 - oracle.log_ndtr(x)) / np.sqrt(2 * np.pi)
        # the slope of log_ndtr is nearly -x far below 0, where the quotient above has lost its digits
        slope = np.where(x < -50, -x - 1 / x, density)
        np.testing.assert_allclose(np.asarray(pb.vmap(pb.grad(special.log_ndtr))(x)), slope, rtol=1e-6)
    assert abs(float(pb.grad(special.log_ndtr)(-100.0)) - 100.01) < 1e-3


def test_names_are_those_of_jax():
    for module, theirs in ((nn, jnn), (special, jspecial), (nn.initializers, jnn.initializers)):
        for name in dir(module):
            if not name.startswith("_") and callable(getattr(module, name)) and name not in (
                    "Any", "Array", "Callable", "Protocol", "Sequence", "binary", "boundary", "canonical_shape",
                    "complex_numbers", "elementwise", "scalar", "unary"):
                assert hasattr(theirs, name), name
