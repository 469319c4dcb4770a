"""Reverse rules that add to accumulators (`defvjp_with_accums`), and structured residuals."""

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad import DontWant, GradRef, GradValue, NullAccum, RefAccum, ValAccum
from pullback.experimental.hijax import HiPrim
from tests.refusals import raises

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
W = np.array([[0.5, -1.0], [2.0, 1.5]], np.float32)
products = []


@pb.custom_vjp
def product(x, params):
    return x @ params["w"] * params["n"]


def fwd(x, params):
    return product(x, params), (x, params["w"], params["n"])


def bwd(res, ct, x_accum, accums):
    x, w, n = res
    products.append((type(x_accum), type(accums["w"]), type(accums["n"])))
    if not isinstance(x_accum, NullAccum):
        x_accum.accum(ct @ w.T)
        x_accum.accum((n - 1) * (ct @ w.T))
    if not isinstance(accums["w"], NullAccum):
        accums["w"].accum(x.T @ ct * n)
    return {"seen": ct}


product.defvjp_with_accums(fwd, bwd)


def loss(x, w):
    return (product(x, {"w": w, "n": 3}) ** 2).sum()


def plain(x, w):
    return ((x @ w * 3) ** 2).sum()


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit, pb.checkpoint], ids=["plain", "jit", "checkpoint"])
def test_gradients(wrap):
    expected = jax.grad(plain, (0, 1))(X, W)
    for got, want in zip(pb.grad(wrap(loss), (0, 1))(X, W), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    second = jax.grad(lambda x: (jax.grad(plain)(x, W) ** 2).sum())(X)
    np.testing.assert_allclose(pb.grad(lambda x: (pb.grad(wrap(loss))(x, W) ** 2).sum())(X), second, rtol=1e-4)


def test_batches_and_loops():
    xs = np.stack([X, 2 * X])
    got = pb.vmap(pb.grad(loss, (0, 1)), (0, None))(xs, W)
    want = jax.vmap(jax.grad(plain, (0, 1)), (0, None))(xs, W)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)

    def looped(w):
        return lax.scan(lambda c, x: (c + loss(x, w), None), np.float32(0.0), xs)[0]

    np.testing.assert_allclose(pb.grad(looped)(W), sum(jax.grad(plain, 1)(x, W) for x in xs), rtol=1e-5)


def test_kinds_of_accumulators():
    products.clear()
    pb.grad(loss)(X, W)
    pb.grad(loss, 1)(X, W)
    _, f_vjp = pb.vjp(lambda x, w: product(x, {"w": w, "n": 3}), X, W)
    f_vjp.with_refs(DontWant(), GradValue())(np.ones_like(X))
    assert products == [
        (ValAccum, NullAccum, NullAccum),
        (NullAccum, ValAccum, NullAccum),
        (NullAccum, ValAccum, NullAccum),
    ]
    ref = pb.new_ref(pnp.zeros((2, 2)))
    products.clear()
    assert f_vjp.with_refs(ref, ref)(np.ones_like(X)) == (GradRef(), GradRef())
    assert [issubclass(kind, RefAccum) for kind in products[0]] == [True, True, False]
    ones = np.ones_like(X)
    np.testing.assert_allclose(ref[...], 3 * (ones @ W.T + X.T @ ones), rtol=1e-6)


def test_logs():
    cotangents, logs = pb.vjp(loss, X, W)[1].with_logs(1.0)
    np.testing.assert_allclose(logs["seen"], 2 * (X @ W * 3), rtol=1e-6)
    np.testing.assert_allclose(cotangents[0], jax.grad(plain)(X, W), rtol=1e-5)


def test_wrong_cotangents_name_the_argument():
    @pb.custom_vjp
    def f(x, p):
        return (x * p["a"]).sum()

    def wrong(res, ct, x_accum, p_accums):
        p_accums["a"].accum(pnp.zeros(3))

    f.defvjp_with_accums(lambda x, p: (f(x, p), None), wrong)
    with raises(pb.errors.RuleError, "wrong", "argument 'p'", "['a']", "f32[2,2]", "f32[3]"):
        pb.grad(f, 1)(X, {"a": W})


# --- structured residuals ---


@pb.custom_vjp
def scaled(x, y):
    return pnp.sin(x) * y


def scaled_fwd(x, y):
    return scaled(x, y), (y,), {"cosine": pnp.cos(x), "name": "scaled"}


def scaled_bwd(res, structured, ct, x_accum, y_accum):
    assert structured["name"] == "scaled"
    x_accum.accum(ct * structured["cosine"] * res[0])


scaled.defvjp_with_accums(scaled_fwd, scaled_bwd)


def test_structured_residuals_of_a_function():
    _, f_vjp = pb.vjp(lambda x: scaled(scaled(x, 2.0), 3.0) * 1.0, 0.5)
    inner, outer = f_vjp.structured_residuals
    np.testing.assert_allclose(inner["cosine"], np.cos(0.5), rtol=1e-6)
    np.testing.assert_allclose(outer["cosine"], np.cos(2 * np.sin(0.5)), rtol=1e-6)
    assert inner["name"] == "scaled"
    expected = 6 * np.cos(0.5) * np.cos(2 * np.sin(0.5))
    np.testing.assert_allclose(f_vjp(1.0)[0], expected, rtol=1e-6)
    doubled = [{**inner, "cosine": 2 * inner["cosine"]}, outer]
    np.testing.assert_allclose(f_vjp.replace(structured_residuals=doubled)(1.0)[0], 2 * expected, rtol=1e-6)


def test_structured_residuals_of_a_class():
    class Sine(HiPrim):
        def __init__(self, aval):
            self.in_avals, self.out_aval, self.params = (aval,), aval, {}
            super().__init__()

        def expand(self, x):
            return pnp.sin(x)

        def vjp_fwd(self, nzs_in, x):
            return self(x), (), None, {"cosine": pnp.cos(x)}

        def vjp_bwd(self, res, structured, ct, accum):
            accum.accum(ct * structured["cosine"])

    _, f_vjp = pb.vjp(lambda x: Sine(pb.typeof(x))(x) * 2.0, pnp.float32(0.5))
    (structured,) = f_vjp.structured_residuals
    np.testing.assert_allclose(structured["cosine"], np.cos(0.5), rtol=1e-6)
    np.testing.assert_allclose(f_vjp(1.0)[0], 2 * np.cos(0.5), rtol=1e-6)
