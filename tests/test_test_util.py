"""`pullback.test_util`: check_grads, check_jvp and check_vjp accept right derivatives and refuse wrong ones."""

import functools

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.test_util import check_grads, check_jvp, check_vjp

X = np.array([0.5, -1.25, 2.0], np.float32)


def model(p, x):
    return {"y": pnp.tanh(p["w"] * x), "n": pnp.sum(p["w"]) + 1}


def wrong_jvp(factor):
    f = pb.custom_jvp(pnp.sin)
    f.defjvp(lambda p, t: (pnp.sin(p[0]), factor * pnp.cos(p[0]) * t[0]))
    return f


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ("fwd", "rev")])
def test_right_derivatives_pass(modes):
    check_grads(model, ({"w": X}, X), 2, modes)


def test_higher_order_and_double_precision():
    with pb.enable_x64(True):
        check_grads(lambda x: pnp.sin(x) * x**3, (1.5,), 3)


def test_complex_and_integer_arguments():
    check_grads(lambda z, n: pnp.sin(z) * n, (np.complex64(1 - 0.5j), 3), 2)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_wrong_derivatives_are_refused(mode):
    with pytest.raises(AssertionError, match=f"{mode} of sin.*finite difference"):
        check_grads(wrong_jvp(2.0), (X,), 1, (mode,))


def test_a_vanishing_second_derivative_is_refused():
    f = pb.custom_jvp(pnp.sin)
    f.defjvp(lambda p, t: (f(*p), pb.lax.stop_gradient(pnp.cos(p[0])) * t[0]))
    check_grads(f, (X,), 1)
    with pytest.raises(AssertionError, match="fwd of fwd of sin"):
        check_grads(f, (X,), 2)


def test_single_checks():
    f = functools.partial(model, {"w": X})
    check_jvp(f, functools.partial(pb.jvp, f), (X,))
    check_vjp(f, functools.partial(pb.vjp, f), (X,))
    check_vjp(lambda x, n: (x * n, n), functools.partial(pb.vjp, lambda x, n: (x * n, n)), (X, 2))
    check_jvp(lambda x, n: (x * n, n), functools.partial(pb.jvp, lambda x, n: (x * n, n)), (X, 2))


def sine_with_wrong_vjp(x):
    return pnp.sin(x), lambda ct: (2 * ct * pnp.cos(x),)


def sine_with_a_cotangent_too_many(x):
    return pnp.sin(x), lambda ct: (ct, ct)


def test_messages():
    with pytest.raises(AssertionError, match=r"^mine: the tangent of result: .*, finite difference"):
        check_jvp(pnp.sin, lambda p, t: (pnp.sin(p[0]), 2 * pnp.cos(p[0]) * t[0]), (1.0,), err_msg="mine")
    with pytest.raises(AssertionError, match=r"^check_jvp: the value: .*, of the function"):
        check_jvp(pnp.sin, lambda p, t: (p[0], pnp.cos(p[0]) * t[0]), (1.0,))
    with pytest.raises(AssertionError, match=r"^check_vjp: <t, Jᵀc>: .*, finite difference"):
        check_vjp(pnp.sin, sine_with_wrong_vjp, (1.0,))
    with pytest.raises(AssertionError, match="expected one for each of the 1 leaves"):
        check_vjp(pnp.sin, sine_with_a_cotangent_too_many, (1.0,))


def test_tolerances_and_steps_of_the_caller():
    check_grads(wrong_jvp(1.01), (X,), 1, rtol=0.1, atol=0.1)
    check_grads(pnp.sin, (X,), 1, eps=1e-2)
    with pytest.raises(AssertionError):
        check_grads(wrong_jvp(1.01), (X,), 1, rtol=1e-3)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="modes must hold 'fwd', 'rev' or both"):
        check_grads(pnp.sin, (1.0,), 1, "fwd")
    with pytest.raises(ValueError, match="order must be at least 1"):
        check_grads(pnp.sin, (1.0,), 0)
