"""Leading zeros and upper halves of products, for every integer dtype, against Python's integers and JAX."""

import numpy as np
import pytest
from agreement import check_batching, close
from jax import lax as jlax

import pullback as pb
from pullback import lax

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def numbers(dtype):
    info = np.iinfo(dtype)
    edges = [info.min, info.min + 1, 0, 1, 2, 3, info.max // 2, info.max // 2 + 1, info.max - 1, info.max]
    drawn = np.random.default_rng(0).integers(info.min, info.max, 40, dtype=dtype, endpoint=True)
    return np.concatenate([np.array(edges, dtype), drawn])


@pytest.mark.parametrize("dtype", DTYPES)
def test_leading_zeros(dtype):
    x = numbers(dtype)
    bits = np.iinfo(dtype).bits
    expected = np.array([bits - (int(v) % 2**bits).bit_length() for v in x], dtype)
    with pb.enable_x64():
        close(lax.clz(x), expected)
        close(pb.jit(lax.clz)(x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_upper_halves_of_products(dtype):
    x = numbers(dtype)
    bits = np.iinfo(dtype).bits
    expected = np.array([[(int(a) * int(b)) >> bits for b in x] for a in x], dtype)
    with pb.enable_x64():
        for run in (lax.mulhi, pb.jit(lax.mulhi)):
            close(run(x[:, None], x[None]), expected)


def test_they_are_jax_s():
    x, y = numbers("int32"), numbers("int32")[::-1].copy()
    close(lax.mulhi(x, y), jlax.mulhi(x, y))
    close(lax.clz(x), jlax.clz(x))
    check_batching(lax.mulhi, x[:6], y[:6])
    assert lax.mulhi(np.int32(2**30), 8) == 2


@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_what_is_refused(dtype):
    for call in (lax.clz, lambda x: lax.mulhi(x, x)):
        with pytest.raises(TypeError, match="expected an integer dtype of 8 bits or more"):
            call(np.ones(2, dtype))
