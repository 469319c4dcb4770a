"""Cheap values are computed again for late uses: values, gradients, memory, and what stays as it is."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import nn
from pullback._xla import lowering, recomputation
from pullback._xla.recomputation import after_p, recomputing

ACTIVATIONS = [pnp.tanh, nn.relu, nn.gelu, nn.sigmoid, nn.silu, nn.softplus, pnp.sin, nn.elu, nn.mish, nn.softmax]


@pytest.fixture
def small(monkeypatch):
    """Programs are rewritten however little that saves."""
    monkeypatch.setattr(recomputation, "_LEAST_GAIN", 1)


def weights(n, width):
    random = np.random.default_rng(0)
    return [(random.standard_normal((width, width)) / width**0.5).astype("float32") for _ in range(n)]


def layers(activation):
    def loss(weights, x):
        for w in weights:
            x = activation(x @ w + w[0])
        return x.sum()

    return loss


def without(monkeypatch, fun, *args):
    """What a function gives where nothing is computed again."""
    with monkeypatch.context() as patch:
        patch.setattr(lowering, "recomputing", lambda jaxpr: jaxpr)
        return pb.tree_util.tree_leaves(pb.jit(lambda *args: fun(*args))(*args))


def copies(fun, *args):
    jaxpr = pb.make_jaxpr(fun)(*args).jaxpr
    return sum(eqn.primitive is after_p for eqn in recomputing(jaxpr).eqns)


def agrees(monkeypatch, fun, *args):
    expected = without(monkeypatch, fun, *args)
    for a, b in zip(pb.tree_util.tree_leaves(pb.jit(fun)(*args)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


X = np.random.default_rng(1).standard_normal((16, 8)).astype("float32")


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda f: f.__name__)
def test_values_and_gradients(small, monkeypatch, activation):
    agrees(monkeypatch, pb.value_and_grad(layers(activation), (0, 1)), weights(5, 8), X)


@pytest.mark.parametrize("transform", [pb.checkpoint, pb.jit, lambda f: pb.vmap(f, (None, 0))])
def test_other_transformations(small, monkeypatch, transform):
    def loss(ws, x):
        return pnp.sum(transform(layers(pnp.tanh))(ws, x))

    x = X[None] * np.ones((3, 1, 1), "float32") if transform not in (pb.checkpoint, pb.jit) else X
    agrees(monkeypatch, pb.grad(loss), weights(4, 8), x)
    agrees(monkeypatch, lambda ws: pb.jvp(pb.grad(loss), (ws, x), (ws, x)), weights(4, 8))


def test_in_loops_and_branches(small, monkeypatch):
    def loss(ws, x):
        def body(x, _):
            for w in ws:
                x = nn.gelu(x @ w)
            return x, x.sum()

        x, sums = pb.lax.scan(body, x, None, 2)
        return pb.lax.cond(sums[0] > 0, lambda: layers(pnp.tanh)(ws, x), lambda: layers(pnp.sin)(ws, x))

    agrees(monkeypatch, pb.value_and_grad(loss), weights(4, 8), X)


def test_donated_arguments(small, monkeypatch):
    gradient = pb.value_and_grad(layers(pnp.tanh), 1)
    expected = without(monkeypatch, gradient, weights(5, 8), X)
    got = pb.jit(gradient, donate_argnums=1)(weights(5, 8), pnp.array(X))
    for a, b in zip(pb.tree_util.tree_leaves(got), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_stay_where_they_are(small, monkeypatch, bad):
    """The backward pass of the first example is nan or infinite, on which the copies wait."""
    x = X.copy()
    x[0, 0] = bad

    def rows(ws, x):
        for w in ws:
            x = nn.silu(x @ w)
        return x

    def fun(ws, x, ct):
        y, vjp = pb.vjp(rows, ws, x)
        return y, vjp(ct)

    ct = np.ones_like(X)
    for cotangent in (ct, np.where(np.arange(16)[:, None] == 0, np.float32(bad), ct)):
        expected = without(monkeypatch, fun, weights(5, 8), x, cotangent)
        got = pb.tree_util.tree_leaves(pb.jit(fun)(weights(5, 8), x, cotangent))
        assert any(not np.isfinite(b).all() for b in expected)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def test_comparisons_read_the_value_itself(small):
    """A copy may be rounded otherwise, and another branch be chosen."""

    def loss(ws, x):
        kept = []
        for w in ws:
            x = pnp.tanh(x @ w)
            kept.append(x)
        return sum(pnp.where(y > 0, pnp.floor(8 * x), y).sum() for y in kept)

    jaxpr = pb.make_jaxpr(pb.grad(loss))(weights(5, 8), X).jaxpr
    first = {v for eqn in jaxpr.eqns for v in eqn.outvars}
    added = [eqn for eqn in recomputing(jaxpr).eqns if first.isdisjoint(eqn.outvars)]
    again = {v for eqn in added if eqn.primitive is not after_p for v in eqn.outvars}
    assert again
    readers = [eqn for eqn in recomputing(jaxpr).eqns if not again.isdisjoint(eqn.invars)]
    assert {eqn.primitive.name for eqn in readers}.isdisjoint({"gt", "floor", "sign", "eq"})


@pytest.mark.parametrize(("activation", "arrays"), [(pnp.tanh, 1.2), (nn.sigmoid, 1.2), (nn.gelu, 1.4), (nn.silu, 1.4)])
def test_memory(activation, arrays):
    """Little more than one array a layer is kept, where it were two of tanh and four of gelu."""
    ws, x = weights(24, 128), np.ones((4096, 128), "float32")
    compiled = pb.jit(pb.grad(layers(activation))).lower(ws, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < arrays * 24 * x.nbytes + 4 * x.nbytes


def test_programs_that_would_save_little_stay_as_they_are(monkeypatch):
    args = weights(8, 64), np.ones((64, 64), "float32")
    gradient = pb.grad(layers(nn.gelu))
    text = pb.jit(gradient).lower(*args).as_text()
    monkeypatch.setattr(lowering, "recomputing", lambda jaxpr: jaxpr)
    assert pb.jit(lambda *args: gradient(*args)).lower(*args).as_text() == text
    assert copies(gradient, *args) == 0


def test_exported_programs_are_plain(small):
    args = weights(5, 8), X
    assert copies(pb.grad(layers(pnp.tanh)), *args)
    exported = pb.export.export(pb.jit(pb.grad(layers(pnp.tanh))))(*args)
    assert "0x7F800000" not in exported.mlir_module()
