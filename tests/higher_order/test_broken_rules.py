"""What is refused of rules: returns of another structure, shape or dtype, what is not linear, no rule at all."""

import numpy as np
import pytest
from functions import with_jvp, with_vjp
from wrappers import eager, in_cond, in_vmap

import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, errors, grad, hessian, jacrev, jit, jvp, vjp

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def identity(x):
    return x


# ---- jvp rules


def two_leaves(x):
    return {"a": x, "b": x}


def primal_alone(primals, tangents):
    return primals[0]


def nothing(primals, tangents):
    return None


def three_results_of_a_jvp_rule(primals, tangents):
    return primals[0], tangents[0], tangents[0]


def tangent_with_a_leaf_less(primals, tangents):
    return two_leaves(*primals), {"a": tangents[0]}


def tangent_of_another_shape(primals, tangents):
    return two_leaves(*primals), {"a": tangents[0], "b": tangents[0].sum()}


def tangent_of_another_dtype(primals, tangents):
    return two_leaves(*primals), {"a": tangents[0], "b": tangents[0].astype(np.float16)}


def tangent_that_is_text(primals, tangents):
    return two_leaves(*primals), {"a": tangents[0], "b": "x"}


def primal_of_text(primals, tangents):
    return {"a": primals[0], "b": "y"}, {"a": tangents[0], "b": tangents[0]}


@pytest.mark.parametrize("wrap", [eager, jit, in_cond])
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (primal_alone, r"jvp rule .*must return a pair \(primal_out, tangent_out\), got"),
        (nothing, r"must return a pair .* got None"),
        (three_results_of_a_jvp_rule, r"must return a pair .* got a tuple of length 3"),
        (tangent_with_a_leaf_less, r"structure of the primal output"),
        (tangent_of_another_shape, r"tangent output at \['b'\].*expected f32\[3\], got f32\[\]"),
        (tangent_of_another_dtype, r"\['b'\].*expected f32\[3\], got f16\[3\]"),
        (tangent_that_is_text, r"\['b'\].*got 'x'"),
        (primal_of_text, r"primal output.*\['b'\].*'y'"),
    ],
)
def test_a_jvp_rule_that_breaks_its_contract(rule, message, wrap):
    with pytest.raises(errors.RuleError, match=message) as caught:
        jvp(wrap(with_jvp(two_leaves, rule)), (X,), (X,))
    assert "test_broken_rules.py" in str(caught.value)


def sums(primals, tangents):
    return primals[0].sum(), tangents[0].sum()


@pytest.mark.parametrize("wrap", [eager, jit])
def test_a_jvp_rule_whose_primal_output_is_not_what_the_function_returns(wrap):
    f = wrap(with_jvp(identity, sums))
    with pytest.raises(errors.RuleError, match=r"primal output.*expected f32\[3\], got f32\[\]"):
        jvp(jit(f), (X,), (X,))


def square(t):
    return t * t


@pytest.mark.parametrize("function", [square, pnp.sin])
def test_tangent_that_is_not_linear(function):
    f = with_jvp(identity, lambda p, t: (p[0], function(t[0])))
    with pytest.raises((TypeError, NotImplementedError), match=r"(?i)linear|transpose"):
        grad(f)(1.0)


def returned_in_reverse(p, t):
    return pnp.cos(p[0]) * t[0], pnp.sin(p[0])


def taken_in_reverse(t, p):
    return pnp.sin(p[0]), pnp.cos(p[0]) * t[0]


def taken_in_reverse_linear(t, p):
    return 3 * p[0], 3 * t[0]


def taken_in_reverse_product(t, p):
    return p[0] * p[0], 2 * p[0] * t[0]


@pytest.mark.parametrize("wrap", [eager, jit])
@pytest.mark.parametrize(
    "rule", [returned_in_reverse, taken_in_reverse, taken_in_reverse_linear, taken_in_reverse_product]
)
def test_primals_and_tangents_interchanged(rule, wrap):
    f = with_jvp(identity, rule)
    with pytest.raises(errors.RuleError) as caught:
        grad(wrap(f))(1.0)
    message = str(caught.value)
    assert f"the jvp rule {rule.__name__} (defined at {__file__}:{rule.__code__.co_firstlineno}) of" in message
    assert "custom_jvp function identity (defined at" in message
    product = rule is taken_in_reverse_product
    assert ("'mul' multiplies two tangents" if product else "a primal output that depends on the tangent") in message
    assert "called as rule(primals, tangents) and returns (primal_out, tangent_out), in this order" in message


def test_tangent_that_is_constant():
    f = with_jvp(identity, lambda p, t: (p[0], 7.0))
    with pytest.raises(errors.RuleError, match="does not depend on the tangent"):
        grad(f)(1.0)


@pytest.mark.parametrize("wrap", [eager, jit, in_vmap])
def test_no_jvp_rule(wrap):
    f = custom_jvp(identity)
    with pytest.raises(errors.RuleNotDefinedError, match="defjvp"):
        grad(wrap(f))(f32(1))


def test_arguments_that_are_no_arrays():
    f = with_jvp(lambda x, mode: x, lambda p, t: (p[0], t[0]))
    with pytest.raises(TypeError, match=r"argument 'mode'.*nondiff_argnums"):
        grad(lambda x: f(x, "fast"))(1.0)


# ---- vjp rules


def product_of_leaves(a, k):
    return a["u"] * a["v"][0]


def right_fwd(a, k):
    return product_of_leaves(a, k), None


def right_bwd(saved, ct):
    return None, None


def array_alone(a, k):
    return a["u"]


def three_results_of_a_fwd_rule(a, k):
    return a["u"], 1, 2


def primal_out_of_text(a, k):
    return "no", 1


def cotangent_alone(saved, ct):
    return ct


def one_cotangent_too_few(saved, ct):
    return (ct,)


def cotangent_with_a_leaf_less(saved, ct):
    return {"u": ct}, None


def cotangent_of_another_shape(saved, ct):
    return {"u": ct, "v": [ct.sum()]}, None


def cotangent_of_another_dtype(saved, ct):
    return {"u": ct.astype(np.float16), "v": [ct]}, None


def cotangent_that_is_text(saved, ct):
    return {"u": "x", "v": [ct]}, None


def text_for_the_second_argument(saved, ct):
    return {"u": ct, "v": [ct]}, "k"


@pytest.mark.parametrize("wrap", [eager, jit])
@pytest.mark.parametrize(
    ("fwd", "bwd", "message"),
    [
        (array_alone, right_bwd, r"fwd rule .*must return a pair \(primal_out, residuals\), got an array"),
        (three_results_of_a_fwd_rule, right_bwd, r"fwd rule .*got a tuple of length 3"),
        (primal_out_of_text, right_bwd, r"fwd rule .*primal output must hold arrays.*'no'"),
        (right_fwd, cotangent_alone, r"bwd rule .*must return a tuple .* 2 differentiable arguments, got an array"),
        (right_fwd, one_cotangent_too_few, r"bwd rule .*each of the 2 differentiable arguments, got 1"),
        (right_fwd, cotangent_with_a_leaf_less, r"bwd rule .*cotangent of argument 'a'.*structure"),
        (
            right_fwd,
            cotangent_of_another_shape,
            r"cotangent of argument 'a', leaf \['v'\]\[0\].*expected f32\[3\], got f32\[\]",
        ),
        (right_fwd, cotangent_of_another_dtype, r"leaf \['u'\].*expected f32\[3\], got f16\[3\]"),
        (right_fwd, cotangent_that_is_text, r"leaf \['u'\].*got 'x'"),
        (right_fwd, text_for_the_second_argument, r"cotangent of argument 'k'"),
    ],
)
def test_vjp_rules_that_break_their_contract(fwd, bwd, message, wrap):
    f = wrap(with_vjp(product_of_leaves, fwd, bwd))
    with pytest.raises(errors.RuleError, match=message) as caught:
        grad(lambda x: f({"u": x, "v": [x]}, f32(2)).sum())(X)
    assert "test_broken_rules.py" in str(caught.value)


def test_primal_output_of_the_forward_rule_that_is_not_what_the_function_returns():
    f = with_vjp(identity, lambda x: (x.sum(), None), lambda _, ct: (ct,))
    with pytest.raises(errors.RuleError, match=r"primal output.*expected f32\[3\], got f32\[\]"):
        vjp(jit(f), X)


def test_one_argument_without_its_tuple():
    f = with_vjp(identity, lambda x: (x, None), lambda _, ct: ct)
    with pytest.raises(errors.RuleError, match=r"tuple of length 1: return \(ct,\)"):
        grad(f)(1.0)


@pytest.mark.parametrize("wrap", [eager, jit, in_cond, in_vmap])
def test_no_vjp_rule(wrap):
    f = custom_vjp(identity)
    with pytest.raises(errors.RuleNotDefinedError, match="defvjp"):
        grad(wrap(f))(f32(1))


# ---- errors inside a rule: a note says which rule it was, and what it gets


def tuples_taken_for_arrays(x, t):
    return pnp.sin(x), pnp.cos(x) * t


def method_of_a_tuple(primals, tangents):
    return primals[0], tangents.sum()


def two_arguments_expected(primals, tangents):
    x, y = primals
    return x * y, y * tangents[0]


@pytest.mark.parametrize("rule", [tuples_taken_for_arrays, method_of_a_tuple, two_arguments_expected])
@pytest.mark.parametrize("wrap", [eager, jit])
def test_a_jvp_rule_that_does_not_unpack(rule, wrap):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        grad(wrap(with_jvp(identity, rule)))(1.0)
    (note,) = caught.value.__notes__
    assert f"in the jvp rule {rule.__name__}" in note
    assert "called as rule(primals, tangents); each of these two is a tuple of one entry" in note


def swapped_bwd(ct, residuals):
    x, y = residuals
    return ct * y, ct * x


def product(x, y):
    return x * y


def product_fwd(x, y):
    return x * y, (x, y)


def test_a_bwd_rule_with_its_arguments_swapped():
    f = with_vjp(product, product_fwd, swapped_bwd)
    with pytest.raises(TypeError, match="0-d array") as caught:
        grad(f)(1.0, 2.0)
    (note,) = caught.value.__notes__
    assert "in the bwd rule swapped_bwd" in note
    assert "called as rule(residuals, cotangent)." in note


def test_the_innermost_rule_is_named_once():
    inner = with_jvp(identity, method_of_a_tuple)

    def outer_rule(primals, tangents):
        return jvp(inner, primals, tangents)

    with pytest.raises(AttributeError) as caught:
        jvp(with_jvp(identity, outer_rule), (1.0,), (1.0,))
    (note,) = caught.value.__notes__
    assert "jvp rule method_of_a_tuple" in note


def test_hessian_of_a_function_with_a_bwd_rule_alone_says_what_to_take():
    f = with_vjp(lambda x: x**2, lambda x: (f(x), x), lambda x, ct: (2 * x * ct,))
    with pytest.raises(TypeError, match="forward-mode") as caught:
        hessian(f)(3.0)
    (note,) = caught.value.__notes__
    assert "jacrev(grad(f))" in note
    assert jacrev(grad(f))(3.0) == 2.0
