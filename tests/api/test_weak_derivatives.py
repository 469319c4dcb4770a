"""Derivatives at Python numbers have the dtype, shape and weak type of JAX's, in every mode and to the third order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp


def functions(library):
    """By name: results that are weak where the argument is, strong ones, and one with an axis."""
    return {
        "power": lambda z: z**3,
        "sin": library.sin,
        "exp": lambda z: library.exp(z) * 1.5,
        "twice": lambda z: z * 2,
        "piecewise": lambda z: library.where(z.real > 1, z * z, z),
        "strong": lambda z: z * library.float32(2.0) * z,
        "strong[2]": lambda z: z * library.ones(2),
        "weak[2]": lambda z: library.stack([z, z * z]),
    }


def transformations(pb, holomorphic):
    keywords = {"holomorphic": True} if holomorphic else {}

    def grad(fun):
        return pb.grad(fun, **keywords)

    def forward(fun):
        return pb.jacfwd(fun, **keywords)

    def reverse(fun):
        return pb.jacrev(fun, **keywords)

    def pushed(fun):
        return lambda z: pb.jvp(fun, (z,), (z,))

    def pulled(fun):
        def value_and_cotangent(z):
            value, pull = pb.vjp(fun, z)
            return value, pull(value)

        return value_and_cotangent

    def linearized(fun):
        return lambda z: pb.linearize(fun, z)[1](z)

    return {
        "grad": grad,
        "jacfwd": forward,
        "jacrev": reverse,
        "hessian": lambda f: pb.hessian(f, **keywords),
        "value_and_grad": lambda f: pb.value_and_grad(f, **keywords),
        "grad of grad": lambda f: grad(grad(f)),
        "grad of grad of grad": lambda f: grad(grad(grad(f))),
        "jacfwd of grad": lambda f: forward(grad(f)),
        "jacrev of grad": lambda f: reverse(grad(f)),
        "grad of jacfwd": lambda f: grad(forward(f)),
        "jacfwd of jacfwd": lambda f: forward(forward(f)),
        "jacfwd of jacrev": lambda f: forward(reverse(f)),
        "jacrev of jacfwd": lambda f: reverse(forward(f)),
        "jacrev of jacrev": lambda f: reverse(reverse(f)),
        "hessian of grad": lambda f: pb.hessian(grad(f), **keywords),
        "jvp": pushed,
        "jvp of grad": lambda f: pushed(grad(f)),
        "vjp": pulled,
        "vjp of jacfwd": lambda f: pulled(forward(f)),
        "linearize": linearized,
        "linearize of grad": lambda f: linearized(grad(f)),
    }


def types(leaves):
    return [(x.dtype.name, x.shape, bool(x.weak_type)) for x in leaves]


REAL = {
    "2.": lambda library: 2.0,
    "weak array": lambda library: library.asarray(2.0),
    "float32": lambda _: np.float32(2),
}
COMPLEX = {"2j": lambda library: 2j, "complex64": lambda _: np.complex64(2j)}


@pytest.mark.parametrize("transformation", transformations(pb, False))
@pytest.mark.parametrize("holomorphic", [False, True])
def test_derivatives_are_weak_where_those_of_jax_are(transformation, holomorphic):
    compared = 0
    mine, theirs = (transformations(p, holomorphic)[transformation] for p in (pb, jax))
    for name, fun in functions(pnp).items():
        derivative, reference = mine(fun), theirs(functions(jnp)[name])
        for make in (COMPLEX if holomorphic else REAL).values():
            try:
                expected = types(jax.tree.leaves(jax.eval_shape(reference, make(jnp))))
            except TypeError:  # a gradient of what has an axis
                continue
            compared += 1
            assert types(pb.tree.leaves(derivative(make(pnp)))) == expected, name
            assert types(pb.tree.leaves(pb.jit(derivative)(make(pnp)))) == expected, name
    assert compared >= 12
