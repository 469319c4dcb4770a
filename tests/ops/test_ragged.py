"""Products in groups of rows and with scales for blocks: against JAX and loops over the groups."""

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, close
from jax import lax as jlax

import pullback as pb
from pullback import lax

data = Sampler(6)


@pytest.mark.parametrize("sizes", [[1, 2], [0, 4], [2, 2], [0, 0]])
def test_rows_in_groups(sizes):
    x, w, groups = data((4, 2)), data((2, 2, 3)), np.array(sizes, "int32")
    agree(lambda x, w: lax.ragged_dot(x, w, groups), lambda x, w: jlax.ragged_dot(x, w, groups), x, w)
    check_derivative(lambda x, w: lax.ragged_dot(x, w, groups), x, w)
    check_batching(lambda x, w: lax.ragged_dot(x, w, groups), x, w)
    got = pb.vmap(lambda x, g: lax.ragged_dot(x, w, g))(np.stack([x, x]), np.stack([groups, groups[::-1]]))
    close(got[1], lax.ragged_dot(x, w, groups[::-1]))


@pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16", "complex64"])
def test_dtypes(dtype):
    x, w = data((4, 2), dtype), data((2, 2, 3), dtype)
    agree(lax.ragged_dot, jlax.ragged_dot, x, w, np.array([1, 2]))
    assert lax.ragged_dot(x, w, np.array([1, 2]), preferred_element_type="complex64").dtype == "complex64"


def numbers(library, dot, ragged, group):
    return library.RaggedDotDimensionNumbers(dot, ragged, group)


GENERAL = {
    "rows": (((4, 2), (2, 2, 3)), ((((1,), (1,)), ((), ())), [0], [0]), [1, 2]),
    "sum": (((5, 2), (5, 3)), ((((0,), (0,)), ((), ())), [0], []), [1, 3]),
    "batch": (((4, 2, 3), (4, 3, 2)), ((((2,), (1,)), ((0,), (0,))), [0], []), [1, 2]),
    "batch of rows": (((2, 4, 3), (2, 2, 3, 2)), ((((2,), (2,)), ((0,), (1,))), [1], [0]), [[1, 2], [3, 1]]),
    "batch of sums": (((2, 4, 3), (2, 4, 5)), ((((1,), (1,)), ((0,), (0,))), [1], []), [[1, 2], [3, 1]]),
}


@pytest.mark.parametrize("name", GENERAL)
def test_other_axes(name):
    shapes, given, sizes = GENERAL[name]
    x, y = map(data, shapes)
    groups = np.array(sizes, "int32")

    def of(library):
        return lambda x, y: library.ragged_dot_general(x, y, groups, numbers(library, *given))

    agree(of(lax), of(jlax), x, y)
    check_derivative(of(lax), x, y)


def test_blocks_with_scales():
    x, y = data((3, 8)), data((8, 2))
    s, t = np.abs(data((3, 2))) + 1, np.abs(data((4, 1))) + 1
    expected = (x * np.repeat(s, 4, 1)) @ (y * np.repeat(t, 2, 0) * np.ones((1, 2)))
    got = lax.scaled_dot(x, y, lhs_scale=s, rhs_scale=t, preferred_element_type="float32")
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert lax.scaled_dot(x, y, lhs_scale=s, rhs_scale=t).dtype == jnp.bfloat16
    stacked = lax.scaled_dot(x[None], y[None], lhs_scale=s[None], preferred_element_type="float32")
    np.testing.assert_allclose(stacked[0], (x * np.repeat(s, 4, 1)) @ y, rtol=1e-5)
    check_derivative(lambda x, s: lax.scaled_dot(x, y, lhs_scale=s, preferred_element_type="float32"), x, s)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: lax.ragged_dot(np.ones((2, 2)), np.ones((2, 2)), np.array([1])), ValueError, r"rhs \(g, k, n\)"),
        (lambda: lax.ragged_dot(np.ones((2, 2)), np.ones((2, 2, 2)), np.array([1])), ValueError, "2 groups, got 1"),
        (lambda: lax.ragged_dot(np.ones((2, 2)), np.ones((1, 2, 2)), np.array([1.0])), TypeError, "must be integers"),
        (
            lambda: lax.ragged_dot(np.ones((2, 2)), np.ones((1, 2, 2)), np.array([1]), group_offset=np.array([0])),
            NotImplementedError,
            "group_offset must be None",
        ),
        (
            lambda: lax.ragged_dot_general(
                np.ones((2, 2)), np.ones((2, 2)), np.array([1]), numbers(lax, (((1,), (0,)), ((), ())), [0], [])
            ),
            ValueError,
            "rhs must have one group axis",
        ),
        (
            lambda: lax.scaled_dot(np.ones((2, 4)), np.ones((4, 2)), lhs_scale=np.ones((2, 3))),
            ValueError,
            "divides its",
        ),
        (lambda: lax.scaled_dot(np.ones(4), np.ones(4)), ValueError, "dimension_numbers describes other products"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
