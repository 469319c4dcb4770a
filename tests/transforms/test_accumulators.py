"""Cotangents of arrays that are read in parts are added up in one buffer; accumulators as objects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops.dynamic_slicing import dynamic_slice_add_p, dynamic_update_slice_p
from pullback._ops.elementwise import add_p
from pullback._ops.gather_scatter import scatter_add_p
from pullback._ops.slicing import pad_p, slice_add_p

DENSE = (add_p, dynamic_slice_add_p, dynamic_update_slice_p, pad_p, scatter_add_p, slice_add_p)
TABLE = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


def by_rows(lib, table):
    rows = lib.np.array([3, 0, 3, 63])
    return sum((table[rows] ** 2 * k).sum() for k in range(1, 4))


def by_position(lib, table):
    return table[2, 1] ** 2 + table[5, 0] * table[2, 1] + table[-1, 2] ** 3


def by_slices(lib, table):
    return (table[1:3] ** 2).sum() + (table[2:4] ** 3).sum() + (table[::2] ** 2).sum()


def by_dynamic_slices(lib, table):
    i = lib.np.array([1, 60, 2])
    parts = [lib.lax.dynamic_slice(table, (i[k], 0), (2, 2)) for k in range(3)]
    return sum((p**2).sum() * k for k, p in enumerate(parts, 1))


def out_of_bounds(lib, table):
    filled = lib.np.take(table, lib.np.array([1, 99]), axis=0, mode="fill", fill_value=0.0)
    return (filled**2).sum() + (lib.np.take(table, lib.np.array([98, 63]), axis=0, mode="clip") ** 2).sum()


def along_axis(lib, table):
    order = lib.np.argsort(table, axis=1)
    return (lib.np.take_along_axis(table, order, axis=1) * lib.np.arange(3.0)).sum() + (table[:, 1] ** 2).sum()


def mixed(lib, table):
    """Readings in parts, and as a whole."""
    return by_position(lib, table) + (table**2).sum() + by_rows(lib, table) + lib.np.sin(table).sum()


def from_elsewhere(lib, table):
    """The array that is read is itself computed, and used afterwards."""
    scaled = lib.np.tanh(table) * 2
    return by_slices(lib, scaled) + by_rows(lib, scaled)


class Library:
    def __init__(self, top, numpy, lax):
        self.t, self.np, self.lax = top, numpy, lax


OURS, THEIRS = Library(pb, pnp, lax), Library(jax, jnp, jax.lax)
FUNCTIONS = [by_rows, by_position, by_slices, by_dynamic_slices, out_of_bounds, along_axis, mixed, from_elsewhere]


def gradient(lib, f, times=1):
    def g(table):
        return f(lib, table)

    if times == 1:
        return lib.t.grad(g)

    def directional(table):
        return (lib.t.grad(g)(table) * lib.np.cos(table)).sum()

    return lib.t.grad(directional)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("times", [1, 2])
def test_gradients_agree_with_jax(f, times):
    expected = gradient(THEIRS, f, times)(TABLE)
    ours = gradient(OURS, f, times)
    np.testing.assert_allclose(ours(TABLE), expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(pb.jit(ours)(TABLE), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_other_transformations_of_the_gradient(f):
    tables = np.stack([TABLE, 2 * TABLE])
    direction = np.cos(TABLE)
    ours, theirs = gradient(OURS, f), gradient(THEIRS, f)
    np.testing.assert_allclose(pb.vmap(ours)(tables), jax.vmap(theirs)(tables), rtol=2e-5, atol=1e-5)
    got = pb.jvp(ours, (TABLE,), (direction,))
    for a, b in zip(got, jax.jvp(theirs, (TABLE,), (direction,)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64", "bfloat16"])
def test_dtypes(dtype):
    with pb.enable_x64(True):
        table = pnp.asarray(TABLE).astype(dtype)

        def f(x):
            picked = x[np.array([1, 1, 5])] * 2 + x[2:5] + x[4]
            return pnp.real(picked).sum()

        expected = np.zeros(TABLE.shape)
        expected[1] += 4
        expected[5] += 2
        expected[2:5] += 1
        expected[4] += 3
        got = pb.grad(f)(table)
    assert got.dtype == table.dtype
    np.testing.assert_array_equal(np.asarray(got).astype(np.complex128), expected)


@pytest.fixture
def kernels(monkeypatch):
    """Counts of the calls of kernels whose result has the size of the table, by the primitive's name."""
    calls = {}

    def watch(p):
        kernel = p.kernel

        def counted(*args, **params):
            out = kernel(*args, **params)
            if np.size(out) >= TABLE.size:
                calls[p.name] = calls.get(p.name, 0) + 1
            return out

        monkeypatch.setattr(p, "kernel", counted)

    for p in DENSE:
        watch(p)
    return calls


def lookups(table):
    total = 0.0
    for k in range(10):
        total = total + table[np.array([k, k + 1])].sum() + table[k, 1] + table[k : k + 2].sum()
        total = total + lax.dynamic_slice(table, (pnp.int32(k), 0), (2, 1)).sum()
    return total


def test_readings_make_no_arrays_of_zeros(kernels):
    gradient = pb.grad(lookups)(TABLE)
    assert kernels == {}
    expected = np.zeros(TABLE.shape, np.float32)
    for k in range(10):
        expected[k : k + 2] += 2
        expected[k, 1] += 1
        expected[k : k + 2, 0] += 1
    np.testing.assert_array_equal(gradient, expected)


def test_an_array_that_is_added_to_is_copied_once(kernels):
    def f(table):
        return lookups(table) + (table * TABLE).sum()  # the product's cotangent comes first

    pb.grad(f)(TABLE)
    assert kernels == {}


def test_dense_cotangents_are_added_in_place(kernels):
    def f(x):
        return sum((pnp.sin(x) * k).sum() + x[0, 0] for k in range(6))

    pb.grad(f)(TABLE)
    assert kernels == {}
    pb.grad(lambda x: (x * TABLE + x * 2 + x / 3).sum())(TABLE)
    assert kernels == {"add": 3}  # two in the function, one for the first two of three cotangents


def test_a_cotangent_of_the_users_is_not_modified():
    ct = pnp.ones((4,))
    kept = np.array(ct)

    def f(x):
        return x, x[:2], x[1]

    _, pull = pb.vjp(f, pnp.arange(4.0))
    for _ in range(2):
        (got,) = pull((ct, pnp.ones(2), 1.0))
        np.testing.assert_array_equal(got, [2, 3, 1, 1])
    np.testing.assert_array_equal(ct, kept)


def test_results_are_not_modified_by_a_later_call():
    _, pull = pb.vjp(lambda x: x[0] + x[1:].sum(), pnp.arange(4.0))
    (first,) = pull(1.0)
    before = np.array(first)
    pull(5.0)
    np.testing.assert_array_equal(first, before)


def test_jaxprs_add_to_one_array():
    def f(table, i):
        return sum(lax.dynamic_slice(table, (i[k], 0), (2, 2)).sum() for k in range(5))

    text = str(pb.make_jaxpr(pb.grad(f))(TABLE, np.arange(5)))
    assert text.count("dynamic_slice_add") == 4
    assert text.count("dynamic_update_slice") == 1
    assert " add " not in text.replace("dynamic_slice_add", "").split("dynamic_update_slice")[1]


def test_weak_types_and_numbers():
    def f(x):
        return pnp.stack([x, 2 * x])[1] * 3.0

    g = pb.grad(f)(2.0)
    assert g.weak_type
    assert float(g) == 6.0


# --- functions inside functions ---


INDICES = np.array([[0, 1], [1, 1], [5, 0], [63, 2]])


def stepwise(lib, table):
    def body(total, i):
        return total + (table[i] ** 2).sum() * table[i[0], 1], None

    return lib.lax.scan(body, lib.np.float32(0.0), lib.np.asarray(INDICES))[0] + (table[1] ** 2).sum()


def nested_loops(lib, table):
    def outer(total, row):
        def inner(total, k):
            return total + lib.lax.dynamic_index_in_dim(table, k, keepdims=False).sum() ** 2, None

        return lib.lax.scan(inner, total, row)[0], None

    return lib.lax.scan(outer, lib.np.float32(0.0), lib.np.asarray(INDICES))[0]


def carried(lib, table):
    """The table is carried through the loop, unchanged and changed."""

    def body(state, i):
        table, total = state
        return (table * 1.01, total + (table[i] ** 2).sum()), None

    return lib.lax.scan(body, (table, lib.np.float32(0.0)), lib.np.asarray(INDICES))[0][1]


def compiled(lib, table):
    @lib.t.jit
    def look(table, i):
        return (table[i] ** 2).sum() + table[0, 0]

    return sum(look(table, lib.np.asarray(i)) * k for k, i in enumerate(INDICES, 1)) + (table**2).sum()


def checkpointed(lib, table):
    look = lib.t.checkpoint(lambda table, i: lib.np.sin(table[i]).sum())
    return sum(look(table, lib.np.asarray(i)) for i in INDICES)


def chosen(lib, table):
    def first():
        return (table[3] ** 2).sum()

    def second():
        return (table[4] ** 2).sum() + table[5, 0]

    return lib.lax.cond(table[0, 0] > 0, first, second) + lib.lax.cond(table[0, 0] > 0, second, first)


def chosen_in_a_loop(lib, table):
    def body(total, i):
        def first(total):
            return total + (table[i] ** 2).sum()

        def second(total):
            return total * table[7, 0]

        return lib.lax.cond(i[0] > 0, first, second, total), None

    return lib.lax.scan(body, lib.np.float32(1.0), lib.np.asarray(INDICES))[0] + (table[7] ** 2).sum()


FUNCTIONS_OF_FUNCTIONS = [stepwise, nested_loops, carried, compiled, checkpointed, chosen, chosen_in_a_loop]


@pytest.mark.parametrize("f", FUNCTIONS_OF_FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("times", [1, 2])
def test_functions_that_hold_functions(f, times):
    expected = gradient(THEIRS, f, times)(TABLE)
    ours = gradient(OURS, f, times)
    np.testing.assert_allclose(ours(TABLE), expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(pb.jit(ours)(TABLE), expected, rtol=2e-5, atol=1e-5)


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for held in eqn.held:
            yield from equations(held.jaxpr)


def bodies(jaxpr, name):
    return [held.jaxpr for eqn in equations(jaxpr) if eqn.primitive.name == name for held in eqn.held]


def makers_of_tables(jaxpr):
    return sorted(eqn.primitive.name for eqn in jaxpr.eqns for v in eqn.outvars if v.aval.shape == TABLE.shape)


def test_a_loop_carries_one_cotangent():
    def f(table):
        def body(total, i):
            return total + (table[i] ** 2).sum(), None

        return lax.scan(body, 0.0, pnp.asarray(INDICES))[0]

    jaxpr = pb.make_jaxpr(pb.grad(f))(TABLE).jaxpr
    assert [makers_of_tables(body) for body in bodies(jaxpr, "scan")] == [[], ["scatter_add"]]
    jaxpr = pb.make_jaxpr(pb.grad(lambda table: nested_loops(OURS, table)))(TABLE).jaxpr
    assert [makers_of_tables(body) for body in bodies(jaxpr, "scan")][2:] == [["scan"], ["dynamic_slice_add"]]


def test_a_branch_adds_to_what_there_is():
    jaxpr = pb.make_jaxpr(pb.grad(lambda table: chosen_in_a_loop(OURS, table)))(TABLE).jaxpr
    branches = bodies(bodies(jaxpr, "scan")[-1], "cond")
    assert sorted(map(tuple, map(makers_of_tables, branches))) == [("scatter_add",), ("slice_add",)]


@pytest.mark.parametrize("wrap", [pb.jit, pb.checkpoint], ids=["jit", "checkpoint"])
def test_a_part_passes_through_calls(wrap, kernels):
    look = wrap(lambda table, i: pnp.sin(table[i]).sum())

    def f(table):
        return sum(look(table, i) for i in INDICES)

    jaxpr = pb.make_jaxpr(pb.grad(f))(TABLE).jaxpr
    inner = [body for name in ("jit", "checkpoint") for body in bodies(jaxpr, name)]
    assert len(inner) == 8
    assert all(makers_of_tables(body) == [] for body in inner)
    pb.grad(f)(TABLE)
    assert kernels == {}


def test_a_large_part_is_added_up_inside():
    whole = pb.jit(lambda table: sum((pnp.sin(table[k:]) ** 2).sum() for k in range(4)))
    jaxpr = pb.make_jaxpr(pb.grad(lambda table: whole(table)))(TABLE).jaxpr
    assert [v.aval.shape for v in bodies(jaxpr, "jit")[-1].outvars] == [TABLE.shape]


# --- accumulators as objects ---

AVAL = pb.typeof(pnp.zeros((2, 3)))


def test_sums():
    accum = pb.ad.ValAccum(AVAL)
    assert (accum.shape, accum.dtype, repr(accum)) == ((2, 3), np.float32, "ValAccum(f32[2,3])")
    assert type(accum.freeze()) is pb.custom_derivatives.SymbolicZero
    x = pnp.ones((2, 3))
    accum.accum(None)
    accum.accum(pb.custom_derivatives.SymbolicZero(AVAL))
    accum.accum(x)
    accum.accum(np.full((2, 3), 2.0, np.float32))
    first = accum.freeze()
    accum.accum(x)
    np.testing.assert_array_equal(first, np.full((2, 3), 3))
    np.testing.assert_array_equal(accum.freeze(), np.full((2, 3), 4))
    np.testing.assert_array_equal(x, np.ones((2, 3)))
    nothing = pb.ad.NullAccum(AVAL)
    nothing.accum(x)
    assert type(nothing.freeze()) is pb.custom_derivatives.SymbolicZero


def test_numbers_take_the_dtype():
    accum = pb.ad.ValAccum(pb.typeof(pnp.float32(0)))
    accum.accum(1.5)
    accum.accum(2)
    assert accum.freeze().dtype == np.float32
    assert float(accum.freeze()) == 3.5


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.zeros(3, np.float32), "f32[3]"),
        (np.zeros((2, 3), np.int32), "i32[2,3]"),
        (np.zeros((2, 3), np.float16), "f16[2,3]"),
        ("text", "'text'"),
    ],
)
def test_wrong_cotangents_are_refused(value, got):
    accum = pb.ad.ValAccum(AVAL)
    accum.where = lambda: "the cotangent of 'table'"
    for kind in (ValueError, pb.errors.RuleError):
        with pytest.raises(kind) as caught:
            accum.accum(value)
        for word in ("the cotangent of 'table'", "f32[2,3]", got):
            assert word in str(caught.value)
    assert type(accum.freeze()) is pb.custom_derivatives.SymbolicZero
