"""Every operation of the table at the edges of its dtypes: nan, infinities, zeros of both signs, extremes.

The kernel, XLA and JAX give the same, or the row stands in `ACCEPTED` with the reason. Subnormal numbers are left out:
compiled code flushes them to zero, as XLA's CPU does in any mode, and eager code is IEEE.
"""

import jax
import numpy as np
import pytest
from op_table import CONTROL, ELEMENTWISE, NETWORKS, REDUCING, SHAPES
from test_op_table import JAX, PULLBACK, function

import pullback as pb

TINY, HUGE = np.finfo("float32").tiny, np.finfo("float32").max
FLOATS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, HUGE, -HUGE, TINY, -TINY, 0.5], "float32")
INTS = np.array([0, 1, -1, 2**31 - 1, -(2**31), 7], "int32")
FILLS = 4

# rows whose kernel, compiled code and JAX differ there: which pairs, and why
ACCEPTED = {
    "numpy.divide": ("kernel and XLA: nan; kernel and XLA: values",
                     "XLA multiplies by the reciprocal of a divisor that is broadcast: 1 / HUGE is flushed to 0"),
    "numpy.prod": ("kernel and XLA: inf; kernel and XLA: nan", "the order of the factors decides which overflow"),
    "eye": ("kernel and XLA: nan", "inf * 0 is nan; XLA makes a choice of the product with zeros and ones"),
    "linspace": ("XLA and JAX: nan", "between nan or infinite ends all is nan; JAX puts the ends in their places"),
    "nn.log_softmax": ("XLA and JAX: nan", "-inf beside finite numbers stays -inf; JAX has nan"),
    "nn.standardize": ("XLA and JAX: nan", "squares that overflow give an infinite variance and zeros; JAX has nan"),
}

ROWS = [row for row in (*ELEMENTWISE, *SHAPES, *REDUCING, *NETWORKS, *CONTROL)
        if any(np.asarray(x).dtype == np.float32 for x in row.args) or row in ELEMENTWISE]


def filled(row, shift):
    """The row's arguments, with edge values in place of its numbers: other ones for each shift."""
    args = []
    for k, x in enumerate(row.args):
        x = np.asarray(x)
        values = FLOATS if x.dtype == np.float32 else INTS if x.dtype == np.int32 and row in ELEMENTWISE else None
        if values is not None and np.ndim(x) <= 2 and row.name not in ("switch", "cond"):
            x = values[(np.arange(x.size) * (k + 1) + 5 * shift + k) % values.size].reshape(x.shape)
        args.append(x)
    return args


def difference(got, expected):
    """What differs: dtype, where nans or infinities stand, or finite values beyond rounding; None if nothing."""
    got, expected = np.asarray(got), np.asarray(expected)
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        return "type"
    if got.dtype.kind not in "fc":
        return None if np.array_equal(got, expected) else "values"
    with np.errstate(all="ignore"):
        if not np.array_equal(np.isnan(got), np.isnan(expected)):
            return "nan"
        if not np.array_equal(np.isinf(got), np.isinf(expected)):
            return "inf"
        return None if np.allclose(got, expected, rtol=1e-4, atol=1e-6, equal_nan=True) else "values"


def differences(row):
    fun, oracle = function(row, PULLBACK), function(row, JAX)
    compiled, theirs = pb.jit(fun), jax.jit(oracle)
    found = set()
    for shift in range(FILLS):
        args = filled(row, shift)
        with np.errstate(all="ignore"):
            kernel, xla, expected = fun(*args), compiled(*args), theirs(*args)
        for pair, a, b in (("kernel and XLA", kernel, xla), ("XLA and JAX", xla, expected)):
            for x, y in zip(jax.tree.leaves(a, is_leaf=lambda v: isinstance(v, pb.Array)), jax.tree.leaves(
                    b, is_leaf=lambda v: isinstance(v, pb.Array)), strict=True):
                if what := difference(x, y):
                    found.add(f"{pair}: {what}")
    return found


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_edge_values(row):
    found = differences(row)
    if row.name in ACCEPTED:
        pairs, _ = ACCEPTED[row.name]
        assert found <= set(pairs.split("; "))  # how far XLA rewrites depends on its optimization level
    else:
        assert not found
