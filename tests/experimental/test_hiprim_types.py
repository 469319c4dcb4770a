"""What a primitive class declares, and the checks of arguments, results and rules against it."""

import dataclasses

import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import ShapeDtypeStruct, grad, jit, jvp, vmap
from pullback.errors import RuleError, RuleNotDefinedError
from pullback.experimental.hijax import HiPrim, ShapedArray, VJPHiPrimitive, Zero

F = ShapedArray((), "float32")
F3 = ShapedArray((3,), "float32")


def identity(self, x):
    return x


def of(in_avals=(F,), out_aval=F, params=None, base=HiPrim, **rules):
    """An instance of a class `P` with these types and rules; `expand` is the identity if not given."""
    members = {"in_avals": in_avals, "out_aval": out_aval, "params": params or {}, "expand": identity, **rules}
    return type("P", (base,), members)()


# --- declarations ---


@pytest.mark.parametrize(
    ("in_avals", "words"),
    [
        ([F], ["P.in_avals must be a tuple", "of type list"]),
        ((pnp.ones(3),), ["P.in_avals[0] must be a type", "an array of type f32[3]", "Use typeof(x)"]),
        (("f32",), ["P.in_avals[0] must be a type", "'f32'"]),
        (({"a": F, "b": 3},), ["P.in_avals[0]['b'] must be a type", "got 3 of type int"]),
    ],
)
def test_types_of_arguments_that_are_none(in_avals, words):
    with raises(TypeError, *words):
        of(in_avals)


def test_a_type_of_the_result_that_is_none():
    with raises(TypeError, "P.out_aval['y'] must be a type", "float"):
        of((F,), {"y": float})


@pytest.mark.parametrize("name", ["in_avals", "out_aval", "params"])
def test_a_declaration_that_is_missing_is_named(name):
    members = {"in_avals": (F,), "out_aval": F, "params": {}, "expand": identity}
    del members[name]
    with raises(AttributeError, f"P needs {name}: set in_avals, out_aval and params"):
        type("P", (HiPrim,), members)()


def test_params_are_a_dict_without_names_of_methods():
    with raises(TypeError, "P.params must be a dict, got [1]"):
        of(params=[1])
    for name in ("jvp", "expand", "in_avals", "derived"):
        with raises(ValueError, f"P: a param must not have the name '{name}'"):
            of(params={name: 1})


def test_structs_are_types():
    f = of((ShapeDtypeStruct((3,), "float32"),), ShapeDtypeStruct((3,), "float32"))
    assert f(pnp.ones(3)).shape == (3,)


def test_a_constructor_that_does_not_call_the_one_of_the_base_class():
    class Scaled(HiPrim):
        def __init__(self, factor):
            self.in_avals, self.out_aval, self.params = (F,), F, {"factor": factor}

        def expand(self, x):
            return self.factor * x

    assert Scaled(2.0)(3.0) == 6.0
    assert grad(Scaled(2.0))(3.0) == 2.0
    assert Scaled(2.0) == Scaled(2.0)


def test_a_frozen_dataclass():
    @dataclasses.dataclass(frozen=True)
    class Scaled(HiPrim):
        factor: float
        in_avals, out_aval = (F,), F

        @property
        def params(self):
            return {"factor": self.factor}

        def expand(self, x):
            return self.factor * x

        def vjp_fwd(self, nzs_in, x):
            return self(x), None

        def vjp_bwd_retval(self, res, ct):
            return (self.factor * ct,)

    f = Scaled(3.0)
    assert f == Scaled(3.0)
    assert f != Scaled(2.0)
    assert f(2.0) == jit(f)(2.0) == 6.0
    assert grad(f)(2.0) == jit(vmap(grad(f)))(pnp.ones(1))[0] == 3.0


def test_a_class_without_expand():
    f = type("P", (HiPrim,), {"in_avals": (F,), "out_aval": F, "params": {}})()
    for run in (f, jit(f), grad(f)):
        with raises(RuleNotDefinedError, "P defines no expand: it says what the primitive computes"):
            run(1.0)


# --- calls ---


def test_arguments_of_other_types():
    f = of()
    words = "P: argument 'x' must have the type that in_avals declares: expected f32[], got f32[3]."
    for run in (f, jit(f), grad(f), pb.make_jaxpr(f)):
        with raises(TypeError, words):
            run(pnp.ones(3))
    with raises(TypeError, words):
        vmap(f)(pnp.ones((2, 3)))
    with raises(TypeError, "P: argument 'x'", "expected f32[], got i32[]"):
        f(np.int32(1))
    with raises(TypeError, "P: argument 'x'", "expected f32[], got f16[]"):
        f(np.float16(1))
    with raises(TypeError, "P: argument 'x': expected an array or a number, got 'a' of type str"):
        f("a")


def test_numbers_take_the_declared_dtype():
    f = of()
    assert f(1).dtype == jit(f)(1).dtype == "float32"
    half = of((ShapedArray((), "bfloat16"),), ShapedArray((), "bfloat16"))
    assert half(1.5).dtype == "bfloat16"
    with raises(TypeError, "expected i32[], got f32[]"):
        of((ShapedArray((), "int32"),), ShapedArray((), "int32"))(1.0)


def test_number_and_names_of_arguments():
    f = of((F, F), F, expand=lambda self, x, y: x - y)
    assert f(x=3.0, y=1.0) == f(3.0, y=1.0) == 2.0
    assert grad(lambda x: f(y=x, x=1.0))(3.0) == -1.0
    with raises(TypeError, "P takes 2 arguments, (f32[], f32[]), got 1"):
        f(1.0)
    with raises(TypeError, "P takes 2 arguments, (f32[], f32[]), got 3"):
        f(1.0, 2.0, 3.0)
    with raises(TypeError, "P: got an unexpected keyword argument 'z'"):
        f(1.0, 2.0, z=2.0)


def test_containers_of_another_structure():
    f = of(({"a": F, "b": (F, F)},), F, expand=lambda self, d: d["a"] + d["b"][1])
    assert f({"a": 1.0, "b": (2.0, 3.0)}) == 4.0
    with raises(TypeError, "argument 'd' must have the structure that in_avals declares", "at ['b'] expected a tuple"):
        f({"a": 1.0, "b": [2.0, 3.0]})
    with raises(TypeError, "P: argument 'd', leaf ['b'][1]", "expected f32[], got f32[3]"):
        f({"a": 1.0, "b": (2.0, pnp.ones(3))})


@pytest.mark.parametrize(
    ("expand", "words"),
    [
        (lambda self, x: pnp.zeros(3), ["must have the type that out_aval declares: expected f32[], got f32[3]"]),
        (lambda self, x: x.astype("float16"), ["expected f32[], got f16[]"]),
        (lambda self, x: (x,), ["must return a result with the structure of out_aval", "a tuple of 1 child"]),
        (lambda self, x: None, ["must return a result with the structure of out_aval", "None"]),
        (lambda self, x: "a", ["the result must hold arrays", "'a'"]),
    ],
)
def test_results_of_expand(expand, words):
    f = of(expand=expand)
    for run in (f, jit(f), grad(f), pb.make_jaxpr(f)):
        with raises(RuleError, "<lambda> (defined at", " of P", *words):
            run(1.0)


# --- results of rules ---


def one(self, nzs_in, x):
    return self(x), None


FORWARD = [
    (lambda self, nzs_in, x: x, ["must return (primal_out, residuals)", "got an array of type f32[]"]),
    (lambda self, nzs_in, x: (x,) * 5, ["must return (primal_out, residuals)", "got a tuple of length 5"]),
    (
        lambda self, nzs_in, x: (pnp.zeros(3), 0),
        ["primal output must be what out_aval declares: expected f32[], got f32[3]"],
    ),
    (lambda self, nzs_in, x: (x.astype("float16"), 0), ["expected f32[], got f16[]"]),
    (lambda self, nzs_in, x: (None, 0), ["the structure of what out_aval declares", "got None"]),
    (
        lambda self, nzs_in, x: (x, 0, (True, False)),
        ["must return nzs_out, a bool for the", "(True, False)"],
    ),
    (lambda self, nzs_in, x: (x, 0, 1), ["must return bools as nzs_out, got 1"]),
    (lambda self, x: (x, 0), ["is called as rule(nzs_in, *args), but:"]),
    (lambda self, nzs_in, x: (x, 0, True, 1.0), ["returned structured residuals, which need vjp_bwd"]),
]


@pytest.mark.parametrize(("rule", "words"), FORWARD)
def test_results_of_vjp_fwd(rule, words):
    f = of(vjp_fwd=rule, vjp_bwd_retval=lambda self, res, ct: (ct,))
    for run in (grad(f), jit(grad(f))):
        with raises(RuleError, "the rule vjp_fwd, <lambda> (defined at", "of the primitive P, called at", *words):
            run(1.0)


BACKWARD = [
    (lambda self, res, ct: ct, ["must return a tuple with a cotangent for each", "return (ct,)"]),
    (lambda self, res, ct: None, ["must return a tuple", "got None"]),
    (lambda self, res, ct: (ct, ct), ["for each of the 1", "got 2"]),
    (lambda self, res, ct: (pnp.zeros(3),), ["cotangent of argument 'x'", "expected f32[], got f32[3]"]),
    (lambda self, res, ct: (ct.astype("int32"),), ["cotangent of argument 'x'", "expected f32[], got i32[]"]),
    (lambda self, res, ct: (ct.astype("float16"),), ["cotangent of argument 'x'", "expected f32[], got f16[]"]),
    (lambda self, res, ct: ("a",), ["cotangent of argument 'x'", "got 'a' of type str"]),
    (lambda self, ct: (ct,), ["is called as rule(residuals, cotangent), but:"]),
]


@pytest.mark.parametrize(("rule", "words"), BACKWARD)
def test_results_of_vjp_bwd_retval(rule, words):
    f = of(vjp_fwd=one, vjp_bwd_retval=rule)
    for run in (grad(f), jit(grad(f))):
        with raises(
            RuleError, "the rule vjp_bwd_retval, <lambda> (defined at", "of the primitive P, called at", *words
        ):
            run(1.0)


def test_cotangents_that_are_numbers_or_zeros():
    assert grad(of(vjp_fwd=one, vjp_bwd_retval=lambda self, res, ct: (3,)))(1.0).dtype == "float32"
    for zero in (None, Zero(F)):
        assert grad(of(vjp_fwd=one, vjp_bwd_retval=lambda self, res, ct, zero=zero: (zero,)))(1.0) == 0.0


ACCUMULATED = [
    (lambda self, res, ct, x: x.accum(pnp.zeros(3)), ["cotangent of argument 'x'", "expected f32[], got f32[3]"]),
    (
        lambda self, res, ct, x: x.accum(ct.astype("float16")),
        ["cotangent of argument 'x'", "expected f32[], got f16[]"],
    ),
    (lambda self, res, ct, x: x.accum("a"), ["cotangent of argument 'x' must be an array of type f32[]", "'a'"]),
    (lambda self, res, ct, x: 3, ["must log a dict or None, got 3"]),
    (lambda self, res, ct: None, ["is called as rule(residuals, cotangent, *accumulators), but:"]),
]


@pytest.mark.parametrize(("rule", "words"), ACCUMULATED)
def test_what_vjp_bwd_accumulates(rule, words):
    f = of(vjp_fwd=one, vjp_bwd=rule)
    for run in (grad(f), jit(grad(f))):
        with pytest.raises(RuleError) as info:
            run(1.0)
        for part in ("the rule vjp_bwd, <lambda> (defined at", *words):
            assert part in str(info.value)
    with pytest.raises(RuleError, match="the rule vjp_bwd, <lambda>"):
        vmap(grad(f))(pnp.ones(2))


TANGENTS = [
    (lambda self, p, t: p[0], ["must return a pair (primal_out, tangent_out)"]),
    (lambda self, p, t: (p[0], pnp.zeros(3)), ["the tangent output", "expected f32[], got f32[3]"]),
    (lambda self, p, t: (p[0], t[0].astype("float16")), ["the tangent output", "expected f32[], got f16[]"]),
    (lambda self, p, t: (pnp.zeros(3), t[0]), ["the primal output must be what out_aval declares"]),
    (lambda self, p, t: (p[0], None), ["a tangent output with the structure of the primal output", "got None"]),
    (lambda self, p: p, ["is called as rule(primals, tangents), but:"]),
]


@pytest.mark.parametrize(("rule", "words"), TANGENTS)
def test_results_of_jvp(rule, words):
    f = of(jvp=rule)
    with raises(RuleError, "the rule jvp, <lambda> (defined at", *words):
        jvp(f, (1.0,), (1.0,))
    with raises(RuleError, "the rule jvp, <lambda> (defined at", *words):
        grad(f)(1.0)


def test_a_jvp_rule_that_is_not_linear():
    f = of(jvp=lambda self, p, t: (self(*p), t[0] + 1.0))
    with raises(RuleError, "the rule jvp, <lambda> (defined at", "not linear in the tangent inputs: 'add'"):
        grad(f)(1.0)


LIN = [
    ({"lin": lambda self, nzs_in, x: x}, ["the rule lin", "must return (primal_out, residuals)"]),
    ({"lin": lambda self, nzs_in, x: (pnp.zeros(3), 0)}, ["the rule lin", "what out_aval declares"]),
    ({"linearized": lambda self, res, t: pnp.zeros(3)}, ["the rule linearized", "expected f32[], got f32[3]"]),
    ({"linearized": lambda self, t: t}, ["the rule linearized", "is called as rule(residuals, *tangents), but:"]),
]


@pytest.mark.parametrize(("rules", "words"), LIN)
def test_results_of_lin_and_linearized(rules, words):
    f = of(**{"lin": one, "linearized": lambda self, res, t: t, **rules})
    for run in (grad(f), lambda x: jvp(f, (x,), (1.0,))):
        with raises(RuleError, *words):
            run(1.0)


# --- which rules go together ---


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("vjp_fwd", "vjp_bwd"),
        ("vjp_bwd", "vjp_fwd"),
        ("vjp_bwd_retval", "vjp_fwd"),
        ("lin", "linearized"),
        ("linearized", "lin"),
    ],
)
def test_half_of_a_pair_of_rules(name, other):
    with raises(RuleNotDefinedError, f"P defines {name}, but not {other}"):
        of(**{name: one})


def test_two_backward_rules():
    def vjp_bwd(self, res, ct, x):
        x.accum(2 * ct)

    rules = {"vjp_fwd": one, "vjp_bwd": vjp_bwd, "vjp_bwd_retval": lambda self, res, ct: (3 * ct,)}
    assert grad(of(**rules))(1.0) == 2.0  # as in JAX 0.12
    with raises(TypeError, "P defines vjp_bwd and vjp_bwd_retval: VJPHiPrimitive takes one of them"):
        of(base=VJPHiPrimitive, **rules)


def test_a_rule_of_the_base_class_says_what_to_do():
    with raises(RuleNotDefinedError, "P defines no jvp: transform the instance"):
        of().jvp((1.0,), (1.0,))


def test_a_rule_that_asks_for_itself():
    def vjp_fwd(self, nzs_in, x):
        return pb.vjp(self, x)

    def jvp_rule(self, primals, tangents):
        return jvp(self, primals, tangents)

    f = of(vjp_fwd=vjp_fwd, vjp_bwd_retval=lambda self, pull, ct: pull(ct))
    with raises(RuleError, "the rule vjp_fwd (defined at", "of P transforms the primitive whose rule it is"):
        grad(f)(1.0)
    with raises(RuleError, "the rule jvp_rule (defined at", "of P transforms the primitive whose rule it is"):
        jvp(of(jvp=jvp_rule), (1.0,), (1.0,))


def test_a_transpose_rule_adds_to_accumulators():
    with raises(RuleError, "the rule transpose, <lambda>", "must add the cotangents to the accumulators", "length 1"):
        grad(of(transpose=lambda self, ct, x: (ct,)))(1.0)


def test_arguments_that_are_keyword_only():
    f = of(expand=lambda self, x, *, scale=1.0: x * scale)
    assert f(2.0) == 2.0
    with raises(TypeError, "P: the argument 'scale' is keyword-only in expand"):
        f(2.0, scale=3.0)


def test_names_that_authors_may_use():
    class Busy(HiPrim):
        """Attributes with the names that one would expect such a class to need for itself."""

        _rules = _declared = _key = _search = identity = "mine"

        def __init__(self):
            self.in_avals, self.out_aval = (F,), F
            self.params = {"_held": 2.0, "_methods": 1.0}
            super().__init__()

        def _bind(self):
            return self._held

        def expand(self, x):
            return self._bind() * self._methods * x

        def vjp_fwd(self, nzs_in, x):
            assert self._rules == self.identity == "mine"
            return self(x), None

        def vjp_bwd_retval(self, res, ct):
            return (self._bind() * ct,)

    assert grad(Busy())(1.0) == jit(vmap(grad(Busy())))(pnp.ones(1))[0] == 2.0
    assert Busy() == Busy()


def test_forward_mode_from_a_backward_rule_that_is_not_linear():
    f = of(vjp_fwd=one, vjp_bwd_retval=lambda self, res, ct: (pnp.clip(ct, -1.0, 1.0),))
    assert grad(lambda x: 5.0 * f(x))(1.0) == 1.0
    with raises(RuleNotDefinedError, "'min' has no transpose rule") as info:
        jvp(f, (1.0,), (1.0,))
    assert "the primitive P" in info.value.__notes__[-1]
    assert "must be linear in the cotangent. Or define a jvp rule." in info.value.__notes__[-1]
