"""jit inside of every transformation."""

import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def test_pytrees_none_and_mixed_dtypes():
    def make(lib):
        @lib.t.jit
        def step(d, k):
            return {"y": d["x"] * k + d["x"] ** 2, "n": None, "k": k + 1, "e": ()}

        return lambda x: step({"x": x, "n": None}, np.int32(3))

    agree(make, X, compiled=True)


def test_jit_in_jit_closing_over_both_levels():
    def make(lib):
        def fun(w, x):
            def outer(y):
                return lib.t.jit(lambda z: lib.lax.sin(z * w) + y)(y * x)

            return lib.t.jit(outer)(x)

        return fun

    agree(make, f32(0.7), X)


def test_results_that_are_arguments_constants_or_repeated():
    def make(lib):
        @lib.t.jit
        def compiled(x, y):
            return x, x, 2.0, y * x, np.arange(3), lib.np.ones(3)

        return lambda x, y: compiled(x, y)

    agree(make, X, f32(0.4))


def test_inside_of_control_flow():
    def make(lib):
        @lib.t.jit
        def times_sine(c, x):
            return lib.lax.sin(c) * x, c

        @lib.t.jit
        def doubled(c, x):
            return c * 2, x

        def step(c, x):
            return lib.lax.cond(x > 0, times_sine, doubled, c, x)

        return lambda c, xs: lib.lax.scan(step, c, xs)

    agree(make, f32(0.4), X)


def test_compiled_once_whatever_goes_around_it():
    calls = []

    @pb.jit
    def f(x):
        calls.append(1)
        return pnp.sin(x)

    pb.grad(f)(1.0)
    pb.grad(pb.grad(f))(1.0)
    pb.jvp(f, (1.0,), (1.0,))
    lax.scan(lambda c, _: (f(c), None), 1.0, None, length=2)
    pb.vmap(pb.grad(f))(pnp.ones(3, dtype=np.float32))
    assert len(calls) <= 2  # weakly and strongly typed


def test_one_equation_in_the_jaxpr():
    f = pb.jit(lambda x: pnp.sin(x) * 2, inline=False)

    def twice(x):
        return f(f(x))

    closed = pb.make_jaxpr(twice)(1.0)
    check_jaxpr(closed)
    assert [eqn.primitive.name for eqn in closed.eqns] == ["jit", "jit"]
    check_jaxpr(pb.make_jaxpr(pb.grad(pb.grad(twice)))(1.0))


def test_inlined():
    def make(lib):
        def fun(x):
            return lib.lax.sin(x) * x

        return lambda x: lib.t.jit(lib.t.jit(fun, inline=True))(x)

    agree(make, X, second=False)


def test_static_arguments_under_differentiation():
    power = pb.jit(lambda x, n: x**n, static_argnums=1)
    assert float(pb.grad(power)(3.0, 2)) == 6
    assert float(pb.grad(power)(3.0, 3)) == 27


def test_linear_transpose_of_a_mixed_call():
    # one of the results does not depend on what is transposed, and is used in the linear part
    step = pb.jit(lambda k, x: (k * 2.0, x * k))

    def fun(x):
        k, y = step(3.0, x)
        return step(k, y)[1]

    (ct,) = pb.linear_transpose(fun, f32(0))(f32(1))
    assert float(ct) == 18


def test_zero_arguments_and_zero_results():
    assert pb.jit(lambda: None)() is None
    assert pb.jit(lambda: ())() == ()
    assert float(pb.jit(lambda: 2.0)()) == 2
    three = pb.jit(lambda: 3.0)
    assert float(pb.grad(lambda x: x * three())(1.0)) == 3

    def beside_a_constant(lib):
        two = lib.t.jit(lambda: 2.0)
        return lib.t.vmap(lambda x: (two(), x))(X)

    all_close(beside_a_constant(PB), beside_a_constant(JAX))


def test_unused_arguments_under_reverse_mode():
    def make(lib):
        double = lib.t.jit(lambda x, y, z: x * 2)
        return lambda x, y: double(x, y, {"n": y})

    agree(make, X, f32(1))


def test_concretization_under_grad_of_jit_is_refused_by_name():
    @pb.jit
    def f(x):
        return x if x > 0 else -x

    with pytest.raises(pb.errors.TracerBoolConversionError, match=r"the tracing of f .* for jit"):
        pb.grad(f)(1.0)


def test_integer_results_have_no_tangent():
    value, dot = pb.jvp(pb.jit(lambda x: (x * 2, np.int32(3))), (X,), (X,))
    assert dot[1].dtype == pb.dtypes.float0
    all_close(value[1], np.int32(3))


def test_values_that_are_known_stay_known_around_the_call():
    def loss(x):
        y = pb.jit(pnp.sin)(x)
        return y * 2 if y > 0 else y

    assert float(pb.grad(loss)(1.0)) == pytest.approx(2 * np.cos(1.0))
    assert float(PB.t.grad(loss)(-1.0)) == pytest.approx(np.cos(1.0))
