"""Assertions, dataclasses as pytrees, and test helpers."""

import chex
import jax
import jax.numpy as jnp


@chex.dataclass
class _Params:
    w: chex.Array
    b: chex.Array


def dataclasses_are_pytrees():
    params = _Params(w=jnp.ones((2, 3)), b=jnp.zeros(3))
    doubled = jax.tree.map(lambda x: 2 * x + 1, params)
    grads = jax.grad(lambda p: jnp.sum(p.w**2) + jnp.sum(p.b))(params)
    return doubled, grads, len(jax.tree.leaves(params)), params.replace(b=jnp.ones(3)).b


def assertions_hold_and_fail():
    x = jnp.ones((2, 3))
    chex.assert_shape(x, (2, 3))
    chex.assert_rank([x, x[0]], [2, 1])
    chex.assert_type(x, float)
    chex.assert_equal_shape([x, x + 1])
    chex.assert_tree_all_finite({"a": x})
    chex.assert_trees_all_close({"a": x}, {"a": x + 1e-9})
    chex.assert_scalar_in(0.5, 0.0, 1.0)
    caught = 0
    for fails in (
        lambda: chex.assert_shape(x, (3, 2)),
        lambda: chex.assert_trees_all_close({"a": x}, {"a": x + 1}),
        lambda: chex.assert_tree_all_finite({"a": x / 0}),
        lambda: chex.assert_trees_all_equal_shapes(x, x[0]),
    ):
        try:
            fails()
        except AssertionError:
            caught += 1
    return caught


def assertions_in_traced_code():
    @jax.jit
    def f(x):
        chex.assert_rank(x, 1)
        chex.assert_equal_shape([x, x])
        return x * 2

    return f(jnp.ones(3))


def counted_traces():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def f(x):
        return x + 1

    total = f(jnp.ones(2)) + f(jnp.zeros(2))
    try:
        f(jnp.ones(3))
        caught = 0
    except AssertionError:
        caught = 1
    return total, caught


def gradients_of_finite_differences():
    chex.assert_numerical_grads(lambda x: jnp.sum(jnp.sin(x) ** 2), (jnp.array([0.3, 0.7]),), order=1, atol=1e-2)
    return 1
