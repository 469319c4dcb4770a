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


doubled.defvjp(lambda x: (doubled(x), x), lambda x, ct: (2 * ct,))


@pb.custom_jvp
def cubed(x):
    return x ** 3


@cubed.defjvp
def cubed_jvp(primals, tangents):
    return cubed(*primals), 3 * primals[0] ** 2 * tangents[0]


X = pnp.arange(4.)
CALLS = {
    "grad": lambda: pb.grad(fun)(X),
    "value_and_grad": lambda: pb.value_and_grad(fun)(X),
    "vjp": lambda: pb.vjp(fun, X)[1](1.),
    "linearize": lambda: pb.linearize(pnp.sin, X)[1](X),
    "jvp": lambda: pb.jvp(cubed, (X,), (X,)),
    "grad of a jvp rule": lambda: pb.grad(lambda x: cubed(x).sum())(X),
    "vmap": lambda: pb.vmap(cubed)(X),
    "jacrev": lambda: pb.jacrev(pnp.sin)(X),
    "hessian": lambda: pb.hessian(lambda x: cubed(x).sum())(X),
    "grad of grad": lambda: pb.grad(lambda x: pb.grad(lambda y: cubed(y).sum())(x).sum())(X),
    "grad of scan": lambda: pb.grad(lambda x: lax.scan(lambda c, y: (c * y, c), 1., x)[0])(X),
    "checkpoint": lambda: pb.grad(pb.checkpoint(lambda x: cubed(x).sum()))(X),
    "make_jaxpr": lambda: pb.make_jaxpr(pb.grad(fun))(X),
}


@pytest.fixture
def no_collector():
    """Reference counts alone free what is freed; a collection that is asked for looks at what is new alone."""
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("name", CALLS)
def test_no_cycle_is_left_behind(name, no_collector):
    call = CALLS[name]
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
    pullback = pb.vjp(f, 1.)[1]
    assert kept[0]() is not None
    pullback(1.), pullback(1.)
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
        return ct,

    layer.defvjp(fwd, bwd)
    pb.grad(lambda x: layer(layer(layer(x))))(1.)
    assert alive == [[True, True, True], [True, True, False], [True, False, False]]
    assert [r() for r in kept] == [None] * 3
