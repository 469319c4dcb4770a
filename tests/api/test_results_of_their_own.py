"""What leaves an operand unchanged gives an array of its own where JAX does; it outlives donation of the operand."""

import jax
import numpy as np
import pytest

import pullback as pb

FLOATS, MATRIX, INTS = np.arange(3, dtype="float32"), np.eye(3, dtype="float32"), np.arange(3, dtype="uint32")
CUBE, NUMBER = np.ones((1, 1, 3), "float32"), np.float32(2)

# functions of a library `L` that leave an operand as it is
OWN = {
    "+x": (FLOATS, lambda L, x: +x),
    "positive": (FLOATS, lambda L, x: L.numpy.positive(x)),
    "real": (FLOATS, lambda L, x: L.numpy.real(x)),
    "conj": (FLOATS, lambda L, x: L.numpy.conj(x)),
    "x.real": (FLOATS, lambda L, x: x.real),
    "x.conj": (FLOATS, lambda L, x: x.conj()),
    "clip": (FLOATS, lambda L, x: L.numpy.clip(x)),
    "x.clip": (FLOATS, lambda L, x: x.clip()),
    "squeeze": (FLOATS, lambda L, x: L.numpy.squeeze(x)),
    "squeeze, no axis": (CUBE, lambda L, x: L.numpy.squeeze(x, ())),
    "expand_dims": (FLOATS, lambda L, x: L.numpy.expand_dims(x, ())),
    "swapaxes": (MATRIX, lambda L, x: L.numpy.swapaxes(x, 1, 1)),
    "x.swapaxes": (MATRIX, lambda L, x: x.swapaxes(1, 1)),
    "moveaxis": (MATRIX, lambda L, x: L.numpy.moveaxis(x, 1, 1)),
    "rollaxis": (MATRIX, lambda L, x: L.numpy.rollaxis(x, 0)),
    "roll": (FLOATS, lambda L, x: L.numpy.roll(x, 0)),
    "roll, axis": (MATRIX, lambda L, x: L.numpy.roll(x, 3, 1)),
    "flip": (FLOATS, lambda L, x: L.numpy.flip(x, ())),
    "rot90": (MATRIX, lambda L, x: L.numpy.rot90(x, 4)),
    "pad": (FLOATS, lambda L, x: L.numpy.pad(x, 0)),
    "pad, reflect": (FLOATS, lambda L, x: L.numpy.pad(x, 0, mode="reflect")),
    "tile": (FLOATS, lambda L, x: L.numpy.tile(x, 1)),
    "hstack": (FLOATS, lambda L, x: L.numpy.hstack([x])),
    "vstack": (MATRIX, lambda L, x: L.numpy.vstack([x])),
    "dstack": (CUBE, lambda L, x: L.numpy.dstack([x])),
    "block": (FLOATS, lambda L, x: L.numpy.block([x])),
    "atleast_1d": (FLOATS, lambda L, x: L.numpy.atleast_1d(x)),
    "atleast_2d, several": (MATRIX, lambda L, x: L.numpy.atleast_2d(x, x)[0]),
    "atleast_3d": (CUBE, lambda L, x: L.numpy.atleast_3d(x)),
    "broadcast_arrays": (FLOATS, lambda L, x: L.numpy.broadcast_arrays(x)[0]),
    "einsum": (MATRIX, lambda L, x: L.numpy.einsum("ij->ij", x)),
    "delete": (FLOATS, lambda L, x: L.numpy.delete(x, np.zeros(0, int))),
    "resize": (FLOATS, lambda L, x: L.numpy.resize(x, 3)),
    "diff": (FLOATS, lambda L, x: L.numpy.diff(x, 0)),
    "choose": (FLOATS, lambda L, x: L.numpy.choose(0, [x])),
    "matrix_power": (MATRIX, lambda L, x: L.numpy.linalg.matrix_power(x, 1)),
    "fftshift": (FLOATS, lambda L, x: L.numpy.fft.fftshift(x, ())),
    "abs of unsigned": (INTS, lambda L, x: L.numpy.abs(x)),
    "floor of integers": (INTS, lambda L, x: L.numpy.floor(x)),
    "trunc of integers": (INTS, lambda L, x: L.numpy.trunc(x)),
    "round of integers": (INTS, lambda L, x: L.numpy.round(x, 1)),
    "x.round of integers": (INTS, lambda L, x: x.round()),
    "nan_to_num of integers": (INTS, lambda L, x: L.numpy.nan_to_num(x)),
    "reshape of a number": (NUMBER, lambda L, x: L.numpy.reshape(x, ())),
    "nn.identity": (FLOATS, lambda L, x: L.nn.identity(x)),
    "lax.rev": (FLOATS, lambda L, x: L.lax.rev(x, ())),
    "lax.pad": (FLOATS, lambda L, x: L.lax.pad(x, 0.0, ((0, 0, 0),))),
    "lax.broadcast_in_dim": (FLOATS, lambda L, x: L.lax.broadcast_in_dim(x, (3,), (0,))),
    "lax.expand_dims": (FLOATS, lambda L, x: L.lax.expand_dims(x, ())),
    "lax.reduce_sum": (FLOATS, lambda L, x: L.lax.reduce_sum(x, ())),
}
# what is the operand itself in both libraries, and dies with it
THE_OPERAND = {
    "x.T": (FLOATS, lambda L, x: x.T),
    "transpose": (MATRIX, lambda L, x: L.numpy.transpose(x, (0, 1))),
    "broadcast_to": (FLOATS, lambda L, x: L.numpy.broadcast_to(x, (3,))),
    "reshape": (FLOATS, lambda L, x: x.reshape(3)),
    "asarray": (FLOATS, lambda L, x: L.numpy.asarray(x)),
    "astype": (FLOATS, lambda L, x: x.astype(x.dtype)),
    "concatenate": (FLOATS, lambda L, x: L.numpy.concatenate([x])),
}


def lives(library, function, value):
    """Whether the result is there once the operand, which no other holds, is deleted; its values are the operand's."""
    x = library.numpy.asarray(value) + library.numpy.zeros((), value.dtype)
    y = function(library, x)
    np.testing.assert_array_equal(np.asarray(y), value)
    assert (y.dtype, y.weak_type) == (x.dtype, x.weak_type)
    x.delete()
    return not y.is_deleted()


@pytest.mark.parametrize("name", OWN)
def test_an_operand_that_comes_back_unchanged_comes_back_as_another_array(name):
    value, function = OWN[name]
    assert lives(pb, function, value)
    assert lives(jax, function, value)


@pytest.mark.parametrize("name", THE_OPERAND)
def test_what_is_the_operand_itself_dies_with_it(name):
    value, function = THE_OPERAND[name]
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
