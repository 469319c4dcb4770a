"""Functions with a name, functions by platform, an operand by name, and functions applied where they are scattered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import close
from jax import lax as jlax

import pullback as pb
from pullback import lax


def test_a_composite_is_its_decomposition():
    def scaled(x, *, factor=1.0, other=None):
        assert other is None
        return lax.sin(x) * factor

    f = lax.composite(scaled, "my.scaled", version=2)
    assert f.__name__ == "scaled"
    np.testing.assert_allclose(pb.jit(lambda x: f(x, factor=2.0, other=None))(0.5), 2 * np.sin(0.5), rtol=1e-6)
    np.testing.assert_allclose(pb.grad(f)(0.5), np.cos(0.5), rtol=1e-6)
    with pytest.raises(TypeError, match="composite: name must be a string"):
        lax.composite(scaled, 3)
    with pytest.raises(TypeError, match="composite: expected a function"):
        lax.composite(3, "three")


def test_the_function_of_the_platform():
    x = np.arange(3.0, dtype="float32")

    def raised(x):
        return lax.platform_dependent(x, cpu=lambda x: x + 1, default=lambda x: x)

    close(pb.jit(raised)(x), x + 1)
    close(lax.platform_dependent(x, tpu=lambda x: x, default=lambda x: 2 * x), 2 * x)
    with pytest.raises(NotImplementedError, match=r"no function for it among \['tpu'\]"):
        lax.platform_dependent(x, tpu=lambda x: x)
    with pytest.raises(TypeError, match="platform_dependent: cpu: expected a function"):
        lax.platform_dependent(x, cpu=3)


def test_the_operand_by_name():
    for L in (lax, jlax):
        assert float(L.cond(True, lambda x: x + 1, lambda x: x, operand=2.0)) == 3.0
        assert float(L.cond(False, lambda _: 1.0, lambda _: 2.0, operand=None)) == 2.0
        assert float(L.switch(1, [lambda x: x, lambda x: 10 * x], operand=2.0)) == 20.0

    def squared(x):
        return lax.cond(True, lambda y: y * y, lambda y: y, operand=x)

    assert float(pb.grad(squared)(3.0)) == 6.0
    with pytest.raises(TypeError, match=r"cond: .*operand"):
        lax.cond(True, lambda x: x, lambda x: x, 1.0, operand=2.0)


def test_functions_applied_where_they_are_scattered():
    x = np.arange(1.0, 6.0, dtype="float32")
    indices = np.array([[0], [3], [0], [9]])

    def squared_and_raised(v):
        return v * v + 1

    def of(L):
        element = L.ScatterDimensionNumbers((), (0,), (0,))
        return lambda x: L.scatter_apply(x, indices, squared_and_raised, element, update_shape=(4,))

    close(of(lax)(x), of(jlax)(jnp.asarray(x)))
    close(pb.jit(of(lax))(x), jax.jit(of(jlax))(x))
    # twice at 0: (x**2 + 1)**2 + 1
    gradient = pb.grad(lambda x: of(lax)(x).sum())(x)
    np.testing.assert_allclose(gradient, [4 * x[0] * (x[0] ** 2 + 1), 1, 1, 2 * x[3], 1], rtol=1e-5)
    numbers = lax.ScatterDimensionNumbers((1,), (0,), (0,))
    rows = lax.scatter_apply(np.ones((3, 2), "float32"), np.array([[1]]), lambda v: v + 1, numbers, update_shape=(1, 2))
    close(rows, np.array([[1, 1], [2, 2], [1, 1]], "float32"))
