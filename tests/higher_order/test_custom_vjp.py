"""custom_vjp inside and under everything. Rules are deliberately wrong, so that a rule that got lost shows."""

from functools import partial

import numpy as np
import pytest
from agreement import all_close
from functions import sine_with_wrong_vjp, with_vjp
from transformations import JAX, PB, total
from wrappers import SURROUNDINGS, eager, grad_in_vmap, grad_of_jit, in_cond, itself, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_vjp, errors, grad, jit, jvp, lax, vjp, vmap
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
REFUSED = r"can't apply forward-mode autodiff \(jvp\) to a custom_vjp function\."


def reverse_battery(lib, fun):
    t = lib.t

    def loss(x):
        return total(lib, fun(x))

    gradient = t.grad(loss)

    @t.grad
    def second(x):
        return (gradient(x) * x).sum()

    @t.grad
    def of_a_batch(xs):
        return total(lib, t.vmap(t.jit(fun))(xs))

    def descend(x, _):
        return x + 0.1 * gradient(x), None

    def run(x, xs):
        return {
            "value": fun(x),
            "grad": gradient(x),
            "grad of jit": t.grad(t.jit(loss))(x),
            "second": second(x),
            "vmap": t.vmap(fun)(xs),
            "vmap of grad": t.vmap(gradient)(xs),
            "vmap of second": t.vmap(second)(xs),
            "grad of vmap": of_a_batch(xs),
            "scan of grad": lib.lax.scan(descend, x, None, length=2)[0],
        }

    return run


@pytest.mark.parametrize("surround", [itself, *SURROUNDINGS])
def test_rule_is_kept(surround):
    def battery(lib):
        return reverse_battery(lib, surround(lib, sine_with_wrong_vjp(lib)))

    xs = np.stack([X, -X])
    expected = JAX.t.jit(battery(JAX))(X, xs)
    got = battery(PB)(X, xs)
    for key in expected:
        try:
            all_close(got[key], expected[key], 10)
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}") from None
    check_jaxpr(pb.make_jaxpr(battery(PB))(X, xs))


def by_jvp(f):
    return lambda x: jvp(f, (x,), (x,))


def jit_of_jvp(f):
    return jit(by_jvp(f))


def vmap_of_jvp(f):
    return lambda x: vmap(by_jvp(f))(x[None])


def by_linearize(f):
    return lambda x: pb.linearize(f, x)[1](x)


def jvp_of_grad(f):
    def loss(x):
        return total(PB, f(x))

    return by_jvp(grad(loss))


@pytest.mark.parametrize("surround", [itself, *SURROUNDINGS])
@pytest.mark.parametrize("transform", [by_jvp, jit_of_jvp, pb.jacfwd, vmap_of_jvp, by_linearize, jvp_of_grad])
def test_forward_mode_is_refused_in_the_same_words(surround, transform):
    f = custom_vjp(lambda x: pnp.sin(x))

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        # made of the function itself, so that forward over reverse meets it too
        return (f(x) * ct,)

    f.defvjp(fwd, bwd)
    with pytest.raises(TypeError, match=REFUSED):
        transform(surround(PB, f))(X)


def test_in_a_while_loop_that_is_not_differentiated():
    f = sine_with_wrong_vjp(PB)

    def body(c):
        return c[0] + 1, f(c[1])

    def loop(x):
        return lax.while_loop(lambda c: c[0] < 3, body, (0, x))[1]

    all_close(loop(X), np.sin(np.sin(np.sin(X))))
    with pytest.raises(TypeError, match=REFUSED):
        jvp(loop, (X,), (X,))


def test_gradient_in_the_body_of_a_while_loop():
    def descend(c):
        return c[0] + 1, c[1] - grad(sine_with_wrong_vjp(PB))(c[1])

    got = lax.while_loop(lambda c: c[0] < 2, descend, (0, f32(0.05)))[1]
    x = 0.05
    for _ in range(2):
        x -= 10 * x**2
    assert float(got) == pytest.approx(x, rel=1e-4)


# ---- how often rules run, and with what


def test_rules_run_only_under_differentiation_and_once():
    ran = []

    @custom_vjp
    def f(x):
        ran.append("f")
        return x

    def fwd(x):
        ran.append("fwd")
        return f(x), None

    def bwd(_, ct):
        ran.append("bwd")
        return (ct,)

    f.defvjp(fwd, bwd)

    def taken():
        names = ran.copy()
        ran.clear()
        return names

    f(1.0)
    assert taken() == ["f"]
    jit(f)(1.0)
    assert taken() == ["f"]
    grad(f)(1.0)
    assert taken() == ["fwd", "f", "bwd"]
    _, back = vjp(f, 1.0)
    assert taken() == ["fwd", "f"]
    back(1.0), back(2.0)
    assert taken() == ["bwd", "bwd"]
    g = jit(grad(f))
    g(1.0)
    assert taken() == ["fwd", "f", "bwd"]
    g(2.0)
    assert taken() == []
    with pb.debug.counters() as seen:
        grad(lambda x: f(x) * f(2.0))(1.0)
    assert seen["rules"] == 2


def test_python_control_flow_on_values_in_rules():
    def fwd(x):
        return x, "big" if x > 1 else "small"

    def bwd(size, ct):
        return (ct * {"big": 100, "small": 1}[size],)

    f = with_vjp(lambda x: x, fwd, bwd)
    assert [float(grad(f)(x)) for x in (0.5, 2.0)] == [1, 100]
    assert float(grad(lambda x: f(f(x)))(2.0)) == 10_000


def gradients(f):
    return grad(f, (0, 1))


def jit_of_gradients(f):
    return jit(gradients(f))


def gradients_of_jit(f):
    return gradients(jit(f))


def gradients_of_cond(f):
    return gradients(in_cond(f))


def gradients_in_vmap(f):
    def run(x, y):
        return [v[0] for v in vmap(gradients(f))(pnp.stack([x]), pnp.stack([y]))]

    return run


@pytest.mark.parametrize(
    "transform", [gradients, jit_of_gradients, gradients_of_jit, gradients_of_cond, gradients_in_vmap]
)
def test_residuals_that_are_strings_functions_none_and_arrays(transform):
    f = custom_vjp(lambda x, y: x * y)

    def fwd(x, y):
        return f(x, y), {"s": "twice", "fun": pnp.sin, "n": None, "xy": [x, (y,)], "i": 3}

    def bwd(r, ct):
        return ct * r["fun"](r["xy"][1][0]) * r["i"], ct * 2 if r["s"] == "twice" else None

    f.defvjp(fwd, bwd)
    got = transform(f)(f32(1.0), f32(2.0))
    assert [float(v) for v in got] == pytest.approx((3 * np.sin(2.0), 2.0), rel=1e-5)


# ---- arguments and cotangents


def in_vmap_of_shared_arguments(f):
    return vmap(f, axis_size=1, in_axes=None)


@pytest.mark.parametrize("transform", [eager, jit, in_vmap_of_shared_arguments])
def test_none_for_subtrees_leaves_and_arguments(transform):
    f = custom_vjp(lambda a, b, c: a["u"] * a["v"][0] + b + c[0] * c[1])

    def fwd(a, b, c):
        return f(a, b, c), None

    def bwd(_, ct):
        return {"u": 3 * ct, "v": None}, None, (None, 5 * ct)

    f.defvjp(fwd, bwd)
    a, b, c = transform(grad(f, (0, 1, 2)))({"u": 1.0, "v": [2.0]}, 3.0, (4.0, 5.0))
    assert np.ravel(a["u"]).tolist() == [3]
    for zero in (a["v"][0], b, c[0]):
        assert np.ravel(zero).tolist() == [0]
    assert np.ravel(c[1]).tolist() == [5]


def test_integer_and_bool_arguments():
    f = custom_vjp(lambda x, k, flag: x * k)

    def fwd(x, k, flag):
        return f(x, k, flag), k

    def bwd(k, ct):
        return ct * k * 10, None, np.zeros(3, pb.dtypes.float0)

    f.defvjp(fwd, bwd)
    k, flag = np.array([1, 2, 3], np.int32), np.array([True, False, True])
    expected = np.array([10, 20, 30], f32)

    def loss(x):
        return f(x, k, flag).sum()

    def step(c, kf):
        return f(c, *kf), None

    def loss_in_a_loop(x):
        return lax.scan(step, x, (k[None], flag[None]))[0].sum()

    for run in (grad(loss), jit_of_grad(loss), grad_of_jit(loss), grad_in_vmap(loss), grad(loss_in_a_loop)):
        all_close(run(X), expected)
    _, back = vjp(f, X, k, flag)
    assert back(X)[1].dtype == pb.dtypes.float0
    all_close(vmap(grad(lambda x, k: f(x, k, True)))(X, k), expected)


def test_shared_arguments_get_the_sum_over_the_batch():
    def run(lib):
        t = lib.t
        f = t.custom_vjp(lambda x, w: x * w.sum())

        def fwd(x, w):
            return f(x, w), (x, w)

        def bwd(saved, ct):
            x, w = saved
            return ct * w.sum(), 100 * ct * x * w

        f.defvjp(fwd, bwd)

        def loss(w, x):
            return (t.vmap(f, (0, None))(x, w) * np.arange(3, dtype=f32)).sum()

        return (
            t.grad(loss)(X, X),
            t.grad(lambda w: loss(w, X))(X),
            t.grad(t.jit(loss))(X, X),
            t.vmap(t.grad(loss), (0, None))(np.stack([X, X]), X),
        )

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

    def step(c, _):
        return f(c, pnp.cos, mode="loud"), None

    def loop(x):
        return lax.scan(step, x, None, length=2)[0]

    assert float(grad(lambda x: f(x, pnp.cos))(0.0)) == 1
    assert float(grad(lambda x: f(x, mode="loud", fun=pnp.cos))(0.0)) == 100
    assert float(jit_of_grad(lambda y: f(0.0, pnp.cos, y))(5.0)) == 1
    assert float(grad(loop)(1.0)) == 1e4
    with pytest.raises(errors.UnexpectedTracerError, match=r"argument 'mode' is in nondiff_argnums"):
        grad(lambda m: f(1.0, pnp.sin, 1.0, m))(1.0)


@pytest.mark.parametrize("transform", [grad, jit_of_grad, grad_of_jit, grad_in_vmap])
def test_rule_that_uses_arrays_it_closes_over(transform):
    w = np.array([1, 2, 3], f32)
    mask = np.array([True, False, True])
    f = custom_vjp(lambda x: x * 1)

    def fwd(x):
        return f(x), (pnp.asarray(w), mask)

    def bwd(saved, ct):
        return (pnp.where(saved[1], ct * w, ct * saved[0]),)

    f.defvjp(fwd, bwd)

    def step(c, _):
        return f(c), None

    def loss(x):
        return lax.scan(step, x, None, length=2)[0].sum()

    gradient = transform(loss)
    all_close(gradient(X), w * w)
    check_jaxpr(pb.make_jaxpr(gradient)(X))


@pytest.mark.parametrize("transform", [grad, jit_of_grad, grad_of_jit, grad_in_vmap])
def test_jit_inside_of_rules(transform):
    @jit
    def fwd(x):
        return pnp.sin(x), (x, x * 2)

    @jit
    def bwd(saved, ct):
        return (ct * saved[1],)

    f = with_vjp(lambda x: jit(pnp.sin)(x), fwd, bwd)
    all_close(transform(f)(f32(0.3)), f32(0.6))


def test_collective_in_a_backward_rule():
    def run(lib):
        t = lib.t
        f = t.custom_vjp(lambda x: x * 1)

        def fwd(x):
            return f(x), None

        def bwd(_, ct):
            return (lib.lax.psum(ct, "i"),)

        f.defvjp(fwd, bwd)

        @t.grad
        def gradient(x):
            return t.jit(f)(x) * x + f(2 * x)

        return [
            t.vmap(gradient, axis_name="i")(X),
            t.vmap(gradient, None, axis_name="i", axis_size=3)(f32(2)),
            t.jit(t.vmap(gradient, axis_name="i"))(X),
        ]

    all_close(run(PB), run(JAX))


# ---- values that rules close over (and functions with them: test_closed_over_values.py)


@pytest.mark.parametrize("wrap", [eager, jit])
def test_rules_that_close_over_what_the_function_does_not(wrap):
    def loss(limit, x):
        clip = custom_vjp(lambda v: v)

        def fwd(v):
            return clip(v), None

        def bwd(_, ct):
            return (pnp.clip(ct, -limit, limit),)

        clip.defvjp(fwd, bwd)
        return wrap(clip)(x) * 5.0

    def slope(limit):
        return grad(loss, 1)(limit, 1.0)

    # the limit does not touch the value; the gradient that it cuts depends on it
    all_close(grad(loss, (0, 1))(2.0, 1.0), (f32(0), f32(2)))
    all_close(jit(grad(loss, (0, 1)))(2.0, 1.0), (f32(0), f32(2)))
    all_close(grad(slope)(2.0), f32(1))
    all_close(vmap(slope)(pnp.array([1.0, 9.0])), np.array([1, 5], f32))


def closed_over_sine(theta, x):
    """sin(theta x) as a function of x, whose rule closes over theta."""
    f = custom_vjp(lambda x: pnp.sin(theta * x))

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (ct * theta * pnp.cos(theta * x),)

    f.defvjp(fwd, bwd)
    return f(x)


@custom_vjp
def explicit_sine(theta, x):
    return pnp.sin(theta * x)


def explicit_fwd(theta, x):
    return explicit_sine(theta, x), (theta, x)


def explicit_bwd(saved, ct):
    theta, x = saved
    return ct * x * pnp.cos(theta * x), ct * theta * pnp.cos(theta * x)


explicit_sine.defvjp(explicit_fwd, explicit_bwd)


def in_a_loop(f):
    """Of two steps, of which the second is not told of the first."""

    def loop(*args):
        return lax.scan(lambda c, _: (f(*args), None), args[1], None, length=2)[0]

    return loop


def jacrev_of_grad(f):
    return pb.jacrev(grad(f), (0, 1))


@pytest.mark.parametrize("wrap", [eager, jit, in_a_loop])
@pytest.mark.parametrize("transform", [gradients, jacrev_of_grad, jit_of_gradients])
def test_explicit_and_closed_over_parameters_agree(transform, wrap):
    all_close(transform(wrap(closed_over_sine))(1.3, 0.7), transform(wrap(explicit_sine))(1.3, 0.7), 10)


class Layer:
    def __init__(self, weight):
        self.weight = weight

    @custom_vjp
    def __call__(self, x):
        return self.weight * x

    def fwd(self, x):
        return self(x), x

    def bwd(self, x, ct):
        return (10 * ct * self.weight,)

    __call__.defvjp(fwd, bwd)


@pytest.mark.parametrize("wrap", [eager, jit])
def test_traced_values_that_an_object_holds(wrap):
    def loss(w, x):
        return wrap(Layer(w))(x)

    all_close(grad(loss, (0, 1))(3.0, 2.0), (f32(2), f32(30)))


def test_python_numbers_among_the_residuals_come_back_as_they_were():
    seen = []

    @pb.custom_vjp
    def power(x, n):
        return x**n

    def bwd(residuals, ct):
        x, n, flag, half, name = residuals
        seen.append([type(value) for value in (n, flag, half, name)])
        return (n * x ** (n - 1) * ct if flag else ct, None)

    power.defvjp(lambda x, n: (x**n, (x, 3, True, 0.5, "name")), bwd)

    def f(x):
        return power(x, 3)

    def stepped(x):
        return pb.lax.scan(lambda c, _: (f(c), None), x, None, length=1)[0]

    transforms = {
        "eager": pb.grad(f),
        "compiled": pb.jit(pb.grad(f)),
        "gradient of compiled": pb.grad(pb.jit(f)),
        "scan": pb.grad(stepped),
        "checkpoint": pb.grad(pb.checkpoint(f)),
        "vmap": lambda x: pb.vmap(pb.grad(f))(x[None])[0],
    }
    for name, transformed in transforms.items():
        assert transformed(pnp.asarray(2.0)) == 12.0, name
    assert seen
    assert all(kinds == [int, bool, float, str] for kinds in seen)
