"""Second derivatives at repeated eigenvalues and singular values: each entry right or nan, in the modes that say so."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import scipy

MODES = {
    "forward over reverse": lambda f: pb.jacfwd(pb.grad(f)),
    "forward over forward": lambda f: pb.jacfwd(pb.jacfwd(f)),
    "reverse over forward": lambda f: pb.jacrev(pb.jacfwd(f)),
    "reverse over reverse": lambda f: pb.jacrev(pb.grad(f)),
}
POINTS = {"all equal": 2 * np.eye(3), "two equal": np.diag([2.0, 2.0, 1.0]), "zeros": np.diag([1.0, 0.0, 0.0])}


def symmetric(x):
    return (x + x.T) / 2


def recomposed(x):
    w, v = pnp.linalg.eigh(symmetric(x))
    return ((v * w**2) @ v.T)[0, 1]


# each with the same function without a decomposition, which is smooth
FUNCTIONS = {
    "eigvalsh": (lambda x: (pnp.linalg.eigvalsh(symmetric(x)) ** 2).sum(), lambda x: (symmetric(x) ** 2).sum()),
    "eigh": (recomposed, lambda x: (symmetric(x) @ symmetric(x))[0, 1]),
    "svdvals": (lambda x: (pnp.linalg.svd(x, compute_uv=False) ** 4).sum(), lambda x: ((x.T @ x) ** 2).sum()),
    "eigvals": (lambda x: (pnp.linalg.eigvals(x) ** 2).sum().real, lambda x: pnp.trace(x @ x)),
    "expm": (
        lambda x: pnp.trace(scipy.linalg.expm(x) @ scipy.linalg.expm(x)),
        lambda x: pnp.trace(scipy.linalg.expm(2 * x)),
    ),
    "matrix_power": (lambda x: pnp.linalg.matrix_power(x, 3)[0, 1], lambda x: (x @ x @ x)[0, 1]),
}


@pytest.mark.parametrize("run", [lambda fun: fun, pb.jit])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_entries_are_right_or_nan(name, mode, run):
    fun, plain = FUNCTIONS[name]
    with pb.enable_x64():
        for place, x in POINTS.items():
            # the exception of docs/conventions.md: a slope that vanishes at the repeated value, reverse mode outermost
            if mode.startswith("reverse") and (name == "eigvals" or (name == "eigvalsh" and place == "zeros")):
                continue
            got, right = np.asarray(run(MODES[mode](fun))(x)), np.asarray(pb.hessian(plain)(x))
            known = ~np.isnan(got)
            np.testing.assert_allclose(got[known], right[known], rtol=1e-8, atol=1e-8, err_msg=place)
            if name in ("expm", "matrix_power"):
                assert known.all()


@pytest.mark.parametrize("run", [lambda fun: fun, pb.jit])
@pytest.mark.parametrize("mode", MODES)
def test_the_nuclear_norm(mode, run):
    """Right where no vectors of repeated values are mixed; of two directions that do, nothing is known."""
    with pb.enable_x64():
        got = np.asarray(run(MODES[mode](lambda x: pnp.linalg.norm(x, ord="nuc")))(np.diag([2.0, 2.0, 1.0])))
    # with singular values s, the skew parts of the pairs ij bend it by 1 / (s_i + s_j)
    for i, j in ((0, 2), (1, 2)):
        assert got[i, j, i, j] == pytest.approx(1 / 3)
        assert got[i, j, j, i] == pytest.approx(-1 / 3)
    assert np.isnan(got[0, 1, 0, 1]) or got[0, 1, 0, 1] == pytest.approx(1 / 4)
