"""Large stacks of matrices: what goes through the kernel first and through a compiled program later is the same."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._ops import matrices
from pullback._xla import executable
from pullback.debug import counters
from pullback.scipy import linalg

RNG = np.random.default_rng(0)
GENERAL = RNG.standard_normal((60, 3, 3)).astype(np.float32)
POSITIVE = GENERAL @ GENERAL.swapaxes(1, 2) + np.eye(3, dtype=np.float32)
RIGHT = RNG.standard_normal((60, 3, 2)).astype(np.float32)

OPERATIONS = {
    "inv": (pnp.linalg.inv, GENERAL),
    "solve": (lambda a: pnp.linalg.solve(a, RIGHT), GENERAL),
    # those of three rows and less have a formula
    "det": (pnp.linalg.det, RNG.standard_normal((60, 5, 5)).astype(np.float32)),
    "slogdet": (lambda a: pnp.linalg.slogdet(a)[1], GENERAL),
    "eigh": (pnp.linalg.eigh, POSITIVE),
    "svd": (pnp.linalg.svd, GENERAL),
    "qr": (pnp.linalg.qr, GENERAL),
    "eigvals": (pnp.linalg.eigvals, GENERAL),
    "lu": (linalg.lu, GENERAL),
    "triangular": (lambda a: linalg.solve_triangular(a, RIGHT, lower=True), POSITIVE),
    "gradient": (pb.grad(lambda a: pnp.linalg.inv(a).sum()), POSITIVE),
    "complex": (pnp.linalg.inv, GENERAL + 1j * GENERAL[::-1]),
    "two axes": (pnp.linalg.qr, GENERAL.reshape(6, 10, 3, 3)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_ways_give_the_same(name, monkeypatch):
    run, x = OPERATIONS[name]
    x = pnp.asarray(x)
    monkeypatch.setattr(matrices, "_MANY", 10**9)
    expected = pb.tree.leaves(run(x))
    monkeypatch.setattr(matrices, "_MANY", 50)
    monkeypatch.setattr(matrices, "_A_COMPILATION", 60)
    executable.lasting.clear()
    programs = []
    find = matrices.program_if_worth
    monkeypatch.setattr(matrices, "program_if_worth", lambda *args: programs.append(find(*args)) or programs[-1])
    for _ in range(4):
        with counters() as seen:
            got = pb.tree.leaves(run(x))
        for a, b in zip(got, expected, strict=True):
            assert a.aval is b.aval
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
    assert seen["compiles"] == 0
    assert programs[0] is None
    assert programs[-1] is not None


def test_small_stacks_stay_with_the_kernel():
    with counters() as seen:
        for _ in range(100):
            pnp.linalg.inv(GENERAL[:40])
    assert seen["compiles"] == 0


def test_matrices_that_have_no_solution(monkeypatch):
    monkeypatch.setattr(matrices, "_A_COMPILATION", 60)
    x = POSITIVE.copy()
    x[7, 0, 0] = np.nan
    for _ in range(3):
        w = np.asarray(pnp.linalg.eigh(x)[0])
        assert np.isnan(w[7]).all()
        assert np.isfinite(np.delete(w, 7, 0)).all()
