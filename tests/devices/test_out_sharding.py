"""The argument `out_sharding` of products and others: where the result is to be."""

import numpy as np
import pytest
from on_meshes import mesh, over, parts_by_device, put, refusal

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, ops

X = np.arange(64, dtype=np.float32).reshape(8, 8) / 10
IDS = np.array([0, 7, 2, 2, 5, 7, 1, 0], np.int32)
NUMBERS = (((1,), (0,)), ((), ()))
CALLS = {
    "matmul": lambda x, at: pnp.matmul(x, x, out_sharding=at),
    "dot": lambda x, at: pnp.dot(x, x, out_sharding=at),
    "tensordot": lambda x, at: pnp.tensordot(x, x, 1, out_sharding=at),
    "einsum": lambda x, at: pnp.einsum("ij,jk->ik", x, x, out_sharding=at),
    "lax.dot": lambda x, at: lax.dot(x, x, out_sharding=at),
    "dot_general": lambda x, at: lax.dot_general(x, x, NUMBERS, out_sharding=at),
    "ragged_dot": lambda x, at: lax.ragged_dot(x, x[None], np.array([8], np.int32), out_sharding=at),
    "conv": lambda x, at: lax.conv_general_dilated(x[None, None], x[None, None], (1, 1), "SAME", out_sharding=at),
    "reduce": lambda x, at: lax.reduce(x[None], 0.0, lax.add, (0,), out_sharding=at),
    "empty": lambda x, at: lax.empty((8, 8), "float32", out_sharding=at) * 1,
    "rng_bit_generator": lambda x, at: lax.rng_bit_generator(np.zeros(4, np.uint32), (8, 8), out_sharding=at)[1],
    "segment_sum": lambda x, at: ops.segment_sum(x, IDS, 8, out_sharding=at),
    "segment_prod": lambda x, at: ops.segment_prod(x, IDS, 8, out_sharding=at),
    "segment_max": lambda x, at: ops.segment_max(x, IDS, 8, out_sharding=at),
    "segment_min": lambda x, at: ops.segment_min(x, IDS, 8, out_sharding=at),
    "percentile": lambda x, at: pnp.percentile(x, np.arange(8.0), 0, out_sharding=at),
    "bincount": lambda x, at: pnp.bincount(IDS, x[0], length=8, out_sharding=at),
    "counts": lambda x, at: pnp.bincount(IDS, length=8, out_sharding=at),
    "zeros": lambda x, at: pnp.zeros((8, 8), out_sharding=at),
    "ones": lambda x, at: pnp.ones((8, 8), out_sharding=at),
    "empty of numpy": lambda x, at: pnp.empty((8, 8), out_sharding=at),
    "full of numpy": lambda x, at: pnp.full((8, 8), 3.0, out_sharding=at),
    "zeros_like": lambda x, at: pnp.zeros_like(x, out_sharding=at),
    "ones_like": lambda x, at: pnp.ones_like(x, out_sharding=at),
    "full_like of numpy": lambda x, at: pnp.full_like(x, 3.0, out_sharding=at),
    "array": lambda x, at: pnp.array(X, out_sharding=at),
    "asarray": lambda x, at: pnp.asarray(x, out_sharding=at),
    "arange": lambda x, at: pnp.arange(8, out_sharding=at),
    "reshape": lambda x, at: pnp.reshape(x, (4, 2, 8), out_sharding=at),
    "ravel": lambda x, at: pnp.ravel(x, out_sharding=at),
    "broadcast_to": lambda x, at: pnp.broadcast_to(x[0], (8, 8), out_sharding=at),
    "repeat": lambda x, at: pnp.repeat(x, 2, 0, out_sharding=at),
    "lax.reshape": lambda x, at: lax.reshape(x, (4, 2, 8), out_sharding=at),
    "lax.broadcast": lambda x, at: lax.broadcast(x[0], (8,), out_sharding=at),
    "broadcast_in_dim": lambda x, at: lax.broadcast_in_dim(x[0], (8, 8), (1,), out_sharding=at),
    "broadcasted_iota": lambda x, at: lax.broadcasted_iota("int32", (8, 8), 0, out_sharding=at),
    "reduce_sum": lambda x, at: lax.reduce_sum(x[None], (0,), out_sharding=at),
    "initializers.zeros": lambda x, at: pb.nn.initializers.zeros(None, (8, 8), out_sharding=at),
    "initializers.ones": lambda x, at: pb.nn.initializers.ones(None, (8, 8), out_sharding=at),
    "full": lambda x, at: lax.full((8, 8), 3.0, sharding=at),
    "full_like": lambda x, at: lax.full_like(x, 3.0, sharding=at),
}
SPECS = {"conv": (None, None, "b", "a"), "reshape": ("b", "a", None), "lax.reshape": ("b", "a", None)}
SPECS |= dict.fromkeys(("bincount", "counts", "arange", "ravel"), ("b",))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_the_result_is_where_it_is_asked_for(name, compiled):
    place = over(pb, *SPECS.get(name, ("b", "a")))

    def f(x):
        return CALLS[name](x, place)

    def unplaced(x):
        return CALLS[name](x, None)

    for x in (pnp.asarray(X), put(pb, X, "a", "b")):
        result = (pb.jit(f) if compiled else f)(x)
        assert parts_by_device(result.sharding, result.shape) == parts_by_device(place, result.shape)
        np.testing.assert_allclose(np.asarray(result), np.asarray(unplaced(pnp.asarray(X))), rtol=1e-5)


def test_specs_mean_the_current_mesh_and_derivatives_pass():
    def f(x):
        return (pnp.matmul(x, x, out_sharding=pb.P("a")) ** 2).sum()

    def expected(x):
        return (pnp.matmul(x, x) ** 2).sum()

    with pb.set_mesh(mesh(pb)):
        ours = pb.jit(pb.grad(f))(X), pb.grad(f)(put(pb, X, "a"))
    for gradient in ours:
        np.testing.assert_allclose(np.asarray(gradient), np.asarray(pb.grad(expected)(X)), rtol=1e-5)


def test_refusals():
    kind, says = refusal(pnp.matmul, X[:6], X, out_sharding=over(pb, "b"))
    assert kind is ValueError
    assert says.startswith("matmul: out_sharding: a result of type f32[6,8]: axis 0 of the shape (6, 8) cannot be")
    kind, says = refusal(lax.dot, X, X, out_sharding=pb.P("a"))
    assert kind is ValueError
    assert says.startswith("dot: out_sharding: P('a',) needs a mesh of devices")
    assert refusal(pnp.einsum, "ij->i", X, out_sharding="a")[0] is TypeError
