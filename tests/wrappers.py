"""What a function may stand in, with names that show in the ids of tests.

The first wrap a function of pullback's and leave it what it is, or make a derivative of it. Those that take a library
(`PB` or `JAX` of `transformations`) make another function of it, which calls it in loops, branches and programs.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

# ---- the same function


def eager(f):
    return f


def jit(f):
    return pb.jit(f)


def checkpoint(f):
    return pb.checkpoint(f)


def in_cond(f):
    def chosen(*args):
        return lax.cond(True, f, f, *args)

    return chosen


def in_scan(f):
    """As the one step of a loop."""

    def loop(*args):
        def step(carry, _):
            return carry, f(*args)

        return lax.scan(step, 0.0, None, length=1)[1][0]

    return loop


def in_vmap(f):
    """As a batch of one example."""

    def batched(x):
        return pb.vmap(f)(pnp.asarray(x)[None])[0]

    return batched


EAGER_AND_JIT = (eager, jit)
WRAPPERS = (eager, jit, in_cond, in_scan)
STAGED = (eager, jit, in_scan, checkpoint)


# ---- derivatives of a function of one argument


def jit_of_grad(f):
    return pb.jit(pb.grad(f))


def grad_of_jit(f):
    return pb.grad(pb.jit(f))


def grad_in_vmap(f):
    return in_vmap(pb.grad(f))


def grad_of_a_batch_of_two(f):
    def second(x):
        return pb.vmap(pb.grad(f))(pnp.stack([x, x]))[1]

    return second


def forward(f):
    """The derivative by a number, by jvp."""

    def derivative(x):
        return pb.jvp(f, (x,), (1.0,))[1]

    return derivative


def linearized(f):
    """The derivative by a number, by linearize."""

    def derivative(x):
        return pb.linearize(f, x)[1](np.float32(1))

    return derivative


# ---- another function, which calls it somewhere


def itself(lib, f):
    return f


def scan_of(lib, f):
    def step(c, _):
        return f(c), f(c) * c

    return lambda x: lib.lax.scan(step, x, None, length=2)


def cond_of(lib, f):
    def times(x):
        return f(x) * x

    return lambda x: lib.lax.cond(x.sum() > 0, f, times, x)


def switch_of(lib, f):
    def identity(x):
        return x

    return lambda x: lib.lax.switch(np.int32(1), [identity, f, lib.lax.exp], x)


def fori_loop_of(lib, f):
    def body(i, c):
        return f(c) + i

    return lambda x: lib.lax.fori_loop(0, 2, body, x)


def map_of(lib, f):
    return lambda x: lib.lax.map(f, x, batch_size=2)


def jit_of(lib, f):
    @lib.t.jit
    def twice(x):
        return lib.t.jit(f)(x) * f(x)

    return twice


def vmap_of(lib, f):
    def product(x, y):
        return f(x) * f(y)

    def fun(x):
        return lib.t.vmap(f)(x) * lib.t.vmap(product, (0, None))(x, x[0])

    return fun


def scan_of_cond_of_jit_of(lib, f):
    def other(c):
        return c * 1.5

    def step(c, k):
        return lib.lax.cond(k > 0, lib.t.jit(f), other, c), None

    return lambda x: lib.lax.scan(step, x, np.array([1, 0, 1]))[0]


def vmap_of_scan_of(lib, f):
    def step(c, _):
        return f(c), c

    return lib.t.vmap(lambda x: lib.lax.scan(step, x, None, length=2))


def jit_of_vmap_of_cond_of(lib, f):
    def identity(x):
        return x

    return lib.t.jit(lib.t.vmap(lambda x: lib.lax.cond(x > 0, f, identity, x)))


SURROUNDINGS = (
    scan_of,
    cond_of,
    switch_of,
    fori_loop_of,
    map_of,
    jit_of,
    vmap_of,
    scan_of_cond_of_jit_of,
    vmap_of_scan_of,
    jit_of_vmap_of_cond_of,
)
LOOPS = (scan_of, fori_loop_of, map_of, scan_of_cond_of_jit_of, vmap_of_scan_of)
