"""cond and switch under every transformation, with JAX as oracle."""

import ml_dtypes
import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


# ---- branches of several tests


def identity(x):
    return x


def square(x):
    return x * x


def double(x):
    return x * 2


def to_integers(x):
    return x.astype(np.int32)


def one(x):
    return 1.0


@pytest.mark.parametrize("pred", [True, False, 2, 0.0])
def test_predicate_that_is_known(pred):
    def make(lib):
        def yes(x, y):
            return x * y, lib.lax.sin(x)

        def no(x, y):
            return y, x * 2

        return lambda x, y: lib.lax.cond(pred, yes, no, x, y)

    agree(make, X, X[::-1].copy(), second=False, batch=False)


def test_predicate_that_depends_on_the_argument():
    def make(lib):
        def yes(x, y):
            return x * lib.lax.sin(y)

        def no(x, y):
            return lib.lax.exp(x) + y

        return lambda x, y: lib.lax.cond(x.sum() > 0.1, yes, no, x, y)

    agree(make, X, f32(0.4), compiled=True)


def test_closed_over_values_are_differentiated():
    def make(lib):
        def fun(x, w, v):
            def yes():
                return w * x, lib.lax.sin(v)

            def no():
                return x * x * v, w * v

            return lib.lax.cond(x > 0, yes, no)

        return fun

    agree(make, f32(0.5), f32(1.5), f32(-0.8))
    agree(make, f32(-0.5), f32(1.5), f32(-0.8), batch=False)


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 7])
def test_switch_clamps_its_index(index):
    def make(lib):
        branches = [lib.lax.sin, square, lambda x: lib.lax.exp(-x)]
        return lambda x: lib.lax.switch(lib.np.int32(index) if lib is JAX else np.int32(index), branches, x)

    agree(make, X, second=False, batch=False)


def test_switch_with_an_index_for_each_example():
    def make(lib):
        def product(x, y):
            return x * y

        def second(x, y):
            return y

        def sine_plus_second(x, y):
            return lib.lax.sin(x) + y

        def fun(x):
            index = (x * 4).astype(np.int32)
            return lib.lax.switch(index, [product, second, sine_plus_second], x, x * 2)

        return fun

    agree(make, f32(0.3))


def test_branches_that_use_different_operands():
    def make(lib):
        def of_x(x, y, z):
            return lib.lax.sin(x)

        def of_y(x, y, z):
            return lib.lax.exp(y) * y

        return lambda x, y, z: lib.lax.cond(z > 0, of_x, of_y, x, y, z)

    agree(make, f32(0.5), f32(0.4), f32(0.2))


def test_branch_that_is_constant():
    def make(lib):
        def zeros(x):
            return lib.np.zeros(3)

        return lambda x: lib.lax.cond(x.sum() > 10, square, zeros, x)

    agree(make, X)


def test_branches_with_residuals_of_different_types():
    def make(lib):
        def of_a_vector(x):
            return lib.lax.sin(x).sum() ** 3

        def of_numbers(x):
            return lib.lax.exp(x[0] * x[1]) * x[2]

        return lambda x: lib.lax.cond(x[0] > 0, of_a_vector, of_numbers, x)

    agree(make, X)


def test_pytrees_none_and_mixed_dtypes():
    def make(lib):
        def yes(d):
            return {"i": d["i"] + 1, "x": [d["x"] * 2, None], "e": ()}

        def no(d):
            return {"i": d["i"], "x": [lib.lax.sin(d["x"]), None], "e": ()}

        return lambda x: lib.lax.cond(x.sum() > 0, yes, no, {"i": np.int32(4), "x": x})

    agree(make, X)


@pytest.mark.parametrize("pred", [True, False])
def test_weak_results_take_the_type_of_the_other_branch(pred):
    all_close(PB.lax.cond(pred, identity, one, f32(2)), JAX.lax.cond(pred, identity, one, f32(2)))


def test_bfloat16():
    def negative(x):
        return -x

    def make(lib):
        return lambda x: lib.lax.cond(x.sum() > 0, square, negative, x)

    agree(make, X.astype(ml_dtypes.bfloat16), second=False, batch=False)


def test_cond_in_cond_in_scan():
    def make(lib):
        def body(c, x):
            def inner(c):
                return lib.lax.cond(c > x, lib.lax.sin, lambda c: c * c + x, c)

            c = lib.lax.cond(x > 0, inner, lambda c: c * 1.5, c)
            return c, c * x

        return lambda c, xs: lib.lax.scan(body, c, xs)

    agree(make, f32(0.4), X)


def test_only_the_chosen_branch_runs():
    def endless(x):
        return lax.while_loop(lambda c: True, identity, x)

    def fun(x):
        return lax.cond(x > 0, identity, endless, x)

    assert float(fun(1.0)) == 1
    assert float(pb.jit(fun)(1.0)) == 1


def test_gradient_at_a_singularity_that_is_not_chosen():
    def safe(x):
        return lax.cond(x > 0, pnp.sqrt, lambda x: x * 0.0, x)

    assert float(pb.grad(safe)(0.0)) == 0
    assert float(pb.jit(pb.grad(safe))(0.0)) == 0


def test_linear_transpose():
    def threefold(x):
        return lax.cond(True, lambda x: x * 3, identity, x)

    (ct,) = pb.linear_transpose(threefold, f32(1))(f32(2))
    assert float(ct) == 6


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit])
@pytest.mark.parametrize("x", [-1.0, 1.0])
def test_linear_transpose_of_a_second_derivative(wrap, x):
    """A branch whose result does not depend on the input: its tangents are zeros, of which the transpose must know."""

    def first(x):
        def f(y):
            return lax.cond(x > 0, lambda y: x, lambda y: (pnp.abs(y) + 0.5) ** y, y)

        return wrap(pb.grad(f))(x)

    linear = pb.linearize(first, x)[1]
    (got,) = pb.linear_transpose(linear, x)(1.0)
    np.testing.assert_allclose(got, linear(1.0), rtol=1e-6)
    p = 1.5**-1.0  # of (1/2 - x)^x = exp(x log(1/2 - x)), at -1
    slope = np.log(1.5) + 1 / 1.5
    np.testing.assert_allclose(got, 0 if x > 0 else p * (slope**2 - 2 / 1.5 + 1 / 1.5**2), rtol=1e-5)


def test_tangents_of_a_constant_branch_are_not_saved():
    def f(x):
        return lax.cond(x[0] > 0, lambda x: (pnp.ones(3), pnp.ones(3)), lambda x: (x * 2, x * 3), x)

    _, linear = pb.linearize(f, pnp.ones(3))
    assert [x.shape for x in pb.tree.leaves(linear)] == [()]  # the index of the branch


def test_jaxprs_are_well_formed():
    def fun(x):
        return lax.cond(x > 0, pnp.sin, double, x)

    for f in (fun, pb.grad(fun), pb.grad(pb.grad(fun)), lambda x: pb.jvp(fun, (x,), (x,))):
        closed = pb.make_jaxpr(f)(0.3)
        check_jaxpr(closed)
        assert "cond[" in str(closed)
    check_jaxpr(pb.make_jaxpr(pb.vmap(pb.grad(fun)))(X))


# ---- what is refused


def test_difference_of_shapes_names_the_leaf():
    with pytest.raises(TypeError, match=r"cond: true_fun .*\n  \['a'\]\[1\]: expected f32\[3\], got f32\[\]"):
        lax.cond(True, lambda x: {"a": [x, x.sum()]}, lambda x: {"a": [x, x]}, X)


def test_difference_of_dtypes_names_the_leaf():
    with pytest.raises(TypeError, match=r"switch: branches\[2\] .*\n  the value: expected f32\[3\], got i32\[3\]"):
        lax.switch(0, [identity, double, to_integers], X)


def test_a_weak_type_gives_way_where_it_does_in_arithmetic():
    assert lax.cond(True, lambda: 1, lambda: f32(2)).dtype == np.float32
    assert lax.cond(True, identity, lambda x: x.astype("bfloat16"), 1.5).dtype == "bfloat16"


def positive(x):
    return x > 0


@pytest.mark.parametrize(("fun", "other"), [(identity, to_integers), (to_integers, identity), (identity, positive)])
def test_a_weak_type_does_not_give_way_elsewhere(fun, other):
    with pytest.raises(TypeError, match=r"cond: true_fun .*\n  the value: expected \w+\[\], got \w+\[\]"):
        lax.cond(True, fun, other, 1.5)


def test_a_weak_tracer_does_not_give_way_to_integers():
    def square_or_zero(x):
        def yes():
            return x * x

        def no():
            return pnp.int32(0)

        return lax.cond(x > 0, yes, no) * 1.0

    with pytest.raises(TypeError, match="must return the types"):
        pb.grad(square_or_zero)(1.5)
    with pytest.raises(TypeError, match=r"switch: branches\[1\]"):
        lax.switch(0, [lambda: (1, 1.5), lambda: (2, np.int8(2))])


def test_difference_of_structures():
    with pytest.raises(
        TypeError,
        match=r"cond: true_fun .* must return what false_fun returns: at the top "
        r"expected a leaf, got a tuple of 2 children\.",
    ):
        lax.cond(True, lambda x: (x, x), identity, X)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X > 0, abs, abs, 1), r"predicate must be a scalar, got shape \(3,\)"),
        ((True, 1, 2), "expected two functions"),
        ((True, abs, abs, "abc"), "must be an array or a number, got 'abc'"),
    ],
)
def test_arguments_that_do_not_fit_cond(args, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lax.cond(*args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((1.5, [abs], 1), "index must be a scalar integer, got f32"),
        ((0, []), "at least one branch"),
        ((0, 3), "switch: branches must be a sequence of functions, got 3"),
        ((0, [abs, 3]), r"switch: branches\[1\]: expected a function, got 3"),
    ],
)
def test_arguments_that_do_not_fit_switch(args, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lax.switch(*args)


def test_a_constant_of_one_branch_is_none_that_moves_in_another():
    product = pb.custom_rules(lambda m, t: t * m)
    product.deftranspose(lambda o, ct: (ct * o[0],), linear_argnums=1)

    def f(x):
        return product(lax.stop_gradient(pnp.sin(x)), x) * x

    def g(x):
        return lax.cond(x > 0, f, lambda x: pnp.sin(x) * x, x)

    np.testing.assert_allclose(pb.grad(pb.grad(g))(0.5), 2 * np.sin(0.5), rtol=1e-6)


def test_older_forms_of_the_operands():
    assert lax.cond(True, lambda x: x + 1, lambda x: x, operand=1.0) == 2.0
    assert lax.cond(False, lambda x: 3.0, lambda x: 4.0 if x is None else 5.0, operand=None) == 4.0
    assert lax.switch(1, [lambda x: x + 1, lambda x: x * 5], operand=2.0) == 10.0

    def chosen(p, x, y):
        return lax.cond(p, x, lambda a: a * 2, (y, y), lambda pair: pair[0] * pair[1])

    assert [chosen(p, 3.0, 4.0) for p in (True, False)] == [6.0, 16.0]
    assert pb.jit(pb.grad(chosen, (1, 2)))(False, 3.0, 4.0) == (0.0, 8.0)
    with pytest.raises(TypeError, match="cond: the operands are given by position or by operand=, got both"):
        lax.cond(True, lambda x: x, lambda x: x, 1.0, operand=1.0)
    with pytest.raises(TypeError, match="cond: expected two functions after the predicate"):
        lax.cond(True, 1.0, lambda x: x, 2.0)
