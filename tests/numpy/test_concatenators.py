"""`r_`, `c_`, `s_` and `index_exp` against JAX."""

import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

EXPRESSIONS = [
    "N.r_[0:3:4j, 7]",
    "N.r_['c', [1, 2]]",
    "N.r_['r', [1, 2]]",
    "N.r_['0,2,0', [1, 2], [3, 4]]",
    "N.r_['0,2,1', [1, 2]]",
    "N.r_['1', [[1, 2]], [[3]]]",
    "N.r_['-1', [[1, 2]], [[3, 4]]]",
    "N.r_['1,3,-2', [1, 2], [3, 4]]",
    "N.r_[[1, 2], [3.5]]",
    "N.r_[0:5]",
    "N.r_[1.5:4]",
    "N.r_[N.array(3, 'int8'), 2]",
    "N.r_[5]",
    "N.r_[True, 2.5, 1j]",
    "N.c_[1:3, [3, 4], [5, 6]]",
    "N.c_[[[1, 2]], [[3, 4]]]",
    "N.c_[5, 6]",
    "N.c_['r', [1, 2], [3, 4]]",
    "N.c_['c', [1, 2]]",
    "N.c_['r', [[1, 2]], [[3, 4]]]",
    "N.c_[N.ones((2, 2)), N.zeros((2, 1))]",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_they_are_jax_s(expression):
    got, expected = (eval(expression, {"N": library}) for library in (pnp, jnp))
    assert (got.dtype, got.shape, got.weak_type) == (expected.dtype, expected.shape, expected.weak_type)
    np.testing.assert_array_equal(got, expected)


def test_they_are_differentiated_and_compiled():
    weights = np.arange(4.0, dtype="float32")
    f = pb.jit(pb.grad(lambda x: (pnp.r_[x, 1.0] * weights).sum()))
    np.testing.assert_array_equal(f(np.ones(3, "float32")), weights[:3])


def test_indices_are_returned():
    assert pnp.s_[1:3, ..., None] == np.s_[1:3, ..., None]
    assert pnp.index_exp[2] == (2,)
    np.testing.assert_array_equal(pnp.arange(5)[pnp.s_[1:3]], [1, 2])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((), "expected pieces to join, got none"),
        (("abc", 1), "must be 'r', 'c', or up to three integers 'axis,ndmin,first', got 'abc'"),
        ((1, "1"), "must come first"),
        (("0,2,5", [1]), "can begin at 0 to 1 of 2, got 5"),
    ],
)
def test_what_is_refused(key, message):
    with pytest.raises(ValueError, match=f"r_: .*{message}"):
        pnp.r_[key]
