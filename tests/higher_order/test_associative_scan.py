"""associative_scan under the transformations, with JAX as oracle: all lengths, trees, axes, and its refusals."""

from functools import partial

import jax
import numpy as np
import pytest
from agreement import all_close
from functions import with_vjp
from transformations import agree
from wrappers import grad_in_vmap, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.test_util import check_grads

f32 = np.float32


def affine(a, b):
    """The composition of two maps x -> s x + t: associative, and not commutative."""
    return {"s": a["s"] * b["s"], "t": a["t"] * b["s"] + b["t"]}


def maps(n):
    rng = np.random.default_rng(n)
    return {"s": rng.uniform(0.5, 1.5, n).astype(f32), "t": rng.standard_normal(n).astype(f32)}


@pytest.mark.parametrize("n", [*range(10), 100, 257])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefixes_are_those_of_a_loop(n, reverse):
    xs = maps(n)
    got = lax.associative_scan(affine, xs, reverse=reverse)
    s, t, expected = 1.0, 0.0, []
    for i in reversed(range(n)) if reverse else range(n):
        s, t = s * xs["s"][i], t * xs["s"][i] + xs["t"][i]
        expected.append((s, t))
    if reverse:
        expected.reverse()
    expected = np.array(expected, f32).reshape(n, 2)
    np.testing.assert_allclose(got["s"], expected[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got["t"], expected[:, 1], rtol=1e-5, atol=1e-4)


def test_every_transformation():
    def make(lib):
        return partial(lib.lax.associative_scan, affine)

    agree(make, maps(5), second=False, compiled=True)


def test_the_order_of_operations_is_that_of_jax():
    x = np.random.default_rng(0).standard_normal(53).astype(f32)
    expected = jax.jit(lambda x: jax.lax.associative_scan(jax.numpy.add, x, reverse=True))(x)
    np.testing.assert_array_equal(lax.associative_scan(pnp.add, x, reverse=True), expected)


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_axes_and_dtypes(axis):
    x = np.arange(12, dtype=np.int32).reshape(3, 4)
    sums = partial(pb.tree.map, pnp.add)
    got = lax.associative_scan(sums, (x, x.astype(np.float16), x % 5 == 0), axis=axis)
    all_close(
        got,
        [
            np.cumsum(x, axis, dtype=np.int32),
            np.cumsum(x, axis, dtype=np.float16),
            np.logical_or.accumulate(x % 5 == 0, axis),
        ],
    )


def test_leaves_of_several_ranks():
    x = np.full((4, 2, 2), 0.5, f32) * np.eye(2, dtype=f32) * np.arange(1, 5, dtype=f32)[:, None, None]
    got = lax.associative_scan(pnp.matmul, x)
    expected = [np.linalg.multi_dot([np.eye(2), np.eye(2), *x[:i]]) for i in range(1, 5)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    pair = lax.associative_scan(lambda a, b: (a[0] + b[0], a[1] @ b[1]), (np.arange(4), x))
    np.testing.assert_array_equal(pair[1], got)


def test_derivatives_of_every_order():
    def combine(a, b):
        return pnp.sin(a[0]) * b[0], a[1] * b[0] + b[1]

    def fun(s, t):
        return lax.associative_scan(combine, (s, t), reverse=True)

    xs = maps(5)
    check_grads(fun, (xs["s"], xs["t"]), order=2)


def test_depth_is_logarithmic():
    calls = []

    def combine(a, b):
        calls.append(a.shape[0])
        return a + b

    lax.associative_scan(combine, np.ones(1024, f32))
    assert len(calls) == 2 * 10 - 1
    assert sum(calls) < 2 * 1024


def test_custom_rules_inside_hold():
    product = with_vjp(lambda a, b: a * b, lambda a, b: (a * b, None), lambda _, ct: (7 * ct, 0 * ct))
    x = np.array([2, 3, 5], f32)

    def total(x):
        return lax.associative_scan(product, x)[-1]

    for transform in (pb.grad, jit_of_grad, grad_of_jit, grad_in_vmap):
        gradient = transform(total)
        np.testing.assert_array_equal(gradient(x), [49, 0, 0])


def test_a_function_that_changes_structure_or_type_is_refused():
    x = np.ones(4, f32)
    with pytest.raises(TypeError, match=r"associative_scan: fn \(.*\) must return the structure of elems"):
        lax.associative_scan(lambda a, b: (a, b), x)
    with pytest.raises(TypeError, match=r"must keep the types of its arguments:\n.*expected f(loat)?32\[2\], got"):
        lax.associative_scan(lambda a, b: a.sum(), x)
    with pytest.raises(TypeError, match=r"must keep the types"):
        lax.associative_scan(lambda a, b: a.astype(np.int32), x)
    with pytest.raises(TypeError, match=r"must return arrays"):
        lax.associative_scan(lambda a, b: "no", x)
    with pytest.raises(TypeError, match=r"associative_scan: expected a function"):
        lax.associative_scan(x, x)


def test_elements_that_are_no_sequence_are_refused():
    with pytest.raises(ValueError, match=r"associative_scan: elems has no leaves"):
        lax.associative_scan(pnp.add, {})
    with pytest.raises(ValueError, match=r"one length along axis 0(.|\n)*\['a'\] of shape \(3,\)(.|\n)*\['b'\]"):
        lax.associative_scan(lambda x, y: x, {"a": np.ones(3), "b": np.ones(4)})
    with pytest.raises(ValueError, match=r"axis 1 is out of bounds for elems of shape \(3,\)"):
        lax.associative_scan(pnp.add, np.ones(3), axis=1)
    with pytest.raises(TypeError, match=r"associative_scan: elems .* must be an array"):
        lax.associative_scan(pnp.add, ["a"])
