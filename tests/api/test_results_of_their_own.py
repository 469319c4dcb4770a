"""What leaves an operand unchanged gives an array of its own where JAX does; it outlives donation of the operand."""

from operator import attrgetter, methodcaller

import jax
import numpy as np
import pytest

import pullback as pb

FLOATS, MATRIX, INTS = np.arange(3, dtype="float32"), np.eye(3, dtype="float32"), np.arange(3, dtype="uint32")
CUBE, NUMBER = np.ones((1, 1, 3), "float32"), np.float32(2)

# Functions of a library that leave an operand as it is: the operand, the function's name, what it is given beside it.
OWN = [
    (FLOATS, "numpy.positive"),
    (FLOATS, "numpy.real"),
    (FLOATS, "numpy.conj"),
    (FLOATS, "numpy.clip"),
    (FLOATS, "numpy.squeeze"),
    (CUBE, "numpy.squeeze", ()),
    (FLOATS, "numpy.expand_dims", ()),
    (MATRIX, "numpy.swapaxes", 1, 1),
    (MATRIX, "numpy.moveaxis", 1, 1),
    (MATRIX, "numpy.rollaxis", 0),
    (FLOATS, "numpy.roll", 0),
    (MATRIX, "numpy.roll", 3, 1),
    (FLOATS, "numpy.flip", ()),
    (MATRIX, "numpy.rot90", 4),
    (FLOATS, "numpy.pad", 0),
    (FLOATS, "numpy.pad", 0, "reflect"),
    (FLOATS, "numpy.tile", 1),
    (FLOATS, "numpy.atleast_1d"),
    (CUBE, "numpy.atleast_3d"),
    (FLOATS, "numpy.delete", np.zeros(0, int)),
    (FLOATS, "numpy.resize", 3),
    (FLOATS, "numpy.diff", 0),
    (MATRIX, "numpy.linalg.matrix_power", 1),
    (FLOATS, "numpy.fft.fftshift", ()),
    (INTS, "numpy.abs"),
    (INTS, "numpy.floor"),
    (INTS, "numpy.trunc"),
    (INTS, "numpy.round", 1),
    (INTS, "numpy.nan_to_num"),
    (NUMBER, "numpy.reshape", ()),
    (FLOATS, "nn.identity"),
    (FLOATS, "lax.rev", ()),
    (FLOATS, "lax.pad", 0.0, ((0, 0, 0),)),
    (FLOATS, "lax.broadcast_in_dim", (3,), (0,)),
    (FLOATS, "lax.expand_dims", ()),
    (FLOATS, "lax.reduce_sum", ()),
]
OWN_OF_LISTS = [(FLOATS, "numpy.hstack"), (MATRIX, "numpy.vstack"), (CUBE, "numpy.dstack"), (FLOATS, "numpy.block")]
OWN_METHODS = [(FLOATS, "__pos__"), (FLOATS, "conj"), (FLOATS, "clip"), (MATRIX, "swapaxes", 1, 1), (INTS, "round")]


def real_part(library, x):
    return x.real


def first_of_several(library, x):
    return library.numpy.atleast_2d(x, x)[0]


def first_of_broadcast(library, x):
    return library.numpy.broadcast_arrays(x)[0]


def einsum(library, x):
    return library.numpy.einsum("ij->ij", x)


def choose(library, x):
    return library.numpy.choose(0, [x])


# what is the operand itself in both libraries, and dies with it
THE_OPERAND = [(MATRIX, "numpy.transpose", (0, 1)), (FLOATS, "numpy.broadcast_to", (3,)), (FLOATS, "numpy.asarray")]
METHODS_THE_OPERAND = [(FLOATS, "reshape", 3), (FLOATS, "astype", np.dtype("float32"))]


def transposed(library, x):
    return x.T


def concatenate_one(library, x):
    return library.numpy.concatenate([x])


def call(name, *args):
    def function(library, x):
        return attrgetter(name)(library)(x, *args)

    return function


def call_of_a_list(name):
    def function(library, x):
        return attrgetter(name)(library)([x])

    return function


def method(name, *args):
    def function(library, x):
        return methodcaller(name, *args)(x)

    return function


def cases(*groups):
    """Pairs of an operand and a function of a library and it, with ids."""
    return [
        pytest.param(operand, make(*rest), id=f"{make.__name__} {rest}")
        for make, rows in groups
        for operand, *rest in rows
    ]


def lives(library, function, value):
    """Whether the result is there once the operand, which no other holds, is deleted; its values are the operand's."""
    x = library.numpy.asarray(value) + library.numpy.zeros((), value.dtype)
    y = function(library, x)
    np.testing.assert_array_equal(np.asarray(y), value)
    assert (y.dtype, y.weak_type) == (x.dtype, x.weak_type)
    x.delete()
    return not y.is_deleted()


@pytest.mark.parametrize(
    ("value", "function"),
    [
        *cases((call, OWN), (call_of_a_list, OWN_OF_LISTS), (method, OWN_METHODS)),
        (FLOATS, real_part),
        (MATRIX, first_of_several),
        (FLOATS, first_of_broadcast),
        (MATRIX, einsum),
        (FLOATS, choose),
    ],
)
def test_an_operand_that_comes_back_unchanged_comes_back_as_another_array(value, function):
    assert lives(pb, function, value)
    assert lives(jax, function, value)


@pytest.mark.parametrize(
    ("value", "function"),
    [*cases((call, THE_OPERAND), (method, METHODS_THE_OPERAND)), (FLOATS, transposed), (FLOATS, concatenate_one)],
)
def test_what_is_the_operand_itself_dies_with_it(value, function):
    assert not lives(pb, function, value)
    assert not lives(jax, function, value)


def test_donation_writes_over_no_result_that_shares_the_data():
    overwrite = pb.jit(lambda x: x * 0 - 7, donate_argnums=0)
    big = np.arange(100_000, dtype="float32")
    for on_device in (False, True):
        x = pb.numpy.asarray(big) * 1
        x = pb.jit(lambda v: v + 0)(x) if on_device else x
        kept = +x
        overwrite(x)
        assert x.is_deleted()
        np.testing.assert_array_equal(np.asarray(kept), big)
        overwrite(kept)
        assert kept.is_deleted()
