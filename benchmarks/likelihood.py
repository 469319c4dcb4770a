"""Figures: eager gradients in linear algebra, warm: a Gaussian process's likelihood, and functions of matrices.

What the processors do beside counts here more than anywhere: BLAS has threads, and they wait for one another.
"""

import importlib

import numpy
from peers import PACKAGES, load
from timing import once

POINTS, ROWS = 120, 100
LIKELIHOOD = f"eager gradient of a Gaussian process's likelihood, {POINTS} points"
GOALS = {LIKELIHOOD: 8e-3}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False


def prepare(peer):
    library = load(peer)
    np, core = library.numpy, library.core
    linalg = importlib.import_module(f"{PACKAGES[peer]}.scipy.linalg")
    random = numpy.random.default_rng(0)
    x, y = (np.asarray(random.standard_normal(shape).astype("float32")) for shape in ((POINTS, 3), (POINTS,)))

    def likelihood(logs):
        gaps = ((x[:, None] - x[None]) ** 2 * np.exp(logs[:3])).sum(-1)
        factor = np.linalg.cholesky(np.exp(logs[3] - gaps / 2) + np.exp(logs[4]) * np.eye(POINTS))
        whitened = linalg.solve_triangular(factor, y, lower=True)
        return whitened @ whitened / 2 + np.log(np.diagonal(factor)).sum()

    square = random.standard_normal((ROWS, ROWS)).astype("float32")
    matrix = np.asarray(square / 10 + 3 * numpy.eye(ROWS, dtype="float32"))
    positive = np.asarray(square @ square.T + ROWS * numpy.eye(ROWS, dtype="float32"))
    functions = {
        LIKELIHOOD: (likelihood, np.asarray([0.0, 0.0, 0.0, 0.0, -2.0])),
        "eager gradient of a Cholesky decomposition, 100 × 100": (lambda a: np.linalg.cholesky(a).sum(), positive),
        "eager gradient of an inverse, 100 × 100": (lambda a: np.linalg.inv(a).sum(), matrix),
        "eager gradient of a solution, 100 × 100": (lambda a: np.linalg.solve(a, a[0]).sum(), matrix),
        "eager gradient of `expm`, 100 × 100": (lambda a: linalg.expm(a / 10).sum(), matrix),
        "eager gradient of `pinv`, 100 × 100": (lambda a: np.linalg.pinv(a).sum(), matrix),
    }
    runs = {}
    for row, (function, argument) in functions.items():
        gradient = core.value_and_grad(function)
        for _ in range(2):
            assert numpy.isfinite(numpy.asarray(gradient(argument)[1])).all()
        runs[row] = lambda gradient=gradient, argument=argument: core.block_until_ready(gradient(argument))
    return lambda: {row: once(run) for row, run in runs.items()}
