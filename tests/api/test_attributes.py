"""What a decorator hands on of the function it stands for: its attributes, and methods that set rules of it."""

import functools

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback.custom_batching import custom_vmap
from pullback.tree_util import Partial

DECORATORS = [
    pb.jit,
    pb.vmap,
    pb.grad,
    pb.value_and_grad,
    pb.jacfwd,
    pb.jacrev,
    pb.hessian,
    pb.checkpoint,
    pb.make_jaxpr,
    pb.custom_jvp,
    pb.custom_vjp,
    pb.custom_rules,
    custom_vmap,
    pnp.vectorize,
    pb.debug.tapped,
    pb.debug.find_nan,
    pb.debug.find_inaccuracy,
    functools.partial(pb.external, result=pb.ShapeDtypeStruct((), "float32")),
]


def noted():
    def f(x):
        """The sine."""
        return pnp.sin(x)

    f.note, f.lower, f.fun = ["a note"], "of the user", "fun"
    return f


@pytest.mark.parametrize("decorate", DECORATORS)
def test_attributes_are_handed_on(decorate):
    f = noted()
    wrapped = decorate(f)
    assert wrapped.note is f.note
    assert wrapped.__doc__ == "The sine."
    assert wrapped.__name__ == "f" or decorate in (pb.hessian,)


def test_what_a_decorator_has_itself_is_not_hidden_and_not_handed_on():
    f = noted()
    jitted = pb.jit(f)
    assert callable(jitted.lower)
    assert f.lower == "of the user"
    assert not hasattr(pb.vmap(jitted), "lower")
    assert not hasattr(pb.vmap(jitted), "clear_cache")
    rules = pb.custom_vjp(f)
    assert rules.fun is f
    jitted = pb.jit(rules)
    assert jitted.note is f.note
    assert not hasattr(jitted, "fwd_rule")
    assert pb.custom_jvp(pb.grad(rules)).note is f.note
    assert pb.custom_jvp(rules).identity is not rules.identity


def test_attributes_come_with_objects_that_are_called():
    class Layer:
        def __init__(self):
            self.width = 3

        def __call__(self, x):
            return x * self.width

    assert pb.jit(Layer()).width == 3
    assert not hasattr(pb.jit(Partial(Layer())), "width")


def rule(axis_size, in_batched, x):
    return 100.0 + x, in_batched[0]


def test_the_rule_for_vmap_of_the_function_within():
    """JAX's documentation sets it on the outermost object."""
    inner = custom_vmap(pnp.sin)
    f = pb.custom_vjp(inner)
    assert f.def_vmap(rule) is rule
    f.defvjp(lambda x: (f(x), x), lambda x, ct: (3.0 * ct,))
    x = pnp.arange(3.0)
    for run in EAGER_AND_JIT:
        np.testing.assert_array_equal(run(pb.vmap(f))(x), 100.0 + x)
        np.testing.assert_array_equal(run(pb.vmap(pb.grad(f)))(x), [3.0] * 3)
        np.testing.assert_array_equal(run(pb.grad(lambda x: pb.vmap(f)(x).sum()))(x), [3.0] * 3)
        np.testing.assert_array_equal(run(pb.vmap(pb.value_and_grad(f)))(x)[0], 100.0 + x)
    with pytest.raises(AttributeError, match="'custom_vjp' object has no attribute 'def_vmap'"):
        pb.custom_vjp(pnp.sin).def_vmap  # noqa: B018


def test_rules_see_which_operands_are_batched():
    """A derivative rule that calls a function with a rule for vmap: it is told what is batched where it is called."""
    seen = []

    @custom_vmap
    def product(a, x):
        return a @ x

    @product.def_vmap
    def product_rule(axis_size, in_batched, a, x):
        seen.append(tuple(in_batched))
        return pnp.einsum("...ij,...j->...i", a, x), True

    @pb.custom_vjp
    def f(a, x):
        return product(a, x)

    f.defvjp(lambda a, x: (product(a, x), (a, x)), lambda res, ct: (pnp.outer(ct, res[1]), product(res[0].T, ct)))

    @pb.custom_jvp
    def g(a, x):
        return product(a, x)

    @g.defjvp
    def g_jvp(primals, tangents):
        (a, x), (da, dx) = primals, tangents
        return g(a, x), product(a, dx) + product(da, x)

    a, xs = 2 * pnp.eye(3), pnp.ones((4, 3))

    def each(h, xs):
        return pb.vmap(pb.grad(lambda x: h(a, x).sum()))(xs)

    def all_at_once(h, xs):
        return pb.grad(lambda xs: pb.vmap(h, (None, 0))(a, xs).sum())(xs)

    def forward(h, xs):
        return pb.jvp(lambda xs: pb.vmap(h, (None, 0))(a, xs), (xs,), (xs,))[1]

    for h, calls in ((f, (each, all_at_once)), (g, (each, all_at_once, forward))):
        for call in calls:
            for run in (functools.partial(call, h), pb.jit(functools.partial(call, h))):
                seen.clear()
                np.testing.assert_array_equal(run(xs), np.full((4, 3), 2.0))
                assert set(seen) == {(False, True)}
