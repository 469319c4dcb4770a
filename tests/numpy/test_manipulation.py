"""Shapes, joins, splits, repetition, padding, and the functions of sampled data: against JAX, eagerly and compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close, check_batching, check_derivative, close

import pullback as pb
import pullback.numpy as pnp

rng = np.random.default_rng(0)
V, M, C = (rng.standard_normal(s).astype(np.float32) for s in ((4,), (3, 4), (2, 3, 4)))
N, K = rng.integers(-5, 5, (3, 4)).astype(np.int32), rng.integers(0, 9, (5,)).astype(np.int8)
ONES = np.ones((1, 3, 1), np.float32)

# (name, arguments, keywords); arguments that are NumPy arrays are traced in the compiled run
CASES = [
    ("reshape", (M, (2, -1)), {}),
    ("reshape", (M, 12), {}),
    ("reshape", (C, (4, 6)), {"order": "F"}),
    ("reshape", (3.0, (1, 1)), {}),
    ("reshape", (np.zeros((0, 3), np.float32), (3, -1)), {}),
    ("ravel", (M,), {}),
    ("ravel", (M,), {"order": "F"}),
    ("ravel", (np.zeros((0, 2), np.float32),), {}),
    ("transpose", (C,), {}),
    ("transpose", (C, (1, -1, 0)), {}),
    ("permute_dims", (C, (2, 0, 1)), {}),
    ("matrix_transpose", (C,), {}),
    ("swapaxes", (C, 0, -1), {}),
    ("moveaxis", (C, 0, -1), {}),
    ("moveaxis", (C, (0, 1), (-1, 0)), {}),
    ("rollaxis", (C, 2), {}),
    ("rollaxis", (C, 0, 3), {}),
    ("rollaxis", (C, -1, -2), {}),
    ("expand_dims", (M, 1), {}),
    ("expand_dims", (M, (0, -1)), {}),
    ("expand_dims", (M, range(2)), {}),
    ("squeeze", (ONES,), {}),
    ("squeeze", (ONES, -1), {}),
    ("squeeze", (ONES, (0, 2)), {}),
    ("broadcast_to", (V, (2, 3, 4)), {}),
    ("broadcast_to", (2.0, (2,)), {}),
    ("broadcast_arrays", (M, V, 1.0), {}),
    ("flip", (C,), {}),
    ("flip", (C, (0, -1)), {}),
    ("fliplr", (M,), {}),
    ("flipud", (M,), {}),
    ("rot90", (C,), {}),
    ("rot90", (C, 2), {}),
    ("rot90", (C, -1, (0, 2)), {}),
    ("roll", (V, 1), {}),
    ("roll", (M, -5), {}),
    ("roll", (M, (1, 2), (0, 1)), {}),
    ("roll", (M, 3, (0, 1)), {}),
    ("roll", (M, np.int32(-2), 1), {}),
    ("roll", (np.zeros((0,), np.float32), 3), {}),
    ("atleast_1d", (1.0,), {}),
    ("atleast_1d", (M, 2), {}),
    ("atleast_2d", (V,), {}),
    ("atleast_3d", (M,), {}),
    ("atleast_3d", (V,), {}),
    ("atleast_3d", (1,), {}),
    ("concatenate", ([M, M, N],), {}),
    ("concatenate", ([M, V],), {"axis": None}),
    ("concatenate", ([M, M], -1), {}),
    ("concatenate", ([N, N], 0, np.float32), {}),
    ("concatenate", (C,), {}),
    ("concat", ([V, K],), {"axis": 0}),
    ("concatenate", ([np.arange(3, dtype=np.int8), np.zeros(2, bool)],), {}),
    ("stack", ([V, V, V],), {}),
    ("stack", ([M, M], -1), {}),
    ("stack", ([1.0, 2],), {}),
    ("stack", ([1.0, V[0]],), {}),
    ("unstack", (M,), {}),
    ("unstack", (M,), {"axis": -1}),
    ("vstack", ([V, M],), {}),
    ("hstack", ([V, V],), {}),
    ("hstack", ([M, M],), {}),
    ("hstack", ([1.0, 2.0],), {}),
    ("dstack", ([M, M],), {}),
    ("dstack", ([V, V],), {}),
    ("column_stack", ([V, np.ones((4, 2), np.float32)],), {}),
    ("append", (M, V), {}),
    ("append", (M, M, 1), {}),
    ("block", ([[M, M], [N, N]],), {}),
    ("block", ([V, V],), {}),
    ("split", (M, 2, 1), {}),
    ("split", (V, [1, 3]), {}),
    ("split", (V, np.array([1, 1])), {}),
    ("array_split", (V, 3), {}),
    ("array_split", (M, 5), {}),
    ("hsplit", (M, 2), {}),
    ("vsplit", (C, 2), {}),
    ("dsplit", (C, [1]), {}),
    ("hsplit", (V, 2), {}),
    ("tile", (V, 2), {}),
    ("tile", (M, (2, 1, 3)), {}),
    ("tile", (C, (2,)), {}),
    ("tile", (1.0, 3), {}),
    ("tile", (V, 0), {}),
    ("tile", (V, ()), {}),
    ("repeat", (M, 2), {}),
    ("repeat", (M, 3, 1), {}),
    ("repeat", (1.0, 3), {}),
    ("repeat", (V, 0), {}),
    ("resize", (V, (2, 3)), {}),
    ("resize", (M, (2,)), {}),
    ("resize", (V, (0, 3)), {}),
    ("delete", (V, 1), {}),
    ("delete", (M, -1, 1), {}),
    ("delete", (V, np.array([2, 1, 2])), {}),
    ("delete", (M, slice(1, 1), 1), {}),
    ("delete", (V, slice(None)), {}),
    ("delete", (M[:, :0], slice(None), 1), {}),
    ("delete", (M, np.array([0, -1]), 1), {}),
    ("delete", (M, slice(0, 2), 0), {}),
    ("insert", (V, 1, 9.0), {}),
    ("insert", (M, 1, 5.0, 1), {}),
    ("insert", (V, np.array([1, 1, 3]), np.arange(3.0, dtype=np.float32)), {}),
    ("insert", (M, 2, V, 0), {}),
    ("insert", (M, np.array([0, 2]), 3.0, 1), {}),
    ("insert", (V, -1, 2.0), {}),
    ("insert", (M, 1, np.ones(3, np.float32), 1), {}),
    ("insert", (V, 2, np.ones(3, np.float32)), {}),
    ("select", ([V > 0, V > -1], [V, 2 * V], 7.0), {}),
    ("select", ([N > 0], [N]), {}),
    ("choose", (np.array([[1, 0], [2, 1]]), [V[:2], 2 * V[:2], 3 * V[:2]]), {"mode": "clip"}),
    ("choose", (np.array([7, -1]), [V[:2], 2 * V[:2], 3 * V[:2]]), {"mode": "wrap"}),
    ("unravel_index", (np.array([0, 5, 11, -1, 40], np.int32), (3, 4)), {}),
    ("unravel_index", (7, (2, 3, 2)), {}),
    ("ravel_multi_index", ((np.array([0, 2]), np.array([3, 1])), (3, 4)), {"mode": "clip"}),
    ("ravel_multi_index", ((np.array([-1, 5]), np.array([3, 9])), (3, 4)), {"mode": "wrap", "order": "F"}),
    ("diff", (V,), {}),
    ("diff", (M, 2), {}),
    ("diff", (M, 1, 0), {}),
    ("diff", (N,), {}),
    ("diff", (N > 0,), {}),
    ("diff", (M,), {"prepend": 0.0, "append": np.ones((3, 2), np.float32)}),
    ("diff", (V, 7), {}),
    ("ediff1d", (M,), {}),
    ("ediff1d", (V, 1.0, np.array([2.0, 3.0], np.float32)), {}),
    ("gradient", (V,), {}),
    ("gradient", (M,), {}),
    ("gradient", (M, 2.0), {}),
    ("gradient", (M,), {"axis": 1}),
    ("gradient", (V, np.array([0.0, 1, 3, 7], np.float32)), {}),
    ("gradient", (N,), {}),
    ("gradient", (V[:2],), {}),
    ("gradient", (M, 1.0, np.array([0.0, 1, 3, 7], np.float32)), {}),
    ("trapezoid", (M,), {}),
    ("trapezoid", (M,), {"dx": 0.5, "axis": 0}),
    ("trapezoid", (M, np.sort(V)), {}),
    ("trapezoid", (N,), {}),
    ("trapezoid", (M, np.sort(M, 1)), {}),
    ("interp", (np.array([-1.0, 0.5, 2.5, 9], np.float32), np.arange(4.0, dtype=np.float32), V), {}),
    ("interp", (np.array([-1.0, 0.5, 2.5, 9], np.float32), np.arange(4.0, dtype=np.float32), V, -7.0, 7.0), {}),
    (
        "interp",
        (np.array([-1.0, 9], np.float32), np.arange(4.0, dtype=np.float32), V, "extrapolate", "extrapolate"),
        {},
    ),
    (
        "interp",
        (np.array([[-1.0, 0.5, 2.5, 9]], np.float32), np.array([3.0, 0, 1, 2.5], np.float32), V),
        {"period": 4.0},
    ),
    ("unwrap", (5 * V,), {}),
    ("unwrap", (5 * M,), {"axis": 0, "discont": 4.0}),
    ("unwrap", (5 * V,), {"period": 3.0}),
    ("unwrap", (N,), {"period": 4}),
    ("unwrap", (N,), {"period": 5}),
    ("polyval", (V, M), {}),
    ("polyval", (N, 2), {}),
    ("polyval", (V[:0], M), {}),
    ("cov", (M,), {}),
    ("cov", (M, M[:1]), {}),
    ("cov", (V,), {}),
    ("cov", (M,), {"rowvar": False, "bias": True}),
    ("cov", (M,), {"fweights": np.array([1, 2, 1, 3])}),
    ("cov", (M,), {"aweights": np.abs(V)}),
    ("cov", (M,), {"fweights": np.array([1, 2, 1, 3]), "aweights": np.abs(V), "ddof": 2}),
    ("cov", (M + 1j * M[::-1],), {}),
    ("corrcoef", (M,), {}),
    ("corrcoef", (V, M[0]), {}),
    ("corrcoef", (M + 1j * M[::-1],), {}),
    ("apply_along_axis", (lambda v: v[::-1], 1, C), {}),
    ("apply_along_axis", (lambda v: v[:2] * v.sum(), -1, C), {}),
    ("apply_along_axis", (lambda v: v.sum(), 0, C), {}),
    ("trace", (C,), {}),
    ("trace", (C, 1, 1, 2), {}),
    ("trace", (N,), {"dtype": np.float32}),
    ("astype", (M, "int32"), {}),
    ("astype", (N, bool), {}),
    ("astype", (M, None), {}),
]


def split_static(args, kwargs):
    """Arrays, at any depth, as flat leaves; and how to put them back."""
    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: x is None or callable(x))
    dynamic = [
        isinstance(x, np.ndarray) and (x.dtype.kind != "i" or x.dtype == np.int32) and x.size > 0 for x in leaves
    ]

    def rebuild(values):
        values = iter(values)
        return jax.tree.unflatten(tree, [next(values) if d else x for x, d in zip(leaves, dynamic, strict=True)])

    return [x for x, d in zip(leaves, dynamic, strict=True) if d], rebuild


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_agrees_with_jax(name, args, kwargs):
    ours, theirs = getattr(pnp, name), getattr(jnp, name)
    values, rebuild = split_static(args, kwargs)

    def call(function, leaves):
        a, k = rebuild(leaves)
        return function(*a, **k)

    jargs, jkwargs = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, (args, kwargs))
    expected = theirs(*jargs, **jkwargs)
    eager = ours(*args, **kwargs)
    all_close(eager, expected, 20)
    compiled = pb.jit(lambda *leaves: call(ours, leaves))(*values)
    all_close(compiled, expected, 20)
    if name not in ("append", "insert", "unwrap", "interp"):
        leaf = lambda x: isinstance(x, pb.Array)  # noqa: E731
        weak = [x.weak_type for x in jax.tree.leaves(eager, is_leaf=leaf)]
        assert weak == [x.weak_type for x in jax.tree.leaves(expected)]


DIFFERENTIABLE = [
    c
    for c in CASES
    if c[0] not in ("astype", "choose", "select", "unwrap", "interp")
    and any(isinstance(a, np.ndarray) and a.dtype == np.float32 and a.size for a in c[1])
]


@pytest.mark.parametrize(
    ("name", "args", "kwargs"), DIFFERENTIABLE, ids=[f"{i}-{c[0]}" for i, c in enumerate(DIFFERENTIABLE)]
)
def test_differentiates(name, args, kwargs):
    where = [i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype == np.float32][:1]

    def f(x):
        full = list(args)
        full[where[0]] = x
        leaves = jax.tree.leaves(getattr(pnp, name)(*full, **kwargs), is_leaf=lambda v: isinstance(v, pb.Array))
        last = next(leaf for leaf in reversed(leaves) if leaf.dtype == np.float32)
        return last if name != "corrcoef" else last**2

    check_derivative(f, args[where[0]])


MODES = [
    "constant",
    "edge",
    "reflect",
    "symmetric",
    "wrap",
    "linear_ramp",
    "maximum",
    "minimum",
    "mean",
    "median",
    "empty",
]
WIDTHS = [2, (1, 3), ((1, 2), (0, 7)), ((0, 0), (5, 0)), {1: (2, 1)}]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_pad(mode, widths):
    pairs = [widths.get(0, (0, 0)), widths[1]] if isinstance(widths, dict) else widths
    # the ramps of integers are rounded down from exact numbers in NumPy, from float32 in JAX
    oracle = np if mode == "linear_ramp" else jnp

    def padded(xs):
        return [pnp.pad(x, widths, mode) for x in xs]

    expectations = [oracle.pad(x, pairs, mode) for x in (M, N)]
    for run in (padded, pb.jit(padded)):
        for got, expected in zip(run((M, N)), expectations, strict=True):
            if mode == "empty":
                assert got.shape == expected.shape
            else:
                close(got, expected, 2)
    check_derivative(lambda x: pnp.pad(x, widths, mode), M)


@pytest.mark.parametrize(
    ("mode", "kwargs"),
    [
        ("constant", {"constant_values": 3}),
        ("constant", {"constant_values": (1, 2)}),
        ("constant", {"constant_values": ((1, 2), (3, 4))}),
        ("reflect", {"reflect_type": "odd"}),
        ("symmetric", {"reflect_type": "odd"}),
        ("linear_ramp", {"end_values": (5, -5)}),
        ("mean", {"stat_length": 2}),
        ("maximum", {"stat_length": ((1, 2), (3, 1))}),
    ],
    ids=str,
)
def test_pad_options(mode, kwargs):
    for widths in (2, ((1, 2), (9, 11))):
        close(pnp.pad(M, widths, mode, **kwargs), jnp.pad(M, widths, mode, **kwargs), 10)
        oracle = np if mode == "linear_ramp" else jnp
        close(pnp.pad(N, widths, mode, **kwargs), oracle.pad(N, widths, mode, **kwargs))


def test_pad_by_function():
    def ones_around(vector, width, axis, kwargs):
        vector = vector.at[: width[0]].set(kwargs["value"])
        return vector.at[vector.shape[0] - width[1] :].set(kwargs["value"])

    close(pnp.pad(M, 2, ones_around, value=5.0), jnp.pad(M, 2, ones_around, value=5.0))


def test_pad_refuses():
    with pytest.raises(ValueError, match="unknown mode 'mirror'"):
        pnp.pad(M, 1, "mirror")
    with pytest.raises(ValueError, match="takes no end_values"):
        pnp.pad(M, 1, "edge", end_values=3)
    with pytest.raises(ValueError, match="must not be negative"):
        pnp.pad(M, -1)
    with pytest.raises(ValueError, match="pad_width"):
        pnp.pad(M, ((1, 2), (3, 4), (5, 6)))
    with pytest.raises(TypeError, match="static_argnums"):
        pb.jit(lambda n: pnp.pad(M, n))(3)


def test_repeat_with_an_array_of_counts():
    counts = np.array([2, 0, 1], np.int32)
    close(pnp.repeat(M, counts, 0), jnp.repeat(M, counts, axis=0))
    for total in (2, 3, 6):
        expected = jnp.repeat(M, counts, axis=0, total_repeat_length=total)
        close(pnp.repeat(M, counts, 0, total_repeat_length=total), expected)
        compiled = pb.jit(lambda x, c: pnp.repeat(x, c, 0, total_repeat_length=total))  # noqa: B023
        close(compiled(M, counts), expected)
    with pytest.raises(TypeError, match="total_repeat_length"):
        pb.jit(lambda c: pnp.repeat(M, c, 0))(counts)
    with pytest.raises(ValueError, match="must not be negative"):
        pnp.repeat(V, -1)


def test_roll_by_a_traced_shift():
    for shift in (-7, 0, 3):
        close(pb.jit(lambda x, s: pnp.roll(x, s, 1))(M, shift), jnp.roll(M, shift, 1))
        close(pb.jit(lambda x, s: pnp.roll(x, s))(M, shift), jnp.roll(M, shift))


def test_split_at_positions_out_of_order_as_numpy():
    for places in ([3, 1], [1, 9], [-1, 2], []):
        all_close(pnp.split(V, places), np.split(V, places))


def test_astype_of_complex_numbers_drops_the_imaginary_part():
    close(pnp.astype(M + 1j, "float32"), M)
    close((pnp.asarray(M) + 1j).astype("int32"), M.astype("int32"))


def test_manipulations_batch():
    check_batching(lambda x: pnp.concatenate([x, x[:, :1]], 1), M)
    check_batching(lambda x: pnp.tile(x, (2, 1)), M)
    check_batching(lambda x: pnp.pad(x, 1, "reflect"), M)
    check_batching(lambda x, s: pnp.roll(x, s, 0), M, np.int32(2))
    check_batching(lambda x: pnp.diagonal(x), M)


def test_piecewise():
    functions = [lambda x: -x, 7.0, lambda x: x + 1]
    close(pnp.piecewise(V, [V < -1, V < 0], functions), jnp.piecewise(V, [V < -1, V < 0], functions))
    close(pnp.piecewise(V, [V < -1, V > 1], functions[:2]), jnp.piecewise(V, [V < -1, V > 1], functions[:2]))


def test_apply_over_axes():
    close(pnp.apply_over_axes(pnp.sum, C, (0, -1)), jnp.apply_over_axes(jnp.sum, C, (0, -1)), 10)


def test_block_of_scalars_and_trim_zeros():
    close(pnp.block([[1.0, 2.0], [3.0, 4.0]]), jnp.block([[1.0, 2.0], [3.0, 4.0]]))
    x = np.array([0, 0, 1, 0, 2, 0])
    for trim in ("f", "b", "fb"):
        close(pnp.trim_zeros(x, trim), jnp.trim_zeros(x, trim))


REFUSED = [
    ("reshape", (M, (5, 2)), r"cannot turn shape \(3, 4\)"),
    ("reshape", (M, (-1, -1)), "one may be -1"),
    ("reshape", (M, (-1, 5)), "does not divide 12"),
    ("transpose", (M, (0, 0)), "each of the 2 axes"),
    ("broadcast_to", (V, (3,)), "does not broadcast"),
    ("concatenate", ([V, M],), "equal shapes"),
    ("concatenate", ([1.0, 2.0],), "use stack"),
    ("concatenate", ([],), "at least one array"),
    ("stack", ([V, M],), "one shape"),
    ("split", (V, 3), "cannot be cut into 3 equal parts"),
    ("squeeze", (M, 0), "length 1"),
    ("moveaxis", (M, (0, 1), 0), "as many axes"),
    ("swapaxes", (M, 0, 2), "axis 2 is out of bounds"),
    ("rot90", (M, 1, (0, 0)), "two different axes"),
    ("tile", (V, -1), "must not be negative"),
    ("gradient", (V[:1],), "at least 2 samples"),
    ("interp", (1.0, V, V[:2]), "vectors of one length"),
    ("matrix_transpose", (V,), "at least 2 axes"),
    ("block", ([V, [V]],), "same depth"),
    ("choose", (np.array([5]), [V]), "out of bounds"),
    ("unstack", (1.0,), "0-d array"),
    ("ravel_multi_index", ((np.array([5]),), (3,)), "out of bounds"),
    ("diff", (V, -1), "must not be negative"),
]


@pytest.mark.parametrize(("name", "args", "message"), REFUSED)
def test_refuses(name, args, message):
    with pytest.raises(ValueError, match=f"^{name}: .*{message}"):
        getattr(pnp, name)(*args)


def test_refuses_what_is_no_array():
    with pytest.raises(TypeError, match=r"reshape: argument 0.*asarray"):
        pnp.reshape([1, 2], (2, 1))
    with pytest.raises(TypeError, match="expected a sequence of arrays"):
        pnp.concatenate(3.0)
    with pytest.raises(TypeError, match="static"):
        pb.jit(lambda n: pnp.reshape(V, (n, -1)))(2)
