"""vmap: axes, structures, sizes, named axes, nesting, and what it says of wrong input."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close, close

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import ShapedArray
from pullback.custom_derivatives import SymbolicZero

X = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
W = np.linspace(0.5, 1.0, 3, dtype=np.float32)


def identity(x):
    return x


def vmap_message(fun, *args, kind=ValueError, **options):
    """What `vmap(fun, **options)(*args)` says of it."""
    with pytest.raises(kind) as caught:
        pb.vmap(fun, **options)(*args)
    return str(caught.value)


# ---- axes


@pytest.mark.parametrize("in_axes", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("out_axes", [0, 1, 2, -1, -2])
def test_axes(in_axes, out_axes):
    def run(lib, np_):
        return lib.vmap(lambda x: np_.cos(x) * np_.sum(x), in_axes, out_axes)(X)

    close(run(pb, pnp), run(jax, jnp), scale=10)


def test_an_argument_that_is_shared():
    close(pb.vmap(pnp.dot, in_axes=(0, None))(X[0], X[0, 0]), X[0] @ X[0, 0])
    close(pb.vmap(lambda x, y: x * y, in_axes=[None, 0])(2.0, W), 2 * W)
    seen = []

    def noting(x, s):
        seen.append(s.shape)
        return x

    pb.vmap(noting, in_axes=(0, None))(W, X)
    assert seen == [(2, 3, 4)]


def test_axes_of_pytrees():
    def f(p, q):
        return p["a"] * p["b"][0] + q

    p = {"a": X[0].T, "b": (W, X)}
    got = pb.vmap(f, in_axes=({"a": 1, "b": (0, None)}, None))(p, 1.0)
    close(got, (X[0] * W[:, None]) + 1)
    close(pb.vmap(f, in_axes=({"a": 1, "b": 0}, None))({"a": X[0].T, "b": (W,)}, 1.0), got)


class Pair(NamedTuple):
    first: object
    second: object


def test_axes_of_results():
    got = pb.vmap(lambda x: Pair(x, {"r": x * 2, "n": None}), out_axes=Pair(1, {"r": -1, "n": None}))(X[0])
    close(got.first, X[0].T)
    close(got.second["r"], 2 * X[0].T)
    assert got.second["n"] is None
    close(pb.vmap(lambda x: (x, (x, x)), out_axes=(0, 1))(X[0])[1][1], X[0].T)


def test_results_that_are_not_mapped():
    shared = pb.vmap(lambda x: (x, 2.0), out_axes=(0, None))(W)[1]
    assert shared.shape == ()
    close(pb.vmap(lambda x: 2.0)(W), np.full(3, 2.0, np.float32))
    close(pb.vmap(lambda x: X[0], out_axes=2)(W), np.stack([X[0]] * 3, axis=2))


def test_axis_size():
    close(pb.vmap(lambda: 1.0, axis_size=3)(), np.ones(3, np.float32))
    close(pb.vmap(lambda x: x, in_axes=None, axis_size=2)(W), np.stack([W, W]))
    close(pb.vmap(lambda x: x, axis_size=3)(W), W)


def test_an_empty_batch():
    assert pb.vmap(lambda x: x.sum())(np.ones((0, 3), np.float32)).shape == (0,)
    assert pb.vmap(lambda x, y: x @ y, in_axes=(0, None))(np.ones((0, 2, 3), np.float32), X[0]).shape == (0, 2, 4)


def test_keyword_arguments_are_mapped_over_axis_0():
    close(pb.vmap(lambda x, y, s: x * y + s, in_axes=(0, None))(W, 2.0, s=W), 3 * W)
    close(pb.vmap(lambda **k: k["a"] + k["b"])(a=W, b=W), 2 * W)


def test_functions_with_defaults_and_variadic_arguments():
    close(pb.vmap(lambda x, k=3.0: k * x)(W), 3 * W)
    close(pb.vmap(lambda *xs: sum(xs))(W, W, W), 3 * W)


@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16", "float16", "complex64"])
def test_dtypes(dtype):
    x = pnp.asarray(np.array([[0, 1], [1, 1]]), dtype=dtype)
    got = pb.vmap(lambda x: x)(x)
    assert got.dtype == x.dtype
    assert got.shape == (2, 2)


# ---- nesting, with itself and with the others


def test_nesting():
    close(pb.vmap(pb.vmap(pb.vmap(pnp.sin)))(X), np.sin(X))
    close(pb.vmap(pb.vmap(lambda x, y: x * y, (None, 0)), (0, None))(W, W), np.outer(W, W))
    close(pb.vmap(outer_product_with_itself)(X[0]), X[0][:, :, None] * X[0][:, None, :])


def outer_product_with_itself(x):
    return pb.vmap(lambda y: x * y)(x)


def sum_of_multiples(s):
    return pb.vmap(lambda x: s * x)(W).sum()


def compiled_double(s):
    return pb.jit(lambda x: s * x)(2.0)


def test_closures_over_outer_values():
    close(pb.grad(sum_of_multiples)(2.0), W.sum())
    close(pb.vmap(compiled_double)(W), 2 * W)


def test_per_example_gradients():
    def gradients(lib, np_):
        return lib.vmap(lib.grad(lambda w, x: np_.sum(np_.tanh(x @ w) ** 2)), in_axes=(None, 0))

    got = gradients(pb, pnp)(W, X[:, :, :3])
    close(got, gradients(jax, jnp)(W, X[:, :, :3]), scale=10)
    close(pb.jit(gradients(pb, pnp))(W, X[:, :, :3]), got, scale=10)


def test_of_jvp_and_vjp():
    all_close(pb.vmap(lambda x, t: pb.jvp(pnp.sin, (x,), (t,)))(W, W), (np.sin(W), W * np.cos(W)))
    close(pb.vmap(lambda x: pb.vjp(pnp.sin, x)[1](2.0)[0])(W), 2 * np.cos(W))


# ---- named axes


def sum_along_i(x):
    return lax.psum(x, "i")


@pytest.mark.parametrize("name", ["psum", "pmean", "pmax", "pmin"])
def test_reductions_over_a_named_axis(name):
    got = pb.vmap(lambda x: x - getattr(lax, name)(x, "i"), axis_name="i")(X)
    expected = jax.vmap(lambda x: x - getattr(jax.lax, name)(x, "i"), axis_name="i")(X)
    close(got, expected)


def test_axis_index_and_size():
    def index(x):
        return lax.axis_index("i") + 0 * x.astype("int32")

    close(pb.vmap(index, axis_name="i")(W), np.arange(3, dtype=np.int32))
    close(pb.vmap(lambda x: x * lax.psum(1, "i"), axis_name="i")(W), 3 * W)


def test_collectives_of_pytrees_and_several_axes():
    def f(x):
        total = lax.psum({"a": x, "b": 2 * x}, ("i", "j"))
        return total["a"] + total["b"] + lax.pmean(x, "j")

    got = pb.vmap(pb.vmap(f, axis_name="j"), axis_name="i")(X[0])
    close(got, 3 * X[0].sum() + np.broadcast_to(X[0].mean(1, keepdims=True), (3, 4)))


def test_a_reduced_result_is_not_mapped():
    close(pb.vmap(lambda x: lax.pmean(x, "i"), axis_name="i", out_axes=None)(W), W.mean())


def test_collectives_are_differentiated():
    def gradient(lib, np_):
        def times_mean(y):
            return np_.sin(y) * lib.lax.pmean(y**2, "i")

        return lib.grad(lambda x: np_.sum(lib.vmap(times_mean, axis_name="i")(x)))(W)

    close(gradient(pb, pnp), gradient(jax, jnp))
    close(pb.vmap(pb.grad(lambda y: pnp.sin(y) * 2.0), axis_name="i")(W), 2 * np.cos(W))


def test_collectives_inside_of_jit():
    def share(x):
        return x / lax.psum(x, "i")

    close(pb.vmap(pb.jit(share), axis_name="i")(W), W / W.sum())
    close(pb.jit(pb.vmap(share, axis_name="i"))(W), W / W.sum())


def test_an_inner_name_hides_an_outer_one():
    got = pb.vmap(lambda row: pb.vmap(sum_along_i, axis_name="i")(row), axis_name="i")(X[0])
    close(got, np.broadcast_to(X[0].sum(1, keepdims=True), (3, 4)))


def test_a_name_that_is_not_in_scope():
    with pytest.raises(NameError, match="or shard_map has an axis named 'j'; the names in scope are: 'i'"):
        pb.vmap(lambda x: lax.psum(x, "j"), axis_name="i")(W)
    with pytest.raises(NameError, match="axis_name='i'"):
        lax.pmean(1.0, "i")
    pb.vmap(sum_along_i, axis_name="i")(W)
    with pytest.raises(NameError, match="the names in scope are: none"):
        lax.psum(1.0, "i")


# ---- what wrong input gets


def test_sizes_that_differ_are_listed():
    def fun(a, b, *, c):
        return a

    with pytest.raises(ValueError, match="must have one length") as caught:
        pb.vmap(fun)(W, {"q": X}, c=W)
    assert str(caught.value).splitlines() == [
        "vmap of fun: the mapped axes must have one length, but",
        "  argument 'a' of shape (3,) has length 3 along axis 0",
        "  argument 'b', leaf ['q'] of shape (2, 3, 4) has length 2 along axis 0",
        "  keyword argument 'c' of shape (3,) has length 3 along axis 0",
    ]
    assert "axis_size is 4" in vmap_message(identity, W, axis_size=4)


def test_axes_that_do_not_exist():
    assert vmap_message(lambda x: x, 1.0).startswith(
        "vmap of <lambda>: argument 'x' has shape (), which has no axis 0."
    )
    assert "argument 'x', leaf ['a'] has shape (3,), which has no axis -2" in vmap_message(
        identity, {"a": W}, in_axes=-2
    )
    assert "numpy.asarray" in vmap_message(identity, [1.0, 2.0])
    assert "numpy.asarray" not in vmap_message(identity, 1.0)
    assert "out_axes=2 for leaf 0 of the result, which has rank 0: the axis must lie in [-1, 0]" in vmap_message(
        identity, W, out_axes=2
    )


def test_structures_that_do_not_fit():
    assert "in_axes has 2 entries, but the function was called with 1 positional" in vmap_message(
        identity, W, in_axes=(0, 0)
    )
    assert "in_axes must be a prefix of the arguments, but at [0] it has" in vmap_message(
        identity, {"a": W}, in_axes=({"a": 0, "b": 0},)
    )
    assert "out_axes=(0, 1, 2) must be a prefix of the result" in vmap_message(lambda x: (x, x), W, out_axes=(0, 1, 2))
    assert "no argument is mapped" in vmap_message(identity, W, in_axes=None)
    assert "out_axes is None for leaf 0 of the result" in vmap_message(identity, W, out_axes=None)


@pytest.mark.parametrize(
    "options",
    [
        {"in_axes": "a"},
        {"in_axes": (1.0,)},
        {"in_axes": np.float32(0)},
        {"out_axes": 1.5},
        {"out_axes": "a"},
        {"axis_size": -1},
        {"axis_size": 2.0},
    ],
    ids=str,
)
def test_options_of_the_wrong_type(options):
    assert vmap_message(identity, W, kind=TypeError, **options).startswith("vmap")


def test_arguments_that_are_no_arrays():
    assert vmap_message(identity, {"k": [W, "text"]}, kind=TypeError).startswith(
        "vmap of identity: argument 'x', leaf ['k'][1]: expected an array or a number, got 'text'"
    )
    with pytest.raises(TypeError, match="vmap: expected a function, got 3 of type int"):
        pb.vmap(3)
    assert "the leaf ['r'] is 'text' of type str" in vmap_message(lambda x: {"r": "text"}, W, kind=TypeError)


def test_names_of_axes():
    """Any hashable object is a name; a tuple too, which collectives read as several names unless in another one."""
    for name, given in (("i", "i"), (3, 3), (("i", "j"), (("i", "j"),))):
        ours = pb.vmap(partial(lax.psum, axis_name=given), axis_name=name)(W)
        assert ours.tolist() == [W.sum()] * len(W)
    with pytest.raises(NameError, match="psum: no enclosing vmap or shard_map has an axis named 'i'"):
        pb.vmap(lambda x: lax.psum(x, ("i",)), axis_name=("i",))(W)
    with pytest.raises(TypeError, match=r"vmap: axis_name must be a hashable name, .* got \['i'\] of type list"):
        pb.vmap(identity, axis_name=["i"])


def test_axes_of_a_mesh_of_devices():
    x = np.arange(3, dtype="float32")
    for name in (None, "data", ("data", "model")):
        np.testing.assert_array_equal(pb.vmap(pnp.sin, spmd_axis_name=name)(x), pnp.sin(x))
    with pytest.raises(TypeError, match="vmap: spmd_axis_name must be the name of an axis"):
        pb.vmap(pnp.sin, spmd_axis_name=3)


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (pnp.matmul, ()),
        (pnp.dot, ()),
        (pnp.tensordot, ()),
        (lax.dot, ()),
        (lax.dot_general, ((((1,), (0,)), ((), ())),)),
    ],
)
def test_a_place_for_a_product_is_refused(fun, args):
    x = np.ones((2, 2), "float32")
    refused_with_a_place(fun, x, x, *args)


def test_a_place_for_a_contraction_or_reduction_is_refused():
    x = np.ones((2, 2), "float32")
    refused_with_a_place(pnp.einsum, "ij,jk", x, x)
    refused_with_a_place(lax.reduce, x, np.float32(0), lax.add, (0,))


def refused_with_a_place(fun, *args):
    assert np.isfinite(fun(*args, out_sharding=None)).all()
    with pytest.raises(TypeError, match="out_sharding: expected None, a device, a sharding"):
        fun(*args, out_sharding="x")


def test_what_is_not_mapped_reaches_the_function_as_it_is():
    seen = []

    def f(function, number, data, x):
        seen.append((function, type(number), type(data), isinstance(x, pb.Array)))
        return function(x) * number

    out = pb.vmap(f, in_axes=(None, None, None, 0))(pnp.sin, 2, np.ones(3), pnp.ones(2))
    assert out.shape == (2,)
    assert seen == [(pnp.sin, int, np.ndarray, True)]
    nested = pb.vmap(lambda tree, x: tree["f"](x) + tree["x"], in_axes=({"f": None, "x": 0}, 0))
    assert nested({"f": pnp.exp, "x": pnp.ones(2)}, pnp.zeros(2)).tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="argument 'text': expected an array or a number, got 'a'"):
        pb.vmap(lambda function, text: text, in_axes=(None, 0))(pnp.sin, "a")


@pytest.mark.parametrize(("out_axis", "shape"), [(0, (3, 2)), (1, (2, 3)), (-1, (2, 3)), (None, (2,))])
def test_symbolic_zeros_are_returned_with_the_type_of_all_examples(out_axis, shape):
    """A rule that is mapped may return one."""

    def rule(x):
        return x, SymbolicZero(ShapedArray((2,), np.dtype("float32")))

    doubled, zero = pb.vmap(rule, out_axes=(0, out_axis))(np.ones((3, 2), "float32"))
    assert doubled.shape == (3, 2)
    assert type(zero) is SymbolicZero
    assert (zero.shape, zero.dtype) == (shape, "float32")
    _, nested = pb.vmap(pb.vmap(rule))(np.ones((4, 3, 2), "float32"))
    assert nested.shape == (4, 3, 2)
