"""scipy.stats.dirichlet for tiny and huge concentrations, against mpmath."""

import mpmath as mp
import numpy as np
import pytest

import pullback as pb
from pullback.scipy.stats import dirichlet

# two of three proportions, and three concentrations
POINTS = {
    "all_tiny": (2.0**-106, 2.0**-106, 2.0**-106, 2.0**-106, 2.0**-106),
    "smallest": (2.0**-126, 0.5, 2.0**-126, 2.0**-126, 2.0**-126),
    "product_vanishes": (2.0**-126, 2.0**-20, 0.25, 0.5, 2.0**-15),
    "one_large": (0.9375, 2.0**-60, 2.0, 9997596.0, 0.09375),
    "one_large_and_small_rest": (0.0625, 0.03125, 0.5, 9997596.0, 120.0),
    "next_to_its_mean": (0.25, 0.25, 2.0**21, 2.0**21 + 1, 2.0**22),
    "last_next_to_1": (2.0**-27, 2.0**-34, 2.0**-27, 0.9375, 1e6),
    "slope_out_of_range": (2.0**-126, 0.5, 1e7, 27.6875, 10.0),
}


def exact(point):
    """The value, the slopes and the second derivatives, each by one argument."""
    with mp.workdps(60):
        x, y, *shape = map(mp.mpf, point)
        parts, total = (x, y, 1 - x - y), sum(shape)
        value = mp.loggamma(total) + sum(
            (a - 1) * mp.log(p) - mp.loggamma(a) for p, a in zip(parts, shape, strict=True)
        )
        rest = shape[2] - 1
        slopes = [(shape[i] - 1) / parts[i] - rest / parts[2] for i in range(2)]
        slopes += [mp.log(p) + mp.psi(0, total) - mp.psi(0, a) for p, a in zip(parts, shape, strict=True)]
        curves = [-(shape[i] - 1) / parts[i] ** 2 - rest / parts[2] ** 2 for i in range(2)]
        curves += [mp.psi(1, total) - mp.psi(1, a) for a in shape]
    return float(value), np.array(slopes, float), np.array(curves, float)


def log_density(point):
    return dirichlet.logpdf(point[:2], point[2:])


def second_derivatives(point):
    def along(direction):
        def slope(point):
            return pb.jvp(log_density, (point,), (direction,))[1]

        return pb.jvp(slope, (point,), (direction,))[1]

    return np.array([along(direction) for direction in np.eye(5, dtype=point.dtype)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", POINTS)
def test_logarithm_and_its_slopes(name, dtype):
    value, slopes, _ = exact(POINTS[name])
    eps = np.finfo(dtype).eps
    with pb.enable_x64():
        point = np.array(POINTS[name], dtype)
        for run in (log_density, pb.jit(log_density)):
            # the logarithms of tiny numbers are around 100, and their roundings are not less for a small sum
            np.testing.assert_allclose(np.asarray(run(point), np.float64), value, 32 * eps, 128 * eps)
            with np.errstate(over="ignore"):
                expected = slopes.astype(dtype)
            for way in (pb.grad, pb.jacfwd):
                np.testing.assert_allclose(np.asarray(way(run)(point)), expected, 32 * eps, 32 * eps)


@pytest.mark.parametrize("name", [name for name in POINTS if name != "all_tiny"])
def test_second_derivatives(name):
    *_, curves = exact(POINTS[name])
    with np.errstate(over="ignore"):
        curves = curves.astype(np.float32)
        found = second_derivatives(np.array(POINTS[name], np.float32))
    np.testing.assert_allclose(found, curves, 1e-5)


def test_density_where_all_concentrations_are_tiny():
    point = np.full(5, 2.0**-106, np.float32)
    for run in (dirichlet.pdf, pb.jit(dirichlet.pdf)):
        np.testing.assert_allclose(run(point[:2], point[2:]), 1 / 3, 1e-5)
