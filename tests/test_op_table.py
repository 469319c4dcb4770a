"""Every operation of the table under every transformation and their compositions."""

from types import ModuleType
from typing import NamedTuple

import jax
import jax.nn
import jax.numpy
import jax.scipy.special
import numpy as np
import pytest
from agreement import all_close, check_derivative, check_value
from op_table import TABLE

import pullback as pb
import pullback.nn
import pullback.numpy
import pullback.scipy.special
from pullback.core import check_jaxpr


class Library(NamedTuple):
    np: ModuleType
    lax: ModuleType
    nn: ModuleType
    special: ModuleType


PULLBACK = Library(pullback.numpy, pullback.lax, pullback.nn, pullback.scipy.special)
JAX = Library(jax.numpy, jax.lax, jax.nn, jax.scipy.special)
DIFFERENTIABLE = [r for r in TABLE if r.active]


def seeded(row):
    return np.random.default_rng(sum(map(ord, row.name)))


def function(row, library):
    """The row's function, on arrays of the library whatever it is given."""
    fun = row.make(library)
    return lambda *args: fun(*map(library.np.asarray, args))


def active_function(row, library):
    """The row's function of its active arguments alone, and those arguments."""
    fun = function(row, library)

    def of_active(*xs):
        args = list(row.args)
        for i, x in zip(row.active, xs, strict=True):
            args[i] = x
        return fun(*args)

    return of_active, [row.args[i] for i in row.active]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_value(row):
    fun = function(row, PULLBACK)
    check_value(fun, function(row, JAX), *row.args)
    check_jaxpr(pb.make_jaxpr(fun)(*row.args))


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=str)
def test_first_derivative(row):
    fun, args = active_function(row, PULLBACK)
    check_derivative(fun, *args)
    oracle, _ = active_function(row, JAX)
    rng = seeded(row)
    ct = rng.standard_normal(np.shape(fun(*args))).astype("float32")
    all_close(pb.vjp(fun, *args)[1](ct), jax.vjp(oracle, *args)[1](ct), 20 * row.scale)
    check_jaxpr(pb.make_jaxpr(lambda *xs: pb.vjp(fun, *xs)[1](ct))(*args))


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_vmap(row):
    fun = function(row, PULLBACK)
    rng = seeded(row)
    for axis in (0, -1):
        batches = []
        for x in row.args:
            x = np.asarray(x)
            rows = [x, *(rng.permutation(x.ravel()).reshape(x.shape) for _ in range(2))]
            batches.append(np.stack(rows, axis=axis))
        expected = np.stack([np.asarray(fun(*(np.take(x, i, axis) for x in batches))) for i in range(3)])
        mapped = pb.vmap(fun, axis)
        for run in (mapped, pb.jit(mapped)):
            all_close(np.asarray(run(*batches)), expected, 20 * row.scale)
        check_jaxpr(pb.make_jaxpr(mapped)(*batches))


@pytest.mark.parametrize("row", [r for r in DIFFERENTIABLE if r.second], ids=str)
def test_compositions(row):
    """Derivatives of derivatives, of batches and of compiled functions, against JAX."""

    def compositions(t, library):
        fun, args = active_function(row, library)

        def loss(*xs):
            out = fun(*xs)
            return (library.np.sin(out.astype("float32")) * (1 + library.np.arange(out.size).reshape(out.shape))).sum()

        every = tuple(range(len(args)))
        gradient = t.grad(loss, every)
        ones = tuple(np.ones_like(x) for x in args)

        def along(*xs):
            return sum(g.sum() for g in gradient(*xs))

        batches = [np.stack([x, x[..., ::-1] if np.ndim(x) else x + 1]) for x in args]

        def run(args, batches):
            return {
                "grad of jit": t.grad(t.jit(loss), every)(*args),
                "reverse over reverse": t.grad(along, every)(*args),
                "forward over reverse": t.jvp(gradient, tuple(args), ones)[1],
                "linearize of jit of vmap": t.linearize(t.jit(t.vmap(loss)), *batches)[1](*batches),
                "vmap of grad": t.vmap(gradient)(*batches),
                "vmap of jit of reverse over reverse": t.vmap(t.jit(t.grad(along, every)))(*batches),
            }

        return run, args, batches

    ours, args, batches = compositions(pb, PULLBACK)
    oracle, _, _ = compositions(jax, JAX)
    expected = jax.jit(oracle)(args, batches)
    for run in (ours, pb.jit(ours)):
        got = run(args, batches)
        for key in expected:
            try:
                all_close(got[key], expected[key], 100 * row.scale)
            except AssertionError as error:
                raise AssertionError(f"{key}: {error}") from None
    check_jaxpr(pb.make_jaxpr(ours)(args, batches))
