"""Transformations of transformations: random compositions over random functions, and the depths by hand."""

import sys

import jax
import numpy as np
import pytest
from agreement import all_close
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from transformations import JAX, PB, QUICK

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)

# ---- functions from a vector to a vector of the same length

STEPS = {
    "sin": lambda lib: lib.lax.sin,
    "tanh": lambda lib: lib.lax.tanh,
    "square": lambda lib: lambda x: 0.5 * x * x,
    "reverse": lambda lib: lambda x: x[::-1] * 1.1,
    "share": lambda lib: lambda x: x - 0.3 * x.sum(),
    "gather": lambda lib: lambda x: x[np.array([2, 0, 0])] + x,
    "constant": lambda lib: lambda x: x * np.array([0.5, -1.0, 0.2], f32) + 0.1,
    "where": lambda lib: lambda x: lib.np.where(x > 0.1, x, 0.2 * x * x),
    "dead end": lambda lib: lambda x: x + lib.lax.stop_gradient(lib.lax.sin(x)),
    "matmul": lambda lib: lambda x: (np.linspace(-0.5, 0.6, 9, dtype=f32).reshape(3, 3)) @ x,
    "wrong jvp": lambda lib: wrong_jvp(lib),
}


def wrong_jvp(lib):
    f = lib.t.custom_jvp(lambda x: lib.lax.cos(x))
    f.defjvp(lambda p, t: (f(*p), 0.7 * t[0] * p[0]))
    return f


# ---- what a composition does to such a function, giving one again


def loop(lib, f):
    return lambda x: lib.lax.scan(lambda c, k: (f(c) * k, c), x, np.array([0.5, 0.9], f32))[0]


def collecting(lib, f):
    def collect(x):
        c, ys = lib.lax.scan(lambda c, k: (0.5 * f(c), c * k), x, x[:2], reverse=True)
        return c + ys.sum(0)

    return collect


TRANSFORMS = {
    "jit": lambda lib, f: lib.t.jit(f),
    "jvp": lambda lib, f: lambda x: lib.t.jvp(f, (x,), (lib.lax.cos(x),))[1],
    "jvp both": lambda lib, f: lambda x: sum(lib.t.jvp(f, (x,), (0.3 * x,))),
    "grad": lambda lib, f: lib.t.grad(lambda x: (f(x) * np.array([1, 2, -1], f32)).sum()),
    "vjp": lambda lib, f: lambda x: lib.t.vjp(f, x)[1](0.5 * x)[0],
    "linearize": lambda lib, f: lambda x: lib.t.linearize(f, x)[1](lib.np.ones(3)),
    "vmap": lambda lib, f: lambda x: 0.3 * lib.t.vmap(f)(x[:, None] * x).sum(0),
    "vmap of columns": lambda lib, f: lambda x: 0.3 * lib.t.vmap(f, 1, 1)(x[:, None] * x + x)[1],
    "scan": loop,
    "scan with results": collecting,
    "cond": lambda lib, f: lambda x: lib.lax.cond(x[0] > 0.2, f, lambda x: x * x, x),
    "fori_loop": lambda lib, f: lambda x: lib.lax.fori_loop(0, 2, lambda i, c: 0.5 * f(c) + 0.1 * i, x),
    "batched cond": lambda lib, f: lambda x: lib.t.vmap(
        lambda y: lib.lax.cond(y > 0, lambda y: f(x * y).sum(), lambda y: y, y))(x),
}
LOOPS = {"scan", "scan with results", "fori_loop"}


def build(lib, steps, transforms):
    def fun(x):
        for name in steps:
            x = STEPS[name](lib)(x)
        return x

    for name in transforms:
        fun = TRANSFORMS[name](lib, fun)
    return fun


def differentiations(transforms):
    return sum(name in ("jvp", "jvp both", "grad", "vjp", "linearize") for name in transforms)


@seed(20)
@settings(max_examples=60, deadline=None, database=None, derandomize=False,
          suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3),
       st.lists(st.sampled_from(sorted(TRANSFORMS)), min_size=2, max_size=4))
def test_random_compositions(steps, transforms):
    if differentiations(transforms) > 1 and LOOPS & set(transforms) and "wrong jvp" in steps:
        # JAX loses custom rules in the primal half of a linearized loop
        steps = [step for step in steps if step != "wrong jvp"] or ["sin"]
    ours = build(PB, steps, transforms)
    expected = jax.jit(build(JAX, steps, transforms), compiler_options=QUICK)(X)
    all_close(ours(X), expected, 100)
    all_close(pb.jit(ours)(X), expected, 100)
    check_jaxpr(pb.make_jaxpr(ours)(X))


@pytest.mark.parametrize("inner", sorted(TRANSFORMS))
def test_every_pair(inner):
    for outer in sorted(TRANSFORMS):
        ours = build(PB, ["sin", "share"], [inner, outer])
        # eager and compiled runs of ours go through different rules (kernels, lowerings) and must agree
        all_close(ours(X), pb.jit(ours)(X), 100)
        check_jaxpr(pb.make_jaxpr(ours)(X))


# ---- depths


def test_fourth_derivatives_in_all_mixtures():
    def derivative(kind):
        if kind == "f":
            return lambda f: lambda x: pb.jvp(f, (x,), (1.0,))[1]
        if kind == "l":
            return lambda f: lambda x: pb.linearize(f, x)[1](1.0)
        return pb.grad

    for order in ("ffff", "rrrr", "frfr", "rfrf", "rrff", "ffrr", "lrfl", "rlrl"):
        f = lambda x: pnp.sin(2 * x)  # noqa: E731
        for kind in order:
            f = derivative(kind)(pb.jit(f))
        assert float(f(0.4)) == pytest.approx(16 * np.sin(0.8), rel=1e-4)


def test_perturbations_are_not_confused():
    # Siskind and Pearlmutter, Perturbation confusion and referential transparency (2005)
    def inner(x):
        return pb.jvp(lambda y: x + y, (1.0,), (1.0,))[1]

    assert float(pb.jvp(lambda x: x * inner(x), (1.0,), (1.0,))[1]) == 1
    assert float(pb.grad(lambda x: x * pb.grad(lambda y: x + y)(1.0))(1.0)) == 1
    assert float(pb.grad(lambda x: x * pb.jit(pb.grad(lambda y: x * y))(1.0))(3.0)) == 6


def test_derivative_of_a_pullback_in_its_residuals_and_cotangents():
    def run(lib):
        def f(x, ct):
            _, back = lib.t.vjp(lambda x: lib.lax.scan(lambda c, _: (lib.lax.sin(c) * c, c), x, None, length=2), x)
            return back(ct)[0].sum()

        ct = (X, np.stack([X, -X]))
        return lib.t.grad(f, (0, 1))(X, ct), lib.t.jit(lib.t.grad(f, (0, 1)))(X, ct)

    all_close(run(PB), run(JAX), 10)


def test_pullback_under_vmap_and_jit():
    _, back = pb.vjp(lambda x: lax.scan(lambda c, k: (pnp.sin(c) * k, c), x, X), X)
    cts = (np.stack([X, -X]), np.stack([np.stack([X] * 3), np.stack([-X] * 3)]))
    (expected,) = pb.vmap(back)(cts)
    (compiled,) = pb.jit(pb.vmap(back))(cts)
    all_close(expected, compiled, 10)
    all_close(expected[0], -expected[1], 10)


def test_linearized_function_transposed_batched_and_differentiated():
    _, push = pb.linearize(lambda x: lax.cond(x[0] > 0, pnp.sin, pnp.exp, x) * x, X)
    jacobian = pb.vmap(push)(np.eye(3, dtype=f32))
    all_close(pb.jacfwd(push)(X), jacobian.T, 10)
    (transposed,) = pb.vmap(pb.linear_transpose(push, X))(np.eye(3, dtype=f32))
    all_close(transposed, jacobian.T, 10)
    all_close(pb.jit(push)(X), push(X), 10)


def test_values_that_a_transformation_closes_over():
    def run(lib):
        def fun(w, x):
            step = lib.t.jit(lambda c: lib.lax.tanh(c * w))
            inner = lib.t.vmap(lambda y: lib.lax.scan(lambda c, _: (step(c) + y * w, c), x, None, length=2)[0])
            return inner(x).sum()

        t = lib.t
        return [t.grad(fun, (0, 1))(f32(0.7), X), t.vmap(t.grad(fun), (0, None))(X, X), t.hessian(fun)(f32(0.7), X),
                t.jit(t.jvp, static_argnums=0)(fun, (f32(0.7), X), (f32(1), X))]

    all_close(run(PB), run(JAX), 10)


def test_long_chains_do_not_recurse():
    n = 3 * sys.getrecursionlimit()

    def chain(x):
        for _ in range(n):
            x = x * f32(1.0001)
        return x

    assert float(pb.grad(chain)(f32(1))) == pytest.approx(1.0001**n, rel=1e-2)
    check_jaxpr(pb.make_jaxpr(pb.grad(chain))(f32(1)))


def test_tape_is_reusable_and_independent_of_later_transformations():
    _, back = pb.vjp(lambda x: pnp.sin(x) * x, 2.0)
    first = float(back(1.0)[0])
    pb.grad(pb.grad(lambda x: x**3))(1.0)
    assert float(back(1.0)[0]) == first
    assert float(pb.grad(lambda ct: back(ct)[0])(5.0)) == pytest.approx(first)


def test_errors_inside_leave_no_transformation_behind():
    def fails(x):
        raise RuntimeError("mine")

    for transform in (pb.grad, pb.jit, pb.vmap, lambda f: lambda x: pb.jvp(f, (x,), (x,)), pb.make_jaxpr,
                      lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, None, length=2),
                      lambda f: pb.vmap(pb.grad(f), axis_name="i")):
        with pytest.raises(RuntimeError, match="mine"):
            transform(fails)(np.ones(1, f32))
        assert float(pb.grad(pb.jit(lambda x: x * x))(3.0)) == 6
        assert type(pnp.sin(1.0)) is type(pnp.ones(1))
