"""`optimization_barrier` and what is said about order and place, which changes no value."""

import numpy as np
import pytest

import pullback as pb
from pullback import lax


def test_values_pass_a_barrier_in_every_transformation():
    def f(x, y):
        a, (b,) = lax.optimization_barrier((x * 2, (lax.sin(y),)))
        return a * b

    x, y = np.float32(3), np.float32(0.5)
    expected = 6 * np.sin(0.5)
    for run in (f, pb.jit(f)):
        np.testing.assert_allclose(run(x, y), expected, rtol=1e-6)
        np.testing.assert_allclose(pb.grad(run)(x, y), 2 * np.sin(0.5), rtol=1e-6)
        np.testing.assert_allclose(pb.grad(run, 1)(x, y), 6 * np.cos(0.5), rtol=1e-6)
        np.testing.assert_allclose(pb.jvp(run, (x, y), (x, x * 0))[1], expected, rtol=1e-6)
        np.testing.assert_allclose(pb.vmap(run, (0, None))(np.full(3, x), y), [expected] * 3, rtol=1e-6)
    assert "optimization_barrier" in pb.jit(f).lower(x, y).as_text()


def test_constants_and_integers_pass():
    (i, x) = lax.optimization_barrier((np.arange(3), 2.0))
    assert i.dtype == "int32"
    assert float(x) == 2.0
    assert lax.optimization_barrier(()) == ()
    gradient = pb.grad(lambda x: lax.optimization_barrier((x, np.arange(3)))[0])(2.0)
    assert float(gradient) == 1.0


def test_tokens():
    token = lax.create_token()
    assert lax.after_all(token, lax.create_token()).shape == (0,)
    with pytest.raises(TypeError, match="after_all: expected tokens"):
        lax.after_all(np.ones(2))
    x = {"a": np.ones(2)}
    assert lax.dce_sink(x) is None
    assert lax.stage(1.0).dtype == "float32"


def test_a_leaf_that_is_no_array_is_refused():
    with pytest.raises(TypeError, match="optimization_barrier"):
        lax.optimization_barrier("text")
