"""Loops that carry many small arrays: packed when they are compiled, with the results of the loop as it is written."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

f32 = np.float32
XS = np.linspace(-1, 1, 12).astype(f32)
SCALARS = {f"a{i}": np.asarray(0.1 + i / 20, f32) for i in range(10)}
# leaves of two types, enough of each to be packed
LEAVES = SCALARS | {f"b{i}": np.linspace(i / 10, 1, 3).astype(f32) for i in range(9)}


def carried(f, *args):
    """How many values each loop of the compiled function carries, its constants and inputs among them."""
    lines = pb.jit(f).lower(*args).as_text().splitlines()
    loops = [line.split('"stablehlo.while"(')[1].split(")")[0] for line in lines if '"stablehlo.while"(' in line]
    return [operands.count("%") for operands in loops]


def each(c, x):
    """Every leaf by itself."""
    return {k: v + 0.01 * pnp.tanh(v * x) for k, v in c.items()}, None


def coupled(c, x):
    """All read the mean of the scalars, and results are stacked."""
    mean = sum(c[k] for k in SCALARS) / 10
    new = {k: pnp.where(v > x, v - 0.1 * pnp.sin(v + mean), pnp.exp(-v) * x) for k, v in c.items()}
    return new, (mean, {k: v * 2 for k, v in new.items()})


def adam(state, x):
    """Leaves, and first and second moments, of the same types."""
    p, m, v = state
    g = {k: pnp.cos(p[k]) * x for k in p}
    m = {k: 0.9 * m[k] + 0.1 * g[k] for k in p}
    v = {k: 0.99 * v[k] + 0.01 * g[k] ** 2 for k in p}
    return ({k: p[k] - 0.1 * m[k] / (pnp.sqrt(v[k]) + 0.1) for k in p}, m, v), None


@pb.jit
def squashed(v, x):
    return v + 0.1 * pnp.tanh(v * x)


@pb.custom_vjp
def clipped(x):
    return x * 1


def clipped_fwd(x):
    return clipped(x), x


def clipped_bwd(x, ct):
    return (pnp.clip(ct, -0.5, 0.5) * pnp.cos(x),)


clipped.defvjp(clipped_fwd, clipped_bwd)


def calls(c, x):
    """A compiled function and one with a rule, called for every leaf."""
    return {k: clipped(squashed(v, x)) for k, v in c.items()}, None


SMALL = {k: np.full(v.shape, 0.1, f32) for k, v in LEAVES.items()}
CASES = {
    # body, init, the number of values carried, in the gradient's two loops
    "each": (each, LEAVES, [4], [6, 6]),
    "coupled": (coupled, LEAVES, [7], [13, 13]),
    "adam": (adam, (LEAVES, SMALL, SMALL), [8], [18, 18]),
    "calls": (calls, LEAVES, [4], [8, 8]),
}


def run_of(body):
    def run(init, xs):
        return lax.scan(body, init, xs)

    return run


def loss_of(body):
    def loss(init, xs):
        return sum(pnp.sum(x**2) for x in pb.tree.leaves(lax.scan(body, init, xs)))

    return loss


def same(f, *args):
    """Compiled results are those of the kernels, which run the loop as it is written."""
    got, expected = pb.tree.leaves(pb.jit(f)(*args)), pb.tree.leaves(f(*args))
    assert len(got) == len(expected) > 0
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, b.weak_type)
        # 12 steps in single precision
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_leaves_of_a_type_are_carried_as_one(name):
    body, init, forward, both = CASES[name]
    assert carried(run_of(body), init, XS) == forward
    assert carried(pb.grad(loss_of(body)), init, XS) == both


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    body, init, *_ = CASES[name]
    same(run_of(body), init, XS)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    body, init, *_ = CASES[name]
    same(pb.grad(loss_of(body), (0, 1)), init, XS)


@pytest.mark.parametrize("name", ["each", "coupled"])
def test_hessian_vector_products(name):
    body, init, *_ = CASES[name]
    gradient = pb.grad(loss_of(body))

    def product(init, xs):
        return pb.jvp(lambda i: gradient(i, xs), (init,), (init,))[1]

    same(product, init, XS)


@pytest.mark.parametrize("name", CASES)
def test_batches(name):
    body, init, *_ = CASES[name]
    stacked = pb.tree.map(lambda v: np.stack([v, v * f32(0.5)]), init)
    same(pb.vmap(run_of(body), (0, None)), stacked, XS)


@pytest.mark.parametrize("settings", [{"reverse": True}, {"unroll": 5}, {"reverse": True, "unroll": 3}])
def test_other_orders(settings):
    def run(init, xs):
        return lax.scan(coupled, init, xs, **settings)

    same(run, LEAVES, XS)


def test_constants_and_inputs_of_every_leaf_are_packed():
    rates = {k: f32(0.01 * i) for i, k in enumerate(SCALARS)}
    rows = {k: XS * f32(i) for i, k in enumerate(SCALARS)}

    def run(init, rates, rows):
        def body(c, row):
            return {k: c[k] * rates[k] + row[k] for k in c}, None

        return lax.scan(body, init, rows)[0]

    # the step, and one pack each of constants, carry and inputs
    assert carried(run, SCALARS, rates, rows) == [4]
    same(run, SCALARS, rates, rows)


def test_results_that_a_later_loop_takes_stay_packed():
    text = pb.jit(pb.grad(loss_of(each))).lower(SCALARS, XS).as_text()
    # the leaves are stacked for the first loop, their cotangents for the second, the residuals for neither
    assert text.count("stablehlo.concatenate") == 2


def test_leaves_may_take_the_values_of_others():
    def run(init, xs):
        def body(c, x):
            now, kept = c[1:]
            return (now, {k: now[k] * x + kept[k] for k in now}, kept), None

        return lax.scan(body, (init, init, init), xs)[0]

    assert carried(run, SCALARS, XS) == [5]
    same(run, SCALARS, XS)


def test_equations_that_only_other_equations_read_are_packed():
    def run(init, xs):
        def body(c, x):
            total = sum(pnp.sin(v * x) for v in c.values())
            return {k: v + 0.1 * total for k, v in c.items()}, None

        return lax.scan(body, init, xs)[0]

    assert pb.jit(run).lower(SCALARS, XS).as_text().count("stablehlo.sine") == 1
    same(run, SCALARS, XS)


def test_while_loops():
    def run(init):
        def goes_on(state):
            return (state[0] < 20) & (state[1]["a3"] < 2)

        def step(state):
            return state[0] + 1.0, {k: v + 0.01 * pnp.tanh(v) for k, v in state[1].items()}

        return lax.while_loop(goes_on, step, (0.0, init))

    assert carried(run, LEAVES) == [3]
    same(run, LEAVES)
    same(lambda init: pb.jvp(run, (init,), (init,))[1], LEAVES)


@pytest.mark.parametrize("bound", ["known", "traced"])
def test_counting_loops(bound):
    def run(n, init):
        def step(i, c):
            return {k: v + 0.01 * pnp.tanh(v * i) for k, v in c.items()}

        return lax.fori_loop(0, 9 if bound == "known" else n, step, init)

    assert max(carried(run, 9, LEAVES)) <= 5
    same(run, 9, LEAVES)


def test_donated_leaves():
    f = pb.jit(run_of(each), donate_argnums=0)
    expected = run_of(each)(LEAVES, XS)[0]
    donated = pb.tree.map(pnp.array, LEAVES)
    got = f(donated, XS)[0]
    for k, v in expected.items():
        np.testing.assert_allclose(got[k], v, rtol=1e-6)


# --- where it is not to be ---


def neighbours(c, x):
    keys = list(c)
    return {k: c[k] * x + c[after] for k, after in zip(keys, [*keys[1:], keys[0]], strict=True)}, None


def different(c, x):
    return {k: (pnp.sin if i % 5 else pnp.cos)(v) * (1 + i * x / 20) for i, (k, v) in enumerate(c.items())}, None


def printing(c, x):
    pb.debug.callback([].append, x)
    return each(c, x)


@pytest.mark.parametrize("body", [neighbours, different, printing])
def test_what_is_not_alike_is_carried_as_it_is(body):
    # the step, the leaves and xs; a callback has a value for its order
    assert carried(run_of(body), SCALARS, XS) == [len(SCALARS) + 2 + (body is printing)]
    same(run_of(body), SCALARS, XS)


def test_few_steps_and_few_leaves_are_left_alone():
    few = {k: SCALARS[k] for k in list(SCALARS)[:7]}
    assert carried(run_of(each), few, XS) == [9]
    assert carried(run_of(each), SCALARS, XS[:7]) == [12]


def test_leaves_that_stay_as_they_are_are_left_alone():
    def run(init, xs):
        def body(c, x):
            return c, sum(v * x for v in c.values())

        return lax.scan(body, init, xs)

    # the step, the leaves, xs and the results
    assert carried(run, SCALARS, XS) == [13]


def test_arrays_that_are_not_small_are_left_alone():
    large = {k: np.full(2000, v) for k, v in SCALARS.items()}
    assert carried(run_of(each), large, XS) == [12]


def test_leaves_in_another_order_are_carried_as_they_are():
    def run(init, xs):
        def body(c, x):
            return [v * x for v in reversed(c)], None

        return lax.scan(body, init, xs)[0]

    init = list(SCALARS.values())
    assert carried(run, init, XS) == [12]
    same(run, init, XS)
