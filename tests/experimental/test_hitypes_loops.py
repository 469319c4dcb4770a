"""Values of a type of one's own in loops and branches, against the same programs on arrays."""

import numpy as np
import pytest
from quantised import QuantisedType, array, dequantise, product, quantise, scaled, straight_through, weights
from wrappers import eager, jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental.hijax import MappingSpec

FRONT = MappingSpec()
either = pytest.mark.parametrize("compiled", [eager, jit])


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-5)


def layers(q, x):
    """A scan over a stack of weights."""
    last, sums = lax.scan(lambda h, w: (pnp.tanh(product(w, h)), h.sum()), x, q)
    return last.sum() + (sums**2).sum()


def layers_of_arrays(d, x):
    last, sums = lax.scan(lambda h, w: (pnp.tanh(w @ h), h.sum()), x, d)
    return last.sum() + (sums**2).sum()


@either
@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_scan_over_a_stack_of_values(compiled, argnums):
    q, d = weights(5, 4, 4)
    x = array(4)
    close(compiled(layers)(q, x), layers_of_arrays(d, x))
    got, expected = compiled(pb.grad(layers, argnums))(q, x), pb.grad(layers_of_arrays, argnums)(d, x)
    for g, e in zip(pb.tree.leaves(got), pb.tree.leaves(expected), strict=True):
        close(g, e)


@either
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_stacks_values(compiled, reverse):
    w = array(5, 3, 4)

    def f(w):
        return lax.scan(lambda c, w: (c, quantise(w)), 0.0, w, reverse=reverse)[1]

    out = compiled(f)(w)
    assert pb.typeof(out) == QuantisedType((5, 3, 4))
    close(dequantise(out), dequantise(quantise(w)))
    close(compiled(pb.grad(lambda w: (dequantise(f(w)) ** 2).sum()))(w), 2 * dequantise(quantise(w)))


@either
def test_scan_carries_a_value(compiled):
    q, d = weights(4, 4)
    xs = array(5, 4, 4)

    def f(q, xs):
        return lax.scan(lambda c, x: (quantise(dequantise(c) + x), None), q, xs)[0]

    def of_arrays(d, xs):
        return lax.scan(lambda c, x: (straight_through(c + x), None), d, xs)[0]

    close(dequantise(compiled(f)(q, xs)), of_arrays(d, xs))
    got = compiled(pb.grad(lambda q, xs: (dequantise(f(q, xs)) ** 2).sum(), (0, 1)))(q, xs)
    expected = pb.grad(lambda d, xs: (of_arrays(d, xs) ** 2).sum(), (0, 1))(d, xs)
    close(got[0], expected[0])
    close(got[1], expected[1])


@either
def test_scan_closes_over_a_value(compiled):
    q, d = weights(4, 4)
    x = array(4)

    def f(q, x):
        return lax.scan(lambda h, _: (pnp.tanh(product(q, h)), None), x, None, length=3)[0].sum()

    def of_arrays(d, x):
        return lax.scan(lambda h, _: (pnp.tanh(d @ h), None), x, None, length=3)[0].sum()

    got, expected = compiled(pb.grad(f, (0, 1)))(q, x), pb.grad(of_arrays, (0, 1))(d, x)
    close(got[0], expected[0])
    close(got[1], expected[1])


def test_a_long_eager_scan_is_handed_to_the_compiler():
    q, _ = weights(2, 2)
    out = lax.scan(lambda c, _: (scaled(c, 1.0), None), q, None, length=20_000)[0]
    close(dequantise(out), dequantise(q))


@either
def test_scan_of_length_zero(compiled):
    q, d = weights(0, 4, 4)
    x = array(4)
    close(compiled(layers)(q, x), layers_of_arrays(d, x))
    out = compiled(lambda w: lax.map(quantise, w))(pnp.zeros((0, 2, 3)))
    assert pb.typeof(out) == QuantisedType((0, 2, 3))


@either
def test_vmap_of_a_scan(compiled):
    q, d = weights(2, 5, 4, 4)
    xs = array(3, 4)
    over_weights = pb.vmap(layers, (FRONT, None), axis_size=2)
    close(compiled(over_weights)(q, xs[0]), pb.vmap(layers_of_arrays, (0, None))(d, xs[0]))
    got = compiled(pb.vmap(pb.grad(layers), (FRONT, None), axis_size=2))(q, xs[0])
    close(got, pb.vmap(pb.grad(layers_of_arrays), (0, None))(d, xs[0]))
    got = compiled(pb.grad(lambda q: over_weights(q, xs[0]).sum()))(q)
    close(got, pb.grad(lambda d: pb.vmap(layers_of_arrays, (0, None))(d, xs[0]).sum())(d))
    one, plain = weights(5, 4, 4)
    close(compiled(pb.vmap(layers, (None, 0)))(one, xs), pb.vmap(layers_of_arrays, (None, 0))(plain, xs))


@either
def test_vmap_of_a_scan_that_stacks_values(compiled):
    w = array(2, 5, 3, 4)

    def f(w):
        return lax.scan(lambda c, w: (c, quantise(w)), 0.0, w)[1]

    out = compiled(pb.vmap(f, out_axes=FRONT))(w)
    assert pb.typeof(out) == QuantisedType((2, 5, 3, 4))
    close(dequantise(out), dequantise(quantise(w)))


@either
def test_map_and_fori_loop(compiled):
    q, d = weights(5, 3, 4)
    close(compiled(lambda q: lax.map(dequantise, q))(q), d)

    def double(i, c):
        return scaled(c, 2.0)

    doubled = compiled(lambda q: lax.fori_loop(0, 3, double, q))(q)
    close(dequantise(doubled), 8 * d)


@either
@pytest.mark.parametrize("flag", [True, False])
def test_cond_takes_and_returns_values(compiled, flag):
    q, d = weights(3, 4)
    w = array(3, 4)

    def f(flag, q, w):
        return lax.cond(flag, lambda q, w: q, lambda q, w: quantise(2 * w), q, w)

    def of_arrays(flag, d, w):
        return lax.cond(flag, lambda d, w: d, lambda d, w: straight_through(2 * w), d, w)

    out = compiled(f)(flag, q, w)
    assert pb.typeof(out) == QuantisedType((3, 4))
    close(dequantise(out), of_arrays(flag, d, w))
    got = compiled(pb.grad(lambda q, w: (dequantise(f(flag, q, w)) ** 2).sum(), (0, 1)))(q, w)
    expected = pb.grad(lambda d, w: (of_arrays(flag, d, w) ** 2).sum(), (0, 1))(d, w)
    close(got[0], expected[0])
    close(got[1], expected[1])


@either
def test_cond_whose_branches_save_different_values(compiled):
    q, d = weights(3, 3)
    x = array(3)

    def f(flag, q, x):
        return lax.cond(
            flag, lambda q, x: product(quantise(pnp.sin(dequantise(q))), x), lambda q, x: x * pnp.sin(x), q, x
        ).sum()

    def of_arrays(flag, d, x):
        return lax.cond(flag, lambda d, x: straight_through(pnp.sin(d)) @ x, lambda d, x: x * pnp.sin(x), d, x).sum()

    for flag in (True, False):
        got = compiled(pb.grad(f, (1, 2)))(flag, q, x)
        expected = pb.grad(of_arrays, (1, 2))(flag, d, x)
        close(got[0], expected[0])
        close(got[1], expected[1])


@either
def test_switch(compiled):
    q, d = weights(3, 4)
    branches = [lambda q: q, lambda q: scaled(q, 2.0), lambda q: scaled(q, 3.0)]
    for i in range(3):
        close(dequantise(compiled(lambda i, q: lax.switch(i, branches, q))(i, q)), (i + 1) * d)


@either
def test_cond_whose_flag_has_a_batch_axis(compiled):
    q, d = weights(3, 4)
    flags, factors = pnp.array([True, False, True]), array(3)

    def f(flag, q, a):
        return lax.cond(flag, lambda q: scaled(q, a), lambda q: scaled(q, -1.0), q)

    out = compiled(pb.vmap(f, (0, None, 0), out_axes=FRONT))(flags, q, factors)
    expected = np.where(np.asarray(flags)[:, None, None], factors[:, None, None] * d, -d)
    close(dequantise(out), expected)

    def total(q):
        return (dequantise(pb.vmap(f, (0, None, 0), out_axes=FRONT)(flags, q, factors)) ** 2).sum()

    weight = np.where(flags, np.square(factors), 1.0).sum()
    close(compiled(pb.grad(total))(q), 2 * weight * d)


@either
def test_while_loop_carries_a_value(compiled):
    q, d = weights(3, 4)

    def f(q, max_steps=None):
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, scaled(c[1], 2.0)), (0, q), max_steps=max_steps)[
            1
        ]

    close(dequantise(compiled(f)(q)), 8 * d)
    t = array(3, 4, seed=3)

    def doubled(q):
        return dequantise(f(q))

    close(compiled(lambda q: pb.jvp(doubled, (q,), (t,))[1])(q), 8 * t)
    close(compiled(pb.grad(lambda q: (dequantise(f(q, 5)) ** 2).sum()))(q), 2 * 64 * d)


@either
def test_while_loop_whose_examples_stop_at_different_times(compiled):
    q, d = weights(3, 4)

    def f(n, q):
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, scaled(c[1], 2.0)), (0, q))[1]

    out = compiled(pb.vmap(f, (0, None), out_axes=FRONT))(pnp.array([0, 1, 3]), q)
    close(dequantise(out), np.stack([d, 2 * d, 8 * d]))


@either
def test_nested_loops_and_programs(compiled):
    q, d = weights(4, 4)
    x = array(4)

    def f(q, x):
        def step(c, _):
            inner = lax.fori_loop(0, 2, lambda i, h: lax.cond(i > 0, pb.jit(pnp.tanh), pnp.sin, product(c, h)), x)
            return quantise(pnp.cos(dequantise(c))), inner.sum()

        last, sums = lax.scan(pb.checkpoint(step), q, None, length=3)
        return sums.sum() + dequantise(last).sum()

    def of_arrays(d, x):
        def step(c, _):
            inner = lax.fori_loop(0, 2, lambda i, h: lax.cond(i > 0, pnp.tanh, pnp.sin, c @ h), x)
            return straight_through(pnp.cos(c)), inner.sum()

        last, sums = lax.scan(step, d, None, length=3)
        return sums.sum() + last.sum()

    got, expected = compiled(pb.grad(f, (0, 1)))(q, x), pb.grad(of_arrays, (0, 1))(d, x)
    close(got[0], expected[0])
    close(got[1], expected[1])
