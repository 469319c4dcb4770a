"""custom_jvp inside and under everything. Rules are deliberately wrong, so that a rule that got lost shows."""

from functools import partial

import jax
import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, errors, grad, jit, jvp, lax, vmap
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def sentinel(lib):
    """The sine with ten times the square as derivative."""
    f = lib.t.custom_jvp(lambda x: lib.lax.sin(x))
    f.defjvp(lambda primals, tangents: (f(*primals), 10 * primals[0] ** 2 * tangents[0]))
    return f


WRAPPERS = {
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


LOOPS = {"scan", "fori_loop", "map", "scan of cond of jit", "vmap of scan"}


@pytest.mark.parametrize("name", WRAPPERS)
def test_rule_is_kept(name):
    agree(lambda lib: WRAPPERS[name](lib, sentinel(lib)), X, second=name not in LOOPS)


def test_second_derivatives_through_loops_are_those_of_the_unrolled_loop():
    # JAX loses the rule in the primal half of a linearized scan, so that the oracle is unrolled
    def make(lib):
        f = sentinel(lib)

        def unrolled(x):
            y = f(x)
            return f(y), lib.np.stack([f(x) * x, f(y) * y])

        return WRAPPERS["scan"](lib, f) if lib is PB else unrolled

    agree(make, X)


def test_rule_is_kept_in_a_while_loop():
    def make(lib):
        f = sentinel(lib)
        return lambda x: lib.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1])), (0, x))

    agree(make, X, reverse=False)


def test_rule_that_uses_arrays_it_closes_over():
    w = np.array([1, 2, 3], f32)
    f = custom_jvp(lambda x: x * 1)
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * w + pnp.array([0.0, 0.0, 1.0]) * tangents[0]))

    def loss(x):
        return lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0].sum()

    expected = np.array([1, 4, 16], f32)
    for transform in (grad(loss), jit(grad(loss)), grad(jit(loss)), pb.jacfwd(loss),
                      lambda x: vmap(grad(loss))(x[None])[0]):
        all_close(transform(X), expected)
        check_jaxpr(pb.make_jaxpr(transform)(X))


# ---- how often rules run


def test_rules_run_only_under_differentiation_and_once():
    f = sentinel(PB)
    with pb.debug.counters() as seen:
        f(1.0)
        jit(f)(1.0)
        vmap(f)(X)
        lax.scan(lambda c, _: (f(c), None), 1.0, None, length=2)
    assert seen["rules"] == 0
    for transform, count in ((grad(f), 1), (lambda x: jvp(f, (x,), (x,)), 1), (lambda x: f(x) * grad(f)(x), 1),
                             (lambda x: grad(lambda x: f(f(x)))(x), 2)):
        with pb.debug.counters() as seen:
            transform(1.0)
        assert seen["rules"] == count


def test_rule_of_a_compiled_function_runs_once_for_all_calls():
    runs = []
    f = custom_jvp(lambda x: pnp.sin(x))

    @f.defjvp
    def rule(primals, tangents):
        runs.append(1)
        return f(*primals), tangents[0]

    g = jit(grad(f))
    g(1.0), g(2.0), g(3.0)
    assert len(runs) == 1


def test_python_control_flow_and_prints_in_function_and_rule(capsys):
    @custom_jvp
    def f(x):
        print("f")
        return x * 2 if x > 0 else x * 3

    @f.defjvp
    def f_jvp(primals, tangents):
        print("rule")
        (x,), (t,) = primals, tangents
        return f(x), 7 * t if float(x) > 1 else 5 * t

    assert [float(grad(f)(x)) for x in (2.0, 0.5, -1.0)] == [7, 5, 5]
    assert capsys.readouterr().out.split() == ["rule", "f"] * 3
    with pytest.raises(errors.TracerBoolConversionError):
        jit(f)(1.0)


# ---- arguments


def test_nondiff_argnums_defaults_and_keywords():
    @partial(custom_jvp, nondiff_argnums=(0, 3))
    def apply(fun, x, y=2.0, mode="plain"):
        return fun(x) * y

    @apply.defjvp
    def apply_jvp(fun, mode, primals, tangents):
        (x, y), (x_dot, y_dot) = primals, tangents
        return apply(fun, x, y, mode), {"plain": 1.0, "loud": 100.0}[mode] * (x_dot + 10 * y_dot)

    assert float(grad(lambda x: apply(pnp.sin, x))(1.0)) == 1
    assert float(grad(lambda x: apply(pnp.sin, x, mode="loud"))(1.0)) == 100
    assert float(grad(lambda y: apply(mode="loud", fun=pnp.sin, x=1.0, y=y))(1.0)) == 1000
    assert float(jit(grad(lambda y: apply(pnp.sin, 1.0, y)))(1.0)) == 10
    assert float(vmap(grad(lambda y: apply(pnp.sin, 1.0, y)))(X)[0]) == 10
    with pytest.raises(errors.UnexpectedTracerError, match=r"argument 'mode' is in nondiff_argnums"):
        grad(lambda m: apply(pnp.sin, 1.0, 1.0, m))(1.0)


def test_nondiff_function_that_closes_over_a_value():
    @partial(custom_jvp, nondiff_argnums=(0,))
    def apply(fun, x):
        return fun(x)

    apply.defjvp(lambda fun, primals, tangents: (apply(fun, *primals), 3 * tangents[0]))

    def outer(y):
        return grad(lambda x: apply(lambda x: x * y, x))(2.0), apply(lambda x: x * y, 2.0)

    for run in (outer, jit(outer)):
        assert [float(v) for v in run(5.0)] == [3, 10]
    all_close(vmap(outer)(X), (np.full(3, 3, f32), 2 * X))


def test_pytrees_and_integer_arrays():
    def make(lib):
        @lib.t.custom_jvp
        def f(d, k):
            return {"y": d["a"] * d["b"][0], "n": None, "k": k + 1, "s": (lib.lax.sin(d["a"]),)}

        @f.defjvp
        def rule(primals, tangents):
            (d, k), (t, _) = primals, tangents
            out = f(d, k)
            y = 3 * t["a"] + 5 * t["b"][0]
            zero = np.zeros(np.shape(k), jax.dtypes.float0 if lib is JAX else pb.dtypes.float0)
            return out, {"y": y, "n": None, "k": zero, "s": (7 * t["a"],)}

        return lambda a, b: f({"a": a, "b": [b, None]}, np.arange(3, dtype=np.int32))

    agree(make, X, X * 2)


def test_defjvps_with_none():
    def make(lib):
        f = lib.t.custom_jvp(lambda x, y, z: x * y * z)
        f.defjvps(lambda t, out, x, y, z: 3 * t * out, None, lambda t, out, x, y, z: t * x)
        return lambda x, y: lib.t.jit(f)(f(x, y, x), y, x)

    agree(make, X, X * 0.5)


def test_methods_and_partials():
    class Layer:
        w = 3.0

        @partial(custom_jvp, nondiff_argnums=(0,))
        def __call__(self, x):
            return x * self.w

        @__call__.defjvp
        def rule(self, primals, tangents):
            return primals[0] * self.w, tangents[0] * 50

    assert float(grad(Layer())(1.0)) == 50
    f = custom_jvp(partial(lambda k, x: k * x, 2.0))
    f.defjvp(lambda p, t: (f(*p), 9 * t[0]))
    assert float(grad(f)(1.0)) == 9


# ---- rules made of other transformations


RULES = {
    "jit": lambda lib: lib.t.jit(lambda p, t: (lib.lax.sin(p[0]), 5 * lib.lax.cos(p[0]) * t[0])),
    "jvp": lambda lib: lambda p, t: lib.t.jvp(lambda x: lib.lax.sin(x) * 5, p, t),
    "scan": lambda lib: lambda p, t: lib.lax.scan(
        lambda c, _: ((lib.lax.sin(c[0]), 2 * lib.lax.cos(c[0]) * c[1]), None), (p[0], t[0]), None, length=2)[0],
    "cond": lambda lib: lambda p, t: lib.lax.cond(
        p[0].sum() > 0, lambda x, t: (lib.lax.sin(x), 3 * t), lambda x, t: (x, t * x), p[0], t[0]),
    "linearize": lambda lib: lambda p, t: (lib.lax.sin(p[0]), 3 * lib.t.linearize(lib.lax.sin, p[0])[1](t[0])),
    "vmap": lambda lib: lambda p, t: (lib.lax.sin(p[0]), lib.t.vmap(lambda x, t: x * t * 4)(p[0], t[0])),
    "grad": lambda lib: lambda p, t: (lib.lax.sin(p[0]), lib.t.grad(lambda x: lib.lax.sin(x).sum())(p[0]) * t[0] * 2),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_made_of(name):
    def make(lib):
        f = lib.t.custom_jvp(lambda x: lib.lax.sin(x))
        f.defjvp(RULES[name](lib))
        return lambda x: lib.lax.scan(lambda c, _: (f(c) + lib.t.jit(f)(c), f(c)), x, None, length=2)

    agree(make, X, second=False, batch=name == "jit")


# ---- values that the function closes over


def closing(y, rule=True):
    f = custom_jvp(lambda x: x * y)
    f.defjvp(lambda p, t: (f(*p), 10 * t[0] * (y if rule else 1.0)))
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
    all_close([v[1] for v in vmap(outer, (0, None))(ys, X[1])], [v[1] for v in vmap(outer)(ys, X[[1, 1, 1]])])
    all_close(jit(outer)(ys[1], X[0]), tuple(e for e in (2 * X[0], f32(20), f32(20), f32(6))))


def test_closed_over_value_that_an_outer_gradient_differentiates():
    # d/dy of (10 y) and of (3 y)
    assert float(grad(lambda y: grad(closing(y))(3.0))(2.0)) == 10
    assert float(grad(lambda y: closing(y)(3.0))(2.0)) == 3


# the rule says d/dx = 10 y, the function itself d/dy = x
@pytest.mark.parametrize(("use", "expected"), [
    (lambda y: closing(y)(y), 10 * 2 + 2),
    (lambda y: jit(closing(y))(y), 10 * 2 + 2),
    (lambda y: jit(closing(y))(3.0), 3),
    (lambda y: jit(lambda y, x: closing(y)(x))(y, 3.0), 3),
    (lambda y: lax.scan(lambda c, _: (closing(y)(c), None), y, None, length=2)[0], 20 * 22 + 4),
    (lambda y: lax.cond(True, closing(y), lambda x: x, y), 22),
    (lambda y: vmap(closing(y))(pnp.stack([y, y])).sum(), 44),
    (lambda y: vmap(lambda x: closing(y * x)(x))(pnp.array([1.0, 2.0])).sum(), 1 * 1 + 2 * 2),
    (lambda y: jit(grad(closing(y)))(3.0), 10),
    (lambda y: grad(jit(closing(y)))(3.0), 10),
    (lambda y: grad(lambda x: closing(y)(x) * x)(3.0), 10 * 3 + 3),
])
@pytest.mark.parametrize("transform", [
    grad, lambda f: jit(grad(f)), lambda f: grad(jit(f)), lambda f: lambda y: jvp(f, (y,), (1.0,))[1],
    lambda f: lambda y: vmap(grad(f))(pnp.stack([y, y]))[1], lambda f: pb.jacfwd(jit(f)),
    lambda f: lambda y: pb.linearize(f, y)[1](f32(1)),
])
def test_function_is_differentiated_in_what_it_closes_over(use, expected, transform):
    all_close(transform(use)(f32(2)), f32(expected), 10)


def test_tracer_of_an_inner_transformation_in_a_function_traced_outside_of_it():
    assert float(jit(lambda x: grad(lambda y: closing(y)(x))(2.0))(3.0)) == 3


# ---- what is refused


def with_rule(rule, fun=lambda x: {"a": x, "b": x}):
    f = custom_jvp(fun)
    f.defjvp(rule)
    return f


@pytest.mark.parametrize("wrap", [lambda f: f, jit, lambda f: lambda x: lax.cond(True, f, f, x)])
@pytest.mark.parametrize(("rule", "message"), [
    (lambda p, t: p[0], r"jvp rule .*must return a pair \(primal_out, tangent_out\), got"),
    (lambda p, t: None, r"must return a pair .* got None"),
    (lambda p, t: (p[0], t[0], t[0]), r"must return a pair .* got a tuple of length 3"),
    (lambda p, t: ({"a": p[0], "b": p[0]}, {"a": t[0]}), r"structure of the primal output"),
    (lambda p, t: ({"a": p[0], "b": p[0]}, {"a": t[0], "b": t[0].sum()}),
     r"tangent output at \['b'\].*expected f32\[3\], got f32\[\]"),
    (lambda p, t: ({"a": p[0], "b": p[0]}, {"a": t[0], "b": t[0].astype(np.float16)}),
     r"\['b'\].*expected f32\[3\], got f16\[3\]"),
    (lambda p, t: ({"a": p[0], "b": p[0]}, {"a": t[0], "b": "x"}), r"\['b'\].*got 'x'"),
    (lambda p, t: ({"a": p[0], "b": "y"}, {"a": t[0], "b": t[0]}), r"primal output.*\['b'\].*'y'"),
])
def test_rule_that_breaks_its_contract(rule, message, wrap):
    with pytest.raises(errors.RuleError, match=message) as caught:
        jvp(wrap(with_rule(rule)), (X,), (X,))
    assert "test_custom_jvp.py" in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_rule_whose_primal_output_is_not_what_the_function_returns(wrap):
    f = with_rule(lambda p, t: (p[0].sum(), t[0].sum()), lambda x: x)
    with pytest.raises(errors.RuleError, match=r"primal output.*expected f32\[3\], got f32\[\]"):
        jvp(jit(f), (X,), (X,))


def test_tangent_that_is_not_linear():
    for bad in (lambda t: t * t, lambda t: pnp.sin(t)):
        with pytest.raises((TypeError, NotImplementedError), match=r"(?i)linear|transpose"):
            grad(with_rule(lambda p, t, bad=bad: (p[0], bad(t[0])), lambda x: x))(1.0)
    with pytest.raises(errors.RuleError, match="does not depend on the tangent"):
        grad(with_rule(lambda p, t: (p[0], 7.0), lambda x: x))(1.0)


def test_no_rule():
    f = custom_jvp(lambda x: x)
    for g in (f, jit(f), lambda x: vmap(f)(x[None])[0]):
        with pytest.raises(errors.RuleNotDefinedError, match="defjvp"):
            grad(g)(f32(1))


def test_arguments_that_are_no_arrays():
    f = with_rule(lambda p, t: (p[0], t[0]), lambda x, mode: x)
    with pytest.raises(TypeError, match=r"argument 'mode'.*nondiff_argnums"):
        grad(lambda x: f(x, "fast"))(1.0)


# ---- traced values in arguments that are not differentiated


@partial(custom_jvp, nondiff_argnums=(0,))
def scaled(n, x):
    return n * x


@scaled.defjvp
def scaled_jvp(n, primals, tangents):
    return scaled(n, *primals), 10 * n * tangents[0]  # 10 times the truth, to tell the rule from the function


def test_traced_nondiff_arguments_reach_the_rule():
    """Of jit, vmap, scan, or of a derivative that is not by them."""
    ns = pnp.arange(1., 4.)
    assert float(jit(scaled)(2., 3.)) == 6
    assert float(jit(lambda n: scaled(n, 3.))(2.)) == 6
    assert vmap(scaled, (0, None))(ns, 3.).tolist() == [3, 6, 9]
    assert float(jit(grad(scaled, 1))(2., 3.)) == 20
    assert float(jit(lambda n, x: grad(lambda x: scaled(n, x))(x))(2., 3.)) == 20
    assert float(grad(lambda x: jit(scaled)(2., x))(3.)) == 20
    assert float(jit(lambda n: jvp(lambda x: scaled(n, x), (3.,), (1.,))[1])(2.)) == 20
    assert vmap(lambda n: grad(lambda x: scaled(n, x))(3.))(ns).tolist() == [10, 20, 30]
    assert float(grad(lambda x: vmap(lambda n: scaled(n, x))(ns).sum())(3.)) == 60

    def product(x):
        return lax.scan(lambda c, n: (scaled(n, c), None), x, ns)[0]

    assert float(product(2.)) == 12
    assert float(grad(product)(2.)) == float(jit(grad(product))(2.)) == 6000


@pytest.mark.parametrize("call", [
    lambda: grad(scaled)(2., 3.), lambda: grad(lambda n: scaled(n, n))(2.),
    lambda: jvp(lambda n: scaled(n, 3.), (2.,), (1.,)),
    lambda: grad(lambda n: jit(scaled)(n, 3.))(2.), lambda: jit(grad(scaled))(2., 3.),
    lambda: grad(lambda n: vmap(scaled, (None, 0))(n, X).sum())(2.),
    lambda: grad(lambda n: grad(lambda x: scaled(n, x))(3.))(2.),
    lambda: grad(lambda n: lax.scan(lambda c, _: (scaled(n, c), None), 1., None, length=2)[0])(2.)])
def test_a_derivative_by_a_nondiff_argument_is_refused(call):
    with pytest.raises(errors.UnexpectedTracerError, match=r"scaled .*argument 'n' is in nondiff_argnums"):
        call()
