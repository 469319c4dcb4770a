"""Functions that an algorithm calls at several places: one function in the program, the results of copies."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._core.types import make_aval
from pullback._higher_order.apart import apart

X = np.array([0.3, -0.7, 1.2], "float32")
VECTOR = make_aval((3,), np.dtype("float32"))


def twice(x, scale):
    """tanh(scale * tanh(scale * x)), by a function that closes over `scale`."""
    layer = apart(lambda x: [pnp.tanh(scale * x)], [VECTOR], "layer")
    return layer(*layer(pnp.asarray(x)))[0]


def plainly(x, scale):
    return pnp.tanh(scale * pnp.tanh(scale * x))


def test_emitted_once_and_kept_apart():
    text = pb.jit(twice).lower(X, 2.0).as_text()
    assert text.count("stablehlo.tanh") == 1
    assert text.count('inlineable = "false"') == 2


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit])
def test_values_derivatives_and_batches(wrap):
    total, expected = (lambda x, s, f=f: f(x, s).sum() for f in (twice, plainly))
    np.testing.assert_allclose(wrap(twice)(X, 2.0), plainly(X, 2.0), rtol=1e-6)
    for transform in (lambda f: pb.grad(f, (0, 1)), lambda f: pb.jacfwd(f, 1), pb.hessian):
        got, known = (pb.tree_util.tree_leaves(wrap(transform(f))(X, 2.0)) for f in (total, expected))
        for a, b in zip(got, known, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        wrap(pb.vmap(twice, (0, None)))(np.stack([X, 2 * X]), 2.0), plainly(np.stack([X, 2 * X]), 2.0), rtol=1e-6
    )
