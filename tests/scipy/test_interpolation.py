"""scipy.ndimage, scipy.interpolate and scipy.cluster.vq against JAX; derivatives against differences."""

import jax.scipy.cluster.vq
import jax.scipy.interpolate
import jax.scipy.ndimage
import numpy as np
import pytest
from agreement import Sampler, all_close, check_derivative, close

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy.cluster.vq import vq
from pullback.scipy.interpolate import RegularGridInterpolator
from pullback.scipy.ndimage import map_coordinates

data = Sampler(largest=99)
MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "complex64", "int32", "uint8"])
def test_map_coordinates(dtype, mode, order):
    image, at = data((4, 5), dtype), [9 * data((3, 7)), 9 * data((7,))]
    at[1][:3] = 1, 2, 2.5

    def ours(image, *at):
        return map_coordinates(image, at, order, mode, 2)

    expected = np.array(jax.scipy.ndimage.map_coordinates(image, at, order, mode, 2))
    for got in (ours(image, *at), pb.jit(ours)(image, *at), pb.vmap(ours, (None, 0, None))(image, *at)):
        got = np.array(got)
        if expected.dtype.kind in "iu":
            # next to half of an odd number the last digit decides which of the two whole numbers it is
            exact = np.asarray(jax.scipy.ndimage.map_coordinates(np.float32(image), at, order, mode, 2))
            ties = abs(exact % 1 - 0.5) < 1e-4
            assert (abs(np.int64(got) - np.int64(expected))[ties] <= 1).all()
            got[ties] = expected[ties]
        close(got, expected, 10)
    if dtype == "float32":
        inside = [np.array([0.3, 2.6, -1.2], "float32"), np.array([3.4, 1.7, 0.2], "float32")]
        check_derivative(lambda image, *at: map_coordinates(image, at, order, mode), image, *inside)


def test_map_coordinates_far_away_and_of_nan():
    line, far = np.arange(3.0, dtype="float32"), np.array([1e30, -1e30, np.nan, 2, -0.5], "float32")
    for f in (map_coordinates, pb.jit(map_coordinates, static_argnums=(2, 3))):
        np.testing.assert_array_equal(f(line, [far], 1), np.array([0, 0, np.nan, 2, 0], "float32"))
        np.testing.assert_array_equal(f(line, [far], 0), np.array([0, 0, 0, 2, 0], "float32"))
    assert map_coordinates(3.0, [], 1) == 3
    assert map_coordinates(np.ones(1), [np.array([3.0, 0.5])], 1, "mirror").tolist() == [1, 1]
    assert map_coordinates(line, [np.zeros((0, 2))], 1).shape == (0, 2)


def test_map_coordinates_refuses():
    with pytest.raises(ValueError, match="expected 1 arrays of coordinates, one for each axis of input, got 2"):
        map_coordinates(np.ones(3), [0.0, 1.0], 1)
    with pytest.raises(NotImplementedError, match="order must be 0 or 1, got 3"):
        map_coordinates(np.ones(3), [0.0], 3)
    with pytest.raises(NotImplementedError, match="mode 'grid-wrap' is not implemented, use one of 'constant'"):
        map_coordinates(np.ones(3), [0.0], 1, "grid-wrap")
    with pytest.raises(ValueError, match=r"input must have pixels, got shape \(0,\)"):
        map_coordinates(np.ones(0), [0.0], 1)
    with pytest.raises(TypeError, match="coordinates must be real numbers"):
        map_coordinates(np.ones(3), [1j], 1)


GRID = (np.array([1.0, 2, 4], "float32"), np.array([0.0, 3, 4, 9], "float32"))
VALUES = data((3, 4, 2))
POINTS = np.random.default_rng(1).uniform(-1, 9, (6, 5, 2)).astype("float32")


@pytest.mark.parametrize("fill", [np.nan, None, 7.0])
@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_grids(method, fill):
    ours = RegularGridInterpolator(GRID, VALUES, method, fill_value=fill)
    theirs = jax.scipy.interpolate.RegularGridInterpolator(GRID, VALUES, method, fill_value=fill)
    apart = POINTS[..., 0], POINTS[:1, ..., 1]
    for points in (POINTS, apart, POINTS[0, 0]):
        close(ours(points), theirs(points), 10)
    close(pb.jit(lambda f, x: f(x))(ours, POINTS), theirs(POINTS), 10)
    falling = RegularGridInterpolator((GRID[0][::-1], GRID[1]), VALUES[::-1], method, fill_value=fill)
    close(falling(POINTS), theirs(POINTS), 10)


def test_grids_are_differentiated():
    def interpolated(a, b, values, x):
        return RegularGridInterpolator((a, b), values, fill_value=None)(x)

    check_derivative(interpolated, *GRID, VALUES, np.array([[1.2, 3.4], [3.3, 1.1], [-1.0, 10.0]], "float32"))


def test_grids_at_their_edges():
    assert np.isnan(RegularGridInterpolator(GRID, VALUES, "nearest", fill_value=None)(np.array([np.nan, 1.0]))).all()
    np.testing.assert_array_equal(
        RegularGridInterpolator((np.array([2.0]),), np.array([5.0]))(np.array([2.0, 3.0])), [5, np.nan]
    )
    assert RegularGridInterpolator(GRID, VALUES)(np.zeros((0, 2))).shape == (0, 2)
    with pytest.raises(ValueError, match="method must be 'linear' or 'nearest', got 'cubic'"):
        RegularGridInterpolator(GRID, VALUES, "cubic")
    with pytest.raises(ValueError, match=r"points\[0\] must rise or fall"):
        RegularGridInterpolator((np.array([1.0, 1.0]),), np.ones(2))
    with pytest.raises(ValueError, match=r"points\[1\] must be a vector as long as axis 1 of values"):
        RegularGridInterpolator(GRID[:1] * 2, VALUES)
    with pytest.raises(ValueError, match="expected points of 2 coordinates, got shape"):
        RegularGridInterpolator(GRID, VALUES)(np.ones((4, 3)))
    with pytest.raises(NotImplementedError, match="bounds_error=True is not implemented"):
        RegularGridInterpolator(GRID, VALUES, bounds_error=True)


def test_nearest_codes():
    points, codes = data((10, 3)), data((4, 3))
    for a, b in ((points, codes), (points[:, 0], codes[:, 0])):
        expected = jax.scipy.cluster.vq.vq(a, b)
        all_close(vq(a, b), expected)
        all_close(pb.jit(vq)(a, b), expected)
    check_derivative(lambda a, b: vq(a, b)[1], 4 * codes[[3, 0, 1]] + 0.2, 4 * codes)
    assert pb.grad(lambda x: vq(x, codes)[1].sum())(pnp.asarray(codes)).tolist() == np.zeros((4, 3)).tolist()
    with pytest.raises(ValueError, match="vq: code_book has no codes"):
        vq(points, codes[:0])
    with pytest.raises(ValueError, match="the rows of obs and code_book must have one length"):
        vq(points, codes[:, :2])
