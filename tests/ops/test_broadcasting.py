"""broadcast, broadcast_shapes, collapse: JAX's shapes and values, refusals."""

import jax
import numpy as np
import pytest
from agreement import all_close

import pullback as pb
from pullback import lax
from pullback.test_util import check_grads

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_shapes():
    for shapes in ([(2, 1), (3,)], [(0, 1), (1, 4), ()]):
        assert lax.broadcast_shapes(*shapes) == jax.lax.broadcast_shapes(*shapes)
    assert lax.broadcast_shapes() == ()
    with pytest.raises(ValueError, match=r"Incompatible shapes for broadcasting: shapes \(2,\), \(3,\) do not"):
        lax.broadcast_shapes((2,), (3,))


def test_new_leading_axes():
    all_close(lax.broadcast(X, (2, 0)), jax.lax.broadcast(X, (2, 0)))
    all_close(pb.jit(lambda x: lax.broadcast(x, (5,)))(X), np.broadcast_to(X, (5, 2, 3, 4)))
    check_grads(lambda x: lax.broadcast(x, (2,)), (X[0],), order=2)
    with pytest.raises(ValueError, match="broadcast"):
        lax.broadcast(X, (-1,))


@pytest.mark.parametrize("positions", [(0,), (0, 2), (1, 3), (-2,), (0, -1), (1, 1), (3,), (0, 9)])
def test_merged_axes(positions):
    all_close(lax.collapse(X, *positions), jax.lax.collapse(X, *positions))
