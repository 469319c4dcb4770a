"""Figures: the gradient through 1,000 steps c = log1pexp(x - c), log1pexp with its own rule, 32 numbers.

Compiled: `jit(grad(...))` of a `lax.scan`, its warm run and its first call (tracing and compilation, in a warm process;
c starts elsewhere each time, so that no cache knows the program). Eager: `grad` of the same steps in a Python loop.
"""

import itertools

import log1pexp
import numpy
from peers import load
from timing import once, per_call

COMPILED = "compiled `grad` through a `scan` of 1,000 steps with a `custom_jvp` rule"
FIRST = "the same, first call: trace, compile and run"
EAGER = "eager `grad` through the same steps in a Python loop"
GOALS = {}
PEERS = ("pullback", "JAX", "PyTorch", "autograd")
ROUNDS = 5
FRESH = False
STEPS = 1_000
POINTS = numpy.linspace(-2, 2, 32).astype("float32")


def prepare(peer):
    function = log1pexp.function(peer)

    def loop(x):
        c = 0 * x
        for _ in range(STEPS):
            c = function(x - c)
        return c.sum()

    eager, x = eager_gradient(peer, loop)

    def run_eager():
        slopes = []
        seconds = once(lambda: slopes.append(numpy.asarray(eager(x))))
        check(slopes[0])
        return {EAGER: seconds}

    if peer not in ("pullback", "JAX"):
        return run_eager
    core = load(peer).core

    def compiled(start):
        def last(x):
            return core.lax.scan(lambda c, _: (function(x - c), None), 0 * x + start, None, length=STEPS)[0].sum()

        return core.jit(core.grad(last))

    warm = compiled(0)
    check(warm(x))

    def run(n):
        for _ in range(n):
            core.block_until_ready(warm(x))

    time, starts = per_call(run), itertools.count(1)

    def sample():
        start = next(starts)
        return {COMPILED: time(), FIRST: once(lambda: core.block_until_ready(compiled(start)(x))), **run_eager()}

    return sample


def eager_gradient(peer, loop):
    """(the gradient of `loop`, its argument), in the library's words."""
    if peer == "autograd":
        import autograd

        return autograd.grad(loop), POINTS
    if peer == "PyTorch":
        import torch

        def grad(x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(loop(x), x)[0]

        return grad, torch.tensor(POINTS)
    library = load(peer)
    return library.core.grad(loop), library.numpy.asarray(POINTS)


def check(gradient):
    """The steps contract to a fixed point c, whose derivative is s / (1 + s) with s = sigmoid(x - c)."""
    x, c = POINTS.astype(float), numpy.zeros(len(POINTS))
    for _ in range(STEPS):
        c = numpy.log1p(numpy.exp(x - c))
    s = 1 / (1 + numpy.exp(c - x))
    assert numpy.allclose(numpy.asarray(gradient), s / (1 + s), rtol=1e-4)
