"""Rules for vmap: custom_vmap, sequential_vmap, and beside other rules. They are wrong on purpose, to be seen."""

import jax
import numpy as np
import pytest
from agreement import all_close
from functions import with_jvp
from jax import custom_batching as jax_batching
from wrappers import WRAPPERS, eager

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_rules, errors, grad, jit, jvp, vmap
from pullback.custom_batching import custom_vmap, sequential_vmap

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def tenfold_product():
    """x y, ten times as much where it is batched."""
    f = custom_vmap(lambda x, y: x * y)

    @f.def_vmap
    def rule(axis_size, in_batched, x, y):
        assert isinstance(in_batched, list)
        return 10 * x * y, in_batched[0] or in_batched[1]

    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_vmap_rule(wrap):
    f = wrap(tenfold_product())

    def slope(x):
        return jvp(lambda v: f(v, 2.0), (x,), (1.0,))[1]

    def batched_square(x):
        return vmap(f)(x, x).sum()

    all_close(f(pnp.float32(2), pnp.float32(3)), f32(6))
    all_close(vmap(f)(X, X), 10 * X * X)
    all_close(vmap(f, (0, None))(X, 2.0), 20 * X)
    all_close(vmap(f, (None, 0), out_axes=0)(2.0, X), 20 * X)
    all_close(jit(vmap(f))(X, X), 10 * X * X)
    all_close(vmap(f, 1, 1)(np.stack([X, X], 1), np.stack([X, X], 1)), 10 * np.stack([X * X] * 2, 1))
    # the rule is an ordinary function to a second vmap
    all_close(vmap(vmap(f))(np.stack([X, X]), np.stack([X, X])), 10 * np.stack([X * X] * 2))
    # forward mode keeps the rule, whatever comes first
    all_close(vmap(slope)(X), np.full(3, 20, f32))
    all_close(jvp(vmap(f), (X, X), (X, X))[1], 20 * X * X)
    all_close(grad(batched_square)(X), 20 * X)
    # reverse mode inside of vmap is that of the function
    all_close(vmap(grad(f))(X, X), X)


def test_vmap_rule_beside_derivative_rules():
    f = custom_rules(lambda x: x * x)

    @f.defvmap
    def batched(axis_size, in_batched, x):
        return 10 * x * x, in_batched[0]

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (100 * x * ct,)

    f.defvjp(fwd, bwd)
    all_close(vmap(f)(X), 10 * X * X)
    all_close(grad(f)(3.0), f32(300))
    all_close(vmap(grad(f))(X), 100 * X)
    all_close(grad(lambda x: vmap(f)(x).sum())(X), 100 * X)


def test_vmap_rule_with_pytrees_and_flags_as_in_jax():
    def make(lib, batching):
        f = batching.custom_vmap(lambda t, s: {"sum": t["a"] + t["b"], "s": s})

        @f.def_vmap
        def rule(axis_size, in_batched, t, s):
            assert in_batched[0] == {"a": True, "b": False}, in_batched
            return {"sum": t["a"] + t["b"] + axis_size, "s": s}, {"sum": True, "s": in_batched[1]}

        return lib.vmap(lambda a: f({"a": a, "b": f32(2)}, f32(3)))(X)

    all_close(make(pb, pb.custom_batching), make(jax, jax_batching), 10)


def test_a_vmap_rule_does_not_apply_where_captured_values_are_mapped():
    def f(theta, x):
        g = custom_vmap(lambda x: theta * x)
        g.def_vmap(lambda axis_size, in_batched, x: (10 * theta * x, in_batched[0]))
        return g(x)

    thetas, xs = np.array([1, 2], f32), np.array([3, 4, 5], f32)

    def over_thetas(x):
        return vmap(lambda theta: f(theta, x))(thetas)

    all_close(vmap(lambda x: f(2.0, x))(xs), 20 * xs)
    all_close(vmap(over_thetas)(xs), xs[:, None] * thetas)
    all_close((pb.jacfwd(f, 0)(2.0, 3.0), pb.jacfwd(f, 1)(2.0, 3.0)), (f32(3), f32(20)))


def test_a_batching_rule_does_not_make_a_constant_a_tangent():
    """In a compiled function with a rule by jvp: what is added to the constant is no sum beside a tangent."""

    @custom_vmap
    def constant(x):
        return pnp.full((3,), 0.5)

    @constant.def_vmap
    def batched(axis_size, in_batched, x):
        return pnp.full((axis_size, 3), 0.5), True

    def shifted(x):
        return x, 2 + pnp.tanh(constant(x))

    compiled = jit(with_jvp(shifted, lambda primals, tangents: jvp(shifted, primals, tangents)))
    outer = pb.custom_jvp(lambda h, x: h(x), nondiff_argnums=(0,))
    outer.defjvp(lambda h, primals, tangents: jvp(h, primals, tangents))

    def total_of_constants(x):
        return compiled(x)[1].sum()

    def first(x):
        return compiled(x)[0]

    assert grad(lambda x: outer(total_of_constants, x))(1.0) == 0
    assert grad(lambda x: outer(first, x))(1.0) == 1


# ---- what is refused


def no_flags(axis_size, in_batched, x):
    return x


def second_without_its_batch(axis_size, in_batched, x):
    return (x, x[0]), (True, True)


def one_flag_of_two(axis_size, in_batched, x):
    return (x, x), (True,)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (no_flags, r"vmap rule .*must return a pair \(out, out_batched\)"),
        (second_without_its_batch, r"\[1\] is marked as batched, .* length 3, got f32\[\]"),
        (one_flag_of_two, r"out_batched, a bool for each leaf"),
    ],
)
def test_vmap_rule_of_two_results_that_breaks_its_contract(rule, message):
    f = custom_vmap(lambda x: (x, x))
    f.def_vmap(rule)
    with pytest.raises(errors.RuleError, match=message):
        vmap(f)(X)


def two_results(axis_size, in_batched, x):
    return (x, x), True


def results_of_another_shape(axis_size, in_batched, x):
    return pnp.ones((axis_size, 4)), True


def results_of_another_dtype(axis_size, in_batched, x):
    return x.astype("int32"), True


def array_for_a_flag(axis_size, in_batched, x):
    return x, x


def number_for_a_batch(axis_size, in_batched, x):
    return 1.0, True


@pytest.mark.parametrize("wrap", [eager, jit])
@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (two_results, "structure of the function's"),
        (results_of_another_shape, r"expected f32\[\] for each example, got f32\[2,4\]"),
        (results_of_another_dtype, r"expected f32\[\] for each example, got i32\[2\]"),
        (array_for_a_flag, "a bool for each leaf"),
        (number_for_a_batch, r"length 2, got f32\[\]"),
    ],
)
def test_a_vmap_rule_returns_what_the_function_does(rule, words, wrap):
    f = custom_vmap(lambda x: x * 2.0)
    f.def_vmap(rule)
    with pytest.raises(errors.RuleError, match=words):
        vmap(wrap(f))(pnp.ones(2))


# ---- one example after the other


def test_sequential_vmap():
    shapes = []

    @sequential_vmap
    def f(x, y):
        shapes.append(x.shape)
        return x.sum() * y

    def slope(a):
        return jvp(lambda v: f(v, 2.0), (a,), (a,))[1]

    def total(a):
        return vmap(f, (0, None))(a, 2.0).sum()

    x = np.stack([X, 2 * X])
    all_close(vmap(f, (0, None))(x, 2.0), 2 * x.sum(1), 10)
    assert set(shapes) == {(3,)}
    all_close(vmap(slope)(x), 2 * x.sum(1), 10)
    all_close(grad(total)(x), np.full((2, 3), 2, f32))
