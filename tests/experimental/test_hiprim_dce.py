"""Primitive classes in programs that use some of their results: the rule `dce`; `remat` as JAX 0.10.2 has it."""

import numpy as np
import pytest
from agreement import close
from refusals import raises

import pullback.numpy as pnp
from pullback import checkpoint, grad, jit, lax, make_jaxpr
from pullback._transforms.dce import dce
from pullback.errors import RuleError
from pullback.experimental.hijax import HiPrim, ShapedArray, VJPHiPrimitive

F = ShapedArray((), "float32")


class SineAlone(VJPHiPrimitive):
    in_avals, out_aval, params = (F,), (F,), {}

    def expand(self, x):
        return (pnp.sin(x),)


class Both(VJPHiPrimitive):
    """The sine of one number and the cosine of another; `reduce` is the rule `dce`."""

    in_avals, out_aval = (F, {"y": F}), (F, {"c": F})

    def __init__(self, reduce):
        self.params = {"_reduce": reduce}
        super().__init__()

    def expand(self, x, y):
        return pnp.sin(x), {"c": pnp.cos(y["y"])}

    def dce(self, used_outs):
        return self._reduce(self, used_outs)


def to_sine(self, used_outs):
    return ((True, False), (True, False), SineAlone()) if used_outs == (True, {"c": False}) else (True, True, self)


def reduced(f, *args, used):
    """What is left of a function where some of its results are used, and the inputs that it reads."""
    jaxpr, read = dce(make_jaxpr(f)(*args).jaxpr, used)
    return str(jaxpr), read


def test_a_smaller_instance_takes_the_place():
    f = Both(to_sine)

    def both(x, y):
        return f(x, {"y": y})

    text, read = reduced(both, 1.0, 2.0, used=(True, False))
    assert "c:f32[] = SineAlone a" in text
    assert read == (True, False)
    text, read = reduced(both, 1.0, 2.0, used=(False, True))
    assert "_:f32[] c:f32[] = Both a b" in text
    assert read == (True, True)


def test_values_and_derivatives_stay():
    f = Both(to_sine)

    def first(x, y):
        return f(x, {"y": y})[0]

    def second(x, y):
        return f(x, {"y": y})[1]["c"]

    for use in (jit, checkpoint):
        close(use(first)(1.0, 2.0), np.sin(np.float32(1)))
        close(use(second)(1.0, 2.0), np.cos(np.float32(2)))
        close(grad(use(first))(1.0, 2.0), np.cos(np.float32(1)))
        close(jit(grad(use(first), 1))(1.0, 2.0), np.float32(0))


def test_a_scan_whose_body_uses_one_result():
    f = Both(to_sine)

    def run(x):
        return lax.scan(lambda c, _: (f(c, {"y": c})[0], None), x, None, length=2)[0]

    close(jit(run)(1.0), np.sin(np.sin(np.float32(1))))
    close(jit(grad(run))(1.0), np.cos(np.sin(np.float32(1))) * np.cos(np.float32(1)))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda self, used: True, ["must return (used_ins, kept_outs, instance), got True"]),
        (lambda self, used: (True, True, None), ["an instance of a primitive class as its third result, got None"]),
        (lambda self, used: (True, (False, True), self_like()), ["leaves out a result that is used"]),
        (lambda self, used: (True, True, SineAlone()), ["whose arguments must have the types", "['f32[]', 'f32[]']"]),
        (lambda self, used: ((True, False), True, SineAlone()), ["whose results must have the types"]),
        (lambda self, used: (1, True, SineAlone()), ["must return bools as", "got 1"]),
    ],
)
def test_results_of_dce(rule, words):
    f = Both(rule)
    with pytest.raises(RuleError) as info:
        reduced(lambda x, y: f(x, {"y": y}), 1.0, 2.0, used=(True, False))
    for part in ("the rule dce", "of the primitive Both", *words):
        assert part in str(info.value)


def self_like():
    return Both(to_sine)


def test_the_parameters_of_jax_012():
    class Newer(HiPrim):
        in_avals, out_aval, params = (F,), (F, F), {}

        def expand(self, x):
            return pnp.sin(x), pnp.cos(x)

        def dce(self, used_outs, live_ins):
            seen.append((used_outs, live_ins))
            return True, (True, False), SineAlone()

    seen = []
    assert "= SineAlone a" in reduced(Newer(), 1.0, used=(True, False))[0]
    assert seen[0] == ((True, False), (True,))


# --- remat, as JAX 0.10.2 has it ---


def test_the_parameters_of_jax_0102():
    ran = []

    class Older(VJPHiPrimitive):
        in_avals, out_aval, params = (F,), F, {}

        def expand(self, x):
            return pnp.sin(x)

        def vjp_fwd(self, nzs_in, x):
            return self(x), x

        def vjp_bwd_retval(self, x, ct):
            ran.append("bwd")
            return (2.0 * pnp.cos(x) * ct,)

        def remat(self, policy, x):
            ran.append(policy)
            return self(x), self

    close(grad(checkpoint(Older()))(1.0), 2 * np.cos(np.float32(1)))
    assert ran == [None, "bwd"]


def test_results_of_the_older_rule():
    def of(rule):
        members = {"in_avals": (F,), "out_aval": F, "params": {}, "expand": lambda self, x: x, "remat": rule}
        return grad(checkpoint(type("P", (VJPHiPrimitive,), members)()))

    with raises(RuleError, "the rule remat", "must return (out, rem), rem a function of the arguments", "length 3"):
        of(lambda self, policy, x: (x, 1.0, pnp.sin))(1.0)
    with raises(RuleError, "that remat returned, of the primitive P", "is called as rule(*args), but:"):
        of(lambda self, policy, x: (x, to_sine))(1.0)
