"""Stacks of small matrices entry by entry: LAPACK's pivots and NumPy's values, bad scales, singular matrices."""

import jax
import numpy as np
import pytest
from agreement import close

import pullback as pb
import pullback.numpy as pnp
from pullback._ops.lu import lu_p
from pullback._ops.small_matrices import are_small_and_many
from pullback._ops.triangular_solve import triangular_solve_p
from pullback.lax import linalg

COUNT = 1000
LENGTHS = (2, 3, 4)


def matrices(n, kind="any", dtype=np.float32):
    random = np.random.default_rng(n)
    x = random.standard_normal((COUNT, n, n))
    if kind == "badly scaled":
        x *= 10.0 ** random.integers(-8, 8, (COUNT, n, 1))
    if kind == "with zeros":
        x *= random.random(x.shape) < 0.7
        x[np.abs(np.linalg.det(x)) < 1e-2] = np.eye(n)[::-1]
    return x.astype(dtype)


def calls(function, *arrays):
    return pb.jit(function).lower(*arrays).as_text().count("custom_call")


@pytest.mark.parametrize("kind", ["any", "badly scaled", "with zeros"])
@pytest.mark.parametrize("n", LENGTHS)
def test_factors_pivots_and_permutations_are_those_of_lapack(n, kind):
    x = matrices(n, kind)
    assert not calls(linalg.lu, x)
    factors, pivots, permutation = pb.jit(linalg.lu)(x)
    for got, kernel in zip((pivots, permutation), lu_p.rule("kernel")(x)[1:], strict=True):
        np.testing.assert_array_equal(got, kernel)
    lower = np.tril(np.float64(factors), -1) + np.eye(n)
    rows = np.take_along_axis(np.float64(x), np.asarray(permutation)[..., None], 1)
    error = np.abs(lower @ np.triu(np.float64(factors)) - rows)
    # backward stable: Higham, Accuracy and Stability of Numerical Algorithms, theorem 9.3
    bound = n * np.finfo(np.float32).eps * (np.abs(lower) @ np.abs(np.triu(np.float64(factors))))
    assert (error <= bound).all()


@pytest.mark.parametrize("kind", ["any", "badly scaled", "with zeros"])
@pytest.mark.parametrize("n", LENGTHS)
def test_solutions_are_backward_stable_and_those_of_numpy(n, kind):
    x, b = matrices(n, kind), np.random.default_rng(0).standard_normal((COUNT, n, 2), dtype=np.float32)
    factors, _, permutation = map(np.asarray, pb.jit(linalg.lu)(x))
    growth = (np.abs(np.tril(np.float64(factors), -1)) + np.eye(n)) @ np.abs(np.triu(np.float64(factors)))
    growth = np.take_along_axis(growth, np.argsort(permutation)[..., None], 1)

    def transposed(a, b):
        return pb.vjp(lambda b: pnp.linalg.solve(a, b), b)[1](b)[0]

    for solved, order in ((pnp.linalg.solve, (0, 1, 2)), (transposed, (0, 2, 1))):
        assert not calls(solved, x, b)
        y = np.float64(pb.jit(solved)(x, b))
        # backward stable: Higham, Accuracy and Stability of Numerical Algorithms, theorem 9.4
        bound = 3 * n * np.finfo(np.float32).eps * growth.transpose(order) @ np.abs(y)
        assert (np.abs(np.float64(x).transpose(order) @ y - b) <= bound).all()


@pytest.mark.parametrize("n", LENGTHS)
def test_inverses_of_singular_matrices_are_not_finite(n):
    x = matrices(n)
    x[0], x[1], x[2, :, 0], x[3, 1] = 0, 1, 0, x[3, 0]
    x[4, 0, 0] = np.nan
    y = np.asarray(pb.jit(pnp.linalg.inv)(x))
    for i in range(5):
        assert not np.isfinite(y[i]).all()
    assert np.isfinite(y[5:]).all()
    factors, pivots, _ = pb.jit(linalg.lu)(x)
    expected = lu_p.rule("kernel")(x[:4])
    np.testing.assert_array_equal(pivots[:4], expected[1])
    np.testing.assert_allclose(factors[:4], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("left_side", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("unit_diagonal", [False, True])
def test_triangular_systems(lower, left_side, transpose_a, unit_diagonal):
    settings = {
        "left_side": left_side,
        "lower": lower,
        "transpose_a": transpose_a,
        "conjugate_a": True,
        "unit_diagonal": unit_diagonal,
    }
    a = matrices(3) + 3 * np.eye(3, dtype=np.float32)
    b = np.random.default_rng(1).standard_normal((COUNT, 3, 2) if left_side else (COUNT, 2, 3), dtype=np.float32)

    def solved(a, b):
        return triangular_solve_p.bind(a, b, **settings)

    assert not calls(solved, a, b)
    np.testing.assert_allclose(
        pb.jit(solved)(a, b), triangular_solve_p.rule("kernel")(a, b, **settings), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("n", LENGTHS)
def test_cholesky_factors_are_those_of_numpy_and_nan_unless_positive_definite(n):
    x = matrices(n, dtype=np.float64)
    x = (x @ x.swapaxes(1, 2) + 0.1 * np.eye(n)).astype(np.float32)
    assert not calls(linalg.cholesky, x)
    np.testing.assert_allclose(pb.jit(linalg.cholesky)(x), np.linalg.cholesky(np.float64(x)), rtol=1e-3, atol=1e-3)
    x[0, 0, 0], x[1, n - 1, n - 1], x[2], x[3, 0, 0] = -1, -1, 0, np.nan
    y = np.asarray(pb.jit(linalg.cholesky)(x))
    for i in range(4):
        np.testing.assert_array_equal(y[i], np.tril(np.full((n, n), np.nan)))
    assert np.isfinite(y[4:]).all()


def test_derivatives_are_those_of_jax_in_both_modes():
    x, b = matrices(3)[:40] + 3 * np.eye(3, dtype=np.float32), np.ones((40, 3, 1), np.float32)

    def loss(lib):
        return lambda x, b: (lib.numpy.linalg.solve(x, b) ** 2).sum() + lib.numpy.linalg.slogdet(x)[1].sum()

    expected = jax.jit(jax.grad(loss(jax), (0, 1)))(x, b)
    assert not calls(pb.grad(loss(pb), (0, 1)), x, b)
    for got, wanted in zip(pb.jit(pb.grad(loss(pb), (0, 1)))(x, b), expected, strict=True):
        close(got, wanted)

    def pushed(lib):
        return lambda x: lib.jvp(lib.vmap(lib.numpy.linalg.inv), (x,), (x,))[1]

    close(pb.jit(pushed(pb))(x), jax.jit(pushed(jax))(x))


def test_few_large_and_complex_matrices_are_left_to_lapack():
    for shape, dtype in (((8, 3, 3), "f4"), ((999, 4, 4), "f4"), ((COUNT, 5, 5), "f4"), ((COUNT, 3, 3), "c8")):
        x = pb.ShapeDtypeStruct(shape, np.dtype(dtype))
        assert not are_small_and_many(pb.make_jaxpr(pnp.linalg.inv)(x).jaxpr.invars[0].aval)
        assert calls(pnp.linalg.inv, x)
    # many right-hand sides are LAPACK's work
    x, b = matrices(3), np.ones((COUNT, 3, 50), np.float32)
    assert calls(pnp.linalg.solve, x, b) == 2
