"""The tangents of integers, which hold nothing, cross the border of compiled programs as they cross eager code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.dtypes import float0 as jax_float0

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.dtypes import float0
from pullback.tree_util import tree_leaves

I = np.arange(3, dtype=np.int32)  # noqa: E741
X = np.array([0.5, 1.5, -2.0], np.float32)


def zeros(*shape):
    return np.zeros(shape, float0)


def product(i, x):
    return i * x


def gradient(lib):
    return lib.grad(product, allow_int=True)


def back(lib):
    return lambda i, x: lib.vjp(product, i, x)[1](x)


def forward(lib):
    empty = jax_float0 if lib is jax else float0
    return lambda i, x: lib.jvp(product, (i, x), (np.zeros(np.shape(i), empty), x))


def carried(lib):
    """A scan over integers that stacks their gradients, and a float0 in the carry."""

    def step(c, i):
        return (c[0] + i, gradient(lib)(i, 2.0)), gradient(lib)(i, 1.5)

    start = np.zeros((), jax_float0 if lib is jax else float0)
    return lambda i, x: lib.lax.scan(step, (x.sum(), start), i)


def same(got, want):
    for a, b in zip(tree_leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert (a.dtype == float0) == (b.dtype == jax_float0)
        if a.dtype != float0:
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("make", [gradient, back, forward])
def test_results_of_compiled_programs_are_as_eager_and_as_in_jax(make):
    want = make(jax)(jnp.int32(3), jnp.float32(2.0))
    f = make(pb)
    for run in (f, pb.jit(f), pb.jit(pb.jit(f))):
        same(run(np.int32(3), np.float32(2.0)), want)


@pytest.mark.parametrize("make", [gradient, back])
def test_with_vmap_on_either_side(make):
    f = make(pb)
    for run in (pb.vmap(f), pb.jit(pb.vmap(f)), pb.vmap(pb.jit(f))):
        same(run(I, X), jax.vmap(make(jax))(I, X))


def test_in_loops_and_branches():
    for run in (carried(pb), pb.jit(carried(pb))):
        (total, left), rows = run(I, X)
        assert float(total) == 3.0
        assert [left.dtype, left.shape, rows.dtype, rows.shape] == [float0, (), float0, (3,)]

    def chosen(p, t):
        return lax.cond(p, lambda t: t, lambda t: np.zeros(2, float0), t)

    flags = pnp.array([True, False])
    for run, p, t in (
        (chosen, True, zeros(2)),
        (pb.jit(chosen), True, zeros(2)),
        (pb.jit(pb.vmap(chosen)), flags, zeros(2, 2)),
    ):
        out = run(p, t)
        assert (out.dtype, out.shape) == (float0, t.shape)

    def halved(x):
        return lax.while_loop(lambda c: c[0] > 1, lambda c: (c[0] / 2, c[1]), (x, zeros(2)), max_steps=5)[0]

    assert float(pb.grad(halved)(3.0)) == float(pb.jit(pb.grad(halved))(3.0)) == 0.25


def test_arguments():
    out = pb.jit(lambda t, x: (t, x))(zeros(2), 1.0)
    assert np.asarray(out[0]).dtype == float0
    assert np.asarray(out[0]).shape == (2,)
    same(pb.jit(lambda t: t)(out[0]), zeros(2))
    assert pb.jit(lambda: zeros(0, 2))().shape == (0, 2)
    # what comes out serves as a tangent
    (tangent,) = tree_leaves(pb.jit(gradient(pb))(3, 2.0))
    assert float(pb.jvp(product, (3, 2.0), (tangent, 1.0))[1]) == 3.0


def test_the_vjp_of_an_integer_as_an_argument():
    y, f_vjp = pb.vjp(product, X, I)
    same(pb.jit(lambda f, ct: f(ct))(f_vjp, y), (I * np.asarray(y), zeros(3)))


def watched(lib):
    """A function of a number and an integer with a jvp rule, and what its rule saw."""
    seen = []
    fun = lib.custom_jvp(lambda x, n: (x * n, n + 1))

    @fun.defjvp
    def rule(primals, tangents):
        seen.append((tangents[1].dtype, tangents[1].shape))
        return fun(*primals), (tangents[0] * primals[1], tangents[1])

    return fun, seen


def ways_to_differentiate(lib, numpy, fun):
    empty = jax_float0 if lib is jax else float0

    def squared(x):
        return fun(x, 3)[0] ** 2

    def looped(x):
        return lib.lax.scan(lambda c, n: (fun(c, n)[0], n), x, numpy.arange(1, 4))[0]

    return {
        "grad": lambda: lib.grad(squared)(2.0),
        "jit": lambda: lib.jit(lib.grad(squared))(2.0),
        "vmap": lambda: lib.vmap(lib.grad(squared))(numpy.ones(2)),
        "twice": lambda: lib.grad(lib.grad(squared))(2.0),
        "scan": lambda: lib.grad(looped)(1.0),
        "jvp": lambda: lib.jvp(fun, (2.0, True), (1.0, np.zeros((), empty)))[1][0],
    }


@pytest.mark.parametrize("way", ["grad", "jit", "vmap", "twice", "scan", "jvp"])
def test_rules_get_float0_for_integers(way):
    fun, seen = watched(pb)
    reference, seen_there = watched(jax)
    got = ways_to_differentiate(pb, pnp, fun)[way]()
    np.testing.assert_allclose(np.asarray(got), np.asarray(ways_to_differentiate(jax, jnp, reference)[way]()))
    assert {(dtype == float0, shape) for dtype, shape in seen} == {(True, ())}
    assert {(dtype == jax_float0, shape) for dtype, shape in seen_there} == {(True, ())}


def test_backward_rules_get_float0_for_integers():
    fun = pb.custom_vjp(lambda x, n: (x * n, n + 1))
    seen = []

    def backward(n, cts):
        seen.append((cts[1].dtype, cts[1].shape))
        return cts[0] * n, cts[1]

    fun.defvjp(lambda x, n: (fun(x, n), n), backward)
    assert float(pb.grad(lambda x: fun(x, 3)[0])(2.0)) == 3
    assert float(pb.jit(pb.grad(lambda x: fun(x, 3)[0]))(2.0)) == 3
    assert seen == [(float0, ())] * 2


def test_arithmetic_with_float0_says_what_it_is():
    fun = pb.custom_jvp(lambda x, n: x * n)
    fun.defjvp(lambda primals, tangents: (fun(*primals), tangents[0] * primals[1] + primals[0] * tangents[1]))
    with pytest.raises(pb.dtypes.TypePromotionError, match="tangent of an integer or a bool"):
        pb.grad(fun)(2.0, 3)


def test_the_type_of_such_zeros_has_their_name():
    aval = pb.typeof(np.arange(2)).to_tangent_aval()
    assert (str(aval), repr(aval), aval.str_short()) == ("float0[2]", "ShapedArray(float0[2])", "float0[2]")
