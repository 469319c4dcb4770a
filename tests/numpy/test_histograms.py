"""Histograms of several variables against JAX, their derivative by the weights, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, all_close, check_derivative

import pullback as pb
import pullback.numpy as pnp

data = Sampler(5)
POINTS, WEIGHTS = data((40, 3)), np.abs(data((40,)))
EDGES = np.array([-1, 0, 0.5, 2], "float32")
CASES = [
    {},
    {"bins": (2, 3, 4)},
    {"bins": [EDGES, 3, 2], "range": [None, (-1, 1), None]},
    {"bins": 3, "weights": WEIGHTS},
    {"bins": 3, "weights": np.arange(40, dtype="int8")},
    {"bins": 3, "density": True},
    {"bins": 3, "density": True, "weights": WEIGHTS},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(case) or "default")
def test_histograms_of_several_variables(case):
    agree(pnp.histogramdd, jnp.histogramdd, POINTS, **case)


@pytest.mark.parametrize("bins", [4, [3, 4], EDGES, [EDGES, 3], (EDGES, EDGES[1:])], ids=range(5))
def test_histograms_of_two_variables(bins):
    x, y = POINTS[:, 0], POINTS[:, 1]
    all_close(pnp.histogram2d(x, y, bins), jnp.histogram2d(x, y, bins))
    all_close(
        pnp.histogram2d(x, y, bins),
        [np.asarray(v, r.dtype) for v, r in zip(np.histogram2d(x, y, bins), pnp.histogram2d(x, y, bins), strict=True)],
    )


def test_what_lies_outside_and_nan_is_not_counted():
    points = np.array([[0, 0], [2, 2], [3, 0], [np.nan, 1], [-1, 1], [1, 2]], "float32")
    edges = [np.array([0.0, 1, 2])] * 2
    counts = pnp.histogramdd(points, edges)[0]
    np.testing.assert_array_equal(counts, [[1, 0], [0, 2]])
    assert counts.dtype == "int32"
    assert pnp.histogramdd(np.zeros((0, 2), "float32"), 3)[0].sum() == 0
    np.testing.assert_array_equal(pb.vmap(lambda p: pnp.histogramdd(p, edges)[0])(np.stack([points] * 2))[1], counts)


def test_weights_are_differentiated():
    check_derivative(lambda w: pnp.histogramdd(POINTS, 2, weights=w)[0], WEIGHTS)
    check_derivative(lambda w: pnp.histogram2d(*POINTS.T[:2], 2, weights=w, density=True)[0], WEIGHTS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pnp.histogramdd(POINTS[0]), r"histogramdd: expected points of shape \(n, d\)"),
        (lambda: pnp.histogramdd(POINTS, (2, 3)), "bins must be a number or one entry for each of 3 dimensions, got 2"),
        (lambda: pnp.histogramdd(POINTS, range=[(0, 1)]), "range must be a pair or None for each of 3 dimensions"),
        (lambda: pnp.histogramdd(POINTS, weights=WEIGHTS[:3]), r"weights must have shape \(40,\)"),
        (lambda: pnp.histogram2d(POINTS, WEIGHTS), "histogram2d: expected two vectors of one length"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
