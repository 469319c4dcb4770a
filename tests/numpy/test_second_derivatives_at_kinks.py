"""Second derivatives at the tip of a cone, where the slope of a smooth function vanishes: right or nan."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

MODES = {
    "forward over reverse": lambda f: pb.jacfwd(pb.grad(f)),
    "forward over forward": lambda f: pb.jacfwd(pb.jacfwd(f)),
    "reverse over forward": lambda f: pb.jacrev(pb.jacfwd(f)),
    "reverse over reverse": lambda f: pb.jacrev(pb.grad(f)),
}
ORIGIN, ONES = np.zeros(2), np.ones(2)


def squared_norm(x):
    return pnp.linalg.norm(x) ** 2


def squared_norm_of_rows(x):
    return (pnp.linalg.norm(x[:, None], axis=1) ** 2).sum()


def squared_hypot(x):
    return pnp.hypot(x[0], x[1]) ** 2


def squared_modulus(x):
    return abs(lax.complex(x[0], x[1])) ** 2


def variance(x):
    return pnp.std(x) ** 2


def cubed_norm(x):
    return pnp.linalg.norm(x) ** 3


def masked_square(x):
    return pnp.where(x[0] > 1, pnp.linalg.norm(x) ** 2, 0.0)


# each with a point, and the second derivative there
FUNCTIONS = {
    squared_norm: (ORIGIN, 2 * np.eye(2)),
    squared_norm_of_rows: (ORIGIN, 2 * np.eye(2)),
    squared_hypot: (ORIGIN, 2 * np.eye(2)),
    squared_modulus: (ORIGIN, 2 * np.eye(2)),
    variance: (ONES, [[0.5, -0.5], [-0.5, 0.5]]),
    cubed_norm: (ORIGIN, np.zeros((2, 2))),
    masked_square: (ORIGIN, np.zeros((2, 2))),
}


@pytest.mark.parametrize("run", [lambda fun: fun, pb.jit])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fun", FUNCTIONS)
def test_entries_are_right_or_nan(fun, mode, run):
    at, right = FUNCTIONS[fun]
    got = np.asarray(run(MODES[mode](fun))(at))
    known = ~np.isnan(got)
    np.testing.assert_allclose(got[known], np.asarray(right)[known], atol=1e-6)


@pytest.mark.parametrize("run", [lambda fun: fun, pb.jit])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fun", [pnp.linalg.norm, lambda x: pnp.hypot(x[0], x[1]), lambda x: abs(lax.complex(*x))])
def test_lengths_themselves_have_none(fun, mode, run):
    assert np.isnan(np.diag(np.asarray(run(MODES[mode](fun))(ORIGIN)))).all()


@pytest.mark.parametrize("run", [lambda fun: fun, pb.jit])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fun", [squared_norm, squared_hypot, squared_modulus])
def test_all_is_known_elsewhere(fun, mode, run):
    np.testing.assert_allclose(run(MODES[mode](fun))(np.array([0.0, 3.0])), 2 * np.eye(2), atol=1e-6)


def test_first_derivatives_keep_their_convention():
    for fun in FUNCTIONS:
        np.testing.assert_array_equal(pb.grad(fun)(FUNCTIONS[fun][0]), ORIGIN)


def test_a_row_at_the_tip_leaves_the_others_alone():
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    got = np.asarray(pb.jacrev(pb.grad(lambda x: (pnp.linalg.norm(x, axis=1) ** 2).sum()))(rows))
    np.testing.assert_allclose(got[1, :, 1, :], 2 * np.eye(2), atol=1e-6)
    np.testing.assert_array_equal(got[1, :, 0, :][~np.isnan(got[1, :, 0, :])], 0.0)
