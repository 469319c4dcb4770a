"""LU and Cholesky decompositions, triangular systems, solutions and determinants: as operations, with their rules."""

import functools

import jax
import numpy as np
import pytest
from agreement import Sampler, all_close, check_batching, check_value, close

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import determinants
from pullback._ops import lu as lu_ops
from pullback.test_util import check_grads

data = Sampler()


def definite(n, dtype="float32"):
    x = data((n, n), dtype)
    return (x @ x.conj().T + n * np.eye(n)).astype(dtype)


def solve(a, b):
    return lu_ops.solve("solve", pnp.asarray(a), pnp.asarray(b))


def det(a):
    return determinants.determinant(pnp.asarray(a))


def slogdet(a):
    return determinants.sign_and_log_of_determinant(pnp.asarray(a))


def names(jaxpr):
    """The names of all primitives in a jaxpr and those inside of it."""
    found = []
    for eqn in jaxpr.eqns:
        found.append(eqn.primitive.name)
        for value in eqn.params.values():
            found += names(getattr(value, "jaxpr", value)) if hasattr(getattr(value, "jaxpr", value), "eqns") else []
    return found


# --- the decomposition ---


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 3), "float32"),
        ((4, 2), "float32"),
        ((2, 2, 4), "complex64"),
        ((2, 0, 0), "float32"),
        ((0, 3), "float32"),
        ((3, 0), "float32"),
    ],
)
def test_lu(shape, dtype):
    check_value(lax.linalg.lu, jax.lax.linalg.lu, data(shape, dtype))


def test_lu_of_singular_and_of_nan():
    for x in (np.ones((3, 3), "float32"), np.zeros((2, 2), "float32"), np.array([[1, np.nan], [4, 5]], "float32")):
        expected = jax.lax.linalg.lu(x)
        for run in (lax.linalg.lu, pb.jit(lax.linalg.lu)):
            for got, e in zip(run(x), expected, strict=True):
                np.testing.assert_array_equal(got, e)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_of_lu(shape, dtype):
    with pb.enable_x64():
        check_grads(lambda x: lax.linalg.lu(x)[0], (data(shape, dtype),), order=2)


def test_lu_under_vmap():
    x = data((3, 2, 4, 4))
    for got, expected in zip(
        pb.jit(pb.vmap(lax.linalg.lu, in_axes=1))(x), lax.linalg.lu(x.swapaxes(0, 1)), strict=True
    ):
        close(got, expected)


def test_pivots_to_permutation():
    pivots = np.array([[2, 2, 4], [0, 1, 2]], "int32")
    f = lambda p: lax.linalg.lu_pivots_to_permutation(p, 5)  # noqa: E731
    check_value(f, lambda p: jax.lax.linalg.lu_pivots_to_permutation(p, 5), pivots)
    close(pb.vmap(f)(pivots), f(pivots))
    with pytest.raises(TypeError, match=r"expected pivots of int32, got f32\[2\]"):
        lax.linalg.lu_pivots_to_permutation(np.ones(2, "float32"), 2)
    with pytest.raises(ValueError, match=r"at most the permutation size, got shape \(2, 3\) and size 2"):
        lax.linalg.lu_pivots_to_permutation(pivots, 2)


# --- solutions ---


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_solutions(dtype):
    with pb.enable_x64(dtype == "float64"):
        a, b = data((4, 4), dtype), data((4, 2), dtype)
        for run in (solve, pb.jit(solve)):
            close(run(a, b), np.linalg.solve(a, b).astype(dtype), 20)


@pytest.mark.parametrize(
    ("left", "right"),
    [((), (3,)), ((2,), ()), ((2, 1), (3,)), ((2, 1, 3), (4, 1)), ((1,), (2, 3)), ((0,), ()), ((), (0,))],
)
def test_leading_axes_broadcast(left, right):
    a, b = definite(3) + data((*left, 3, 3)), data((*right, 3, 2))
    close(solve(a, b), np.linalg.solve(a, b), 10)


def test_a_matrix_for_many_is_decomposed_once():
    a, b = definite(3), data((5, 3, 2))
    seen = []
    for f in (
        solve,
        pb.vmap(solve, (None, 0)),
        pb.grad(lambda a, b: solve(a, b).sum(), (0, 1)),
        pb.grad(lambda a, b: pb.vmap(solve, (None, 0))(a, b).sum()),
    ):
        jaxpr = pb.make_jaxpr(f)(a, b).jaxpr
        seen.append([str(eqn.invars[0].aval.str_short()) for eqn in jaxpr.eqns if eqn.primitive.name == "lu"])
        assert all(eqn.invars[3].aval.shape == (3, 10) for eqn in jaxpr.eqns if eqn.primitive.name == "lu_solve")
    assert seen == [["f32[3,3]"]] * 4


def test_no_order_decomposes_again_or_looks_into_the_factors():
    a, b = definite(4), data((4, 1))
    for f in (lambda a: solve(a, b).sum(), det, lambda a: slogdet(a)[1]):
        second = lambda a, f=f: pb.jvp(pb.grad(f), (a,), (a,))  # noqa: E731
        found = names(pb.make_jaxpr(second)(a).jaxpr)
        assert found.count("lu") == 1
        assert "triangular_solve" not in found


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_of_solutions(dtype):
    with pb.enable_x64():
        a, b = definite(3, dtype), data((3, 2), dtype)
        check_grads(solve, (a, b), order=2)
        check_grads(solve, (a + data((2, 1, 3, 3), dtype) / 4, data((2, 3, 1), dtype)), order=2)


def test_rules_of_solutions():
    assert pb.check_rules(solve, definite(3), data((3, 2))).ok


def test_grad_of_vmap_of_jit():
    a, b = np.stack([definite(3), definite(3)]), data((2, 3, 1))
    f = lambda a, b: (pb.vmap(pb.jit(solve))(a, b) ** 2).sum()  # noqa: E731
    expected = jax.grad(lambda a, b: (jax.numpy.linalg.solve(a, b) ** 2).sum(), (0, 1))(a, b)
    all_close(pb.grad(f, (0, 1))(a, b), expected)
    all_close(pb.jit(pb.grad(f, (0, 1)))(a, b), expected)


def test_singular_systems_give_what_jax_gives():
    a = np.ones((2, 2), "float32")
    for b in ([1, 1], [1, 2], [0, 0]):
        b = np.array(b, "float32")[:, None]
        expected = jax.numpy.linalg.solve(a, b)
        assert not np.isfinite(expected).any()
        for run in (solve, pb.jit(solve)):
            np.testing.assert_array_equal(run(a, b), expected)


def test_one_singular_matrix_does_not_touch_the_others():
    a = np.stack([np.zeros((2, 2)), np.eye(2)]).astype("float32")
    for run in (solve, pb.jit(solve)):
        x = np.asarray(run(a, np.ones((2, 1), "float32")))
        assert not np.isfinite(x[0]).any()
        np.testing.assert_array_equal(x[1], 1)


# --- determinants ---


def by_minors(a):
    n = len(a)
    return np.array(
        [[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]
    )


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_determinants(n, dtype):
    with pb.enable_x64():
        a = data((2, n, n), dtype)
        close(det(a), np.linalg.det(a))
        all_close(slogdet(a), np.linalg.slogdet(a))
        if n:
            (gradient,) = pb.vjp(det, a)[1](np.ones(2, dtype))
            np.testing.assert_allclose(gradient, np.stack([by_minors(x) for x in a]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_compiled_determinants(dtype):
    a = data((2, 5, 5), dtype)
    both = lambda a: (det(a), *slogdet(a), pb.vjp(det, a)[1](np.ones(2, dtype))[0])  # noqa: E731
    all_close(pb.jit(both)(a), both(a), 20)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("n", [3, 4])
def test_second_derivatives_of_determinants(n, dtype):
    with pb.enable_x64():
        a = data((n, n), dtype)
        check_grads(det, (a,), order=2)
        check_grads(slogdet, (a,), order=2)


def test_the_gradient_of_det_at_every_rank():
    """Zeros may stand anywhere on the diagonal of the upper factor, and beside them anything."""
    with pb.enable_x64():
        for n in (3, 4, 6):
            for k in range(n):
                some = np.diag((np.arange(n) < k).astype("float64"))
                for a in (
                    data((n, k), "float64") @ data((k, n), "float64"),
                    2 * some,
                    some[::-1, ::-1],
                    some[:, ::-1],
                    np.eye(n, k=n - k),
                    np.triu(np.ones((n, n)), n - k),
                ):
                    np.testing.assert_allclose(pb.grad(det)(a), by_minors(a), atol=1e-10)


def test_the_gradient_of_det_does_not_divide():
    a = np.eye(6, k=1, dtype="float32")
    for run in (pb.grad(det), pb.jit(pb.grad(det))):
        np.testing.assert_array_equal(run(a), by_minors(a))
    full = np.arange(25, dtype="float32").reshape(5, 5)
    np.testing.assert_array_equal(pb.grad(det)(np.zeros((4, 4), "float32")), 0)
    assert np.abs(np.asarray(pb.grad(det)(full))).max() < 1e-1  # rank 2; the entries' products are of size 1e5


def test_the_hessian_of_det_of_up_to_three_rows_at_zero():
    hessian = np.asarray(pb.hessian(det)(np.zeros((2, 2), "float32"))).reshape(4, 4)
    np.testing.assert_array_equal(hessian, np.fliplr(np.diag([1, -1, -1, 1])))
    third = pb.jacfwd(pb.hessian(det))(np.zeros((3, 3), "float32"))
    assert (third[0, 0, 1, 1, 2, 2], third[0, 0, 1, 2, 2, 1]) == (1, -1)


def test_slogdet_of_singular():
    a = np.array([[1, 2], [2, 4]], "float32")
    for run in (slogdet, pb.jit(slogdet)):
        np.testing.assert_array_equal(run(a), [0, -np.inf])
    assert not np.isfinite(np.asarray(pb.grad(lambda a: slogdet(a)[1])(a))).all()


def test_determinants_under_vmap():
    a = data((4, 3, 4))
    close(pb.vmap(det, 1)(a), np.linalg.det(a.swapaxes(0, 1)))
    close(pb.jit(pb.vmap(pb.grad(det), 1))(a), pb.vmap(pb.grad(det), 1)(a))
    all_close(pb.vmap(slogdet, 1)(a), np.linalg.slogdet(a.swapaxes(0, 1)))


# --- triangular systems and the Cholesky decomposition ---


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("left_side", [True, False])
def test_triangular_solve(left_side, dtype):
    a, b = data((3, 3), dtype) + 3 * np.eye(3, dtype=dtype), data((3, 3), dtype)
    for lower in (True, False):
        for transpose_a, conjugate_a in ((False, False), (True, False), (True, True), (False, True)):
            for unit_diagonal in (False, True):
                options = {
                    "left_side": left_side,
                    "lower": lower,
                    "transpose_a": transpose_a,
                    "conjugate_a": conjugate_a,
                    "unit_diagonal": unit_diagonal,
                }
                t = np.tril(a) if lower else np.triu(a)
                if unit_diagonal:
                    t = t - np.diag(np.diag(t)) + np.eye(3, dtype=dtype)
                t = t.conj() if conjugate_a else t
                t = t.T if transpose_a else t
                expected = np.linalg.solve(t, b) if left_side else np.linalg.solve(t.T, b.T).T
                close(lax.linalg.triangular_solve(a, b, **options), expected, 10)
                if conjugate_a or not unit_diagonal:
                    continue
                close(pb.jit(lambda a, b, o=options: lax.linalg.triangular_solve(a, b, **o))(a, b), expected, 10)


def test_conjugates_in_compiled_triangular_solve():
    a, b = data((2, 3, 3), "complex64") + 3 * np.eye(3, dtype="complex64"), data((2, 3, 1), "complex64")
    for transpose_a in (False, True):
        f = lambda a, b, t=transpose_a: lax.linalg.triangular_solve(  # noqa: E731
            a, b, left_side=True, transpose_a=t, conjugate_a=True
        )
        close(pb.jit(f)(a, b), f(a, b))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_of_triangular_solve(dtype):
    with pb.enable_x64():
        a, b = data((3, 3), dtype) + 3 * np.eye(3), data((3, 2), dtype)
        for options in (
            {"left_side": True, "lower": True},
            {"left_side": True, "transpose_a": True},
            {"left_side": True, "transpose_a": True, "conjugate_a": True},
            {"left_side": True, "conjugate_a": True, "unit_diagonal": True},
        ):
            check_grads(lambda a, b, o=options: lax.linalg.triangular_solve(a, b, **o), (a, b), order=2)
        check_grads(lambda a, b: lax.linalg.triangular_solve(a, b), (a, b.T), order=2)


def test_triangular_solve_of_vectors():
    a, b = data((2, 3, 3)) + 3 * np.eye(3, dtype="float32"), data((2, 3))
    for left_side in (True, False):
        f = functools.partial(lax.linalg.triangular_solve, left_side=left_side)
        expected = np.stack(
            [np.linalg.solve(np.triu(m) if left_side else np.triu(m).T, y) for m, y in zip(a, b, strict=True)]
        )
        close(f(a, b), expected, 10)
        close(pb.vmap(f)(a, b), expected, 10)
    with pytest.raises(ValueError, match="expected a and b of shapes"):
        lax.linalg.triangular_solve(a[0], b[0, :2])


def test_triangular_solve_under_vmap():
    check_batching(lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True), definite(2), data((2, 2)))


def test_refused_triangular_systems():
    x = data((3, 3))
    with pytest.raises(ValueError, match=r"expected a and b of shapes \(\.\.\., n, n\) and \(\.\.\., m, n\)"):
        lax.linalg.triangular_solve(x, x[:, :2])
    with pytest.raises(TypeError, match=r"must have one dtype, got f32\[3,3\] and c64\[3,3\]"):
        lax.linalg.triangular_solve(x, x.astype("complex64"))
    with pytest.raises(TypeError, match=r"for a, got f16\[3,3\]. Convert it with .astype"):
        lax.linalg.triangular_solve(x.astype("float16"), x)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_cholesky(dtype):
    a = definite(3, dtype)
    check_value(lax.linalg.cholesky, jax.lax.linalg.cholesky, a)
    for run in (lax.linalg.cholesky, pb.jit(lax.linalg.cholesky)):
        np.testing.assert_array_equal(run(-a), np.tril(np.full((3, 3), np.nan)))
        stack = np.asarray(run(np.stack([-a, a])))
        close(stack[1], np.linalg.cholesky(a), 10)


@pytest.mark.parametrize("symmetrize", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_of_cholesky(dtype, symmetrize):
    """Also along directions that are not symmetric, where nothing but the lower triangle counts."""
    with pb.enable_x64():
        check_grads(lambda x: lax.linalg.cholesky(x, symmetrize_input=symmetrize), (definite(3, dtype),), order=2)
