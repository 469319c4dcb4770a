"""Functions of `lax` and `numpy` that move entries take arrays of typed keys, as JAX's do."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, random
from pullback.dtypes import float0

OURS = SimpleNamespace(jax=pb, jnp=pnp, random=random, lax=lax)
JAXS = SimpleNamespace(jax=jax, jnp=jax.numpy, random=jax.random, lax=jax.lax)
MASK = np.array([True, False, True, False])
AT = np.array([2, 0, 1], np.int32)


def gathered(J, k, m):
    numbers = J.lax.GatherDimensionNumbers((), (0,), (0,))
    return J.lax.gather(k, J.jnp.asarray(AT)[:, None], numbers, (1,))


def scattered(J, k, m):
    numbers = J.lax.ScatterDimensionNumbers((), (0,), (0,))
    return J.lax.scatter(k, J.jnp.asarray(AT)[:, None], m[0], numbers)


def first(a, b):
    return a


def second(a, b):
    return b


def swapped(c, x):
    return x, c


def backwards(i, c):
    return c[::-1]


def turned(row):
    return row[::-1]


def begun(row):
    return row[:2]


def first_along(a, axis):
    return a.take(0, axis=axis)


def drawn(J):
    return lambda row: J.random.bits(row[0], (4,))


def folded(J):
    return lambda x: J.random.fold_in(x, 1)


# of four keys `k` and of `m`, two rows of three
CALLS = {
    "select": lambda J, k, m: J.lax.select(MASK, k, k[::-1]),
    "select by one flag": lambda J, k, m: J.lax.select(True, k, k[::-1]),
    "select_n": lambda J, k, m: J.lax.select_n(np.array([0, 1, 2, 0], np.int32), k, k[::-1], k),
    "where": lambda J, k, m: J.jnp.where(MASK, k, k[0]),
    "numpy.select": lambda J, k, m: J.jnp.select([J.jnp.asarray(MASK)], [k], k[::-1]),
    "cond": lambda J, k, m: J.lax.cond(k[0] == k[1], first, second, k[2], k[3]),
    "switch": lambda J, k, m: J.lax.switch(1, [first, second], k[0], k[1]),
    "scan": lambda J, k, m: J.lax.scan(swapped, k[0], k),
    "fori_loop": lambda J, k, m: J.lax.fori_loop(0, 2, backwards, k[:3]),
    "map": lambda J, k, m: J.lax.map(folded(J), k),
    "vectorize": lambda J, k, m: J.jnp.vectorize(folded(J))(m),
    "dynamic_slice": lambda J, k, m: J.lax.dynamic_slice(k, (1,), (2,)),
    "dynamic_slice_in_dim": lambda J, k, m: J.lax.dynamic_slice_in_dim(m, 1, 2, 1),
    "dynamic_index_in_dim": lambda J, k, m: J.lax.dynamic_index_in_dim(m, 1, 1, keepdims=False),
    "dynamic_update_slice": lambda J, k, m: J.lax.dynamic_update_slice(k, m[0, :2], (1,)),
    "dynamic_update_slice_in_dim": lambda J, k, m: J.lax.dynamic_update_slice_in_dim(k, m[0, :2], 1, 0),
    "dynamic_update_index_in_dim": lambda J, k, m: J.lax.dynamic_update_index_in_dim(k, m[0, 0], 1, 0),
    "slice": lambda J, k, m: J.lax.slice(k, (1,), (3,)),
    "slice_in_dim": lambda J, k, m: J.lax.slice_in_dim(k, 0, 4, 2),
    "index_in_dim": lambda J, k, m: J.lax.index_in_dim(k, 1),
    "index_take": lambda J, k, m: J.lax.index_take(k, (J.jnp.asarray(AT),), (0,)),
    "gather": gathered,
    "scatter": scattered,
    "lax.concatenate": lambda J, k, m: J.lax.concatenate([k, m[0]], 0),
    "broadcast": lambda J, k, m: J.lax.broadcast(k, (2,)),
    "broadcast_in_dim": lambda J, k, m: J.lax.broadcast_in_dim(k, (2, 4), (1,)),
    "broadcast_to_rank": lambda J, k, m: J.lax.broadcast_to_rank(k, 3),
    "lax.reshape": lambda J, k, m: J.lax.reshape(k, (2, 2)),
    "collapse": lambda J, k, m: J.lax.collapse(m, 0),
    "lax.transpose": lambda J, k, m: J.lax.transpose(m, (1, 0)),
    "rev": lambda J, k, m: J.lax.rev(k, (0,)),
    "lax.squeeze": lambda J, k, m: J.lax.squeeze(k[None], (0,)),
    "lax.expand_dims": lambda J, k, m: J.lax.expand_dims(k, (0,)),
    "lax.split": lambda J, k, m: J.lax.split(k, (1, 3)),
    "lax.tile": lambda J, k, m: J.lax.tile(k, (2,)),
    "lax.full": lambda J, k, m: J.lax.full((3,), k[0]),
    "lax.full_like": lambda J, k, m: J.lax.full_like(k, k[0]),
    "convert_element_type": lambda J, k, m: J.lax.convert_element_type(k, k.dtype),
    "stage": lambda J, k, m: J.lax.stage(k),
    "eq": lambda J, k, m: J.lax.eq(k, k[::-1]),
    "ne": lambda J, k, m: J.lax.ne(k, k[::-1]),
    "equal": lambda J, k, m: J.jnp.equal(k, k[0]),
    "not_equal": lambda J, k, m: J.jnp.not_equal(k, k[0]),
    "dsplit": lambda J, k, m: J.jnp.dsplit(k.reshape(1, 2, 2), 2),
    "put": lambda J, k, m: J.jnp.put(k, AT, m[0], inplace=False),
    "put_along_axis": lambda J, k, m: J.jnp.put_along_axis(k, J.jnp.asarray(AT), m[0], 0, inplace=False),
    "diag": lambda J, k, m: J.jnp.diag(m),
    "diagflat": lambda J, k, m: J.jnp.diagflat(k),
    "full": lambda J, k, m: J.jnp.full((3,), k[0]),
    "full, dtype": lambda J, k, m: J.jnp.full((3,), k[0], k.dtype),
    "full_like": lambda J, k, m: J.jnp.full_like(k, k[0]),
    "zeros": lambda J, k, m: J.jnp.zeros((2, 3), k.dtype),
    "empty": lambda J, k, m: J.jnp.empty(3, k.dtype).shape,
    "lax.empty": lambda J, k, m: J.lax.empty((3,), k.dtype).shape,
    "ones_like": lambda J, k, m: J.jnp.ones_like(k),
    "meshgrid": lambda J, k, m: J.jnp.meshgrid(k, m[0]),
    "ix_": lambda J, k, m: J.jnp.ix_(k),
    "pad, edge": lambda J, k, m: J.jnp.pad(k, 1, mode="edge"),
    "pad, wrap": lambda J, k, m: J.jnp.pad(k, 1, mode="wrap"),
    "fill_diagonal": lambda J, k, m: J.jnp.fill_diagonal(m, k[0], inplace=False),
    "at set": lambda J, k, m: k.at[J.jnp.asarray(AT)].set(m[0]),
    "at set outside": lambda J, k, m: k.at[7].set(m[0, 0], mode="drop"),
    "at get outside": lambda J, k, m: k.at[7].get(mode="clip"),
    "at get filled": lambda J, k, m: k.at[7].get(mode="fill"),
    "swapaxes": lambda J, k, m: m.swapaxes(0, 1),
    "take": lambda J, k, m: k.take(J.jnp.asarray(AT)),
    "isin": lambda J, k, m: J.jnp.isin(k, k[1:3]),
    "isin, inverted": lambda J, k, m: J.jnp.isin(m, J.jnp.concatenate([k, m[1]]), invert=True),
    "isin of one": lambda J, k, m: J.jnp.isin(k[0], k, assume_unique=True, method="compare_all"),
    "isin of none": lambda J, k, m: [J.jnp.isin(k, k[:0]), J.jnp.isin(k[:0], k)],
    "isnan": lambda J, k, m: [J.jnp.isnan(m), J.jnp.isnan(k[0])],
    "isinf": lambda J, k, m: [J.jnp.isinf(m), J.jnp.isposinf(k), J.jnp.isneginf(k)],
    "isfinite": lambda J, k, m: J.jnp.isfinite(k),
    "apply_along_axis": lambda J, k, m: J.jnp.apply_along_axis(turned, 0, m),
    "apply_along_axis, negative": lambda J, k, m: J.jnp.apply_along_axis(begun, -1, m),
    "apply_along_axis, numbers": lambda J, k, m: J.jnp.apply_along_axis(drawn(J), 1, m),
    "apply_over_axes": lambda J, k, m: J.jnp.apply_over_axes(first_along, m, (0, 1)),
    "vmap of the last axis": lambda J, k, m: J.jax.vmap(turned, -1, -1)(m),
    "vmap of the last axis but one": lambda J, k, m: J.jax.vmap(turned, -2, -2)(m[..., None]),
    "vmap of all axes": lambda J, k, m: J.jax.vmap(J.jax.vmap(folded(J), 0, -1), -1)(m),
    "choice": lambda J, k, m: J.random.choice(k[0], k, (5,)),
    "choice without replacement": lambda J, k, m: J.random.choice(k[0], m, (2,), replace=False, axis=1),
    "choice by p": lambda J, k, m: J.random.choice(k[0], k, (5,), p=J.jnp.array([0.1, 0.2, 0.3, 0.4])),
}


def words(J, result):
    """The words of keys, and other arrays, as NumPy's."""
    if isinstance(result, (list, tuple)):
        return [words(J, x) for x in result]
    if J.jax.dtypes.issubdtype(getattr(result, "dtype", np.dtype(int)), J.jax.dtypes.prng_key):
        return [result.shape, np.asarray(J.random.key_data(result))]
    return np.asarray(result)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("name", CALLS)
def test_as_in_jax(name, compiled):
    results = []
    for J in (OURS, JAXS):

        def call(k, m, J=J):
            return CALLS[name](J, k, m)

        k, m = J.random.split(J.random.key(0), 4), J.random.split(J.random.key(1), (2, 3))
        f = J.jax.jit(call) if compiled and J is OURS and "empty" not in name else call
        results.append(words(J, f(k, m)))
    pb.tree.map(np.testing.assert_array_equal, *results)


def test_arithmetic_still_refuses_keys():
    keys = random.split(random.key(0), 2)
    for f in (lax.neg, pnp.sin, lambda k: lax.add(k, k), lambda k: k + 1, lax.reduce_sum_p.bind):
        with pytest.raises(TypeError, match=r"key|operand"):
            f(keys)


def test_where_the_data_is():
    keys = random.split(random.key(0), 2)
    assert (keys.is_fully_addressable, keys.is_fully_replicated, keys.committed, keys.is_deleted()) == (
        (True, True, False, False)
    )
    keys.copy_to_host_async()
    keys.delete()
    assert keys.is_deleted()


def test_the_parts_on_devices():
    keys = random.split(random.key(0), 2)
    for (part,) in (keys.addressable_shards, keys.global_shards):
        assert (part.device, part.index, part.replica_id) == (keys.device, (slice(None),), 0)
        assert (part.data == keys).all()
    assert random.key(0).addressable_shards[0].index == ()
    assert (keys.addressable_data(0) == keys).all()
    assert "data=Array((2,), dtype=key<fry>) overlaying" in repr(part)


def test_axes_that_keys_do_not_have():
    key, keys = random.key(0), random.split(random.key(0), 3)
    for axis, x in [(0, key), (-1, key), (1, keys), (-2, keys)]:
        with pytest.raises(ValueError, match=rf"has shape \({'' if x is key else '3,'}\), which has no axis {axis}"):
            pb.vmap(lambda k: k, axis)(x)
    with pytest.raises(ValueError, match=r"out_axes=1 for leaf 0 of the result, which has rank 0"):
        pb.vmap(lambda k: k, 0, 1)(keys)


def test_isin_refuses_what_is_no_such_key():
    keys = random.split(random.key(0), 3)
    for args in [(keys, np.arange(3)), (np.arange(3), keys), (keys, random.key(0, impl="rbg"))]:
        with pytest.raises(TypeError, match="isin: keys are compared with keys of the same generator only, got"):
            pnp.isin(*args)
    with pytest.raises(ValueError, match="isin: method must be one of"):
        pnp.isin(keys, keys, method="all")


def test_the_derivative_with_respect_to_keys_is_float0():
    def f(key, x):
        return x * random.normal(key)

    keys = random.split(random.key(0), 3)
    zeros = np.zeros(3, float0)
    _, pull = pb.vjp(pb.vmap(f, (0, None)), keys, 2.0)
    assert (pull(pnp.ones(3))[0].dtype, pull(pnp.ones(3))[0].shape) == (float0, (3,))
    assert pb.grad(f, (0, 1), allow_int=True)(keys[0], 2.0)[0].dtype == float0
    y, t = pb.jvp(pb.vmap(f, (0, None)), (keys, 2.0), (zeros, 1.0))
    np.testing.assert_allclose(y, 2 * np.asarray(t))
    (keys_out, _), (t_keys, t) = pb.jvp(lambda k, x: (k, x), (keys, 2.0), (zeros, 1.0))
    assert (keys_out.shape, t_keys.dtype, t_keys.shape, float(t)) == ((3,), float0, (3,), 1.0)
    with pytest.raises(TypeError, match="one structure"):
        pb.jvp(f, (keys[0], 2.0), (zeros, 1.0))
