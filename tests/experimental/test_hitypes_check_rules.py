"""`check_rules` of functions that take or return values of types of one's own."""

import pytest
from quantised import array, dequantise, product, product_by_vjp, quantise, scaled, weights

import pullback as pb
import pullback.numpy as pnp
from pullback.errors import RuleCheckError

Q, _ = weights(3, 4)
NOTE = "values of types of one's own have no differences"


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (quantise, (array(3, 4),)),
        (dequantise, (Q,)),
        (product, (Q, array(4))),
        (product_by_vjp, (Q, array(4))),
        (scaled, (Q, 2.0)),
        (pnp.sin, (array(3),)),
    ],
    ids=lambda x: getattr(x, "__name__", "args"),
)
def test_right_rules(f, args):
    report = pb.check_rules(f, *args)
    assert report.checks >= 8
    assert (NOTE in str(report)) == (f is not pnp.sin)


def test_differences_of_the_other_arguments_are_taken():
    @pb.custom_vjp
    def f(q, x):
        return dequantise(q) @ x

    f.defvjp(
        lambda q, x: (f(q, x), (q, x)), lambda saved, ct: (pnp.outer(ct, saved[1]), 2 * dequantise(saved[0]).T @ ct)
    )
    with pytest.raises(RuleCheckError, match=r"vjp, arg 1, index \d: .* finite difference"):
        pb.check_rules(f, Q, array(4))


def test_a_rule_that_is_not_linear():
    @pb.custom_vjp
    def f(q):
        return dequantise(q)

    f.defvjp(lambda q: (f(q), q), lambda q, ct: (ct * ct,))
    with pytest.raises(RuleCheckError, match="vjp, linearity, arg 0"):
        pb.check_rules(f, Q)


def test_rules_that_are_not_transposes_of_each_other():
    @pb.custom_rules
    def f(q):
        return dequantise(q)

    f.defvjp(lambda q: (f(q), None), lambda _, ct: (ct,))
    f.defjvp(lambda primals, tangents: (f(*primals), 2 * tangents[0]))
    with pytest.raises(RuleCheckError, match=r"adjoint, arg 0, <Jt, c>: .* but <t, Jᵀc>"):
        pb.check_rules(f, Q)


def test_a_rule_that_fails_when_it_is_traced():
    @pb.custom_vjp
    def f(q):
        return dequantise(q)

    f.defvjp(lambda q: (f(q), None), lambda _, ct: (ct * float(ct.sum() > 100),))
    report = pb.check_rules(f, Q, raise_on_error=False)
    assert "jit" in str(report)
