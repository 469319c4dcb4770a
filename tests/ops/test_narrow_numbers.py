"""Integers of 4 bits and floats of 8: what wider ones give, eagerly and compiled."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

INTEGERS = {
    "abs": pnp.abs,
    "sign": pnp.sign,
    "lax.sign": lax.sign,
    "floor_divide": lambda x: x // 3,
    "remainder": lambda x: x % 3,
    "gcd": lambda x: pnp.gcd(x, x[::-1]),
    "lcm": lambda x: pnp.lcm(x, x * 0 + 1),
    "bitwise_count": pnp.bitwise_count,
    "bincount": lambda x: pnp.bincount(x, length=8),
    "power": lambda x: (x % 3) ** (x % 2),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "positions of top_k": lambda x: lax.top_k(x, 2)[1],
    "top_k of rows": lambda x: lax.top_k(pnp.stack([x, x[::-1]]), 3)[1],
    "as an index": lambda x: pnp.arange(20)[x],
    "unravel_index": lambda x: pnp.stack(pnp.unravel_index(x, (4, 4))),
    "reduceat": lambda x: pnp.maximum.reduceat(x, x[:2] % 5),
    "put": lambda x: pnp.put(x, x % 5, x, inplace=False),
}


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", ["uint4", "int4"])
@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_integers_of_four_bits_give_what_those_of_eight_do(name, dtype, transform):
    f = transform(INTEGERS[name])
    x = np.array([1, 0, 3, 7, 2])
    narrow, wide = f(pnp.asarray(x, dtype)), f(pnp.asarray(x, dtype.replace("4", "8")))
    np.testing.assert_array_equal(np.asarray(narrow).astype(int), np.asarray(wide).astype(int))


def test_unsigned_integers_of_four_bits_are_not_read_as_signed():
    x = pnp.array([15, 8, 7], "uint4")
    for transform in (lambda f: f, pb.jit):
        assert transform(lambda x: x // 2)(x).tolist() == [7, 4, 3]
        assert transform(lambda x: lax.top_k(x, 1)[1])(x).tolist() == [0]
        assert transform(lambda x: x >> 1)(x).tolist() == [7, 4, 3]
        assert transform(pnp.sign)(x).tolist() == [1, 1, 1]


def test_positions_of_four_bits_delete_and_insert():
    gone = np.asarray(pnp.array([0, 2], "uint4"))
    assert pnp.delete(pnp.arange(4), gone).tolist() == [1, 3]
    assert pnp.insert(pnp.arange(3), gone, 9).tolist() == [9, 0, 1, 9, 2]


NARROW = ["float8_e8m0fnu", "float8_e4m3fn", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "float8_e5m2"]


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_extremes_of_floats_that_have_no_infinity(dtype, transform):
    # the identity of max is no nan, also where neither -inf nor a negative number exists
    x = pnp.array([[1, 2, 4], [4, 4, 2]]).astype(dtype)
    ids = pnp.array([0, 2])
    expected = {
        "max": ([4, 4, 4], lambda x: x.max(0)),
        "min": ([1, 2, 2], lambda x: x.min(0)),
        "argmax": ([2, 0], lambda x: x.argmax(1)),
        "argmin": ([0, 2], lambda x: x.argmin(1)),
        "nanmax": (4, pnp.nanmax),
        "segment_max": ([[1, 2, 4], [4, 4, 2]], lambda x: pb.ops.segment_max(x, ids, 3)[ids]),
        "segment_min": ([[1, 2, 4], [4, 4, 2]], lambda x: pb.ops.segment_min(x, ids, 3)[ids]),
    }
    for name, (value, f) in expected.items():
        assert np.asarray(transform(f)(x)).astype(float).tolist() == value, name


def test_the_position_of_the_first_nan_of_floats_without_a_sign():
    x = pnp.array([1.0, np.nan, 4.0, np.nan]).astype("float8_e8m0fnu")
    for transform in (lambda f: f, pb.jit):
        assert transform(pnp.argmax)(x) == 1
        assert transform(pnp.argmin)(x) == 1


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("dtype", ["int4", "uint4", "int8", "uint8", "int16"])
@pytest.mark.parametrize("shape", [(20, 20), (3, 300), (4, 4), (2, 3)])
def test_flat_positions_of_a_dtype_that_cannot_count_the_elements(dtype, shape, transform):
    flat, size = np.array([0, 5, 3, 7]), np.prod(shape)
    found = transform(lambda x: pnp.unravel_index(x, shape))(pnp.asarray(flat, dtype))
    for axis, expected in zip(found, np.unravel_index(np.minimum(flat, size - 1), shape), strict=True):
        np.testing.assert_array_equal(np.asarray(axis).astype(int), expected)
        assert axis.dtype == (dtype if max(shape) - 1 <= pnp.iinfo(dtype).max else "int32")


def test_negative_flat_positions_of_a_narrow_dtype():
    for transform in (lambda f: f, pb.jit):
        row, column = transform(lambda x: pnp.unravel_index(x, (3, 300)))(pnp.array([-3], "int8"))
        assert (row.tolist(), column.tolist()) == ([2], [297])


def test_flat_positions_are_refused_where_their_dtype_cannot_hold_them():
    narrow = pnp.array([1, 100], "int8"), pnp.array([1, 2], "int8")
    with pytest.raises(ValueError, match=r"ravel_multi_index: dtype int8 cannot hold .* up to 39999: pass"):
        pnp.ravel_multi_index(narrow, (200, 200))
    for mode, expected in (("raise", [201, 20002]), ("wrap", [201, 20002]), ("clip", [201, 20002])):
        assert pnp.ravel_multi_index(narrow, (200, 200), mode, dtype="int32").tolist() == expected
