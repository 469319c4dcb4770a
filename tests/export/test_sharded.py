"""Programs of several devices in files: called on a mesh of as many, refused on another number, and by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close
from jax import export as jax_export
from on_meshes import over, put

import pullback as pb
import pullback.numpy as pnp
from pullback import export

X = np.arange(16, dtype="float32").reshape(8, 2) / 8
SPEC = pb.P(("a", "b"))
W = np.array([[1.0, 2.0, 0.5, 1.0], [0.0, -1.0, 1.0, 3.0]], dtype="float32")


def layer(np_):
    return lambda w, x: np_.tanh(x @ w)


def exported_over(library, module, np_):
    places = {"in_shardings": (over(library), over(library, "a")), "out_shardings": over(library, "a", "b")}
    return module.export(library.jit(layer(np_), **places))(W, X)


def of_ours():
    return export.deserialize(exported_over(pb, export, pnp).serialize(vjp_order=1))


def test_what_the_file_says():
    exported = of_ours()
    assert exported.nr_devices == 8
    w, x = exported.in_shardings_jax(over(pb).mesh)
    assert (w.spec, x.spec) == (pb.P(None, None), pb.P("a", None))
    assert exported.out_shardings_jax(over(pb).mesh)[0].spec == pb.P("a", "b")
    with pytest.raises(ValueError, match="in_shardings_jax: the function was exported for AbstractMesh"):
        exported.in_shardings_jax(over(pb, shape=(4, 2)).mesh)


def test_calls_on_the_mesh():
    exported = of_ours()
    w, x = put(pb, W), put(pb, X, "a")
    for run in (lambda f: f, pb.jit):
        out = run(exported.call)(w, x)
        all_close(out, np.tanh(X @ W))
        assert out.sharding.is_equivalent_to(over(pb, "a", "b"), 2)
    grad = pb.jit(pb.grad(lambda w, x: exported.call(w, x).sum()))(w, x)
    all_close(grad, pb.grad(lambda w, x: layer(pnp)(w, x).sum())(W, X), 10)


def test_calls_elsewhere_are_refused():
    exported = of_ours()
    for args in ((W, X), (put(pb, W, shape=(2, 2)), put(pb, X, "a", shape=(2, 2)))):
        with pytest.raises(ValueError, match=r"is for 8 devices, but is called on [14]"):
            exported.call(*args)


def test_constraints_inside():
    place = over(pb, "a", "b")

    def fun(x):
        return pb.lax.with_sharding_constraint(pnp.sin(x), place) * 2

    exported = export.export(pb.jit(fun, in_shardings=over(pb, "a")))(X[:, :2].repeat(2, 1))
    read = export.deserialize(exported.serialize())
    x = put(pb, X.repeat(2, 1), "a")
    all_close(read.call(x), 2 * np.sin(X.repeat(2, 1)))
    all_close(pb.grad(lambda x: read.call(x).sum())(x), 2 * np.cos(X.repeat(2, 1)), 10)


def test_functions_of_parts():
    mesh = over(pb).mesh

    def fun(x):
        parts = pb.shard_map(lambda x: x * pb.lax.psum(x.sum(), ("a", "b")), mesh=mesh, in_specs=SPEC, out_specs=SPEC)
        return parts(x)

    exported = export.deserialize(export.export(pb.jit(fun))(X).serialize())
    assert exported.nr_devices == 8
    x = put(pb, X, *SPEC)
    all_close(exported.call(x), X * X.sum(), 10)
    all_close(pb.grad(lambda x: exported.call(x).sum())(x), np.full_like(X, 2 * X.sum()), 10)


def test_between_the_libraries():
    pytest.importorskip("flatbuffers", reason="JAX writes and reads its files by it")
    ours = exported_over(pb, export, pnp).serialize(vjp_order=1)
    theirs = exported_over(jax, jax_export, jnp).serialize(vjp_order=1)
    check_call(pb, export.deserialize(theirs))
    check_call(jax, jax_export.deserialize(ours))


def check_call(library, read):
    """The value, its placement and the gradient."""
    assert read.nr_devices == 8
    w, x = put(library, W), put(library, X, "a")
    out = library.jit(read.call)(w, x)
    all_close(np.asarray(out), np.tanh(X @ W))
    assert out.sharding.is_equivalent_to(over(library, "a", "b"), 2)
    grad = library.jit(library.grad(lambda w, x: read.call(w, x).sum()))(w, x)
    all_close(np.asarray(grad), np.asarray(jax.grad(lambda w, x: layer(jnp)(w, x).sum())(W, X)), 10)
