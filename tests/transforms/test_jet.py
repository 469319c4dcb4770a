"""Taylor mode, against derivatives of derivatives along the curve, closed forms, and JAX."""

import math
from functools import partial
from types import ModuleType
from typing import NamedTuple

import jax
import jax.experimental.jet
import jax.numpy
import numpy as np
import pytest
from agreement import Sampler
from functions import with_tangent, with_vjp
from hypothesis import given, settings
from hypothesis import strategies as st
from op_table import TABLE
from wrappers import forward

import pullback as pb
import pullback.nn
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr
from pullback.experimental.jet import jet

ORDER = 3


@pytest.fixture(autouse=True)
def double_precision():
    with pb.enable_x64(True):
        yield


class Library(NamedTuple):
    np: ModuleType
    lax: ModuleType
    nn: ModuleType


PULLBACK = Library(pullback.numpy, pullback.lax, pullback.nn)
NUMBERS = Sampler(4)


def close(got, expected, rtol=1e-9, atol=1e-9):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=rtol, atol=atol)


def by_jvp(fun, primals, series):
    """The derivatives along the curve of powers, by jvp of jvp."""

    def along(t):
        points = [
            x + sum(term * (t**k / math.factorial(k)) for k, term in enumerate(terms, 1))
            for x, terms in zip(primals, series, strict=True)
        ]
        return fun(*points)

    results = [along]
    for _ in series[0]:
        results.append(forward(results[-1]))
    return [f(0.0) for f in results]


def check(fun, primals, order=ORDER, rtol=1e-9, atol=1e-9):
    """Value and derivatives along a curve, eager, compiled and batched."""
    primals = [pnp.asarray(x) for x in primals]
    series = [[pnp.asarray(0.5 * NUMBERS(x.shape, "float64")) for _ in range(order)] for x in primals]
    expected = pb.tree_util.tree_map(lambda *xs: np.stack(xs), *by_jvp(fun, primals, series))
    run = partial(jet, fun)
    for out, terms in (run(primals, series), pb.jit(run)(primals, series)):
        leaves, tree = pb.tree_util.tree_flatten(out)
        for y, ys, e in zip(leaves, tree.flatten_up_to(terms), pb.tree_util.tree_leaves(expected), strict=True):
            close(np.stack([y, *ys]), e, rtol, atol)
    check_jaxpr(pb.make_jaxpr(run)(primals, series))


# --- every operation of the table ---


@pytest.mark.parametrize("row", [r for r in TABLE if r.active and r.second], ids=str)
def test_operation(row):
    make = row.make(PULLBACK)

    def fun(*xs):
        args = [pnp.asarray(a, float) if np.asarray(a).dtype.kind == "f" else pnp.asarray(a) for a in row.args]
        for i, x in zip(row.active, xs, strict=True):
            args[i] = x
        return make(*args)

    check(fun, [np.asarray(row.args[i], float) for i in row.active])


# --- against JAX, which has rules for some of them ---


def waves(n, x):
    return n.sin(x) * n.exp(-x * x) / (1 + x**2)


def powers(n, x):
    return x**2.5 + (1 + x) ** -2 + n.sqrt(x) * n.log(x)


def saturation(n, x):
    return n.tanh(3 * x) ** 3 + 1 / (1 + n.exp(-x))


def matrices(n, x):
    return n.sum(n.outer(x, x) @ n.cos(x)) + n.dot(x, x[::-1])


def shapes(n, x):
    return n.concatenate([x[:1], x.reshape(3, 1).T[0]]).cumsum()[1:] * n.where(x > 0.5, x, 2 * x)


def extremes(n, x):
    return n.max(x) * x - n.min(x) + n.abs(x - 0.6)


@pytest.mark.parametrize("fun", [waves, powers, saturation, matrices, shapes, extremes])
@pytest.mark.parametrize("factorial_scaled", [True, False])
def test_against_jax(fun, factorial_scaled):
    x, series = np.array([0.3, 0.7, 1.2]), list(np.random.default_rng(0).normal(size=(5, 3)))
    with jax.enable_x64(True):
        expected = jax.experimental.jet.jet(partial(fun, jax.numpy), (x,), (series,), factorial_scaled)
    got = jet(partial(fun, pnp), (x,), (series,), factorial_scaled)
    close(np.stack([got[0], *got[1]]), np.stack([expected[0], *expected[1]]))
    assert isinstance(got[1], list)


def geometric_series(x):
    return 1 / (1 - x)


def fourth_power(x):
    return x**4


def unscaled_sinc(x):
    return pnp.sinc(x / np.pi)


@pytest.mark.parametrize(
    ("fun", "at", "derivatives"),
    [
        (pnp.exp, 0.0, np.ones(12)),
        (geometric_series, 0.0, [math.factorial(k) for k in range(12)]),
        (pnp.sin, 0.0, [0, 1, 0, -1] * 3),
        (pnp.log1p, 0.0, [0, *((-1) ** (k - 1) * math.factorial(k - 1) for k in range(1, 12))]),
        (pnp.arctan, 0.0, [0, 1, 0, -2, 0, 24, 0, -720, 0, 40320, 0, -3628800]),
        (pnp.tan, 0.0, [0, 1, 0, 2, 0, 16, 0, 272, 0, 7936, 0, 353792]),
        (fourth_power, 0.0, [0, 0, 0, 0, 24, *[0] * 7]),
        (unscaled_sinc, 0.0, [1, 0, -1 / 3, 0, 1 / 5, 0, -1 / 7, 0, 1 / 9, 0, -1 / 11, 0]),
    ],
)
def test_high_order(fun, at, derivatives):
    out, terms = jet(fun, (at,), ([1.0, *[0.0] * 10],))
    close([out, *terms], derivatives)


@given(
    st.lists(st.floats(-2, 2), min_size=1, max_size=5),
    st.lists(st.floats(-2, 2), min_size=5, max_size=5),
    st.lists(st.floats(-2, 2), min_size=1, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_polynomials_of_polynomials(outer, inner, third):
    with pb.enable_x64(True):
        polynomials = [np.polynomial.Polynomial(c) for c in (inner, outer, third)]
        series = [polynomials[0].deriv(k)(0.0) for k in range(1, 5)]

        def fun(x):
            y = sum(c * x**k for k, c in enumerate(outer)) + 0 * x
            return y * sum(c * x**k for k, c in enumerate(third)) - y

        out, terms = jet(fun, (inner[0],), (series,))
        composed = polynomials[1](polynomials[0])
        expected = composed * polynomials[2](polynomials[0]) - composed
        close([out, *terms], [expected.deriv(k)(0.0) if k else expected(0.0) for k in range(5)], atol=1e-6)


# --- functions that hold functions ---


halved = with_tangent(pnp.sin, lambda x, t: 0.5 * pnp.cos(x) * t)


def jit(x):
    return pb.jit(lambda x: pnp.sin(x) * pnp.argmax(x))(x) * x


def scan(x):
    def step(c, u):
        return pnp.sin(c) + u, c * u

    return lax.scan(step, x[0], x)


def scan_over_constants(x):
    def step(c, u):
        return c * x[1] + u, u

    return lax.scan(step, 0.0, pnp.arange(4.0))


def scan_that_counts(x):
    return lax.fori_loop(0, 3, lambda i, c: c * x + i, pnp.ones(3))


def reversed_scan(x):
    def step(c, u):
        return c * u, pnp.exp(c)

    return lax.scan(step, x[0], x, reverse=True)


def cond(x):
    return lax.cond(x[0] > 0, lambda x: x**3, pnp.sin, x)


def while_loop(x):
    def body(c):
        return c[0] + 1, c[1] * x + c[1] ** 2

    return lax.while_loop(lambda c: c[0] < 3, body, (0, x))[1]


def custom_jvp(x):
    return halved(x) * x


@pb.jit
def custom_jvp_under_jit(x):
    return halved(x) * x


def vmap(x):
    return pb.vmap(lambda u: u**3 + pnp.sin(u))(x)


@pb.grad
def grad(x):
    return (x**4).sum() * pnp.exp(x[0])


def jvp(x):
    return pb.jvp(lambda x: pnp.sin(x) ** 2, (x,), (x,))[1]


@pb.hessian
def hessian(x):
    return pnp.exp(x[0] * x[1]) * x[2] ** 3


def linear_solve(x):
    return pb.implicit.linear_solve(lambda v: v * x + 5 * v, pnp.ones(3))


def root(x):
    return pb.implicit.root(lambda y: y**3 + y - x, pnp.ones(3))


def odeint(x):
    return pb.implicit.odeint(lambda y, t: -x * y, pnp.ones(3), np.array([0.0, 1.0]), rtol=1e-11, atol=1e-11)


def pytree(x):
    return {"a": x * x, "b": (pnp.sum(x), x)}


def stopped(x):
    return x * lax.stop_gradient(x)


@pytest.mark.parametrize(
    "fun",
    [
        jit,
        scan,
        scan_over_constants,
        scan_that_counts,
        reversed_scan,
        cond,
        while_loop,
        custom_jvp,
        custom_jvp_under_jit,
        vmap,
        grad,
        jvp,
        hessian,
        linear_solve,
        root,
        odeint,
        pytree,
        stopped,
    ],
)
def test_holders(fun):
    order = 2 if fun is odeint else ORDER
    tolerance = 1e-7 if fun in (root, odeint, linear_solve) else 1e-9  # those are solved to a tolerance
    check(fun, [np.array([0.4, 0.9, 1.3])], order, tolerance, tolerance)


def test_of_jet():
    def third(x):
        return jet(pnp.sin, (x,), ([1.0, 0.0, 0.0],))[1][2]

    x = np.array([0.1, 0.5, 2.0])
    close(pb.vmap(third)(x), -np.cos(x))
    close(pb.grad(third)(0.5), np.sin(0.5))
    close(pb.jacfwd(third)(0.5), np.sin(0.5))
    close(jet(third, (0.5,), ([1.0, 0.0],))[1], [np.sin(0.5), np.cos(0.5)])
    series = np.random.default_rng(0).normal(size=(3, 2))
    batched = pb.vmap(lambda x, s: jet(pnp.exp, (x,), ([s[0], s[1]],))[1])(x, series)
    close(batched, np.stack([jet(pnp.exp, (a,), (list(s),))[1] for a, s in zip(x, series, strict=True)], 1))


def test_rules_run_as_python():
    seen = []

    @pb.custom_jvp
    def f(x):
        return x**2

    @f.defjvp
    def f_jvp(primals, tangents):
        (x,), (t,) = primals, tangents
        seen.append(float(lax.stop_gradient(x)))
        return f(x), (2 * x if x > 0 else 0 * x) * t

    close(jet(f, (3.0,), ([1.0, 0.0],))[1], [6.0, 2.0])
    close(jet(f, (-3.0,), ([1.0, 0.0],))[1], [0.0, 0.0])
    assert set(seen) == {3.0, -3.0}


def test_pytrees_and_several_arguments():
    def fun(p, y):
        return p["a"] * pnp.exp(p["b"]) + y

    out, terms = jet(fun, ({"a": 2.0, "b": 0.5}, 1.0), ({"a": [1.0, 0.0], "b": [0.5, 0.0]}, [0.0, 3.0]))
    e = np.exp(0.5)
    close([out, *terms], [2 * e + 1, 2 * e, 1.5 * e + 3])
    # the result's series has the form that a series is given in
    out, terms = jet(lambda x: (x, [x**2]), (2.0,), ([1.0, 0.0],))
    close(jet(lambda pair: pair[0] * pair[1][0], (out,), (terms,))[1], [12.0, 12.0])


def test_constants_and_integers():
    assert [float(t) for t in jet(lambda x: 3.0, (1.0,), ([1.0, 2.0],))[1]] == [0.0, 0.0]
    out, terms = jet(lambda x: (x > 0, pnp.argmax(x)), (pnp.arange(3.0),), ([np.ones(3)],))
    assert out[1] == 2
    assert len(terms[0]) == len(terms[1]) == 1
    assert jet(pnp.sin, (0.0,), ([],))[1] == []
    close(jet(lambda x: x**2, (3,), ([1, 0],))[1], [6.0, 2.0])


def test_complex():
    z, d = 0.3 + 0.4j, 1.0 - 0.5j
    close(jet(pnp.exp, (z,), ([d, 0j, 0j],))[1], [np.exp(z) * d**k for k in (1, 2, 3)])


@pytest.mark.parametrize(
    ("fun", "primals", "series", "error", "message"),
    [
        (pnp.sin, (1.0,), ([1.0], [2.0]), ValueError, "1 primals, but 2 series"),
        (pnp.add, (1.0, 2.0), ([1.0], [1.0, 2.0]), ValueError, r"primals\[1\] has 2 terms"),
        (pnp.sin, 1.0, ([1.0],), TypeError, "tuple or a list"),
        (pnp.sin, (1.0,), (1.0,), TypeError, r"series of primals\[0\] must be a list"),
        (pnp.sin, (pnp.ones(3),), ([pnp.ones(2)],), ValueError, "shape"),
        (pnp.sin, ("x",), ([1.0],), TypeError, "primals"),
        (pnp.sin, (1.0,), (["x"],), TypeError, "term 1"),
        (pnp.sin, (pnp.arange(3),), ([pnp.ones(3)],), TypeError, "floats or complex"),
        (3, (1.0,), ([1.0],), TypeError, "function"),
    ],
)
def test_refusals(fun, primals, series, error, message):
    with pytest.raises(error, match=message):
        jet(fun, primals, series)


def test_functions_without_forward_mode_are_refused():
    f = with_vjp(lambda x: x, lambda x: (x, None), lambda _, ct: (ct,))
    with pytest.raises(TypeError, match="forward-mode"):
        jet(f, (1.0,), ([1.0, 0.0],))
