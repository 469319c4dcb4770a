"""What numpy's functions refuse, and say: the function, what it expected and what it got. And their empty cases."""

from functools import partial

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.numpy import linalg

V, M = np.arange(3, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
CUBE = np.zeros((2, 3, 3), np.float32)
NONE = np.zeros((0,), np.float32)

INDEXING = [
    (
        partial(pnp.put_along_axis, M[:1], np.zeros((3, 1), int), 1.0, 1, inplace=False),
        ValueError,
        "put_along_axis: indices of shape",
    ),
    (
        partial(pnp.put, V, np.array([0]), 1.0, mode="raise", inplace=False),
        ValueError,
        "put: mode must be None, 'clip' or 'wrap'",
    ),
    (
        partial(pnp.place, V, np.array([True, False]), 1.0, inplace=False),
        ValueError,
        "place: the mask must have the size",
    ),
    (partial(pnp.fill_diagonal, M, 1.0, wrap=True, inplace=False), NotImplementedError, "fill_diagonal: wrap=True"),
    (partial(pnp.fill_diagonal, CUBE, 1.0, inplace=False), ValueError, "fill_diagonal: expected a matrix, or an array"),
    (partial(pnp.fill_diagonal, V, 1.0, inplace=False), ValueError, "fill_diagonal: expected a matrix, or an array"),
    (partial(pnp.delete, V, [True, False]), ValueError, "delete: a mask must have the length 3"),
    (partial(pnp.delete, V, [0.5]), IndexError, "delete: positions must be integers, got float64"),
    (partial(pnp.delete, V, [3]), IndexError, r"delete: positions \[3\] are out of bounds for axis 0 of length 3"),
    (partial(pnp.insert, V, [4], 1.0), IndexError, r"insert: positions \[4\] are out of bounds for axis 0 of length 3"),
    (partial(pnp.take_along_axis, M, np.zeros((1, 2), int), None), ValueError, "with axis None, indices must have 1"),
    (partial(pnp.take_along_axis, np.zeros((2, 0)), np.zeros((2, 1), int), 1), IndexError, "axis 1 .* has length 0"),
    (partial(pnp.ix_, [0], [[1]]), ValueError, r"ix_: argument 1 must have 1 axis, got shape \(1, 1\)"),
    (partial(pnp.unravel_index, V, (3,)), TypeError, r"unravel_index: indices must be integers, got f32\[3\]"),
    (
        partial(pnp.ravel_multi_index, (np.array([0]),), (3,), order="K"),
        ValueError,
        "order must be 'C' or 'F', got 'K'",
    ),
    (
        partial(pnp.ravel_multi_index, (V,), (3,)),
        TypeError,
        r"ravel_multi_index: positions must be integers, got float32",
    ),
    (partial(pnp.ravel_multi_index, (np.array([0]),), (3,), mode="last"), ValueError, "got 'last'"),
]

SHAPE = [
    (
        partial(pnp.concatenate, pnp.float32(1)),
        ValueError,
        "concatenate: expected a sequence of arrays, got a 0-d array",
    ),
    (partial(pnp.block, [(V, V)]), TypeError, "block: expected nested lists of arrays, got a tuple"),
    (partial(pnp.block, [V, []]), ValueError, "block: a list of blocks must not be empty"),
    (partial(pnp.repeat, V, [1, 2]), ValueError, "repeat: repeats must be an integer, or 3 of them, for axis"),
    (partial(pnp.ravel, V, order="X"), ValueError, "ravel: order must be 'C', 'F' or 'A', got 'X'"),
    (partial(pnp.rollaxis, M, 0, 3), ValueError, r"rollaxis: start must lie in \[-2, 2\], got 3"),
    (partial(pnp.rot90, M, axes=(0,)), ValueError, "rot90: axes must be two different axes, got"),
    (partial(pnp.roll, M, (1, 2, 3), (0, 1)), ValueError, "roll: shift and axis must have as many entries"),
    (partial(pnp.pad, V, 2, "reflect", reflect_type="even odd"), ValueError, "reflect_type must be 'even' or 'odd'"),
]

CREATION = [
    (partial(pnp.asarray, V, order="F"), NotImplementedError, "order must be 'K', 'A' or 'C'"),
    (pnp.result_type, ValueError, "result_type: expected at least one array, scalar or dtype, got none"),
    (lambda: pnp.array(V).view(np.float32, type=np.ndarray), NotImplementedError, "view: the argument 'type'"),
    (lambda: pnp.array(np.float32(1)).view(np.int16), ValueError, "view"),
    (lambda: pnp.array(np.complex64(1)).view(np.float32), ValueError, "view"),
    (lambda: pnp.array(np.float32(1)).view(np.int8), ValueError, "view"),
    (lambda: pnp.array(V).view(np.complex64), ValueError, "view"),
]

FUNCTIONAL = [
    (partial(pnp.gradient, V, edge_order=2), NotImplementedError, "gradient: edge_order must be 1, got 2"),
    (
        partial(pnp.gradient, M, 1.0, 2.0, 3.0),
        TypeError,
        "gradient: expected no spacing, one, or one for each of 2 axes",
    ),
    (
        partial(pnp.gradient, V, np.arange(2.0)),
        ValueError,
        r"gradient: coordinates along axis 0 must have shape \(3,\)",
    ),
    (
        partial(pnp.interp, V, V, V, left="nearest"),
        ValueError,
        "interp: left and right must be values or 'extrapolate'",
    ),
    (partial(pnp.cov, M, fweights=[1, 2]), ValueError, r"cov: fweights must have shape \(3,\), got \(2,\)"),
    (partial(pnp.cov, M, fweights=V), TypeError, "cov: fweights count observations, so they must be integers, got"),
    (partial(pnp.select, [V > 0], []), ValueError, "select: expected a choice for each condition, and at least one"),
    (partial(pnp.choose, V, [V, V]), TypeError, "choose: the numbers of choices must be integers, got"),
    (partial(pnp.choose, [0], [V, V], mode="last"), ValueError, "choose: mode must be 'raise', 'clip' or 'wrap'"),
    (partial(pnp.piecewise, V, [V > 0], [1, 2, 3]), ValueError, "piecewise: expected a function for each of 1"),
]

LINEAR = [
    (partial(linalg.norm, M, axis=(1, 1)), ValueError, "norm: the two axes of a matrix must differ, got 1 twice"),
    (partial(linalg.matrix_norm, V), ValueError, r"matrix_norm: expected matrices in the last two axes, got shape"),
    (partial(linalg.multi_dot, [M, V, M]), ValueError, r"multi_dot: expected matrices \(vectors at the ends\)"),
]


@pytest.mark.parametrize(("call", "kind", "message"), [*INDEXING, *SHAPE, *CREATION, *FUNCTIONAL, *LINEAR])
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


EMPTY = [
    (lambda lib: lib.repeat(NONE, 3), (0,)),
    (lambda lib: lib.repeat(V, 0), (0,)),
    (lambda lib: lib.diff(NONE, 0), (0,)),
    (lambda lib: lib.insert(NONE, [], []), (0,)),
    (lambda lib: lib.diagflat(NONE), (0, 0)),
    (lambda lib: lib.asarray([]), (0,)),
    (lambda lib: lib.trapezoid(np.zeros((2, 0)), axis=1), (2,)),
    (lambda lib: lib.delete(V, np.array([True, False, True])), (1,)),
    (lambda lib: lib.pad(np.ones(1, np.float32), 3, "reflect"), (7,)),
]


@pytest.mark.parametrize(("call", "shape"), EMPTY)
def test_empty_and_single_cases_are_those_of_numpy(call, shape):
    got, expected = call(pnp), call(np)
    assert got.shape == expected.shape == shape
    np.testing.assert_array_equal(got, expected)


def test_nothing_is_written_where_nothing_is_given():
    assert pnp.put(V, np.array([], int), 1.0, inplace=False).tolist() == V.tolist()
    assert list(pnp.array(np.zeros((0, 2)))) == []
    assert pnp.atleast_1d() == []
    assert pnp.unravel_index(np.array(5, np.uint32), (2, 3))[1] == 2


def entries_of_a_list(i):
    return pnp.arange(6.0).reshape(2, 3)[:, [i, 0]]


def test_lists_beside_other_indices_are_positions_which_may_be_traced():
    for run in (entries_of_a_list, pb.jit(entries_of_a_list)):
        assert run(2).tolist() == [[2, 0], [5, 3]]
    x = pnp.array([1.0, 2.0, 3.0])
    assert x[np.array(True)].shape == (1, 3)
    assert x[np.array(False)].shape == (0, 3)


class Wrapped:
    """An array of another library that says how it becomes one of ours."""

    def __pullback_array__(self):
        return pnp.array([1.0, 2.0])


def test_classes_of_others_become_arrays_by_their_method():
    assert pnp.asarray(Wrapped()).tolist() == [1, 2]
    assert pnp.asarray(Wrapped(), np.int32).dtype == np.int32
    assert (pnp.ones(2) + pnp.asarray(Wrapped())).tolist() == [2, 3]


class WrappedForJax:
    """The same, by the name of JAX's method."""

    def __jax_array__(self):
        return pnp.array([1.0, 0.0])


def test_classes_made_for_jax_become_arrays():
    x = WrappedForJax()
    assert (pnp.ones(2) + x).tolist() == (x + pnp.ones(2)).tolist() == [2, 1]
    assert pnp.asarray(x, "int32").tolist() == [1, 0]
    assert pnp.stack([x, x]).shape == (2, 2)
    assert (pnp.eye(2) @ x).tolist() == pnp.zeros(2).at[:].add(x).tolist() == [1, 0]
    assert pnp.arange(2.0)[x.__jax_array__().astype(int)].tolist() == [1, 0]
    assert pb.jit(lambda x: pnp.sin(x) * 2)(x).shape == (2,)


def test_a_complex_array_made_real_keeps_its_real_part():
    assert pnp.asarray(np.array([1 + 2j]), np.float32).tolist() == [1]


def test_isdtype_by_name():
    assert pnp.isdtype(np.dtype("float32"), "float32")
    assert pnp.isdtype(pnp.bfloat16, "bfloat16")
    assert not pnp.isdtype(np.dtype("float32"), ("bfloat16", "float8_e5m2"))
