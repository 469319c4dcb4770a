"""fori_loop and map, with JAX as oracle."""

import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree

import pullback as pb
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
ROWS = np.arange(14, dtype=f32).reshape(7, 2) / 10


def plus_one(i, c):
    return c + 1


@pytest.mark.parametrize(("lower", "upper"), [(0, 4), (2, 5), (3, 3), (5, 2), (-3, 2), (-4, -1)])
def test_range_that_is_known(lower, upper):
    def make(lib):
        def body(i, x):
            return lib.lax.sin(x) * 1.5 + i

        return lambda x: lib.lax.fori_loop(lower, upper, body, x)

    agree(make, X, second=False, batch=(lower, upper) == (0, 4))


def jit(lib, f):
    return lib.t.jit(f)


def vmap_over_both_bounds(lib, f):
    return lambda lo, hi: lib.t.vmap(f)(np.arange(3, dtype=np.int32) + lo, np.full(3, hi))


def vmap_over_the_upper_bound(lib, f):
    return lambda lo, hi: lib.t.vmap(f, (None, 0))(lo, hi + np.arange(3, dtype=np.int32))


@pytest.mark.parametrize("transform", [jit, vmap_over_both_bounds, vmap_over_the_upper_bound])
@pytest.mark.parametrize(("lower", "upper"), [(0, 4), (3, 3), (5, 2), (-3, 2)])
def test_range_that_is_traced(lower, upper, transform):
    def body(i, c):
        return c[0] + i, c[1] * 1.5 + i

    def run(lib):
        def fun(lo, hi):
            return lib.lax.fori_loop(lo, hi, body, (0, f32(1)))

        return transform(lib, fun)(np.int32(lower), np.int32(upper))

    all_close(run(PB), run(JAX))


def test_forward_mode_with_traced_bounds():
    def make(lib):
        @lib.t.jit
        def loop(n, x):
            return lib.lax.fori_loop(0, n, lambda i, c: lib.lax.sin(c) + x * i, x)

        return lambda x: loop(np.int32(4), x)

    agree(make, X, reverse=False)


def test_reverse_mode_with_traced_bounds_is_refused():
    def fun(n, x):
        return lax.fori_loop(0, n, lambda i, c: c * x, x)

    with pytest.raises(ValueError, match=r"reverse-mode .*fori_loop with constant bounds"):
        pb.jit(pb.grad(fun, 1))(3, 2.0)


@pytest.mark.parametrize("unroll", [1, 2, True])
def test_unroll(unroll):
    def body(i, c):
        return c * 1.1 + i

    def run(lib):
        return lib.t.jit(lambda x: lib.lax.fori_loop(0, 5, body, x, unroll=unroll))(X)

    all_close(run(PB), run(JAX))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_dtype_of_the_index(dtype):
    def run(lib):
        return lib.lax.fori_loop(dtype(1), dtype(4), lambda i, c: c + i, dtype(0))

    all_close(run(PB), run(JAX))


def test_up_to_the_largest_index_of_the_dtype():
    assert int(lax.fori_loop(np.int8(120), np.int8(127), plus_one, 0)) == 7
    assert int(lax.fori_loop(np.int8(-128), np.int8(127), plus_one, 0)) == 255


def test_pytree_carry_with_none():
    def make(lib):
        def body(i, c):
            return {"a": c["a"] * 1.1, "n": None, "k": (c["k"][0] + 1, ())}

        return lambda x: lib.lax.fori_loop(0, 3, body, {"a": x, "n": None, "k": (0, ())})

    agree(make, X, second=False, batch=False)


def test_closed_over_values_are_differentiated_through_nested_loops():
    def make(lib):
        def fun(w, x):
            def inner(j, d):
                return lib.lax.sin(d * w + j)

            def outer(i, c):
                return lib.lax.fori_loop(i, 3, inner, c)

            return lib.lax.fori_loop(0, 2, outer, x)

        return fun

    agree(make, f32(0.6), f32(0.3), reverse=False)


def test_long_loops_are_compiled_and_agree():
    def run(lib):
        def body(i, c):
            return c * f32(0.999) + lib.lax.sin(i * f32(0.01))

        return lib.lax.fori_loop(0, 100_000, body, f32(0))

    all_close(run(PB), run(JAX), 1000)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((0.0, 3), "lower must be a scalar integer, got f32"),
        ((0, X), "upper must be a scalar integer, got f32"),
    ],
)
def test_bounds_that_do_not_fit(args, message):
    with pytest.raises(TypeError, match=message):
        lax.fori_loop(*args, plus_one, 0)


def test_change_of_the_carry_names_the_leaf():
    def body(i, c):
        return {"a": c["a"], "b": c["b"].sum()}

    with pytest.raises(TypeError, match=r"'b'.*expected f32\[3\], got f32\[\]"):
        lax.fori_loop(0, 3, body, {"a": 0, "b": X})


# ---- map


def identity(x):
    return x


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 20])
def test_map(batch_size):
    def make(lib):
        def fun(xs, w):
            def row(x):
                return {"y": lib.lax.sin(x["x"]) * w, "n": None, "s": x["x"].sum()}

            return lib.lax.map(row, {"x": xs}, batch_size=batch_size)

        return fun

    agree(make, ROWS, f32(0.7), second=batch_size == 3, batch=batch_size == 3)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_map_over_nothing(batch_size):
    def run(lib):
        return lib.lax.map(lambda x: (x * 2, x.astype(np.int32)), ROWS[:0], batch_size=batch_size)

    all_close(run(PB), run(JAX))


def test_map_traces_its_function_once():
    calls = []

    def counted(x):
        calls.append(x)
        return x

    lax.map(counted, X)
    assert len(calls) == 1


def test_map_of_a_condition():
    def make(lib):
        def chosen(x):
            return lib.lax.cond(x > 0, lib.lax.sin, lambda x: x * x, x)

        return lambda xs: lib.lax.map(chosen, xs, batch_size=2)

    agree(make, X)


@pytest.mark.parametrize("batch_size", [0, -2])
def test_batch_size_that_does_not_fit(batch_size):
    with pytest.raises(ValueError, match=r"map: batch_size must be at least 1"):
        lax.map(identity, X, batch_size=batch_size)


def test_jaxprs_are_well_formed():
    def loop(n, x):
        return lax.fori_loop(0, n, lambda i, c: c + i, x)

    def sum_of_squares(x):
        return lax.map(lambda x: x * x, x, batch_size=2).sum()

    check_jaxpr(pb.make_jaxpr(loop)(3, 0))
    check_jaxpr(pb.make_jaxpr(pb.grad(sum_of_squares))(X))


def text(x):
    return "abc"


def absolute(x):
    return x if x > 0 else -x


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((identity, 3.0), {}, "^map: xs is a scalar, but map goes over"),
        ((identity, 3.0), {"batch_size": 2}, "^map: xs is a scalar"),
        ((identity, (X, ROWS)), {}, "^map: the leading axes must have one length"),
        ((identity, ()), {}, "^map: xs has no leaves"),
        ((identity, "abc"), {}, "^map: xs must be an array"),
        ((text, X), {}, "^map: text must return arrays .* it returned is 'abc'"),
        ((absolute, X), {}, r"the body of map, absolute \(defined at .*test_loops"),
    ],
)
def test_messages_of_map_name_it(args, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lax.map(*args, **options)


@pytest.mark.parametrize(
    ("body", "init", "message"),
    [
        (3, 1.0, "^fori_loop: body_fun: expected a function, got 3"),
        (abs, "abc", "^fori_loop: init_val must be an array"),
    ],
)
def test_messages_of_fori_loop_name_it(body, init, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lax.fori_loop(0, 3, body, init)


def with_a_known_bound(body, x):
    return lax.fori_loop(0, 3, body, x)


def with_a_traced_bound(body, x):
    return pb.jit(lambda n: lax.fori_loop(0, n, body, x))(3)


@pytest.mark.parametrize("run", [with_a_known_bound, with_a_traced_bound])
def test_a_carry_of_fori_loop_that_changes(run):
    with pytest.raises(
        TypeError,
        match=r"^fori_loop: body_fun \(<lambda> \(defined at .*test_loops.* at the top "
        r"expected a leaf, got a tuple of 2 children\.",
    ):
        run(lambda i, x: (x, x), 1.0)
    with pytest.raises(
        TypeError,
        match=r"^fori_loop: body_fun .* must keep the types of the value:\n"
        r"  the value: expected f32\[\], got i32\[\]",
    ):
        run(lambda i, x: x.astype(np.int32), f32(1.0))
    assert run(lambda i, x: x + f32(1.0), 0).dtype == np.float32
