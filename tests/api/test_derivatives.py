"""jvp, vjp, linearize, linear_transpose, grad and value_and_grad, against JAX and against each other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close, close
from wrappers import forward, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.dtypes import float0
from pullback.errors import RuleNotDefinedError

X = np.linspace(-1.0, 2.0, 6, dtype=np.float32).reshape(2, 3)
W = np.linspace(0.5, 1.0, 3, dtype=np.float32)


def model(np_):
    """One function written for both libraries: parameters in a pytree, a batch, a scalar result."""

    def loss(params, x):
        hidden = np_.tanh(x * params["scale"] + params["layers"][0])
        return np_.sum(hidden * params["layers"][1]) + np_.exp(params["scale"])

    return loss


def params():
    return {"scale": np.float32(0.3), "layers": [W, W * W]}


def is_float0(x, shape=()):
    return x.dtype == float0 and np.shape(x) == shape


# ---- values, against JAX


def test_grad_of_a_pytree():
    all_close(pb.grad(model(pnp))(params(), X), jax.grad(model(jnp))(params(), X))


def test_value_and_grad_of_several_arguments():
    got = pb.value_and_grad(model(pnp), argnums=(1, 0))(params(), X)
    expected = jax.value_and_grad(model(jnp), argnums=(1, 0))(params(), X)
    assert type(got[1]) is tuple
    all_close(got, expected)


def test_jvp_of_a_pytree():
    tangents = (jax.tree.map(np.ones_like, params()), 2 * X)
    all_close(pb.jvp(model(pnp), (params(), X), tangents), jax.jvp(model(jnp), (params(), X), tangents))


def test_vjp_and_linearize_are_adjoint():
    def f(p, x):
        return {"a": pnp.sin(x) * p["w"], "b": (x * x).sum()}

    p = {"w": W}
    out, pullback = pb.vjp(f, p, X)
    same, push = pb.linearize(f, p, X)
    all_close(out, same)
    tangents = {"w": W * 2}, X + 1
    cotangent = {"a": np.cos(X), "b": np.float32(3.0)}
    forwards = push(*tangents)
    backwards = pullback(cotangent)
    left = sum(float((forwards[k] * cotangent[k]).sum()) for k in "ab")
    right = float((backwards[0]["w"] * tangents[0]["w"]).sum() + (backwards[1] * tangents[1]).sum())
    assert left == pytest.approx(right, rel=1e-5)
    all_close(forwards, pb.jvp(f, (p, X), tangents)[1])


def test_pullback_and_pushforward_may_be_called_again():
    _, pullback = pb.vjp(lambda x: x**2, 3.0)
    assert [float(pullback(c)[0]) for c in (1.0, 2.0, 1.0)] == [6.0, 12.0, 6.0]
    _, push = pb.linearize(lambda x: x**2, 3.0)
    assert [float(push(c)) for c in (1.0, 2.0, 1.0)] == [6.0, 12.0, 6.0]


def test_pullback_runs_under_other_transformations():
    _, pullback = pb.vjp(pnp.sin, X)
    close(pb.vmap(lambda c: pullback(c)[0])(np.stack([X, 2 * X])), np.stack([X, 2 * X]) * np.cos(X))
    close(pb.jit(pullback)(X)[0], X * np.cos(X))
    close(pb.grad(lambda c: pullback(c)[0].sum())(X), np.cos(X))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("modes", ["reverse", "forward", "mixed"])
def test_nested_orders(order, modes):
    def derivative(f, forward):
        return (lambda x: pb.jvp(f, (x,), (1.0,))[1]) if forward else pb.grad(f)

    f, g = (lambda x: pnp.exp(2 * x) * pnp.sin(x)), (lambda x: jnp.exp(2 * x) * jnp.sin(x))
    for i in range(order):
        f = derivative(f, modes == "forward" or (modes == "mixed" and i % 2 == 0))
        g = jax.grad(g)
    close(f(0.7), g(0.7), scale=10)
    close(pb.jit(f)(0.7), g(0.7), scale=10)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "complex64"])
def test_derivatives_have_the_dtype_of_the_argument(dtype):
    x = pnp.asarray(np.array([1.0, 2.0]), dtype=dtype)
    y, pullback = pb.vjp(lambda x: x * x, x)
    assert y.dtype == pullback(pnp.ones_like(x))[0].dtype == x.dtype
    assert pb.jvp(lambda x: x * x, (x,), (x,))[1].dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(pullback(pnp.ones_like(x))[0]).astype(complex), [2.0, 4.0])


def test_64_bits():
    with pb.enable_x64():
        value, gradient = pb.value_and_grad(lambda x: pnp.sin(x).sum())(np.array([0.1, 0.2]))
        assert value.dtype == gradient.dtype == np.float64
        np.testing.assert_allclose(np.asarray(gradient), np.cos([0.1, 0.2]), rtol=1e-15)
        assert pb.grad(pnp.sin)(1.0).weak_type
    assert pb.grad(pnp.sin)(1.0).dtype == np.float32


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1)])
def test_shapes_at_the_edge(shape):
    x = np.ones(shape, np.float32)
    value, gradient = pb.value_and_grad(lambda x: (x * x).sum())(x)
    close(gradient, 2 * x)
    assert float(value) == x.size
    close(pb.jvp(pnp.sin, (x,), (x,))[1], np.cos(x))


def test_an_argument_that_does_not_matter_has_a_zero_gradient():
    close(pb.grad(lambda x: 2.0)(X[0]), np.zeros(3, np.float32))
    close(pb.grad(lambda x, y: y.sum(), argnums=0)(X, X), np.zeros_like(X))
    close(pb.jvp(lambda x: pnp.ones(2), (X,), (X,))[1], np.zeros(2, np.float32))
    assert [float(g) for g in pb.grad(lambda p: p[0])([1.0, 2.0])] == [1.0, 0.0]


def test_the_gradient_of_the_argument_itself():
    assert float(pb.grad(lambda x: x)(3.0)) == 1.0
    assert [float(g) for g in pb.grad(lambda x, y: x, argnums=(0, 1))(3.0, 4.0)] == [1.0, 0.0]


# ---- pytrees


class Point(NamedTuple):
    x: float
    y: float


def test_structures_come_back_as_they_went_in():
    gradient = pb.grad(lambda p: p["a"].x * p["b"][0] + p["a"].y)({"a": Point(2.0, 3.0), "b": [5.0, None], "c": ()})
    assert type(gradient["a"]) is Point
    assert (float(gradient["a"].x), float(gradient["a"].y), float(gradient["b"][0])) == (5.0, 1.0, 2.0)
    assert gradient["b"][1] is None
    assert gradient["c"] == ()


def test_result_structure():
    out, push = pb.linearize(lambda x: Point(x, {"s": x * x}), 3.0)
    assert type(out) is Point
    tangent = push(1.0)
    assert type(tangent) is Point
    assert float(tangent.y["s"]) == 6.0


# ---- arguments


def test_argnums():
    def f(x, y, z):
        return x * y * y * z

    assert float(pb.grad(f, argnums=-1)(2.0, 3.0, 5.0)) == 18.0
    assert float(pb.grad(f, argnums=np.int64(1))(2.0, 3.0, 5.0)) == 60.0
    assert [float(g) for g in pb.grad(f, argnums=[2, 0])(2.0, 3.0, 5.0)] == [18.0, 45.0]
    assert pb.grad(f, argnums=())(2.0, 3.0, 5.0) == ()


@pytest.mark.parametrize("transform", [pb.grad, pb.value_and_grad, pb.jacfwd, pb.jacrev, pb.hessian])
def test_argnums_are_a_number_or_a_sequence(transform):
    def f(x, y):
        return x * x * y

    for argnums in (range(2), [0, 1], np.array([0, 1])):
        assert repr(transform(f, argnums)(2.0, 3.0)) == repr(transform(f, (0, 1))(2.0, 3.0))
    assert repr(transform(f, np.array(1))(2.0, 3.0)) == repr(transform(f, 1)(2.0, 3.0))
    for argnums in ({0, 1}, {}, (i for i in range(2)), "01", None, 1.5):
        with pytest.raises(TypeError, match=f"{transform.__name__}: argnums must be an int or a sequence of ints"):
            transform(f, argnums)


def test_other_arguments_are_passed_as_they_are():
    seen = []

    def f(x, mode, *, factor=1.0, note=None):
        seen.append((mode, note, type(factor)))
        return x * x * factor

    assert float(pb.grad(f)(3.0, "any", factor=2.0, note=object)) == 12.0
    assert seen == [("any", object, float)]


def test_has_aux():
    def f(x):
        return x * x, {"twice": 2 * x, "note": "text", "n": 3}

    gradient, aux = pb.grad(f, has_aux=True)(3.0)
    assert (float(gradient), float(aux["twice"]), aux["note"], aux["n"]) == (6.0, 6.0, "text", 3)
    (value, aux), gradient = pb.value_and_grad(f, has_aux=True)(3.0)
    assert (float(value), float(gradient), float(aux["twice"])) == (9.0, 6.0, 6.0)
    value, tangent, aux = pb.jvp(f, (3.0,), (1.0,), has_aux=True)
    assert (float(value), float(tangent), float(aux["twice"])) == (9.0, 6.0, 6.0)
    value, pullback, aux = pb.vjp(f, 3.0, has_aux=True)
    assert (float(value), float(pullback(1.0)[0]), float(aux["twice"])) == (9.0, 6.0, 6.0)
    value, push, aux = pb.linearize(f, 3.0, has_aux=True)
    assert (float(value), float(push(1.0)), float(aux["twice"])) == (9.0, 6.0, 6.0)


def test_auxiliary_values_are_differentiated_by_an_outer_grad():
    def inner(x):
        gradient, aux = pb.grad(lambda x: (x**3, x * x), has_aux=True)(x)
        return gradient + aux

    assert float(pb.grad(inner)(2.0)) == 12.0 + 4.0


# ---- integers


def test_allow_int():
    by_n, by_x = pb.grad(lambda n, x: (n * x).sum(), argnums=(0, 1), allow_int=True)(np.arange(3), 2.0)
    assert is_float0(by_n, (3,))
    assert float(by_x) == 3.0


def test_tangents_of_integers_are_float0():
    value, tangent = pb.jvp(lambda n, x: (n + 1, n * x), (2, 3.0), (np.zeros((), float0), 1.0))
    assert int(value[0]) == 3
    assert is_float0(tangent[0])
    assert float(tangent[1]) == 2.0
    _, pullback = pb.vjp(lambda n, x: (n > 1, n * x), 2, 3.0)
    by_n, by_x = pullback((np.zeros((), float0), 1.0))
    assert is_float0(by_n)
    assert float(by_x) == 2.0
    _, push = pb.linearize(lambda n, x: (n, n * x), 2, 3.0)
    assert is_float0(push(np.zeros((), float0), 1.0)[0])


# ---- complex numbers, by the conventions of JAX


def test_holomorphic():
    z = np.complex64(1.0 + 2j)
    close(pb.grad(lambda z: z**3, holomorphic=True)(z), jax.grad(lambda z: z**3, holomorphic=True)(z))
    value, gradient = pb.value_and_grad(pnp.exp, holomorphic=True)(z)
    close(value, gradient)


def test_a_real_function_of_complex_numbers():
    z = np.array([1.0 + 2j, -0.5j], np.complex64)

    def f(np_):
        return lambda z: np_.sum(np_.real(z * np_.conj(z)) + np_.imag(z * z))

    close(pb.grad(f(pnp))(z), jax.grad(f(jnp))(z))
    close(pb.grad(f(pnp))(z), 2 * np.conj(z) + (-2j * z))
    close(pb.vjp(f(pnp), z)[1](np.float32(2.0))[0], jax.vjp(f(jnp), z)[1](np.float32(2.0))[0])
    all_close(pb.jvp(f(pnp), (z,), (1j * z,)), jax.jvp(f(jnp), (z,), (1j * z,)))


def test_complex_intermediates_of_a_real_function():
    def f(np_):
        return lambda x: np_.abs(np_.exp(1j * x) + x)

    close(pb.grad(f(pnp))(0.7), jax.grad(f(jnp))(0.7))


# ---- linear_transpose


def test_linear_transpose():
    def f(np_):
        return lambda x, y: (2 * x + np_.sum(y), {"r": y * 3})

    cotangent = (X, {"r": W})
    all_close(
        pb.linear_transpose(f(pnp), pb.ShapeDtypeStruct((2, 3), "float32"), W)(cotangent),
        jax.linear_transpose(f(jnp), jax.ShapeDtypeStruct((2, 3), "float32"), W)(cotangent),
    )


def test_linear_transpose_twice_is_the_function():
    def f(x):
        return x[:, ::-1] * 3 + x.sum()

    twice = pb.linear_transpose(lambda c: pb.linear_transpose(f, X)(c)[0], X)
    close(twice(X)[0], f(pnp.asarray(X)))


def test_linear_transpose_refuses_what_is_not_linear():
    with pytest.raises(RuleNotDefinedError, match="'sin' has no transpose rule"):
        pb.linear_transpose(pnp.sin, 1.0)(1.0)
    with pytest.raises(TypeError, match="'mul' multiplies two tangents"):
        pb.linear_transpose(lambda x: x * x, 1.0)(1.0)
    with pytest.raises(TypeError, match=r"linear_transpose of .*argument 'n' has type i32\[\]"):
        pb.linear_transpose(lambda x, n: x * n, 1.0, 2)


# ---- nothing is silently lost


def item(x):
    return x.item()


def as_list(x):
    return x.tolist()


def grad(f):
    return pb.grad(f)(3.0)


def jvp(f):
    return pb.jvp(f, (3.0,), (1.0,))


def linearize(f):
    return pb.linearize(f, 3.0)


def grad_of_jvp(f):
    return pb.grad(forward(f))(3.0)


@pytest.mark.parametrize("escape", [float, complex, np.asarray, np.sin, item, as_list])
@pytest.mark.parametrize("differentiate", [grad, jvp, linearize, grad_of_jvp])
def test_a_value_that_leaves_for_numpy_or_python_is_refused(differentiate, escape):
    with pytest.raises(pb.errors.ConcretizationTypeError, match="stop_gradient"):
        differentiate(lambda x: x * escape(x))


def test_stop_gradient_says_that_a_value_is_a_constant():
    assert float(pb.grad(lambda x: x * float(pb.lax.stop_gradient(x)))(3.0)) == 3.0


def test_control_flow_and_formatting_see_the_value():
    lines = []

    def f(x):
        lines.append(f"{x:.2f} {x > 1} {int(x)}")
        return x * x if x > 1 else x

    assert float(pb.grad(f)(3.0)) == 6.0
    assert float(pb.grad(f)(0.5)) == 1.0
    assert lines == ["3.00 True 3", "0.50 False 0"]


# ---- long and deep


@pytest.mark.parametrize("length", [20_000])
def test_long_chains(length):
    def chain(x):
        for _ in range(length):
            x = x * 1.0001
        return x

    value, gradient = pb.value_and_grad(chain)(1.0)
    assert float(value) == pytest.approx(1.0001**length, rel=1e-2)
    assert float(gradient) == float(value)


def test_deep_pytrees():
    deep = 1.5
    for _ in range(200):
        deep = {"in": (deep,)}

    def bottom(tree):
        while isinstance(tree, dict):
            tree = tree["in"][0]
        return tree

    assert float(bottom(pb.grad(lambda d: bottom(d) ** 2)(deep))) == 3.0
    assert float(bottom(pb.jit(lambda d: d)(deep))) == 1.5


def test_deep_nests_of_transformations():
    f = pnp.sin
    for transform in [pb.grad, pb.jit, pb.grad, pb.vmap, pb.jit, pb.vmap, pb.jit]:
        f = transform(f)
    close(f(X), -np.sin(X))
    g = seventh_power
    for _ in range(6):
        g = pb.grad(g)
    assert float(g(1.0)) == 5040.0


def seventh_power(x):
    return x**7


def through_cond(x, y):
    return lax.cond(x.sum() > 0, lambda a: pnp.maximum(a, x), lambda a: x, y)


def through_map(x, y):
    return lax.map(lambda _: y, x)


def through_a_broadcast(x, y):
    return pnp.broadcast_to(y, (2,))


def grad_or_none(f):
    return pb.grad(f, unconnected="none")


@pytest.mark.parametrize("transform", [pb.grad, jit_of_grad, grad_of_jit, grad_or_none])
@pytest.mark.parametrize("fun", [through_cond, through_map, through_a_broadcast])
def test_a_gradient_is_weak_where_its_argument_is(fun, transform):
    """Eagerly and compiled, whatever the cotangent went through."""

    def loss(y):
        return fun(pnp.ones(2), y).sum()

    assert transform(loss)(1.0).weak_type
    assert not transform(loss)(np.float32(1)).weak_type
