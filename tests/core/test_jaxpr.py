"""Jaxprs as data: the checker finds what is planted, dead code goes, evaluation follows the equations."""

import tracemalloc

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import ClosedJaxpr, Jaxpr, Literal, ShapedArray, Var, check_jaxpr, dce, eval_jaxpr
from pullback.errors import JaxprTypeError

W = np.linspace(0.5, 1.0, 3, dtype=np.float32)
F32 = ShapedArray((), "float32")


def traced(fun, *args):
    closed = pb.make_jaxpr(fun)(*args)
    check_jaxpr(closed)
    return closed


@pytest.fixture
def jaxpr():
    """`(x, y) -> (sin(x) * y, cos(y))`, fresh for each test to break."""
    original = traced(lambda x, y: (pnp.sin(x) * y, pnp.cos(y)), 1.0, 2.0).jaxpr
    return Jaxpr(list(original.constvars), list(original.invars), list(original.eqns), list(original.outvars))


def refused(jaxpr, text):
    with pytest.raises(JaxprTypeError, match=text):
        check_jaxpr(jaxpr)


# ---- planted defects


def test_what_is_right_passes(jaxpr):
    check_jaxpr(jaxpr)


def test_a_variable_used_before_it_is_bound(jaxpr):
    jaxpr.eqns.reverse()
    refused(jaxpr, "used before it is bound")


def test_a_variable_from_nowhere(jaxpr):
    jaxpr.eqns[0] = jaxpr.eqns[0].replace(invars=[Var(F32)])
    refused(jaxpr, "used before it is bound")


def test_a_result_from_nowhere(jaxpr):
    jaxpr.outvars.append(Var(F32))
    refused(jaxpr, "used before it is bound")


def test_a_variable_bound_twice(jaxpr):
    jaxpr.eqns.append(jaxpr.eqns[0])
    refused(jaxpr, "bound twice")


def test_an_input_bound_twice(jaxpr):
    jaxpr.invars.append(jaxpr.invars[0])
    refused(jaxpr, "bound twice")


def test_an_equation_that_binds_an_input(jaxpr):
    jaxpr.eqns[0] = jaxpr.eqns[0].replace(outvars=[jaxpr.invars[0]])
    refused(jaxpr, "bound twice")


@pytest.mark.parametrize("aval", [ShapedArray((3,), "float32"), ShapedArray((), "float16"), ShapedArray((), "int32")])
def test_a_result_of_the_wrong_type(jaxpr, aval):
    wrong = Var(aval)
    jaxpr.eqns[-1] = jaxpr.eqns[-1].replace(outvars=[wrong])
    jaxpr.outvars[:] = [wrong]
    refused(jaxpr, r"'\w+' gives .*float32\[\].*but its equation binds")


def test_too_many_results(jaxpr):
    jaxpr.eqns[-1] = jaxpr.eqns[-1].replace(outvars=[*jaxpr.eqns[-1].outvars, Var(F32)])
    refused(jaxpr, "but its equation binds")


def test_operands_that_the_primitive_refuses(jaxpr):
    multiply = next(i for i, e in enumerate(jaxpr.eqns) if e.primitive.name == "mul")
    jaxpr.eqns[multiply] = jaxpr.eqns[multiply].replace(
        invars=[Literal(np.int32(2), ShapedArray((), "int32")), jaxpr.invars[0]]
    )
    refused(jaxpr, "'mul' refuses its operands")


def test_literals_are_scalars_of_their_type(jaxpr):
    sine = jaxpr.eqns[0]
    jaxpr.eqns[0] = sine.replace(invars=[Literal(W, ShapedArray((3,), "float32"))])
    refused(jaxpr, r"literal has shape \(3,\)")
    jaxpr.eqns[0] = sine.replace(invars=[Literal(np.float64(2.0), F32)])
    refused(jaxpr, r"literal of type .*float32\[\].* holds")


def test_what_is_bound_must_be_a_variable(jaxpr):
    jaxpr.invars.append(Literal(np.float32(1), F32))
    refused(jaxpr, "is no variable")


def test_constants_that_do_not_fit():
    table = pnp.asarray(W)
    closed = traced(lambda x: x + table, 1.0)
    refused(ClosedJaxpr(closed.jaxpr, []), "1 constant variables but 0 constants")
    refused(ClosedJaxpr(closed.jaxpr, [pnp.ones(4)]), "a constant has type")


def inner_broken(fun):
    """The jaxpr of `fun` with its first nested jaxpr deprived of its equations."""
    closed = traced(fun, 1.0)
    for i, eqn in enumerate(closed.eqns):
        for key, value in eqn.params.items():
            if isinstance(value, Jaxpr) and value.eqns:
                broken = Jaxpr(value.constvars, value.invars, [], value.outvars)
                closed.eqns[i] = eqn.replace(params={**eqn.params, key: broken})
                return closed
            if isinstance(value, tuple) and any(isinstance(v, Jaxpr) and v.eqns for v in value):
                broken = tuple(Jaxpr(v.constvars, v.invars, [], v.outvars) for v in value)
                closed.eqns[i] = eqn.replace(params={**eqn.params, key: broken})
                return closed
    raise AssertionError("no nested jaxpr")


@pb.jit
def compiled(x):
    return x * 2


def chosen(x):
    return lax.cond(x > 0, lambda x: x * 2, lambda x: x * 3, x)


def scanned(x):
    return lax.scan(lambda c, _: (c * 2, c), x, None, length=3)


def looped(x):
    return lax.while_loop(lambda c: c < 9, lambda c: c * 2, x)


@pytest.mark.parametrize("fun", [compiled, chosen, scanned, looped])
def test_defects_of_nested_jaxprs(fun):
    refused(inner_broken(fun), "used before it is bound")


def test_a_nested_jaxpr_called_with_other_types():
    closed = traced(pb.jit(lambda x: x * 2), 1.0)
    eqn = closed.eqns[0]
    other = traced(lambda x: x * 2, W).jaxpr
    closed.eqns[0] = eqn.replace(params={**eqn.params, "jaxpr": other})
    refused(closed, "jit")


def test_nested_jaxprs_have_no_constants():
    table = pnp.asarray(W)
    closed = traced(pb.jit(lambda x: x * 2), 1.0)
    eqn = closed.eqns[0]
    closed.eqns[0] = eqn.replace(params={**eqn.params, "jaxpr": traced(lambda x: (x + table).sum(), 1.0).jaxpr})
    refused(closed, "has constants")


# ---- dead code


def names(jaxpr):
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_dce_keeps_what_is_read(jaxpr):
    whole, read = dce(jaxpr)
    assert names(whole) == names(jaxpr)
    assert read == (True, True)
    second, read = dce(jaxpr, (False, True))
    check_jaxpr(second)
    assert names(second) == ["cos"]
    assert read == (False, True)
    assert len(second.invars) == 2
    narrow, _ = dce(jaxpr, (False, True), keep_inputs=False)
    check_jaxpr(narrow)
    assert len(narrow.invars) == 1
    nothing, read = dce(jaxpr, (False, False))
    assert (names(nothing), nothing.outvars, read) == ([], [], (False, False))


def test_dce_removes_what_nobody_reads():
    def f(x):
        pnp.exp(x) * 3
        return pnp.sin(x)

    closed = traced(f, 1.0)
    assert names(closed) == ["exp", "mul", "sin"]
    assert names(dce(closed.jaxpr)[0]) == ["sin"]


def two_results(x):
    return pnp.sin(x), pnp.exp(x)


def in_cond(x):
    return lax.cond(x > 0, two_results, lambda x: (x, x), x)


def in_scan(x):
    return lax.scan(lambda c, _: two_results(c), x, None, length=3)


@pytest.mark.parametrize("fun", [pb.jit(two_results), in_cond, in_scan])
def test_dce_goes_inside(fun):
    closed = traced(lambda x: fun(x)[0], 1.0)
    smaller, _ = dce(closed.jaxpr)
    check_jaxpr(smaller)
    assert "exp" in str(closed)
    assert "exp" not in str(smaller)
    for got, value in zip(eval_jaxpr(smaller, closed.consts, 0.3), [fun(0.3)[0]], strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(value), rtol=1e-6)


# ---- evaluation


def test_eval_jaxpr(jaxpr):
    first, second = eval_jaxpr(jaxpr, [], 1.0, 2.0)
    assert float(first) == pytest.approx(np.sin(1.0) * 2)
    assert float(second) == pytest.approx(np.cos(2.0))


def test_eval_jaxpr_under_transformations(jaxpr):
    assert float(pb.grad(lambda x: eval_jaxpr(jaxpr, [], x, 2.0)[0])(1.0)) == pytest.approx(2 * np.cos(1.0))
    np.testing.assert_allclose(
        np.asarray(pb.vmap(lambda x: eval_jaxpr(jaxpr, [], x, 2.0)[0])(W)), 2 * np.sin(W), rtol=1e-6
    )
    again = traced(lambda x, y: tuple(eval_jaxpr(jaxpr, [], x, y)), 1.0, 2.0)
    assert str(again) == str(jaxpr)


def test_eval_jaxpr_counts_its_arguments(jaxpr):
    with pytest.raises(TypeError, match="eval_jaxpr: expected 0 constants and 2 arguments, got 0 and 1"):
        eval_jaxpr(jaxpr, [], 1.0)


def test_eval_jaxpr_frees_values_after_their_last_use():
    def chain(x):
        first = pnp.sin(x)
        y = first
        for _ in range(40):
            y = y * first
        return first, y

    x = pnp.ones(100_000)
    jaxpr = traced(chain, x).jaxpr
    tracemalloc.start()
    outs = eval_jaxpr(jaxpr, [], x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(outs[1], np.sin(np.float32(1)) ** 41, rtol=1e-5)
    assert peak < 5 * x.nbytes  # 42 arrays are made, 2 returned


def test_equations_know_the_users_line(jaxpr):
    location = jaxpr.eqns[0].location
    assert location.filename == __file__
    assert location.function == "<lambda>"


def test_traced_rules_pass_the_checker():
    table = pnp.asarray(W)

    def f(x):
        y = lax.fori_loop(0, 3, lambda i, c: c * pnp.sin(x) + i, x)
        y = lax.cond(y > 0, lambda y: y * table.sum(), lambda y: y, y)
        return pb.jit(lambda y: (y * table).sum())(y)

    for fun, x in [
        (f, 1.0),
        (pb.grad(f), 1.0),
        (pb.vmap(f), W),
        (pb.vmap(pb.grad(f)), W),
        (pb.jit(pb.jacfwd(pb.grad(f))), 1.0),
        (lambda x: pb.jvp(f, (x,), (x,)), 1.0),
        (lambda x: pb.linearize(f, x)[1](1.0), 1.0),
    ]:
        closed = traced(fun, x)
        check_jaxpr(dce(closed.jaxpr)[0])


def test_effects_of_equations():
    def f(x):
        lax.cond(x > 0, lambda: pb.debug.print("positive"), lambda: None)
        return x * 2

    jaxpr = pb.make_jaxpr(f)(1.0).jaxpr
    effects = [eqn.effects for eqn in jaxpr.eqns]
    assert sum(map(bool, effects)) == 1
    assert jaxpr.effects == next(filter(None, effects))
    assert pb.make_jaxpr(lambda x: x * 2)(1.0).jaxpr.effects == frozenset()
