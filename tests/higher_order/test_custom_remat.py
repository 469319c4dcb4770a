"""Rules for `checkpoint`: `custom_remat`, `defremat` and `optimize_remat`. Which rules run, how often, what is saved.

The rules are wrong by a factor, so that it shows which of them gave a derivative.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT, eager, in_cond, in_scan, jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import checkpoint_name, saved_residuals
from pullback.core import check_jaxpr

P = pb.checkpoint_policies
X = np.array([0.3, -0.7, 1.1], "float32")
Y = np.float32(2.0)


class Rules:
    """x³y by `defremat`, with `factor` times its gradient; `ran` counts the runs of rules."""

    def __init__(self, factor=1.0, by_vjp=None):
        self.factor = factor
        self.ran = Counter()
        self.f = pb.custom_vjp(lambda x, y: x**3 * y)
        self.f.defremat(self.fwd, self.rem, self.bwd)
        if by_vjp is not None:
            self.f.defvjp(lambda x, y: (self.f(x, y), (x, y)), lambda res, ct: self.gradient(by_vjp, *res, ct))

    def note(self, rule):
        pb.debug.callback(lambda: self.ran.update([rule]))

    def gradient(self, factor, x, y, ct):
        return factor * ct * 3 * x**2 * y, factor * (ct * x**3).sum()

    def fwd(self, x, y):
        self.note("fwd")
        return self.f(x, y), x * x

    def rem(self, square, x, y):
        self.note("rem")
        return self.f(x, y), (x, y, square)

    def bwd(self, residuals, ct):
        self.note("bwd")
        x, y, square = residuals
        return self.factor * ct * 3 * square * y, self.factor * (ct * square * x).sum()

    def counts(self, run):
        """The runs of rules in `run()`, and its result."""
        self.ran.clear()
        result = pb.block_until_ready(run())
        return dict(self.ran), result


ONCE = {"fwd": 1, "rem": 1, "bwd": 1}


def squared(f):
    def loss(x, y):
        return (f(x, y) ** 2).sum()

    return loss


def gradient_of_square(x, y):
    """Of (x³y)²."""
    return 6 * x**5 * y**2, (2 * x**6 * y).sum()


def twice_checkpointed(f):
    return pb.checkpoint(pb.checkpoint(f))


def jit_inside(f):
    return pb.checkpoint(pb.jit(f))


def in_a_checkpointed_scan(f):
    return pb.checkpoint(in_scan(f))


def in_a_checkpointed_cond(f):
    return pb.checkpoint(in_cond(f))


def as_step_of_a_scan(f):
    return in_scan(pb.checkpoint(f))


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize(
    "wrap",
    [
        eager,
        pb.checkpoint,
        twice_checkpointed,
        jit_inside,
        in_a_checkpointed_scan,
        in_a_checkpointed_cond,
        as_step_of_a_scan,
    ],
)
def test_each_rule_runs_once_and_the_gradient_is_that_without(wrap, compiled):
    rules = Rules()
    grad = compiled(pb.grad(wrap(squared(rules.f)), (0, 1)))
    counts, got = rules.counts(lambda: grad(X, Y))
    assert counts == ONCE
    for g, want in zip(got, gradient_of_square(X.astype(float), float(Y)), strict=True):
        np.testing.assert_allclose(g, want, rtol=1e-5)


def test_nothing_but_the_function_runs_without_a_derivative():
    rules = Rules()
    fun = pb.checkpoint(squared(rules.f))
    for run in (fun, pb.jit(fun)):
        counts, value = rules.counts(lambda run=run: run(X, Y))
        assert counts == {}
        np.testing.assert_allclose(value, ((X.astype(float) ** 3 * 2) ** 2).sum(), rtol=1e-5)


def test_the_first_run_saves_the_residuals_of_fwd_and_rem_waits_for_the_backward_pass():
    rules = Rules()
    fun = pb.checkpoint(squared(rules.f))
    counts, (_, pull) = rules.counts(lambda: pb.vjp(fun, X, Y))
    assert counts == {"fwd": 1}
    counts, _ = rules.counts(lambda: pull(np.float32(1.0)))
    assert counts == {"rem": 1, "bwd": 1}
    kept = saved_residuals(fun, X, Y)
    assert [r.aval.str_short() for r in kept] == ["f32[3]", "f32[]", "f32[3]"]  # x, y and x²
    assert len(saved_residuals(pb.checkpoint(fun), X, Y)) == 3


def test_residuals_in_a_scan_are_stacked():
    rules = Rules()

    def loop(x):
        return lax.scan(lambda c, _: (rules.f(c, Y), c.sum()), x, None, length=5)

    def loss(x):
        carry, sums = loop(x)
        return carry.sum() + sums.sum()

    kept = saved_residuals(pb.checkpoint(loss), X)
    assert [r.aval.str_short() for r in kept] == ["f32[5,3]"]  # the squares: bwd reads nothing else for x
    counts, got = rules.counts(lambda: pb.grad(pb.checkpoint(loss))(X))
    assert counts == {"fwd": 5, "rem": 5, "bwd": 5}

    def plain(x):
        carry, sums = lax.scan(lambda c, _: (c**3 * Y, c.sum()), x, None, length=5)
        return carry.sum() + sums.sum()

    np.testing.assert_allclose(got, pb.grad(plain)(X), rtol=1e-5)


def fori(f):
    def step(i, c):
        return f(c)

    return lambda x: lax.fori_loop(0, 3, step, x) ** 2


def mapped(f):
    return lambda x: (lax.map(f, pnp.stack([x, 2 * x, x + 1])) ** 2).sum()


def switched(f):
    return lambda x: lax.switch(1, [pnp.exp, f, pnp.cos], x) ** 2


def cond_in_scan(f):
    def step(c, i):
        return lax.cond(i > 0, f, pnp.exp, c), c

    return lambda x: lax.scan(step, x, pnp.arange(4))[0] ** 2


def scan_in_cond(f):
    def steps(x):
        return lax.scan(lambda c, _: (f(c), c), x, None, length=3)[0]

    return lambda x: lax.cond(x > 0, steps, pnp.exp, x) ** 2


def batched_scan(f):
    def steps(x):
        return lax.scan(lambda c, _: (f(c), c), x, None, length=3)[0]

    return lambda x: (pb.vmap(steps)(pnp.stack([x, 2 * x])) ** 2).sum()


def batched_cond(f):
    def choice(x):
        return lax.cond(x > 1, f, pnp.exp, x)

    return lambda x: (pb.vmap(choice)(pnp.stack([x, 2 * x, 4 * x])) ** 2).sum()


def compiled_step(f):
    step = pb.jit(lambda c, _: (f(c), c))
    return lambda x: lax.scan(step, x, None, length=3)[0] ** 2


def bounded_while(f):
    def unfinished(carry):
        return carry[1] < 3

    def step(carry):
        return f(carry[0]), carry[1] + 1

    return lambda x: lax.while_loop(unfinished, step, (x, 0), max_steps=5)[0]


def complex_product(f):
    return lambda x: abs(f(x + 0.3j) * f(x * 1j)) ** 2


def used_twice(f):
    def fun(x):
        once = f(x)
        return f(once) * once + f(x)

    return fun


class Sine:
    """The sine by rules that count their runs."""

    def __init__(self):
        self.ran = Counter()
        self.f = pb.custom_vjp(lambda x: pnp.sin(x))
        self.f.defremat(self.fwd, self.rem, self.bwd)

    def note(self, rule):
        pb.debug.callback(lambda: self.ran.update([rule]))

    def fwd(self, x):
        self.note("fwd")
        return self.f(x), None

    def rem(self, _, x):
        self.note("rem")
        return self.f(x), pnp.cos(x)

    def bwd(self, cosine, ct):
        self.note("bwd")
        return (ct * cosine,)


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize(
    ("make", "runs"),
    [
        (fori, 3),
        (mapped, 3),
        (switched, 1),
        (cond_in_scan, 3),
        (scan_in_cond, 3),
        (batched_scan, 3),
        (batched_cond, 1),
        (compiled_step, 3),
        (bounded_while, 3),
        (complex_product, 2),
        (used_twice, 3),
    ],
)
def test_loops_branches_and_batches(make, runs, compiled):
    """Each rule runs as often as the function is called, in each pass; the gradient is that of the sine."""
    sine = Sine()
    loss = make(sine.f)
    fun = loss if make is bounded_while else pb.checkpoint(loss)  # such a loop checkpoints its steps itself
    got = pb.block_until_ready(compiled(pb.grad(fun))(np.float32(0.6)))
    np.testing.assert_allclose(got, pb.grad(make(pnp.sin))(np.float32(0.6)), rtol=1e-5)
    assert sine.ran == {"fwd": runs, "rem": runs, "bwd": runs}


# --- which rules give the derivative ---


def first_gradient(rules, wrap):
    return float(pb.grad(wrap(rules.f))(2.0, 1.0))


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
def test_without_checkpoint_the_vjp_rule_counts(compiled):
    rules = Rules(factor=100.0, by_vjp=10.0)

    def by(wrap):
        return float(compiled(pb.grad(wrap(rules.f)))(2.0, 1.0))

    def everything(f):
        return pb.checkpoint(f, policy=P.everything_saveable)

    def nothing(f):
        return pb.checkpoint(f, policy=P.nothing_saveable)

    def other_names(f):
        return pb.checkpoint(f, policy=P.save_anything_except_these_names("a"))

    assert [by(wrap) for wrap in (eager, everything, other_names)] == [120.0] * 3
    assert [by(wrap) for wrap in (pb.checkpoint, nothing, twice_checkpointed)] == [1200.0] * 3


def test_the_vjp_rule_may_be_given_first_and_later():
    f = pb.custom_vjp(lambda x: x**2)

    def by(factor):
        return lambda x, ct: (factor * ct * x,)

    f.defvjp(lambda x: (f(x), x), by(10.0))
    f.defremat(lambda x: (f(x), None), lambda _, x: (f(x), x), by(100.0))
    assert (pb.grad(f)(1.0), pb.grad(pb.checkpoint(f))(1.0)) == (10.0, 100.0)
    f.defvjp(lambda x: (f(x), x), by(20.0), optimize_remat=True)
    assert (pb.grad(f)(1.0), pb.grad(pb.checkpoint(f))(1.0)) == (20.0, 20.0)
    f.defvjp(lambda x: (f(x), x), by(30.0))
    assert (pb.grad(f)(1.0), pb.grad(pb.checkpoint(f))(1.0)) == (30.0, 30.0)


def test_a_jvp_rule_serves_forward_mode_alone():
    f = pb.custom_rules(lambda x: x**2)
    f.defjvp(lambda primals, tangents: (f(*primals), 10 * tangents[0]))
    f.defremat(lambda x: (f(x), None), lambda _, x: (f(x), x), lambda x, ct: (100 * ct * x,))
    for wrap in (eager, pb.checkpoint):
        assert pb.jvp(wrap(f), (1.0,), (1.0,))[1] == 10.0
        assert pb.grad(wrap(f))(1.0) == 100.0


def test_rem_replaces_the_value_that_is_recomputed():
    f = pb.custom_vjp(lambda x: x * x)
    f.defremat(lambda x: (f(x), None), lambda _, x: (f(x) + 1.0, x), lambda x, ct: (2 * ct * x,))
    value, grad = pb.value_and_grad(pb.checkpoint(lambda x: f(x) ** 2))(3.0)
    assert (value, grad) == (81.0, 2 * (9.0 + 1.0) * 6.0)


# --- the policy ---


def observing(saving=lambda policy, x: None):
    """x² by `custom_remat`; the policies that f_fwd was called with, and the runs of it on the host."""
    seen, runs = [], []

    def ran(x):
        runs.append(1)
        return x

    def f_fwd(policy, x):
        seen.append(policy)
        marked = pb.pure_callback(ran, pb.ShapeDtypeStruct((), "float32"), x)
        return f(marked), saving(policy, x)

    f = pb.custom_remat(lambda x: x * x, f_fwd, lambda res, x: (f(x), x), lambda x, ct: (2 * ct * x,))
    return f, seen, runs


@pytest.mark.parametrize("policy", [None, P.nothing_saveable, P.dots_saveable, P.save_only_these_names("a")])
def test_f_fwd_gets_the_policy(policy):
    f, seen, _ = observing()
    assert pb.grad(pb.checkpoint(f, policy=policy))(3.0) == 6.0
    assert seen == [policy]


def test_without_checkpoint_the_policy_is_none():
    f, seen, _ = observing()
    assert pb.grad(f)(3.0) == 6.0
    assert pb.grad(pb.checkpoint(f, policy=P.everything_saveable))(3.0) == 6.0
    assert seen == [None, None]


def test_what_is_saved_may_depend_on_the_policy():
    def saving(policy, x):
        return pnp.stack([x] * 10) if policy is P.dots_saveable else None

    f, _, _ = observing(saving)
    sizes = [
        [r.aval.shape for r in saved_residuals(pb.checkpoint(lambda x: f(x) * 1.0, policy=p), np.float32(1.0))]
        for p in (None, P.dots_saveable)
    ]
    assert sizes == [[()], [()]]  # rem does not read them
    g = pb.custom_remat(
        lambda x: x * x,
        lambda policy, x: (g(x), saving(policy, x)),
        lambda res, x: (g(x), x if res is None else res.sum() / 10),
        lambda x, ct: (2 * ct * x,),
    )
    for policy, shapes in ((None, [()]), (P.dots_saveable, [(10,)])):
        wrapped = pb.checkpoint(g, policy=policy)
        assert [r.aval.shape for r in saved_residuals(wrapped, np.float32(3.0))] == shapes
        np.testing.assert_allclose(pb.grad(wrapped)(3.0), 6.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("outer", "runs_of_fwd"),
    [(None, 1), (P.dots_saveable, 2), (P.everything_saveable, 1)],
    ids=["same", "other", "all"],
)
def test_a_checkpoint_around_another_shares_its_residuals_if_the_policy_is_the_same(outer, runs_of_fwd):
    f, seen, runs = observing(lambda policy, x: pnp.sin(x))

    def square(x):
        return f(x) ** 2

    grad = pb.grad(pb.checkpoint(lambda x: pnp.sin(pb.checkpoint(square)(x)), policy=outer))
    np.testing.assert_allclose(grad(1.5), 4 * 1.5**3 * np.cos(1.5**4), rtol=1e-4)
    assert seen == [None]
    # the sine of the outer checkpoint recomputes the result of f, by rem alone if it has the residuals
    assert len(runs) == runs_of_fwd


def test_a_policy_sees_the_operations_of_rules_that_are_differentiated():
    """In a checkpoint around a gradient the rules are operations like others."""
    f = pb.custom_vjp(lambda x: pnp.sin(x))

    def fwd(x):
        return checkpoint_name(f(x), "seen"), None

    f.defremat(fwd, lambda _, x: (checkpoint_name(f(x), "seen"), x), lambda x, ct: (ct * pnp.cos(x),))

    def product(x):
        """sin(x)² times its derivative."""
        value, slope = pb.value_and_grad(pb.checkpoint(lambda x: f(x) ** 2))(x)
        return value * slope

    def kept(policy):
        return [str(r) for r in saved_residuals(pb.checkpoint(product, policy=policy), np.float32(1.0))]

    named = P.save_only_these_names("seen")
    assert kept(None) == ["f32[] from the argument 'x'"]
    assert any("named 'seen'" in line for line in kept(named))
    sine, cosine = np.sin(0.4), np.cos(0.4)
    for policy in (None, named, P.everything_saveable):
        got = pb.grad(pb.checkpoint(product, policy=policy))(0.4)
        np.testing.assert_allclose(got, 6 * sine**2 * cosine**2 - 2 * sine**4, rtol=1e-5)


# --- modes and orders ---


def cube(jvp="transpose", factor=1.0):
    def f_fwd(policy, x):
        return f(x), None

    def f_rem(_, x):
        return f(x), x

    def f_bwd(x, ct):
        return (factor * 3 * x * x * ct,)

    f = pb.custom_remat(lambda x: x * x * x, f_fwd, f_rem, f_bwd, jvp=jvp)
    return f


@pytest.mark.parametrize("wrap", [eager, pb.checkpoint, twice_checkpointed, jit])
def test_every_mode_and_order(wrap):
    f = wrap(cube())
    loss = wrap(lambda x: f(x) ** 2)
    assert pb.jvp(loss, (2.0,), (1.0,)) == (64.0, 192.0)
    assert pb.linearize(loss, 2.0)[1](1.0) == 192.0
    np.testing.assert_allclose(pb.grad(pb.grad(loss))(2.0), 480.0, rtol=1e-6)
    np.testing.assert_allclose(pb.hessian(loss)(2.0), 480.0, rtol=1e-6)
    np.testing.assert_allclose(pb.jacfwd(pb.jacrev(pb.grad(loss)))(2.0), 960.0, rtol=1e-6)
    np.testing.assert_allclose(pb.vmap(pb.grad(loss))(pnp.array([1.0, 2.0])), [6.0, 192.0], rtol=1e-6)


@pytest.mark.parametrize("wrap", [eager, pb.checkpoint])
def test_second_derivatives_are_those_of_the_rules(wrap):
    """Of f², with 10 f' for f': the derivative of 2f·10f' is 2·(10f')² + 2f·10f''."""
    loss = wrap(lambda x: f(x) ** 2)
    f = cube(factor=10.0)
    x, first, second = 2.0, 10 * 12.0, 10 * 12.0
    np.testing.assert_allclose(pb.grad(pb.grad(loss))(x), 2 * first * first + 2 * 8 * second, rtol=1e-6)


@pytest.mark.parametrize(("jvp", "factor"), [("transpose", 10.0), ("fwd", 1.0), ("primal", 1.0)])
def test_the_source_of_forward_mode(jvp, factor):
    f = cube(jvp, 10.0)
    for wrap in (eager, pb.checkpoint):
        assert pb.jvp(wrap(f), (2.0,), (1.0,)) == (8.0, 12.0 * factor)


def test_forward_mode_may_be_refused():
    for f in (cube(None), Rules().f):
        args = (1.0,) if f.__name__ == "<lambda>" and isinstance(f, pb.custom_remat) else (1.0, 1.0)
        for wrap in (eager, pb.checkpoint):
            with pytest.raises(TypeError, match="can't apply forward-mode"):
                pb.jvp(wrap(f), args, args)


# --- arguments of every kind ---


@pytest.mark.parametrize("wrap", [eager, pb.checkpoint, twice_checkpointed, in_a_checkpointed_scan])
def test_captured_values_are_differentiated(wrap):
    def through(scale, x):
        def fun(x):
            return x * x * scale

        f = pb.custom_remat(
            fun,
            lambda policy, x: (f(x), pnp.sin(x) * scale),
            lambda res, x: (f(x), (x * scale, res)),
            lambda res, ct: (20 * res[0] * ct,),
        )
        return wrap(lambda x: f(x) ** 2)(x)

    # by x the rules count, ten times 2x·scale; by scale the function
    np.testing.assert_allclose(pb.grad(through, 1)(3.0, 2.0), 2 * 12.0 * 120.0, rtol=1e-6)
    np.testing.assert_allclose(pb.grad(through)(3.0, 2.0), 2 * 12.0 * 4.0, rtol=1e-6)


def test_pytrees_integers_and_cotangents_that_are_none():
    def fun(tree, n, unused):
        return {"out": tree["a"] * n, "count": n + 1}

    f = pb.custom_remat(
        fun,
        lambda policy, tree, n, unused: (f(tree, n, unused), {"n": n, "mark": "text"}),
        lambda res, tree, n, unused: (f(tree, n, unused), (res["n"] if res["mark"] == "text" else None)),
        lambda n, ct: ({"a": ct["out"] * n, "b": None}, None, None),
    )

    def loss(tree, unused):
        out = f(tree, np.int32(3), unused)
        return (out["out"] ** 2).sum() + out["count"] * 1.0

    tree = {"a": X, "b": np.ones(2, "float32")}
    for wrap in (eager, pb.checkpoint):
        for compiled in EAGER_AND_JIT:
            got, none = compiled(pb.grad(wrap(loss), (0, 1)))(tree, 1.0)
            np.testing.assert_allclose(got["a"], 18 * X, rtol=1e-6)
            np.testing.assert_array_equal(got["b"], [0.0, 0.0])
            assert none == 0.0


def test_symbolic_zeros():
    seen = []
    f = pb.custom_vjp(lambda x, y: (x * y, x + y))

    def fwd(x, y):
        seen.append((x.perturbed, y.perturbed))
        return f(x.value, y.value), x.value

    def rem(res, x, y):
        return f(x.value, y.value), (res, y.value)

    def bwd(res, cts):
        seen.append([type(ct) is pb.custom_derivatives.SymbolicZero for ct in cts])
        return cts[0] * res[1], None

    f.defremat(fwd, rem, bwd, symbolic_zeros=True)
    assert pb.grad(pb.checkpoint(lambda x: f(x, 3.0)[0]))(2.0) == 3.0
    assert seen[0] == (True, False)
    assert [False, True] in seen


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_arrays_without_entries(shape):
    rules = Rules()
    x = np.ones(shape, "float32")
    for compiled in EAGER_AND_JIT:
        got = compiled(pb.grad(pb.checkpoint(squared(rules.f)), (0, 1)))(x, Y)
        assert got[0].shape == shape
        assert got[1] == 0.0


def test_static_arguments():
    def power(x, n, *, scale):
        return scale * x**n

    f = pb.custom_remat(
        power,
        lambda policy, x, n, *, scale: (f(x, n, scale=scale), None),
        lambda _, x, n, *, scale: (f(x, n, scale=scale), scale * n * x ** (n - 1)),
        lambda slope, ct: (ct * slope,),
        static_argnums=1,
        static_argnames="scale",
    )
    assert pb.grad(pb.checkpoint(lambda x: f(x, 3, scale=2.0)))(2.0) == 24.0
    assert pb.grad(lambda x: f(x, 3, scale=2.0))(2.0) == 24.0


def test_nondifferentiable_arguments_of_defremat():
    f = pb.custom_vjp(lambda fun, x: fun(x), nondiff_argnums=0)
    f.defremat(lambda fun, x: (f(fun, x), None), lambda _, fun, x: (f(fun, x), x), lambda fun, x, ct: (ct * fun(x),))
    np.testing.assert_allclose(pb.grad(pb.checkpoint(lambda x: f(pnp.exp, x)))(1.0), np.e, rtol=1e-6)


class Layer:
    def __init__(self, w):
        self.w = w

    @pb.custom_vjp
    def apply(self, x):
        return pnp.sin(x) * self.w

    def fwd(self, x):
        return self.apply(x), None

    def rem(self, residuals, x):
        raise AssertionError("not called: the rule has its own")

    def bwd(self, x, ct):
        return (10 * ct * pnp.cos(x) * self.w,)


Layer.apply.defremat(Layer.fwd, lambda res, self, x: (self.apply(x), x), Layer.bwd)


def test_methods():
    layer = Layer(3.0)
    np.testing.assert_allclose(pb.grad(pb.checkpoint(layer.apply))(0.0), 30.0)
    np.testing.assert_allclose(pb.grad(layer.apply)(0.0), 30.0)


# --- vmap ---


def test_the_result_that_does_not_depend_on_the_mapped_argument():
    """f(x, w) = w³ for each of three examples: the sum has the gradient 3·3·w², not that of each example again."""

    def rules(f):
        f.defremat(lambda x, w: (f(x, w), None), lambda _, x, w: (f(x, w), w), lambda w, ct: (None, 3 * w * w * ct))
        return f

    f = rules(pb.custom_vjp(lambda x, w: w**3))
    xs = pnp.arange(3.0)
    for wrap in (eager, pb.checkpoint):
        batched = pb.vmap(wrap(f), (0, None))
        np.testing.assert_allclose(pb.grad(lambda w, b=batched: b(xs, w).sum())(2.0), 36.0)
        np.testing.assert_allclose(pb.grad(wrap(lambda w: pb.vmap(f, (0, None))(xs, w).sum()))(2.0), 36.0)
        alone = pb.vmap(wrap(f), (0, None), out_axes=None)
        np.testing.assert_allclose(pb.grad(lambda w, a=alone: a(xs, w))(2.0), 12.0)


def test_a_shared_result_beside_one_that_is_batched():
    """Of (xw, w³): 3w² once, and the sum of x or of three w³; JAX 0.10.2 counts w³ as three times three."""
    f = pb.custom_vjp(lambda x, w: (x * w, w**3))

    def bwd(res, cts):
        x, w = res
        return cts[0] * w, cts[0] * x + 3 * w**2 * cts[1]

    f.defremat(lambda x, w: (f(x, w), x), lambda x, _, w: (f(x, w), (x, w)), bwd)
    xs = np.array([1.0, 2.0, 4.0], "float32")
    for wrap in (eager, pb.checkpoint, twice_checkpointed):
        once = pb.vmap(wrap(f), (0, None), out_axes=(0, None))
        each = pb.vmap(wrap(f), (0, None))

        assert pb.grad(lambda w, b=once: b(xs, w)[1])(2.0) == 12.0
        assert pb.grad(lambda w, b=each: sum(out.sum() for out in b(xs, w)))(2.0) == 43.0


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
def test_batches_in_every_order_of_transformations(compiled):
    rules = Rules()
    xs = np.stack([X, 2 * X, -X])
    want = np.stack([gradient_of_square(x.astype(float), 2.0)[0] for x in xs])

    def each(x):
        return pb.checkpoint(squared(rules.f))(x, Y)

    def batch(xs):
        return pb.vmap(squared(rules.f), (0, None))(xs, Y).sum()

    for fun in (pb.vmap(pb.grad(each)), pb.grad(lambda xs: pb.vmap(each)(xs).sum()), pb.grad(pb.checkpoint(batch))):
        counts, got = rules.counts(lambda fun=fun: compiled(fun)(xs))
        assert counts == ONCE
        np.testing.assert_allclose(got, want, rtol=1e-5)
    got = pb.vmap(pb.grad(each), 1, 1)(xs.T)
    np.testing.assert_allclose(got, want.T, rtol=1e-5)


def test_the_gradient_of_a_cond_with_a_batched_choice():
    rules = Rules()
    xs = np.array([0.5, -0.5, 2.0], "float32")

    def fun(x):
        return lax.cond(x > 0, lambda x: rules.f(x, Y), lambda x: x * 5, x)

    for wrap in (eager, pb.checkpoint, twice_checkpointed):
        np.testing.assert_allclose(pb.vmap(pb.grad(wrap(fun)))(xs), [1.5, 5.0, 24.0], rtol=1e-6)
        np.testing.assert_allclose(pb.grad(lambda xs, w=wrap: pb.vmap(w(fun))(xs).sum())(xs), [1.5, 5.0, 24.0])


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
def test_rules_along_a_named_axis(compiled):
    """The share of each example in the total, whose rules add up over the batch."""

    def share(x):
        return x / lax.psum(x, "i")

    f = pb.custom_vjp(share)

    def rem(total, x):
        return f(x), (total, x)

    def bwd(residuals, ct):
        total, x = residuals
        return (ct / total - lax.psum(ct * x, "i") / total**2,)

    f.defremat(lambda x: (f(x), lax.psum(x, "i")), rem, bwd)
    xs, weights = np.array([1.0, 2.0, 3.0], "float32"), np.array([1.0, -1.0, 2.0], "float32")

    def loss(fun):
        each = pb.vmap(pb.checkpoint(lambda x, w: fun(x) ** 2 * w), axis_name="i")
        return lambda xs: each(xs, weights).sum()

    got, want = (compiled(pb.grad(loss(fun)))(xs) for fun in (f, share))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_jaxprs_are_well_formed():
    rules = Rules()
    loss = squared(rules.f)

    def in_scan_of_two(x, y):
        return lax.scan(lambda c, _: (rules.f(c, y), c), x, None, length=2)[1].sum()

    for fun in (loss, pb.checkpoint(loss), in_scan_of_two, in_cond(loss)):
        slope = pb.grad(pb.checkpoint(fun))
        check_jaxpr(pb.make_jaxpr(slope)(X, Y))
        check_jaxpr(pb.make_jaxpr(pb.grad(lambda x, y, slope=slope: slope(x, y).sum()))(X, Y))


def test_a_rule_for_vmap_beside():
    f = pb.custom_rules(lambda x: x * x)
    f.defremat(lambda x: (f(x), None), lambda _, x: (f(x), x), lambda x, ct: (2 * x * ct,))
    f.defvmap(lambda size, batched, x: (x * x + 1.0, True))
    value, grads = pb.vmap(pb.value_and_grad(pb.checkpoint(lambda x: f(x) * 3)))(pnp.arange(3.0))
    np.testing.assert_allclose(grads, [0.0, 6.0, 12.0])
    assert value.shape == (3,)
