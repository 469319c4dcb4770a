"""Exchanges along a named axis against JAX, under `vmap`: values, groups, derivatives of both modes, and refusals."""

import jax
import numpy as np
import pytest
from agreement import close
from jax import lax as jlax

import pullback as pb
from pullback import lax

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 4, 2, 8)).astype("float32")
GROUPS = [[0, 2], [3, 1]]
CASES = {
    "all_to_all": lambda L, x: L.all_to_all(x, "i", 0, 2),
    "all_to_all back": lambda L, x: L.all_to_all(x.T, "i", 2, 0),
    "all_to_all tiled": lambda L, x: L.all_to_all(x, "i", 2, 0, tiled=True),
    "all_to_all grouped": lambda L, x: L.all_to_all(x, "i", 1, 0, axis_index_groups=GROUPS),
    "pswapaxes": lambda L, x: L.pswapaxes(x, "i", 0),
    "psum_scatter": lambda L, x: L.psum_scatter(x, "i"),
    "psum_scatter tiled": lambda L, x: L.psum_scatter(x, "i", scatter_dimension=2, tiled=True),
    "psum_scatter grouped": lambda L, x: L.psum_scatter(x, "i", scatter_dimension=1, axis_index_groups=GROUPS),
    "pshuffle": lambda L, x: L.pshuffle(x, "i", [2, 0, 3, 1]),
}
WITHOUT_GROUPS = [name for name in CASES if "grouped" not in name]


def mapped(library, f, L):
    return library.vmap(lambda x: f(L, x), axis_name="i")


@pytest.mark.parametrize("name", WITHOUT_GROUPS)
def test_values_are_jax_s(name):
    expected = mapped(jax, CASES[name], jlax)(X)
    ours = mapped(pb, CASES[name], lax)
    close(ours(X), expected)
    close(pb.jit(ours)(X), expected)
    # a further batch axis, before and behind the named one
    close(pb.vmap(ours, 1, 1)(np.stack([X, 2 * X], 1)), np.stack([expected, 2 * np.asarray(expected)], 1))
    inner = pb.vmap(lambda rows: CASES[name](lax, rows[0]), axis_name="i")
    close(inner(X[:, None]), expected)


def test_groups_exchange_among_themselves():
    """JAX's vmap has no groups: each group by itself is what it gives."""
    for name in set(CASES) - set(WITHOUT_GROUPS):
        got = mapped(pb, CASES[name], lax)(X)
        for group in GROUPS:
            axes = {"all_to_all": (1, 0), "psum_scatter": 1}[name.split()[0]]
            if name.startswith("all"):
                expected = jax.vmap(lambda x, axes=axes: jlax.all_to_all(x, "i", *axes), axis_name="i")(X[group])
            else:
                expected = jax.vmap(
                    lambda x, axes=axes: jlax.psum_scatter(x, "i", scatter_dimension=axes), axis_name="i"
                )(X[group])
            close(np.asarray(got)[group], expected)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_adjoint(name):
    ours = mapped(pb, CASES[name], lax)
    t = rng.standard_normal(X.shape).astype("float32")
    y, dy = pb.jvp(ours, (X,), (t,))
    np.testing.assert_allclose(dy, ours(t), rtol=1e-6)  # they are linear
    ct = rng.standard_normal(y.shape).astype("float32")
    (back,) = pb.vjp(ours, X)[1](ct)
    np.testing.assert_allclose(np.vdot(back, t), np.vdot(ct, dy), rtol=1e-4)


def test_a_value_that_all_share():
    """It is the same as if each had a copy, of which JAX's all_to_all makes an array with more axes."""
    x = np.arange(6.0, dtype="float32").reshape(3, 2)
    for f in (
        lambda x: lax.all_to_all(x, "i", 0, 1),
        lambda x: lax.pswapaxes(x, "i", 0),
        lambda x: lax.psum_scatter(x, "i"),
    ):
        shared = pb.vmap(lambda _, f=f: f(x), axis_name="i")(np.zeros(3, "float32"))
        close(shared, pb.vmap(f, axis_name="i")(np.stack([x] * 3)))


def test_one_value_for_all():
    got = pb.vmap(lambda x: lax.pbroadcast(x, "i", 2), axis_name="i")(X)
    close(got, np.stack([X[2]] * 4))


def test_trees_and_several_axes():
    tree = {"a": X, "b": X[..., :4]}
    got = pb.vmap(lambda t: lax.pswapaxes(t, "i", 0), axis_name="i")(tree)
    close(got["b"], np.swapaxes(X[..., :4], 0, 1))
    nested = pb.vmap(pb.vmap(lambda x: lax.psum_scatter(x, ("i", "j"), tiled=True), axis_name="j"), axis_name="i")
    x = rng.standard_normal((2, 3, 12)).astype("float32")
    np.testing.assert_allclose(np.asarray(nested(x)).reshape(12), x.sum((0, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: lax.all_to_all(x, "i", 1, 0), ValueError, "all_to_all: the axis 1 .* must have the length 4"),
        (lambda x: lax.all_to_all(x, "i", 1, 0, tiled=True), ValueError, "must have a multiple of 4"),
        (lambda x: lax.pswapaxes(x, "i", 3), ValueError, "out of bounds"),
        (lambda x: lax.psum_scatter(x, "i", scatter_dimension=1), ValueError, "psum_scatter: the axis 1"),
        (lambda x: lax.pshuffle(x, "i", [0, 0, 1, 2]), ValueError, "pshuffle: perm must hold each of 0 to 3 once"),
        (lambda x: lax.pbroadcast(x, "i", 4), IndexError, "pbroadcast: source must be from 0 to 3"),
        (lambda x: lax.all_to_all(x, "j", 0, 0), NameError, "j"),
        (
            lambda x: lax.psum_scatter(x, "i", axis_index_groups=[[0], [1, 2, 3]]),
            ValueError,
            "axis_index_groups must have one length",
        ),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        pb.vmap(call, axis_name="i")(X)
