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
    for (i, j), bend in {(0, 2): 1 / 3, (1, 2): 1 / 3, (0, 1): 1 / 4}.items():
        # reverse mode as the outermost one cannot tell these directions apart
        unknown = mode.startswith("reverse") or (i, j) == (0, 1)
        assert got[i, j, i, j] == pytest.approx(bend) or (unknown and np.isnan(got[i, j, i, j]))
        assert got[i, j, j, i] == pytest.approx(-bend) or (unknown and np.isnan(got[i, j, j, i]))


def test_a_simple_eigenvalue_beside_repeated_ones():
    """Forward mode as the outermost one knows its second derivative along directions that do not mix the others."""

    def squared(x):
        return pnp.linalg.eigvalsh(symmetric(x))[0] ** 2

    with pb.enable_x64():
        got = np.asarray(pb.hessian(squared)(np.diag([1.0, 2.0, 2.0])))
        back = np.asarray(pb.jacrev(pb.grad(squared))(np.diag([1.0, 2.0, 2.0])))
    right = np.zeros((3, 3, 3, 3))
    right[0, 0, 0, 0] = 2.0
    for k in (1, 2):  # w0 bends by -2 * x[0, k] ** 2 / (w[k] - w[0])
        for pair in ((0, k, 0, k), (0, k, k, 0), (k, 0, 0, k), (k, 0, k, 0)):
            right[pair] = -1.0
    assert not np.isnan(got[:, :, 0]).any()
    assert not np.isnan(got[:, :, :, 0]).any()
    for second in (got, back):
        known = ~np.isnan(second)
        np.testing.assert_allclose(second[known], right[known], atol=1e-12)
