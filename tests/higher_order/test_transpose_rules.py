"""Linear functions that are given by themselves and their transpose."""

from functools import partial

import jax
import numpy as np
import pytest
from agreement import all_close
from functions import with_tangent
from jax import custom_derivatives as jax_derivatives
from wrappers import WRAPPERS

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_rules, errors, grad, jit, jvp, vmap
from pullback.core import check_jaxpr
from pullback.custom_derivatives import linear_call

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
KERNEL = np.array([1, 2, -1], f32)


def convolution(calls):
    """Of a kernel and x, linear in x, whose transpose notes its calls."""
    f = custom_rules(lambda kernel, x: pnp.convolve(x, kernel, "full"))

    @partial(f.deftranspose, linear_argnums=1)
    def transpose(others, ct):
        calls.append("transpose")
        return (pnp.correlate(ct, others[0], "valid"),)

    return f


def with_the_kernel(x):
    """The same, by the operation's own rules."""
    return pnp.convolve(x, KERNEL, "full")


def sum_of_cubes_of(f):
    return lambda x: (f(x) ** 3).sum()


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_transpose_alone_gives_both_modes_and_any_order(wrap):
    calls = []
    f = convolution(calls)
    g = wrap(lambda x: f(KERNEL, x))
    loss, expected_loss = sum_of_cubes_of(g), sum_of_cubes_of(with_the_kernel)
    all_close(grad(loss)(X), grad(expected_loss)(X), 20)
    assert calls
    all_close(jvp(g, (X,), (X,)), jvp(with_the_kernel, (X,), (X,)), 20)
    expected = pb.hessian(expected_loss)(X)
    for outer in (pb.jacfwd, pb.jacrev):
        for inner in (pb.jacfwd, pb.jacrev):
            all_close(outer(inner(loss))(X), expected, 50)
    rows = np.stack([X, 2 * X])
    all_close(vmap(grad(loss))(rows), vmap(grad(expected_loss))(rows), 20)
    check_jaxpr(pb.make_jaxpr(grad(loss))(X))


def test_transpose_covers_the_linear_arguments():
    f = convolution([])
    with pytest.raises(errors.RuleNotDefinedError, match="argument 'kernel'"):
        grad(lambda k: f(k, X).sum())(np.ones(3, f32))


def test_transpose_of_a_transpose_is_the_function():
    def twofold(_, x):
        return 2.0 * x

    def sevenfold(_, ct):
        return 7.0 * ct

    def f(x):
        return linear_call(twofold, sevenfold, (), x)

    def transpose(g):
        return lambda y: pb.linear_transpose(g, 1.0)(y)[0]

    got = [
        transpose(f)(1.0),
        transpose(transpose(f))(1.0),
        transpose(transpose(transpose(f)))(1.0),
        jit(transpose(transpose(f)))(1.0),
        grad(f)(1.0),
    ]
    assert [float(v) for v in got] == [7, 2, 7, 2, 7]
    all_close(vmap(grad(f))(X), np.full(3, 7, f32))
    of_jax = partial(jax_derivatives.linear_call, twofold, sevenfold, ())
    all_close(got[0], jax.linear_transpose(of_jax, 1.0)(1.0)[0])


def test_linear_call_with_residuals():
    def divided(r, x):
        return x / r["d"]

    def f(x, r):
        return linear_call(divided, divided, {"d": r}, x)

    all_close(jit(f)(9.0, 3.0), f32(3))
    all_close(grad(f)(9.0, 4.0), f32(0.25))
    with pytest.raises(errors.RuleNotDefinedError, match="'r'"):
        grad(f, 1)(9.0, 4.0)


def test_linear_function_in_a_jvp_rule():
    calls = []
    double = custom_rules(lambda x: 2.0 * x)

    @double.deftranspose
    def transpose(_, ct):
        calls.append("transpose")
        return (2.0 * ct,)

    f = with_tangent(pnp.sin, lambda x, t: double(pnp.cos(x) * t))
    all_close(grad(f)(0.5), f32(2 * np.cos(0.5)), 10)
    assert calls


def test_numbers_given_to_linear_call_are_arrays():
    result = linear_call(lambda r, x: x / r, lambda r, ct: ct / r, 3.0, 1.0)
    assert result.dtype == np.float32
    assert result == np.float32(1) / np.float32(3)
    with pytest.raises(TypeError, match="linear_call"):
        linear_call(lambda r, x: x, lambda r, ct: ct, "three", 1.0)
