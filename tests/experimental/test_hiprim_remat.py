"""The rule `remat` of a primitive class: what is kept under `checkpoint`, and the function that runs again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from refusals import raises
from wrappers import EAGER_AND_JIT, eager, in_cond, in_scan

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import saved_residuals
from pullback.experimental.hijax import HiPrim

P = pb.checkpoint_policies
X = np.array([0.3, -0.7, 1.1], "float32")
ran = Counter()
policies = []


def note(rule):
    pb.debug.callback(lambda: ran.update([rule]))


class Cube(HiPrim):
    """x³, with `factor` times its derivative; what is kept is x²."""

    def __init__(self, aval, factor=1.0):
        self.in_avals = (aval,)
        self.out_aval = aval
        self.params = {"factor": factor}
        super().__init__()

    def expand(self, x):
        return x**3

    def vjp_fwd(self, nzs_in, x):
        return self(x), x * x

    def vjp_bwd_retval(self, square, ct):
        note("bwd")
        return (self.factor * ct * 3 * square,)

    def remat(self, trace, x):
        policies.append(trace.policy)
        note("remat")
        return self(x), x * x, self.again

    def again(self, square, x):
        note("again")
        return self(x) * 1.0 + 0.0 * square


def cube(x, factor=1.0):
    return Cube(pb.typeof(pnp.asarray(x)), factor)(x)


def loss(x):
    return (cube(x) ** 2).sum()


def counts(run):
    ran.clear()
    policies.clear()
    return pb.block_until_ready(run()), dict(ran)


def twice(f):
    return pb.checkpoint(pb.checkpoint(f))


def scanned(f):
    return pb.checkpoint(in_scan(f))


def branched(f):
    return pb.checkpoint(in_cond(f))


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize("wrap", [pb.checkpoint, twice, scanned, branched])
def test_the_rule_runs_once_in_each_pass(wrap, compiled):
    got, runs = counts(lambda: compiled(pb.grad(wrap(loss)))(X))
    np.testing.assert_allclose(got, 6 * X.astype(float) ** 5, rtol=1e-5)
    assert runs == {"remat": 1, "again": 1, "bwd": 1}
    assert set(policies) == {None}


def test_without_checkpoint_and_without_derivative_it_does_not_run():
    assert counts(lambda: pb.grad(loss)(X))[1] == {"bwd": 1}
    assert counts(lambda: pb.checkpoint(loss)(X))[1] == {}
    assert counts(lambda: pb.grad(pb.checkpoint(loss, policy=P.everything_saveable))(X))[1] == {"bwd": 1}


def test_the_policy_and_what_is_kept():
    for policy in (P.dots_saveable, P.save_only_these_names("a")):
        counts(lambda policy=policy: pb.grad(pb.checkpoint(loss, policy=policy))(X))
        assert policies == [policy]
    kept = [str(r).partition(" from ")[0] for r in saved_residuals(pb.checkpoint(loss), X)]
    assert kept == ["f32[3]", "f32[3] residual of the fwd rule of Cube"]


@pytest.mark.parametrize("wrap", [eager, pb.checkpoint, twice])
def test_modes_and_orders(wrap):
    f = wrap(lambda x: cube(x, 10.0) ** 2)
    x, first = np.float32(2.0), 120.0
    assert pb.grad(f)(x) == 2 * 8 * first
    assert pb.jvp(f, (x,), (np.float32(1.0),))[1] == 2 * 8 * first
    np.testing.assert_allclose(pb.grad(pb.grad(f))(x), 2 * first**2 + 2 * 8 * 120.0, rtol=1e-6)
    np.testing.assert_allclose(pb.vmap(pb.grad(f))(pnp.array([1.0, 2.0])), [60.0, 1920.0], rtol=1e-6)


def test_in_a_batch_and_in_a_scan():
    def steps(x):
        return lax.scan(lambda c, _: (cube(c), None), x, None, length=3)[0].sum()

    np.testing.assert_allclose(pb.grad(pb.checkpoint(steps))(X), 27 * X.astype(float) ** 26, rtol=1e-4)
    batched = pb.checkpoint(lambda xs: pb.vmap(cube)(xs).sum())
    np.testing.assert_allclose(pb.grad(batched)(X), 3 * X**2, rtol=1e-6)


class ByJvp(Cube):
    """A class that reverse mode differentiates by its jvp rule; the function closes over what it needs."""

    def jvp(self, primals, tangents):
        (x,), (t,) = primals, tangents
        return self(x), 30 * x * x * t

    vjp_fwd = HiPrim.vjp_fwd
    vjp_bwd_retval = HiPrim.vjp_bwd_retval

    def remat(self, trace, x):
        sine = pnp.sin(x)
        return self(x), None, lambda _, x: self(x) + (pnp.sin(x) - sine)


def test_other_rules_and_a_function_that_closes_over_values():
    def square(x):
        return ByJvp(pb.typeof(pnp.asarray(x)))(x) ** 2

    for wrap in (pb.checkpoint, twice):
        for compiled in EAGER_AND_JIT:
            got = compiled(pb.grad(wrap(square)))(np.float32(2.0))
            # the function that runs again adds a sine to the cube, and takes a constant away
            np.testing.assert_allclose(got, 2 * 8 * (120.0 + np.cos(2.0)), rtol=1e-5)


class Wrong(Cube):
    def __init__(self, aval, result):
        self.in_avals = (aval,)
        self.out_aval = aval
        self.params = {"result": result}
        HiPrim.__init__(self)

    def remat(self, trace, x):
        return self.result(x)


def a_pair(x):
    return x**3, x


def no_function(x):
    return x**3, None, x


def another_shape(x):
    return (x**3)[None], None, lambda _, x: x**3


def rem_of_another_shape(x):
    return x**3, None, lambda _, x: (x**3)[None]


def rem_of_one_argument(x):
    return x**3, None, lambda x: x**3


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (a_pair, ("must return (out, residuals, rem)",)),
        (no_function, ("must return (out, residuals, rem)",)),
        (another_shape, ("the rule remat", "f32[3]", "f32[1,3]")),
        (rem_of_another_shape, ("that remat returned", "f32[3]", "f32[1,3]")),
        (rem_of_one_argument, ("that remat returned", "is called as rule(residuals, *args)")),
    ],
)
def test_what_it_returns_is_checked(result, parts):
    with raises(pb.errors.RuleError, *parts, "the primitive Wrong"):
        pb.grad(pb.checkpoint(lambda x: Wrong(pb.typeof(x), result)(x).sum()))(X)
