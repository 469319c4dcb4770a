"""The ufunc methods of functions that JAX has them for, and of `frompyfunc`: against NumPy and JAX."""

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check_batching, check_derivative, close

import pullback as pb
import pullback.numpy as pnp

FOLDS = [
    "add",
    "multiply",
    "maximum",
    "minimum",
    "subtract",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
]
SMALL = np.array([[3, 0, 2], [1, 2, 1]], "int32")
REDUCTIONS = [
    {},
    {"axis": None},
    {"axis": -1, "keepdims": True},
    {"axis": 1, "initial": 3},
    {"axis": None, "keepdims": True},
    {"axis": 1, "where": np.array([True, False, True]), "initial": 1},
]


def operand(name):
    return SMALL.astype("float32") if name.startswith("logadd") else SMALL


def numpy_s(name, method, *args, **options):
    """NumPy's result; its dtype is not compared, as it has its own rules for integers."""
    return getattr(getattr(np, name), method)(*args, **options)


@pytest.mark.parametrize("case", REDUCTIONS, ids=str)
@pytest.mark.parametrize("name", FOLDS)
def test_reduce(name, case):
    x, f = operand(name), getattr(pnp, name)
    if name.startswith("logical") and "initial" in case:
        case = {**case, "initial": True}
    if name == "subtract" and case.get("axis", 0) is None:
        expected = numpy_s(name, "reduce", x.ravel(), keepdims=case.get("keepdims", False))  # NumPy folds one axis
    else:
        expected = numpy_s(name, "reduce", x, **case)
    for run in (f.reduce, pb.jit(lambda x: f.reduce(x, **case))):
        got = run(x, **case) if run == f.reduce else run(x)
        np.testing.assert_allclose(np.ravel(got), np.ravel(expected), rtol=1e-6)
        assert got.ndim == x.ndim if case.get("keepdims") else got.shape == np.shape(expected)
        assert got.dtype == (bool if name.startswith("logical") else x.dtype)


@pytest.mark.parametrize("name", FOLDS)
def test_accumulate_reduceat_outer_and_at(name):
    x, f = operand(name), getattr(pnp, name)
    for axis in (0, 1, -1):
        np.testing.assert_allclose(f.accumulate(x, axis), numpy_s(name, "accumulate", x, axis), rtol=1e-6)
    row, places = x.reshape(6), np.array([0, 4, 1, 5])
    np.testing.assert_allclose(f.reduceat(row, places), numpy_s(name, "reduceat", row, places), rtol=1e-6)
    np.testing.assert_allclose(
        f.reduceat(x, places[:3] % 3, 1), numpy_s(name, "reduceat", x, places[:3] % 3, 1), rtol=1e-6
    )
    np.testing.assert_allclose(f.outer(x, row), numpy_s(name, "outer", x, row), rtol=1e-6)
    expected = row.copy()
    numpy_s(name, "at", expected, np.array([0, 4, 0, 5]), 2)
    got = f.at(row, np.array([0, 4, 0, 5]), 2, inplace=False)
    assert got.dtype == row.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["add", "maximum", "logical_xor", "bitwise_or", "logaddexp"])
def test_several_axes_and_dtypes_are_jax_s(name):
    f, g = getattr(pnp, name), getattr(jnp, name)
    x = SMALL.astype("float32" if name == "logaddexp" else "int8")
    close(f.reduce(x, (0, 1)), g.reduce(x, (0, 1)))
    if name == "add":
        for case in ({"dtype": "float32"}, {"dtype": "int16", "axis": 1}):
            close(f.reduce(x, **case), g.reduce(x, **case))
            close(f.accumulate(x, **case), g.accumulate(x, **case))


def test_a_unary_function_is_applied_as_often_as_an_index_occurs():
    np.testing.assert_array_equal(
        pnp.negative.at(pnp.arange(5), np.array([0, 4, 1, 1]), inplace=False), [0, 1, 2, 3, -4]
    )
    np.testing.assert_array_equal(pnp.negative.at(pnp.arange(4), pnp.s_[1:3], inplace=False), [0, -1, -2, 3])


def horner(a, b):
    return a * b + 1


MADE = pnp.frompyfunc(horner, 2, 1)


def test_functions_of_users():
    theirs = jnp.frompyfunc(horner, 2, 1)
    x = np.arange(1, 5, dtype="float32")
    close(MADE(x, 2.0), theirs(x, 2.0))
    close(MADE.reduce(x), theirs.reduce(x))
    close(MADE.accumulate(x), theirs.accumulate(x))
    close(MADE.reduceat(x, np.array([0, 2])), theirs.reduceat(x, np.array([0, 2])))
    close(MADE.outer(x, x), theirs.outer(x, x))
    close(MADE.at(x, np.array([0, 0]), 2.0, inplace=False), theirs.at(x, np.array([0, 0]), 2.0, inplace=False))
    assert (MADE.nin, MADE.nout, MADE.nargs, MADE.identity) == (2, 1, 2, None)
    assert MADE == pnp.frompyfunc(horner, 2, 1)
    assert hash(MADE) == hash(pnp.frompyfunc(horner, 2, 1))
    assert MADE != pnp.frompyfunc(horner, 2, 1, identity=0)
    assert "horner" in repr(MADE)
    double, half = pnp.frompyfunc(lambda x: (2 * x, x / 2), 1, 2)(x)
    np.testing.assert_array_equal(double, 4 * half)


@pytest.mark.parametrize(
    "fold",
    [
        lambda x: MADE.reduce(x, axis=1),
        lambda x: MADE.accumulate(x, axis=1),
        lambda x: MADE.reduceat(x, np.array([0, 2, 1]), axis=1),
        lambda x: MADE.at(x, (0, np.array([0, 1, 0])), x[1], inplace=False),
        lambda x: pnp.multiply.reduceat(x, np.array([0, 1])),
        lambda x: pnp.logaddexp2.reduce(x, axis=1),
        lambda x: pnp.subtract.reduce(x, initial=1.0, where=np.array([[True], [False]])),
    ],
    ids=["reduce", "accumulate", "reduceat", "at", "multiply.reduceat", "logaddexp2", "masked"],
)
def test_folds_are_differentiated_and_batched(fold):
    x = np.random.default_rng(0).uniform(0.5, 1.5, (2, 3)).astype("float32")
    check_derivative(fold, x)
    check_batching(fold, x)


def test_a_stretch_that_is_not_used_sends_no_nan():
    """reduceat computes nothing from elements outside of a stretch, so that their derivative is no nan either."""
    quotients = pnp.frompyfunc(lambda a, b: b / a, 2, 1)
    gradient = pb.grad(lambda x: quotients.reduceat(x, np.array([2, 3]))[0])(np.array([0.0, 0.0, 2.0, 5.0], "float32"))
    np.testing.assert_array_equal(gradient, [0, 0, 1, 0])


def test_what_is_an_instance():
    assert all(isinstance(getattr(pnp, name), pnp.ufunc) for name in [*FOLDS, "negative"])
    assert isinstance(MADE, pnp.ufunc)
    assert not isinstance(pnp.sin, pnp.ufunc)
    assert not isinstance(horner, pnp.ufunc)
    assert not isinstance(3, pnp.ufunc)
    assert [pnp.add.identity, pnp.multiply.identity, pnp.maximum.identity] == [0, 1, None]
    assert (pnp.add.nin, pnp.add.nout, pnp.negative.nin) == (2, 1, 1)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pnp.negative.reduce(SMALL), ValueError, "negative.reduce: only functions of two operands"),
        (lambda: pnp.add.at(SMALL, 0, 1), NotImplementedError, "add.at: arrays are not modified; pass inplace=False"),
        (lambda: pnp.add.at(SMALL, 0, inplace=False), TypeError, "add.at: expected 1 operands beside a"),
        (lambda: pnp.add.reduce(SMALL, out=SMALL), NotImplementedError, "add.reduce: the argument 'out'"),
        (lambda: pnp.subtract.reduce(SMALL, (0, 1)), NotImplementedError, "the order in which several axes"),
        (lambda: pnp.subtract.reduce(SMALL[:0]), ValueError, "subtract.reduce: there is no element along the axis"),
        (lambda: pnp.maximum.reduce(SMALL, where=SMALL > 0), ValueError, "needs an initial value"),
        (lambda: pnp.add.accumulate(1.0), ValueError, "add.accumulate: axis 0 is out of bounds"),
        (lambda: pnp.add.reduceat(SMALL, np.array([0, 5])), IndexError, "the indices must be from 0 to 1"),
        (lambda: pnp.add.reduceat(SMALL, np.array([0.5])), TypeError, "indices must be a vector of integers"),
        (lambda: pnp.ufunc(3, 1, 1), TypeError, "ufunc: expected a function, got 3"),
        (lambda: pnp.frompyfunc(horner, 0, 1), ValueError, "nin and nout must be positive"),
        (lambda: MADE(1.0), TypeError, "horner: expected 2 operands, got 1"),
        (lambda: MADE(1.0, 2.0, where=True), NotImplementedError, "horner: the argument 'where'"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
