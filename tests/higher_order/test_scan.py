"""scan under every transformation, with JAX as oracle."""

import ml_dtypes
import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import Jaxpr, check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
ROWS = np.array([[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6], [0.7, -0.8, 0.9], [0.2, 0.1, -0.5]], f32)


def wave(lib, **settings):
    def body(c, x):
        c = lib.lax.sin(c) * x + c
        return c, c * x

    return lambda c, xs: lib.lax.scan(body, c, xs, **settings)


@pytest.mark.parametrize("reverse", [False, True])
def test_carry_and_stacked_results(reverse):
    agree(lambda lib: wave(lib, reverse=reverse), X, ROWS, compiled=not reverse)


@pytest.mark.parametrize(("reverse", "unroll"), [(False, 2), (True, 3), (True, True), (False, False), (False, 100)])
def test_unrolled_loops_give_the_same(reverse, unroll):
    def results(**settings):
        f = wave(PB, reverse=reverse, **settings)
        gradient = pb.grad(lambda c, xs: f(c, xs)[1].sum() + f(c, xs)[0].sum(), (0, 1))
        return pb.jit(f)(X, ROWS), pb.jit(gradient)(X, ROWS), pb.jit(pb.vmap(f, (0, None)))(ROWS, ROWS)

    all_close(results(unroll=unroll), results(), 10)


@pytest.mark.parametrize("length", [0, 1])
def test_short_loops(length):
    def make(lib):
        def body(c, x):
            return c * x, lib.lax.exp(c)

        return lambda c, xs: lib.lax.scan(body, c, xs)

    agree(make, X, ROWS[:length])


def test_no_inputs():
    def make(lib):
        def body(c, _):
            return lib.lax.sin(c), None

        return lambda c: lib.lax.scan(body, c, None, length=4)

    agree(make, X)


def test_no_carry():
    def make(lib):
        def body(_, x):
            return None, lib.lax.sin(x)

        return lambda xs: lib.lax.scan(body, None, xs)

    agree(make, ROWS)


def test_nothing_at_all():
    assert lax.scan(lambda c, x: (c, x), None, None, length=3) == (None, None)
    assert lax.scan(lambda c, x: ((), {}), (), None, length=0) == ((), {})


def test_pytrees_with_none_and_empty_containers():
    def make(lib):
        def body(c, x):
            a, (b, nothing), empty = c["a"], c["b"], c["e"]
            assert nothing is None
            assert empty == {}
            return {"a": a * x["u"], "b": (b + a * x["v"][0], None), "e": {}}, [a, None, (), {"s": b * x["u"]}]

        return lambda a, b, u, v: lib.lax.scan(body, {"a": a, "b": (b, None), "e": {}}, {"u": u, "v": [v], "n": None})

    agree(make, f32(0.5), X, ROWS[:, 0], ROWS, batch=False)


def test_integer_and_bool_carry_beside_floats():
    def make(lib):
        def body(c, x):
            i, flag, y = c
            y = lib.np.where(flag, y * x, y + x * i.astype(np.float32))
            return (i + 1, ~flag, y), (i, flag, lib.lax.sin(y))

        return lambda y, xs: lib.lax.scan(body, (np.int32(2), np.bool_(True), y), xs)

    agree(make, X, ROWS)


def test_integer_inputs_beside_floats():
    def make(lib):
        ks = np.array([2, 0, 1, 2], np.int32)

        def fun(c, w):
            def body(c, k):
                return c * lib.np.asarray(w)[k], k

            return lib.lax.scan(body, c, ks)

        return fun

    agree(make, f32(0.7), X)


def test_part_of_the_carry_becomes_active_later():
    def make(lib):
        def body(c, x):
            a, b, d = c
            return (a * x[0], a + b, lib.lax.sin(b) + d), d

        return lambda xs, a: lib.lax.scan(body, (a, f32(1.0), f32(2.0)), xs)

    agree(make, ROWS, f32(0.6))


def test_carry_that_never_gets_a_tangent():
    def make(lib):
        def body(c, x):
            return (c[0] * f32(1.5), c[1] + c[0] * x), c[0]

        return lambda xs: lib.lax.scan(body, (f32(1), f32(0)), xs)

    agree(make, X)


def test_closed_over_values_are_differentiated():
    def make(lib):
        def fun(w, b, c):
            def body(c, x):
                return lib.lax.tanh(w @ c + b * x), c.sum()

            return lib.lax.scan(body, c, X)

        return fun

    agree(make, ROWS[:3], X, X)


def test_closed_over_values_of_inner_and_outer_loops():
    def make(lib):
        def fun(w, c):
            def outer(c, x):
                def inner(d, y):
                    return lib.lax.sin(d * w + x * y), d * c

                d, ys = lib.lax.scan(inner, c, X)
                return d * w, ys.sum()

            return lib.lax.scan(outer, c, X)

        return fun

    agree(make, f32(0.8), f32(0.4), second=False)


def products(c, xs):
    return lax.scan(lambda c, x: (c * x.astype(c.dtype), c), c, xs)


def weighted_products(c, xs):
    last, before = products(c, xs)
    return last.astype(pnp.result_type(float)).sum() + 3 * before.astype(pnp.result_type(float)).sum()


def push_products(c, xs):
    return pb.jvp(products, (c, xs), (c, xs))[1]


@pytest.mark.parametrize(
    "fun",
    [
        products,
        push_products,
        pb.grad(weighted_products, (0, 1)),
        pb.grad(pb.jit(weighted_products), (0, 1)),
        pb.vmap(products, (None, 1)),
    ],
)
def test_bfloat16_carry(fun):
    # XLA may keep more than 8 bits between the operations of a fused loop, and does on processors with bfloat16
    # arithmetic. What holds everywhere: each operation rounds once at most, to 2**-9 of its result. Products and sums
    # of them lose no more, relative to the same program on absolute values.
    c, xs = X.astype(ml_dtypes.bfloat16), np.concatenate([ROWS, ROWS])
    roundings = 6 * len(xs) + 4  # a step: the cast, the product, and the product, sum and cast of its derivative
    with pb.enable_x64():
        wide = c.astype(np.float64), xs.astype(np.float64)
        exact, size = fun(*wide), fun(*map(np.abs, wide))
    for run in (fun, pb.jit(fun)):
        for got, want, most in zip(*map(pb.tree.leaves, (run(c, xs), exact, size)), strict=True):
            error = np.abs(np.asarray(got, np.float64) - np.asarray(want))
            assert (error <= roundings * 2.0**-9 * np.asarray(most)).all()


def test_second_derivatives_of_a_loop_in_a_loop():
    def make(lib):
        def inner(c, x):
            return lib.lax.scan(lambda c, y: (lib.lax.sin(c) * y, None), c, X)[0] * x, c

        return lambda c: lib.lax.scan(inner, c, X)

    agree(make, f32(0.9), batch=False)


@pytest.mark.parametrize(("first", "step"), [(0, 1.5), (0.0, np.float32(2)), (1.0, np.int32(1)), (0, 2)])
def test_weak_first_carry_takes_the_type_of_the_body(first, step):
    def body(c, x):
        return c + step * x, c

    def run(lib):
        return lib.lax.scan(body, first, np.arange(3, dtype=f32))

    all_close(run(PB), run(JAX))


def test_jaxprs_are_well_formed_and_print():
    def loss(c):
        return lax.scan(lambda c, x: (pnp.sin(c) * x, c), c, ROWS)[1].sum()

    for f in (loss, pb.grad(loss), pb.grad(pb.jit(loss)), pb.hessian(loss), pb.jacfwd(loss)):
        closed = pb.make_jaxpr(f)(X)
        check_jaxpr(closed)
        assert "scan[" in str(closed)


def scans(jaxpr: Jaxpr):
    return [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]


def shapes_of_gradient_loops(loss, *args):
    closed = pb.make_jaxpr(pb.grad(loss))(*args)
    return [[v.aval.shape for v in (*eqn.invars, *eqn.outvars)] for eqn in scans(closed.jaxpr)]


def test_residuals_that_are_constants_of_the_loop_are_not_stacked():
    n, d = 50, 7
    w = np.ones((d, d), f32)

    def loss(c, w):
        return lax.scan(lambda c, x: (pnp.tanh(w @ c) + x, None), c, np.ones((n, d), f32))[0].sum()

    loops = shapes_of_gradient_loops(loss, np.ones(d, f32), w)
    assert len(loops) == 2
    assert not any(shape == (n, d, d) for shapes in loops for shape in shapes)
    assert any(shape == (n, d) for shapes in loops for shape in shapes)


def of_a_function_of_constants(lib, n):
    """A loop whose derivative needs exp(w), the same in every step."""

    def loss(w, c):
        def body(c, x):
            return lib.np.exp(w) @ (c * lib.np.ones(len(c))) * x, None

        return lib.lax.scan(body, c, np.linspace(0.5, 1, n, dtype=f32))[0].sum()

    return loss


def test_residuals_computed_from_constants_of_the_loop_are_not_stacked():
    n, d = 50, 7
    loss = of_a_function_of_constants(PB, n)
    w, c = np.full((d, d), 0.1, f32), np.ones(d, f32)
    for loops in (shapes_of_gradient_loops(loss, w, c), shapes_of_gradient_loops(lambda c, w: loss(w, c), c, w)):
        assert loops
        assert not any(shape in ((n, d, d), (n, 1, d)) for shapes in loops for shape in shapes)


def test_derivatives_by_residuals_computed_from_constants():
    agree(lambda lib: of_a_function_of_constants(lib, 3), ROWS[:3], X)


@pytest.mark.parametrize("reverse", [False, True])
def test_long_loops_are_compiled_and_agree(reverse):
    xs = np.linspace(-1, 1, 100_000, dtype=f32)

    def make(lib):
        def body(c, x):
            return 0.999 * c + lib.lax.sin(x), None

        return lambda c: lib.lax.scan(body, c, xs, reverse=reverse)[0]

    ours, theirs = make(PB), make(JAX)
    with pb.debug.counters() as seen:
        got = ours(f32(0.5))
    assert seen["compiles"] <= 1
    all_close(got, theirs(f32(0.5)), 100)
    all_close(pb.grad(ours)(f32(0.5)), JAX.t.grad(theirs)(f32(0.5)), 100)


def test_short_loops_do_not_compile():
    def product(c):
        return lax.scan(lambda c, x: (c * x, None), c, X)[0]

    with pb.debug.counters() as seen:
        pb.grad(product)(2.0)
    assert seen["compiles"] == 0


# ---- linear_transpose


def test_linear_transpose_of_a_scan_with_a_counter():
    def fun(c, xs):
        def body(carry, x):
            i, c = carry
            return (i + 1, c * (i + 2).astype(f32) + x), c

        (_, c), ys = lax.scan(body, (0, c), xs)
        return c, ys

    back = pb.linear_transpose(fun, f32(0), X)
    rng = np.random.default_rng(0)
    c, xs, (ct, cts) = f32(0.3), X, (f32(1.2), rng.standard_normal(3).astype(f32))
    out, outs = fun(c, xs)
    c_bar, xs_bar = back((ct, cts))
    left = ct * float(out) + float(np.vdot(cts, np.asarray(outs)))
    right = float(c_bar) * c + float(np.vdot(np.asarray(xs_bar), xs))
    assert left == pytest.approx(right, rel=1e-5)


def test_linear_transpose_of_a_scan_whose_counter_is_inside_of_a_jit():
    @pb.jit
    def step(i, c):
        return i + 1, c * (i + 2).astype(f32)

    def body(carry, _):
        return step(*carry), carry[1]

    def fun(c):
        return lax.scan(body, (0, c), None, length=3)[1].sum()

    (c_bar,) = pb.linear_transpose(fun, f32(0))(f32(1))
    assert float(c_bar) == 1 + 2 + 6


def test_linear_transpose_with_known_inputs_and_reverse():
    def fun(c):
        return lax.scan(lambda c, x: (c * x, c), c, X, reverse=True)

    for wrap in EAGER_AND_JIT:
        (c_bar,) = wrap(pb.linear_transpose(fun, f32(0)))((f32(1), np.ones(3, f32)))
        assert float(c_bar) == pytest.approx(float(X.prod() + 1 + X[2] + X[2] * X[1]), rel=1e-5)


# ---- what is refused


def test_change_of_the_carry_names_the_leaf():
    def body(c, x):
        return {"a": c["a"], "b": [c["b"][0].sum()]}, None

    with pytest.raises(TypeError, match=r"\['b'\]\[0\]: expected f32\[3\], got f32\[\]"):
        lax.scan(body, {"a": f32(0), "b": [X]}, None, length=2)


def test_change_of_the_carry_in_dtype():
    with pytest.raises(TypeError, match=r"the value: expected i32\[\], got f32\[\]"):
        lax.scan(lambda c, x: (c + f32(0.5), None), np.int32(0), None, length=2)


def test_change_of_the_structure_of_the_carry():
    with pytest.raises(TypeError, match=r"scan: .*structure of init"):
        lax.scan(lambda c, x: ((c, c), None), f32(0), None, length=2)


def test_body_that_returns_no_pair():
    with pytest.raises(TypeError, match=r"must return a pair \(carry, y\)"):
        lax.scan(lambda c, x: c, f32(0), None, length=2)


@pytest.mark.parametrize(
    ("xs", "length", "message"),
    [
        ({"u": X, "v": ROWS}, None, r"one length, but\n  xs\['u'\] of shape \(3,\)\n  xs\['v'\] of shape \(4, 3\)"),
        (X, 2, r"length=2"),
        (None, None, r"Pass length="),
        (f32(1), None, r"is a scalar"),
        ("abc", None, r"must be an array"),
    ],
)
def test_inputs_that_do_not_fit(xs, length, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lax.scan(lambda c, x: (c, None), f32(0), xs, length=length)
