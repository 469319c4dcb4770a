"""What a transformation recorded is freed with its result, by reference counts alone: arrays may be large."""

import gc
import weakref

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax


def fun(x):
    return pnp.sum(doubled(pnp.sin(x)) * x)


@pb.custom_vjp
def doubled(x):
    return 2 * x


def doubled_fwd(x):
    return doubled(x), x


def doubled_bwd(x, ct):
    return (2 * ct,)


doubled.defvjp(doubled_fwd, doubled_bwd)


@pb.custom_jvp
def cubed(x):
    return x**3


@cubed.defjvp
def cubed_jvp(primals, tangents):
    return cubed(*primals), 3 * primals[0] ** 2 * tangents[0]


X = pnp.arange(4.0)


def grad():
    pb.grad(fun)(X)


def value_and_grad():
    pb.value_and_grad(fun)(X)


def vjp():
    pb.vjp(fun, X)[1](1.0)


def linearize():
    pb.linearize(pnp.sin, X)[1](X)


def jvp():
    pb.jvp(cubed, (X,), (X,))


def grad_of_a_jvp_rule():
    pb.grad(lambda x: cubed(x).sum())(X)


def vmap():
    pb.vmap(cubed)(X)


def jacrev():
    pb.jacrev(pnp.sin)(X)


def hessian():
    pb.hessian(lambda x: cubed(x).sum())(X)


def grad_of_grad():
    def inner(x):
        return pb.grad(lambda y: cubed(y).sum())(x).sum()

    pb.grad(inner)(X)


def grad_of_scan():
    def step(c, y):
        return c * y, c

    pb.grad(lambda x: lax.scan(step, 1.0, x)[0])(X)


def checkpoint():
    pb.grad(pb.checkpoint(lambda x: cubed(x).sum()))(X)


def make_jaxpr():
    pb.make_jaxpr(pb.grad(fun))(X)


@pytest.fixture
def no_collector():
    """Reference counts alone free what is freed; a collection that is asked for looks at what is new alone."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize(
    "call",
    [
        grad,
        value_and_grad,
        vjp,
        linearize,
        jvp,
        grad_of_a_jvp_rule,
        vmap,
        jacrev,
        hessian,
        grad_of_grad,
        grad_of_scan,
        checkpoint,
        make_jaxpr,
    ],
)
def test_no_cycle_is_left_behind(call, no_collector):
    call(), call()  # what is remembered per function and types is made
    gc.collect()
    call()
    assert gc.collect() == 0


def test_residuals_go_with_the_pullback(no_collector):
    kept = []

    @pb.custom_vjp
    def f(x):
        return x

    def fwd(x):
        residual = pnp.ones(1000)
        kept.append(weakref.ref(residual))
        return f(x), residual

    f.defvjp(fwd, lambda residual, ct: (ct,))
    pullback = pb.vjp(f, 1.0)[1]
    assert kept[0]() is not None
    pullback(1.0), pullback(1.0)
    del pullback
    assert kept[0]() is None


def test_grad_frees_a_residual_as_soon_as_it_was_read(no_collector):
    """The backward pass of the first layer finds the residuals of the second gone."""
    kept, alive = [], []

    @pb.custom_vjp
    def layer(x):
        return x

    def fwd(x):
        residual = pnp.ones(1000)
        kept.append(weakref.ref(residual))
        return layer(x), residual

    def bwd(residual, ct):
        alive.append([r() is not None for r in kept])
        return (ct,)

    layer.defvjp(fwd, bwd)
    pb.grad(lambda x: layer(layer(layer(x))))(1.0)
    assert alive == [[True, True, True], [True, True, False], [True, False, False]]
    assert [r() for r in kept] == [None] * 3
