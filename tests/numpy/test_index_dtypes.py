"""An index is a number, whatever integer dtype it has: large unsigned ones and narrow ones, in every way to index."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn, ops

X = np.arange(300.0, dtype=np.float32)
LAST = float(X[-1])
ROW = lax.GatherDimensionNumbers((), (0,), (0,))
CELL = lax.ScatterDimensionNumbers((), (0,), (0,))


def scattered(mode):
    return lambda x, i: lax.scatter_add(x, i.reshape(1, 1), np.ones(1, "float32"), CELL, mode=mode)


# each reads at one index (or sums what it read), far out of bounds
def each_alone(x, i):
    def one(i):
        return lax.dynamic_slice(x, (i,), (1,))

    return pb.vmap(one)(i[None]).sum()


READ = {
    "x[i]": (lambda x, i: x[i], LAST),
    "x[[i]]": (lambda x, i: x[i[None]].sum(), LAST),
    "x[i, j]": (lambda x, i: x.reshape(3, 100)[i[None], i[None]].sum(), LAST),
    "x[i, 0]": (lambda x, i: x.reshape(3, 100)[i, 0], 200.0),
    "clip": (lambda x, i: x.at[i[None]].get(mode="clip").sum(), LAST),
    "fill": (lambda x, i: x.at[i[None]].get(mode="fill", fill_value=-1.0).sum(), -1.0),
    "promise": (lambda x, i: x.at[i[None]].get(mode="promise_in_bounds").sum(), LAST),
    "take": (lambda x, i: pnp.take(x, i[None], fill_value=-1.0).sum(), -1.0),
    "take, clip": (lambda x, i: pnp.take(x, i, mode="clip"), LAST),
    "take_along_axis": (lambda x, i: pnp.take_along_axis(x, i[None], 0, fill_value=-1.0).sum(), -1.0),
    "take_along_axis, clip": (lambda x, i: pnp.take_along_axis(x, i[None], 0, mode="clip").sum(), LAST),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i,), (1,)).sum(), LAST),
    "dynamic_slice of two": (lambda x, i: lax.dynamic_slice(x.reshape(3, 100), (i, np.int32(1)), (1, 1)).sum(), 201.0),
    "dynamic_index_in_dim": (lambda x, i: lax.dynamic_index_in_dim(x, i).sum(), LAST),
    "dynamic_update_slice": (lambda x, i: lax.dynamic_update_slice(x, np.zeros(1, "float32"), (i,))[-1], 0.0),
    "gather, clip": (lambda x, i: lax.gather(x, i[None], ROW, (1,), mode="clip"), LAST),
    "gather, fill": (lambda x, i: lax.gather(x, i[None], ROW, (1,), mode="fill", fill_value=-1.0), -1.0),
    "scatter, drop": (lambda x, i: scattered("drop")(x, i).sum() - x.sum(), 0.0),
    "scatter, clip": (lambda x, i: scattered("clip")(x, i)[-1], LAST + 1),
    "set": (lambda x, i: x.at[i].set(0.0).sum() - x.sum(), 0.0),
    "set, clip": (lambda x, i: x.at[i[None]].set(0.0, mode="clip")[-1], 0.0),
    "add": (lambda x, i: x.at[i[None]].add(1.0)[0], 0.0),
    "segment_sum": (lambda x, i: ops.segment_sum(x[:1] + 1, i[None], 5).sum(), 0.0),
    "segment_sum, clip": (lambda x, i: ops.segment_sum(x[:1] + 1, i[None], 5, mode="clip")[-1], 1.0),
    "one_hot": (lambda x, i: nn.one_hot(i, 300).sum(), 0.0),
    "bincount": (lambda x, i: pnp.bincount(i[None], length=5).sum(), 0.0),
    "vmap of dynamic_slice": (each_alone, LAST),
    "put, clip": (lambda x, i: pnp.put(x, i[None], 7.0, mode="clip", inplace=False)[-1], 7.0),
}


@pytest.mark.parametrize("name", READ)
def test_large_unsigned_indices_are_out_of_bounds(name):
    fun, expected = READ[name]
    for value in (2**31, 2**32 - 1):
        i = np.uint32(value)
        for got in (fun(pnp.asarray(X), pnp.asarray(i)), pb.jit(fun)(X, i)):
            assert float(got) == expected
    with pb.enable_x64():
        for i in (np.uint64(2**64 - 1), np.uint64(2**32), np.int64(2**40)):
            for got in (fun(pnp.asarray(X), pnp.asarray(i)), pb.jit(fun)(X, i)):
                assert float(got) == expected


WITHIN = {
    "x[i]": lambda x, i: x[i],
    "take": pnp.take,
    "take, clip": lambda x, i: pnp.take(x, i, mode="clip"),
    "take, wrap": lambda x, i: pnp.take(x, i, mode="wrap"),
    "take_along_axis": lambda x, i: pnp.take_along_axis(x, i[None], 0)[0],
    "fill": lambda x, i: x.at[i[None]].get(mode="fill")[0],
    "dynamic_slice": lambda x, i: lax.dynamic_slice(x, (i,), (1,))[0],
    "set": lambda x, i: x[i] + x.at[i].set(0.0)[i],
    "put": lambda x, i: 7 - pnp.put(x, i[None], 7.0, inplace=False)[i] + x[i],
    "one_hot": lambda x, i: nn.one_hot(i, 300) @ x,
}


@pytest.mark.parametrize("name", WITHIN)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_narrow_indices_reach_as_far_as_their_dtype(name, dtype):
    fun = WITHIN[name]
    values = {"uint8": [200, 0], "int8": [-1, -128, 127]}.get(dtype, [250] if dtype[0] == "u" else [250, -300, -1])
    for value in values:
        if name == "one_hot" and value < 0:
            continue
        expected = X[value] if not (name == "take, clip" and value < 0) else X[0]
        i = np.array(value, dtype)
        for got in (fun(pnp.asarray(X), pnp.asarray(i)), pb.jit(fun)(X, i)):
            assert float(got) == expected


def test_positions_of_64_bits_are_not_cut_off():
    far = np.array([2**32, -(2**40)])
    assert pnp.take(X, far, fill_value=-1.0).tolist() == [-1, -1]
    assert pnp.take_along_axis(X, far, 0, fill_value=-1.0).tolist() == [-1, -1]
    assert pnp.asarray(X)[far].tolist() == [LAST, 0]
    assert pnp.asarray(X).at[far].set(9.0).tolist() == X.tolist()
