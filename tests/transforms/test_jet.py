"""Taylor mode, against derivatives of derivatives along the curve, closed forms, and JAX."""

import math
from types import ModuleType
from typing import NamedTuple

import jax
import jax.experimental.jet
import jax.numpy
import numpy as np
import pytest
from agreement import Sampler
from hypothesis import given, settings
from hypothesis import strategies as st
from op_table import TABLE

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
        points = [x + sum(term * (t ** k / math.factorial(k)) for k, term in enumerate(terms, 1))
                  for x, terms in zip(primals, series, strict=True)]
        return fun(*points)

    def derivative(f):
        return lambda t: pb.jvp(f, (t,), (1.0,))[1]

    results = [along]
    for _ in series[0]:
        results.append(derivative(results[-1]))
    return [f(0.0) for f in results]


def check(fun, primals, order=ORDER, rtol=1e-9, atol=1e-9):
    """Value and derivatives along a curve, eager, compiled and batched."""
    primals = [pnp.asarray(x) for x in primals]
    series = [[pnp.asarray(0.5 * NUMBERS(x.shape, "float64")) for _ in range(order)] for x in primals]
    expected = pb.tree_util.tree_map(lambda *xs: np.stack(xs), *by_jvp(fun, primals, series))
    run = pb.jit(lambda primals, series: jet(fun, primals, series))
    for out, terms in (jet(fun, primals, series), run(primals, series)):
        leaves, tree = pb.tree_util.tree_flatten(out)
        for y, ys, e in zip(leaves, tree.flatten_up_to(terms), pb.tree_util.tree_leaves(expected), strict=True):
            close(np.stack([y, *ys]), e, rtol, atol)
    check_jaxpr(pb.make_jaxpr(lambda primals, series: jet(fun, primals, series))(primals, series))


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


COMPOSITIONS = {
    "waves": lambda n, x: n.sin(x) * n.exp(-x * x) / (1 + x ** 2),
    "powers": lambda n, x: x ** 2.5 + (1 + x) ** -2 + n.sqrt(x) * n.log(x),
    "saturation": lambda n, x: n.tanh(3 * x) ** 3 + 1 / (1 + n.exp(-x)),
    "matrices": lambda n, x: n.sum(n.outer(x, x) @ n.cos(x)) + n.dot(x, x[::-1]),
    "shapes": lambda n, x: n.concatenate([x[:1], x.reshape(3, 1).T[0]]).cumsum()[1:] * n.where(x > 0.5, x, 2 * x),
    "extremes": lambda n, x: n.max(x) * x - n.min(x) + n.abs(x - 0.6),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
@pytest.mark.parametrize("factorial_scaled", [True, False])
def test_against_jax(name, factorial_scaled):
    fun = COMPOSITIONS[name]
    x, series = np.array([0.3, 0.7, 1.2]), list(np.random.default_rng(0).normal(size=(5, 3)))
    with jax.enable_x64(True):
        expected = jax.experimental.jet.jet(lambda x: fun(jax.numpy, x), (x,), (series,), factorial_scaled)
    got = jet(lambda x: fun(pnp, x), (x,), (series,), factorial_scaled)
    close(np.stack([got[0], *got[1]]), np.stack([expected[0], *expected[1]]))
    assert isinstance(got[1], list)


@pytest.mark.parametrize(("fun", "at", "derivatives"), [
    (pnp.exp, 0.0, np.ones(12)),
    (lambda x: 1 / (1 - x), 0.0, [math.factorial(k) for k in range(12)]),
    (pnp.sin, 0.0, [0, 1, 0, -1] * 3),
    (pnp.log1p, 0.0, [0, *((-1) ** (k - 1) * math.factorial(k - 1) for k in range(1, 12))]),
    (pnp.arctan, 0.0, [0, 1, 0, -2, 0, 24, 0, -720, 0, 40320, 0, -3628800]),
    (pnp.tan, 0.0, [0, 1, 0, 2, 0, 16, 0, 272, 0, 7936, 0, 353792]),
    (lambda x: x ** 4, 0.0, [0, 0, 0, 0, 24, *[0] * 7]),
    (lambda x: pnp.sinc(x / np.pi), 0.0, [1, 0, -1 / 3, 0, 1 / 5, 0, -1 / 7, 0, 1 / 9, 0, -1 / 11, 0]),
])
def test_high_order(fun, at, derivatives):
    out, terms = jet(fun, (at,), ([1.0, *[0.0] * 10],))
    close([out, *terms], derivatives)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.lists(st.floats(-2, 2), min_size=5, max_size=5),
       st.lists(st.floats(-2, 2), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_polynomials_of_polynomials(outer, inner, third):
    with pb.enable_x64(True):
        polynomials = [np.polynomial.Polynomial(c) for c in (inner, outer, third)]
        series = [polynomials[0].deriv(k)(0.0) for k in range(1, 5)]

        def fun(x):
            y = sum(c * x ** k for k, c in enumerate(outer)) + 0 * x
            return y * sum(c * x ** k for k, c in enumerate(third)) - y

        out, terms = jet(fun, (inner[0],), (series,))
        composed = polynomials[1](polynomials[0])
        expected = composed * polynomials[2](polynomials[0]) - composed
        close([out, *terms], [expected.deriv(k)(0.0) if k else expected(0.0) for k in range(5)], atol=1e-6)


# --- functions that hold functions ---


@pb.custom_jvp
def halved(x):
    return pnp.sin(x)


halved.defjvp(lambda primals, tangents: (halved(*primals), 0.5 * pnp.cos(primals[0]) * tangents[0]))

HOLDERS = {
    "jit": lambda x: pb.jit(lambda x: pnp.sin(x) * pnp.argmax(x))(x) * x,
    "scan": lambda x: lax.scan(lambda c, u: (pnp.sin(c) + u, c * u), x[0], x),
    "scan over constants": lambda x: lax.scan(lambda c, u: (c * x[1] + u, u), 0.0, pnp.arange(4.0)),
    "scan that counts": lambda x: lax.fori_loop(0, 3, lambda i, c: c * x + i, pnp.ones(3)),
    "reversed scan": lambda x: lax.scan(lambda c, u: (c * u, pnp.exp(c)), x[0], x, reverse=True),
    "cond": lambda x: lax.cond(x[0] > 0, lambda x: x ** 3, pnp.sin, x),
    "while": lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x + c[1] ** 2), (0, x))[1],
    "custom_jvp": lambda x: halved(x) * x,
    "custom_jvp under jit": pb.jit(lambda x: halved(x) * x),
    "vmap": lambda x: pb.vmap(lambda u: u ** 3 + pnp.sin(u))(x),
    "grad": pb.grad(lambda x: (x ** 4).sum() * pnp.exp(x[0])),
    "jvp": lambda x: pb.jvp(lambda x: pnp.sin(x) ** 2, (x,), (x,))[1],
    "hessian": pb.hessian(lambda x: pnp.exp(x[0] * x[1]) * x[2] ** 3),
    "linear solve": lambda x: pb.implicit.linear_solve(lambda v: v * x + 5 * v, pnp.ones(3)),
    "root": lambda x: pb.implicit.root(lambda y: y ** 3 + y - x, pnp.ones(3)),
    "odeint": lambda x: pb.implicit.odeint(lambda y, t: -x * y, pnp.ones(3), np.array([0.0, 1.0]), rtol=1e-11,
                                           atol=1e-11),
    "pytree": lambda x: {"a": x * x, "b": (pnp.sum(x), x)},
    "max of itself": lambda x: x * lax.stop_gradient(x),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_holders(name):
    order = 2 if name == "odeint" else ORDER
    tolerance = 1e-7 if name in ("root", "odeint", "linear solve") else 1e-9  # those are solved to a tolerance
    check(HOLDERS[name], [np.array([0.4, 0.9, 1.3])], order, tolerance, tolerance)


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
        return x ** 2

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
    out, terms = jet(lambda x: (x, [x ** 2]), (2.0,), ([1.0, 0.0],))
    close(jet(lambda pair: pair[0] * pair[1][0], (out,), (terms,))[1], [12.0, 12.0])


def test_constants_and_integers():
    assert [float(t) for t in jet(lambda x: 3.0, (1.0,), ([1.0, 2.0],))[1]] == [0.0, 0.0]
    out, terms = jet(lambda x: (x > 0, pnp.argmax(x)), (pnp.arange(3.0),), ([np.ones(3)],))
    assert out[1] == 2
    assert len(terms[0]) == len(terms[1]) == 1
    assert jet(pnp.sin, (0.0,), ([],))[1] == []
    close(jet(lambda x: x ** 2, (3,), ([1, 0],))[1], [6.0, 2.0])


def test_complex():
    z, d = 0.3 + 0.4j, 1.0 - 0.5j
    close(jet(pnp.exp, (z,), ([d, 0j, 0j],))[1], [np.exp(z) * d ** k for k in (1, 2, 3)])


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: jet(pnp.sin, (1.0,), ([1.0], [2.0])), ValueError, "1 primals, but 2 series"),
    (lambda: jet(pnp.add, (1.0, 2.0), ([1.0], [1.0, 2.0])), ValueError, r"primals\[1\] has 2 terms"),
    (lambda: jet(pnp.sin, 1.0, ([1.0],)), TypeError, "tuple or a list"),
    (lambda: jet(pnp.sin, (1.0,), (1.0,)), TypeError, r"series of primals\[0\] must be a list"),
    (lambda: jet(pnp.sin, (pnp.ones(3),), ([pnp.ones(2)],)), ValueError, "shape"),
    (lambda: jet(pnp.sin, ("x",), ([1.0],)), TypeError, "primals"),
    (lambda: jet(pnp.sin, (1.0,), (["x"],)), TypeError, "term 1"),
    (lambda: jet(pnp.sin, (pnp.arange(3),), ([pnp.ones(3)],)), TypeError, "floats or complex"),
    (lambda: jet(3, (1.0,), ([1.0],)), TypeError, "function"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_functions_without_forward_mode_are_refused():
    f = pb.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
    with pytest.raises(TypeError, match="forward-mode"):
        jet(f, (1.0,), ([1.0, 0.0],))
