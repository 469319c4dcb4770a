"""Rules must be linear in tangents: what is not is refused, by name, and what vanishes is known to vanish."""

import numpy as np
import pytest
from functions import with_jvp, with_tangent
from wrappers import EAGER_AND_JIT, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import implicit, lax
from pullback._analysis import uniform
from pullback.errors import RuleError, RuleNotDefinedError

X = np.float32([1.0, 2.0, 3.0])


def gradient_by(rule):
    """The gradient of the sum of a function that has this rule for its tangent."""
    f = with_tangent(lambda x: 2 * x, rule)
    return pb.grad(lambda x: f(x).sum())


def identity(t):
    return t


def twice(t):
    return 2 * t


# ---- rules that add something to a tangent


def plus_one(x, t):
    return t + 1.0


def x_minus_t(x, t):
    return x - t


def where_or_one(x, t):
    return pnp.where(x > 1, t, 1.0)


def set_to_five(x, t):
    return t.at[0].set(5.0)


def add_five(x, t):
    return t.at[pnp.array([0])].add(5.0)


def scattered_into_ones(x, t):
    return pnp.ones(3).at[1].set(t[0])


def concatenated_with_ones(x, t):
    return pnp.concatenate([t[:1], pnp.ones(2)])


def padded_with_threes(x, t):
    return pnp.pad(t[:1], (0, 2), constant_values=3.0)


def plus_one_in_jit(x, t):
    return pb.jit(lambda t: t + 1.0)(t)


def plus_one_in_scan(x, t):
    return lax.scan(lambda c, _: (c + 1.0, None), t, None, 2)[0]


def added_to_a_carry_of_ones(x, t):
    return lax.scan(lambda c, _: (c + t, None), pnp.ones(3), None, 2)[0]


def plus_one_in_cond(x, t):
    return lax.cond(x[0] > 0, lambda t: t + 1.0, identity, t)


def a_branch_of_ones(x, t):
    return lax.cond(x[0] > 0, identity, pnp.ones_like, t)


def a_branch_of_ones_in_a_scan(x, t):
    def step(c, _):
        return a_branch_of_ones(x, c), None

    return lax.scan(step, t, None, 2)[0]


def a_carry_that_leaves_zero(x, t):
    return lax.scan(lambda c, d: (c + 1.0, d + c), 0.0, t)[1]


def carries_that_change_places(x, t):
    def body(i, c):
        return c[1], c[0] + 1, c[2] + c[0]

    return lax.fori_loop(0, 3, body, (pnp.zeros(3), pnp.zeros(3), t))[2]


def constant(x, t):
    return pnp.ones_like(t)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize(
    "rule",
    [
        plus_one,
        x_minus_t,
        where_or_one,
        set_to_five,
        add_five,
        scattered_into_ones,
        concatenated_with_ones,
        padded_with_threes,
        plus_one_in_jit,
        plus_one_in_scan,
        added_to_a_carry_of_ones,
        plus_one_in_cond,
        a_branch_of_ones,
        a_branch_of_ones_in_a_scan,
        a_carry_that_leaves_zero,
        carries_that_change_places,
        constant,
    ],
)
def test_what_adds_to_a_tangent_is_named(rule, wrap):
    with pytest.raises(RuleError, match=r"(?s)jvp rule .* of custom_jvp function .*tangent output that"):
        wrap(gradient_by(rule))(X)


# ---- linear rules, though something stands beside a tangent


def where_or_zero(x, t):
    return pnp.where(x > 1, t, 0.0)


def set_to_zero(x, t):
    return t.at[0].set(0.0)


def scattered_into_zeros(x, t):
    return pnp.zeros(3).at[1].set(t[0])


def concatenated_with_zeros(x, t):
    return pnp.concatenate([t[:1], pnp.zeros(2)])


def padded_with_zeros(x, t):
    return pnp.pad(t[:1], (0, 2))


def a_sum(x, t):
    return t + 0.0 + x * t


def added_to_a_carry_of_zeros(x, t):
    return lax.scan(lambda c, _: (c + t, None), pnp.zeros(3), None, 2)[0]


def where_or_nan(x, t):
    return pnp.where(x > 0, t / x, pnp.nan)


def a_branch_of_zeros(x, t):
    return lax.cond(x[0] > 0, identity, pnp.zeros_like, t)


def a_sum_that_is_not_used(x, t):
    _ = t + 1.0
    return t


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (where_or_zero, [0, 1, 1]),
        (set_to_zero, [0, 1, 1]),
        (scattered_into_zeros, [1, 0, 0]),
        (concatenated_with_zeros, [1, 0, 0]),
        (padded_with_zeros, [1, 0, 0]),
        (a_sum, [2, 3, 4]),
        (added_to_a_carry_of_zeros, [2, 2, 2]),
        (where_or_nan, [1, 1 / 2, np.float32(1) / 3]),
        (a_branch_of_zeros, [1, 1, 1]),
        (a_sum_that_is_not_used, [1, 1, 1]),
    ],
)
def test_zeros_may_be_put_beside_tangents(rule, expected, wrap):
    np.testing.assert_array_equal(wrap(gradient_by(rule))(X), expected)


# ---- what is made of primal values, and zero whatever these are


def full_of_zeros(x):
    return pnp.full_like(x, 0.0)


def zero_times(x):
    return 0 * x


def stopped(x):
    return lax.stop_gradient(pnp.zeros_like(x))


def chosen(x):
    return lax.cond(x[0] > 0, pnp.zeros_like, lambda x: 0.0 * x, x)


def a_loop(x):
    return lax.scan(lambda c, y: (0.5 * c, c), 0.0, x)[1]


def maximum(x):
    return pnp.maximum(pnp.zeros_like(x), 0)


def largest(x):
    return pnp.max(pnp.zeros_like(x))


def absolute(x):
    return abs(pnp.zeros_like(x))


def square(x):
    return pnp.zeros_like(x) ** 2


def in_order(x):
    return pnp.sort(pnp.zeros_like(x))


def sine(x):
    return pnp.sin(pnp.zeros_like(x))


def ones_minus_one(x):
    return pnp.ones_like(x) - 1


def reshaped(x):
    return pnp.zeros((1, 3)).reshape(3).astype(x.dtype)


def jit_of_zeros(x):
    return pb.jit(pnp.zeros_like)(x)


def jit_of_zero_times(x):
    return pb.jit(zero_times)(x)


def checkpointed(x):
    return pb.checkpoint(pnp.zeros_like)(x)


def with_a_rule(x):
    return pb.custom_jvp(pnp.zeros_like)(x)


@pytest.mark.parametrize(
    "zeros",
    [
        pnp.zeros_like,
        full_of_zeros,
        zero_times,
        stopped,
        jit_of_zeros,
        jit_of_zero_times,
        checkpointed,
        with_a_rule,
        chosen,
        a_loop,
        maximum,
        largest,
        absolute,
        square,
        in_order,
        sine,
        ones_minus_one,
        reshaped,
    ],
)
def test_zeros_are_known_where_they_are_traced(zeros):
    g = gradient_by(lambda x, t: 2 * t + zeros(x))
    np.testing.assert_array_equal(pb.jit(g)(X), [2, 2, 2])
    np.testing.assert_array_equal(pb.vmap(g)(X[None]), [[2, 2, 2]])


def test_the_equations_of_a_trace_are_looked_at_once(monkeypatch):
    looked_at = []
    propagate = uniform._propagate

    def counted(eqn, values):
        looked_at.append(eqn)
        return propagate(eqn, values)

    monkeypatch.setattr(uniform, "_propagate", counted)
    f = with_tangent(pnp.sin, lambda x, t: pnp.where(x > 0, t * pnp.cos(x), 0 * x))

    def chain(x):
        for _ in range(50):
            x = f(x)
        return x

    jaxpr = pb.make_jaxpr(pb.grad(chain))(1.0)
    assert len(jaxpr.eqns) < len(looked_at) < 10 * len(jaxpr.eqns)


# ---- rules that choose by the tangent


def positive_part(x, t):
    return pnp.where(t > 0, t, 0.0)


def a_branch(x, t):
    return lax.cond(t[0] > 0, identity, twice, t)


def at_its_largest(x, t):
    return x * t[pnp.argmax(t)]


def rounded(x, t):
    return t.astype(int).astype(float)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize("rule", [positive_part, a_branch, at_its_largest, rounded])
def test_choices_by_tangents_are_named(rule, wrap):
    with pytest.raises((TypeError, RuleNotDefinedError), match=r"(?s)must be linear"):
        wrap(gradient_by(rule))(X)


def successor(x):
    return x + 1.0


def one(x):
    return 1.0


def one_beside(x):
    return pnp.stack([x, pnp.float32(1.0)])[1]


def whole_part(x):
    return x.astype(int).astype(float)


@pytest.mark.parametrize("fun", [successor, one, one_beside, whole_part])
def test_linear_transpose_refuses_what_is_not_linear(fun):
    with pytest.raises(TypeError, match="linear"):
        pb.linear_transpose(fun, 1.0)(pnp.ones(()))


def test_linear_transpose_of_what_vanishes():
    assert [float(c) for c in pb.linear_transpose(lambda x: (0 * x, pnp.zeros(())), 1.0)((1.0, 1.0))] == [0.0]


# --- what depends on arguments that stand still has no tangent, also where it is traced ---


def times_cosine(x, t):
    return pnp.cos(x) * t


def divided(x, t):
    return t / x


def times_x_where(x, t):
    return pnp.where(x > 0, t * x, 2 * t)


def times_cosine_in_jit(x, t):
    return pb.jit(lambda t: pnp.cos(x) * t)(t)


def times_x_in_scan(x, t):
    return lax.scan(lambda c, _: (c * x, None), t, None, 3)[0]


def times_x_in_cond(x, t):
    return lax.cond(x > 0, lambda t: t * x, twice, t)


def sine_by_jvp(x, t):
    return pb.jvp(pnp.sin, (x,), (t,))[1]


def sine_by_linearize(x, t):
    return pb.linearize(pnp.sin, x)[1](t)


def sum_of_products(x, t):
    return (t * pnp.ones(3) * x).sum()


@pytest.mark.parametrize(
    "rule",
    [
        times_cosine,
        divided,
        times_x_where,
        times_cosine_in_jit,
        times_x_in_scan,
        times_x_in_cond,
        sine_by_jvp,
        sine_by_linearize,
        sum_of_products,
    ],
)
def test_a_result_of_what_stands_still(rule):
    f = pb.custom_jvp(lambda x, s: (pnp.sin(x), pnp.sin(s)))
    covers_one = pb.custom_rules(lambda x, s: x * s)

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(*primals), tuple(map(rule, primals, tangents))

    def covers_one_jvp(primals, tangents):
        return covers_one(*primals), tangents[0] * primals[1]

    covers_one.defjvp(covers_one_jvp, argnums=0)

    def loss(x, s):
        return covers_one(*f(x, s))

    expected = float(rule(pnp.float32(0.3), pnp.float32(1.0))) * np.sin(0.4)
    for g in (pb.grad(loss), jit_of_grad(loss), grad_of_jit(loss), pb.grad(pb.checkpoint(loss)), pb.jacfwd(loss)):
        np.testing.assert_allclose(g(0.3, 0.4), expected, rtol=1e-5)


# functions of one number, whose derivatives are by forward mode


def of_a_root(a):
    def equation(y):
        return y + 0.25 * pnp.sin(y) - a

    def solve(f, y):
        return lax.fori_loop(0, 30, lambda i, z: z - f(z), y)

    def tangent_solve(g, y):
        return y / g(pnp.ones_like(y))

    return lax.custom_root(equation, pnp.zeros_like(a), solve, tangent_solve)


def of_eigenvectors(a):
    return pnp.linalg.eigh(pnp.array([[1.0, 0.3], [0.3, 2.0]]) * a)[1].sum()


def threefold(v):
    return 3 * v


def of_a_linear_solve_by_hand(a):
    return lax.custom_linear_solve(threefold, a, lambda f, b: b / 3, symmetric=True)


def of_a_fixed_point(a):
    return implicit.fixed_point(lambda y, a: 0.25 * pnp.sin(y) + a, 0 * a, a)


def of_a_linear_solve(a):
    return implicit.linear_solve(threefold, a)


def of_an_ode(a):
    return implicit.odeint(lambda y, t, a: -y * a, 1.0, pnp.array([0.0, 1.0]), a)[-1]


def of_a_while_loop(a, **options):
    def body(s):
        return s[0] + 1, s[1] * pnp.cos(s[1])

    return lax.while_loop(lambda s: s[0] < 3, body, (0, a), **options)[1]


def of_a_bounded_while_loop(a):
    return of_a_while_loop(a, max_steps=5)


def of_a_fori_loop(a):
    return lax.fori_loop(0, (a * 6).astype(int), lambda i, s: pnp.sin(s), a)


@pytest.mark.parametrize(
    "fun",
    [
        of_a_root,
        of_a_linear_solve_by_hand,
        of_a_fixed_point,
        of_a_linear_solve,
        of_an_ode,
        of_a_while_loop,
        of_a_bounded_while_loop,
        of_a_fori_loop,
        of_eigenvectors,
    ],
)
def test_a_rule_by_forward_mode_of_what_stands_still(fun):
    def f(x, s):
        return pnp.sin(x), fun(s)

    g = with_jvp(f, lambda primals, tangents: pb.jvp(f, primals, tangents))

    def loss(x):
        y, z = g(x, pnp.float32(0.5))
        return y * z

    expected = np.cos(0.3) * float(fun(pnp.float32(0.5)))
    for gradient in (pb.grad(loss), jit_of_grad(loss), pb.checkpoint(pb.grad(loss)), grad_of_jit(loss)):
        np.testing.assert_allclose(gradient(0.3), expected, rtol=1e-5)
    batched = pb.jit(pb.vmap(pb.grad(loss)))(np.float32([0.3, 0.3]))
    np.testing.assert_allclose(batched, [expected] * 2, rtol=1e-5)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_zeros_of_integers_may_be_handed_on(wrap):
    def both(x):
        return 2 * x, x > 0

    def product(x, i):
        return x * i

    f = pb.custom_vjp(both)
    f.defvjp(lambda x: pb.vjp(both, x), lambda pullback, ct: pullback(ct))
    g = with_jvp(product, lambda p, t: pb.jvp(product, p, t))
    assert float(wrap(pb.grad(lambda x: f(x)[0]))(1.0)) == 2
    assert float(wrap(pb.grad(g))(1.0, 3)) == 3
    with pytest.raises(TypeError, match="float0"):
        pb.jvp(g, (1.0, 3), (1.0, 1.0))


# --- forward mode of loops in loops, transposed ---

XS = pnp.arange(1.0, 3.0)


def outer_scan(body, s):
    return lax.scan(lambda t, w: (body(t, w), None), s, XS)[0]


def outer_while(body, s):
    def step(c):
        return body(c[0], XS[c[1]]), c[1] + 1

    return lax.while_loop(lambda c: c[1] < 2, step, (s, 0), max_steps=3)[0]


def inner_scan(u, w):
    return lax.scan(lambda u, v: (pnp.sin(u * w), None), u, XS)[0]


def inner_map(u, w):
    return lax.map(lambda v: pnp.sin(u * w * v), XS).sum()


def inner_while(u, w):
    def step(c):
        return pnp.sin(c[0] * w), c[1] + 1

    return lax.while_loop(lambda c: c[1] < 2, step, (u, 0), max_steps=3)[0]


def inner_cond(u, w):
    return lax.cond(w > 1.5, lambda u: pnp.sin(u * w), lambda u: u * w * u, u)


@pytest.mark.parametrize("outer", [outer_scan, outer_while])
@pytest.mark.parametrize("inner", [inner_scan, inner_map, inner_while, inner_cond])
def test_a_rule_by_forward_mode_of_nested_loops(inner, outer):
    def f(s):
        return outer(inner, s)

    def slope(t):
        return pb.jvp(f, (0.4,), (t,))[1]

    g = with_tangent(f, lambda x, t: pb.jvp(f, (x,), (t,))[1])
    expected = pb.grad(f)(0.4)
    np.testing.assert_allclose(pb.grad(g)(0.4), expected, rtol=1e-5)
    (transposed,) = pb.linear_transpose(slope, 1.0)(1.0)
    np.testing.assert_allclose(transposed, expected, rtol=1e-5)


# loops that take no step, and loops that forget the tangent they began with


def plus_what_no_step_has_cleared(x, t):
    def clear(carry):
        count, z = carry
        return count + 1, pnp.zeros_like(z)

    _, z = lax.while_loop(lambda carry: carry[0] < 0, clear, (x, 3 * x))
    return 2 * t + z


def ones_by_scan(x, t):
    return lax.scan(lambda c, _: (pnp.ones_like(c), None), t, None, length=3)[0]


def ones_by_while(x, t):
    def step(carry):
        count, z = carry
        return count + 1, pnp.ones_like(z)

    return lax.while_loop(lambda carry: carry[0] < 3, step, (x, t), max_steps=9)[1]


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize("rule", [plus_what_no_step_has_cleared, ones_by_scan, ones_by_while])
def test_what_loops_add_to_a_tangent_or_put_in_its_place_is_refused(rule, wrap):
    f = with_tangent(lambda x: 2 * x, rule)
    with pytest.raises(RuleError, match="not linear in the tangent inputs"):
        wrap(pb.grad(f))(1.0)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_a_loop_without_steps_returns_the_tangent(wrap):
    def rule(x, t):
        return 2 * lax.scan(lambda c, _: (pnp.ones_like(c), None), t, None, length=0)[0]

    f = with_tangent(lambda x: 2 * x, rule)
    assert float(wrap(pb.grad(f))(1.0)) == 2
