"""NumPy and SciPy functions made differentiable by `external`."""

from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
from counted import Counted
from wrappers import EAGER_AND_JIT, eager

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr
from pullback.test_util import check_grads

X = np.array([0.5, 1.0, 2.0], np.float32)


def jv_and_slope(v, x):
    return scipy.special.jv(v, x), scipy.special.jvp(v, x)


def bessel():
    """`jv` by the number of calls of the function, and of value and derivative."""
    fun = Counted(scipy.special.jv)
    both = Counted(jv_and_slope)
    jv = pb.external(fun, elementwise=True)
    jv.defderivative(both, argnums=1)
    return jv, fun, both


# --- elementwise ---


def test_a_ufunc_is_called_as_it_is():
    jv = pb.external(scipy.special.jv, elementwise=True)
    for f in (jv, pb.jit(jv)):
        np.testing.assert_allclose(f(1.0, X), scipy.special.jv(1.0, X), rtol=1e-6)
        assert f(1.0, X).dtype == np.float32
    # entry by entry, so that a batch is one call
    for axes in ((None, 0), (0, None), (0, 0)):
        for f in (pb.vmap(jv, axes), pb.jit(pb.vmap(jv, axes))):
            v = X if axes[0] == 0 else 1.0
            x = np.stack([X, 2 * X, 3 * X]) if axes[1] == 0 else X
            expected = scipy.special.jv(np.reshape(v, (-1, 1)) if axes[0] == 0 else v, x)
            np.testing.assert_allclose(f(v, x), expected, rtol=1e-5)


def test_eager_calls_reach_numpy_at_once():
    seen = []

    @pb.external
    def f(x):
        seen.append(x)
        return np.sin(x)

    with pb.debug.counters() as counts:
        f(X)
    assert counts["compiles"] == counts["traces"] == 0
    assert type(seen[0]) is np.ndarray


def in_one_step(f):
    def fun(v, x):
        return lax.scan(lambda c, x: (c, f(v, x)), 0, pnp.asarray(x)[None])[1][0]

    return fun


def grad(f):
    return pb.grad(f, 1)


def compiled_grad(f):
    return pb.jit(pb.grad(f, 1))


def slope_by_jvp(f):
    def slope(v, x):
        return pb.jvp(lambda x: f(v, x), (x,), (1.0,))[1]

    return slope


def compiled_jacfwd(f):
    return pb.jit(pb.jacfwd(f, 1))


def of_value_and_grad(f):
    return lambda v, x: pb.value_and_grad(f, 1)(v, x)[1]


@pytest.mark.parametrize("wrap", [eager, pb.jit, in_one_step])
def test_value_and_derivative_come_from_one_call(wrap):
    jv, fun, both = bessel()
    f = wrap(jv)
    expected = scipy.special.jvp(1.0, 2.0)
    for derivative in (grad, compiled_grad, slope_by_jvp, compiled_jacfwd, of_value_and_grad):
        np.testing.assert_allclose(derivative(f)(1.0, 2.0), expected, rtol=1e-5)
        assert (fun.taken(), both.taken()) == (0, 1)
    batched = pb.jit(pb.vmap(pb.value_and_grad(f, 1), (None, 0)))
    values, slopes = batched(1.0, X)
    np.testing.assert_allclose(values, scipy.special.jv(1.0, X), rtol=1e-5)
    np.testing.assert_allclose(slopes, scipy.special.jvp(1.0, X), rtol=1e-5)
    assert (fun.taken(), both.taken()) == (0, 1)


def grad_by_the_first(f):
    return pb.grad(f, 0)


def compiled_grad_by_the_first(f):
    return pb.jit(pb.grad(f, 0))


def jvp_by_both(f):
    return lambda v, x: pb.jvp(f, (v, x), (1.0, 1.0))


@pytest.mark.parametrize("wrap", [eager, pb.jit])
@pytest.mark.parametrize("derivative", [grad_by_the_first, compiled_grad_by_the_first, jvp_by_both])
def test_derivatives_by_arguments_left_out_are_refused_not_zero(derivative, wrap):
    jv, _, _ = bessel()
    with pytest.raises(NotImplementedError, match=r"no derivative with respect to argument .*\[1\]' alone"):
        derivative(wrap(jv))(1.0, 2.0)


def test_derivatives_beside_arguments_that_are_stopped():
    jv, _, _ = bessel()
    assert np.isfinite(pb.grad(lambda v, x: jv(lax.stop_gradient(v), v * x))(1.0, 2.0))


def test_derivatives_by_several_arguments_that_broadcast():
    @pb.external(elementwise=True)
    def power(x, y):
        return np.power(x, y)

    @power.defderivative
    def _(x, y):
        value = np.power(x, y)
        return value, (y * np.power(x, y - 1), value * np.log(x))

    x, y = X[:, None], np.array([2.0, 3.0], np.float32)
    check_grads(power, (x, y), order=1, modes=("fwd", "rev"))
    dx, dy = pb.grad(lambda x, y: power(x, y).sum(), (0, 1))(x, y)
    assert dx.shape == x.shape
    assert dy.shape == y.shape
    product = pb.external(lambda x, y: x * y, elementwise=True)
    product.defderivative(lambda x, y: (x * y, (y, x)))
    np.testing.assert_allclose(pb.grad(lambda y: product(X, y).sum())(2.0), X.sum())


def test_integer_arguments_have_no_derivative():
    f = pb.external(lambda n, x: x**n, result=lambda n, x: x)
    f.defderivative(lambda n, x: (x**n, (None, n * x ** (n - 1))))
    assert float(pb.grad(f, 1)(3, 2.0)) == 12
    assert float(pb.jit(pb.grad(f, 1))(3, 2.0)) == 12


def test_rules_of_this_library_work_to_any_order():
    jv = pb.external(scipy.special.jv, elementwise=True)
    jv.defjvps(None, lambda t, ans, v, x: t * (jv(v - 1, x) - jv(v + 1, x)) / 2)
    third = pb.grad(pb.grad(pb.grad(jv, 1), 1), 1)
    for f in (third, pb.jit(third)):
        np.testing.assert_allclose(f(1.0, 2.0), scipy.special.jvp(1.0, 2.0, 3), rtol=1e-4)


def test_second_order_is_refused_with_advice():
    jv, _, _ = bessel()
    for f in (pb.grad(pb.grad(jv, 1), 1), pb.jacfwd(pb.grad(jv, 1), 1), pb.jit(pb.grad(pb.grad(jv, 1), 1))):
        with pytest.raises(ValueError, match=r"the derivative of counted.*has no derivative.*pullback\.external"):
            f(1.0, 2.0)


def test_keyword_arrays_are_batched_with_the_others():
    f = pb.external(lambda x, *, s: x * s, elementwise=True)
    f.defderivative(lambda x, *, s: (x * s, s))
    s = np.array([1.0, 2.0, 3.0], np.float32)
    for wrap in EAGER_AND_JIT:
        for x, axis in ((np.ones((3, 2), np.float32), 0), (np.ones(2, np.float32), None)):
            np.testing.assert_array_equal(wrap(pb.vmap(lambda x, s: f(x, s=s), (axis, 0)))(x, s), s[:, None] * [1, 1])
            slopes = wrap(pb.vmap(pb.grad(lambda x, s: f(x, s=s).sum()), (axis, 0)))(x, s)
            np.testing.assert_array_equal(slopes, s[:, None] * [1, 1])


def test_several_results_with_constant_derivatives():
    f = pb.external(lambda x: (x * 2.0, x * 3.0), result=lambda x: (x, x), elementwise=True)
    f.defderivative(lambda x: ((x * 2.0, x * 3.0), (np.full_like(x, 2.0), 3.0)))
    g = pb.external(lambda x, n: {"y": x * n, "n": n}, result=lambda x, n: {"y": x, "n": n}, elementwise=True)
    g.defderivative(lambda x, n: ({"y": x * n, "n": n}, ({"y": 4, "n": None}, None)))
    for wrap in EAGER_AND_JIT:
        np.testing.assert_array_equal(wrap(pb.grad(lambda x: f(x)[0].sum()))(X), [2, 2, 2])
        np.testing.assert_array_equal(wrap(pb.vmap(pb.grad(lambda x: f(x)[1])))(X), [3, 3, 3])
        np.testing.assert_array_equal(wrap(pb.grad(lambda x: g(x, np.int32([4, 4, 4]))["y"].sum()))(X), [4, 4, 4])


# --- functions of vectors ---


def rosen():
    f = pb.external(scipy.optimize.rosen, result=lambda x: pb.ShapeDtypeStruct((), x.dtype))
    both = Counted(lambda x: (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)))
    f.defderivative(both)
    return f, both


def test_a_gradient_from_scipy():
    f, both = rosen()
    expected = scipy.optimize.rosen_der(X)
    for g in (pb.grad(f), pb.jit(pb.grad(f)), pb.grad(pb.jit(f)), pb.jacfwd(f), pb.jacrev(f)):
        np.testing.assert_allclose(g(X), expected, rtol=1e-5)
        assert both.taken() == 1
    batch = np.stack([X, 2 * X])
    for g in (pb.vmap(pb.grad(f)), pb.jit(pb.vmap(pb.grad(f)))):
        np.testing.assert_allclose(g(batch), [scipy.optimize.rosen_der(x) for x in batch], rtol=1e-4)
        assert both.taken() == 2
    check_jaxpr(pb.make_jaxpr(pb.grad(f))(X))


def test_a_derivative_that_is_external_itself_has_a_derivative():
    f, _ = rosen()
    both = pb.external(
        lambda x: (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)),
        result=lambda x: (pb.ShapeDtypeStruct((), x.dtype), x),
    )
    f.defderivative(both)
    both.defderivative(
        lambda x: (
            (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)),
            (scipy.optimize.rosen_der(x), scipy.optimize.rosen_hess(x)),
        )
    )
    for h in (pb.hessian(f), pb.jit(pb.hessian(f)), pb.jacrev(pb.grad(f)), pb.jacfwd(pb.jit(pb.grad(f)))):
        np.testing.assert_allclose(h(X), scipy.optimize.rosen_hess(X), rtol=1e-4)


def with_derivative(f, value):
    """The external function with a derivative that is this, whatever its argument."""
    f.defderivative(lambda x: (x, value))
    return f


def root_and_all(f, a):
    return f(a)["root"], f(a)


def test_results_that_are_pytrees_with_integers():
    def solve(a):
        root, report = scipy.optimize.brentq(lambda x: x**3 - a, 0, 10, full_output=True)
        return {"root": root, "steps": report.iterations}

    def solve_and_derivative(a):
        out = solve(a)
        return out, {"root": 1 / (3 * out["root"] ** 2), "steps": None}

    f = pb.external(
        solve, result={"root": pb.ShapeDtypeStruct((), "float32"), "steps": pb.ShapeDtypeStruct((), "int32")}
    )
    f.defderivative(solve_and_derivative)
    for g in (f, pb.jit(f)):
        assert int(g(8.0)["steps"]) > 0
        slope, out = pb.grad(partial(root_and_all, g), has_aux=True)(8.0)
        np.testing.assert_allclose(slope, 1 / 12, rtol=1e-5)
        np.testing.assert_allclose(out["root"], 2, rtol=1e-5)
    np.testing.assert_allclose(pb.jit(pb.vmap(pb.grad(lambda a: f(a)["root"])))(X), np.cbrt(X) ** -2 / 3, rtol=1e-4)


def test_arguments_that_are_no_arrays_in_any_order():
    seen = []
    f = pb.external(lambda a, x, b: x, nondiff_argnums=(2, 0))

    @f.defhostvjp
    def vjp_rule(ct, y, a, x, b):
        seen.append((a, b))
        return 2 * ct

    @f.defderivative
    def derivative(a, x, b):
        seen.append((a, b))
        return x, 3.0

    assert float(pb.grad(f, 1)("a", 1.0, "b")) == 2
    assert float(pb.jvp(lambda x: f("a", x, "b"), (1.0,), (1.0,))[1]) == 3
    assert seen == [("a", "b")] * 2


class Scaled:
    """An object with external methods."""

    def __init__(self, scale):
        self.scale = scale

    @pb.external
    def by_rules(self, x):
        return x * self.scale

    by_rules.defhostvjp(lambda ct, y, self, x: ct * self.scale)
    by_rules.defhostjvp(lambda tangents, y, self, x: tangents[0] * self.scale)

    @pb.external(elementwise=True)
    def by_derivative(self, x, y):
        return x * y * self.scale

    by_derivative.defderivative(lambda self, x, y: (x * y * self.scale, (y * self.scale, x * self.scale)))


def test_methods():
    one, two = Scaled(np.float32(3)), Scaled(np.float32(4))
    for wrap in EAGER_AND_JIT:
        for model in (one, two):
            assert float(wrap(model.by_rules)(2.0)) == 2 * model.scale
            assert float(wrap(pb.grad(model.by_rules))(2.0)) == model.scale
            assert float(pb.jvp(wrap(model.by_rules), (2.0,), (1.0,))[1]) == model.scale
            np.testing.assert_array_equal(wrap(model.by_derivative)(X, 2.0), 2 * X * model.scale)
            dx, dy = wrap(pb.vmap(pb.grad(model.by_derivative, (0, 1)), (0, None)))(X, 2.0)
            np.testing.assert_array_equal(dx, [2 * model.scale] * 3)
            np.testing.assert_array_equal(dy, X * model.scale)


def test_functions_as_arguments():
    def quad(f, a):
        return scipy.integrate.quad(f, 0, a)[0]

    integral = pb.external(quad, result=lambda f, a: a, nondiff_argnums=0)
    integral.defderivative(lambda f, a: (quad(f, a), f(a)))
    for g in (pb.grad(integral, 1), pb.jit(pb.grad(integral, 1), static_argnums=0)):
        np.testing.assert_allclose(g(np.cos, 1.0), np.cos(1), rtol=1e-6)
    np.testing.assert_allclose(pb.vmap(lambda a: integral(np.cos, a))(X), np.sin(X), rtol=1e-5)


# --- rules on the host ---


def decay(k, y0):
    return scipy.integrate.solve_ivp(lambda t, y: -k * y, (0, 1), y0, rtol=1e-8, atol=1e-8).y[:, -1]


def test_an_ode_with_an_adjoint_of_its_own():
    f = pb.external(decay, result=lambda k, y0: y0)
    back = Counted(lambda ct, y, k, y0: (-(ct * y).sum(), ct * np.exp(-k)))
    f.defhostvjp(back)

    def total(k, y):
        return (f(k, y) ** 2).sum()

    exact = (-2 * np.exp(-1.0) * (X**2).sum(), 2 * X * np.exp(-1.0))
    for g in (pb.grad(total, (0, 1)), pb.jit(pb.grad(total, (0, 1))), pb.grad(pb.jit(total), (0, 1))):
        for got, expected in zip(g(0.5, X), exact):
            np.testing.assert_allclose(got, expected, rtol=1e-4)
        assert back.taken() == 1
    dk, dy = pb.jit(pb.vmap(pb.grad(total, (0, 1)), (0, None)))(X, X)
    assert dk.shape == (3,)
    assert dy.shape == (3, 3)
    with pytest.raises(TypeError, match="forward-mode"):
        pb.jvp(lambda k: f(k, X), (0.5,), (1.0,))
    f.defhostjvp(lambda tangents, y, k, y0: -y * tangents[0] + tangents[1] * np.exp(-k))
    for g in (f, pb.jit(f)):
        _, slope = pb.jvp(g, (0.5, X), (1.0, 0 * X))
        np.testing.assert_allclose(slope, -np.exp(-0.5) * X, rtol=1e-4)


def test_rules_with_pytrees_and_integers():
    f = pb.external(lambda p, n: p["a"] * p["b"] ** n, result=lambda p, n: p["a"])
    f.defhostvjp(lambda ct, y, p, n: ({"a": ct * p["b"] ** n, "b": ct * p["a"] * n * p["b"] ** (n - 1)}, None))
    for g in (pb.grad(f), pb.jit(pb.grad(f))):
        grads = g({"a": 2.0, "b": 3.0}, 2)
        assert (float(grads["a"]), float(grads["b"])) == (9, 12)


def test_a_forward_rule_has_none_for_results_that_are_integers():
    f = pb.external(lambda x: (x * 2, np.int32(1)), result=lambda x: (x, pb.ShapeDtypeStruct((), "int32")))
    f.defhostjvp(lambda tangents, y, x: (tangents[0] * 2, None))
    for g in (f, pb.jit(f), pb.vmap(f, axis_size=3, in_axes=None, out_axes=None)):
        out, tangents = pb.jvp(g, (1.0,), (1.0,))
        assert (float(out[0]), int(out[1]), float(tangents[0])) == (2, 1, 2)
        assert tangents[1].dtype == pb.dtypes.float0
    np.testing.assert_array_equal(pb.jit(pb.vmap(pb.jacfwd(lambda x: f(x)[0])))(X), [2, 2, 2])
    f.defhostjvp(lambda tangents, y, x: (tangents[0] * 2, 0))
    with pytest.raises(TypeError, match=r"the jvp rule of .*expected None"):
        pb.jvp(f, (1.0,), (1.0,))


def test_keyword_only_arguments_reach_rules_by_keyword():
    def scaled(x, *, s, mode="times"):
        return x * s if mode == "times" else x / s

    def derivative(x, *, s, mode):
        return scaled(x, s=s, mode=mode), scaled(1.0, s=s, mode=mode)

    f, g = pb.external(scaled), pb.external(scaled)
    f.defhostvjp(lambda ct, y, x, *, s, mode: scaled(ct, s=s, mode=mode))
    f.defhostjvp(lambda tangents, y, x, *, s, mode: scaled(tangents[0], s=s, mode=mode))
    g.defderivative(derivative)
    both = pb.external(derivative, result=lambda x, **_: (x, x))
    both.defjvps(lambda t, ans, x, *, s, mode: (t * ans[1], 0.0 * t))
    h = pb.external(scaled)
    h.defderivative(both)
    for fun in (f, g, h):
        for mode, slope in (("times", 4.0), ("over", 0.25)):

            def at(x, s, fun=fun, mode=mode):
                return fun(x, s=s, mode=mode)

            for wrap in EAGER_AND_JIT:
                assert float(wrap(pb.grad(at))(1.0, 4.0)) == slope
                assert float(wrap(pb.jacfwd(at))(1.0, 4.0)) == slope
                np.testing.assert_allclose(wrap(pb.vmap(pb.grad(at)))(X, X), X if mode == "times" else 1 / X)
        with pytest.raises(ValueError, match=r"do not cover keyword-only arguments.*positional argument"):
            pb.grad(at, 1)(1.0, 4.0)


def test_a_rule_that_does_not_take_the_keyword_is_named_at_once():
    f = pb.external(lambda x, *, s: x * s)
    f.defhostvjp(lambda ct, y, x: ct)
    f.defderivative(lambda x: (x, 1.0))
    message = r"rule <lambda> \(defined at .*test_external\.py.*keyword-only arguments of the function, s, but: "
    for g in (pb.grad(lambda x: f(x, s=2.0)), pb.jacfwd(lambda x: f(x, s=2.0))):
        for h in (g, pb.jit(g)):
            with pytest.raises(pb.errors.RuleError, match=message):
                h(1.0)


def test_vjp_rules_of_this_library():
    f = pb.external(np.linalg.solve, result=lambda a, b: b)

    def fwd(a, b):
        x = f(a, b)
        return x, (a, x)

    def bwd(res, ct):
        a, x = res
        w = f(a.T, ct)
        return -pnp.outer(w, x), w

    f.defvjp(fwd, bwd)
    a = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 4.0]], np.float32)
    check_grads(f, (a, X), order=2, modes=("rev",), atol=1e-2, rtol=1e-2)
    check_grads(pb.jit(f), (a, X), order=1, modes=("rev",))


# --- errors ---


def test_results_that_are_not_as_declared_are_named():
    f = pb.external(lambda x: x[:2])
    for g in (f, pb.jit(f)):
        with pytest.raises(TypeError, match=r"test_external\.py.*expected f32\[3\], got an array of dtype float32"):
            g(X)
    f.defderivative(lambda x: (x, x))
    with pytest.raises(TypeError, match=r"the derivative of .*expected f32\[3,3\] at \[1\], got an array of .*\(3,\)"):
        pb.grad(lambda x: f(x).sum())(X)
    for wrong, shape in ((np.ones(2), r"\(2,\)"), (np.ones((4, 3)), r"\(4, 3\)")):
        sine = with_derivative(pb.external(np.sin, elementwise=True), wrong)
        with pytest.raises(TypeError, match=rf"derivative of sin.*test_external.*expected f32\[3\] at \[1\].*{shape}"):
            pb.vjp(sine, X)
    f.defderivative(lambda x: x)
    with pytest.raises(TypeError, match="expected a tuple of 2 children"):
        pb.grad(lambda x: f(x).sum())(X)
    g = pb.external(lambda x: x)
    g.defhostvjp(lambda ct, y, x: ct[:2])
    with pytest.raises(TypeError, match=r"the vjp rule of .*expected f32\[3\], got an array of .*\(2,\)"):
        pb.grad(lambda x: g(x).sum())(X)


def test_without_a_rule_derivatives_are_refused():
    f = pb.external(np.sin)
    with pytest.raises(NotImplementedError, match=r"Define one with sin\.defderivative\(.*\) or sin\.defhostjvp\("):
        pb.grad(f)(1.0)


def test_bad_calls():
    with pytest.raises(TypeError, match="external: expected a function"):
        pb.external(3)
    with pytest.raises(ValueError, match="external: vmap_method must be"):
        pb.external(np.sin, vmap_method="loop")
    with pytest.raises(ValueError, match="do not broadcast"):
        pb.external(np.add, elementwise=True)(X, X[:2])
    f = pb.external(lambda p: p["a"], result=lambda p: p["a"])
    f.defderivative(lambda p: (p["a"], 1.0))
    with pytest.raises(TypeError, match=r"argument 'p' must be one array for defderivative.*Use defjvp or defvjp"):
        pb.grad(lambda a: f({"a": a}))(1.0)


def test_the_settings_of_a_ufunc_are_no_arguments_eagerly_or_compiled():
    jv, sin = pb.external(scipy.special.jv, elementwise=True), pb.external(np.sin, elementwise=True)
    for wrap in EAGER_AND_JIT:
        with pytest.raises(TypeError, match=r"External function jv: the arguments do not fit the signature jv\(x1, x2"):
            wrap(jv)(1.0, 2.0, 3.0)
        with pytest.raises(TypeError, match=r"External function sin: .*unexpected keyword argument 'where'"):
            wrap(sin)(X, where=X > 1)


def test_keyword_arguments_and_defaults_are_alike_eagerly_and_compiled():
    f = pb.external(lambda x, y=2.0: x * y)
    for g in (f, pb.jit(f)):
        assert float(g(x=3.0)) == 6
        with pytest.raises(TypeError, match="do not fit the signature"):
            g(3.0, z=1.0)
