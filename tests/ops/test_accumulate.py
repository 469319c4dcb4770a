"""Sums and products: errors do not grow with the number of terms, and half precision is rounded once."""

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn, ops
from pullback._ops.accumulate import reduced

RNG = np.random.default_rng(0)
HALVES = ["float16", "bfloat16", "float8_e5m2", "float8_e4m3fn"]


def rounding_errors(got, exact, dtype):
    """The largest error in units of the dtype's precision."""
    got, exact = np.asarray(got).astype(np.float64), np.asarray(exact, np.float64)
    assert got.shape == exact.shape
    return np.max(np.abs(got - exact) / np.abs(exact)) / float(ml_dtypes.finfo(dtype).eps)


# --- float32: sums over leading axes ---

MANY = 100_000


def gradient_of_a_broadcast(x):
    return pb.grad(lambda b: ((x + b) * x).sum())(pnp.zeros(3))


LEADING = {
    "mean": (lambda x: pnp.mean(x, 0), lambda x: x.mean(0)),
    "sum": (lambda x: pnp.sum(x, 0), lambda x: x.sum(0)),
    "nansum": (lambda x: pnp.nansum(x, 0), lambda x: x.sum(0)),
    "var": (lambda x: pnp.var(x, 0), lambda x: x.var(0)),
    "norm": (lambda x: pnp.linalg.norm(x, axis=0), lambda x: np.linalg.norm(x, axis=0)),
    "einsum": (lambda x: pnp.einsum("ij->j", x), lambda x: x.sum(0)),
    "cumsum": (lambda x: pnp.cumsum(x, 0)[-1], lambda x: x.sum(0)),
    "reverse cumsum": (lambda x: lax.cumsum(x, 0, reverse=True)[0], lambda x: x.sum(0)),
    "cumsum along the last axis": (lambda x: pnp.cumsum(x.T, 1)[:, -1], lambda x: x.sum(0)),
    "logsumexp": (lambda x: nn.logsumexp(x, 0), lambda x: np.log(np.exp(x).sum(0))),
    "gradient of a broadcast": (gradient_of_a_broadcast, lambda x: x.sum(0)),
}


@pytest.mark.parametrize("name", LEADING)
def test_float32_sums_over_leading_axes(name):
    fun, exact = LEADING[name]
    for x in (np.full((MANY, 3), 0.1, "float32"), RNG.random((MANY, 3), "float32")):
        if name == "var" and np.ptp(x) == 0:
            continue
        expected = exact(x.astype(np.float64))
        assert rounding_errors(fun(pnp.asarray(x)), expected, "float32") < 16
        if not name.startswith("cumsum along"):  # XLA's own
            assert rounding_errors(pb.jit(fun)(x), expected, "float32") < 64


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "float32", "float64", "complex64", "float16", "bfloat16"])
@pytest.mark.parametrize("ufunc", [np.add, np.multiply], ids=["sum", "product"])
def test_reductions_over_any_axes_of_any_layout(dtype, ufunc):
    shape = (5, 70, 3, 4)
    kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    low = RNG.uniform(0.9, 1.1, shape) if kind.kind in "fcV" else RNG.integers(1, 9, shape)
    x = low.astype(kind)
    wide = {"f": np.float64, "V": np.float64, "c": np.complex128}.get(kind.kind, kind)
    for axes in ((0,), (1,), (0, 1), (1, 2), (0, 2), (1, 3), (0, 1, 3), (0, 1, 2, 3), (2, 3), ()):
        with np.errstate(over="ignore"):
            expected = ufunc.reduce(x.astype(wide), axes, wide)
        for layout in (
            x,
            np.asfortranarray(x),
            np.repeat(x, 2, 2)[:, :, ::2],
            x.transpose(1, 0, 3, 2).copy().transpose(1, 0, 3, 2),
            np.flip(np.flip(x, 1).copy(), 1),
        ):
            got = reduced(ufunc, layout, axes)
            assert got.dtype == kind
            assert got.shape == expected.shape
            if kind.kind in "iu":
                np.testing.assert_array_equal(got, expected)
            else:
                eps = float(ml_dtypes.finfo(kind).eps)
                np.testing.assert_allclose(
                    got.astype(wide),
                    expected,
                    rtol=max(eps, 4 * np.sqrt(1400) * 6e-8) if kind.itemsize < 8 or kind.kind == "c" else 1e-13,
                )


def test_sums_of_what_is_repeated_or_empty():
    repeated = np.broadcast_to(np.float32(0.1), (1000, 1000))
    assert float(reduced(np.add, repeated, (0, 1))) == pytest.approx(1e5, rel=1e-6)
    assert reduced(np.add, np.zeros((0, 3), "float32"), (0,)).tolist() == [0, 0, 0]
    assert reduced(np.multiply, np.zeros((1000, 0), "float32"), (0,)).shape == (0,)


def test_running_sums_of_many_shapes():
    for shape in ((1,), (65,), (1000,), (70_000,), (3, 1000), (1000, 2), (2, 131, 3), (0, 2), (200, 0), (40_000, 2)):
        for axis in range(len(shape)):
            x = RNG.standard_normal(shape).astype("float32")
            exact = np.cumsum(x.astype(np.float64), axis)
            for reverse in (False, True):
                got = lax.cumsum(np.flip(x, axis) if reverse else x, axis, reverse=reverse)
                np.testing.assert_allclose(
                    np.flip(got, axis) if reverse else got, exact, atol=2e-5 * np.sqrt(shape[axis] + 1)
                )


def test_running_sums_of_infinities():
    x = np.ones(500, "float32")
    x[200], x[400] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = np.cumsum(x)
    for run in (pnp.cumsum, pb.jit(pnp.cumsum)):
        np.testing.assert_array_equal(np.isnan(run(x)), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(run(x)), np.isinf(expected))


# --- half precision ---

IDS = np.zeros(257, "int32")


def one_window(x):
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, (257, 1), (1, 1), "VALID")


def convolved(x):
    return lax.conv(x[None, None], x[None, None], (1, 1), "VALID")[0, 0]


HALF = {
    "sum": (lambda x: pnp.sum(x, 0), lambda x: x.sum(0)),
    "sum of all": (pnp.sum, np.sum),
    "mean": (lambda x: pnp.mean(x, 0), lambda x: x.mean(0)),
    "var": (lambda x: pnp.var(x, 0), lambda x: x.var(0)),
    "norm": (lambda x: pnp.linalg.norm(x, axis=0), lambda x: np.linalg.norm(x, axis=0)),
    "cumsum": (lambda x: pnp.cumsum(x, 0), lambda x: x.cumsum(0)),
    "nansum": (lambda x: pnp.nansum(x, 0), lambda x: x.sum(0)),
    "logsumexp": (lambda x: nn.logsumexp(x, 0), lambda x: np.log(np.exp(x).sum(0))),
    "matmul": (lambda x: x.T @ x, lambda x: x.T @ x),
    "vdot": (lambda x: pnp.vdot(x, x), lambda x: np.vdot(x, x)),
    "einsum": (lambda x: pnp.einsum("ij,ij->j", x, x), lambda x: (x * x).sum(0)),
    "segment_sum": (lambda x: ops.segment_sum(x, IDS, 1), lambda x: x.sum(0)[None]),
    "at add": (lambda x: pnp.zeros((1, 5), x.dtype).at[IDS].add(x), lambda x: x.sum(0)[None]),
    "reduce": (lambda x: lax.reduce(x, np.zeros((), x.dtype), lax.add, (0,)), lambda x: x.sum(0)),
    "reduce_window": (one_window, lambda x: x.sum(0)[None]),
    "conv": (convolved, lambda x: np.sum(x * x)[None, None]),
    "bincount": (lambda x: pnp.bincount(IDS, weights=x[:, 0], length=1), lambda x: x[:, 0].sum()[None]),
    "cov": (lambda x: pnp.cov(x.T), lambda x: np.cov(x.T)),
    "average": (lambda x: pnp.average(x, 0), lambda x: x.mean(0)),
}
PRODUCTS = {
    "prod": (lambda x: pnp.prod(x, 0), lambda x: x.prod(0)),
    "cumprod": (lambda x: pnp.cumprod(x, 0), lambda x: x.cumprod(0)),
    "segment_prod": (lambda x: ops.segment_prod(x, IDS, 1), lambda x: x.prod(0)[None]),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", [*HALF, *PRODUCTS])
def test_half_precision_is_rounded_once(name, dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    if name in PRODUCTS:
        x = (1 + 0.02 * RNG.standard_normal((257, 5))).astype(kind)
    else:
        # sums of 257 float8 must stay below their largest, squares of deviations above their smallest
        scale = 1 / 64 if dtype.startswith("float8") and name not in ("var", "cov") else 1
        x = (scale * (1 + RNG.random((257, 5)) / 2)).astype(kind)
    fun, exact = HALF.get(name) or PRODUCTS[name]
    expected = exact(x.astype(np.float64))
    for run in (fun, pb.jit(fun)):
        got = run(pnp.asarray(x))
        assert got.dtype == kind
        # half a unit, and what the float32 in between adds to it; covariances of a pair may nearly vanish
        if name == "cov":
            np.testing.assert_allclose(
                np.asarray(got, np.float64),
                expected,
                rtol=float(ml_dtypes.finfo(kind).eps),
                atol=max(1e-2 * expected.max(), float(ml_dtypes.finfo(kind).smallest_subnormal)),
            )
        else:
            assert rounding_errors(got, expected, kind) < 0.6


def test_intermediate_products_do_not_overflow():
    x = np.array([300, 300, 1e-3], "float16")
    for run in (pnp.prod, pb.jit(pnp.prod)):
        assert float(run(x)) == 90.0625  # the float16 next to the product of the float16s, 90.03


def test_a_thousand_bfloat16_ones():
    ones = pnp.ones(1000, "bfloat16")
    for run in (ops.segment_sum, pb.jit(ops.segment_sum, static_argnums=2)):
        assert float(run(ones, np.zeros(1000, int), 1)[0]) == 1000
