"""Differentiation inside of `shard_map`: cotangents of what is one value are summed over devices, as in JAX."""

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

R = np.random.RandomState(0)
X = R.randn(8, 4).astype(np.float32)
W = (R.randn(4, 6) * 0.3).astype(np.float32)
B = R.randn(6).astype(np.float32)
ROWS = R.randn(3, 4).astype(np.float32)


def gradient_of_a_loss_of_each_device(lib, np_):
    def loss(w, b, x):
        return (np_.tanh(x @ w + b) ** 2).sum()

    return lib.grad(loss, (0, 1)), (lib.P(), lib.P(), lib.P("x")), (lib.P(), lib.P())


def gradient_of_one_loss(lib, np_):
    def loss(w, b, x):
        return lib.lax.psum((np_.tanh(x @ w + b) ** 2).sum(), "x")

    return lib.grad(loss, (0, 1)), (lib.P(), lib.P(), lib.P("x")), (lib.P(), lib.P())


def gradient_with_an_auxiliary_result(lib, np_):
    def loss(w, b, x):
        return lib.lax.pmean((np_.tanh(x @ w + b) ** 2).mean(), ("x", "y")), {"sum": x.sum()}

    def f(w, b, x):
        (value, aux), gradients = lib.value_and_grad(loss, (0, 1), has_aux=True)(w, b, x)
        return value, lib.lax.psum(aux["sum"], ("x", "y")), gradients

    return f, (lib.P(), lib.P(), lib.P(("x", "y"))), (lib.P(), lib.P(), (lib.P(), lib.P()))


def training(lib, np_):
    def loss(w, x):
        return (np_.tanh(x @ w) ** 2).sum()

    def f(w, x):
        def step(w, _):
            g = lib.grad(loss)(w, x)
            return w - 0.01 * g, (g * g).sum()

        return lib.lax.scan(step, w, None, length=3)

    return f, (lib.P(), lib.P("x")), (lib.P(), lib.P())


def gradient_of_a_loop(lib, np_):
    def loss(w, x):
        def layer(h, row):
            return np_.tanh(h * row + lib.lax.pmean(h, "x")), None

        return (lib.lax.scan(layer, x, w)[0] ** 2).sum()

    return lib.grad(loss, (0, 1)), (lib.P(), lib.P("x")), (lib.P(), lib.P("x"))


def gradient_of_a_gradient(lib, np_):
    def loss(w, x):
        return (np_.tanh(x @ w) ** 2).sum()

    def f(w, x):
        return lib.grad(lambda w: (lib.grad(loss)(w, x) ** 2).sum())(w)

    return f, (lib.P(), lib.P("x")), lib.P()


def jacobian(lib, np_):
    def f(w, x):
        return lib.jacrev(lambda w: (x @ w).sum(0))(w)

    return f, (lib.P(), lib.P("x")), lib.P()


def gradient_of_a_recomputed_map(lib, np_):
    def loss(w, x):
        return lib.vmap(lambda r: (np_.tanh(r @ w) ** 2).sum())(x).sum()

    return lib.grad(lib.checkpoint(loss)), (lib.P(), lib.P("x")), lib.P()


def gradient_by_a_rule_that_sums(lib, np_):
    @lib.custom_vjp
    def layer(x, w):
        return np_.sin(x) @ w

    def bwd(saved, ct):
        x, w = saved
        return np_.cos(x) * (ct @ w.T), lib.lax.psum(np_.sin(x).T @ ct, "x")

    layer.defvjp(lambda x, w: (layer(x, w), (x, w)), bwd)

    def loss(w, x):
        return (layer(x, w) ** 2).sum()

    return lib.grad(loss), (lib.P(), lib.P("x")), lib.P()


def gradient_of_a_branch(lib, np_):
    def loss(w, x):
        return lib.lax.cond(x.sum() > 0, lambda: (x @ w).sum(), lambda: ((x @ w) ** 2).sum())

    return lib.grad(loss), (lib.P(), lib.P("x")), lib.P()


CASES = (
    (gradient_of_a_loss_of_each_device, (W, B, X)),
    (gradient_of_one_loss, (W, B, X)),
    (gradient_with_an_auxiliary_result, (W, B, X)),
    (training, (W, X)),
    (gradient_of_a_loop, (ROWS, X)),
    (gradient_of_a_gradient, (W, X)),
    (jacobian, (W, X)),
    (gradient_of_a_recomputed_map, (W, X)),
    (gradient_by_a_rule_that_sums, (W, X)),
    (gradient_of_a_branch, (W, X)),
)


def results(lib, case, args):
    auto = lib.sharding.AxisType.Auto
    f, ins, outs = case(lib, pnp if lib is pb else jax.numpy)
    mesh = lib.make_mesh((4, 2), ("x", "y"), axis_types=(auto, auto))
    mapped = lib.jit(lib.shard_map(f, mesh=mesh, in_specs=ins, out_specs=outs))
    return [np.asarray(leaf) for leaf in lib.tree.leaves(mapped(*args))]


@pytest.mark.parametrize(("case", "args"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_as_jax(case, args):
    for ours, theirs in zip(results(pb, case, args), results(jax, case, args), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)


def test_a_rule_that_does_not_sum_gives_the_same():
    # its cotangent is that of each device, and the sum is made for it; JAX refuses the rule
    @pb.custom_vjp
    def layer(x, w):
        return pnp.sin(x) @ w

    def bwd(saved, ct):
        x, w = saved
        return pnp.cos(x) * (ct @ w.T), pnp.sin(x).T @ ct

    layer.defvjp(lambda x, w: (layer(x, w), (x, w)), bwd)

    def local(lib, np_):
        def loss(w, x):
            return (layer(x, w) ** 2).sum()

        return pb.grad(loss), (pb.P(), pb.P("x")), pb.P()

    summed = results(pb, gradient_by_a_rule_that_sums, (W, X))
    np.testing.assert_allclose(results(pb, local, (W, X))[0], summed[0], rtol=1e-5)


def test_without_the_check_gradients_are_those_of_each_device():
    def loss(w, x):
        return (pnp.tanh(x @ w) ** 2).sum()

    def f(w, x):
        return pb.grad(loss)(w, x)[None]

    mesh = pb.make_mesh((8,), ("x",))
    each = pb.shard_map(f, mesh=mesh, in_specs=(pb.P(), pb.P("x")), out_specs=pb.P("x"), check_vma=False)(W, X)
    for i in range(8):
        np.testing.assert_allclose(each[i], pb.grad(loss)(W, X[i : i + 1]), rtol=1e-4, atol=1e-6)
