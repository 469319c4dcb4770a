"""Sums, positions and exchanges along the named axis of a vmap, with JAX as oracle."""

from functools import partial

import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB
from wrappers import grad_of_jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1, 0.4], f32)
ROWS = np.linspace(-1, 1, 12, dtype=f32).reshape(3, 4)

# ---- functions of a number at each position of the axis


def sum_of_products(lib, x):
    return lib.lax.psum(lib.lax.sin(x) * x, "i")


def times_sum(lib, x):
    return lib.lax.psum(x * x, "i") * x


def times_mean(lib, x):
    return lib.lax.pmean(lib.lax.sin(x), "i") * x


def all_gather(lib, x):
    return (lib.lax.all_gather(x * x, "i") * np.arange(4, dtype=f32)).sum() * x


def ppermute(lib, x):
    return lib.lax.ppermute(x * x, "i", [(0, 1), (1, 2), (2, 3), (3, 0)]) * x


def axis_index(lib, x):
    return x * lib.lax.axis_index("i") + lib.lax.sin(x)


def softmax(lib, x):
    return lib.lax.exp(x) / lib.lax.psum(lib.lax.exp(x), "i")


def sum_of_sums(lib, x):
    return lib.lax.psum(lib.lax.psum(x, "i") * x, "i")


@pytest.mark.parametrize(
    "fun", [sum_of_products, times_sum, times_mean, all_gather, ppermute, axis_index, softmax, sum_of_sums]
)
def test_every_transformation(fun):
    def run(lib):
        t = lib.t

        def f(x):
            return fun(lib, x)

        mapped = t.vmap(f, axis_name="i")

        def loop(x):
            return lib.lax.scan(lambda c, _: (0.3 * f(c), c), x, None, length=2)[0]

        def choice(x):
            return lib.lax.cond(True, f, lambda x: x, x)

        def along_the_next(x):
            return t.jvp(f, (x,), (x + 1,))

        @t.grad
        def gradient(x):
            return (mapped(x) * X).sum()

        @t.grad
        def second(x):
            return (gradient(x) * X).sum()

        return {
            "value": mapped(X),
            "shared": t.vmap(f, None, axis_name="i", axis_size=4)(f32(0.3)),
            "jit inside": t.vmap(t.jit(f), axis_name="i")(X),
            "jit outside": t.jit(mapped)(X),
            "jvp inside": t.vmap(along_the_next, axis_name="i")(X),
            "jvp outside": t.jvp(mapped, (X,), (X + 1,)),
            "grad inside": t.vmap(t.grad(f), axis_name="i")(X),
            "grad of jit inside": t.vmap(t.grad(t.jit(f)), axis_name="i")(X),
            "grad outside": gradient(X),
            "second": second(X),
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

    def f(x):
        return fun(PB, x)

    for mapped in (pb.vmap(f, axis_name="i"), pb.vmap(grad_of_jit(f), axis_name="i")):
        check_jaxpr(pb.make_jaxpr(mapped)(X))


# ---- places in programs whose operands are not mapped


def seven():
    return np.int32(7)


def in_scan(lib):
    def step(c, _):
        return c + lib.lax.axis_index("i"), None

    return lib.lax.scan(step, 0, None, length=3)[0]


def in_the_condition_of_a_while_loop(lib):
    def goes_on(c):
        return c[0] < lib.lax.axis_index("i")

    def body(c):
        return c[0] + 1, c[1] + 2.0

    return lib.lax.while_loop(goes_on, body, (0, 1.0))


def in_the_predicate_and_a_branch(lib):
    return lib.lax.cond(lib.lax.axis_index("i") > 1, lambda: lib.lax.axis_index("i"), seven)


def in_a_branch(lib):
    return lib.lax.cond(True, lambda: lib.lax.axis_index("i"), seven)


def in_jit(lib):
    return lib.t.jit(lambda: lib.lax.psum(2.0, "i"))()


def in_jit_of_jit(lib):
    index = lib.t.jit(lambda: lib.lax.axis_index("i"))
    return lib.t.jit(lambda: index() * 2)()


def in_fori_loop(lib):
    return lib.lax.fori_loop(0, 3, lambda i, c: c + lib.lax.psum(i, "i"), 0)


def in_map(lib):
    return lib.lax.map(lambda x: x * lib.lax.axis_index("i"), X)


def in_grad_of_jit(lib):
    index = lib.t.jit(lambda: lib.lax.axis_index("i"))
    return lib.t.grad(lambda w: w * index() ** 2)(1.0)


@pytest.mark.parametrize(
    "place",
    [
        in_scan,
        in_the_condition_of_a_while_loop,
        in_the_predicate_and_a_branch,
        in_a_branch,
        in_jit,
        in_jit_of_jit,
        in_fori_loop,
        in_map,
        in_grad_of_jit,
    ],
)
def test_inside_of_control_flow_without_a_mapped_operand(place):
    def run(lib):
        mapped = lib.t.vmap(lambda x: (place(lib), x), axis_name="i")

        def nested(y):
            return lib.t.vmap(lambda x: (place(lib), x * y), axis_name="i")(X)

        return mapped(X), lib.t.jit(mapped)(X), lib.t.vmap(nested)(X)

    all_close(run(PB), run(JAX))


def test_several_axes_and_shadowed_names():
    def run(lib):
        t, lax = lib.t, lib.lax

        def sums(x):
            return (
                lax.psum(x, ("i", "k")),
                lax.psum(x, "i"),
                lax.pmean(x, ("k", "i")),
                lax.axis_index("i") * 10 + lax.axis_index("k"),
            )

        both = t.vmap(t.vmap(sums, axis_name="k"), axis_name="i")
        same = t.vmap(t.vmap(lambda x: lax.psum(x, "i"), axis_name="i"), axis_name="i")
        return both(ROWS), same(ROWS), t.jit(both)(ROWS)

    all_close(run(PB), run(JAX))


def test_pytrees_integers_and_sizes():
    def run(lib):
        def sums(x):
            return lib.lax.psum({"a": x, "n": None, "one": 1, "k": x.astype(np.int32)}, "i")

        return lib.t.vmap(sums, axis_name="i")(X * 5)

    all_close(run(PB), run(JAX))
    assert pb.vmap(lambda x: x * lax.axis_size("i"), axis_name="i")(X)[0] == f32(0.3) * 4


def test_pmax_and_pmin():
    def run(lib):
        def extremes(x):
            return lib.lax.pmax(x, "i"), lib.lax.pmin(x, "i"), lib.lax.pmax(2, "i")

        mapped = lib.t.vmap(extremes, axis_name="i")
        return mapped(X), lib.t.jit(mapped)(X)

    all_close(run(PB), run(JAX))


def sum_along_i(x):
    return lax.psum(x, "i")


def test_result_that_is_the_same_everywhere_may_be_unmapped():
    assert float(pb.vmap(sum_along_i, axis_name="i", out_axes=None)(X)) == pytest.approx(1.1)
    with pytest.raises(ValueError, match="out_axes is None"):
        pb.vmap(lambda x: x, axis_name="i", out_axes=None)(X)


def test_ppermute_leaves_zeros_where_nothing_arrives():
    got = pb.vmap(lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")(X)
    all_close(got, np.array([0, X[0], X[1], 0], f32))


def sum_under_jit():
    return pb.jit(sum_along_i)(1.0)


def sum_along_another_name():
    return pb.vmap(lambda x: lax.psum(x, "other"), axis_name="k")(X)


def sum_in_a_loop():
    return lax.scan(lambda c, _: (sum_along_i(c), None), 1.0, None, length=2)


@pytest.mark.parametrize(
    "call",
    [partial(sum_along_i, 1.0), sum_under_jit, sum_along_another_name, partial(lax.axis_index, "i"), sum_in_a_loop],
    ids=["sum", "sum_under_jit", "sum_along_another_name", "axis_index", "sum_in_a_loop"],
)
def test_names_that_are_not_in_scope(call):
    with pytest.raises(NameError, match=r"no enclosing vmap or shard_map has an axis named .*axis_name="):
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
    def square_sum(v):
        return lax.psum(v * v, "i", axis_index_groups=UNEVEN)

    def total(x):
        return (pb.vmap(square_sum, axis_name="i")(x) * ROWS[0]).sum()

    weights = np.empty(4, f32)
    for group in UNEVEN:
        weights[group] = ROWS[0][group].sum()
    np.testing.assert_allclose(pb.grad(total)(X), 2 * X * weights, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("tiled", [False, True])
def test_gathered_rows_along_every_axis(axis, tiled):
    rows = np.arange(24, dtype=f32).reshape(3, 4, 2)

    def gathered(lib):
        return lib.t.vmap(lambda x: lib.lax.all_gather(x, "i", axis=axis, tiled=tiled), axis_name="i")(rows)

    np.testing.assert_array_equal(gathered(PB), gathered(JAX))


def test_gathered_rows_of_groups():
    got = pb.vmap(lambda x: lax.all_gather(x, "i", axis_index_groups=GROUPS), axis_name="i")(X)
    np.testing.assert_array_equal(got, X[[[3, 0], [1, 2], [1, 2], [3, 0]]])
    got = pb.vmap(lambda x: lax.all_gather(x, "i", axis_index_groups=GROUPS, tiled=True), axis_name="i")(X[:, None])
    np.testing.assert_array_equal(got, X[[[3, 0], [1, 2], [1, 2], [3, 0]]])


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1]]), ValueError, "must hold each position of the axis 'i'"),
        (lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1, 2, 3], []]), ValueError, "must hold each position"),
        (lambda x: lax.pmax(x, "i", axis_index_groups=3), TypeError, "must be a list of lists of positions"),
        (
            lambda x: lax.all_gather(x, "i", axis_index_groups=UNEVEN),
            ValueError,
            "axis_index_groups must have one length",
        ),
        (lambda x: lax.all_gather(x, "i", tiled=True), ValueError, "all_gather: axis 0 is out of bounds"),
    ],
)
def test_refused_groups(call, error, part):
    with pytest.raises(error, match=part):
        pb.vmap(call, axis_name="i")(X)
