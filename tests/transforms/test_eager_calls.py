"""The Python code behind an eager operation that is differentiated, as a count of calls, which no machine changes."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.interpreters import ad


def calls(fun, *args):
    """The calls of Python functions in a run of `fun` that is not the first."""
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event == "call"

    fun(*args)
    fun(*args)
    gc.disable()  # what it finalizes may be anybody's
    sys.setprofile(note)
    try:
        fun(*args)
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def per_operation(step):
    """The calls that one more operation in a chain takes, forwards and backwards."""

    def chain(x, length):
        for _ in range(length):
            x = step(x)
        return x

    slope = pb.grad(chain)
    return (calls(slope, 1.0, 40) - calls(slope, 1.0, 20)) / 20


def half(x):
    return x * 0.5


def product(x):
    return x * x


STEPS = {
    "sin": (pnp.sin, 15),
    "tanh": (pnp.tanh, 17),
    "exp": (pnp.exp, 10),
    "square": (pnp.square, 19),
    "half": (half, 13),
    "product": (product, 28),
}


@pytest.fixture(scope="module")
def counts():
    """The counts of a new process, in which nothing has been turned on that costs a call."""
    program = "import json, test_eager_calls; print(json.dumps(test_eager_calls.all_counts()))"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def all_counts():
    counts = {name: per_operation(step) for name, (step, _) in STEPS.items()}
    slope = pb.grad(log1pexp)
    return {**counts, "rule": calls(slope, 3.0), "second": calls(pb.grad(slope), 3.0)}


@pytest.mark.parametrize("name", STEPS)
def test_an_operation_takes_few_calls(counts, name):
    assert counts[name] <= STEPS[name][1]


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "tanh", "exp", "expm1", "square", "sqrt", "arctan", "sinh"])
def test_factors_are_the_derivatives_of_both_modes(name):
    function, x = getattr(pnp, name), np.float32([0.3, 0.7])
    _, forward = pb.jvp(function, (x,), (np.ones_like(x),))
    reverse = pb.grad(lambda x: function(x).sum())(x)
    staged = pb.jit(pb.grad(lambda x: function(x).sum()))(x)
    np.testing.assert_array_equal(forward, reverse)
    np.testing.assert_allclose(staged, reverse, rtol=3e-7)


def test_second_derivatives_go_through_factors():
    second = pb.grad(pb.grad(lambda x: lax.integer_pow(x, 3) * pnp.exp(x)))
    x = 0.5
    assert second(x) == pytest.approx((x**3 + 6 * x**2 + 6 * x) * np.exp(x), rel=1e-6)


def test_a_product_is_broadcast_and_summed_in_the_backward_pass():
    x, y = np.float32([[1.0], [2.0]]), np.float32([3.0, 4.0, 5.0])
    dx, dy = pb.grad(lambda x, y: pnp.sum(x * y), argnums=(0, 1))(x, y)
    np.testing.assert_array_equal(dx, [[12.0], [12.0]])
    np.testing.assert_array_equal(dy, [3.0, 3.0, 3.0])


def test_a_rule_of_the_users_takes_the_place_of_a_factor():
    given = lax.sin_p.jvp, lax.sin_p.factor

    def rule(primals, tangents):
        return lax.sin_p.bind(*primals), 2.0 * tangents[0]

    try:
        ad.primitive_jvps[lax.sin_p] = rule
        assert pb.grad(lax.sin)(1.0) == 2.0
    finally:
        lax.sin_p.jvp, lax.sin_p.factor = given
        ad.primitive_jvps._given.pop(lax.sin_p)


@pb.custom_jvp
def log1pexp(x):
    return pnp.log(1.0 + pnp.exp(x))


@log1pexp.defjvp
def log1pexp_jvp(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return log1pexp(x), (1 - 1 / (1 + pnp.exp(x))) * x_dot


def test_a_gradient_by_a_rule_takes_few_calls(counts):
    assert counts["rule"] <= 82
    assert counts["second"] <= 248
