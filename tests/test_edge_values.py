"""Every operation of the table at the edges of its dtypes: nan, infinities, zeros of both signs, extremes.

The kernel, XLA and JAX give the same, or the row stands in `ACCEPTED` with the reason. Edges of shapes and of kinds of
operands are in test_edge_operands.py.
"""

import jax
import numpy as np
import pytest
from op_table import CONTROL, ELEMENTWISE, INDEXING, NETWORKS, REDUCING, SHAPES
from test_op_table import JAX, PULLBACK, function

import pullback as pb

TINY, HUGE = np.finfo("float32").tiny, np.finfo("float32").max
FLOATS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, HUGE, -HUGE, TINY, -TINY, 0.5], "float32")
INTS = np.array([0, 1, -1, 2**31 - 1, -(2**31), 7], "int32")
FILLS = 4
# rows whose kernel, compiled code and JAX differ there: which pairs, and why
ACCEPTED = {
    "numpy.divide": (
        "kernel and XLA: nan; kernel and XLA: values",
        "XLA multiplies by the reciprocal of a divisor that is broadcast: 1 / HUGE is flushed to 0",
    ),
    "cummax": ("kernel and XLA: sign of zero", "zeros of both signs tie, and which one wins is left open"),
    "cumsum": ("kernel and XLA: sign of zero", "XLA adds to a first 0., which makes -0. 0."),
    "cumlogsumexp": ("kernel and XLA: sign of zero", "XLA adds to a first 0., which makes -0. 0."),
    "numpy.maximum": ("kernel and XLA: sign of zero", "zeros of both signs tie, and which one wins is left open"),
    "numpy.minimum": ("kernel and XLA: sign of zero", "zeros of both signs tie, and which one wins is left open"),
    "numpy.sign": ("XLA and JAX: sign of zero", "0. at -0., as NumPy has it; JAX has -0."),
    "numpy.prod": ("kernel and XLA: inf; kernel and XLA: nan", "the order of the factors decides which overflow"),
    "numpy.sinc": ("XLA and JAX: nan", "of HUGE it is 0; JAX multiplies by pi first and has nan"),
    "eye": ("kernel and XLA: nan", "inf * 0 is nan; XLA makes a choice of the product with zeros and ones"),
    "nn.log_softmax": ("XLA and JAX: nan", "-inf beside finite numbers stays -inf; JAX has nan"),
    "nn.standardize": ("XLA and JAX: nan", "squares that overflow give an infinite variance and zeros; JAX has nan"),
}

ROWS = [
    row
    for row in (*ELEMENTWISE, *SHAPES, *REDUCING, *NETWORKS, *CONTROL)
    if any(np.asarray(x).dtype == np.float32 for x in row.args) or row in ELEMENTWISE
]


def filled(row, values, shift):
    """The row's arguments, with edge values in place of its numbers: other ones for each shift."""
    args = []
    for k, x in enumerate(row.args):
        x = np.asarray(x)
        edges = values if x.dtype == np.float32 else INTS if x.dtype == np.int32 and row in ELEMENTWISE else None
        if edges is not None and np.ndim(x) <= 2 and row.name not in ("switch", "cond"):
            x = edges[(np.arange(x.size) * (k + 1) + 5 * shift + k) % edges.size].reshape(x.shape)
        args.append(x)
    return args


def difference(got, expected):
    """What differs: dtype, where nans or infinities stand, the sign of a zero, or finite values beyond rounding."""
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
        if not np.allclose(got, expected, rtol=1e-4, atol=1e-6, equal_nan=True):
            return "values"
        return "sign of zero" if any(_zeros_differ(part(got), part(expected)) for part in (np.real, np.imag)) else None


def _zeros_differ(got, expected):
    zeros = (got == 0) & (expected == 0)
    return not np.array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


def leaves(tree):
    return jax.tree.leaves(tree, is_leaf=lambda v: isinstance(v, pb.Array))


def differences(row, fills):
    """What differs for any of the fills between the kernel, the compiled program and JAX."""
    fun, oracle = function(row, PULLBACK), function(row, JAX)
    compiled, theirs = pb.jit(fun), jax.jit(oracle)
    found = {}
    for args in fills:
        with np.errstate(all="ignore"):
            kernel, xla, expected = fun(*args), compiled(*args), theirs(*args)
        for pair, a, b in (("kernel and XLA", kernel, xla), ("XLA and JAX", xla, expected)):
            for x, y in zip(leaves(a), leaves(b), strict=True):
                if what := difference(x, y):
                    found.setdefault(f"{pair}: {what}", (args, x, y))
    return found


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_edge_values(row):
    found = differences(row, [filled(row, FLOATS, shift) for shift in range(FILLS)])
    pairs = ACCEPTED[row.name][0].split("; ") if row.name in ACCEPTED else []
    assert set(found) <= set(pairs)  # how far XLA rewrites depends on its optimization level


# --- indices: negative, repeated, out of bounds ---

INDICES = np.array([-1, -1, 0, 2, 2, -3, 5, -9, 100, 2**31 - 1, -(2**31)], "int32")
INDEXED = [row for row in INDEXING if any(np.asarray(x).dtype.kind == "i" for x in row.args)]


def indexed(row, shift):
    args = []
    for k, x in enumerate(row.args):
        x = np.asarray(x)
        if x.dtype.kind == "i":
            x = INDICES[(np.arange(x.size) + shift + 2 * k) % INDICES.size].reshape(x.shape)
        args.append(x)
    return args


@pytest.mark.parametrize("row", INDEXED, ids=str)
def test_edge_indices(row):
    assert not differences(row, [indexed(row, shift) for shift in range(INDICES.size)])


def test_the_zeros_of_remainders_are_those_of_the_documentation():
    cases = {
        ("remainder", -1.0, 1.0): -0.0,
        ("remainder", 1.0, -1.0): 0.0,
        ("remainder", -0.0, 1.0): -0.0,
        ("floor_divide", -0.0, 1.0): 0.0,
        ("floor_divide", -1.0, -2.0): -0.0,
        ("floor_divide", 0.0, -1.0): -0.0,
    }
    for (name, x, y), expected in cases.items():
        fun = getattr(pb.numpy, name)
        for result in (fun(x, y), pb.jit(fun)(x, y), getattr(jax.numpy, name)(x, y)):
            assert (float(result), np.signbit(result)) == (0, np.signbit(expected)), (name, x, y)
    assert not np.signbit(pb.numpy.sign(-0.0))
    assert not np.signbit(pb.jit(pb.numpy.sign)(-0.0))
    zeros = np.array([-0.0, -0.0], "float32")
    assert np.signbit(pb.numpy.cumsum(zeros)).all()
    assert not np.signbit(pb.jit(pb.numpy.cumsum)(zeros)).any()


# --- subnormal numbers: docs/accuracy.md ---

SUBNORMALS = np.array([1e-40, 1.5, -1e-40, 1e-45, -2.0, -3e-39, 0.5], "float32")
FLUSHED = [row for row in ELEMENTWISE if row.args and all(np.asarray(x).dtype == np.float32 for x in row.args)]
EXCEPTIONS = {
    "numpy.arctan2": "nan of two of them",
    "numpy.power": "it sees exponents, which matter at 0 alone",
    "numpy.float_power": "it sees exponents, which matter at 0 alone",
}


@pytest.mark.parametrize("row", FLUSHED, ids=str)
def test_subnormal_numbers(row):
    """Compiled, they count as zero; eagerly, they are what they are, as in float64, where they are no such numbers."""
    fun = function(row, PULLBACK)
    compiled = pb.jit(fun)
    for shift in range(FILLS):
        args = filled(row, SUBNORMALS, shift)
        zeros = [np.where(np.abs(x) < TINY, np.copysign(np.float32(0), x), x) for x in args]
        with np.errstate(all="ignore"), pb.enable_x64():
            exact = [np.asarray(x).astype("float32") for x in leaves(fun(*[x.astype("float64") for x in args]))]
        with np.errstate(all="ignore"):
            eager, xla, flushed = map(leaves, (fun(*args), compiled(*args), compiled(*zeros)))
        for got, expected in zip(eager, exact, strict=True):
            np.testing.assert_allclose(np.asarray(got, "float32"), expected, rtol=1e-5, atol=3e-45)
        if row.name not in EXCEPTIONS:
            assert [difference(x, y) for x, y in zip(xla, flushed, strict=True)] == [None] * len(xla)


def test_compiled_functions_that_do_not_take_subnormal_numbers_for_zero():
    tiny = np.float32(-1e-40)
    assert np.isnan(pb.jit(pb.numpy.arctan2)(tiny, tiny))
    assert pb.jit(pb.numpy.power)(np.float32(0), np.float32(1e-40)) == 0
    assert np.isnan(pb.numpy.power(tiny, np.float32(0.5)))
    np.testing.assert_allclose(pb.numpy.arctan2(tiny, tiny), -3 * np.pi / 4, rtol=1e-6)


# functions whose formulas ask whether a number is positive and finite, with numbers for the other arguments
POSITIVE = {
    "power": (lambda x: pb.numpy.power(x, np.float32([0.3, 2.5, -1.5, -0.5])), 4),
    "negative power": (lambda x: pb.numpy.power(-x, np.float32([0.3, 2.5, -1.5, -0.5])), 4),
    "boxcox": (lambda x: pb.scipy.special.boxcox(x, np.float32([0.3, 2.5, -1.5])), 3),
    "beta": (lambda x: pb.scipy.special.beta(x, np.float32([0.3, 1, 2.5])), 3),
    "gamma.logsf": (lambda x: pb.scipy.stats.gamma.logsf(x, np.float32([0.3, 1, 2.5])), 3),
    "gamma.logcdf": (lambda x: pb.scipy.stats.gamma.logcdf(x, np.float32([0.3, 1, 2.5])), 3),
    "beta.pdf by a": (lambda a: pb.scipy.stats.beta.pdf(np.float32(0.3), a, np.float32([0.3, 1, 2.5])), 3),
    "beta.logpdf by b": (lambda b: pb.scipy.stats.beta.logpdf(np.float32(0.3), np.float32([0.3, 1, 2.5]), b), 3),
}


@pytest.mark.parametrize("name", POSITIVE)
def test_compiled_derivatives_at_subnormal_numbers_are_those_at_zero(name):
    f, count = POSITIVE[name]

    @pb.jit
    def value_and_derivatives(x):
        def first(x):
            return pb.jvp(f, (x,), (np.ones(count, "float32"),))[1]

        return f(x), first(x), pb.jvp(first, (x,), (np.ones(count, "float32"),))[1]

    got, expected = (value_and_derivatives(np.full(count, x, "float32")) for x in (1e-40, 0.0))
    np.testing.assert_array_equal(got, expected)
