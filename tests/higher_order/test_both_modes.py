"""Forward and reverse rules on one function, forward mode of vjp-only rules, and rules of methods."""

from functools import partial

import numpy as np
import pytest

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

    f.defvjp(lambda x, y: (f(x, y), (x, y)),
             lambda res, g: (pnp.cos(res[0]) * res[1] * g, pnp.sin(res[0]) * g))
    return f


def test_forward_mode_of_a_vjp_rule_is_refused_with_the_choices_in_the_notes():
    with pytest.raises(TypeError) as caught:
        pb.jvp(product(), (1.0, 2.0), (1.0, 0.0))
    assert str(caught.value) == REFUSED
    notes = "\n".join(caught.value.__notes__)
    for choice in ("defjvp", "jvp='transpose'", "jvp='fwd'", "jvp='primal'"):
        assert choice in notes


WRAPPERS = {
    "plain": lambda f: f,
    "jit": lambda f: pb.jit(f),
    "scan": lambda f: lambda v: lax.scan(lambda c, _: (c + f(v) / 2, None), pnp.zeros(3), None, length=2)[0],
    "vmap": lambda f: lambda v: pb.vmap(lambda s: f(v * s))(pnp.array([1.0, 2.0])).sum(0),
    "cond": lambda f: lambda v: lax.cond(v.sum() > 0, f, lambda v: v * 0.0, v),
}


@pytest.mark.parametrize("source", ["transpose", "fwd", "primal"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_forward_mode_equals_reverse_mode(source, wrapper):
    f = product(source)
    x = np.array([0.3, 0.7, 1.1], "float32")
    g = WRAPPERS[wrapper](lambda v: f(v, v**2))
    expected = pb.jacrev(WRAPPERS[wrapper](lambda v: pnp.sin(v) * v**2))(x)
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


@pytest.mark.parametrize("decorator", [custom_jvp, custom_vjp, custom_rules])
def test_both_rules_on_one_function(decorator):
    @decorator
    def f(x):
        return pnp.sin(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(*primals), 2.0 * pnp.cos(primals[0]) * tangents[0]

    f.defvjp(lambda x: (f(x), x), lambda x, g: (3.0 * pnp.cos(x) * g,))
    cos = np.cos(np.float32(0.5))
    for g in (f, pb.jit(f), lambda x: lax.cond(True, f, f, x), lambda x: pb.vmap(f)(x[None])[0]):
        x = pnp.float32(0.5)
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

        reverse.defvjp(lambda self, x: (self.factor * x, None), lambda self, _, g: (100.0 * self.factor * g,))

    s = Scale(2.0)
    assert float(s.forward(3.0)) == 6.0
    assert float(pb.grad(s.forward)(3.0)) == 20.0
    assert float(pb.grad(s.reverse)(3.0)) == 200.0
    assert float(pb.jit(pb.grad(s.forward))(3.0)) == 20.0
    assert float(pb.vmap(pb.grad(s.reverse))(pnp.ones(2))[1]) == 200.0


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit, lambda f: lambda x: pb.vmap(f)(x[None])[0]])
def test_a_linear_function_inside_a_jvp_rule_is_transposed_by_its_own_rule(wrap):
    double = custom_vjp(lambda t: 2.0 * t)
    double.defvjp(lambda t: (2.0 * t, ("saved",)), lambda res, ct: (100.0 * ct,))

    @custom_jvp
    def f(x):
        return pnp.sin(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(*primals), double(pnp.cos(primals[0]) * tangents[0])

    x = pnp.float32(0.5)
    # forward mode runs the function, reverse mode its bwd rule
    np.testing.assert_allclose(pb.grad(wrap(f))(x), 100 * np.cos(0.5), rtol=1e-6)


def test_a_custom_function_of_tangents_without_a_linear_rule_is_recorded_step_by_step():
    scaled = custom_vjp(lambda t, s: t * s)
    scaled.defvjp(lambda t, s: (t * s, (t, s)), lambda res, ct: (ct * res[1], ct * res[0]))

    @custom_jvp
    def f(x):
        return pnp.sin(x)

    f.defjvp(lambda primals, tangents: (f(*primals), scaled(tangents[0], 3.0 * pnp.cos(primals[0]))))
    np.testing.assert_allclose(pb.grad(f)(0.5), 3 * np.cos(0.5), rtol=1e-6)


def test_a_linear_function_staged_inside_a_jvp_rule_keeps_its_own_rule():
    double = custom_vjp(lambda t: 2.0 * t)
    double.defvjp(lambda t: (2.0 * t, None), lambda _, ct: (100.0 * ct,))
    f = custom_jvp(pnp.sin)
    f.defjvp(lambda primals, tangents: (f(*primals), pb.jit(lambda t: double(t))(tangents[0])))
    assert float(pb.grad(f)(0.5)) == 100.0
    assert float(pb.jit(pb.grad(f))(0.5)) == 100.0
