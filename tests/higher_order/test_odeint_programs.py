"""The programs of `odeint`: how much of them the compiler gets, and states that the function reads in part."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.ode import odeint

T = np.array([0.0, 0.4, 1.1, 1.5])
RTOL = 1e-6  # tens of tolerances: steps add up, and the quartic between their ends is less exact than they


@pytest.fixture(autouse=True)
def double_precision():
    with pb.enable_x64(True):
        yield


def close(got, expected, rtol=RTOL, atol=3e-7):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=rtol, atol=atol)


def emitted(fun, *args):
    return pb.jit(fun).lower(*args).as_text()


def network(y, t, w):
    return pnp.tanh(w @ y + t)


def network_loss(w):
    return (odeint(network, pnp.ones(3), T, w)[-1] ** 2).sum()


def test_the_function_of_a_problem_is_emitted_once():
    """Not for each stage of a step: every copy is compiled."""
    w = np.eye(3)
    assert emitted(network_loss, w).count("stablehlo.tanh") == 1
    # the forward problem, and the adjoint one, which has the value and the derivative at the value
    assert emitted(pb.grad(network_loss), w).count("stablehlo.tanh") <= 3


def test_the_size_of_a_program_does_not_grow_with_the_parameters():
    """What the adjoint equation integrates for each of them is one array."""

    def loss(*ws):
        return (odeint(lambda y, t, *ws: sum(w @ y for w in ws), pnp.ones(3), T, *ws)[-1] ** 2).sum()

    def lines(count):
        ws = [np.full((3, 3), 0.1 * i) for i in range(count)]
        return emitted(pb.grad(loss, tuple(range(count))), *ws).count("stablehlo.")

    few, more, most = map(lines, (1, 2, 6))
    # a part of its own would be combined in each of seven slopes, their error and four coefficients
    assert most - more < 4 * 45
    assert more - few < 100


def test_parts_that_the_function_does_not_read():
    """They are integrals; of two dtypes here, and in their own places of the state."""

    def rate(state, t):
        y = state[1]
        return (y**2, -y, y.astype("float32"), pnp.stack([y, 2 * y]))

    start = (pnp.zeros(()), pnp.ones(()), pnp.zeros((), "float32"), pnp.ones(2))
    a, y, b, c = odeint(rate, start, T)
    decayed = np.exp(-T)
    close(y, decayed)
    close(a, (1 - decayed**2) / 2)
    close(b, 1 - decayed, rtol=1e-5, atol=1e-6)
    close(c, 1 + np.outer(1 - decayed, [1, 2]))
    assert (a.dtype, b.dtype, c.shape) == (np.float64, np.float32, (4, 2))


def test_parts_that_the_function_does_not_read_under_vmap():
    def integral(k):
        return odeint(lambda state, t: (-k * state[0], state[0], state[0] ** 2), (1.0, 0.0, 0.0), T)[1:]

    ks = np.array([0.5, 1.0, 3.0])
    first, second = pb.vmap(integral)(ks)
    close(first, (1 - np.exp(-np.outer(ks, T))) / ks[:, None])
    close(second, (1 - np.exp(-2 * np.outer(ks, T))) / (2 * ks[:, None]))


def test_rejected_steps():
    """A steep bend in the middle: steps are refused before it and the results are those beside it."""

    def rate(y, t):
        return 1e3 * pnp.exp(-((1e3 * (t - 0.5)) ** 2))

    times = np.array([0.0, 0.3, 0.6, 1.0])
    y = odeint(rate, 0.0, times, hmax=0.02)
    close(y, np.where(times > 0.5, np.sqrt(np.pi), 0.0))
    close(pb.jit(lambda t: odeint(rate, 0.0, t, hmax=0.02))(times), y)
