"""What custom rules offer beyond one rule for each mode: keywords, parts of rules, logs; errors and costs."""

import re

import jax
import numpy as np
import pytest
from agreement import all_close
from wrappers import WRAPPERS, eager, grad_of_jit, in_cond, in_scan, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_rules, custom_vjp, errors, grad, jit, jvp, lax, vjp, vmap
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


# ---- keyword-only arguments


@custom_rules
def scaled(x, *, scale=1.0, mode="soft"):
    """x times the scale, with ten times the derivative forward, and a hundred or a thousand times backward."""
    return x * scale


@scaled.defjvp
def scaled_jvp(primals, tangents, *, scale, mode):
    return scaled(*primals, scale=scale, mode=mode), 10 * scale * tangents[0]


def scaled_fwd(x, *, scale, mode):
    return scaled(x, scale=scale, mode=mode), None


def scaled_bwd(_, ct, *, scale, mode):
    return ({"soft": 100.0, "hard": 1000.0}[mode] * scale * ct,)


scaled.defvjp(scaled_fwd, scaled_bwd)


def doubled(x):
    return scaled(x, scale=2.0)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_keyword_only_arguments_reach_every_rule_by_keyword(wrap):
    all_close(grad(wrap(doubled))(f32(3)), f32(200))
    all_close(grad(wrap(lambda x: scaled(x, scale=2.0, mode="hard")))(f32(3)), f32(2000))
    all_close(grad(wrap(lambda x: scaled(x)))(f32(3)), f32(100))
    all_close(jvp(wrap(doubled), (f32(3),), (f32(1),)), (f32(6), f32(20)))
    all_close(vmap(grad(wrap(doubled)))(X), np.full(3, 200, f32))


def test_grad_passes_keywords_on():
    all_close(grad(scaled)(f32(3), scale=2.0), f32(200))
    all_close(jit(grad(scaled), static_argnames="mode")(f32(3), scale=2.0, mode="hard"), f32(2000))


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_traced_keyword_arguments_are_differentiated_through_the_function(wrap):
    # the rule says nothing of scale: d/dscale is x
    gradients = grad(wrap(lambda x, s: scaled(x, scale=s)), (0, 1))
    all_close(gradients(f32(3), f32(2)), (f32(200), f32(3)))
    all_close(vmap(gradients)(X, 2 * X), (200 * X, X))


def test_rule_that_does_not_take_the_keywords_is_named():
    f = custom_jvp(lambda x, *, scale=1.0: x * scale)
    f.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(errors.RuleError, match=r"jvp rule .*keyword-only arguments.* scale.*unexpected keyword"):
        grad(f)(1.0, scale=2.0)


def power(x, kind, power):
    return x**power


@pytest.mark.parametrize(("names", "numbers"), [(("kind", "power"), ()), ("kind", 2)])
def test_nondiff_argnames(names, numbers):
    f = custom_jvp(power, nondiff_argnums=numbers, nondiff_argnames=names)
    assert sorted(f.nondiff_argnums) == [1, 2]

    @f.defjvp
    def rule(kind, power, primals, tangents):
        return f(primals[0], "k", 3), 5.0 * tangents[0]

    all_close(grad(f)(2.0, kind="k", power=3), f32(5))


def test_nondiff_argnames_that_do_not_exist():
    with pytest.raises(ValueError, match="no parameter 'other'"):
        custom_vjp(power, nondiff_argnames="other")


# ---- rules for some of the arguments: for x and z, ten times the derivatives of x y z


def product():
    return custom_rules(lambda x, y, z: x * y * z)


def by_one_jvp_rule():
    f = product()

    def rule(primals, tangents):
        x, y, z = primals
        return f(x, y, z), 10 * tangents[0] * y * z + 10 * tangents[1] * x * y

    f.defjvp(rule, argnums=(0, 2))
    return f


def by_jvp_rules():
    def by_x(t, ans, x, y, z):
        return 10 * t * y * z

    def by_z(t, ans, x, y, z):
        return 10 * x * y * t

    f = product()
    f.defjvps(by_x, ..., by_z)
    return f


def by_a_vjp_rule():
    f = product()

    def fwd(x, y, z):
        return f(x, y, z), (x, y, z)

    def bwd(saved, ct):
        x, y, z = saved
        return 10 * ct * y * z, 10 * ct * x * y

    f.defvjp(fwd, bwd, argnums=(0, 2))
    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("make", [by_one_jvp_rule, by_jvp_rules, by_a_vjp_rule])
def test_rule_for_some_arguments(make, wrap):
    f = wrap(make())

    def stopped(y):
        return f(2.0, lax.stop_gradient(y), 5.0) + y

    all_close(grad(f, (0, 2))(2.0, 3.0, 5.0), (f32(150), f32(60)))
    with pytest.raises(errors.RuleNotDefinedError, match=r"no derivative with respect to argument 'y': .*'x', 'z'"):
        grad(f, 1)(2.0, 3.0, 5.0)
    with pytest.raises(errors.RuleNotDefinedError, match="argument 'y'"):
        vmap(grad(f, (0, 1)))(X, X, X)
    all_close(grad(stopped)(3.0), f32(1))


def test_partial_rule_with_the_wrong_number_of_cotangents():
    f = custom_vjp(lambda x, y: x)
    f.defvjp(lambda x, y: (x, None), lambda _, g: (g, g), argnums=0)
    with pytest.raises(errors.RuleError, match="each of the 1 arguments that the rule covers, got 2"):
        grad(f)(1.0, 2.0)


def test_partial_rule_of_an_argument_that_is_not_differentiable():
    f = custom_vjp(lambda k, x: x, nondiff_argnums=0)
    f.defvjp(lambda k, x: (x, None), lambda k, _, g: (g,), argnums=0)
    with pytest.raises(ValueError, match=r"argnums=\(0,\).*'k'.*nondiff_argnums"):
        grad(f, 1)("k", 2.0)


# ---- what an error names


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_errors_name_rule_definition_call_leaf_expected_and_got(wrap):
    f = custom_vjp(lambda params: params["w"] * 2)

    def fwd(params):
        return f(params), None

    def bwd(_, ct):
        return ({"w": pnp.zeros(7)},)

    f.defvjp(fwd, bwd)

    def user(w):
        return f({"w": w}).sum()

    with pytest.raises(errors.RuleError) as caught:
        grad(wrap(user))(X)
    message = str(caught.value)
    call = user.__code__.co_firstlineno + 1
    definition = bwd.__code__.co_firstlineno
    for part in (
        f"defined at {__file__}:{definition}",
        f"called at {__file__}:{call}",
        "['w']",
        "f32[3]",
        "f32[7]",
        "bwd rule",
    ):
        assert part in message


# ---- other forms


def gradients(lib, f):
    return lib.grad(f, (0, 1))(f32(0.3), f32(0.7))


def gradients_of_a_batch(lib, f):
    return lib.vmap(lib.grad(f, 1))(X, X)


def value_and_gradient(lib, f):
    return lib.value_and_grad(f)(f32(0.3), f32(0.7))


@pytest.mark.parametrize("wrap", [eager, jit])
@pytest.mark.parametrize("transform", [gradients, gradients_of_a_batch, value_and_gradient])
def test_custom_gradient_as_in_jax(transform, wrap):
    def make(lib, numpy):
        @lib.custom_gradient
        def f(x, y):
            s = numpy.sin(x)

            def rule(ct):
                return 10 * ct * numpy.cos(x) * y, 100 * ct * s

            return s * y, rule

        return f

    all_close(transform(pb, wrap(make(pb, pnp))), transform(jax, make(jax, jax.numpy)), 10)


@pb.custom_gradient
def square_with_wrong_gradient(x):
    def rule(ct):
        return ct * 10 * x

    return x**2, rule


@pytest.mark.parametrize("wrap", [eager, jit])
def test_custom_gradient_of_one_argument(wrap):
    f = wrap(square_with_wrong_gradient)
    all_close(grad(f)(3.0), f32(30))
    # the rule holds at the next order too
    slope_of_square = grad(lambda x: f(x) ** 2)
    all_close(grad(slope_of_square)(2.0), f32(2 * (10 * 2) ** 2 + 2 * 4 * 10))


def test_custom_gradient_that_returns_no_rule():
    with pytest.raises(errors.RuleError, match=r"must return a pair \(value, rule\)"):
        pb.custom_gradient(lambda x: x)(1.0)


def test_closure_convert():
    def f(a, k):
        def line(t):
            return {"out": a * t["x"] + k}

        converted, values = pb.closure_convert(line, {"x": 1.0})
        assert len(values) == 1
        return converted({"x": 3.0}, *values)["out"]

    all_close(grad(f)(2.0, 5), f32(3))
    all_close(jit(f)(2.0, 5), f32(11))
    converted, values = pb.closure_convert(pnp.sin, 1.0)
    assert values == []
    with pytest.raises(TypeError, match="structure they were converted for"):
        converted({"x": 1.0})


def test_converted_closures_check_their_arguments():
    def loss(theta, given):
        converted, _ = pb.closure_convert(lambda x: x * theta, 1.0)
        return sum(map(converted, given), theta * 0.0)

    with pytest.raises(TypeError, match="1 arguments and the 1 values"):
        grad(loss)(2.0, [1.0, 2.0])
    converted, values = pb.closure_convert(lambda x: x.mean(), pnp.ones(3))
    assert values == []
    with pytest.raises(TypeError, match=r"expected f32\[3\], got f32\[6\]"):
        converted(pnp.ones(6))
    with pytest.raises(TypeError, match="0 values"):
        converted(pnp.ones(3), 1.0)


# ---- logs of the backward pass


def logged(name="norm"):
    """2 x, with ten times the cotangent, which logs its cotangent and its argument."""
    f = custom_vjp(lambda x: 2 * x)

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (10 * ct,), {name: {"ct": ct, "x": [x]}}

    f.defvjp_with_logs(fwd, bwd)
    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_logs_of_the_backward_pass(wrap):
    f = wrap(logged())

    def of_threefold(x):
        return f(3 * x)

    @jit
    def compiled_logs(x):
        return vjp(of_threefold, x)[1].with_logs(f32(1))[1]

    f_vjp = vjp(of_threefold, f32(1))[1]
    all_close(f_vjp(f32(1)), (f32(30),))
    cts, logs = f_vjp.with_logs(f32(1))
    all_close(cts, (f32(30),))
    expected = {"norm": {"ct": f32(1), "x": [f32(3)]}}
    # those of the steps of a loop are stacked
    all_close(logs, pb.tree.map(lambda v: v[None], expected) if wrap is in_scan else expected)
    all_close(compiled_logs(f32(1)), logs)
    assert "tap" not in str(pb.make_jaxpr(grad(f))(1.0))


def test_logs_with_one_name_are_refused():
    f, g = logged("same"), logged("same")
    _, f_vjp = vjp(lambda x: f(g(x)), 1.0)
    with pytest.raises(ValueError, match="several values are logged as 'same'"):
        f_vjp.with_logs(1.0)


def test_a_rule_with_logs_returns_them():
    h = custom_vjp(lambda x: x)
    h.defvjp_with_logs(lambda x: (h(x), None), lambda _, g: (g,))
    with pytest.raises(errors.RuleError, match=r"defvjp_with_logs, must return a pair \(cotangents, logs\)"):
        grad(h)(1.0)
    h.defvjp_with_logs(lambda x: (h(x), None), lambda _, g: ((g,), None))
    assert vjp(h, 1.0)[1].with_logs(1.0)[1] == {}


# ---- what a rule costs


def three_steps_of(f):
    def loop(*args):
        return lax.scan(lambda c, _: (c + f(*args), None), 0.0, None, length=3)[0]

    return loop


@pytest.mark.parametrize("wrap", [eager, jit, in_cond, three_steps_of])
def test_differentiating_one_of_three_arguments_keeps_the_residuals_of_one(wrap):
    f = custom_vjp(lambda x, y, z: x * pnp.sin(y) * pnp.exp(z))

    def fwd(x, y, z):
        return f(x, y, z), (pnp.sin(y) * pnp.exp(z), x * pnp.cos(y), pnp.tanh(z))

    def bwd(saved, ct):
        return ct * saved[0], ct * saved[1], ct * saved[2]

    f.defvjp(fwd, bwd)
    call = wrap(f)

    def by_vjp(x, y, z):
        return vjp(lambda v: call(v, y, z), x)[1](1.0)

    def jaxpr_of(fun):
        return pb.make_jaxpr(fun)(1.0, 2.0, 3.0)

    for gradient in (grad(call), jit_of_grad(call), grad_of_jit(call), by_vjp):
        jaxpr = jaxpr_of(gradient)
        check_jaxpr(jaxpr)
        assert not re.search(r"\b(cos|tanh)\b", str(jaxpr)), jaxpr
    assert re.search(r"\bcos\b", str(jaxpr_of(grad(call, 1))))
    assert not re.search(r"\btanh\b", str(jaxpr_of(grad(call, (0, 1)))))


def test_grad_of_cond_traces_a_function_once():
    calls = []

    def f(x):
        calls.append(x)
        return pnp.sin(x)

    @grad
    def gradient(x):
        return lax.cond(x > 0, f, lambda v: v, x)

    gradient(1.0)
    assert len(calls) == 1
    with pb.debug.counters() as seen:
        gradient(1.0)
    assert seen["traces"] == 2  # one for each branch


def test_rules_are_not_asked_where_nothing_is_differentiated():
    f = custom_rules(pnp.sin)
    f.defjvp(lambda p, t: (f(*p), t[0]))
    f.defvjp(lambda x: (f(x), None), lambda _, g: (g,))
    with pb.debug.counters() as seen:
        f(1.0), jit(f)(1.0), vmap(f)(X), pb.make_jaxpr(f)(1.0), lax.cond(True, f, f, 1.0)
    assert seen["rules"] == 0
    with pb.debug.counters() as seen:
        grad(f)(1.0)
    assert seen["rules"] == 2  # fwd and bwd
