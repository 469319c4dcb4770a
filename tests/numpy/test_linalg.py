"""numpy.linalg: linear systems, inverses, determinants, powers, tensors as matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, close

import pullback as pb
import pullback.scipy.linalg as sl
from pullback.numpy import linalg
from pullback.test_util import check_grads

data = Sampler()


def definite(n, dtype="float32"):
    x = data((n, n), dtype)
    return (x @ x.conj().T + n * np.eye(n)).astype(dtype)


A, S = data((3, 3)), definite(3)
INTEGERS = np.array([[5, 1], [2, 7]])


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("solve", (A, A[0])),
        ("solve", (data((2, 3, 3)), A[0])),
        ("solve", (S, data((2, 3, 1), "complex64"))),
        ("solve", (INTEGERS, INTEGERS[0])),
        ("inv", (S,)),
        ("inv", (INTEGERS,)),
        ("det", (data((2, 4, 4)),)),
        ("det", (INTEGERS > 3,)),
        ("cholesky", (S,)),
        ("cholesky", (definite(3, "complex64"),)),
        ("tensorsolve", (data((6, 4, 2, 3, 4)), data((6, 4)))),
        ("tensorinv", (data((2, 3, 6)),)),
    ],
)
def test_values(name, args):
    agree(getattr(linalg, name), getattr(jnp.linalg, name), *args)


def test_options():
    agree(linalg.cholesky, jnp.linalg.cholesky, definite(3, "complex64"), upper=True)
    agree(linalg.cholesky, jnp.linalg.cholesky, A + 5 * np.eye(3, dtype="float32"), symmetrize_input=False)
    agree(linalg.tensorsolve, jnp.linalg.tensorsolve, data((2, 6, 3, 4)), data((3, 4)), axes=(0, 1))
    agree(linalg.tensorinv, jnp.linalg.tensorinv, data((6, 2, 3)), ind=1)


def test_norms_of_empty_axes():
    x = np.zeros((3, 0), np.float32)
    np.testing.assert_array_equal(linalg.norm(x, np.inf, axis=-1), np.zeros(3))
    np.testing.assert_array_equal(linalg.vector_norm(x, ord=np.inf, keepdims=True), [[0]])
    for a in (x, x.T):
        for ord in (1, np.inf):
            for got in (linalg.norm(a, ord), linalg.matrix_norm(a, ord=ord)):
                assert got == np.linalg.norm(a, ord) == 0
    assert linalg.norm(x.T, -1) == linalg.norm(x, -np.inf) == 0
    for a, ord, axis in ((x, -np.inf, -1), (x, -1, None), (x.T, -np.inf, None)):
        with pytest.raises(ValueError, match=r"norm: ord=-(1|inf) is the smallest .*empty axis .*Give ord=(1|inf)"):
            linalg.norm(a, ord, axis)


def test_powers():
    for n in (-2, 0, 3):
        agree(linalg.matrix_power, jnp.linalg.matrix_power, INTEGERS, n=n)
    check_grads(lambda x: linalg.matrix_power(x, -2), (S,), order=1)


def test_slogdet():
    for method in (None, "qr"):
        result = linalg.slogdet(A, method=method)
        sign, size = np.linalg.slogdet(A)
        close(result.sign, sign)
        close(result.logabsdet, size)
    assert isinstance(pb.jit(linalg.slogdet)(A), type(result))
    sign, size = linalg.slogdet(INTEGERS)
    assert (sign.dtype, size.dtype, float(sign)) == ("float32", "float32", 1.0)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 2, 2), (1, 1)])
def test_empty_and_single(shape):
    a = np.full(shape, 4, "float32")
    for run in (lambda f: f, pb.jit):
        for f, g in ((linalg.inv, np.linalg.inv), (linalg.det, np.linalg.det), (linalg.cholesky, np.linalg.cholesky)):
            close(run(f)(a), g(a))
        close(run(linalg.solve)(a, a), np.linalg.solve(a, a))
        close(run(linalg.solve)(a, np.ones(shape[-1], "float32")), np.full(shape[:-1], 0.25, "float32"))
    sign, size = linalg.slogdet(a)
    close(sign, np.ones(shape[:-2], "float32"))
    close(size, np.full(shape[:-2], np.log(np.float32(4)) if shape == (1, 1) else 0, "float32"))
    assert pb.grad(lambda a: linalg.det(a).sum())(a).shape == shape
    assert sl.expm(a).shape == sl.lu(a)[0].shape == shape


def test_vmap():
    check_batching(linalg.solve, S, A[0])
    a = np.stack([S, S + 1])
    close(pb.vmap(linalg.inv)(a), np.linalg.inv(a), 10)
    close(pb.vmap(lambda b: linalg.solve(S, b), 1, 1)(A), np.linalg.solve(S, A), 10)


def test_gradients_equal_those_of_jax():
    for f, g, a in (
        (linalg.inv, jnp.linalg.inv, S),
        (linalg.det, jnp.linalg.det, data((4, 4))),
        (linalg.cholesky, jnp.linalg.cholesky, S),
    ):
        close(pb.grad(lambda a, f=f: (f(a) ** 2).sum())(a), jax.grad(lambda a, g=g: (g(a) ** 2).sum())(a), 100)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives(dtype):
    with pb.enable_x64():
        a = definite(3, dtype)
        check_grads(linalg.inv, (a,), order=2)
        check_grads(linalg.solve, (a, data((3,), dtype)), order=1)


# --- refusals ---


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


HALF = ones(2, 2, dtype="float16")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            partial(linalg.solve, ones(2, 3), ones(2)),
            ValueError,
            r"solve: expected square matrices .* of a, got .*2, 3",
        ),
        (lambda: pb.jit(linalg.solve)(ones(2, 3), ones(2)), ValueError, "solve: expected square matrices"),
        (partial(linalg.solve, ones(2, 2), ones(3)), ValueError, r"b of shape \(2,\) or \(..., 2, m\) .* got \(3,\)$"),
        (partial(linalg.solve, ones(2, 2), 1.0), ValueError, r"got \(\)"),
        (partial(linalg.solve, ones(3, 2, 2), ones(3, 2)), ValueError, r"give b\[..., None\], of shape \(3, 2, 1\)"),
        (partial(linalg.solve, ones(3, 2, 2), ones(4, 2, 1)), ValueError, "solve: shapes .* do not broadcast"),
        (partial(linalg.solve, HALF, HALF), TypeError, r"solve: expected float32, .* got f16\[2,2\]. Convert it"),
        (partial(linalg.solve, ones(1, 1), [1.0]), TypeError, "solve: argument 1: expected an array .*asarray"),
        (partial(linalg.inv, "a"), TypeError, "inv: argument 0: expected an array"),
        (partial(linalg.inv, ones(2)), ValueError, "inv: expected square matrices"),
        (partial(linalg.inv, HALF), TypeError, "inv: .*Convert"),
        (partial(linalg.det, ones(2, 3)), ValueError, "det: expected square"),
        (partial(linalg.slogdet, [[1.0]]), TypeError, "slogdet: argument 0"),
        (partial(linalg.slogdet, A, method="svd"), ValueError, "method must be None, 'lu' or 'qr', got 'svd'"),
        (partial(linalg.cholesky, ones(3)), ValueError, "cholesky: expected square"),
        (partial(linalg.tensorinv, A, ind=0), ValueError, "ind must be positive, got 0"),
        (partial(linalg.tensorinv, ones(2, 3), ind=1), ValueError, "as many elements as the others"),
        (
            partial(linalg.tensorsolve, ones(2, 3), ones(3)),
            ValueError,
            r"tensorsolve: expected a of the shape of b, \(3,\)",
        ),
        (partial(linalg.tensorsolve, HALF, HALF[0]), TypeError, "tensorsolve: .*Convert"),
        (partial(linalg.matrix_power, A, 1.5), TypeError, "n must be an integer, got 1.5"),
        (partial(linalg.matrix_power, HALF, -1), TypeError, "matrix_power: .*Convert"),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
