"""What an origin leads back to: the equations it comes from, and the user's lines that called one another."""

import pullback as pb
import pullback.numpy as pnp
from pullback import debug_nans, lax
from pullback._core.jaxpr import eval_jaxpr
from pullback._core.origins import KeepingCalls


def inner(x):
    return pnp.sin(x)


def outer(x):
    return inner(x) * 2.0


def traced(fun, *args):
    with debug_nans(), KeepingCalls():
        return pb.make_jaxpr(fun)(*args).jaxpr


def lines(origin):
    return [(call.function, call.line) for call in origin.calls]


def test_calls_lead_from_the_outermost_line_to_the_operation():
    sin, mul = traced(outer, 1.0).eqns
    first = outer.__code__.co_firstlineno + 1
    assert lines(sin.origin) == [("outer", first), ("inner", inner.__code__.co_firstlineno + 1)]
    assert lines(mul.origin) == [("outer", first)]


def test_without_the_context_calls_are_not_kept():
    with debug_nans():
        eqns = pb.make_jaxpr(outer)(1.0).jaxpr.eqns
    assert all(eqn.origin.calls == () for eqn in eqns)
    assert all(eqn.origin.location is not None for eqn in eqns)


def test_an_equation_knows_those_it_was_evaluated_from():
    jaxpr = traced(outer, 1.0)
    again = traced(lambda x: eval_jaxpr(jaxpr, [], x), 1.0)
    assert [eqn.origin.equations for eqn in again.eqns] == [[eqn] for eqn in jaxpr.eqns]
    assert [eqn.origin.calls for eqn in again.eqns] == [eqn.origin.calls for eqn in jaxpr.eqns]


def test_a_derivative_knows_the_equation_it_is_of():
    jaxpr = traced(outer, 1.0)
    sin, mul = jaxpr.eqns
    gradient = traced(pb.grad(lambda x: eval_jaxpr(jaxpr, [], x)[0]), pnp.float32(1.0))
    backward = [eqn for eqn in gradient.eqns if eqn.origin.backward]
    assert {id(eqn.origin.equations[0]) for eqn in backward} == {id(sin), id(mul)}
    assert all(lines(eqn.origin)[0][0] == "outer" for eqn in backward)


def test_equations_in_loops_and_their_derivatives():
    def f(x):
        return lax.scan(lambda c, _: (inner(c), None), x, None, length=3)[0]

    jaxpr = traced(f, pnp.float32(1.0))
    (scan,) = jaxpr.eqns
    (sin,) = scan.params["jaxpr"].eqns
    gradient = traced(pb.grad(lambda x: eval_jaxpr(jaxpr, [], x)[0]), pnp.float32(1.0))
    loops = [eqn for eqn in gradient.eqns if eqn.primitive is scan.primitive]
    bodies = [inside for eqn in loops for inside in eqn.params["jaxpr"].eqns]
    assert {eqn.primitive.name for eqn in bodies} >= {"sin", "cos", "mul"}
    assert all(sin in eqn.origin.equations for eqn in bodies)
    assert all(scan in eqn.origin.equations for eqn in loops)


def test_lines_of_a_rule_stand_below_the_call_of_its_function():
    @pb.custom_vjp
    def ruled(x):
        return pnp.sin(x)

    def bwd(cos, g):
        return (g * cos,)

    ruled.defvjp(lambda x: (pnp.sin(x), pnp.cos(x)), bwd)

    def f(x):
        return ruled(x) * 1.0

    gradient = traced(pb.grad(f), 1.0)
    (mul,) = [eqn for eqn in gradient.eqns if eqn.origin.rule and eqn.origin.backward]
    assert [name for name, _ in lines(mul.origin)] == ["f", "bwd"]
