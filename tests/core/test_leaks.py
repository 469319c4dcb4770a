"""The option `check_tracer_leaks`: traced values that outlive the function are found, where JAX finds them too."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.errors import UnexpectedTracerError

OURS = SimpleNamespace(jax=pb, jnp=pnp, lax=lax)
JAXS = SimpleNamespace(jax=jax, jnp=jax.numpy, lax=jax.lax)
XS = np.ones(3, np.float32)


@pytest.fixture
def few_objects():
    """What other tests have left, which may be millions of objects, is not searched."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def keeping(J, box):
    def leak(x):
        box.append(J.jnp.sin(x))
        return x * 2

    return leak


def clean(J):
    return lambda x: J.jnp.sin(x) * 2


def kept_by_jit(J, box):
    J.jax.jit(keeping(J, box))(1.0)


def kept_argument(J, box):
    J.jax.jit(lambda x: box.append(x))(1.0)


def kept_by_make_jaxpr(J, box):
    J.jax.make_jaxpr(keeping(J, box))(1.0)


def kept_by_eval_shape(J, box):
    J.jax.eval_shape(keeping(J, box), 1.0)


def kept_by_vmap(J, box):
    J.jax.vmap(keeping(J, box))(XS)


def kept_by_scan(J, box):
    J.lax.scan(lambda c, x: (keeping(J, box)(c), x), 0.0, XS)


def kept_by_a_branch(J, box):
    J.lax.cond(True, keeping(J, box), clean(J), 1.0)


def kept_by_while_loop(J, box):
    J.lax.while_loop(lambda x: x < 3, keeping(J, box), 1.0)


def kept_by_checkpoint(J, box):
    J.jax.grad(J.jax.checkpoint(keeping(J, box)))(1.0)


def kept_inside_of_grad(J, box):
    J.jax.jit(J.jax.grad(keeping(J, box)))(1.0)


def kept_by_a_closure(J, box):
    def f(x):
        def g(y):
            return x + y

        box.append(g)
        return g(1.0)

    J.jax.jit(f)(1.0)


def kept_as_an_attribute(J, box):
    def f(x):
        J.attribute = x
        return x

    J.jax.jit(f)(1.0)


LEAKS = [fun for name, fun in vars().items() if name.startswith("kept_")]


def jitted(J):
    f = J.jax.jit(clean(J))
    f(1.0)
    f(2.0)


def mapped_gradient(J):
    J.jax.vmap(J.jax.grad(clean(J)))(XS)


def hessian(J):
    J.jax.hessian(lambda x: J.jnp.sum(J.jnp.sin(x) ** 2))(XS)


def scan_in_jit(J):
    def step(c, y):
        return c + J.jnp.sin(y), c

    J.jax.jit(lambda x: J.lax.scan(step, x, XS))(1.0)


def custom_rule(J):
    f = J.jax.custom_vjp(clean(J))
    f.defvjp(lambda x: (f(x), x), lambda r, g: (g * r,))
    J.jax.jit(J.jax.grad(f))(1.0)


def pullback_in_jit(J):
    J.jax.jit(lambda x: J.jax.vjp(clean(J), x)[1](1.0))(1.0)


def containers(J):
    J.jax.jit(lambda x: {"a": x, "b": [x, (x,)]})(1.0)


def a_list_that_holds_itself(J):
    def f(x):
        values = [x]
        values.append(values)
        return x

    J.jax.jit(f)(1.0)


CLEAN = [
    jitted,
    mapped_gradient,
    hessian,
    scan_in_jit,
    custom_rule,
    pullback_in_jit,
    containers,
    a_list_that_holds_itself,
]


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("program", LEAKS)
def test_leaks_are_found(program):
    with pb.checking_leaks(), pytest.raises(UnexpectedTracerError, match=r"^Leaked trace: .* has ended, but"):
        program(OURS, [])
    with jax.checking_leaks(), pytest.raises(Exception, match="Leaked trace"):
        program(JAXS, [])
    program(OURS, [])  # without the option nothing is searched


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize("program", CLEAN)
def test_what_does_not_leak_passes(program):
    with pb.checking_leaks():
        program(OURS)
    with jax.checking_leaks():
        program(JAXS)


@pytest.mark.usefixtures("few_objects")
def test_the_error_says_where_the_value_was_made_and_what_holds_it():
    box = []
    line = keeping.__code__.co_firstlineno + 2
    for transform in (pb.jit, pb.vmap):
        with pb.checking_leaks(), pytest.raises(UnexpectedTracerError) as caught:
            transform(keeping(OURS, box))(XS)
        assert f"test_leaks.py:{line} (leak); a list of {len(box)} holds it" in str(caught.value)


def test_the_error_names_an_attribute_and_a_closure():
    with pb.checking_leaks(), pytest.raises(UnexpectedTracerError, match=r"argument 'x'; an object of .* 'attribute'"):
        kept_as_an_attribute(OURS, [])
    with pb.checking_leaks(), pytest.raises(UnexpectedTracerError, match=r"a closure holds it, of .*f\.<locals>\.g"):
        kept_by_a_closure(OURS, [])


@pytest.mark.usefixtures("few_objects")
def test_an_error_of_the_function_is_raised_as_it_is():
    def failing(x):
        raise ValueError("mine")

    with pb.checking_leaks(), pytest.raises(ValueError, match="mine"):
        pb.jit(failing)(1.0)


@pytest.mark.usefixtures("few_objects")
def test_what_was_traced_before_is_traced_again():
    box = []
    f = pb.jit(keeping(OURS, box))
    f(1.0)
    with pb.checking_leaks(), pytest.raises(UnexpectedTracerError):
        f(1.0)
