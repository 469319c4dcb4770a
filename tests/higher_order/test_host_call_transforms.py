"""Calls of Python functions under vmap and differentiation."""

from functools import partial

import jax
import numpy as np
import pytest
from wrappers import EAGER_AND_JIT, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental import io_callback

X = np.array([3.0, 1.0, 2.0], np.float32)


def either(f):
    """The function as it is, and compiled."""
    return [f, pb.jit(f)]


def host_sin(x, **options):
    return pb.pure_callback(np.sin, pb.ShapeDtypeStruct(x.shape, x.dtype), x, **options)


# --- vmap ---

METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [(0, None), (None, 1), (0, 1)])
def test_vmap_methods_agree_with_jax(method, axes):
    def run(lib, array):
        shapes = []

        def fun(a, b):
            a, b = np.asarray(a), np.asarray(b)
            shapes.append((a.shape, b.shape))
            if method == "legacy_vectorized" and a.ndim != b.ndim:
                a, b = (a[None], b) if a.ndim < b.ndim else (a, b[None])
            return a * 2 + b

        def f(a, b):
            return lib.pure_callback(fun, lib.ShapeDtypeStruct((3,), np.float32), a, b, vmap_method=method)

        a = np.arange(12, dtype=np.float32).reshape(4, 3) if axes[0] == 0 else X
        b = np.arange(12, dtype=np.float32).reshape(3, 4) if axes[1] == 1 else 10 * X
        results = [np.asarray(g(array(a), array(b))) for g in (lib.vmap(f, axes), lib.jit(lib.vmap(f, axes)))]
        return results, shapes

    (mine, my_shapes), (theirs, their_shapes) = run(pb, pnp.asarray), run(jax, jax.numpy.asarray)
    for a, b in zip(mine, theirs):
        assert (a == b).all()
    assert my_shapes == their_shapes


@pytest.mark.parametrize("method", METHODS)
def test_nested_vmap(method):
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for g in either(pb.vmap(pb.vmap(partial(host_sin, vmap_method=method)))):
        np.testing.assert_allclose(g(x), np.sin(x), rtol=1e-6)


def test_vmap_of_scan_and_empty_batches():
    def f(x):
        return lax.scan(lambda c, v: (c + host_sin(v, vmap_method="sequential"), c), 0.0, x)[0]

    for g in either(pb.vmap(f)):
        np.testing.assert_allclose(g(np.stack([X, 2 * X])), [np.sin(X).sum(), np.sin(2 * X).sum()], rtol=1e-5)
    assert pb.vmap(partial(host_sin, vmap_method="sequential"))(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_vmap_without_a_method_is_refused():
    with pytest.raises(NotImplementedError, match="Pass vmap_method='sequential'"):
        pb.vmap(host_sin)(X)
    # where nothing is batched there is nothing to say
    assert pb.vmap(lambda x: x + host_sin(pnp.asarray(0.0)), axis_name="i")(X).shape == (3,)


def test_vmap_of_io_callback():
    seen = []

    def double(v):
        seen.append(float(v))
        return 2 * v

    def f(x):
        return io_callback(double, x, x)

    for g in either(pb.vmap(f)):
        seen.clear()
        assert list(g(X)) == [6, 2, 4]
        assert seen == [3, 1, 2]


def ordered(x):
    return io_callback(lambda v: 2 * v, x, x, ordered=True)


def ordered_in_a_branch(x):
    return lax.cond(x > 1, ordered, lambda x: x, x)


def ordered_in_a_loop(x):
    return lax.while_loop(lambda v: v < 5, ordered, x)


@pytest.mark.parametrize("f", [ordered, ordered_in_a_branch, ordered_in_a_loop])
def test_vmap_of_ordered_io_callback_is_refused(f):
    with pytest.raises(ValueError, match="vmap of an ordered io_callback"):
        pb.vmap(f)(X)


def test_batched_branches_call_for_the_examples_that_take_them():
    seen = []

    def tell(tag, x):
        io_callback(lambda v: seen.append((tag, float(v))), None, x)
        return x

    def f(x):
        return lax.cond(x > 1.5, lambda x: 2 * tell("high", x), lambda x: -tell("low", x), x)

    for g in either(pb.vmap(f)):
        seen.clear()
        assert list(g(X)) == [6, -1, 4]
        assert seen == [("high", 3), ("low", 1), ("high", 2)]


def test_batched_loops_call_for_the_examples_that_go_on():
    seen = []

    def f(n):
        def body(i):
            io_callback(lambda n, i: seen.append((int(n), int(i))), None, n, i)
            return i + 1

        return lax.while_loop(lambda i: i < n, body, 0)

    for g in either(pb.vmap(f)):
        seen.clear()
        assert list(g(np.array([2, 0, 1]))) == [2, 0, 1]
        assert seen == [(2, 0), (2, 1), (1, 0)]


# --- derivatives ---


def by_jvp(f):
    return lambda x: pb.jvp(f, (x,), (1.0,))


def io_sin(x):
    return io_callback(np.sin, x, x)


@pytest.mark.parametrize("f", [host_sin, io_sin])
@pytest.mark.parametrize("transform", [by_jvp, pb.grad, jit_of_grad, grad_of_jit])
def test_derivatives_are_refused_with_advice(f, transform):
    with pytest.raises(ValueError, match=r"sin has no derivative.*pullback\.external"):
        transform(f)(pnp.asarray(2.0))


def test_constants_and_rules_go_through():
    assert float(pb.grad(lambda x: x * host_sin(lax.stop_gradient(x)))(2.0)) == np.sin(np.float32(2))

    @pb.custom_jvp
    def sin(x):
        return host_sin(x, vmap_method="expand_dims")

    sin.defjvps(lambda t, ans, x: t * pb.pure_callback(np.cos, x, x, vmap_method="expand_dims"))
    for f in (pb.grad(sin), jit_of_grad(sin), grad_of_jit(sin)):
        np.testing.assert_allclose(f(2.0), np.cos(2), rtol=1e-6)
    np.testing.assert_allclose(pb.jit(pb.vmap(pb.grad(sin)))(X), np.cos(X), rtol=1e-5)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_tangents_are_looked_at_where_they_have_a_value(wrap):
    seen = []
    square = pb.custom_jvp(lambda x: x * x)

    def tell(x):
        seen.append(float(x))

    @square.defjvp
    def _(primals, tangents):
        pb.debug.callback(tell, *primals)
        pb.debug.callback(tell, *tangents)
        return square(*primals), 2 * primals[0] * tangents[0]

    def jvp(x):
        return pb.jvp(square, (x,), (5.0,))

    wrap(jvp)(3.0)
    wrap(pb.grad(square))(3.0)
    assert seen == [3, 5, 3]


def test_residuals_from_the_host_in_a_scan_with_effects():
    seen = []

    def f(x, k):
        def step(c, v):
            pb.debug.callback(lambda v: seen.append(float(v)), v)
            return c * pnp.sin(k) + v * v, c

        return lax.scan(step, 1.0, x)[0]

    for g in (pb.grad(f, (0, 1)), pb.jit(pb.grad(f, (0, 1)))):
        seen.clear()
        dx, dk = g(X, 0.5)
        s = np.sin(np.float32(0.5))
        np.testing.assert_allclose(dx, 2 * X * s ** np.arange(2, -1, -1), rtol=1e-5)
        assert np.isfinite(dk)
        assert seen == [3, 1, 2]


def test_subnormal_numbers_in_host_calls():
    seen = []

    def host(v):
        seen.append((float(v) * 1 > 0, float(np.float32(v) / np.float32(2)) > 0))
        return np.float32(v)

    def f(x):
        y = pb.pure_callback(host, pb.ShapeDtypeStruct((), np.float32), x)
        return y * 1 > 0, x * 1 > 0

    tiny = np.float32(1e-40)
    f(tiny)
    after, beside = pb.jit(f)(tiny)
    assert seen == [(True, True)] * 2  # Python's floats and NumPy's are those of IEEE 754 in both
    assert bool(after) == bool(beside)  # and the engine's mode is what it was
