"""Functions with rules that close over values of transformations: the rules say d/dx = 10 y, the function d/dy = x."""

import numpy as np
import pytest
from agreement import all_close
from functions import times_with_jvp, times_with_vjp
from wrappers import forward, grad_of_a_batch_of_two, grad_of_jit, jit_of_grad, linearized

import pullback as pb
import pullback.numpy as pnp
from pullback import grad, jit, lax, vmap

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


@pytest.mark.parametrize("times", [times_with_jvp, times_with_vjp])
def test_values_of_outer_transformations(times):
    def outer(y, x):
        f = times(y)
        return f(x), grad(f)(x), grad(f)(2.0), f(3.0)

    ys = np.array([1, 2, 3], f32)
    expected = (ys * X, 10 * ys, 10 * ys, 3 * ys)
    for axis_name in (None, "i"):
        all_close(vmap(outer, axis_name=axis_name)(ys, X), expected)
        all_close(jit(vmap(outer, axis_name=axis_name))(ys, X), expected)
    all_close([v[1] for v in vmap(outer, (0, None))(ys, X[1])], [v[1] for v in vmap(outer)(ys, X[[1, 1, 1]])])
    all_close(jit(outer)(ys[1], X[0]), (2 * X[0], f32(20), f32(20), f32(6)))


@pytest.mark.parametrize("times", [times_with_jvp, times_with_vjp])
def test_a_value_that_an_outer_gradient_differentiates(times):
    def slope(y):
        return grad(times(y))(3.0)

    def value(y):
        return times(y)(3.0)

    assert float(grad(slope)(2.0)) == 10
    assert float(grad(value)(2.0)) == 3


# ---- uses of `times(y)`, as functions of y


def called(times, y):
    return times(y)(y)


def compiled(times, y):
    return jit(times(y))(y)


def compiled_on_a_constant(times, y):
    return jit(times(y))(3.0)


def made_in_a_compiled_function(times, y):
    return jit(lambda y, x: times(y)(x))(y, 3.0)


def twice(times, y, x):
    def step(c, _):
        return times(y)(c), None

    return lax.scan(step, x, None, length=2)[0]


def in_a_loop(times, y):
    return twice(times, y, y)


def in_a_loop_from_a_constant(times, y):
    return twice(times, y, 3.0)


def in_a_branch(times, y):
    return lax.cond(True, times(y), lambda x: x, y)


def batched(times, y):
    return vmap(times(y))(pnp.stack([y, y])).sum()


def compiled_in_a_batch(times, y):
    return vmap(jit(times(y)))(pnp.ones(3)).sum()


def made_in_a_batch(times, y):
    return vmap(lambda x: times(y * x)(x))(pnp.array([1.0, 2.0])).sum()


def compiled_gradient(times, y):
    return jit(grad(times(y)))(3.0)


def gradient_of_compiled(times, y):
    return grad(jit(times(y)))(3.0)


def gradient_of_a_product(times, y):
    return grad(lambda x: times(y)(x) * x)(3.0)


# the derivatives by y at 2
USES = {
    called: 10 * 2 + 2,
    compiled: 10 * 2 + 2,
    compiled_on_a_constant: 3,
    made_in_a_compiled_function: 3,
    in_a_loop: 20 * 22 + 4,
    in_a_loop_from_a_constant: 20 * 3 + 6,
    in_a_branch: 22,
    batched: 44,
    compiled_in_a_batch: 3,
    made_in_a_batch: 1 * 1 + 2 * 2,
    compiled_gradient: 10,
    gradient_of_compiled: 10,
    gradient_of_a_product: 10 * 3 + 3,
}


def jacfwd_of_jit(f):
    return pb.jacfwd(jit(f))


def vjp_of_jit(f):
    return lambda y: pb.vjp(jit(f), y)[1](f32(1))[0]


REVERSE = (grad, jit_of_grad, grad_of_jit, grad_of_a_batch_of_two, vjp_of_jit)
FORWARD = (forward, jacfwd_of_jit, linearized)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("times", "transform"),
    [(times_with_jvp, transform) for transform in REVERSE + FORWARD]
    + [(times_with_vjp, transform) for transform in REVERSE],
)
def test_the_function_is_differentiated_in_what_it_closes_over(times, transform, use):
    def fun(y):
        return use(times, y)

    all_close(transform(fun)(f32(2)), f32(USES[use]), 10)


def test_a_tracer_of_an_inner_transformation_in_a_function_traced_outside_of_it():
    def inner(x):
        return grad(lambda y: times_with_jvp(y)(x))(2.0)

    assert float(jit(inner)(3.0)) == 3
