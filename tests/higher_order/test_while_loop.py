"""while_loop under every transformation, with JAX as oracle."""

import ml_dtypes
import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree
from wrappers import eager, in_vmap

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def counts_to(n):
    """A condition: the first of the carry is below."""
    return lambda c: c[0] < n


def test_condition_that_depends_on_the_batch():
    def make(lib):
        def goes_on(c):
            return (c * c).sum() < 40.0

        def body(c):
            return 1.7 * c + lib.lax.sin(c)

        return lambda x: lib.lax.while_loop(goes_on, body, x)

    agree(make, X, reverse=False)


def test_condition_shared_by_the_batch():
    def make(lib):
        def body(c):
            return c[0] + 1, lib.lax.sin(c[1]) * 2

        return lambda x: lib.lax.while_loop(counts_to(4), body, (0, x))

    agree(make, X, reverse=False)


def test_closed_over_values_in_condition_and_body():
    def make(lib):
        def fun(x, bound, rate):
            def goes_on(c):
                return (c[0].sum() < bound) & (c[2] < 6)

            def step(c):
                return c[0] * rate + 1, c[1] + rate * c[0], c[2] + 1

            return lib.lax.while_loop(goes_on, step, (x, x * rate, 0))

        return fun

    agree(make, X, f32(50), f32(1.3), reverse=False)


def test_no_step_at_all():
    def make(lib):
        def body(c):
            return c[0] + 1, c[1] * 2

        return lambda x: lib.lax.while_loop(counts_to(0), body, (0, x))

    agree(make, X, reverse=False)


def test_pytrees_none_and_mixed_dtypes():
    def make(lib):
        def body(c):
            i, rest = c["i"], c["rest"]
            first = lib.np.where(c["flag"], rest[0] * 2, rest[0] + 1)
            return {"i": i + 1, "flag": ~c["flag"], "rest": [first, None, ()]}

        def fun(x):
            return lib.lax.while_loop(
                lambda c: c["i"] < 5, body, {"i": np.int32(0), "flag": np.bool_(False), "rest": [x, None, ()]}
            )

        return fun

    agree(make, X, reverse=False)


def test_bfloat16():
    def make(lib):
        def body(c):
            return c[0] + 1, c[1] * c[1]

        return lambda x: lib.lax.while_loop(counts_to(3), body, (0, x))

    agree(make, X.astype(ml_dtypes.bfloat16), reverse=False, second=False)


def test_nested_loops_with_batched_conditions():
    def make(lib):
        def fun(x, bound):
            def outer(c):
                inner = lib.lax.while_loop(lambda d: d < bound, lambda d: d * 1.9 + 0.1, c[1])
                return c[0] + 1, inner * 0.3 + c[1]

            return lib.lax.while_loop(counts_to(3), outer, (0, abs(x) + 0.1))

        return fun

    agree(make, f32(0.4), f32(6), reverse=False)


def test_cond_and_scan_inside():
    def make(lib):
        def body(c):
            i, x = c
            y = lib.lax.cond(x.sum() > 1, lib.lax.sin, lambda x: x * 2 + 0.3, x)
            y, _ = lib.lax.scan(lambda c, k: (c * 1.1 + k * 0.01, None), y, np.arange(2, dtype=f32))
            return i + 1, y

        def goes_on(c):
            return (c[0] < 6) & (c[1].sum() < 9)

        return lambda x: lib.lax.while_loop(goes_on, body, (0, x))

    agree(make, X, reverse=False)


def test_gradient_of_what_the_loop_does_not_touch():
    def loss(lib, x):
        n = lib.lax.while_loop(lambda i: i < 5, lambda i: i + 1, 0)
        y = lib.lax.while_loop(lambda y: y < 100.0, lambda y: y * 2, lib.lax.stop_gradient(x))
        return x * n * y

    all_close(pb.grad(lambda x: loss(PB, x))(3.0), JAX.t.grad(lambda x: loss(JAX, x))(3.0))


def test_reverse_mode_inside_of_the_body():
    def make(lib):
        gradient = lib.t.grad(lambda x: lib.lax.sin(x) ** 2)

        def descend(c):
            return c[0] + 1, c[1] - 0.1 * gradient(c[1])

        return lambda x: lib.lax.while_loop(counts_to(5), descend, (0, x))

    agree(make, f32(0.4), reverse=False)


def test_weak_first_value():
    def run(lib):
        return lib.lax.while_loop(lambda c: c < 10, lambda c: c * f32(2.5), 1)

    all_close(run(PB), run(JAX))


def test_long_loops_are_compiled_and_agree():
    def fun(lib, x):
        def body(c):
            return c[0] + 1, c[1] * f32(0.9999) + lib.lax.cos(x)

        return lib.lax.while_loop(counts_to(100_000), body, (0, x))

    def jvp(lib):
        return lib.t.jvp(lambda x: fun(lib, x)[1], (f32(0.3),), (f32(1),))

    with pb.debug.counters() as seen:
        got = fun(PB, f32(0.3))
    assert seen["compiles"] <= 1
    all_close(got, fun(JAX, f32(0.3)), 100)
    all_close(jvp(PB), jvp(JAX), 100)


def test_programs_of_long_loops_are_not_mixed_up():
    def run(bound, rate):
        return int(lax.while_loop(lambda i: i < bound, lambda i: i + rate, 0))

    assert [run(30_000, 1), run(40_000, 1), run(30_001, 2), run(50_000, 1)] == [30_000, 40_000, 30_002, 50_000]


def test_jaxprs_are_well_formed():
    def fun(x):
        return lax.while_loop(lambda c: c < 10, lambda c: c * 2 + pnp.sin(c), x)

    def forward(x):
        return pb.jvp(fun, (x,), (x,))

    for f, x in ((fun, X[0]), (forward, X[0]), (pb.vmap(fun), X), (pb.vmap(forward), X)):
        check_jaxpr(pb.make_jaxpr(f)(x))


# ---- what is refused


def in_a_carry(f):
    def step(c, _):
        return f(c), None

    return lambda x: lax.scan(step, x, None, length=1)[0]


def identity(x):
    return x


@pytest.mark.parametrize("wrap", [eager, pb.jit, in_vmap, in_a_carry])
def test_reverse_mode_is_refused_with_advice(wrap):
    def fun(x):
        return lax.while_loop(lambda c: c < 10, lambda c: c * 2, x)

    with pytest.raises(ValueError, match=r"reverse-mode .* while_loop.*(\n|.)*fori_loop.*scan.*custom_vjp"):
        pb.grad(wrap(fun))(1.0)


def test_change_of_the_carry_names_the_leaf():
    def body(c):
        return {"i": c["i"] + 1, "x": c["x"].sum()}

    with pytest.raises(TypeError, match=r"while_loop: body_fun .*\n  \['x'\]: expected f32\[3\], got f32\[\]"):
        lax.while_loop(lambda c: c["i"] < 3, body, {"i": 0, "x": X})


def test_change_of_structure():
    with pytest.raises(TypeError, match=r"while_loop: body_fun .* structure"):
        lax.while_loop(lambda c: True, lambda c: (c, c), X)


def three_bools(c):
    return c > 0


def a_float(c):
    return c.sum()


def two_bools(c):
    return True, True


@pytest.mark.parametrize(
    ("cond", "got"), [(three_bools, r"bool\[3\]"), (a_float, r"f32\[\]"), (two_bools, r"\(\*, \*\)|tuple")]
)
def test_condition_that_is_no_scalar_bool(cond, got):
    with pytest.raises(TypeError, match=rf"cond_fun .* must return a scalar bool, got .*{got}.*vmap"):
        lax.while_loop(cond, identity, X)


def test_initial_value_that_is_no_array():
    with pytest.raises(TypeError, match=r"init_val at \['name'\] must be an array or a number, got 'abc'"):
        lax.while_loop(lambda c: True, identity, {"name": "abc"})


def test_what_is_no_function():
    with pytest.raises(TypeError, match="while_loop: cond_fun: expected a function, got 3 of type int"):
        lax.while_loop(3, identity, 1.0)
    with pytest.raises(TypeError, match="while_loop: body_fun: expected a function, got None"):
        lax.while_loop(lambda x: False, None, 1.0)
