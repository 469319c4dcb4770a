"""Annotations of jaxtyping, checked at run time by beartype, in and out of traced code."""

import jax
import jax.numpy as jnp
import numpy as np
from beartype import beartype
from jaxtyping import Array, Bool, Complex, Float, Int, Key, PRNGKeyArray, PyTree, Scalar, Shaped, UInt, jaxtyped

_A = jnp.arange(6.0).reshape(2, 3)


@jaxtyped(typechecker=beartype)
def _product(a: Float[Array, "n k"], b: Float[Array, "k m"]) -> Float[Array, "n m"]:
    return a @ b


def shapes_agree():
    return _product(_A, _A.T), jax.jit(_product)(_A, _A.T), jax.vmap(_product, (0, None))(_A[None], _A.T)


def shapes_disagree():
    seen = []
    for function in (_product, jax.jit(_product)):
        for arguments in ((_A, _A), (_A, jnp.ones((3, 2), jnp.int32)), (_A[0], _A.T)):
            try:
                function(*arguments)
                seen.append(0)
            except Exception:
                seen.append(1)
    return seen


def kinds_of_arrays():
    values = [
        _A,
        jnp.ones((), jnp.complex64),
        jnp.arange(3),
        jnp.arange(3, dtype=jnp.uint8),
        jnp.array([True]),
        jax.random.key(0),
        jax.random.PRNGKey(0),
        jnp.ones(2, jnp.bfloat16),
        np.ones(2),
        1.0,
    ]
    kinds = [Float[Array, "..."], Complex[Array, "..."], Int[Array, "..."], UInt[Array, "..."], Bool[Array, "..."]]
    kinds += [Key[Array, "..."], PRNGKeyArray, Scalar, Shaped[Array, "..."], Float[np.ndarray, "..."]]
    return [[isinstance(value, kind) for kind in kinds] for value in values]


def pytrees():
    @jaxtyped(typechecker=beartype)
    def doubled(tree: PyTree[Float[Array, "?n"], "T"]) -> PyTree[Float[Array, "?n"], "T"]:
        return jax.tree.map(lambda x: 2 * x, tree)

    return doubled({"a": _A[0], "b": (_A[1], jnp.ones(4))}), jax.grad(lambda x: doubled([x])[0].sum())(_A[0])
