"""`checkpointed_scan` and `recursive_checkpoint`: derivatives of the plain ones, fewer values kept, few more runs."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from checkpointed import equations
from refusals import raises
from wrappers import EAGER_AND_JIT, eager, jit

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._higher_order.control.checkpointed_scan import blocks_of
from pullback.ad_checkpoint import checkpoint_name, checkpointed_scan, recursive_checkpoint, saved_residuals

X = np.array([0.3, -0.7, 1.1], "float32")
LEVELS = (1, 2, 3, None)
LENGTHS = (0, 1, 2, 3, 7, 16, 17, 30)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, None])
def test_the_blocks_are_all_steps(levels):
    for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 26, 27, 28, 64, 100, 1000, 1023, 1024, 4095, 4096, 4097, 10**6):
        base, runs = blocks_of(n, levels)
        assert sum(count * base**level for level, count in runs) == n
        assert [level for level, _ in runs] == sorted({level for level, _ in runs}, reverse=True)
        most = base + 1 if levels is None else base
        assert all(1 <= count <= most for _, count in runs)
        if levels is not None:
            assert len(runs) <= levels
            assert base <= max(2, math.ceil(n ** (1 / levels) + 1e-9))
    assert blocks_of(16, 2) == (4, [(1, 4)])
    assert blocks_of(27, 3) == (3, [(2, 3)])
    assert blocks_of(7, None) == (2, [(1, 3), (0, 1)])


# --- scans ---


def looped(scan, n, reverse=False):
    """A loss of a loop with inputs, results and captured values, all of which are differentiated."""

    def loss(x, scale, rows):
        def step(carry, row):
            (c, total) = carry
            c = pnp.sin(c * scale) + row["a"]
            return (c, total + c.sum()), {"c": c, "pair": (row["b"] * total, None)}

        (c, total), ys = scan(step, (x, np.float32(0.0)), rows, length=n, reverse=reverse)
        weights = pnp.arange(1.0, n + 1)[:, None]
        return (c * c).sum() + total + (weights * ys["c"]).sum() + (ys["pair"][0] ** 2).sum()

    return loss


def inputs(n):
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, 3)).astype("float32")
    return X, np.float32(0.9), {"a": a, "b": rng.standard_normal(n).astype("float32")}


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("n", LENGTHS)
def test_value_and_gradient_are_those_of_the_scan(n, levels, reverse):
    args = inputs(n)
    value, grads = pb.value_and_grad(looped(lax.scan, n, reverse), (0, 1, 2))(*args)
    got, got_grads = pb.value_and_grad(looped(in_blocks(levels), n, reverse), (0, 1, 2))(*args)
    np.testing.assert_allclose(got, value, rtol=1e-5)
    for g, want in zip(pb.tree.leaves(got_grads), pb.tree.leaves(grads), strict=True):
        # sums over steps are added up in another order
        np.testing.assert_allclose(g, want, rtol=2e-5, atol=2e-5)


def in_blocks(levels):
    """The scan of so many levels, to be called like `lax.scan`."""
    return functools.partial(checkpointed_scan, levels=levels)


def chain_of_sines(scan, n=12):
    """Of a number: steps that a scan does."""

    def step(c, _):
        return pnp.sin(c) * 1.5, c

    def chain(x):
        return scan(step, x, None, length=n)[0]

    return chain


def second(f):
    return pb.grad(pb.grad(f))


def mixed(f):
    return pb.jacfwd(pb.grad(f))


def of_checkpoint(f):
    return pb.grad(pb.checkpoint(f))


def along(f):
    def tangent(x):
        return pb.jvp(f, (x,), (np.float32(1.0),))

    return tangent


def of_batch(f):
    def each(xs):
        return pb.vmap(f)(xs).sum()

    return pb.grad(each)


def batch_of(f):
    return pb.vmap(pb.grad(f))


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("take", [along, second, mixed, of_checkpoint, of_batch, batch_of])
def test_every_mode_and_order(take, levels, compiled):
    """Of 12 steps of the sine, against the plain scan."""
    x = np.array([0.1, 0.4, -1.0], "float32") if take in (of_batch, batch_of) else np.float32(0.4)
    got, want = (compiled(take(chain_of_sines(scan)))(x) for scan in (in_blocks(levels), lax.scan))
    for g, w in zip(pb.tree.leaves(got), pb.tree.leaves(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5)


def test_linearize():
    got, want = (pb.linearize(chain_of_sines(scan), 0.4)[1](1.0) for scan in (in_blocks(2), lax.scan))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_gradient_of_a_long_loop_is_exact():
    """The product of the cosines of 1,000 steps; without sums over steps nothing is rounded otherwise."""

    def loss(scan):
        def step(c, _):
            return pnp.sin(c), None

        def run(x):
            return scan(step, x, None, length=1000)[0].sum()

        return run

    want, c = np.ones(3), X.astype(float)
    for _ in range(1000):
        want, c = want * np.cos(c), np.sin(c)
    plain = pb.jit(pb.grad(loss(lax.scan)))(X)
    np.testing.assert_allclose(plain, want, rtol=1e-4)
    for levels in (2, 3, None):
        np.testing.assert_array_equal(pb.jit(pb.grad(loss(in_blocks(levels))))(X), plain)


# --- memory ---


def stacked_bytes(jaxpr):
    """The bytes that loops stack, at the place where they are most: those here, and in one of the bodies below."""
    here, below = 0, 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            stacked = eqn.outvars[eqn.params["num_carry"] :]
            here += sum(v.aval.size * v.aval.dtype.itemsize for v in stacked)
        for held in eqn.held:
            below = max(below, stacked_bytes(held.jaxpr))
    return here + below


WIDTH = 1000
CARRY = 4 * WIDTH


def carries_of(n, levels):
    """Carries that the gradient of a loop keeps, where most are kept."""

    def loss(x):
        return checkpointed_scan(lambda c, _: (pnp.sin(pnp.sin(c)), None), x, None, length=n, levels=levels)[0].sum()

    return stacked_bytes(pb.make_jaxpr(pb.grad(loss))(np.ones(WIDTH, "float32")).jaxpr) / CARRY


def test_carries_that_are_kept():
    """Of √n blocks of √n steps: √n between them and √n inside one; of three levels 3∛n; at last 2 log₂n."""
    assert [carries_of(n, 1) for n in (64, 256, 1024)] == [64, 256, 1024]
    assert [carries_of(n, 2) for n in (64, 256, 1024)] == [16, 32, 64]
    assert [carries_of(n, 3) for n in (64, 512, 1000)] == [12, 24, 30]
    assert [carries_of(n, None) for n in (64, 256, 1024)] == [12, 16, 20]


def test_what_the_scan_itself_keeps():
    def plain(x):
        return lax.scan(lambda c, _: (pnp.sin(pnp.sin(c)), None), x, None, length=64)[0].sum()

    assert stacked_bytes(pb.make_jaxpr(pb.grad(plain))(np.ones(WIDTH, "float32")).jaxpr) / CARRY == 128


def test_bytes_of_residuals():
    def kept(n, levels):
        def loss(x):
            return checkpointed_scan(lambda c, _: (pnp.sin(c), None), x, None, length=n, levels=levels)[0].sum()

        return sum(r.nbytes for r in saved_residuals(loss, np.ones(WIDTH, "float32"))) / CARRY

    assert [kept(256, levels) for levels in (1, 2, 4)] == [256, 16, 4]


def test_the_policy_is_that_of_a_step():
    """What it saves of a step is there only while the step's block is differentiated."""

    def loss(x, policy):
        def step(c, _):
            return pnp.sin(checkpoint_name(pnp.sin(c), "inner")), None

        return checkpointed_scan(step, x, None, length=16, policy=policy)[0].sum()

    policy = pb.checkpoint_policies.save_only_these_names("inner")
    x = np.ones(WIDTH, "float32")
    sines = [count_of("sin", lambda x, p=p: loss(x, p), x) for p in (None, policy)]
    assert sines[1] == sines[0] - 1
    np.testing.assert_allclose(pb.grad(loss)(X, policy), pb.grad(loss)(X, None), rtol=1e-6)


def count_of(name, loss, x):
    return sum(eqn.primitive.name == name for eqn in equations(pb.make_jaxpr(pb.grad(loss))(x).jaxpr))


class Counted:
    """The sine, which counts its runs, those of the derivative too."""

    def __init__(self):
        self.runs = 0
        self.fun = pb.custom_jvp(self.run)
        self.fun.defjvp(lambda primals, tangents: (self.fun(*primals), pnp.cos(primals[0]) * tangents[0]))

    def on_host(self, x):
        self.runs += 1
        return np.sin(x)

    def run(self, x):
        return pb.pure_callback(self.on_host, pb.ShapeDtypeStruct(x.shape, x.dtype), x)

    def count(self, run):
        self.runs = 0
        pb.block_until_ready(run())
        return self.runs


@pytest.mark.parametrize("compiled", EAGER_AND_JIT)
def test_a_step_runs_at_most_once_more_for_each_level(compiled):
    for levels, most in ((1, 1), (2, 2), (3, 3), (None, 4)):
        counted = Counted()

        def loss(x, counted=counted, levels=levels):
            # the square reads the result of the sine, so that a step that is redone runs it
            def step(c, _):
                return counted.fun(c) ** 2, None

            return checkpointed_scan(step, x, None, length=16, levels=levels)[0]

        grad = compiled(pb.grad(loss))
        assert 16 < counted.count(lambda grad=grad: grad(np.float32(0.3))) <= 16 * (1 + most)


def test_the_step_is_traced_once():
    traced = []

    def step(c, x):
        traced.append(1)
        return c * 2 + x, c

    checkpointed_scan(step, np.float32(0.0), np.ones(100, "float32"), levels=None)
    assert len(traced) == 1


def test_rules_for_checkpoint_in_blocks():
    f = pb.custom_vjp(lambda x: pnp.sin(x))
    f.defremat(lambda x: (f(x), None), lambda _, x: (f(x), pnp.cos(x)), lambda c, ct: (ct * c,))
    for levels in LEVELS:

        def loss(x, fun, levels=levels):
            return checkpointed_scan(lambda c, _: (fun(c), None), x, None, length=10, levels=levels)[0].sum()

        np.testing.assert_allclose(pb.grad(loss)(X, f), pb.grad(loss)(X, pnp.sin), rtol=1e-6)


def test_a_scan_is_refused_as_scan_refuses_it():
    def step(c, x):
        return c, x

    with raises(ValueError, "checkpointed_scan: xs has no leaves"):
        checkpointed_scan(step, 0.0)
    with raises(ValueError, "checkpointed_scan: the leading axes must have one length"):
        checkpointed_scan(step, 0.0, (np.ones(2), np.ones(3)))
    with raises(TypeError, "checkpointed_scan: the body", "keep the types of the carry"):
        checkpointed_scan(lambda c, _: (pnp.ones(2), None), np.ones(3, "float32"), length=4)
    with raises(TypeError, "checkpointed_scan: expected a function, got 3"):
        checkpointed_scan(3, 0.0, length=4)
    for levels, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with raises(error, "checkpointed_scan: levels must be"):
            checkpointed_scan(step, 0.0, length=4, levels=levels)
    with raises(TypeError, "checkpointed_scan: policy must be a function, got 'dots'"):
        checkpointed_scan(step, 0.0, length=4, policy="dots")


# --- chains ---


def layers(n):
    rng = np.random.default_rng(0)
    weights = [(rng.standard_normal((3, 3)) / 2).astype("float32") for _ in range(n)]
    return [lambda x, w=w: pnp.sin(x @ w) for w in weights]


def composed(funs):
    def run(x):
        for f in funs:
            x = f(x)
        return x

    return run


def summed(f):
    def total(x):
        return f(x).sum()

    return total


def gradient_of_gradient(f):
    return pb.grad(summed(pb.grad(f)))


@pytest.mark.parametrize("wrap", [eager, jit, pb.checkpoint, pb.vmap])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 13])
def test_a_chain_is_the_composition(n, levels, wrap):
    x = np.ones((2, 3), "float32")
    funs = layers(n)
    plain, chain = wrap(composed(funs)), wrap(recursive_checkpoint(funs, levels=levels))
    np.testing.assert_allclose(chain(x), plain(x), rtol=1e-6)
    for take in (pb.grad, gradient_of_gradient):
        got, want = (take(summed(f))(x) for f in (chain, plain))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_inputs_that_a_chain_keeps():
    def kept(n, levels):
        return len(saved_residuals(recursive_checkpoint([pnp.sin] * n, levels=levels), X))

    assert [kept(n, None) for n in (1, 2, 4, 64, 1024)] == [1, 2, 3, 7, 11]
    assert [kept(n, 1) for n in (4, 64)] == [4, 64]
    assert [kept(n, 2) for n in (4, 64, 256)] == [3, 15, 31]
    assert [kept(n, 3) for n in (64, 512)] == [10, 22]


def test_runs_of_the_functions_of_a_chain():
    for levels, most in ((1, 1), (2, 2), (None, 4)):
        counted = Counted()
        chain = recursive_checkpoint([lambda x, f=counted.fun: f(x) ** 2] * 16, levels=levels)
        runs = counted.count(lambda chain=chain: pb.jit(pb.grad(chain))(np.float32(0.3)))
        assert 16 < runs <= 16 * (1 + most)


def test_functions_of_pytrees():
    def step(tree):
        return {"a": pnp.sin(tree["a"]) * tree["b"], "b": tree["b"] + 1.0}

    chain, plain = recursive_checkpoint([step] * 6), composed([step] * 6)
    tree = {"a": X, "b": np.float32(0.5)}
    got, want = (pb.grad(lambda t, f=f: f(t)["a"].sum())(tree) for f in (chain, plain))
    np.testing.assert_allclose(got["a"], want["a"], rtol=1e-5)
    np.testing.assert_allclose(got["b"], want["b"], rtol=1e-5)


def test_what_is_no_chain_is_refused():
    for funs in (3, [3], [pnp.sin, "cos"], pnp.sin):
        with raises(TypeError, "recursive_checkpoint: expected a list of functions"):
            recursive_checkpoint(funs)
    with raises(ValueError, "recursive_checkpoint: expected a list of functions, at least one"):
        recursive_checkpoint([])
    for levels, error in ((0, ValueError), (1.5, TypeError)):
        with raises(error, "recursive_checkpoint: levels must be"):
            recursive_checkpoint([pnp.sin], levels=levels)
    with raises(TypeError, "checkpoint: policy must be a function"):
        recursive_checkpoint([pnp.sin] * 4, policy="dots")
