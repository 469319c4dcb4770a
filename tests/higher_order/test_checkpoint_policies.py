"""Policies of checkpoint in loops and branches: what they keep there is stored once, and not computed again."""

import functools
from operator import attrgetter, methodcaller

import jax
import numpy as np
import pytest
from checkpointed import POLICIES, W, count, f32, name_of, products
from transformations import JAX, PB
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import checkpoint_name, saved_residuals
from pullback.core import check_jaxpr

X = np.array([0.3, -0.7, 1.1], f32)
XS, WS = np.ones((2, 3), f32), np.stack(W[:3])
DIRECTION = np.cos(np.arange(6, dtype=f32)).reshape(2, 3)


def looped(lib, policy, reverse=False):
    """A checkpointed loop whose body has two products, and a branch with one, with named values."""
    name = name_of(lib)

    def body(c, w):
        first = lib.np.tanh(name(lib.np.dot(c, w), "first"))
        second = lib.t.jit(lambda y: name(lib.np.sin(lib.np.dot(y, w)), "second"))(first)
        third = lib.lax.cond(
            second.sum() > 0.1,
            lambda y: name(lib.np.tanh(lib.np.dot(y, w)), "third"),
            lambda y: lib.np.cos(y),
            name(second * c, "product"),
        )
        return name(third + c, "carry"), first.sum()

    @functools.partial(lib.t.checkpoint, policy=policy)
    def fun(x, ws):
        last, sums = lib.lax.scan(body, x, ws, reverse=reverse)
        return lib.np.sin(last) * sums.sum()

    return lambda x, ws: fun(x, ws).sum()


@functools.cache
def expected_of(reverse):
    """The gradients without a policy, and the derivative of the first along DIRECTION, by JAX."""
    grad = jax.jit(jax.grad(looped(JAX, None, reverse), (0, 1)))
    return grad(XS, WS), jax.jvp(lambda x: grad(x, WS)[0], (XS,), (DIRECTION,))[1]


# policies of a library's `checkpoint_policies`
MAKERS = [
    *map(attrgetter, POLICIES),
    *(
        methodcaller("save_only_these_names", *names)
        for names in (
            ("first",),
            ("second",),
            ("third",),
            ("carry",),
            ("product", "third"),
            ("first", "second", "third", "carry"),
        )
    ),
    methodcaller("save_any_names_but_these", "first"),
    methodcaller("save_anything_except_these_names", "first", "carry"),
]


@pytest.mark.parametrize(
    ("make", "reverse"), [*((make, False) for make in MAKERS), *((make, True) for make in MAKERS[2:8:2])], ids=str
)
def test_a_policy_looks_into_loops_and_branches(make, reverse):
    """As in JAX, which runs as many products; and the derivatives are those without a policy."""
    policy = make(pb.checkpoint_policies)
    fun = looped(PB, policy, reverse)
    n = count(PB, pb.grad(fun, (0, 1)), XS, WS)
    assert n <= count(JAX, jax.grad(looped(JAX, make(jax.checkpoint_policies), reverse), (0, 1)), XS, WS)
    expected, moved = expected_of(reverse)
    for grads in (pb.grad(fun, (0, 1))(XS, WS), pb.jit(pb.grad(fun, (0, 1)))(XS, WS)):
        for got, want in zip(grads, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
    got = pb.jvp(lambda x: pb.grad(fun)(x, WS), (XS,), (DIRECTION,))[1]
    np.testing.assert_allclose(got, moved, rtol=5e-5, atol=1e-5)


def stacked_twice(x):
    def outer(c, _):
        def body(c, _):
            y = pnp.sin(c)
            return y * y, (y, y)

        c, (a, b) = lax.scan(body, c, None, length=2)
        return c * a.sum(0) * b.sum(0), None

    return lax.scan(outer, x, None, length=3)[0].sum()


def stacked_once(x):
    def body(c, _):
        y = pnp.sin(c)
        return y * y, y

    c, ys = lax.scan(body, x, None, length=4)
    return (ys * ys).sum() + c.sum()


def chosen(x):
    y, z = lax.cond(x.sum() > 0, lambda x: (pnp.sin(x) * pnp.sin(x), pnp.sin(x)), lambda x: (x, x * x), x)
    return (y * z * z).sum()


def sines(primitive, *_, **__):
    return primitive.name == "sin"


@pytest.mark.parametrize("fun", [stacked_twice, stacked_once, chosen])
def test_what_is_a_result_and_a_residual(fun):
    for policy in (sines, pb.checkpoint_policies.everything_saveable):
        checkpointed = pb.checkpoint(fun, policy=policy)
        check_jaxpr(pb.make_jaxpr(pb.grad(checkpointed))(X))
        for grad in (pb.grad(checkpointed), pb.jit(pb.grad(checkpointed))):
            np.testing.assert_allclose(grad(X), pb.grad(fun)(X), rtol=1e-5)


def test_what_is_a_result_and_a_residual_is_stored_once():
    stacks = [r for r in saved_residuals(pb.checkpoint(stacked_once, policy=sines), X) if r.aval.ndim == 2]
    assert len(stacks) == 1, stacks
    plain = [r for r in saved_residuals(stacked_once, X) if "output of sin" in str(r)]
    assert len(plain) == 1, plain


def test_a_policy_is_asked_once_about_an_operation_however_deep():
    asked = []

    def policy(primitive, *_, **__):
        asked.append(primitive)
        return primitive.name == "tanh"

    def nested(depth, c):
        if depth == 0:
            return pnp.sin(c[1]) * c[2], pnp.tanh(c[2]), c[0] * 1.0
        return lax.scan(lambda c, _: (nested(depth - 1, c), None), c, None, length=2)[0]

    def questions(depth):
        asked.clear()
        fun = pb.checkpoint(lambda x: nested(depth, (x, x, x))[0].sum(), policy=policy)
        pb.make_jaxpr(pb.grad(fun))(X)
        return len(asked)

    assert 0 < questions(5) <= questions(1) + 40


def test_policies_that_offload_save():
    """There is one memory; the names and the number of products are JAX's."""

    def policy(p):
        return p.save_and_offload_only_these_names(
            names_which_can_be_saved=["first"],
            names_which_can_be_offloaded=["second"],
            offload_src="device",
            offload_dst="pinned_host",
        )

    assert products(PB, policy(pb.checkpoint_policies)) == products(
        PB, pb.checkpoint_policies.save_only_these_names("first", "second")
    )
    assert (
        pb.checkpoint_policies.offload_dot_with_no_batch_dims("device", "pinned_host")
        is pb.checkpoint_policies.dots_with_no_batch_dims_saveable
    )
    given = {
        "names_which_can_be_saved": ["a"],
        "names_which_can_be_offloaded": ["b"],
        "offload_src": "device",
        "offload_dst": "pinned_host",
    }
    for wrong, error, message in (
        ({"offload_dst": "disk"}, ValueError, "offload_dst must be one of"),
        ({"names_which_can_be_saved": "a"}, TypeError, "expected a sequence of names"),
        ({"names_which_can_be_saved": [1]}, TypeError, "a name must be a string"),
        ({"names_which_can_be_offloaded": ["a"]}, ValueError, "'a' is among the names to save and those to"),
    ):
        with pytest.raises(error, match=message):
            pb.checkpoint_policies.save_and_offload_only_these_names(**{**given, **wrong})


def test_what_is_saved_in_a_loop_is_stacked_and_not_computed_again():
    fewer = [
        count(PB, pb.grad(looped(PB, policy)), XS, WS)
        for policy in (
            None,
            pb.checkpoint_policies.save_only_these_names("first"),
            pb.checkpoint_policies.dots_saveable,
        )
    ]
    assert fewer[0] == fewer[1] + 1 == fewer[2] + 3
    kept = [
        str(r)
        for r in pb.ad_checkpoint.saved_residuals(
            looped(PB, pb.checkpoint_policies.save_only_these_names("second")), XS, WS
        )
    ]
    assert sum(r.startswith("f32[3,2,3]") for r in kept) == 1, kept


def test_a_policy_looks_into_a_loop_of_unknown_length():
    """Into a `while_loop` with `max_steps`: of nine possible steps, three are done."""

    def loop(x):
        def step(carry):
            return pnp.sin(checkpoint_name(pnp.exp(-carry[0]), "kept")), carry[1] + 1

        return lax.while_loop(lambda carry: carry[1] < 3, step, (x, 0), max_steps=9)[0].sum()

    policy = pb.checkpoint_policies.save_only_these_names("kept")
    kept = [str(r).partition(" from ")[0] for r in saved_residuals(pb.checkpoint(loop, policy=policy), X)]
    assert kept == [f"f32[{X.size}]", f"f32[3,3,{X.size}] named 'kept'"]
    want, c = np.ones(X.shape), X.astype(float)
    for _ in range(3):
        want, c = want * -np.cos(np.exp(-c)) * np.exp(-c), np.sin(np.exp(-c))
    for compiled in EAGER_AND_JIT:
        np.testing.assert_allclose(compiled(pb.grad(pb.checkpoint(loop, policy=policy)))(X), want, rtol=1e-5)
