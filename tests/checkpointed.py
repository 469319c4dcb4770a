"""Checkpointed functions with named values, on pullback and on JAX, and the operations that their derivatives do."""

import jax
import jax.ad_checkpoint
import numpy as np

import pullback as pb
from pullback.ad_checkpoint import checkpoint_name
from pullback.core import check_jaxpr

f32 = np.float32
W = np.random.default_rng(0).standard_normal((4, 3, 3)).astype(f32) / 2
POLICIES = ("everything_saveable", "nothing_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable")


def name_of(lib):
    return checkpoint_name if lib.t is pb else jax.ad_checkpoint.checkpoint_name


def chain(lib, policy=None, checkpointed=True):
    """Three checkpointed layers of two products each."""

    def block(x, w):
        x = name_of(lib)(lib.np.tanh(lib.np.dot(x, w)), "first")
        return lib.np.tanh(name_of(lib)(lib.np.dot(x, w), "second"))

    block = lib.t.checkpoint(block, policy=policy) if checkpointed else block

    def loss(x, ws):
        for w in ws:
            x = block(x, w)
        return x.sum()

    return loss


def equations(jaxpr):
    """All equations, here and below."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def count(lib, fun, *args, what="dot_general"):
    closed = lib.t.make_jaxpr(fun)(*args)
    if lib.t is pb:
        check_jaxpr(closed)
    return sum(eqn.primitive.name == what for eqn in equations(closed.jaxpr))


def products(lib, policy=None, checkpointed=True):
    return count(lib, lib.t.grad(chain(lib, policy, checkpointed), (0, 1)), np.ones((2, 3), f32), list(W[:3]))
