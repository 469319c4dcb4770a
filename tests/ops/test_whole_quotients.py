"""Quotients and remainders of large arrays of whole numbers are exact: compiled, they come from divisions of floats."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
COUNT = 20_000


def pairs(dtype):
    """All pairs of special numbers, and of others of all sizes."""
    info, random = np.iinfo(dtype), np.random.default_rng(0)
    special = {0, 1, 2, 3, 7, info.min, info.min + 1, info.max, info.max - 1, info.max // 2, info.max // 3}
    for power in (8, 16, 24, 31, 32, 52, 53, 54, 62, 63):
        special |= {sign * 2**power + step for sign in (1, -1) for step in (-1, 0, 1)}
    special |= {-x for x in special}
    special = [x for x in sorted(special) if info.min <= x <= info.max]
    x, y = (v.ravel() for v in np.meshgrid(np.array(special, dtype), np.array(special, dtype)))
    others = []
    for _ in range(2):
        bits = random.integers(info.min, info.max, COUNT, dtype, endpoint=True)
        others.append(bits >> random.integers(0, info.bits - 1, COUNT).astype(dtype))
    # multiples of the divisor and their neighbours, as far as the type has them
    with np.errstate(over="ignore"):
        near = others[1] * random.integers(0, 100, COUNT).astype(dtype) + random.integers(0, 2, COUNT).astype(dtype)
    return np.concatenate([x, others[0], near]), np.concatenate([y, others[1], others[1]])


def wrapped(numbers, dtype):
    """Python's whole numbers modulo 2 to the number of bits."""
    bits = np.iinfo(dtype).bits
    return np.array([n % 2**bits for n in numbers], f"uint{bits}").astype(dtype)


def towards_zero(x, y):
    if y == 0:
        return -1, x
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    return quotient, x - quotient * y


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations_towards_zero(dtype):
    with pb.enable_x64(True):
        x, y = pairs(dtype)
        expected = [towards_zero(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        for i, op in enumerate([lax.div, lax.rem]):
            got = pb.jit(op)(x, y)
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, wrapped([e[i] for e in expected], dtype), op.__name__)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations_rounded_down(dtype):
    with pb.enable_x64(True):
        x, y = pairs(dtype)
        x, y = x[y != 0], y[y != 0]
        expected = [divmod(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        for i, op in enumerate([pnp.floor_divide, pnp.remainder]):
            np.testing.assert_array_equal(pb.jit(op)(x, y), wrapped([e[i] for e in expected], dtype), op.__name__)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_divisor_or_dividend(dtype):
    with pb.enable_x64(True):
        x = pairs(dtype)[0]
        for number in (-1, 0, 1, 3, np.iinfo(dtype).max):
            number = wrapped([number], dtype)[0]
            for op in (lax.div, lax.rem, pnp.floor_divide, pnp.remainder):
                one = pb.jit(op)
                np.testing.assert_array_equal(one(x, number), op(x, np.full_like(x, number)))
                np.testing.assert_array_equal(one(number, x), op(np.full_like(x, number), x))
                np.testing.assert_array_equal(pb.jit(lambda x, op=op, n=number: op(x, n))(x), one(x, number))


def test_all_pairs_of_bytes():
    x, y = (v.ravel() for v in np.meshgrid(*[np.arange(-128, 128, dtype="int8")] * 2))
    np.testing.assert_array_equal(pb.jit(lax.div)(x, y), lax.div(x, y))
    np.testing.assert_array_equal(pb.jit(lax.rem)(x, y), lax.rem(x, y))


def test_whole_numbers_are_divided_where_the_divisor_is_known():
    x = np.arange(COUNT, dtype="int32")
    by_array = pb.jit(lambda x, y: (x // y, x % y)).lower(x, x).as_text()
    by_constant = pb.jit(lambda x: (x // 3, x % 7)).lower(x).as_text()
    assert "f64" in by_array
    assert "stablehlo.remainder" not in by_array
    assert "f64" not in by_constant
    assert "stablehlo.remainder" in by_constant
    few = pb.jit(lambda x, y: x // y).lower(x[:100], x[:100]).as_text()
    assert "f64" not in few
