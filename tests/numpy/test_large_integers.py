"""Python's integers beside unsigned arrays: they take the array's dtype, whether or not they fit the default one."""

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, random

BIG = 2**32 - 1
U = pnp.zeros(2, "uint32")

# what each gives, as lists of Python's integers
GIVES = {
    "full": (lambda u: pnp.full(1, BIG, "uint32"), [BIG]),
    "full_like": (lambda u: pnp.full_like(u, BIG), [BIG, BIG]),
    "lax.full": (lambda u: lax.full((1,), BIG, "uint32"), [BIG]),
    "lax.full_like": (lambda u: lax.full_like(u, BIG), [BIG, BIG]),
    "array": (lambda u: pnp.array([BIG], "uint32"), [BIG]),
    "uint32": (lambda u: pnp.uint32(BIG)[None], [BIG]),
    "where": (lambda u: pnp.where(np.array([True, False]), u, BIG), [0, BIG]),
    "where, turned": (lambda u: pnp.where(np.array([True, False]), BIG, u), [BIG, 0]),
    "set": (lambda u: u.at[0].set(BIG), [BIG, 0]),
    "set at an array": (lambda u: u.at[np.array([1])].set(BIG), [0, BIG]),
    "add": (lambda u: u.at[1].add(BIG), [0, BIG]),
    "max": (lambda u: u.at[:1].max(BIG), [BIG, 0]),
    "get": (lambda u: u.at[np.array([5])].get(mode="fill", fill_value=BIG), [BIG]),
    "clip": (lambda u: pnp.clip(u, BIG - 1, BIG), [BIG - 1] * 2),
    "lax.clamp": (lambda u: lax.clamp(BIG - 1, u, BIG), [BIG - 1] * 2),
    "pad": (lambda u: pnp.pad(u, (0, 1), constant_values=BIG), [0, 0, BIG]),
    "lax.pad": (lambda u: lax.pad(u, BIG, ((1, 0, 0),)), [BIG, 0, 0]),
    "arange": (lambda u: pnp.arange(BIG - 2, BIG, dtype="uint32"), [BIG - 2, BIG - 1]),
    "u == BIG": (lambda u: (u + BIG) == BIG, [True, True]),
    "u < BIG": (lambda u: u < BIG, [True, True]),
    "BIG - u": (lambda u: BIG - u, [BIG, BIG]),
    "lax.max": (lambda u: lax.max(u, BIG), [BIG, BIG]),
    "isin": (lambda u: pnp.isin(u, BIG), [False, False]),
    "isin, turned": (lambda u: pnp.isin(BIG, u + BIG)[None], [True]),
    "searchsorted": (lambda u: pnp.searchsorted(u, BIG)[None], [2]),
    "sum": (lambda u: pnp.sum(u, initial=BIG)[None], [BIG]),
    "min": (lambda u: pnp.min(u + BIG, initial=BIG - 1)[None], [BIG - 1]),
    "max of a mask": (lambda u: pnp.max(u, initial=BIG, where=u > 0)[None], [BIG]),
    "unique": (lambda u: pnp.unique(u, size=2, fill_value=BIG), [0, BIG]),
    "insert": (lambda u: pnp.insert(u, 0, BIG), [BIG, 0, 0]),
    "put": (lambda u: pnp.put(u, np.array([0]), BIG, inplace=False), [BIG, 0]),
    "piecewise": (lambda u: pnp.piecewise(u, [u > 0], [1, BIG]), [BIG, BIG]),
    "select": (lambda u: pnp.select([u > 0], [u], BIG), [BIG, BIG]),
    "fill_diagonal": (lambda u: pnp.fill_diagonal(u[None] * u[:, None], BIG, inplace=False)[0], [BIG, 0]),
}


@pytest.mark.parametrize("name", GIVES)
def test_an_integer_takes_the_dtype_of_the_array_beside_it(name):
    fun, expected = GIVES[name]
    for run in (fun, pb.jit(fun)):
        assert run(U).tolist() == expected


def test_random_bounds():
    x = random.randint(random.key(0), (100,), BIG - 2, BIG, "uint32")
    assert set(x.tolist()) == {BIG - 2, BIG - 1}


def test_what_fits_neither_is_refused():
    for refused in (
        lambda: pnp.int32(1) + 2**40,
        lambda: pnp.array([BIG]),
        lambda: U == 2**32,
        lambda: U.at[0].set(2**32),
    ):
        with pytest.raises(OverflowError):
            refused()


def test_integers_outside_of_a_narrow_dtype_wrap_as_in_jax():
    for dtype, value in (("uint8", 300), ("int8", -129), ("uint32", -1)):
        expected = jax.numpy.full(2, value, dtype)
        for got in (pnp.full(2, value, dtype), lax.full((2,), value, dtype), pnp.zeros(2, dtype).at[:].set(value)):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "uint32", "int32"])
def test_bincount_of_every_integer_dtype(dtype):
    top = min(np.iinfo(dtype).max, 300)
    x = np.array([0, 1, 1, top], dtype)
    np.testing.assert_array_equal(pnp.bincount(x), np.bincount(x))
    np.testing.assert_array_equal(pb.jit(lambda x: pnp.bincount(x, length=400))(x), np.bincount(x, minlength=400))
