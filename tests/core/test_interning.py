"""One jaxpr for all that say the same: eager solvers are compiled once, and see every value as it is now."""

import gc
import weakref

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import nn
from pullback._core import interning
from pullback._core.interning import interned
from pullback.debug import counters
from pullback.implicit import odeint

T = np.linspace(0.0, 1.0, 4).astype(np.float32)
factor = 1.0


class Model:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, y, t):
        return -self.rate * y


def staged(fun, *args):
    return pb.make_jaxpr(fun)(*args).jaxpr


def line(x, y):
    return pnp.sin(x) * 2.0 + y


def test_the_same_equations_are_one_jaxpr():
    a, b = staged(line, 1.0, 2.0), staged(line, 3.0, 4.0)
    assert a is not b
    assert interned(a) is a
    assert interned(b) is a
    assert interned(staged(line, pnp.ones(2), 2.0)) is not a


# functions of a number, which make the same equations but for that number


def times(k):
    return lambda x: x * k


def multiple(k):
    return lambda x: k * x


def times_an_array(k):
    return lambda x: x * pnp.float32(k)


def power(k):
    return lambda x: x**k


def sum_along(k):
    return lambda x: x.sum(int(k), keepdims=True)


def loop_of(k):
    def body(i, y):
        return y * k

    return lambda x: pb.lax.fori_loop(0, int(k) + 1, body, x)


@pytest.mark.parametrize("other", [times, multiple, times_an_array, power, sum_along, loop_of])
def test_what_differs_in_a_value_is_not_the_same(other):
    x = pnp.ones((2, 2))
    same = interned(staged(other(1.0), x))
    assert interned(staged(other(1.0), x)) is same
    assert interned(staged(other(0.0), x)) is not same


def test_zeros_of_both_signs_are_two_values():
    positive, negative = (interned(staged(times(zero), 1.0)) for zero in (0.0, -0.0))
    assert positive is not negative


def test_options_are_part_of_it():
    plain = interned(staged(line, 1.0, 2.0))
    with pb.enable_x64():
        assert interned(staged(line, np.float32(1), np.float32(2))) is not plain
    with pb.default_matmul_precision("highest"):
        assert interned(staged(line, 1.0, 2.0)) is not plain
    assert interned(staged(line, 1.0, 2.0)) is plain


def test_the_lines_of_another_function_are_not_the_same():
    def one(x):
        return x + 1

    def two(x):
        return x + 1

    assert interned(staged(one, 1.0)) is not interned(staged(two, 1.0))


def test_what_has_no_hash_is_let_be():
    captured = np.arange(3.0)

    def fun(x):
        return pb.vmap(lambda a: pnp.dot(a, captured))(x)

    jaxpr = staged(pb.jit(fun), pnp.ones((2, 3)))
    assert interned(jaxpr) is not None  # whatever it is: no error


def test_the_table_is_bounded():
    refs = []
    for i in range(interning._LIMIT + 5):
        jaxpr = interned(staged(times(i + 0.5), 1.0))
        refs.append(weakref.ref(jaxpr))
        del jaxpr
    gc.collect()
    assert len(interning._known) <= interning._LIMIT
    assert refs[0]() is None
    assert refs[-1]() is not None


# --- eager odeint ---


def closed_form(k):
    """The sum of exp(-k t) at the times, and its derivative in k."""
    return np.exp(-k * T).sum(), (-T * np.exp(-k * T)).sum()


def check(value_and_slope, k):
    value, slope = closed_form(k)
    np.testing.assert_allclose(value_and_slope[0], value, rtol=1e-5)
    np.testing.assert_allclose(value_and_slope[1], slope, rtol=1e-4)


def slope_of_decay(y, t, k):
    return -k * y


def decay(k):
    return odeint(slope_of_decay, 1.0, T, k).sum()


def decay_of_two(k):
    return odeint(slope_of_decay, pnp.ones(2), T, k).sum()


def test_gradient_of_odeint_compiles_once():
    slope = pb.value_and_grad(decay)
    for k in (0.3, 0.5):
        check(slope(k), k)
    with counters() as seen:
        for k in (0.7, 0.9, 1.1):
            check(slope(k), k)
    assert seen["compiles"] == 0
    assert seen["lowerings"] == 0
    with counters() as seen:
        for _ in range(4):  # at other types, the one of the forward pass and the one of the backward pass
            pb.value_and_grad(decay_of_two)(0.7)
    assert seen["compiles"] == 2


def test_first_call_is_interpreted():
    def slope(y, t, k):
        return -k * y * (1.0 + 0 * t)

    def fun(k):
        return odeint(slope, 1.0, T[:2], k).sum()

    with counters() as seen:
        pb.grad(fun)(0.5)
    assert seen["compiles"] == 0


def test_forward_mode_compiles_once():
    def push(k):
        return pb.jvp(decay, (k,), (1.0,))

    for k in (0.3, 0.5, 0.7):
        check(push(k), k)
    with counters() as seen:
        check(push(0.9), 0.9)
    assert seen["compiles"] == 0


def test_captured_arrays_that_change():
    def solution(k):
        return odeint(lambda y, t: -k * y, 1.0, T).sum()

    for k in (0.3, 0.5, 0.7, 0.9):
        np.testing.assert_allclose(solution(pnp.asarray(k)), closed_form(k)[0], rtol=1e-5)
        np.testing.assert_allclose(solution(k), closed_form(k)[0], rtol=1e-5)
        np.testing.assert_allclose(solution(pnp.full((1,), k)[0]), closed_form(k)[0], rtol=1e-5)
        check(pb.value_and_grad(solution)(k), k)
    with counters() as seen:
        check(pb.value_and_grad(solution)(0.4), 0.4)
    assert seen["compiles"] == 0


def test_a_global_a_cell_and_an_attribute_that_are_reassigned():
    global factor
    k = pnp.full(1, 1.0)
    model = Model(1.0)

    def by_global(y, t):
        return -factor * y

    def by_cell(y, t):
        return -k * y

    for _ in range(3):
        for value in (0.25, 0.5, 0.75):
            factor, k, model.rate = value, pnp.full(1, value), value
            expected = closed_form(value)[0]
            for rate, start in ((by_global, 1.0), (by_cell, pnp.ones(1)), (model, 1.0)):
                np.testing.assert_allclose(odeint(rate, start, T).sum(), expected, rtol=1e-5)
        model.rate = pnp.full(1, 0.125)
        np.testing.assert_allclose(odeint(model, pnp.ones(1), T).sum(), closed_form(0.125)[0], rtol=1e-5)


def test_gradients_see_what_is_reassigned():
    k = pnp.full(1, 1.0)

    def loss(scale):
        return odeint(lambda y, t, scale: -scale * k * y, pnp.ones(1), T, scale).sum()

    for value in (0.25, 0.5, 0.75, 0.25):
        k = pnp.full(1, value)
        got = pb.value_and_grad(loss)(1.0)
        expected = closed_form(value)
        np.testing.assert_allclose(got, (expected[0], value * expected[1]), rtol=1e-4)


@pytest.mark.parametrize("activation", [pnp.tanh, nn.relu, nn.softplus, nn.gelu, nn.silu])
def test_networks(activation):
    def loss(w):
        return odeint(lambda y, t, w: w[1] @ activation(w[0] @ y), pnp.array([1.0, -0.5]), T, w).sum()

    w = (pnp.linspace(-1.0, 1.0, 6).reshape(3, 2), pnp.linspace(-1.0, 1.0, 6).reshape(2, 3))
    slope = pb.grad(loss)
    first = slope(w)
    slope(w)
    with counters() as seen:
        last = slope(w)
    assert seen["compiles"] == 0
    for a, b in zip(first, last, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_arguments_of_any_value_find_one_program():
    for k in (0.3, 0.5, 0.7):
        np.testing.assert_allclose(odeint(lambda y, t, k: -k * y, 1.0, T, k).sum(), closed_form(k)[0], rtol=1e-5)
    with counters() as seen:
        np.testing.assert_allclose(decay(0.9), closed_form(0.9)[0], rtol=1e-5)
        np.testing.assert_allclose(decay(1.1), closed_form(1.1)[0], rtol=1e-5)
        np.testing.assert_allclose(decay(1.3), closed_form(1.3)[0], rtol=1e-5)
    assert seen["compiles"] <= 1


def test_arguments_whose_values_func_asks_for():
    def rate(y, t, k, n):
        total = 0 * y
        for _ in range(n):
            total = total - k * y
        return total / n

    for k, n in ((0.3, 1), (0.5, 2), (0.5, 2), (0.7, 3)):
        np.testing.assert_allclose(odeint(rate, 1.0, T, k, n).sum(), closed_form(k)[0], rtol=1e-5)
