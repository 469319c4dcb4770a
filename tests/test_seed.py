"""The examples of the document the library was begun from, with the output it shows, to the letter.

The document is "Custom derivative rules for Python code" (JAX's notebooks); each test is named after its
section. Where its text makes a claim and shows no example, the test is ours and its name says the claim.
Here: its summary and its example problems. Its description of the two decorators is in test_seed_rules.py.
"""

from functools import partial

import numpy as np
import pytest

import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, grad, jit, jvp, lax, make_jaxpr, vjp, vmap


def printed(*values):
    """The lines that ``print`` makes of these values."""
    return [str(value) for value in values]


# ---- The summary at its head: the same function with three kinds of rule


def sine_times(x, y):
    return pnp.sin(x) * y


def with_defjvp():
    f = custom_jvp(sine_times)

    @f.defjvp
    def f_jvp(primals, tangents):
        (x, y), (x_dot, y_dot) = primals, tangents
        return f(x, y), pnp.cos(x) * x_dot * y + pnp.sin(x) * y_dot

    return f


def with_defjvps():
    f = custom_jvp(sine_times)
    f.defjvps(
        lambda x_dot, out, x, y: pnp.cos(x) * x_dot * y,
        lambda y_dot, out, x, y: pnp.sin(x) * y_dot,
    )
    return f


def with_defvjp():
    f = custom_vjp(sine_times)
    f.defvjp(
        lambda x, y: (f(x, y), (pnp.cos(x), pnp.sin(x), y)),
        lambda saved, g: (saved[0] * g * saved[2], saved[1] * g),
    )
    return f


@pytest.mark.parametrize("make", [with_defjvp, with_defjvps])
def test_summary_custom_jvp(make):
    f = make()
    lines = printed(f(2.0, 3.0), *jvp(f, (2.0, 3.0), (1.0, 0.0)), grad(f)(2.0, 3.0))
    assert lines == ["2.7278922", "2.7278922", "-1.2484405", "-1.2484405"]


def test_summary_custom_vjp():
    assert str(grad(with_defvjp())(2.0, 3.0)) == "-1.2484405"


# ---- Numerical stability


def log1pexp(x):
    return pnp.log(1.0 + pnp.exp(x))


def log1pexp_defjvp():
    f = custom_jvp(log1pexp)

    @f.defjvp
    def f_jvp(primals, tangents):
        (x,), (x_dot,) = primals, tangents
        return f(x), (1 - 1 / (1 + pnp.exp(x))) * x_dot

    return f


def log1pexp_defjvps():
    f = custom_jvp(log1pexp)
    f.defjvps(lambda t, out, x: (1 - 1 / (1 + pnp.exp(x))) * t)
    return f


@pytest.mark.parametrize("make", [lambda: log1pexp, log1pexp_defjvp, log1pexp_defjvps])
def test_numerical_stability_moderate_inputs(make):
    f = make()
    lines = printed(jit(f)(3.0), jit(grad(f))(3.0), vmap(jit(grad(f)))(pnp.arange(3.0)))
    assert lines == ["3.0485873", "0.95257413", "[0.5       0.7310586 0.8807971]"]


def test_numerical_stability_value():
    assert repr(log1pexp(3.0)) == "Array(3.0485873, dtype=float32, weak_type=True)"


def test_numerical_stability_plain_gradient_is_nan():
    assert str(grad(log1pexp)(100.0)) == "nan"


def test_numerical_stability_jaxpr():
    jaxpr = make_jaxpr(grad(log1pexp))(100.0)
    text = """\
{ lambda ; a:f32[]. let
    b:f32[] = exp a
    c:f32[] = add 1.0 b
    _:f32[] = log c
    d:f32[] = div 1.0 c
    e:f32[] = mul d b
  in (e,) }"""
    assert str(jaxpr) == text
    assert repr(jaxpr) == text


@pytest.mark.parametrize("make", [log1pexp_defjvp, log1pexp_defjvps])
def test_numerical_stability_with_rule(make):
    assert str(grad(make())(100.0)) == "1.0"


# ---- Enforcing a differentiation convention


def over_one_plus_root(x):
    return x / (1 + pnp.sqrt(x))


def right_slope(x):
    return (pnp.sqrt(x) + 2) / (2 * (pnp.sqrt(x) + 1) ** 2)


def test_convention_plain_gradient_is_nan():
    assert str(grad(over_one_plus_root)(0.0)) == "nan"


def test_convention_defjvp():
    f = custom_jvp(over_one_plus_root)
    f.defjvp(lambda primals, tangents: (f(*primals), right_slope(primals[0]) * tangents[0]))
    assert str(grad(f)(0.0)) == "1.0"


def test_convention_defjvps():
    f = custom_jvp(over_one_plus_root)
    f.defjvps(lambda t, out, x: right_slope(x) * t)
    assert str(grad(f)(0.0)) == "1.0"


# ---- Gradient clipping


@custom_vjp
def clip_gradient(lo, hi, x):
    return x


clip_gradient.defvjp(
    lambda lo, hi, x: (x, (lo, hi)),
    lambda bounds, g: (None, None, pnp.clip(g, *bounds)),
)


def clip_sin(x):
    return pnp.sin(clip_gradient(-0.75, 0.75, x))


def test_gradient_clipping_curves():
    t = pnp.linspace(0, 10, 1000)
    assert t.shape == (1000,)
    np.testing.assert_allclose(vmap(grad(pnp.sin))(t), np.cos(t), atol=1e-6)
    np.testing.assert_array_equal(clip_sin(t), pnp.sin(t))
    np.testing.assert_allclose(vmap(grad(clip_sin))(t), np.clip(np.cos(t), -0.75, 0.75), atol=1e-6)


def test_gradient_clipping_none_is_a_zero_cotangent():
    lo_bar, hi_bar, x_bar = grad(clip_gradient, (0, 1, 2))(-0.75, 0.75, 2.0)
    assert printed(lo_bar, hi_bar, x_bar) == ["0.0", "0.0", "0.75"]


def test_gradient_clipping_integer_bounds_need_no_nondiff_argnums():
    lo, hi = pnp.array(-2), pnp.array(2)
    assert np.issubdtype(lo.dtype, np.integer)
    assert str(grad(lambda x: 7.0 * clip_gradient(lo, hi, x))(1.0)) == "2.0"
    assert str(jit(grad(lambda x, lo, hi: 7.0 * clip_gradient(lo, hi, x)))(1.0, lo, hi)) == "2.0"


# ---- Implicit function differentiation of iterative implementations


def iterate(f, a, guess):
    def cond_fun(carry):
        return pnp.abs(carry[0] - carry[1]) > 1e-6

    def body_fun(carry):
        return carry[1], f(a, carry[1])

    return lax.while_loop(cond_fun, body_fun, (guess, f(a, guess)))[1]


fixed_point = partial(custom_vjp, nondiff_argnums=(0,))(iterate)


def fixed_point_fwd(f, a, guess):
    x_star = fixed_point(f, a, guess)
    return x_star, (a, x_star)


def fixed_point_rev(f, saved, x_star_bar):
    a, x_star = saved
    _, vjp_a = vjp(lambda a: f(a, x_star), a)
    (a_bar,) = vjp_a(fixed_point(partial(rev_iter, f), (a, x_star, x_star_bar), x_star_bar))
    return a_bar, pnp.zeros_like(x_star)


def rev_iter(f, packed, u):
    a, x_star, x_star_bar = packed
    _, vjp_x = vjp(lambda x: f(a, x), x_star)
    return x_star_bar + vjp_x(u)[0]


fixed_point.defvjp(fixed_point_fwd, fixed_point_rev)


def newton_sqrt(a, solver=fixed_point):
    return solver(lambda a, x: 0.5 * (x + a / x), a, a)


@pytest.mark.parametrize("solver", [iterate, fixed_point])
def test_implicit_differentiation_values(solver):
    root = partial(newton_sqrt, solver=solver)
    assert str(root(2.0)) == "1.4142135"
    assert str(jit(vmap(root))(pnp.array([1.0, 2.0, 3.0, 4.0]))) == "[1.        1.4142135 1.7320509 2.       ]"


def test_implicit_differentiation_gradients():
    lines = printed(grad(newton_sqrt)(2.0), grad(grad(newton_sqrt))(2.0))
    assert lines == ["0.35355338", "-0.088388346"]


def test_implicit_differentiation_compared_with_sqrt():
    lines = printed(grad(pnp.sqrt)(2.0), grad(grad(pnp.sqrt))(2.0))
    assert lines == ["0.35355338", "-0.08838835"]


def test_implicit_differentiation_reverse_mode_refuses_a_while_loop():
    with pytest.raises(ValueError, match="while_loop"):
        grad(partial(newton_sqrt, solver=iterate))(2.0)
