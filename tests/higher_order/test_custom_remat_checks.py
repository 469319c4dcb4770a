"""Rules for `checkpoint`: what is refused, what runs once under `optimize_remat`, effects, threads, donated buffers."""

from __future__ import annotations

import re
import threading

import jax
import numpy as np
import pytest
from refusals import raises
from wrappers import EAGER_AND_JIT, eager

import pullback as pb
import pullback.numpy as pnp
from pullback.ad_checkpoint import print_saved_residuals, saved_residuals
from pullback.experimental import io_callback

X = np.array([0.3, -0.7, 1.1], "float32")


def fun(x):
    return {"out": x * x}


def good_fwd(policy, x):
    return fun(x), None


def good_rem(res, x):
    return fun(x), x


def good_bwd(x, ct):
    return (2 * x * ct["out"],)


def returns_another_shape(res, x):
    return {"out": (x * x)[None]}, x


def returns_another_dtype(res, x):
    return {"out": (x * x).astype("float16")}, x


def returns_another_structure(res, x):
    return {"result": x * x}, x


def returns_one_value(res, x):
    return fun(x)


def takes_the_policy(policy, res, x):
    return fun(x), x


def takes_no_policy(x):
    return fun(x), None


def returns_a_list_of_two(x, ct):
    return [ct["out"], ct["out"]]


def returns_an_array(x, ct):
    return ct["out"]


def returns_a_cotangent_of_another_shape(x, ct):
    return (ct["out"].sum(),)


@pytest.mark.parametrize("wrap", [eager, pb.checkpoint])
@pytest.mark.parametrize(
    ("fwd", "rem", "bwd", "parts"),
    [
        (good_fwd, returns_another_shape, good_bwd, ("the rem rule returns_another_shape", "f32[3]", "f32[1,3]")),
        (good_fwd, returns_another_dtype, good_bwd, ("the rem rule returns_another_dtype", "f32[3]", "f16[3]")),
        (good_fwd, returns_another_structure, good_bwd, ("rem rule returns_another_structure", "'out'", "'result'")),
        (good_fwd, returns_one_value, good_bwd, ("rem rule returns_one_value", "must return a pair")),
        (good_fwd, takes_the_policy, good_bwd, ("rem rule takes_the_policy", "called as rule(residuals, *args)")),
        (takes_no_policy, good_rem, good_bwd, ("the fwd rule takes_no_policy", "called as rule(policy, *args)")),
        (good_fwd, good_rem, returns_a_list_of_two, ("the bwd rule returns_a_list_of_two", "got 2")),
        (good_fwd, good_rem, returns_an_array, ("the bwd rule returns_an_array", "must return a tuple")),
        (
            good_fwd,
            good_rem,
            returns_a_cotangent_of_another_shape,
            ("returns_a_cotangent_of_another_shape", "f32[3]", "f32[]"),
        ),
    ],
)
def test_rules_are_checked(wrap, fwd, rem, bwd, parts):
    f = pb.custom_remat(fun, fwd, rem, bwd)
    with raises(pb.errors.RuleError, *parts, "custom_remat function fun", "called at"):
        pb.grad(wrap(lambda x: f(x)["out"].sum()))(X)


def test_what_is_no_function_is_refused():
    for i, name in enumerate(("fwd", "rem", "bwd")):
        rules = [good_fwd, good_rem, good_bwd]
        rules[i] = "rule"
        with raises(TypeError, f"expected a function as the {name} rule, got 'rule'"):
            pb.custom_remat(fun, *rules)
        with raises(TypeError, f"expected a function as the {name} rule, got 'rule'"):
            pb.custom_vjp(fun).defremat(*rules)
    with raises(TypeError, "expected a function, got 3"):
        pb.custom_remat(3, good_fwd, good_rem, good_bwd)
    with raises(ValueError, "jvp must be one of"):
        pb.custom_remat(fun, good_fwd, good_rem, good_bwd, jvp="bwd")


def test_a_traced_static_argument_is_refused():
    f = pb.custom_remat(
        lambda x, n: x * n,
        lambda policy, x, n: (x * n, None),
        lambda _, x, n: (x * n, n),
        lambda n, ct: (ct * n,),
        static_argnums=1,
    )
    with raises(pb.errors.UnexpectedTracerError, "argument 'n' is in nondiff_argnums"):
        pb.grad(lambda n: f(2.0, n))(3.0)


def test_a_rule_that_raises_leaves_nothing_behind():
    fails = [True]

    def rem(res, x):
        if fails[0]:
            raise ArithmeticError("no")
        return f(x), x

    f = pb.custom_remat(lambda x: x * x, lambda policy, x: (f(x), None), rem, lambda x, ct: (2 * x * ct,))
    loss = pb.checkpoint(lambda x: f(x).sum())
    with pytest.raises(ArithmeticError, match="no"):
        pb.grad(loss)(X)
    fails[0] = False
    np.testing.assert_allclose(pb.grad(loss)(X), 2 * X)


# --- optimize_remat ---


def joint(lib, shape_struct, runs, optimize):
    """sin by one host function that gives the cosine too, and by another without it; what ran is noted."""

    def both(x):
        runs.append("both")
        return np.sin(x), np.cos(x)

    def alone(x):
        runs.append("alone")
        return np.sin(x)

    @lib.custom_vjp
    def sine(x):
        return lib.pure_callback(alone, shape_struct, x)

    def fwd(x):
        return lib.pure_callback(both, (shape_struct, shape_struct), x)

    def bwd(cosine, ct):
        return (ct * cosine,)

    sine.defvjp(fwd, bwd, optimize_remat=optimize)
    return sine


@pytest.mark.parametrize("optimize", [False, True])
def test_optimize_remat_runs_the_function_in_the_forward_pass(optimize):
    runs = []
    sine = joint(pb, pb.ShapeDtypeStruct((3,), "float32"), runs, optimize)
    loss = pb.checkpoint(lambda x: sine(x).sum())
    got = pb.block_until_ready(pb.grad(loss)(X))
    np.testing.assert_allclose(got, np.cos(X), rtol=1e-6)
    assert runs == (["alone", "both"] if optimize else ["both", "both"])


def test_optimize_remat_as_in_jax():
    """The forward pass of a compiled derivative under checkpoint: as many runs of each as there."""
    counts = []
    for lib, struct in ((pb, pb.ShapeDtypeStruct), (jax, jax.ShapeDtypeStruct)):
        runs = []
        sine = joint(lib, struct((3,), np.float32), runs, True)
        fun = lib.jit(lib.grad(lib.checkpoint(lambda x, sine=sine: sine(x).sum())))
        np.testing.assert_allclose(lib.block_until_ready(fun(X)), np.cos(X), rtol=1e-6)
        counts.append((runs.count("alone"), runs.count("both")))
    assert counts[0] <= counts[1]
    assert counts[0][1] == 1


def test_optimize_remat_keeps_rules_and_orders():
    """The rule is wrong by a factor: the second derivative of f² is 2·(10f')² + 2f·10f''."""
    f = pb.custom_vjp(lambda x: x * x * x)
    f.defvjp(lambda x: (f(x), x), lambda x, ct: (30 * x * x * ct,), optimize_remat=True)
    for wrap in (eager, pb.checkpoint):
        loss = wrap(lambda x: f(x) ** 2)
        assert pb.grad(loss)(2.0) == 2 * 8 * 120.0
        np.testing.assert_allclose(pb.grad(pb.grad(loss))(2.0), 2 * 120.0**2 + 2 * 8 * 120.0, rtol=1e-6)
    batched = pb.vmap(pb.grad(pb.checkpoint(lambda x: f(x) ** 2)))(pnp.array([1.0, 2.0]))
    np.testing.assert_allclose(batched, [60.0, 1920.0])


def test_optimize_remat_with_captured_values_and_symbolic_zeros():
    def through(scale, x):
        f = pb.custom_vjp(lambda x, y: scale * x * y)

        def fwd(x, y):
            return f(x.value, y.value), (x.value, y.value)

        def bwd(res, ct):
            return 10 * ct * scale * res[1], 10 * ct * scale * res[0]

        f.defvjp(fwd, bwd, symbolic_zeros=True, optimize_remat=True)
        return pb.checkpoint(lambda x: f(x, 3.0) ** 2)(x)

    value, (by_scale, by_x) = pb.value_and_grad(through, (0, 1))(2.0, 5.0)
    assert (value, by_scale, by_x) == (900.0, 2 * 30 * 15.0, 2 * 30 * 60.0)


# --- effects, threads, buffers ---


def nested(f):
    return pb.checkpoint(pb.checkpoint(f))


class Drawn:
    """x² by rules, of which `fwd` or `rem` calls the host for a value: the number of the call times x."""

    def __init__(self, where):
        self.ran = []
        self.where = where
        self.f = pb.custom_remat(lambda x: x * x, self.fwd, self.rem, self.bwd)

    def drawn(self, x):
        self.ran.append(self.where)
        return np.float32(len(self.ran)) * x

    def on_host(self, x):
        return io_callback(self.drawn, pb.ShapeDtypeStruct((), "float32"), x)

    def fwd(self, policy, x):
        return self.f(x), self.on_host(x) if self.where == "fwd" else None

    def rem(self, saved, x):
        return self.f(x), self.on_host(x) if self.where == "rem" else saved

    def bwd(self, drawn, ct):
        return (2 * ct * drawn,)


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize("where", ["fwd", "rem"])
def test_a_callback_with_a_value_in_a_rule_runs_once(where, compiled):
    for policy in (None, pb.checkpoint_policies.dots_saveable):
        for wrap in (pb.checkpoint, nested):
            rules = Drawn(where)
            inner = wrap(lambda x, f=rules.f: pnp.exp(f(x)))
            outer = pb.checkpoint(lambda x, inner=inner: inner(x) ** 2, policy=policy)
            got = pb.block_until_ready(compiled(pb.grad(outer))(np.float32(0.5)))
            np.testing.assert_allclose(got, 2 * np.exp(0.5), rtol=1e-5)
            assert rules.ran == [where]


def test_what_is_kept_of_rules_with_effects():
    """The forward half is where the effect is; what `rem` draws is kept, and what it computes beside."""

    def kept(where):
        f = Drawn(where).f
        residuals = saved_residuals(pb.checkpoint(lambda x: f(x) ** 2), np.float32(0.5))
        return {str(r).partition(" of <lambda> from ")[0] for r in residuals}

    assert kept("fwd") == {"f32[] from the argument 'x'", "f32[] residual of the fwd rule"}
    assert kept("rem") == {"f32[] output", "f32[] residual of the rem rule"}


class Refs:
    """x³ by rules that count their runs in refs."""

    def __init__(self):
        self.refs = {name: pb.new_ref(pnp.zeros(())) for name in ("fwd", "rem", "bwd", "ct")}
        self.f = pb.custom_vjp(lambda x: x**3)
        self.f.defremat(self.fwd, self.rem, self.bwd)

    def count(self, name):
        self.refs[name][...] += 1.0

    def fwd(self, x):
        self.count("fwd")
        return self.f(x), None

    def rem(self, _, x):
        self.count("rem")
        return self.f(x), x

    def bwd(self, x, ct):
        self.count("bwd")
        self.refs["ct"][...] += ct
        return (3 * x * x * ct,)


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize("wrap", [eager, pb.checkpoint, nested])
def test_rules_write_to_refs_once(wrap, compiled):
    rules = Refs()
    assert compiled(pb.grad(wrap(lambda x: rules.f(x) * 2.0)))(2.0) == 24.0
    assert {name: float(ref[...]) for name, ref in rules.refs.items()} == {"fwd": 1, "rem": 1, "bwd": 1, "ct": 2}


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize("wrap", [eager, pb.checkpoint, nested])
def test_a_checkpointed_function_writes_to_a_ref_once(wrap, compiled):
    """JAX, 0.10.2 and 0.12, writes in the forward pass and again in the recomputation."""
    ref = pb.new_ref(pnp.zeros(()))

    def fun(x):
        ref[...] += 1.0
        return x**3

    assert compiled(pb.grad(wrap(fun)))(2.0) == 12.0
    assert ref[...] == 1.0


def test_threads_do_not_mix():
    f = pb.custom_remat(
        lambda x: x**3, lambda policy, x: (f(x), x * x), lambda sq, x: (f(x), sq), lambda sq, ct: (3 * sq * ct,)
    )
    loss = pb.checkpoint(lambda x: (f(x) ** 2).sum())
    results = {}

    def work(i):
        results[i] = [np.asarray((pb.jit if k % 2 else eager)(pb.grad(loss))(X + i)) for k in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        for got in results[i]:
            np.testing.assert_allclose(got, 6 * (X + i) ** 5, rtol=1e-5)


def test_residuals_of_a_donated_argument():
    f = pb.custom_remat(
        lambda x: x**2, lambda policy, x: (f(x), x + 1), lambda more, x: (f(x), more), lambda more, ct: (2 * ct * more,)
    )

    def step(x):
        return x - 0.1 * pb.grad(pb.checkpoint(lambda x: f(x).sum()))(x)

    donating = pb.jit(step, donate_argnums=0)
    np.testing.assert_allclose(donating(pnp.array(X)), X - 0.2 * (X + 1), rtol=1e-6)


def test_the_backward_pass_may_take_the_residuals():
    """Donated to it, they are gone, and using them again is an error; the argument is the caller's."""
    f = pb.custom_remat(
        lambda x: pnp.sin(x), lambda _, x: (f(x), pnp.cos(x)), lambda c, x: (f(x), c), lambda c, ct: (ct * c,)
    )
    x = pnp.array(X)
    loss = pb.checkpoint(lambda x: (f(x) ** 2).sum())
    _, pull = pb.jit(lambda x: pb.vjp(loss, x))(x)
    assert [leaf.shape for leaf in pb.tree.leaves(pull)] == [(3,), (3,)]
    back = pb.jit(lambda pull, ct: pull(ct)[0], donate_argnums=0)
    with pytest.warns(UserWarning, match="Some donated buffers were not usable"):  # there are two, and one result
        np.testing.assert_allclose(back(pull, np.float32(1.0)), np.sin(2 * X), rtol=1e-5)
    with raises(RuntimeError, "has been deleted"):
        back(pull, np.float32(1.0))
    np.testing.assert_array_equal(x, X)


def test_what_is_saved_is_told(capsys):
    def attention(x):
        return x * x

    f = pb.custom_remat(
        attention, lambda policy, x: (f(x), x + 1), lambda more, x: (f(x), more), lambda m, ct: (ct * m,)
    )

    def loss(x):
        return f(x).sum()

    print_saved_residuals(pb.checkpoint(loss), X)
    out = capsys.readouterr().out
    line = loss.__code__.co_firstlineno + 1
    assert re.fullmatch(
        rf"f32\[3\] residual of the fwd rule of attention from {re.escape(__file__)}:{line} \(loss\)\n", out
    )
