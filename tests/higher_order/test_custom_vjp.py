"""custom_vjp inside and under everything. Rules are deliberately wrong, so that a rule that got lost shows."""

from functools import partial

import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, total

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_vjp, errors, grad, jit, jvp, lax, vjp, vmap
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
REFUSED = r"can't apply forward-mode autodiff \(jvp\) to a custom_vjp function\."


def sentinel(lib):
    """The sine with ten times the square as derivative."""
    f = lib.t.custom_vjp(lambda x: lib.lax.sin(x))
    f.defvjp(lambda x: (f(x), x), lambda x, g: (10 * x**2 * g,))
    return f


WRAPPERS = {
    "plain": lambda lib, f: f,
    "scan": lambda lib, f: lambda x: lib.lax.scan(lambda c, _: (f(c), f(c) * c), x, None, length=2),
    "cond": lambda lib, f: lambda x: lib.lax.cond(x.sum() > 0, f, lambda x: f(x) * x, x),
    "switch": lambda lib, f: lambda x: lib.lax.switch(np.int32(1), [lambda x: x, f, lib.lax.exp], x),
    "fori_loop": lambda lib, f: lambda x: lib.lax.fori_loop(0, 2, lambda i, c: f(c) + i, x),
    "map": lambda lib, f: lambda x: lib.lax.map(f, x, batch_size=2),
    "jit": lambda lib, f: lib.t.jit(lambda x: lib.t.jit(f)(x) * f(x)),
    "vmap": lambda lib, f: lambda x: lib.t.vmap(f)(x) * lib.t.vmap(lambda x, y: f(x) * f(y), (0, None))(x, x[0]),
    "scan of cond of jit": lambda lib, f: lambda x: lib.lax.scan(
        lambda c, k: (lib.lax.cond(k > 0, lib.t.jit(f), lambda c: c * 1.5, c), None), x, np.array([1, 0, 1]))[0],
    "vmap of scan": lambda lib, f: lib.t.vmap(lambda x: lib.lax.scan(lambda c, _: (f(c), c), x, None, length=2)),
    "jit of vmap of cond": lambda lib, f: lib.t.jit(lib.t.vmap(lambda x: lib.lax.cond(x > 0, f, lambda x: x, x))),
}


def reverse_battery(lib, fun):
    t = lib.t

    def loss(x):
        return total(lib, fun(x))

    def run(x, xs):
        gradient = t.grad(loss)
        second = t.grad(lambda x: (gradient(x) * x).sum())
        return {"value": fun(x), "grad": gradient(x), "grad of jit": t.grad(t.jit(loss))(x), "second": second(x),
                "vmap": t.vmap(fun)(xs), "vmap of grad": t.vmap(gradient)(xs), "vmap of second": t.vmap(second)(xs),
                "grad of vmap": t.grad(lambda xs: total(lib, t.vmap(t.jit(fun))(xs)))(xs),
                "scan of grad": lib.lax.scan(lambda c, _: (c + 0.1 * gradient(c), None), x, None, length=2)[0]}

    return run


@pytest.mark.parametrize("name", WRAPPERS)
def test_rule_is_kept(name):
    def battery(lib):
        return reverse_battery(lib, WRAPPERS[name](lib, sentinel(lib)))

    xs = np.stack([X, -X])
    expected = JAX.t.jit(battery(JAX))(X, xs)
    got = battery(PB)(X, xs)
    for key in expected:
        try:
            all_close(got[key], expected[key], 10)
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}") from None
    check_jaxpr(pb.make_jaxpr(battery(PB))(X, xs))


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("transform", [
    lambda f, x: jvp(f, (x,), (x,)), lambda f, x: jit(lambda x: jvp(f, (x,), (x,)))(x), lambda f, x: pb.jacfwd(f)(x),
    lambda f, x: vmap(lambda x: jvp(f, (x,), (x,)))(x[None]), lambda f, x: pb.linearize(f, x)[1](x),
    lambda f, x: jvp(lambda y: grad(lambda y: total(PB, f(y)))(y), (x,), (x,)),
])
def test_forward_mode_is_refused_in_the_same_words(name, transform):
    f = custom_vjp(lambda x: pnp.sin(x))
    # the backward rule is made of the function itself, so that forward over reverse meets it too
    f.defvjp(lambda x: (f(x), x), lambda x, g: (f(x) * g,))
    with pytest.raises(TypeError, match=REFUSED):
        transform(WRAPPERS[name](PB, f), X)


def test_in_a_while_loop_that_is_not_differentiated():
    f = sentinel(PB)

    def loop(x):
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1])), (0, x))[1]

    all_close(loop(X), np.sin(np.sin(np.sin(X))))
    with pytest.raises(TypeError, match=REFUSED):
        jvp(loop, (X,), (X,))
    # inside of the body reverse mode is at home
    step = lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] - grad(f)(c[1])), (0, f32(0.05)))[1]
    x = 0.05
    for _ in range(2):
        x -= 10 * x**2
    assert float(step) == pytest.approx(x, rel=1e-4)


# ---- how often rules run, and with what


def test_rules_run_only_under_differentiation_and_once(capsys):
    f = custom_vjp(lambda x: (print("f"), x)[1])
    f.defvjp(lambda x: (print("fwd"), f(x), None)[1:], lambda _, g: (print("bwd"), (g,))[1])

    def printed():
        return capsys.readouterr().out.split()

    f(1.0)
    assert printed() == ["f"]
    jit(f)(1.0)
    assert printed() == ["f"]
    grad(f)(1.0)
    assert printed() == ["fwd", "f", "bwd"]
    _, back = vjp(f, 1.0)
    assert printed() == ["fwd", "f"]
    back(1.0), back(2.0)
    assert printed() == ["bwd", "bwd"]
    g = jit(grad(f))
    g(1.0)
    assert printed() == ["fwd", "f", "bwd"]
    g(2.0)
    assert printed() == []
    with pb.debug.counters() as seen:
        grad(lambda x: f(x) * f(2.0))(1.0)
    assert seen["rules"] == 2


def test_python_control_flow_on_values_in_rules():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, "big" if x > 1 else "small"), lambda size, g: (g * {"big": 100, "small": 1}[size],))
    assert [float(grad(f)(x)) for x in (0.5, 2.0)] == [1, 100]
    assert float(grad(lambda x: f(f(x)))(2.0)) == 10_000


def test_residuals_that_are_strings_functions_none_and_arrays():
    f = custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (f(x, y), {"s": "twice", "fun": pnp.sin, "n": None, "xy": [x, (y,)], "i": 3}),
             lambda r, g: (g * r["fun"](r["xy"][1][0]) * r["i"], g * 2 if r["s"] == "twice" else None))
    expected = (3 * np.sin(2.0), 2.0)

    def gradient(x, y):
        return grad(f, (0, 1))(x, y)

    for run in (gradient, jit(gradient), lambda x, y: grad(jit(f), (0, 1))(x, y),
                lambda x, y: grad(lambda x, y: lax.cond(True, f, f, x, y), (0, 1))(x, y),
                lambda x, y: [v[0] for v in vmap(gradient)(pnp.stack([x]), pnp.stack([y]))]):
        assert [float(v) for v in run(f32(1.0), f32(2.0))] == pytest.approx(expected, rel=1e-5)


# ---- arguments and cotangents


def test_none_for_subtrees_leaves_and_arguments():
    f = custom_vjp(lambda a, b, c: a["u"] * a["v"][0] + b + c[0] * c[1])
    f.defvjp(lambda a, b, c: (f(a, b, c), None), lambda _, g: ({"u": 3 * g, "v": None}, None, (None, 5 * g)))
    arguments = ({"u": 1.0, "v": [2.0]}, 3.0, (4.0, 5.0))
    for transform in (lambda g: g, jit, lambda g: lambda *xs: vmap(g, axis_size=1, in_axes=None)(*xs)):
        a, b, c = transform(grad(f, (0, 1, 2)))(*arguments)
        assert float(a["u"][()] if np.ndim(a["u"]) == 0 else a["u"][0]) == 3
        for zero in (a["v"][0], b, c[0]):
            assert not np.any(np.asarray(zero))
        assert float(np.asarray(c[1]).ravel()[0]) == 5


def test_integer_and_bool_arguments():
    f = custom_vjp(lambda x, k, flag: x * k)
    f.defvjp(lambda x, k, flag: (f(x, k, flag), k), lambda k, g: (g * k * 10, None, np.zeros(3, pb.dtypes.float0)))
    k, flag = np.array([1, 2, 3], np.int32), np.array([True, False, True])
    expected = np.array([10, 20, 30], f32)

    def loss(x):
        return f(x, k, flag).sum()

    for run in (grad(loss), jit(grad(loss)), grad(jit(loss)), lambda x: vmap(grad(loss))(x[None])[0],
                grad(lambda x: lax.scan(lambda c, kf: (f(c, *kf), None), x, (k[None], flag[None]))[0].sum())):
        all_close(run(X), expected)
    _, back = vjp(f, X, k, flag)
    assert back(X)[1].dtype == pb.dtypes.float0
    all_close(vmap(grad(lambda x, k: f(x, k, True)))(X, k), expected)


def test_shared_arguments_get_the_sum_over_the_batch():
    def run(lib):
        f = lib.t.custom_vjp(lambda x, w: x * w.sum())
        f.defvjp(lambda x, w: (f(x, w), (x, w)), lambda r, g: (g * r[1].sum(), 100 * g * r[0] * r[1]))
        t = lib.t
        loss = lambda w, x: (t.vmap(f, (0, None))(x, w) * np.arange(3, dtype=f32)).sum()  # noqa: E731
        return (t.grad(loss)(X, X), t.grad(lambda w: loss(w, X))(X), t.grad(t.jit(loss))(X, X),
                t.vmap(t.grad(loss), (0, None))(np.stack([X, X]), X))

    all_close(run(PB), run(JAX))


def test_nondiff_argnums_defaults_and_keywords():
    @partial(custom_vjp, nondiff_argnums=(1, 3))
    def f(x, fun, y=2.0, mode="plain"):
        return fun(x) * y

    def fwd(x, fun, y, mode):
        return f(x, fun, y, mode), (x, y)

    def bwd(fun, mode, saved, g):
        return g * {"plain": 1.0, "loud": 100.0}[mode], g * fun(saved[0])

    f.defvjp(fwd, bwd)
    assert float(grad(lambda x: f(x, pnp.cos))(0.0)) == 1
    assert float(grad(lambda x: f(x, mode="loud", fun=pnp.cos))(0.0)) == 100
    assert float(jit(grad(lambda y: f(0.0, pnp.cos, y)))(5.0)) == 1
    def loop(x):
        return lax.scan(lambda c, _: (f(c, pnp.cos, mode="loud"), None), x, None, length=2)[0]

    assert float(grad(loop)(1.0)) == 1e4
    with pytest.raises(errors.UnexpectedTracerError, match=r"argument 'mode' is in nondiff_argnums"):
        grad(lambda m: f(1.0, pnp.sin, 1.0, m))(1.0)


def test_rule_that_uses_arrays_it_closes_over():
    w = np.array([1, 2, 3], f32)
    mask = np.array([True, False, True])
    f = custom_vjp(lambda x: x * 1)
    f.defvjp(lambda x: (f(x), (pnp.asarray(w), mask)), lambda r, g: (pnp.where(r[1], g * w, g * r[0]),))

    def loss(x):
        return lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0].sum()

    for run in (grad(loss), jit(grad(loss)), grad(jit(loss)), lambda x: vmap(grad(loss))(x[None])[0]):
        all_close(run(X), w * w)
        check_jaxpr(pb.make_jaxpr(run)(X))


def test_jit_inside_of_rules():
    f = custom_vjp(lambda x: jit(pnp.sin)(x))
    f.defvjp(jit(lambda x: (pnp.sin(x), (x, x * 2))), jit(lambda r, g: (g * r[1],)))
    for run in (grad(f), jit(grad(f)), grad(jit(f)), lambda x: vmap(grad(f))(x[None])[0]):
        all_close(run(f32(0.3)), f32(0.6))


def test_collective_in_a_backward_rule():
    def run(lib):
        f = lib.t.custom_vjp(lambda x: x * 1)
        f.defvjp(lambda x: (f(x), None), lambda _, g: (lib.lax.psum(g, "i"),))
        gradient = lib.t.grad(lambda x: lib.t.jit(f)(x) * x + f(2 * x))
        return [lib.t.vmap(gradient, axis_name="i")(X), lib.t.vmap(gradient, None, axis_name="i", axis_size=3)(f32(2)),
                lib.t.jit(lib.t.vmap(gradient, axis_name="i"))(X)]

    all_close(run(PB), run(JAX))


# ---- values that the function closes over


def closing(y):
    f = custom_vjp(lambda x: x * y)
    f.defvjp(lambda x: (f(x), x), lambda x, g: (10 * g * y,))
    return f


def test_closed_over_values_of_outer_transformations():
    def outer(y, x):
        f = closing(y)
        return f(x), grad(f)(x), grad(f)(2.0), f(3.0)

    ys = np.array([1, 2, 3], f32)
    expected = (ys * X, 10 * ys, 10 * ys, 3 * ys)
    for axis_name in (None, "i"):
        all_close(vmap(outer, axis_name=axis_name)(ys, X), expected)
        all_close(jit(vmap(outer, axis_name=axis_name))(ys, X), expected)
    assert float(grad(lambda y: grad(closing(y))(3.0))(2.0)) == 10


# the rule says d/dx = 10 y, the function itself d/dy = x
@pytest.mark.parametrize(("use", "expected"), [
    (lambda y: closing(y)(y), 10 * 2 + 2),
    (lambda y: jit(closing(y))(y), 22),
    (lambda y: jit(closing(y))(3.0), 3),
    (lambda y: lax.scan(lambda c, _: (closing(y)(c), None), y, None, length=2)[0], 20 * 22 + 4),
    (lambda y: lax.scan(lambda c, _: (closing(y)(c), None), 3.0, None, length=2)[0], 20 * 3 + 6),
    (lambda y: lax.cond(True, closing(y), lambda x: x, y), 22),
    (lambda y: vmap(closing(y))(pnp.stack([y, y])).sum(), 44),
    (lambda y: vmap(jit(closing(y)))(pnp.ones(3)).sum(), 3),
    (lambda y: grad(jit(closing(y)))(3.0), 10),
    (lambda y: grad(lambda x: closing(y)(x) * x)(3.0), 10 * 3 + 3),
])
@pytest.mark.parametrize("transform", [
    grad, lambda f: jit(grad(f)), lambda f: grad(jit(f)), lambda f: lambda y: vmap(grad(f))(pnp.stack([y, y]))[1],
    lambda f: lambda y: pb.vjp(jit(f), y)[1](f32(1))[0],
])
def test_function_is_differentiated_in_what_it_closes_over(use, expected, transform):
    all_close(transform(use)(f32(2)), f32(expected), 10)


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_rules_that_close_over_what_the_function_does_not(wrap):
    def loss(limit, x):
        clip = custom_vjp(lambda v: v)
        clip.defvjp(lambda v: (clip(v), None), lambda _, g: (pnp.clip(g, -limit, limit),))
        return wrap(clip)(x) * 5.0

    # the limit does not touch the value; the gradient that it cuts depends on it
    all_close(grad(loss, (0, 1))(2.0, 1.0), (f32(0), f32(2)))
    all_close(jit(grad(loss, (0, 1)))(2.0, 1.0), (f32(0), f32(2)))
    all_close(grad(lambda limit: grad(loss, 1)(limit, 1.0))(2.0), f32(1))
    all_close(vmap(grad(loss, 1), (0, None))(pnp.array([1.0, 9.0]), 1.0), np.array([1, 5], f32))


def test_explicit_and_closed_over_parameters_agree():
    def make(theta):
        f = custom_vjp(lambda x: pnp.sin(theta * x))
        f.defvjp(lambda x: (f(x), x), lambda x, g: (g * theta * pnp.cos(theta * x),))
        return f

    explicit = custom_vjp(lambda theta, x: pnp.sin(theta * x))
    explicit.defvjp(lambda theta, x: (explicit(theta, x), (theta, x)),
                    lambda res, g: (g * res[1] * pnp.cos(res[0] * res[1]), g * res[0] * pnp.cos(res[0] * res[1])))
    for wrap in (lambda f: f, jit, lambda f: lambda *a: lax.scan(lambda c, _: (f(*a), None), a[1], None, length=2)[0]):
        closed = wrap(lambda theta, x: make(theta)(x))
        for transform in (lambda f: grad(f, (0, 1)), lambda f: pb.jacrev(grad(f, 0), (0, 1)),
                          lambda f: jit(grad(f, (0, 1)))):
            all_close(transform(closed)(1.3, 0.7), transform(wrap(explicit))(1.3, 0.7), 10)


class Layer:
    def __init__(self, weight):
        self.weight = weight

    @partial(custom_vjp)
    def __call__(self, x):
        return self.weight * x


Layer.__call__.defvjp(lambda self, x: (self(x), x), lambda self, x, g: (10 * g * self.weight,))


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_traced_values_that_an_object_holds(wrap):
    def loss(w, x):
        return wrap(Layer([w, 2.0][0]))(x)

    all_close(grad(loss, (0, 1))(3.0, 2.0), (f32(2), f32(30)))


# ---- what is refused


def with_rules(fwd, bwd, fun=lambda a, k: a["u"] * a["v"][0]):
    f = custom_vjp(fun)
    f.defvjp(fwd, bwd)
    return f


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
@pytest.mark.parametrize(("fwd", "bwd", "message"), [
    (lambda a, k: a["u"], None, r"fwd rule .*must return a pair \(primal_out, residuals\), got an array"),
    (lambda a, k: (a["u"], 1, 2), None, r"fwd rule .*got a tuple of length 3"),
    (lambda a, k: ("no", 1), None, r"fwd rule .*primal output must hold arrays.*'no'"),
    (None, lambda r, g: g, r"bwd rule .*must return a tuple .* 2 differentiable arguments, got an array"),
    (None, lambda r, g: (g,), r"bwd rule .*each of the 2 differentiable arguments, got 1"),
    (None, lambda r, g: ({"u": g}, None), r"bwd rule .*cotangent of argument 'a'.*structure"),
    (None, lambda r, g: ({"u": g, "v": [g.sum()]}, None),
     r"cotangent of argument 'a', leaf \['v'\]\[0\].*expected f32\[3\], got f32\[\]"),
    (None, lambda r, g: ({"u": g.astype(np.float16), "v": [g]}, None),
     r"leaf \['u'\].*expected f32\[3\], got f16\[3\]"),
    (None, lambda r, g: ({"u": "x", "v": [g]}, None), r"leaf \['u'\].*got 'x'"),
    (None, lambda r, g: ({"u": g, "v": [g]}, "k"), r"cotangent of argument 'k'"),
])
def test_rules_that_break_their_contract(fwd, bwd, message, wrap):
    f = with_rules(fwd or (lambda a, k: (a["u"] * a["v"][0], None)), bwd or (lambda r, g: (None, None)))
    with pytest.raises(errors.RuleError, match=message) as caught:
        grad(lambda x: wrap(f)({"u": x, "v": [x]}, f32(2)).sum())(X)
    assert "test_custom_vjp.py" in str(caught.value)


def test_primal_output_of_the_forward_rule_that_is_not_what_the_function_returns():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x.sum(), None), lambda _, g: (g,))
    with pytest.raises(errors.RuleError, match=r"primal output.*expected f32\[3\], got f32\[\]"):
        vjp(jit(f), X)


def test_one_argument_without_its_tuple():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, g: g)
    with pytest.raises(errors.RuleError, match=r"tuple of length 1: return \(ct,\)"):
        grad(f)(1.0)


def test_no_rule():
    f = custom_vjp(lambda x: x)
    for g in (f, jit(f), lambda x: lax.cond(True, f, f, x)):
        with pytest.raises(errors.RuleNotDefinedError, match="defvjp"):
            grad(g)(1.0)
