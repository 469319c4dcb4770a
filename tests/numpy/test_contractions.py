"""Products that sum over axes: matmul, einsum and their kin; norms and powers of matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, check_value, close

import pullback as pb
import pullback.numpy as pnp
from pullback.numpy import linalg

DTYPES = ["bool", "int8", "uint32", "float16", "bfloat16", "float32", "complex64"]


data = Sampler()


MATMULS = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((1, 3, 4), (2, 4, 5)),
    ((6, 2, 3, 4), (2, 4, 5)),
    ((3, 4), (2, 4, 5)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)),
    ((6, 1, 3, 4), (1, 2, 4, 5)),
    ((2, 3, 0), (0, 5)),
    ((1, 3, 4), (1, 4, 5)),
    ((2, 6, 3, 4), (2, 1, 4, 5)),
]


@pytest.mark.parametrize(("left", "right"), MATMULS)
def test_matmul(left, right):
    x, y = data(left), data(right)
    check_value(pnp.matmul, jnp.matmul, x, y)
    if x.size:
        ct = data(jnp.matmul(x, y).shape)
        for a, b in zip(pb.vjp(pnp.matmul, x, y)[1](ct), jax.vjp(jnp.matmul, x, y)[1](ct), strict=True):
            close(a, b, 10)


@pytest.mark.parametrize("name", ["dot", "matmul", "inner", "vdot", "outer", "kron", "tensordot"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(name, dtype):
    x, y = data((3, 3), dtype), data((3, 3), dtype)
    options = {"axes": 1} if name == "tensordot" else {}
    if (name, dtype) == ("kron", "bool"):
        # JAX has no product of bools here; NumPy's is their "and"
        np.testing.assert_array_equal(pnp.kron(x, y), np.kron(x, y))
        return
    agree(getattr(pnp, name), getattr(jnp, name), x, y, **options)


def test_dtypes_promote_and_weak_types_yield():
    for x, y in (
        (data((3,), "int8"), data((3,))),
        (data((3,)), data((3,), "complex64")),
        (2, data((3,))),
        (2.0, 3.0),
        (2.0, 3),
        (data((3,), "bool"), data((3,), "int8")),
    ):
        check_value(pnp.dot, jnp.dot, x, y)
    check_value(pnp.matmul, jnp.matmul, data((3, 3), "float16"), data((3, 3)))


PAIRS = [
    ("dot", (2, 3, 4), (5, 4, 6)),
    ("dot", (), (3,)),
    ("vdot", (2, 3), (3, 2)),
    ("inner", (2, 3), (4, 3)),
    ("inner", (), (3,)),
    ("outer", (2, 3), (4,)),
    ("kron", (2, 3), (4,)),
    ("kron", (2, 3), (4, 5)),
    ("kron", (2,), (3, 2, 2)),
    ("matvec", (5, 2, 3), (3,)),
    ("matvec", (5, 2, 3), (5, 3)),
    ("vecmat", (5, 2), (5, 2, 3)),
    ("vecmat", (2,), (5, 2, 3)),
    ("vecdot", (5, 2), (5, 2)),
    ("vecdot", (5, 2), (2,)),
    ("cross", (3,), (3,)),
    ("cross", (5, 3), (3,)),
    ("tensordot", (2, 3, 4), (3, 4, 5)),
]


@pytest.mark.parametrize(("name", "left", "right"), PAIRS)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_products(name, left, right, dtype):
    x, y = data(left, dtype), data(right, dtype)
    f, g = getattr(pnp, name), getattr(jnp, name)
    check_value(f, g, x, y)
    if dtype == "float32":
        check_derivative(f, x, y)
        check_batching(f, x, y)


def test_axes():
    x, y = data((3, 5)), data((3, 5))
    check_value(lambda x, y: pnp.cross(x, y, axis=0), lambda x, y: jnp.cross(x, y, axis=0), x, y)
    check_value(lambda x, y: pnp.cross(x, y, 0, 0, 1), lambda x, y: jnp.cross(x, y, 0, 0, 1), x, y)
    check_value(lambda x, y: pnp.vecdot(x, y, axis=0), lambda x, y: jnp.vecdot(x, y, axis=0), x, y)
    z = data((3, 3))
    for axes in (0, 1, 2, ([1], [0]), (1, 0), ((0, 1), (1, 0)), ([-1], [0])):
        agree(pnp.tensordot, jnp.tensordot, z, z, axes=axes)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_convolution_of_vectors(name, mode):
    pairs = [
        (data((m,), dtype), data((n,), dtype))
        for m, n in ((5, 3), (3, 5), (4, 4), (6, 3), (4, 7), (1, 3))
        for dtype in ("float32", "complex64", "int32")
    ]

    def every_pair(library):
        return lambda pairs: [getattr(library, name)(x, y, mode) for x, y in pairs]

    # all pairs in one program: it compiles for longer than it runs
    check_value(every_pair(pnp), jax.jit(every_pair(jnp)), pairs)
    check_derivative(lambda x, y: getattr(pnp, name)(x, y, mode), data((5,)), data((3,)))


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("i,j->ji", (2,), (3,)),
    ("ba,ab", (2, 3), (3, 2)),
    ("ij,kl->ik", (2, 3), (4, 5)),
    ("ij,jk->i", (2, 3), (3, 4)),
    ("iij,jk->ik", (3, 3, 2), (2, 4)),
    ("bthd,bshd->bhts", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("bhts,bshd->bthd", (2, 4, 3, 6), (2, 6, 4, 5)),
    ("nk,nkd->nd", (3, 4), (3, 4, 5)),
    ("ij,jk->jik", (2, 3), (3, 4)),
    ("i,->i", (3,), ()),
    (",->", (), ()),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("iij->j", (3, 3, 2)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("iii", (2, 2, 2)),
    ("", ()),
    ("i j -> j i", (2, 3)),
    ("...ij,...jk->...ik", (7, 2, 3), (7, 3, 4)),
    ("...ij,jk", (7, 2, 3), (3, 4)),
    ("...ij,...jk", (1, 2, 3), (5, 7, 3, 4)),
    ("a...,a...->...", (3, 4), (3, 4)),
    ("i...->...", (3, 2, 2)),
    ("i...->i", (3, 2, 2)),
    ("...ij,...jk->ik", (2, 2, 3), (1, 3, 2)),
    ("...,->", (2, 3), ()),
    ("...,i->i...", (), (3,)),
    ("ij,ij->ij", (1, 3), (2, 3)),
    ("ij,ij->i", (2, 1), (2, 3)),
    ("ij,ij->", (1, 3), (2, 1)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ab,bc,ca->", (2, 3), (3, 4), (4, 2)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("ij,jk,kl,lm", (2, 3), (3, 4), (4, 5), (5, 2)),
    ("ij,ij,j->i", (2, 3), (2, 3), (3,)),
    ("i,j,k->kji", (2,), (3,), (4,)),
]


@pytest.mark.parametrize("case", EINSUMS, ids=lambda case: f"{case[0]}")
def test_einsum(case):
    subscripts, *shapes = case
    args = [data(shape) for shape in shapes]
    f = lambda *args: pnp.einsum(subscripts, *args)  # noqa: E731
    check_value(f, lambda *args: jnp.einsum(subscripts, *args), *args)
    check_derivative(f, *args)
    if len(args) < 3:
        check_batching(f, *args)


@pytest.mark.parametrize("dtype", DTYPES)
def test_einsum_in_every_dtype(dtype):
    x, y = data((3, 4), dtype), data((5, 4), dtype)
    if dtype in ("float16", "bfloat16"):
        x, y = abs(x), abs(y)  # a sum that cancels has no digits left in half precision
    for subscripts in ("ij,kj->ki", "ij,ij->ij", "ij,kj->"):
        args = (x, x) if subscripts == "ij,ij->ij" else (x, y)
        check_value(partial(pnp.einsum, subscripts), partial(jnp.einsum, subscripts), *args)
    check_value(lambda x: pnp.einsum("ij->i", x), lambda x: jnp.einsum("ij->i", x), x)


@pytest.mark.parametrize("optimize", [False, True, "greedy", "auto", [(0, 1), (0, 1), (0, 1)]])
def test_orders_of_contraction(optimize):
    args = [data((2, 3)), data((3, 4)), data((4, 5)), data((5, 2))]
    close(pnp.einsum("ij,jk,kl,lm", *args, optimize=optimize), jnp.einsum("ij,jk,kl,lm", *args), 10)


def test_einsum_of_sublists_and_preferred_types():
    x, y = data((2, 3)), data((3, 4))
    check_value(
        lambda x, y: pnp.einsum(x, [0, 1], y, [1, 2], [0, 2]),
        lambda x, y: jnp.einsum(x, [0, 1], y, [1, 2], [0, 2]),
        x,
        y,
    )
    check_value(
        lambda x, y: pnp.einsum(x, [..., 0, 1], y, [1, 2]), lambda x, y: jnp.einsum(x, [..., 0, 1], y, [1, 2]), x, y
    )
    narrow = np.full((3, 60), 100, "int8")
    for subscripts in ("ij,ij->i", "ij,kj->ik", "ij,kl->", "ij,kj->", "ij,ij->ij"):
        close(
            pnp.einsum(subscripts, narrow, narrow, preferred_element_type="int32"),
            np.einsum(subscripts, narrow.astype("int32"), narrow.astype("int32")),
        )
    assert pnp.einsum_path("ij,jk,kl", *[np.ones((2, 2))] * 3)[0] == [(0, 1), (0, 1)]


def test_a_product_of_two_is_one_equation():
    x, y = data((2, 3, 4, 5)), data((2, 6, 4, 5))
    jaxpr = pb.make_jaxpr(lambda x, y: pnp.einsum("bthd,bshd->bhts", x, y))(x, y)
    assert [eqn.primitive.name for eqn in jaxpr.jaxpr.eqns] == ["dot_general"]


EINSUM_ERRORS = [
    (("ij,jk", (2, 3)), "names 2 operands, got 1"),
    (("ij", (2, 3, 4)), "names 2 axes, its operand has 3"),
    (("ij,jk", (2, 3), (4, 5)), "axis 'j' of 'ij,jk' has lengths 3 and 4"),
    (("ij->k", (2, 3)), "names k, which no operand"),
    (("ij->ii", (2, 3)), "names an axis of the result twice"),
    (("i1", (2, 3)), "expected letters"),
    (("...ijk", (2, 3)), "names 3 axes, its operand has 2"),
]


@pytest.mark.parametrize(("case", "message"), EINSUM_ERRORS)
def test_einsum_refuses(case, message):
    subscripts, *shapes = case
    with pytest.raises(ValueError, match=message):
        pnp.einsum(subscripts, *[data(shape) for shape in shapes])


REFUSED = [
    (partial(pnp.matmul, data((2, 3)), data((2, 3))), TypeError, "got 3 and 2 in shapes"),
    (partial(pnp.matmul, 1.0, data((2, 3))), ValueError, "must have at least 1 axis"),
    (partial(pnp.matmul, data((2, 3, 4)), data((3, 4, 5))), ValueError, "matmul: shapes"),
    (partial(pnp.matmul, [[1.0]], data((1, 1))), TypeError, "matmul: argument 0"),
    (partial(pnp.dot, data((2, 3)), data((2, 3))), TypeError, "dot: axes"),
    (partial(pnp.tensordot, data((2, 3)), data((2, 3)), 1), TypeError, "must have equal lengths"),
    (partial(pnp.tensordot, data((2, 3)), data((2, 3)), 3), TypeError, "exceeds the rank"),
    (partial(pnp.tensordot, data((2, 3)), data((2, 3)), ((0, 1), (0,))), TypeError, "as many axes of a as of b"),
    (partial(pnp.cross, data((4,)), data((3,))), ValueError, "2 or 3 components, got 4 and 3"),
    (partial(pnp.convolve, data((2, 2)), data((2,))), ValueError, "expected two vectors"),
    (partial(pnp.convolve, data((2,)), data((2,)), "whole"), ValueError, "mode must be"),
    (partial(pnp.einsum, "i"), ValueError, "at least one operand"),
    (partial(linalg.norm, data((2, 2, 2)), 1), ValueError, "expected vectors or matrices"),
    (partial(linalg.norm, data((2, 2)), 3), ValueError, "nuc"),
    (partial(linalg.norm, data((2,)), "fro"), ValueError, "is a norm of matrices"),
    (partial(linalg.matrix_power, data((2, 3)), 2), TypeError, "square matrices"),
    (partial(linalg.multi_dot, [data((2, 3))]), ValueError, "at least two arrays"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- linalg ---


@pytest.mark.parametrize("order", [None, 0, 1, 2, 3, -2, np.inf, -np.inf, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "complex64", "int32"])
def test_norms_of_vectors(order, dtype):
    x = data((3, 4), dtype) + np.ones((), dtype)
    for axis in (0, -1):
        agree(linalg.norm, jnp.linalg.norm, x, ord=order, axis=axis)
    check_value(lambda x: linalg.norm(x, order), lambda x: jnp.linalg.norm(x, order), x[0])
    if order is not None and dtype != "int32":
        check_value(
            lambda x: linalg.vector_norm(x, ord=order, axis=(0, 1)),
            lambda x: jnp.linalg.vector_norm(x, ord=order, axis=(0, 1)),
            x,
        )
    if dtype == "float32" and order != 0:
        np.testing.assert_allclose(
            pb.grad(lambda x: linalg.norm(x, order))(x[0]),
            jax.grad(lambda x: jnp.linalg.norm(x, order))(x[0]),
            rtol=1e-4,
            atol=1e-6,
        )


@pytest.mark.parametrize("order", [None, "fro", 1, -1, np.inf, -np.inf])
def test_norms_of_matrices(order):
    x = data((3, 4, 5))
    for axis in ((0, 1), (2, 0)):
        for keepdims in (False, True):
            agree(linalg.norm, jnp.linalg.norm, x, ord=order, axis=axis, keepdims=keepdims)
    check_value(lambda x: linalg.norm(x, order), lambda x: jnp.linalg.norm(x, order), x[0])
    if order is not None:
        check_value(lambda x: linalg.matrix_norm(x, ord=order), lambda x: jnp.linalg.matrix_norm(x, ord=order), x)


def test_powers_and_chains():
    x = data((2, 3, 3)) / 2
    for n in (0, 1, 2, 3, 5):
        agree(linalg.matrix_power, jnp.linalg.matrix_power, x, n=n)
    check_derivative(lambda x: linalg.matrix_power(x, 3), x)
    chain = [data((2, 3)), data((3, 4)), data((4, 5)), data((5, 2))]
    check_value(lambda *a: linalg.multi_dot(a), lambda *a: jnp.linalg.multi_dot(a), *chain)
    check_value(
        lambda *a: linalg.multi_dot(a), lambda *a: jnp.linalg.multi_dot(a), chain[0][0], chain[1], chain[2][:, 0]
    )


@pytest.mark.parametrize(("left", "right"), [((2,), (3,)), ((3,), (2,)), ((4, 2), (2,))])
def test_cross_products_in_the_plane(left, right):
    """A vector of the plane is one of space without height; JAX from 0.11 on knows those of space alone."""
    x, y = data(left), data(right)

    def in_space(v):
        return np.concatenate([v, np.zeros((*v.shape[:-1], 3 - v.shape[-1]), v.dtype)], -1)

    expected = np.asarray(jnp.cross(in_space(x), in_space(y)))
    if left[-1] == right[-1] == 2:
        expected = expected[..., 2]
    for run in (pnp.cross, pb.jit(pnp.cross)):
        np.testing.assert_allclose(run(x, y), expected, rtol=1e-5, atol=1e-6)
