"""Stacks, repetitions and broadcasts of `lax`, slices at positions, approximate extremes, and asked-for accuracy."""

import jax
import numpy as np
import pytest
from agreement import Sampler, agree, check_derivative, close
from jax import lax as jlax

import pullback as pb
from pullback import lax

data = Sampler(7)
DTYPES = ["bool", "int8", "float16", "bfloat16", "float32", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes_in_every_dtype(dtype):
    x, y = data((2, 3), dtype), data((2, 3), dtype)
    for axis in (0, 1, -1):
        agree(lambda x, y, axis=axis: lax.stack([x, y], axis), lambda x, y, axis=axis: jlax.stack([x, y], axis), x, y)
        agree(lambda x, axis=axis: lax.unstack(x, axis), lambda x, axis=axis: jlax.unstack(x, axis), x)
    for reps in ((2, 3), (1, 1), (0, 2)):
        agree(lambda x, reps=reps: lax.tile(x, reps), lambda x, reps=reps: jlax.tile(x, reps), x)
    agree(lax.broadcast_to_rank, jlax.broadcast_to_rank, x, rank=4)
    agree(
        lambda x: lax.broadcast_like(x, np.zeros((4, 2, 3))), lambda x: jlax.broadcast_like(x, np.zeros((4, 2, 3))), x
    )


def test_scalars_empty_arrays_and_types():
    close(lax.tile(np.float32(2), ()), np.float32(2))
    close(lax.stack([1.0, 2.0]), np.array([1, 2], "float32"))
    assert lax.unstack(np.zeros((0, 2))) == ()
    close(lax.shape_as_value((2, 3)), np.array([2, 3], "int32"))
    close(lax.shape_as_value(()), np.array([], "int32"))
    assert lax.empty((2, 3), "int8").dtype == "int8"
    assert [lax.dtype(v) for v in (1, 1.0, True, np.int8(1), np.zeros(2), float)] == [
        "int32",
        "float32",
        "bool",
        "int8",
        "float32",
        "float32",
    ]


def test_slices_at_positions():
    x = data((4, 3, 2))
    places = (np.array([0, -1, 2]), np.array([2, 0, 1]))
    close(lax.index_take(x, places, (0, 1)), x[places])
    close(lax.index_take(x, places[:1], (0,)), jlax.index_take(x, places[:1], (0,)))
    check_derivative(lambda x: lax.index_take(x, places, (0, 1)), x)


@pytest.mark.parametrize("name", ["approx_max_k", "approx_min_k"])
def test_approximate_extremes_are_exact(name):
    x = data((3, 20))
    sign = 1 if name == "approx_max_k" else -1
    for axis in (1, 0):
        values, places = getattr(lax, name)(x, 2, axis, recall_target=0.9, aggregate_to_topk=False)
        expected = sign * np.flip(np.sort(sign * x, axis), axis).take([0, 1], axis)
        close(values, expected)
        close(np.take_along_axis(x, np.asarray(places), axis), expected)
        assert places.dtype == "int32"
    check_derivative(lambda x: getattr(lax, name)(x, 2)[0], np.random.default_rng(0).permutation(20).astype("float32"))
    with pytest.raises(ValueError, match=f"{name}: recall_target"):
        getattr(lax, name)(x, 2, recall_target=0.0)


ACCURATE = ["cbrt", "cos", "exp", "exp2", "expm1", "log", "log1p", "logistic", "rsqrt", "sin", "sqrt", "tan", "tanh"]


@pytest.mark.parametrize("name", ACCURATE)
def test_the_accuracy_that_is_asked_for(name):
    f = getattr(lax, name)
    for accuracy in (None, lax.AccuracyMode.DEFAULT, lax.AccuracyMode.HIGHEST, lax.Tolerance(ulps=1)):
        assert f(0.5, accuracy=accuracy) == f(0.5)
        assert pb.jit(lambda x, a=accuracy: f(x, accuracy=a))(0.5) == pb.jit(f)(0.5)
    with pytest.raises(NotImplementedError, match=f"{name}: accuracy must be None"):
        f(0.5, accuracy=3)


def test_tolerances_and_algorithms():
    assert lax.Tolerance(rtol=1e-3) == lax.Tolerance(rtol=1e-3) != lax.Tolerance(rtol=1e-2)
    assert len({lax.Tolerance(rtol=1e-3), lax.Tolerance(rtol=1e-3)}) == 1
    with pytest.raises(ValueError, match="expected a positive atol, rtol or ulps"):
        lax.Tolerance()
    x = data((3, 3))
    for algorithm in (
        lax.DotAlgorithmPreset.DEFAULT,
        lax.DotAlgorithmPreset.BF16_BF16_F32,
        lax.DotAlgorithmPreset.F32_F32_F32,
        "BF16_BF16_F32_X3",
        lax.DotAlgorithm("bfloat16", "bfloat16", "float32"),
    ):
        close(lax.dot(x, x, precision=algorithm), x @ x)
    assert {*lax.DotAlgorithmPreset.__members__} == {*jlax.DotAlgorithmPreset.__members__}
    for preset in (lax.DotAlgorithmPreset.TF32_TF32_F32, "TF32_TF32_F32"):
        with pytest.raises(NotImplementedError, match="TF32_TF32_F32 is of other hardware"):
            lax.dot(x, x, precision=preset)
    for preset in lax.DotAlgorithmPreset:
        assert str(preset) == str(jlax.DotAlgorithmPreset[preset.name])
        with pb.default_matmul_precision(preset.name):
            assert pb.config.default_matmul_precision == preset.name


def test_derivatives_of_the_incomplete_gamma_function_and_of_gamma_samples():
    a, x = np.array([0.5, 2, 10], "float32"), np.array([0.1, 2, 12], "float32")
    close(lax.igamma_grad_a(a, x), jlax.igamma_grad_a(a, x))
    close(lax.random_gamma_grad(a, x), jlax.random_gamma_grad(a, x), 10)
    np.testing.assert_allclose(lax.igamma_grad_a(a, x), pb.vmap(pb.grad(lax.igamma))(a, x))


PRIMITIVES = [name for name in dir(jlax) if name.endswith("_p")]


def test_primitives_stand_under_the_names_of_jax():
    there = [name for name in PRIMITIVES if hasattr(lax, name)]
    assert len(there) > 130
    closed = pb.make_jaxpr(lambda x: lax.add(lax.exp(x), x))(1.0)
    assert [eqn.primitive for eqn in closed.jaxpr.eqns] == [lax.exp_p, lax.add_p]
    assert len({id(getattr(lax, name)) for name in there}) == len(there)


def test_primitives_that_are_compositions():
    x = data((1, 3))
    close(lax.squeeze_p.bind(x, dimensions=(0,)), x[0])
    close(lax.tile_p.bind(x, reps=(2, 1)), np.tile(x, (2, 1)))
    close(lax.stack_p.bind(x, x, axis=0), np.stack([x, x]))
    close(lax.unstack_p.bind(x, axis=1)[2], x[:, 2])
    close(lax.copy_p.bind(x), x)
    close(lax.select_n_p.bind(x > 0, x, -x), np.where(x > 0, -x, x))
    close(
        lax.approx_top_k_p.bind(x, k=1, reduction_dimension=1, recall_target=0.9, is_max_k=False)[0], x.min(1)[:, None]
    )
    close(jax.numpy.asarray(pb.grad(lambda x: lax.squeeze_p.bind(x, dimensions=(0,)).sum())(x)), np.ones_like(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lax.stack([]), "stack: expected arrays of one shape"),
        (lambda: lax.stack([np.ones(2), np.ones(3)]), "stack: expected arrays of one shape"),
        (lambda: lax.tile(np.ones(2), (1, 2)), "tile: reps must have a number"),
        (lambda: lax.tile(np.ones(2), (-1,)), "tile: reps must have a number"),
        (lambda: lax.broadcast_to_rank(np.ones((2, 2)), 1), "expected a rank of at least 2"),
        (lambda: lax.index_take(np.ones((2, 2)), (np.arange(2),), (0, 1)), "a vector of positions for each"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
