"""Pytrees as vectors: values, dtypes, derivatives, and what does not fit."""

import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.flatten_util import ravel_pytree

TREES = {
    "arrays": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.float32(7.0), np.zeros((0, 2), np.float32)]},
    "integers and floats": (np.arange(3, dtype=np.int32), np.ones(2, np.float32)),
    "halves": (np.ones(2, np.float16), np.ones(2, np.float32)),
    "complex": (np.ones(2, np.float32), np.array([1 + 2j], np.complex64)),
    "a scalar": 3.0,
    "nothing": {},
    "None": (None, 1.0),
}


@pytest.mark.parametrize("name", TREES)
def test_as_in_jax(name):
    tree = TREES[name]
    vector, unravel = ravel_pytree(tree)
    expected, _ = jax.flatten_util.ravel_pytree(tree)
    assert vector.dtype == expected.dtype
    np.testing.assert_array_equal(vector, expected)
    back = unravel(vector)
    assert pb.tree.structure(back) == pb.tree.structure(tree)
    for a, b in zip(pb.tree.leaves(back), pb.tree.leaves(tree), strict=True):
        assert a.dtype == pnp.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def test_derivatives_and_transformations():
    params = {"w": pnp.arange(6.0).reshape(2, 3), "b": pnp.ones(2)}
    vector, unravel = ravel_pytree(params)

    def loss(v):
        p = unravel(v)
        return (pnp.sin(p["w"]).sum(1) * p["b"]).sum()

    grads = pb.grad(lambda p: loss(ravel_pytree(p)[0]))(params)
    np.testing.assert_allclose(ravel_pytree(grads)[0], pb.grad(loss)(vector), rtol=1e-6)
    np.testing.assert_allclose(
        pb.jit(pb.hessian(loss))(vector), pb.jacobian(pb.jacfwd(loss))(vector), rtol=1e-5, atol=1e-6
    )
    rows = pb.vmap(lambda p: ravel_pytree(p)[0])({"a": pnp.ones((4, 2)), "b": pnp.zeros(4)})
    assert rows.shape == (4, 3)


def test_trees_of_one_dtype_have_the_dtype_of_the_vector():
    """As in JAX: the function of a real tree also makes complex ones."""
    for library, ravel in ((pnp, ravel_pytree), (jnp, jax.flatten_util.ravel_pytree)):
        _, unravel = ravel((library.ones(2), [library.ones(())]))
        for dtype in ("complex64", "int32"):
            pair, [number] = unravel(library.arange(3).astype(dtype))
            assert pair.dtype == number.dtype == dtype
            assert [*np.real(pair), *np.real(number)[None]] == [0, 1, 2]


def test_what_does_not_fit_is_named():
    _, unravel = ravel_pytree((pnp.ones(2), pnp.ones(3, "bfloat16")))
    with pytest.raises(ValueError, match=r"unravel: expected a vector of 5 entries, got shape \(4,\)"):
        unravel(pnp.ones(4))
    with pytest.raises(TypeError, match=r"unravel: expected a vector of dtype float32, got int32; convert it"):
        unravel(pnp.arange(5))
    with pytest.raises(TypeError, match="ravel_pytree"):
        ravel_pytree({"a": "text"})
