"""Linear operators on the host, with their transposes, by `linear_callback`."""

import numpy as np
import pytest
from counted import Counted
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback.core import check_jaxpr

X = np.array([0.5, 1.0, 2.0], np.float32)
M = np.array([[1.0, 2.0, 0.5], [-1.0, 0.3, 4.0]], np.float32)


def operator(**options):
    forward, backward = Counted(lambda x: x @ M.T), Counted(lambda y: y @ M)
    op = pb.linear_callback(forward, backward, lambda x: pb.ShapeDtypeStruct((2,), x.dtype), **options)
    return op, forward, backward


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_forward_mode_calls_a_and_reverse_mode_calls_at(wrap):
    op, forward, backward = operator()
    f = wrap(op)
    np.testing.assert_allclose(f(X), M @ X, rtol=1e-6)
    assert (forward.taken(), backward.taken()) == (1, 0)
    _, tangent = pb.jvp(f, (X,), (2 * X,))
    np.testing.assert_allclose(tangent, M @ (2 * X), rtol=1e-6)
    assert (forward.taken(), backward.taken()) == (2, 0)

    def loss(x):
        return (f(x) ** 2).sum()

    np.testing.assert_allclose(pb.grad(loss)(X), 2 * M.T @ (M @ X), rtol=1e-5)
    assert (forward.taken(), backward.taken()) == (1, 1)
    np.testing.assert_allclose(wrap(pb.hessian(loss))(X), 2 * M.T @ M, rtol=1e-5)
    np.testing.assert_allclose(pb.linear_transpose(f, X)(pnp.ones(2))[0], M.sum(0), rtol=1e-6)
    # the transpose of the transpose is the map
    np.testing.assert_allclose(pb.jacrev(pb.grad(loss))(X), 2 * M.T @ M, rtol=1e-5)
    check_jaxpr(pb.make_jaxpr(pb.grad(loss))(X))


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all", "legacy_vectorized"])
def test_linear_callback_under_vmap(method):
    op, forward, backward = operator(vmap_method=method)
    batch = np.stack([X, 2 * X, -X, X + 1])

    def loss(x):
        return (op(x) ** 2).sum()

    for f in (pb.vmap(op), pb.jit(pb.vmap(op))):
        np.testing.assert_allclose(f(batch), batch @ M.T, rtol=1e-5)
        assert forward.taken() == (4 if method == "sequential" else 1)

    def total(batch):
        return pb.vmap(loss)(batch).sum()

    for f in (pb.vmap(pb.grad(loss)), pb.jit(pb.vmap(pb.grad(loss))), pb.grad(total)):
        np.testing.assert_allclose(f(batch), 2 * batch @ M.T @ M, rtol=1e-4)
        assert backward.taken() == (4 if method == "sequential" else 1)


def test_linear_callback_with_parameters_and_pytrees():
    def forward(x, a):
        return {"y": a * x["u"] + x["v"]}

    def backward(y, a):
        return {"u": a * y["y"], "v": y["y"]}

    op = pb.linear_callback(forward, backward, lambda x, a: {"y": x["u"]})

    def f(u, v, a):
        return (op({"u": u, "v": v}, a)["y"] * X).sum()

    for g in (pb.grad(f, (0, 1)), pb.jit(pb.grad(f, (0, 1)))):
        du, dv = g(X, X, 3.0)
        np.testing.assert_allclose(du, 3 * X)
        np.testing.assert_allclose(dv, X)
    # parameters batched, the vector not
    du = pb.vmap(pb.grad(f), (None, None, 0))(X, X, X)
    np.testing.assert_allclose(du, X[:, None] * X)
    with pytest.raises(ValueError, match="a parameter of the map is being differentiated"):
        pb.grad(f, 2)(X, X, 3.0)


def test_a_complex_map_is_transposed_not_conjugated():
    def narrow_fft(x):
        return np.fft.fft(x).astype(np.complex64)

    fft = pb.linear_callback(narrow_fft, narrow_fft)
    z = (X + 1j * X[::-1]).astype(np.complex64)
    got = pb.linear_transpose(fft, z)(pnp.asarray(z))[0]
    np.testing.assert_allclose(got, np.fft.fft(np.eye(3)).T @ z, rtol=1e-5, atol=1e-5)


def test_linear_callback_errors():
    op, _, _ = operator()
    with pytest.raises(TypeError, match="a linear map takes floating-point or complex numbers"):
        op(np.arange(3))
    with pytest.raises(TypeError, match=r"linear_callback, A: counted.* must return what was declared"):
        pb.linear_callback(Counted(lambda x: x[:2]), lambda y: y)(X)
    bad = pb.linear_callback(lambda x: x, lambda y: y[:1])
    with pytest.raises(TypeError, match=r"linear_callback, At: .*expected f32"):
        pb.grad(lambda x: bad(x).sum())(X)
    with pytest.raises(TypeError, match="linear_callback: expected a function"):
        pb.linear_callback(np.sin, 3)
    with pytest.raises(ValueError, match="vmap_method must be"):
        pb.linear_callback(np.sin, np.sin, vmap_method=None)
