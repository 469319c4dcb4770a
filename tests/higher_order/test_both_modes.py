"""Forward and reverse rules on one function, forward mode of vjp-only rules, and rules of methods."""

from functools import partial

import numpy as np
import pytest
from functions import with_tangent, with_vjp
from wrappers import eager, in_cond, in_vmap

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_rules, custom_vjp, lax
from pullback.core import check_jaxpr

REFUSED = "can't apply forward-mode autodiff (jvp) to a custom_vjp function."


def product(jvp=None):
    """sin(x) * y with its true derivative, as a reverse rule alone."""

    @partial(custom_vjp, jvp=jvp)
    def f(x, y):
        return pnp.sin(x) * y

    def fwd(x, y):
        return f(x, y), (x, y)

    def bwd(saved, ct):
        x, y = saved
        return pnp.cos(x) * y * ct, pnp.sin(x) * ct

    f.defvjp(fwd, bwd)
    return f


def test_forward_mode_of_a_vjp_rule_is_refused_with_the_choices_in_the_notes():
    with pytest.raises(TypeError) as caught:
        pb.jvp(product(), (1.0, 2.0), (1.0, 0.0))
    assert str(caught.value) == REFUSED
    notes = "\n".join(caught.value.__notes__)
    for choice in ("defjvp", "jvp='transpose'", "jvp='fwd'", "jvp='primal'"):
        assert choice in notes


# functions from a vector to a vector, of such a one


def mean_of_two_steps(f):
    def fun(v):
        return lax.scan(lambda c, _: (c + f(v) / 2, None), pnp.zeros(3), None, length=2)[0]

    return fun


def sum_over_two_scales(f):
    def fun(v):
        return pb.vmap(lambda s: f(v * s))(pnp.array([1.0, 2.0])).sum(0)

    return fun


def where_the_sum_is_positive(f):
    return lambda v: lax.cond(v.sum() > 0, f, pnp.zeros_like, v)


@pytest.mark.parametrize("source", ["transpose", "fwd", "primal"])
@pytest.mark.parametrize("wrap", [eager, pb.jit, mean_of_two_steps, sum_over_two_scales, where_the_sum_is_positive])
def test_forward_mode_equals_reverse_mode(source, wrap):
    f = product(source)
    x = np.array([0.3, 0.7, 1.1], "float32")
    g = wrap(lambda v: f(v, v**2))
    expected = pb.jacrev(wrap(lambda v: pnp.sin(v) * v**2))(x)
    np.testing.assert_allclose(pb.jacrev(g)(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pb.jacfwd(g)(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pb.jit(pb.jacfwd(g))(x), expected, rtol=1e-5, atol=1e-6)
    push = pb.linearize(g, x)[1]
    np.testing.assert_allclose(push(np.ones(3, "float32")), expected.sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pb.jit(push)(np.ones(3, "float32")), expected.sum(1), rtol=1e-5, atol=1e-6)
    check_jaxpr(pb.make_jaxpr(pb.jacfwd(g))(x))


@pytest.mark.parametrize("source", ["transpose", "fwd", "primal"])
def test_second_order_in_all_four_orders(source):
    f = product(source)

    def loss(v):
        return f(v[0], v[1]) ** 2

    v = np.array([0.4, 1.3], "float32")
    expected = pb.hessian(lambda v: (pnp.sin(v[0]) * v[1]) ** 2)(v)
    for outer in (pb.jacfwd, pb.jacrev):
        for inner in (pb.jacfwd, pb.jacrev):
            np.testing.assert_allclose(outer(inner(loss))(v), expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(pb.jit(outer(inner(loss)))(v), expected, rtol=1e-4, atol=1e-5)


def test_a_bwd_rule_that_is_not_linear_says_so():
    f = custom_vjp(lambda x: x, jvp="transpose")
    f.defvjp(lambda x: (x, None), lambda _, g: (g * g,))
    with pytest.raises(TypeError, match="two tangents") as caught:
        pb.jvp(f, (1.0,), (1.0,))
    assert "must be linear" in "".join(caught.value.__notes__)
    clipped = custom_vjp(lambda x: x, jvp="transpose")
    clipped.defvjp(lambda x: (x, None), lambda _, g: (pnp.sin(g),))
    with pytest.raises(NotImplementedError, match="'sin' has no transpose") as caught:
        pb.jvp(clipped, (1.0,), (1.0,))
    assert "jvp='transpose'" in "".join(caught.value.__notes__)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"jvp must be one of None, 'transpose', 'fwd', 'primal', got 'reverse'"):
        custom_vjp(pnp.sin, jvp="reverse")


def sine_with_both_rules(decorator):
    """The sine, with twice its derivative forward and three times backward."""

    @decorator
    def f(x):
        return pnp.sin(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(*primals), 2.0 * pnp.cos(primals[0]) * tangents[0]

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (3.0 * pnp.cos(x) * ct,)

    f.defvjp(fwd, bwd)
    return f


@pytest.mark.parametrize("decorator", [custom_jvp, custom_vjp, custom_rules])
@pytest.mark.parametrize("wrap", [eager, pb.jit, in_cond, in_vmap])
def test_both_rules_on_one_function(decorator, wrap):
    f = sine_with_both_rules(decorator)
    g, x, cos = wrap(f), pnp.float32(0.5), np.cos(np.float32(0.5))
    np.testing.assert_allclose(pb.jvp(g, (x,), (pnp.float32(1),))[1], 2 * cos, rtol=1e-6)
    np.testing.assert_allclose(pb.grad(g)(x), 3 * cos, rtol=1e-6)
    np.testing.assert_allclose(pb.jacfwd(g)(x), 2 * cos, rtol=1e-6)
    # the outer derivative differentiates the cosine of the reverse rule
    np.testing.assert_allclose(pb.hessian(f)(0.5), -3 * np.sin(0.5), rtol=1e-5)


def test_rules_of_a_method_get_self_first():
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        @custom_jvp
        def forward(self, x):
            return self.factor * x

        @forward.defjvp
        def forward_jvp(self, primals, tangents):
            return self.forward(*primals), 10.0 * self.factor * tangents[0]

        @custom_vjp
        def reverse(self, x):
            return self.factor * x

        def reverse_fwd(self, x):
            return self.factor * x, None

        def reverse_bwd(self, _, ct):
            return (100.0 * self.factor * ct,)

        reverse.defvjp(reverse_fwd, reverse_bwd)

    s = Scale(2.0)
    assert float(s.forward(3.0)) == 6.0
    assert float(pb.grad(s.forward)(3.0)) == 20.0
    assert float(pb.grad(s.reverse)(3.0)) == 200.0
    assert float(pb.jit(pb.grad(s.forward))(3.0)) == 20.0
    assert float(pb.vmap(pb.grad(s.reverse))(pnp.ones(2))[1]) == 200.0


def double_with_wrong_transpose(residuals):
    """2 t, a function of tangents, whose bwd rule says a hundred times the cotangent."""

    def fwd(t):
        return 2.0 * t, residuals

    def bwd(_, ct):
        return (100.0 * ct,)

    return with_vjp(lambda t: 2.0 * t, fwd, bwd)


@pytest.mark.parametrize("wrap", [eager, pb.jit, in_vmap])
def test_a_linear_function_inside_a_jvp_rule_is_transposed_by_its_own_rule(wrap):
    double = double_with_wrong_transpose(("saved",))
    f = with_tangent(pnp.sin, lambda x, t: double(pnp.cos(x) * t))
    # forward mode runs the function, reverse mode its bwd rule
    np.testing.assert_allclose(pb.jvp(wrap(f), (0.5,), (1.0,))[1], 2 * np.cos(0.5), rtol=1e-6)
    np.testing.assert_allclose(pb.grad(wrap(f))(pnp.float32(0.5)), 100 * np.cos(0.5), rtol=1e-6)


def test_a_custom_function_of_tangents_without_a_linear_rule_is_recorded_step_by_step():
    def fwd(t, s):
        return t * s, (t, s)

    def bwd(saved, ct):
        t, s = saved
        return ct * s, ct * t

    scaled = with_vjp(lambda t, s: t * s, fwd, bwd)
    f = with_tangent(pnp.sin, lambda x, t: scaled(t, 3.0 * pnp.cos(x)))
    np.testing.assert_allclose(pb.grad(f)(0.5), 3 * np.cos(0.5), rtol=1e-6)


def test_a_linear_function_staged_inside_a_jvp_rule_keeps_its_own_rule():
    double = double_with_wrong_transpose(None)
    f = with_tangent(pnp.sin, lambda x, t: pb.jit(double)(t))
    assert float(pb.grad(f)(0.5)) == 100.0
    assert float(pb.jit(pb.grad(f))(0.5)) == 100.0
