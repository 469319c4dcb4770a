"""Sums, positions and exchanges along the named axis of a vmap, with JAX as oracle."""

import jax
import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1, 0.4], f32)
ROWS = np.linspace(-1, 1, 12, dtype=f32).reshape(3, 4)

FUNCTIONS = {
    "psum": lambda lib: lambda x: lib.lax.psum(lib.lax.sin(x) * x, "i"),
    "psum times": lambda lib: lambda x: lib.lax.psum(x * x, "i") * x,
    "pmean": lambda lib: lambda x: lib.lax.pmean(lib.lax.sin(x), "i") * x,
    "all_gather": lambda lib: lambda x: (lib.lax.all_gather(x * x, "i") * np.arange(4, dtype=f32)).sum() * x,
    "ppermute": lambda lib: lambda x: lib.lax.ppermute(x * x, "i", [(0, 1), (1, 2), (2, 3), (3, 0)]) * x,
    "axis_index": lambda lib: lambda x: x * lib.lax.axis_index("i") + lib.lax.sin(x),
    "softmax": lambda lib: lambda x: lib.lax.exp(x) / lib.lax.psum(lib.lax.exp(x), "i"),
    "twice": lambda lib: lambda x: lib.lax.psum(lib.lax.psum(x, "i") * x, "i"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_transformation(name):
    def run(lib):
        f, t = FUNCTIONS[name](lib), lib.t
        mapped = t.vmap(f, axis_name="i")
        loop = lambda x: lib.lax.scan(lambda c, _: (0.3 * f(c), c), x, None, length=2)[0]  # noqa: E731
        choice = lambda x: lib.lax.cond(True, f, lambda x: x, x)  # noqa: E731
        return {
            "value": mapped(X),
            "shared": t.vmap(f, None, axis_name="i", axis_size=4)(f32(0.3)),
            "jit inside": t.vmap(t.jit(f), axis_name="i")(X),
            "jit outside": t.jit(mapped)(X),
            "jvp inside": t.vmap(lambda x: t.jvp(f, (x,), (x + 1,)), axis_name="i")(X),
            "jvp outside": t.jvp(mapped, (X,), (X + 1,)),
            "grad inside": t.vmap(t.grad(f), axis_name="i")(X),
            "grad of jit inside": t.vmap(t.grad(t.jit(f)), axis_name="i")(X),
            "grad outside": t.grad(lambda x: (mapped(x) * X).sum())(X),
            "second": t.grad(lambda x: (t.grad(lambda x: (mapped(x) * X).sum())(x) * X).sum())(X),
            "scan": t.vmap(loop, axis_name="i")(X),
            "grad of scan": t.vmap(t.grad(loop), axis_name="i")(X),
            "cond": t.vmap(choice, axis_name="i")(X),
            "grad of cond": t.vmap(t.grad(choice), axis_name="i")(X),
            "vmap outside": t.vmap(mapped)(ROWS),
            "vmap inside": t.vmap(t.vmap(f), axis_name="i", in_axes=1)(ROWS),
            "linearize": t.linearize(mapped, X)[1](X),
        }

    got, expected = run(PB), run(JAX)
    for key in expected:
        try:
            all_close(got[key], expected[key], 10)
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}") from None
    mapped = pb.vmap(FUNCTIONS[name](PB), axis_name="i")
    for f in (mapped, pb.vmap(pb.grad(pb.jit(FUNCTIONS[name](PB))), axis_name="i")):
        check_jaxpr(pb.make_jaxpr(f)(X))


@pytest.mark.parametrize("place", [
    lambda lib: lib.lax.scan(lambda c, _: (c + lib.lax.axis_index("i"), None), 0, None, length=3)[0],
    lambda lib: lib.lax.while_loop(
        lambda c: c[0] < lib.lax.axis_index("i"), lambda c: (c[0] + 1, c[1] + 2.0), (0, 1.0)),
    lambda lib: lib.lax.cond(lib.lax.axis_index("i") > 1, lambda: lib.lax.axis_index("i"), lambda: np.int32(7)),
    lambda lib: lib.lax.cond(True, lambda: lib.lax.axis_index("i"), lambda: np.int32(7)),
    lambda lib: lib.t.jit(lambda: lib.lax.psum(2.0, "i"))(),
    lambda lib: lib.t.jit(lambda: lib.t.jit(lambda: lib.lax.axis_index("i"))() * 2)(),
    lambda lib: lib.lax.fori_loop(0, 3, lambda i, c: c + lib.lax.psum(i, "i"), 0),
    lambda lib: lib.lax.map(lambda x: x * lib.lax.axis_index("i"), X),
    lambda lib: lib.t.grad(lambda w: w * lib.t.jit(lambda: lib.lax.axis_index("i"))() ** 2)(1.0),
])
def test_inside_of_control_flow_without_a_mapped_operand(place):
    def run(lib):
        mapped = lib.t.vmap(lambda x: (place(lib), x), axis_name="i")
        nested = lib.t.vmap(lambda y: lib.t.vmap(lambda x: (place(lib), x * y), axis_name="i")(X))
        return mapped(X), lib.t.jit(mapped)(X), nested(X)

    all_close(run(PB), run(JAX))


def test_several_axes_and_shadowed_names():
    def run(lib):
        t, lax = lib.t, lib.lax
        both = t.vmap(t.vmap(lambda x: (lax.psum(x, ("i", "k")), lax.psum(x, "i"), lax.pmean(x, ("k", "i")),
                                        lax.axis_index("i") * 10 + lax.axis_index("k")), axis_name="k"), axis_name="i")
        same = t.vmap(t.vmap(lambda x: lax.psum(x, "i"), axis_name="i"), axis_name="i")
        return both(ROWS), same(ROWS), t.jit(both)(ROWS)

    all_close(run(PB), run(JAX))


def test_pytrees_integers_and_sizes():
    def run(lib):
        f = lib.t.vmap(lambda x: lib.lax.psum({"a": x, "n": None, "one": 1, "k": x.astype(np.int32)}, "i"),
                       axis_name="i")
        return f(X * 5)

    all_close(run(PB), run(JAX))
    assert pb.vmap(lambda x: x * lax.axis_size("i"), axis_name="i")(X)[0] == f32(0.3) * 4


def test_pmax_and_pmin():
    def run(lib):
        f = lib.t.vmap(lambda x: (lib.lax.pmax(x, "i"), lib.lax.pmin(x, "i"), lib.lax.pmax(2, "i")), axis_name="i")
        return f(X), lib.t.jit(f)(X)

    all_close(run(PB), run(JAX))


def test_result_that_is_the_same_everywhere_may_be_unmapped():
    assert float(pb.vmap(lambda x: lax.psum(x, "i"), axis_name="i", out_axes=None)(X)) == pytest.approx(1.1)
    with pytest.raises(ValueError, match="out_axes is None"):
        pb.vmap(lambda x: x, axis_name="i", out_axes=None)(X)


def test_ppermute_leaves_zeros_where_nothing_arrives():
    got = pb.vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")(X)
    all_close(got, np.array([0, X[0], X[1], 0], f32))


@pytest.mark.parametrize("call", [
    lambda: lax.psum(1.0, "i"), lambda: pb.jit(lambda x: lax.psum(x, "i"))(1.0),
    lambda: pb.vmap(lambda x: lax.psum(x, "other"), axis_name="k")(X), lambda: lax.axis_index("i"),
    lambda: lax.scan(lambda c, _: (lax.psum(c, "i"), None), 1.0, None, length=2),
])
def test_names_that_are_not_in_scope(call):
    with pytest.raises(NameError, match=r"no enclosing vmap has an axis named .*axis_name="):
        call()


def test_permutation_that_does_not_fit():
    with pytest.raises(ValueError, match="ppermute: perm must send to distinct positions"):
        pb.vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (2, 1)]), axis_name="i")(X)


def test_program_of_one_axis_size_is_not_used_for_another():
    f = pb.jit(lambda x: x * lax.psum(1, "i"))
    for n in (2, 3, 2):
        all_close(pb.vmap(f, axis_name="i")(np.ones(n, f32)), np.full(n, n, f32))
    assert float(pnp.sum(pb.vmap(f, axis_name="i")(np.ones(5, f32)))) == 25


# ---- groups of positions, and joined rows

GROUPS = [[3, 0], [1, 2]]
UNEVEN = [[2], [0, 3, 1]]
REDUCTIONS = {"psum": np.sum, "pmean": np.mean, "pmax": np.max, "pmin": np.min}


@pytest.mark.parametrize("groups", [GROUPS, UNEVEN, [[0, 1, 2, 3]]])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_groups(name, groups):
    """JAX refuses groups under vmap; what they mean it says for shard_map."""
    def f(x):
        return getattr(lax, name)(x, "i", axis_index_groups=groups)

    expected = np.empty_like(X)
    for group in groups:
        expected[group] = REDUCTIONS[name](X[group])
    for run in (pb.vmap(f, axis_name="i"), pb.jit(pb.vmap(f, axis_name="i"))):
        np.testing.assert_allclose(run(X), expected, rtol=1e-6)


def test_the_derivative_of_the_sums_of_groups():
    def total(x):
        return (pb.vmap(lambda v: lax.psum(v * v, "i", axis_index_groups=UNEVEN), axis_name="i")(x) * ROWS[0]).sum()

    weights = np.empty(4, f32)
    for group in UNEVEN:
        weights[group] = ROWS[0][group].sum()
    np.testing.assert_allclose(pb.grad(total)(X), 2 * X * weights, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("tiled", [False, True])
def test_gathered_rows_along_every_axis(axis, tiled):
    rows = np.arange(24, dtype=f32).reshape(3, 4, 2)
    ours = pb.vmap(lambda x: lax.all_gather(x, "i", axis=axis, tiled=tiled), axis_name="i")(rows)
    theirs = jax.vmap(lambda x: jax.lax.all_gather(x, "i", axis=axis, tiled=tiled), axis_name="i")(rows)
    np.testing.assert_array_equal(ours, theirs)


def test_gathered_rows_of_groups():
    got = pb.vmap(lambda x: lax.all_gather(x, "i", axis_index_groups=GROUPS), axis_name="i")(X)
    np.testing.assert_array_equal(got, X[[[3, 0], [1, 2], [1, 2], [3, 0]]])
    got = pb.vmap(lambda x: lax.all_gather(x, "i", axis_index_groups=GROUPS, tiled=True), axis_name="i")(X[:, None])
    np.testing.assert_array_equal(got, X[[[3, 0], [1, 2], [1, 2], [3, 0]]])


@pytest.mark.parametrize(("call", "error", "part"), [
    (lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1]]), ValueError, "must hold each position of the axis 'i'"),
    (lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1, 2, 3], []]), ValueError, "must hold each position"),
    (lambda x: lax.pmax(x, "i", axis_index_groups=3), TypeError, "must be a list of lists of positions"),
    (lambda x: lax.all_gather(x, "i", axis_index_groups=UNEVEN), ValueError, "axis_index_groups must have one length"),
    (lambda x: lax.all_gather(x, "i", tiled=True), ValueError, "all_gather: axis 0 is out of bounds"),
])
def test_refused_groups(call, error, part):
    with pytest.raises(error, match=part):
        pb.vmap(call, axis_name="i")(X)
