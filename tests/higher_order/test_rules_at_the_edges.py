"""Custom rules where they meet other things: order of arguments, captures of every kind, wrong rules, odd residuals."""

import copy
import pickle
import warnings
from collections import deque
from functools import partial

import numpy as np
import pytest
from agreement import all_close

import pullback as pb
import pullback.numpy as pnp
from pullback import closure_convert, custom_jvp, custom_rules, custom_vjp, errors, grad, jit, jvp, lax, vmap
from pullback.custom_batching import custom_vmap
from pullback.debug import tap, tapped

f32 = np.float32
STAGED = [lambda f: f, jit, lambda f: lambda *a: lax.scan(lambda c, _: (c, f(*a)), 0.0, None, length=1)[1][0],
          lambda f: pb.checkpoint(f)]


# ---- arguments


@pytest.mark.parametrize("given", [{"nondiff_argnums": (2, 0)}, {"nondiff_argnames": ("b", "a")},
                                   {"nondiff_argnums": -1, "nondiff_argnames": "a"}])
def test_nondiff_arguments_come_in_the_order_of_the_signature(given):
    seen = []

    def f(a, x, b):
        assert (a, b) == ("A", "B")
        return x * 2.0

    for decorator in (custom_jvp, custom_vjp):
        g = decorator(f, **given)
        g.defjvp(lambda a, b, p, t, g=g: (seen.append((a, b)) or g(a, *p, b), 10 * t[0]))
        if decorator is custom_vjp:
            g.defvjp(lambda a, x, b, g=g: (g(a, x, b), None), lambda a, b, _, ct: (seen.append((a, b)) or 100 * ct,))
        for wrap in STAGED:
            all_close(wrap(lambda x, g=g: g("A", x, "B"))(f32(1)), f32(2))
            all_close(grad(wrap(lambda x, g=g: g("A", x, "B")))(f32(1)), f32(10 if decorator is custom_jvp else 100))
    assert set(seen) == {("A", "B")}


@pytest.mark.parametrize("rules", [(3, None), ("no", ...)])
def test_defjvps_takes_functions(rules):
    with pytest.raises(TypeError, match="expects functions, None or"):
        custom_jvp(lambda x, y: x).defjvps(*rules)


# ---- what is closed over, and where


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


def held_in(container):
    """A function with rule 10 theta x, whose theta is reached through a container."""
    make, read = container

    def loss(theta, x):
        box = make(theta)
        f = custom_vjp(lambda x: read(box) * x)
        f.defvjp(lambda x: (f(x), x), lambda x, ct: (10 * ct * read(box),))
        return f(x)

    return loss


CONTAINERS = {
    "private slot": (Holder, lambda b: b.value()),
    "long list beside": (lambda t: {"w": t, "words": [str(i) for i in range(5000)]}, lambda b: b["w"]),
    "deque": (lambda t: deque([t]), lambda b: b[0]),
    "rude dict": (lambda t: Rude(w=t), lambda b: b["w"]),
    "proxy beside": (lambda t: (Raising(), t), lambda b: b[1]),
    "partial": (lambda t: partial(lambda a: a, t), lambda b: b()),
    "keyword partial": (lambda t: partial(lambda *, a: a, a=t), lambda b: b()),
    "jitted function": (lambda t: jit(lambda: t * 1.0), lambda b: b()),
    "transformed function": (lambda t: vmap(lambda i: t * i), lambda b: b(pnp.ones(1))[0]),
    "default argument": (lambda t: (lambda a=t: a), lambda b: b()),
    "custom function": (lambda t: custom_jvp(lambda i: t * i), lambda b: b.fun(1.0)),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("wrap", STAGED)
def test_values_are_found_wherever_they_are_held(container, wrap):
    loss = wrap(held_in(CONTAINERS[container]))
    all_close(grad(loss, (0, 1))(3.0, 2.0), (f32(2), f32(30)))
    all_close(jit(grad(loss, (0, 1)))(3.0, 2.0), (f32(2), f32(30)))
    all_close(vmap(grad(loss))(np.array([1, 2], f32), np.array([3, 4], f32)), np.array([3, 4], f32))


TABLE = {}


def reads_a_global(x):
    return TABLE["theta"] * x


@pytest.mark.parametrize("transform", [grad, lambda f: lambda t: vmap(f)(pnp.stack([t, t]))[0] + 0 * t])
def test_a_global_with_constant_arguments(transform):
    f = custom_vjp(reads_a_global)
    f.defvjp(lambda x: (f(x), x), lambda x, ct: (ct,))

    def loss(theta):
        TABLE["theta"] = theta
        return f(2.0)

    assert float(transform(loss)(1.0)) == 2


def test_a_global_with_traced_arguments_is_refused_by_name():
    f = custom_vjp(reads_a_global)
    f.defvjp(lambda x: (f(x), x), lambda x, ct: (ct,))

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


def test_a_vmap_rule_does_not_apply_where_captured_values_are_mapped():
    def f(theta, x):
        g = custom_vmap(lambda x: theta * x)
        g.def_vmap(lambda n, batched, x: (10 * theta * x, batched[0]))
        return g(x)

    thetas, xs = np.array([1, 2], f32), np.array([3, 4, 5], f32)
    all_close(vmap(lambda x: f(2.0, x))(xs), 20 * xs)
    all_close(vmap(lambda x: vmap(lambda t: f(t, x))(thetas))(xs), xs[:, None] * thetas)
    all_close((pb.jacfwd(f, 0)(2.0, 3.0), pb.jacfwd(f, 1)(2.0, 3.0)), (f32(3), f32(20)))


@pytest.mark.parametrize("wrap", STAGED)
def test_functions_among_the_residuals_may_hold_traced_values(wrap):
    f = custom_vjp(lambda x: x * 2.0)

    def fwd(x):
        s = pnp.sin(x)
        return f(x), (lambda ct: ct * s, "a name")

    f.defvjp(fwd, lambda kept, ct: (kept[0](ct),))
    for transform in (grad, lambda g: jit(grad(g)), lambda g: lambda x: vmap(grad(g))(x[None])[0],
                      lambda g: lambda x: grad(lambda x: grad(g)(x) + 0 * x)(x) * 0 + grad(g)(x)):
        all_close(transform(wrap(f))(f32(1)), np.sin(f32(1)), 10)


# ---- rules at the next order


def value_of_gradient(f):
    return lambda x: pb.value_and_grad(f)(x)[0]


def test_a_custom_gradient_holds_at_the_next_order_in_traced_code():
    square = pb.custom_gradient(lambda x: (x ** 2, lambda ct: 10.0 * ct * x))
    v = value_of_gradient(square)
    for g in (v, jit(v), lambda x: lax.scan(lambda c, _: (v(c), None), x, None, 1)[0]):
        all_close(grad(g)(3.0), f32(30))


@pytest.mark.parametrize("wrap", [lambda f: f, *STAGED[1:]])
@pytest.mark.parametrize("transform", [grad, lambda f: lambda x: jvp(f, (x,), (1.0,))[1], lambda f: jit(grad(f))])
def test_a_lost_rule_is_reported_in_traced_code_too(wrap, transform):
    f = custom_jvp(lambda x: pnp.sin(x))
    f.defjvp(lambda p, t: (pnp.sin(p[0]), 7.0 * t[0]))
    with pytest.warns(errors.RuleOrderWarning, match="does not call"):
        transform(wrap(value_of_gradient(f)))(0.5)


def test_calls_by_a_compiled_function_count():
    f = custom_vjp(lambda x: pnp.sin(x))
    compiled = jit(f)
    f.defvjp(lambda x: (compiled(x), x), lambda x, ct: (5.0 * ct * pnp.cos(x),))
    v = value_of_gradient(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            all_close(grad(v)(0.0), f32(5))
            all_close(grad(jit(v))(0.0), f32(5))


# ---- wrong rules


@pytest.mark.parametrize("transform", [
    grad, lambda f: grad(jit(f)), lambda f: jit(grad(f)), lambda f: lambda x: vmap(grad(f))(pnp.stack([x, x])),
    lambda f: grad(lambda x: grad(f)(x) * x),
])
def test_a_tangent_that_does_not_depend_on_the_tangents(transform):
    wrong = custom_jvp(lambda x: x * 2.0)
    wrong.defjvp(lambda p, t: (wrong(*p), p[0]))
    with pytest.raises(errors.RuleError, match="does not depend on the tangent inputs"):
        transform(wrong)(1.0)
    for zeros in (pnp.zeros_like, lambda x: 0.0, lambda x: pnp.full(x.shape, 0.0)):
        constant = custom_jvp(lambda x: x * 2.0)
        constant.defjvp(lambda p, t, f=constant, zeros=zeros: (f(*p), zeros(p[0])))
        assert not np.any(np.asarray(transform(constant)(1.0)))


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
@pytest.mark.parametrize(("tangent", "error", "words"), [
    (lambda t: pnp.sin(t), errors.RuleNotDefinedError, "no transpose rule"),
    (lambda t: t * t, TypeError, "multiplies two tangents"),
    (lambda t: pnp.dot(t, t), TypeError, "two tangents"),
])
def test_a_rule_that_is_not_linear_is_named(tangent, error, words, wrap):
    f = custom_jvp(lambda x: x)

    def the_rule(primals, tangents):
        return f(*primals), tangent(tangents[0])

    f.defjvp(the_rule)
    with pytest.raises(error, match=words) as caught:
        grad(wrap(f))(1.0)
    if wrap is jit and words == "no transpose rule":
        return  # the linearized program knows the operation, no longer the rule
    notes = "".join(caught.value.__notes__)
    assert "the_rule" in notes
    assert __file__ in notes


def test_wrong_custom_gradients_are_named():
    for rule, words in ((lambda ct: ct * pnp.ones(3), r"expected f32\[\], got f32\[3\]"),
                        (lambda ct: "s", "got 's'"), (lambda ct: (ct, ct), "each of the 1 arguments, got 2")):
        with pytest.raises(errors.RuleError, match=words) as caught:
            grad(pb.custom_gradient(partial(lambda rule, x: (x * 2.0, rule), rule)))(1.0)
        assert __file__ in str(caught.value)
        assert "argument" in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
@pytest.mark.parametrize(("rule", "words"), [
    (lambda n, b, x: ((x, x), True), "structure of the function's"),
    (lambda n, b, x: (pnp.ones((n, 4)), True), r"expected f32\[\] for each example, got f32\[2,4\]"),
    (lambda n, b, x: (x.astype("int32"), True), r"expected f32\[\] for each example, got i32\[2\]"),
    (lambda n, b, x: (x, x), "a bool for each leaf"),
    (lambda n, b, x: (1.0, True), r"length 2, got f32\[\]"),
])
def test_a_vmap_rule_returns_what_the_function_does(rule, words, wrap):
    f = custom_vmap(lambda x: x * 2.0)
    f.def_vmap(rule)
    with pytest.raises(errors.RuleError, match=words):
        vmap(wrap(f))(pnp.ones(2))


def test_converted_closures_check_their_arguments():
    def loss(theta, given):
        converted, _ = closure_convert(lambda x: x * theta, 1.0)
        return sum(map(converted, given), theta * 0.0)

    with pytest.raises(TypeError, match="1 arguments and the 1 values"):
        grad(loss)(2.0, [1.0, 2.0])
    converted, values = closure_convert(lambda x: x.mean(), pnp.ones(3))
    assert values == []
    with pytest.raises(TypeError, match=r"expected f32\[3\], got f32\[6\]"):
        converted(pnp.ones(6))
    with pytest.raises(TypeError, match="0 values"):
        converted(pnp.ones(3), 1.0)


# ---- taps, logs, debugging, copies


@pytest.mark.parametrize("wrap", STAGED)
def test_logs_and_taps_come_out_of_everything(wrap):
    f = custom_vjp(lambda x: tap(2.0 * x, "y"))
    f.defvjp_with_logs(lambda x: (f(x), None), lambda _, ct: ((2.0 * ct,), {"seen": ct}))
    logs = pb.vjp(wrap(f), f32(1))[1].with_logs(f32(1))[1]
    assert np.ravel(logs["seen"]).tolist() == [1]
    g = grad(wrap(f))
    for collected in (tapped(g), tapped(jit(g)), jit(tapped(g))):
        assert np.ravel(collected(f32(1))[1].values["y"]).tolist() == [2]


@pytest.mark.parametrize("wrap", STAGED)
def test_debug_nans_with_a_rule_that_is_differentiated_in_part(wrap):
    f = custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda r, ct: (ct * r[1], ct * r[0]))
    with pb.debug_nans(True):
        all_close(grad(wrap(f))(2.0, 3.0), f32(3))


@custom_rules
def importable(x):
    return x


def test_copies_and_pickles_are_references():
    assert copy.deepcopy(importable) is importable
    assert copy.copy(importable) is importable
    assert pickle.loads(pickle.dumps(importable)) is importable


def test_nested_loops_in_reverse():
    ones = pnp.ones(2)

    def nested(b):
        return lax.scan(lambda c, k: (lax.scan(lambda c, j: (0.7 * j * c, None), c, ones)[0], None), b, None, 2)[0]

    def mixed(x):
        return lax.fori_loop(0, 3, lambda i, c: lax.fori_loop(0, 2, lambda j, c: pnp.sin(c * j), c), x)

    def chosen(x, k):
        def body(c, w):
            a, b = lax.cond(k > 0, lambda: (pnp.sin(c), pnp.cos(k)), lambda: (c, k))
            return a * b, None
        return lax.scan(body, x, None, length=3)[0]

    def by_row(s):
        # the branch changes from row to row, what it computes does not
        return lax.map(lambda w: lax.cond(w > 0.3, lambda: pnp.sin(s), lambda: pnp.cos(s)), pnp.array([0.1, 0.5])).sum()

    for f in (nested, mixed, lambda x: chosen(x, 2.0), lambda x: chosen(2.0, x), by_row):
        for wrap in (lambda f: f, jit):
            all_close(grad(wrap(f))(f32(0.9)), pb.jacfwd(f)(f32(0.9)), 20)
            all_close(grad(grad(wrap(f)))(f32(0.9)), pb.jacfwd(pb.jacfwd(f))(f32(0.9)), 50)
