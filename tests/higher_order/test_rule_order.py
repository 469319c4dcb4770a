"""Rules at the next order: one that does not call its own function is lost there, and a warning says so."""

import warnings

import numpy as np
import pytest
from agreement import all_close
from functions import with_jvp
from wrappers import STAGED, WRAPPERS, checkpoint, eager, forward, in_cond, in_vmap, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_rules, custom_vjp, errors, grad, jit, jvp, lax, vmap

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def jvp_without_calling(primals, tangents):
    return pnp.sin(primals[0]), pnp.cos(primals[0]) * tangents[0]


def fwd_without_calling(x):
    return pnp.sin(x), x


def bwd(x, ct):
    return (pnp.cos(x) * ct,)


def sine_with(rule):
    f = custom_rules(lambda x: pnp.sin(x), jvp="transpose")
    if rule is jvp_without_calling:
        f.defjvp(rule)
    else:
        f.defvjp(rule, bwd)
    return f


def grad_of_grad(f):
    return grad(grad(f))


def jit_of_grad_of_grad(f):
    return jit(grad(grad(f)))


def hessian_in_vmap(f):
    return lambda x: vmap(pb.hessian(f))(x[None])


def grad_of_jvp(f):
    return grad(lambda x: jvp(f, (x,), (1.0,))[1])


@pytest.mark.parametrize("rule", [jvp_without_calling, fwd_without_calling])
@pytest.mark.parametrize("second", [grad_of_grad, pb.hessian, jit_of_grad_of_grad, hessian_in_vmap, grad_of_jvp])
def test_rule_that_does_not_call_its_function_warns_at_second_order(rule, second):
    f = sine_with(rule)
    with pytest.warns(errors.RuleOrderWarning) as caught:
        second(f)(pnp.float32(0.5))
    first = caught[0]
    assert (first.filename, first.lineno) == (__file__, rule.__code__.co_firstlineno)
    assert rule.__name__ in str(first.message)
    assert f"called at {__file__}" in str(first.message)


@pytest.mark.parametrize("rule", [jvp_without_calling, fwd_without_calling])
def test_no_warning_at_first_order_nor_twice(rule):
    f = sine_with(rule)
    grad(f)(0.5), jit(grad(f))(0.5), vmap(grad(f))(X), pb.jacfwd(f)(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            grad(grad(f))(0.5)
    assert len(caught) == 1


@pytest.mark.parametrize("transform", [grad, pb.jacfwd])
@pytest.mark.parametrize("wrap", [eager, jit, in_vmap])
def test_no_warning_where_the_rule_calls_its_function(wrap, transform):
    f = custom_rules(lambda x: pnp.sin(x))

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(*primals), pnp.cos(primals[0]) * tangents[0]

    def f_fwd(x):
        return f(x), x

    f.defvjp(f_fwd, bwd)
    all_close(grad(transform(grad(wrap(f))))(f32(0.5)), -np.cos(f32(0.5)), 10)


# ---- in values of gradients: the value, of order 0, comes from the rule


def value_of_gradient(f):
    return lambda x: pb.value_and_grad(f)(x)[0]


def in_one_step(f):
    """As what the one step of a loop does to its carry."""

    def step(c, _):
        return f(c), None

    return lambda x: lax.scan(step, x, None, 1)[0]


@pytest.mark.parametrize("wrap", [eager, jit, in_one_step])
def test_a_custom_gradient_holds_at_the_next_order_in_traced_code(wrap):
    @pb.custom_gradient
    def square(x):
        def rule(ct):
            return 10.0 * ct * x

        return x**2, rule

    all_close(grad(wrap(value_of_gradient(square)))(3.0), f32(30))


@pytest.mark.parametrize("wrap", STAGED)
@pytest.mark.parametrize("transform", [grad, forward, jit_of_grad])
def test_a_lost_rule_is_reported_in_traced_code_too(wrap, transform):
    f = with_jvp(lambda x: pnp.sin(x), lambda p, t: (pnp.sin(p[0]), 7.0 * t[0]))
    with pytest.warns(errors.RuleOrderWarning, match="does not call"):
        transform(wrap(value_of_gradient(f)))(0.5)


@pytest.mark.parametrize("inner", WRAPPERS)
@pytest.mark.parametrize("outer", [in_vmap, in_cond, checkpoint])
def test_a_lost_rule_is_reported_through_batches_and_branches(outer, inner):
    f = with_jvp(lambda x: pnp.sin(x), lambda p, t: (pnp.sin(p[0]), 7.0 * t[0]))
    with pytest.warns(errors.RuleOrderWarning, match="does not call"):
        grad(outer(jit(value_of_gradient(inner(f)))))(0.5)


def names_of_operations(f):
    return [eqn.primitive.name for eqn in pb.make_jaxpr(f)(0.5).eqns]


def test_an_output_without_its_function_is_marked_in_a_jaxpr():
    def exp_jvp(primals, tangents):
        y = pnp.exp(primals[0])
        return y, y * tangents[0]

    f = with_jvp(lambda x: pnp.exp(x), exp_jvp)
    assert names_of_operations(lambda x: jvp(f, (x,), (2.0,))) == ["exp", "rule_output", "mul"]
    # the mark is no operation of a program, and in a jaxpr as needed as what it marks
    assert "rule_output" not in jit(lambda x: jvp(f, (x,), (2.0,))).lower(0.5).as_text()
    g = with_jvp(lambda x: pnp.sin(x), lambda p, t: (pnp.sin(p[0]), 7.0 * t[0]))
    assert "rule_output" not in names_of_operations(grad(g))


def test_no_mark_where_the_rule_calls_its_function():
    f = with_jvp(lambda x: pnp.sin(x), lambda p, t: (f(p[0]), 7.0 * t[0]))
    assert "rule_output" not in names_of_operations(value_of_gradient(f))


def test_calls_by_a_compiled_function_count():
    f = custom_vjp(lambda x: pnp.sin(x))
    compiled = jit(f)

    def fwd(x):
        return compiled(x), x

    def fivefold(x, ct):
        return (5.0 * ct * pnp.cos(x),)

    f.defvjp(fwd, fivefold)
    v = value_of_gradient(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            all_close(grad(v)(0.0), f32(5))
            all_close(grad(jit(v))(0.0), f32(5))
