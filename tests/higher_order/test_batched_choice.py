"""Choices that every example of a batch makes for itself: nothing comes back from the way that was not taken."""

from __future__ import annotations

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

XS = np.array([0.0, 4.0, -1.0, 9.0], "float32")


def root_or_line(x):
    return lax.cond(x > 0, pnp.sqrt, lambda x: 3 * x, x)


def switched(x):
    index = (x > 0).astype("int32") + (x > 5)
    return lax.switch(index, [lambda x: 3 * x, pnp.sqrt, lambda x: pnp.log(x - 5)], x)


def nested(x):
    def positive(x):
        return lax.cond(x > 5, lambda x: pnp.log(x - 5), pnp.sqrt, x)

    return lax.cond(x > 0, positive, lambda x: 3 * x, x)


def closing_over(x):
    # the examples share the factor: its derivative is the sum of theirs
    return weighted(x, 2.0)


def weighted(x, w):
    return lax.cond(x > 0, lambda x: w * pnp.sqrt(x), lambda x: w * 3 * x, x)


def scanned(x):
    def step(carry, i):
        return lax.cond(carry > i, lambda c: c - pnp.sqrt(c - i), lambda c: 2 * c, carry), carry

    return lax.scan(step, x, pnp.arange(3.0))[0]


def looped(x):
    def body(c):
        return c - pnp.sqrt(c - 1) * 0.5

    return lax.while_loop(lambda c: c > 1.5, body, x, max_steps=20)


def chosen_in_loop(x):
    return lax.fori_loop(0, 2, lambda i, c: root_or_line(c) + 1, x)


def piecewise(x):
    return pnp.piecewise(x, [x <= 0, x > 0], [lambda x: 3 * x, pnp.sqrt])


def mirrored(x):
    return lax.cond(
        x > 0, lambda p: {"a": pnp.sqrt(p[0]), "b": p[1]}, lambda p: {"a": p[0], "b": 2 * p[1]}, (x, 2 * x)
    )["a"]


FUNCTIONS = [root_or_line, switched, nested, closing_over, scanned, looped, chosen_in_loop, piecewise, mirrored]


def linearized_at_two(f):
    """The derivative at two, by linearize; it is a number for all arguments."""
    return lambda _: pb.linearize(f, 2.0)[1](1.0)


def one_by_one(fun, xs):
    return np.stack([np.asarray(fun(x)) for x in xs])


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize("fun", FUNCTIONS)
def test_derivatives_are_those_of_a_loop(fun, wrap):
    first = one_by_one(pb.grad(fun), XS)
    second = one_by_one(pb.grad(pb.grad(fun)), XS)
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()

    def total(x):
        return pb.vmap(fun)(x).sum()

    def total_of_jitted(x):
        return pb.vmap(pb.jit(fun))(x).sum()

    def total_of_jitted_batch(x):
        return pb.jit(pb.vmap(fun))(x).sum()

    for batched in (total, total_of_jitted, total_of_jitted_batch):
        np.testing.assert_allclose(np.asarray(wrap(pb.grad(batched))(XS)), first, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(wrap(pb.vmap(pb.grad(fun)))(XS)), first, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(wrap(pb.vmap(pb.jacfwd(fun)))(XS)), first, rtol=1e-5)
    for hessian in (
        pb.hessian(total),
        pb.jacrev(pb.jacrev(total)),
        pb.jacfwd(pb.jacfwd(total)),
        pb.jacrev(pb.jacfwd(total)),
    ):
        np.testing.assert_allclose(np.asarray(wrap(hessian)(XS)), np.diag(second), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(wrap(pb.vmap(pb.hessian(fun)))(XS)), second, rtol=1e-5)


@pytest.mark.parametrize(
    "xs", [[0.0, 4.0, -1.0, 9.0], [0.0, -1.0], [1.0, 4.0]], ids=["both ways", "one way", "the other way"]
)
@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_what_examples_share_has_the_sum_of_their_derivatives(wrap, xs):
    xs = np.array(xs, "float32")
    right = sum(float(pb.grad(weighted, 1)(x, 2.0)) for x in xs)

    def total(w):
        return pb.vmap(weighted, (0, None))(xs, w).sum()

    def total_of_jitted(w):
        return pb.jit(pb.vmap(weighted, (0, None)))(xs, w).sum()

    for fun in (total, total_of_jitted):
        for derivative in (pb.grad, pb.jacfwd, linearized_at_two):
            np.testing.assert_allclose(float(wrap(derivative(fun))(2.0)), right, rtol=1e-6)
        assert float(wrap(pb.grad(pb.grad(fun)))(2.0)) == 0


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_transposes_of_linear_choices(wrap):
    rates = np.array([np.inf, 2.0, np.nan, 3.0], "float32")

    def linear(t):
        def one(x, r, t):
            return lax.cond(x > 0, lambda t: r * t, lambda t: 5 * t, t)

        return pb.vmap(one, (0, 0, None))(XS, rates, t)

    (got,) = wrap(pb.linear_transpose(linear, 1.0))(np.ones(4, "float32"))
    assert float(got) == 5 + 2 + 5 + 3


def test_a_sum_over_the_axis_counts_every_example():
    def fun(x):
        return lax.cond(x > 0, lambda x: x * lax.psum(x, "i"), lambda x: x, x)

    xs = np.array([1.0, 2.0, -1.0], "float32")

    def total(xs):
        return pb.vmap(fun, axis_name="i")(xs).sum()

    np.testing.assert_allclose(np.asarray(pb.vmap(fun, axis_name="i")(xs)), [2.0, 4.0, -1.0])
    # d/dx of x1 s + x2 s + x3 with s = x1 + x2 + x3; what the third adds to s, from a branch that it does not take, has
    # no derivative, as in JAX
    np.testing.assert_allclose(np.asarray(pb.grad(total)(xs)), [5.0, 5.0, 1.0])


def test_no_examples():
    assert pb.vmap(pb.grad(root_or_line))(np.zeros(0, "float32")).shape == (0,)
    assert pb.grad(lambda w: pb.vmap(weighted, (0, None))(np.zeros(0, "float32"), w).sum())(1.0) == 0
