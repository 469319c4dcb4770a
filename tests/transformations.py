"""One function under every transformation, in pullback and in JAX: results, and the form of every jaxpr.

`agree(make, *args)` takes a function of a library (`PB` or `JAX`: its transformations `t`, its `np`, its `lax`) that
returns the function under test, and arguments that are arrays of floats or pytrees of them.
"""

from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy
import numpy as np
from agreement import all_close

import pullback
import pullback.lax
import pullback.numpy
from pullback.core import check_jaxpr


class Library(NamedTuple):
    t: ModuleType
    np: ModuleType
    lax: ModuleType


PB = Library(pullback, pullback.numpy, pullback.lax)
JAX = Library(jax, jax.numpy, jax.lax)


def is_inexact(x):
    return x.dtype.kind in "fc" or x.dtype.name == "bfloat16"


def leaves(tree):
    return jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, pullback.Array))


def total(lib, tree):
    """A scalar that depends on every float of a result, in no symmetric way."""
    parts = [(lib.lax.sin(x.astype(np.float32)) * (i + 1)).sum() for i, x in enumerate(leaves(tree)) if is_inexact(x)]
    return sum(parts, start=lib.np.zeros(()))


def battery(lib, fun, reverse, second, batch):
    """A function from arguments, directions and batches to the results of every transformation of `fun`."""
    t = lib.t

    def loss(*args):
        return total(lib, fun(*args))

    def along(tangents, gradient):
        return sum(((d * g).sum() for d, g in zip(leaves(tangents), leaves(gradient), strict=True)), lib.np.zeros(()))

    def run(args, tangents, batches):
        n = len(args)
        every = tuple(range(n))
        out = {"value": fun(*args), "nested jit": t.jit(fun)(*args)}
        out["jvp"] = [x for x in leaves(t.jvp(fun, args, tangents)) if x.dtype != jax.dtypes.float0]
        out["jvp of jit"] = list(leaves(t.jvp(t.jit(loss), args, tangents)))
        out["linearize"] = t.linearize(loss, *args)[1](*tangents)
        if reverse:
            gradient = t.grad(loss, every)
            out["grad"] = gradient(*args)
            out["grad of jit"] = t.grad(t.jit(loss), every)(*args)
            if second:
                out["forward over reverse"] = t.jvp(gradient, args, tangents)[1]
                out["reverse over reverse"] = t.grad(lambda *xs: along(tangents, gradient(*xs)), every)(*args)
                out["reverse over forward"] = t.grad(lambda *xs: t.jvp(loss, xs, tangents)[1], every)(*args)
        if second:
            out["forward over forward"] = t.jvp(lambda *xs: t.jvp(loss, xs, tangents)[1], args, tangents)[1]
        if batch:
            for axes in dict.fromkeys([(0,) * n, (0, *(None,) * (n - 1)), (*(None,) * (n - 1), 0)]):
                xs = [b if a == 0 else x for x, b, a in zip(args, batches, axes, strict=True)]
                out[f"vmap{axes}"] = t.vmap(fun, axes)(*xs)
                out[f"jvp of vmap{axes}"] = t.jvp(lambda *ys, axes=axes: t.vmap(loss, axes)(*ys), tuple(xs), tuple(xs))
                if reverse:
                    out[f"vmap{axes} of grad"] = t.vmap(t.grad(loss, every), axes)(*xs)
                    out[f"grad of vmap{axes}"] = t.grad(
                        lambda *ys, axes=axes: total(lib, t.vmap(t.jit(fun), axes)(*ys)), every
                    )(*xs)
        return out

    return run


# the oracle is compiled once and run once
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def agree(make, *args, reverse=True, second=True, batch=True, compiled=False, scale=10.0, seed=0):
    """Every transformation of `make(PB)` and `make(JAX)` agrees, and the jaxpr of all of ours is well-formed.

    Ours run eagerly, with `jit` inside of transformations; with `compiled` they run once more as one program.
    """
    rng = np.random.default_rng(seed)

    def random_like(x, *lead):
        return rng.uniform(-1, 1, (*lead, *np.shape(x))).astype(np.asarray(x).dtype)

    args = jax.tree.map(np.asarray, args)
    tangents = jax.tree.map(random_like, args)
    batches = jax.tree.map(lambda x: random_like(x, 3), args)
    ours = battery(PB, make(PB), reverse, second, batch)
    expected = jax.jit(battery(JAX, make(JAX), reverse, second, batch), compiler_options=QUICK)(args, tangents, batches)
    for run in (ours, pullback.jit(ours)) if compiled else (ours,):
        got = run(args, tangents, batches)
        assert got.keys() == expected.keys()
        for key in expected:
            try:
                all_close(got[key], expected[key], scale)
            except AssertionError as error:
                raise AssertionError(f"{key}: {error}") from None
    check_jaxpr(pullback.make_jaxpr(ours)(args, tangents, batches))
