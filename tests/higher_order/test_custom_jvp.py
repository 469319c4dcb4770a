"""custom_jvp inside and under everything. Rules are deliberately wrong, so that a rule that got lost shows."""

from functools import partial

import jax
import numpy as np
import pytest
from agreement import all_close
from functions import sine_with_wrong_jvp, with_tangent
from transformations import JAX, PB, agree
from wrappers import LOOPS, SURROUNDINGS, grad_in_vmap, grad_of_jit, jit_of_grad, scan_of

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, errors, grad, jit, jvp, lax, vmap
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


@pytest.mark.parametrize("surround", SURROUNDINGS)
def test_rule_is_kept(surround):
    def make(lib):
        return surround(lib, sine_with_wrong_jvp(lib))

    agree(make, X, second=surround not in LOOPS)


def test_second_derivatives_through_loops_are_those_of_the_unrolled_loop():
    # JAX loses the rule in the primal half of a linearized scan, so that the oracle is unrolled
    def make(lib):
        f = sine_with_wrong_jvp(lib)

        def unrolled(x):
            y = f(x)
            return f(y), lib.np.stack([f(x) * x, f(y) * y])

        return scan_of(lib, f) if lib is PB else unrolled

    agree(make, X)


def test_rule_is_kept_in_a_while_loop():
    def make(lib):
        f = sine_with_wrong_jvp(lib)

        def goes_on(c):
            return c[0] < 3

        def body(c):
            return c[0] + 1, f(c[1])

        return lambda x: lib.lax.while_loop(goes_on, body, (0, x))

    agree(make, X, reverse=False)


@pytest.mark.parametrize("transform", [grad, jit_of_grad, grad_of_jit, pb.jacfwd, grad_in_vmap])
def test_rule_that_uses_arrays_it_closes_over(transform):
    w = np.array([1, 2, 3], f32)
    f = with_tangent(lambda x: x * 1, lambda x, t: t * w + pnp.array([0.0, 0.0, 1.0]) * t)

    def step(c, _):
        return f(c), None

    def loss(x):
        return lax.scan(step, x, None, length=2)[0].sum()

    derivative = transform(loss)
    all_close(derivative(X), np.array([1, 4, 16], f32))
    check_jaxpr(pb.make_jaxpr(derivative)(X))


# ---- how often rules run


def test_rules_do_not_run_without_differentiation():
    f = sine_with_wrong_jvp(PB)
    with pb.debug.counters() as seen:
        f(1.0)
        jit(f)(1.0)
        vmap(f)(X)
        lax.scan(lambda c, _: (f(c), None), 1.0, None, length=2)
    assert seen["rules"] == 0


def gradient(f, x):
    return grad(f)(x)


def by_jvp(f, x):
    return jvp(f, (x,), (x,))


def value_beside_gradient(f, x):
    return f(x) * grad(f)(x)


def gradient_of_two_calls(f, x):
    return grad(lambda x: f(f(x)))(x)


@pytest.mark.parametrize(
    ("differentiate", "count"), [(gradient, 1), (by_jvp, 1), (value_beside_gradient, 1), (gradient_of_two_calls, 2)]
)
def test_rules_run_once_for_each_call(differentiate, count):
    f = sine_with_wrong_jvp(PB)
    with pb.debug.counters() as seen:
        differentiate(f, 1.0)
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

    def by_y(y):
        return apply(pnp.sin, 1.0, y)

    assert float(grad(lambda x: apply(pnp.sin, x))(1.0)) == 1
    assert float(grad(lambda x: apply(pnp.sin, x, mode="loud"))(1.0)) == 100
    assert float(grad(lambda y: apply(mode="loud", fun=pnp.sin, x=1.0, y=y))(1.0)) == 1000
    assert float(jit(grad(by_y))(1.0)) == 10
    assert float(vmap(grad(by_y))(X)[0]) == 10
    with pytest.raises(errors.UnexpectedTracerError, match=r"argument 'mode' is in nondiff_argnums"):
        grad(lambda m: apply(pnp.sin, 1.0, 1.0, m))(1.0)


def test_nondiff_function_that_closes_over_a_value():
    @partial(custom_jvp, nondiff_argnums=(0,))
    def apply(fun, x):
        return fun(x)

    @apply.defjvp
    def rule(fun, primals, tangents):
        return apply(fun, *primals), 3 * tangents[0]

    def outer(y):
        def times(x):
            return x * y

        def applied(x):
            return apply(times, x)

        return grad(applied)(2.0), applied(2.0)

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
    def by_x(t, out, x, y, z):
        return 3 * t * out

    def by_z(t, out, x, y, z):
        return t * x

    def make(lib):
        f = lib.t.custom_jvp(lambda x, y, z: x * y * z)
        f.defjvps(by_x, None, by_z)
        return lambda x, y: lib.t.jit(f)(f(x, y, x), y, x)

    agree(make, X, X * 0.5)


def test_a_method():
    class Layer:
        w = 3.0

        @partial(custom_jvp, nondiff_argnums=(0,))
        def __call__(self, x):
            return x * self.w

        @__call__.defjvp
        def rule(self, primals, tangents):
            return primals[0] * self.w, tangents[0] * 50

    assert float(grad(Layer())(1.0)) == 50


def test_a_partial():
    f = with_tangent(partial(lambda k, x: k * x, 2.0), lambda x, t: 9 * t)
    assert float(grad(f)(1.0)) == 9


# ---- rules made of other transformations: what they do to the sine


def compiled(lib):
    @lib.t.jit
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return lib.lax.sin(x), 5 * lib.lax.cos(x) * t

    return rule


def by_jvp_of_a_multiple(lib):
    def rule(primals, tangents):
        return lib.t.jvp(lambda x: lib.lax.sin(x) * 5, primals, tangents)

    return rule


def by_scan(lib):
    def step(c, _):
        return (lib.lax.sin(c[0]), 2 * lib.lax.cos(c[0]) * c[1]), None

    def rule(primals, tangents):
        return lib.lax.scan(step, (primals[0], tangents[0]), None, length=2)[0]

    return rule


def by_cond(lib):
    def above(x, t):
        return lib.lax.sin(x), 3 * t

    def below(x, t):
        return x, t * x

    def rule(primals, tangents):
        return lib.lax.cond(primals[0].sum() > 0, above, below, primals[0], tangents[0])

    return rule


def by_linearize(lib):
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return lib.lax.sin(x), 3 * lib.t.linearize(lib.lax.sin, x)[1](t)

    return rule


def by_vmap(lib):
    def product(x, t):
        return x * t * 4

    def rule(primals, tangents):
        return lib.lax.sin(primals[0]), lib.t.vmap(product)(primals[0], tangents[0])

    return rule


def by_grad(lib):
    def total(x):
        return lib.lax.sin(x).sum()

    def rule(primals, tangents):
        return lib.lax.sin(primals[0]), lib.t.grad(total)(primals[0]) * tangents[0] * 2

    return rule


@pytest.mark.parametrize("rule_of", [compiled, by_jvp_of_a_multiple, by_scan, by_cond, by_linearize, by_vmap, by_grad])
def test_rule_made_of(rule_of):
    def make(lib):
        f = lib.t.custom_jvp(lambda x: lib.lax.sin(x))
        f.defjvp(rule_of(lib))

        def step(c, _):
            return f(c) + lib.t.jit(f)(c), f(c)

        return lambda x: lib.lax.scan(step, x, None, length=2)

    agree(make, X, second=False, batch=rule_of is compiled)


# ---- traced values in arguments that are not differentiated


@partial(custom_jvp, nondiff_argnums=(0,))
def scaled(n, x):
    return n * x


@scaled.defjvp
def scaled_jvp(n, primals, tangents):
    return scaled(n, *primals), 10 * n * tangents[0]  # 10 times the truth, to tell the rule from the function


def slope(n, x):
    """The derivative by x, taken where n is traced already."""
    return grad(lambda x: scaled(n, x))(x)


def test_traced_nondiff_arguments_reach_the_rule():
    """Of jit, vmap, scan, or of a derivative that is not by them."""
    ns = pnp.arange(1.0, 4.0)

    def slope_by_jvp(n):
        return jvp(lambda x: scaled(n, x), (3.0,), (1.0,))[1]

    def total(x):
        return vmap(lambda n: scaled(n, x))(ns).sum()

    assert float(jit(scaled)(2.0, 3.0)) == 6
    assert float(jit(lambda n: scaled(n, 3.0))(2.0)) == 6
    assert vmap(scaled, (0, None))(ns, 3.0).tolist() == [3, 6, 9]
    assert float(jit(grad(scaled, 1))(2.0, 3.0)) == 20
    assert float(jit(slope)(2.0, 3.0)) == 20
    assert float(grad(lambda x: jit(scaled)(2.0, x))(3.0)) == 20
    assert float(jit(slope_by_jvp)(2.0)) == 20
    assert vmap(lambda n: slope(n, 3.0))(ns).tolist() == [10, 20, 30]
    assert float(grad(total)(3.0)) == 60


def test_traced_nondiff_arguments_in_a_loop():
    def product(x):
        return lax.scan(lambda c, n: (scaled(n, c), None), x, pnp.arange(1.0, 4.0))[0]

    assert float(product(2.0)) == 12
    assert float(grad(product)(2.0)) == float(jit(grad(product))(2.0)) == 6000


# functions of n, which `scaled` gets as the argument that is not differentiated


def in_both_arguments(n):
    return scaled(n, n)


def beside_a_constant(n):
    return scaled(n, 3.0)


def of_a_compiled_function(n):
    return jit(scaled)(n, 3.0)


def of_a_batch(n):
    return vmap(scaled, (None, 0))(n, X).sum()


def of_a_gradient(n):
    return slope(n, 3.0)


def of_a_loop(n):
    return lax.scan(lambda c, _: (scaled(n, c), None), 1.0, None, length=2)[0]


def refused_by_n(derivative, *args):
    with pytest.raises(errors.UnexpectedTracerError, match=r"scaled .*argument 'n' is in nondiff_argnums"):
        derivative(*args)


@pytest.mark.parametrize("fun", [in_both_arguments, of_a_compiled_function, of_a_batch, of_a_gradient, of_a_loop])
def test_a_derivative_by_a_nondiff_argument_is_refused(fun):
    refused_by_n(grad(fun), 2.0)


def test_a_derivative_of_the_function_itself_by_a_nondiff_argument_is_refused():
    refused_by_n(grad(scaled), 2.0, 3.0)
    refused_by_n(jit(grad(scaled)), 2.0, 3.0)
    refused_by_n(partial(jvp, beside_a_constant), (2.0,), (1.0,))
