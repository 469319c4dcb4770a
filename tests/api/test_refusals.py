"""What the user's functions refuse, and say: decorators of rules, linear maps, functions outside, keys."""

import inspect
import pickle

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import random
from pullback.errors import RuleError

X = pnp.arange(3.0)


def square(x):
    return x * x


def product(x, y):
    return x * y


# --- decorators of rules ---


def test_a_method_with_rules_is_not_pickled_but_its_class_is():
    class Layer:
        @pb.custom_jvp
        def scaled(self, x):
            return 2 * x

    with pytest.raises(TypeError, match="a bound method with rules cannot be pickled"):
        pickle.dumps(Layer().scaled)


def test_the_name_of_a_function_with_rules():
    f = pb.custom_jvp(square)
    assert repr(f).startswith("<custom_jvp square")


def no_tangent(t, out, x):
    return t * 2 * x


def test_defjvps_gives_a_rule_for_each_argument():
    f = pb.custom_jvp(product)
    f.defjvps(lambda t, out, x, y: t * y)
    with pytest.raises(TypeError, match="defjvps was given 1 rules for 2 arguments"):
        pb.grad(f)(1.0, 2.0)


def test_a_rule_of_defjvps_returns_the_structure_of_the_result():
    f = pb.custom_jvp(square)
    f.defjvps(lambda t, out, x: (t, t))
    with pytest.raises(TypeError, match=r"a rule given to defjvps returned .* expected the structure of the"):
        pb.grad(f)(1.0)


@pytest.mark.parametrize("method", ["defjvps", "deftranspose"])
def test_some_methods_do_not_go_with_nondiff_argnums(method):
    f = pb.custom_jvp(product, nondiff_argnums=(1,))
    with pytest.raises(TypeError, match=f"{method} does not go with nondiff_argnums"):
        getattr(f, method)(no_tangent)


def test_what_a_backward_rule_logs_is_a_dict():
    f = pb.custom_rules(square)

    def fwd(x):
        return x * x, x

    def bwd(x, ct):
        return (2 * x * ct,), ["no", "dict"]

    f.defvjp_with_logs(fwd, bwd)
    with pytest.raises(RuleError, match="must log a dict or None"):
        pb.grad(f)(1.0)


# --- arguments ---


class WithoutSignature:
    """A callable whose signature Python cannot tell."""

    @property
    def __signature__(self):
        raise ValueError("not known")

    def __call__(self, x, y=2.0):
        return x * y


def test_a_function_without_signature_takes_arguments_by_position():
    f = WithoutSignature()
    with pytest.raises(ValueError, match="not known"):
        inspect.signature(f)
    rules = pb.custom_jvp(f)

    @rules.defjvp
    def rule(primals, tangents):
        (x, y), (t, _) = primals, tangents
        return rules(x, y), 10 * t * y

    assert float(pb.grad(rules)(1.0, 3.0)) == 30
    with pytest.raises(TypeError, match="keyword arguments need a signature to be mapped to positions"):
        pb.grad(lambda x: rules(x, y=3.0))(1.0)
    with pytest.raises(TypeError, match=r"argument 0"):
        pb.grad(f)("text", 3.0)


def test_static_sets_are_told_apart_by_what_is_in_them():
    f = pb.jit(lambda x, names: x * len(names), static_argnums=1)
    assert [float(f(2.0, frozenset(names))) for names in (("a",), ("a", "b"), ("a",))] == [2, 4, 2]
    one, true = frozenset([1]), frozenset([True])
    kind = pb.jit(lambda x, names: x * (type(next(iter(names))) is bool), static_argnums=1)
    assert [float(kind(2.0, names)) for names in (one, true)] == [0, 2]


def test_results_are_named_by_their_place():
    def words(x):
        return {"value": x, "text": "hello"}

    with pytest.raises(TypeError, match="text"):
        pb.jit(words)(1.0)
    with pytest.raises(TypeError, match="text"):
        pb.pure_callback(words, {"value": X, "text": X}, 1.0)


# --- linear maps ---


def test_a_linear_map_takes_tangents_of_the_arguments_structure():
    _, linear = pb.linearize(lambda pair: pair[0] * pair[1], (1.0, 2.0))
    with pytest.raises(TypeError, match="tangents must have the structure of the arguments"):
        linear([1.0, 2.0])
    with pytest.raises(TypeError, match="takes tangents by position, got the keywords t"):
        linear(t=(1.0, 2.0))


def test_tangents_of_integers_are_zeros():
    def scaled(n, x):
        return n * x

    out, tangent = pb.jvp(scaled, (2, 3.0), (np.zeros((), pb.float0), 1.0))
    assert (float(out), float(tangent)) == (6, 2)
    with pytest.raises(TypeError, match="has no derivative, so its tangent must be"):
        pb.jvp(scaled, (2, 3.0), (1.0, 1.0))


def test_an_integer_result_may_be_its_own_cotangent():
    def doubled_and_rounded(x):
        return 2 * x, x.astype(pnp.int32)

    out, pull = pb.vjp(doubled_and_rounded, pnp.float32(3.7))
    for cotangent in (out[1], 1, np.zeros((), pb.float0), np.int8(4)):
        assert float(pull((pnp.float32(1), cotangent))[0]) == 2
    for cotangent in (1.5, pnp.ones(2, pnp.int32)):
        with pytest.raises(TypeError, match="has no derivative, so its tangent must be"):
            pull((pnp.float32(1), cotangent))


# --- functions outside ---


def test_an_elementwise_function_takes_arrays():
    f = pb.external(lambda: np.float32(1), elementwise=True)
    with pytest.raises(TypeError, match="takes arrays alone"):
        f()


def test_without_arguments_the_type_of_the_result_is_given():
    f = pb.external(lambda: np.float32(1))
    with pytest.raises(TypeError, match=r"there is no positional argument\. Pass result="):
        f()


# --- keys ---


def test_keys():
    key = random.key(0)
    with pytest.raises(TypeError, match=r"len\(\) of a single key"):
        len(key)
    assert len(random.split(key, 3)) == 3
    assert key != "a key"
    assert key.block_until_ready() is key
    assert key.copy() == key
    with pytest.raises(TypeError, match="expected a key"):
        random.normal("key")
    with pytest.raises(ValueError, match="give impl or dtype, not both"):
        random.key(0, impl="threefry2x32", dtype=key.dtype)
