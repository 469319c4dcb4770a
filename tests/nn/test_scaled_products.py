"""Products of blocks with scales: against their definition, elements of the format exactly, and derivatives."""

import ml_dtypes
import numpy as np
import pytest
from agreement import close

import pullback as pb
from pullback import nn

rng = np.random.default_rng(0)
CONFIG = nn.get_scaled_dot_general_config("mxfp8")
ROWS = (((2,), (2,)), ((0,), (0,)))


def rounded(x):
    """Each block of 32 elements of a row in float8_e4m3fn, after division by a power of two that fits the largest."""
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape[:-1]):
        for start in range(0, x.shape[-1], 32):
            block = x[i][start : start + 32].astype("float64")
            top = np.abs(block).max() / 448
            scale = 2.0 ** np.ceil(np.log2(top)) if top else 1.0
            out[i][start : start + 32] = (block / scale).astype(ml_dtypes.float8_e4m3fn).astype("float64") * scale
    return out


def test_products_of_given_blocks():
    x, y = rng.standard_normal((2, 3, 8)), rng.standard_normal((2, 4, 8))
    s, t = rng.uniform(1, 2, (2, 3, 2)), rng.uniform(1, 2, (2, 4, 4))
    expected = np.einsum("bmk,bnk->bmn", x * np.repeat(s, 4, -1), y * np.repeat(t, 2, -1))
    for run in (nn.scaled_matmul, pb.jit(nn.scaled_matmul)):
        np.testing.assert_allclose(run(*(v.astype("float32") for v in (x, y, s, t))), expected, rtol=1e-5, atol=1e-5)
    half = nn.scaled_matmul(x, y, s, t, preferred_element_type="bfloat16")
    assert half.dtype == ml_dtypes.bfloat16
    small = [v.astype(ml_dtypes.float8_e4m3fn) for v in (x, y)]
    ones = np.ones((2, 3, 1), ml_dtypes.float8_e8m0fnu), np.ones((2, 4, 1), ml_dtypes.float8_e8m0fnu)
    wide = [v.astype("float32") for v in small]
    np.testing.assert_allclose(nn.scaled_matmul(*small, *ones), np.einsum("bmk,bnk->bmn", *wide), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k", [32, 40, 96])
def test_operands_are_rounded_block_by_block(k):
    x = (rng.standard_normal((2, 3, k)) * 10.0 ** rng.integers(-3, 4, (2, 3, k))).astype("float32")
    y = rng.standard_normal((2, 4, k)).astype("float32")
    expected = np.einsum("bmk,bnk->bmn", rounded(x), rounded(y))
    size = np.einsum("bmk,bnk->bmn", np.abs(x), np.abs(y))

    def f(x, y):
        return nn.scaled_dot_general(x, y, ROWS, configs=[CONFIG] * 3)

    for run in (f, pb.jit(f)):
        assert (np.abs(run(x, y) - expected) <= 1e-5 * size).all()


def test_derivatives_are_those_of_the_product_with_rounded_operands():
    # whole numbers up to 8 are elements of the format
    x, y = (rng.integers(-8, 9, shape).astype("float32") for shape in ((2, 3, 32), (2, 4, 32)))
    ct = rng.integers(-8, 9, (2, 3, 4)).astype("float32")
    out, back = pb.vjp(lambda x, y: nn.scaled_dot_general(x, y, ROWS, configs=[CONFIG] * 3), x, y)
    close(out, np.einsum("bmk,bnk->bmn", x, y))
    by_x, by_y = back(ct)
    close(by_x, np.einsum("bmn,bnk->bmk", ct, y))
    close(by_y, np.einsum("bmn,bmk->bnk", ct, x))


def test_axes_dtypes_and_none():
    x, y = (rng.integers(-8, 9, shape).astype("float32") for shape in ((5, 2, 32), (32, 3)))
    numbers = (((2,), (0,)), ((), ()))
    close(nn.scaled_dot_general(x, y, numbers, configs=[CONFIG] * 3), x @ y)
    assert nn.scaled_dot_general(x, y, numbers, "bfloat16", [CONFIG] * 3).dtype == ml_dtypes.bfloat16
    z = rng.standard_normal((5, 2, 32)).astype("float32")
    close(nn.scaled_dot_general(z, y, numbers), z @ y, 10)
    close(nn.scaled_dot_general(0 * x, y, numbers, configs=[CONFIG] * 3), 0 * (x @ y))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: nn.get_scaled_dot_general_config("nvfp4"), NotImplementedError, "no elements of four bits"),
        (lambda: nn.get_scaled_dot_general_config("int8"), ValueError, "mode must be 'mxfp8' or 'nvfp4'"),
        (lambda: nn.scaled_dot_general(1.0, 1.0, ROWS, configs=[CONFIG]), ValueError, "expected three configurations"),
        (lambda: nn.scaled_matmul(np.ones((2, 2)), np.ones((2, 2)), 1.0, 1.0), ValueError, r"lhs \(b, m, k\)"),
        (
            lambda: nn.scaled_matmul(np.ones((1, 2, 4)), np.ones((1, 2, 4)), np.ones((1, 2, 3)), np.ones((1, 2, 1))),
            ValueError,
            "each of a length that divides its own",
        ),
        (lambda: nn.standardize(np.ones(3), algorithm="slow"), ValueError, "algorithm must be 'fast' or 'stable'"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
