"""Moderate linear algebra runs on one BLAS thread, and the number of threads is afterwards what it was."""

import threading

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import blas
from pullback.scipy import linalg

SPD = 4 * np.eye(40, dtype=np.float32) + np.ones((40, 40), np.float32)


def watched(monkeypatch, threads=4):
    """A library of that many threads in the place of both; the numbers that were set, and the number now."""
    library = blas.Library("numpy.linalg._umath_linalg")
    now, seen = [threads], []
    library._get = lambda: now[0]
    library._set = lambda n: (now.__setitem__(0, n), seen.append(n))
    monkeypatch.setattr(blas, "_shared", True)
    for module in (blas, pb._ops.matrices, pb._ops.cholesky):
        for name in ("numpy_blas", "scipy_blas"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda: library)
    return now, seen


@pytest.mark.parametrize(
    "run",
    [
        pnp.linalg.cholesky,
        pnp.linalg.inv,
        pnp.linalg.det,
        pnp.linalg.eigh,
        pnp.linalg.svd,
        pnp.linalg.qr,
        pnp.linalg.eigvals,
        lambda x: linalg.solve_triangular(x, x, lower=True),
        lambda x: pnp.linalg.cholesky(-x),
        lambda x: pnp.ones((70, 70)) @ pnp.ones((70, 70)),
        lambda x: pnp.ones((100, 100)) @ pnp.ones(100),
    ],
)
def test_on_one_thread_and_back(run, monkeypatch):
    now, seen = watched(monkeypatch)
    run(pnp.asarray(SPD))
    assert now == [4]
    assert seen
    assert seen == [1, 4] * (len(seen) // 2)


@pytest.mark.parametrize(
    "run",
    [
        lambda: pnp.ones((3, 4)) @ pnp.ones((4, 5)),
        lambda: pnp.ones((600, 600)) @ pnp.ones((600, 600)),
        lambda: linalg.solve_triangular(pnp.eye(300), pnp.ones((300, 300))),
        lambda: pnp.linalg.cholesky(pnp.eye(300)),
    ],
)
def test_small_and_large_ones_are_left_alone(run, monkeypatch):
    _, seen = watched(monkeypatch)
    run()
    assert seen == []


def test_products_keep_their_threads_where_numpy_is_alone(monkeypatch):
    _, seen = watched(monkeypatch)
    monkeypatch.setattr(blas, "_shared", False)
    pnp.ones((70, 70)) @ pnp.ones((70, 70))
    assert seen == []


def test_one_thread_stays_one(monkeypatch):
    now, seen = watched(monkeypatch, 1)
    pnp.linalg.cholesky(pnp.asarray(SPD))
    assert (now, seen) == ([1], [])


def test_errors_and_calls_inside_of_calls(monkeypatch):
    now, _ = watched(monkeypatch)
    library = blas.numpy_blas()

    def inner():
        assert now == [1]
        library.on_one_thread(lambda: now == [1])
        assert now == [1]
        raise ValueError

    with pytest.raises(ValueError):
        library.on_one_thread(inner)
    assert now == [4]


def test_several_threads_at_once(monkeypatch):
    now, seen = watched(monkeypatch)
    library = blas.numpy_blas()
    both, may_go = threading.Barrier(2), threading.Event()

    def stays():
        both.wait()
        assert may_go.wait(10)

    first = threading.Thread(target=library.on_one_thread, args=(stays,))
    first.start()
    library.on_one_thread(both.wait)
    assert now == [1]  # the first is still inside
    may_go.set()
    first.join()
    assert now == [4]
    assert seen == [1, 4]


def test_the_real_libraries_are_as_they_were():
    before = [library._get() for library in (blas.numpy_blas(), blas.scipy_blas())]
    x = pnp.asarray(SPD)
    for run in (pnp.linalg.cholesky, pnp.linalg.inv, pnp.linalg.eigh):
        run(x)
        lax.linalg.triangular_solve(x, x, left_side=True)
    assert [library._get() for library in (blas.numpy_blas(), blas.scipy_blas())] == before


def test_gradient_of_a_likelihood_agrees_with_the_compiled_one():
    rng = np.random.default_rng(0)
    points, values = rng.standard_normal((60, 2)).astype("f"), rng.standard_normal(60).astype("f")

    def likelihood(log_length, log_noise):
        gaps = ((points[:, None] - points[None]) ** 2 * pnp.exp(-2 * log_length)).sum(-1)
        factor = pnp.linalg.cholesky(pnp.exp(-gaps / 2) + pnp.exp(log_noise) * pnp.eye(60))
        whitened = linalg.solve_triangular(factor, values, lower=True)
        return whitened @ whitened / 2 + pnp.log(pnp.diagonal(factor)).sum()

    slope = pb.value_and_grad(likelihood, (0, 1))
    eager, compiled = slope(0.1, -1.0), pb.jit(slope)(0.1, -1.0)
    np.testing.assert_allclose(eager[0], compiled[0], rtol=1e-4)
    np.testing.assert_allclose(eager[1], compiled[1], rtol=1e-3)
