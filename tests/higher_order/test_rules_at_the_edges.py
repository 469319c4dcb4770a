"""Custom rules where they meet other things: order of arguments, captures of every kind, wrong rules, odd residuals."""

import copy
import pickle
from collections import deque
from functools import partial

import numpy as np
import pytest
from agreement import all_close
from wrappers import STAGED, eager, grad_in_vmap, grad_of_a_batch_of_two, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_rules, custom_vjp, errors, grad, jit, lax, vmap
from pullback.debug import tap, tapped

f32 = np.float32


# ---- arguments


NONDIFF = [
    {"nondiff_argnums": (2, 0)},
    {"nondiff_argnames": ("b", "a")},
    {"nondiff_argnums": -1, "nondiff_argnames": "a"},
]


def doubled(a, x, b):
    assert (a, b) == ("A", "B")
    return x * 2.0


def noting_jvp(f, seen):
    @f.defjvp
    def rule(a, b, primals, tangents):
        seen.append((a, b))
        return f(a, *primals, b), 10 * tangents[0]


def noting_vjp(f, seen):
    def fwd(a, x, b):
        return f(a, x, b), None

    def bwd(a, b, _, ct):
        seen.append((a, b))
        return (100 * ct,)

    f.defvjp(fwd, bwd)


@pytest.mark.parametrize("given", NONDIFF, ids=["numbers", "names", "a number and a name"])
@pytest.mark.parametrize(
    ("decorator", "define", "slope"), [(custom_jvp, noting_jvp, 10), (custom_vjp, noting_vjp, 100)]
)
@pytest.mark.parametrize("wrap", STAGED)
def test_nondiff_arguments_come_in_the_order_of_the_signature(given, decorator, define, slope, wrap):
    seen = []
    f = decorator(doubled, **given)
    define(f, seen)
    g = wrap(lambda x: f("A", x, "B"))
    all_close(g(f32(1)), f32(2))
    all_close(grad(g)(f32(1)), f32(slope))
    assert set(seen) == {("A", "B")}


@pytest.mark.parametrize("rules", [(3, None), ("no", ...)])
def test_defjvps_takes_functions(rules):
    with pytest.raises(TypeError, match="expects functions, None or"):
        custom_jvp(lambda x, y: x).defjvps(*rules)


# ---- what is closed over, and where: pairs of what holds a value, and what reads it


class Holder:
    __slots__ = ("__hidden", "__weakref__")

    def __init__(self, value):
        self.__hidden = value

    def value(self):
        return self.__hidden


class Raising:
    def __getattr__(self, name):
        raise RuntimeError(f"{name}: no context")


class Rude(dict):
    def values(self):
        raise RuntimeError("not now")


def call(box):
    return box()


def item_w(box):
    return box["w"]


def dict_with_a_long_list(value):
    return {"w": value, "words": [str(i) for i in range(5000)]}


def rude_dict(value):
    return Rude(w=value)


def in_a_deque(value):
    return deque([value])


def first(box):
    return box[0]


def proxy_beside(value):
    return Raising(), value


def second(box):
    return box[1]


def partial_function(value):
    return partial(lambda a: a, value)


def partial_function_by_keyword(value):
    return partial(lambda *, a: a, a=value)


def jitted_function(value):
    return jit(lambda: value * 1.0)


def transformed_function(value):
    return vmap(lambda i: value * i)


def of_a_batch_of_one(box):
    return box(pnp.ones(1))[0]


def default_argument(value):
    def function(a=value):
        return a

    return function


def function_with_rules(value):
    return custom_jvp(lambda i: value * i)


def of_its_function(box):
    return box.fun(1.0)


@pytest.mark.parametrize(
    ("hold", "read"),
    [
        (Holder, Holder.value),
        (dict_with_a_long_list, item_w),
        (in_a_deque, first),
        (rude_dict, item_w),
        (proxy_beside, second),
        (partial_function, call),
        (partial_function_by_keyword, call),
        (jitted_function, call),
        (transformed_function, of_a_batch_of_one),
        (default_argument, call),
        (function_with_rules, of_its_function),
    ],
)
@pytest.mark.parametrize("wrap", STAGED)
def test_values_are_found_wherever_they_are_held(hold, read, wrap):
    @wrap
    def loss(theta, x):
        """theta x, with the rule 10 theta by x."""
        box = hold(theta)
        f = custom_vjp(lambda x: read(box) * x)

        def fwd(x):
            return f(x), x

        def bwd(x, ct):
            return (10 * ct * read(box),)

        f.defvjp(fwd, bwd)
        return f(x)

    all_close(grad(loss, (0, 1))(3.0, 2.0), (f32(2), f32(30)))
    all_close(jit(grad(loss, (0, 1)))(3.0, 2.0), (f32(2), f32(30)))
    all_close(vmap(grad(loss))(np.array([1, 2], f32), np.array([3, 4], f32)), np.array([3, 4], f32))


TABLE = {}


def reads_a_global(x):
    return TABLE["theta"] * x


def rule_without_the_global():
    f = custom_vjp(reads_a_global)

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (ct,)

    f.defvjp(fwd, bwd)
    return f


def value_in_vmap(f):
    return lambda t: vmap(f)(pnp.stack([t, t]))[0] + 0 * t


@pytest.mark.parametrize("transform", [grad, value_in_vmap])
def test_a_global_with_constant_arguments(transform):
    f = rule_without_the_global()

    def loss(theta):
        TABLE["theta"] = theta
        return f(2.0)

    assert float(transform(loss)(1.0)) == 2


def test_a_global_with_traced_arguments_is_refused_by_name():
    f = rule_without_the_global()

    def loss(theta):
        TABLE["theta"] = theta
        return f(theta)

    with pytest.raises(errors.UnexpectedTracerError) as caught:
        grad(loss)(1.0)
    assert "reads_a_global" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("wrap", STAGED)
def test_rules_given_argument_by_argument_close_over_values(wrap):
    def loss(theta, x):
        f = custom_jvp(lambda x: x * 2.0)
        f.defjvps(lambda t, out, x: t * theta)
        return f(x)

    all_close(grad(wrap(loss), (0, 1))(3.0, 1.0), (f32(0), f32(3)))


@pytest.mark.parametrize("wrap", STAGED)
def test_a_tap_that_changes_cotangents_closes_over_values(wrap):
    def loss(theta, x):
        return tap(x * 2.0, bwd=lambda ct: ct * theta)

    all_close(grad(wrap(loss), (0, 1))(3.0, 1.0), (f32(0), f32(6)))
    all_close(vmap(grad(wrap(loss), 1))(np.array([1, 2], f32), np.ones(2, f32)), np.array([2, 4], f32))


def gradient_with_a_gradient_in_it(f):
    def value(x):
        return grad(f)(x) + 0 * x

    return lambda x: grad(value)(x) * 0 + grad(f)(x)


@pytest.mark.parametrize("transform", [grad, jit_of_grad, grad_in_vmap, gradient_with_a_gradient_in_it])
@pytest.mark.parametrize("wrap", STAGED)
def test_functions_among_the_residuals_may_hold_traced_values(wrap, transform):
    f = custom_vjp(lambda x: x * 2.0)

    def fwd(x):
        s = pnp.sin(x)
        return f(x), (lambda ct: ct * s, "a name")

    def bwd(kept, ct):
        times_sine, _ = kept
        return (times_sine(ct),)

    f.defvjp(fwd, bwd)
    all_close(transform(wrap(f))(f32(1)), np.sin(f32(1)), 10)


# ---- wrong rules (and rules that are lost at the next order: test_rule_order.py)


def grad_of_grad(f):
    return grad(lambda x: grad(f)(x) * x)


def zero(x):
    return 0.0


def full_of_zeros(x):
    return pnp.full(x.shape, 0.0)


def with_constant_tangent(tangent):
    """2 x with a rule that says `tangent(x)`, whatever the tangent of x."""
    f = custom_jvp(lambda x: x * 2.0)

    @f.defjvp
    def rule(primals, tangents):
        return f(*primals), tangent(primals[0])

    return f


@pytest.mark.parametrize("transform", [grad, grad_of_jit, jit_of_grad, grad_of_a_batch_of_two, grad_of_grad])
def test_a_tangent_that_does_not_depend_on_the_tangents(transform):
    with pytest.raises(errors.RuleError, match="does not depend on the tangent inputs"):
        transform(with_constant_tangent(eager))(1.0)
    for zeros in (pnp.zeros_like, zero, full_of_zeros):
        assert not np.any(np.asarray(transform(with_constant_tangent(zeros))(1.0)))


@pytest.mark.parametrize("wrap", [eager, jit])
@pytest.mark.parametrize(
    ("tangent", "error", "words"),
    [
        (lambda t: pnp.sin(t), errors.RuleNotDefinedError, "no transpose rule"),
        (lambda t: t * t, TypeError, "multiplies two tangents"),
        (lambda t: pnp.dot(t, t), TypeError, "two tangents"),
    ],
)
def test_a_rule_that_is_not_linear_is_named(tangent, error, words, wrap):
    f = custom_jvp(lambda x: x)

    def the_rule(primals, tangents):
        return f(*primals), tangent(tangents[0])

    f.defjvp(the_rule)
    with pytest.raises(error, match=words) as caught:
        grad(wrap(f))(1.0)
    if wrap is jit and words == "no transpose rule":
        return  # the linearized program knows the operation, no longer the rule
    assert "the_rule" in str(caught.value)
    notes = "".join(caught.value.__notes__)
    assert "the_rule" in notes
    assert __file__ in notes


def three_cotangents(ct):
    return ct * pnp.ones(3)


def text(ct):
    return "s"


def a_pair(ct):
    return ct, ct


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (three_cotangents, r"expected f32\[\], got f32\[3\]"),
        (text, "got 's'"),
        (a_pair, "each of the 1 arguments, got 2"),
    ],
)
def test_wrong_custom_gradients_are_named(rule, words):
    f = pb.custom_gradient(lambda x: (x * 2.0, rule))
    with pytest.raises(errors.RuleError, match=words) as caught:
        grad(f)(1.0)
    assert __file__ in str(caught.value)
    assert "argument" in str(caught.value)


# ---- taps, logs, debugging, copies


@pytest.mark.parametrize("wrap", STAGED)
def test_logs_and_taps_come_out_of_everything(wrap):
    f = custom_vjp(lambda x: tap(2.0 * x, "y"))

    def fwd(x):
        return f(x), None

    def bwd(_, ct):
        return (2.0 * ct,), {"seen": ct}

    f.defvjp_with_logs(fwd, bwd)
    logs = pb.vjp(wrap(f), f32(1))[1].with_logs(f32(1))[1]
    assert np.ravel(logs["seen"]).tolist() == [1]
    g = grad(wrap(f))
    for collected in (tapped(g), tapped(jit(g)), jit(tapped(g))):
        assert np.ravel(collected(f32(1))[1].values["y"]).tolist() == [2]


@pytest.mark.parametrize("wrap", STAGED)
def test_debug_nans_with_a_rule_that_is_differentiated_in_part(wrap):
    f = custom_vjp(lambda x, y: x * y)

    def fwd(x, y):
        return f(x, y), (x, y)

    def bwd(saved, ct):
        x, y = saved
        return ct * y, ct * x

    f.defvjp(fwd, bwd)
    with pb.debug_nans(True):
        all_close(grad(wrap(f))(2.0, 3.0), f32(3))


@custom_rules
def importable(x):
    return x


def test_copies_and_pickles_are_references():
    assert copy.deepcopy(importable) is importable
    assert copy.copy(importable) is importable
    assert pickle.loads(pickle.dumps(importable)) is importable


# ---- loops in loops, in reverse


def nested_scans(b):
    def outer(c, k):
        return lax.scan(lambda c, j: (0.7 * j * c, None), c, pnp.ones(2))[0], None

    return lax.scan(outer, b, None, 2)[0]


def nested_fori_loops(x):
    def outer(i, c):
        return lax.fori_loop(0, 2, lambda j, c: pnp.sin(c * j), c)

    return lax.fori_loop(0, 3, outer, x)


def branches_in_a_loop(x, k):
    def positive(c):
        return pnp.sin(c), pnp.cos(k)

    def other(c):
        return c, k

    def body(c, w):
        a, b = lax.cond(k > 0, lambda: positive(c), lambda: other(c))
        return a * b, None

    return lax.scan(body, x, None, length=3)[0]


def branches_by_the_carry(x):
    return branches_in_a_loop(x, 2.0)


def branches_by_what_they_close_over(x):
    return branches_in_a_loop(2.0, x)


def branches_that_change_from_row_to_row(s):
    def row(w):
        # the branch changes, what it computes does not
        return lax.cond(w > 0.3, lambda: pnp.sin(s), lambda: pnp.cos(s))

    return lax.map(row, pnp.array([0.1, 0.5])).sum()


@pytest.mark.parametrize("wrap", [eager, jit])
@pytest.mark.parametrize(
    "f",
    [
        nested_scans,
        nested_fori_loops,
        branches_by_the_carry,
        branches_by_what_they_close_over,
        branches_that_change_from_row_to_row,
    ],
)
def test_nested_loops_in_reverse(f, wrap):
    all_close(grad(wrap(f))(f32(0.9)), pb.jacfwd(f)(f32(0.9)), 20)
    all_close(grad(grad(wrap(f)))(f32(0.9)), pb.jacfwd(pb.jacfwd(f))(f32(0.9)), 50)
