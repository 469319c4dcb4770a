"""`packbits` and `unpackbits` against NumPy, which JAX agrees with."""

import itertools

import numpy as np
import pytest
from agreement import close

import pullback as pb
import pullback.numpy as pnp

VALUES = np.random.default_rng(0).integers(0, 3, (3, 11, 2))


@pytest.mark.parametrize(("axis", "order"), [*itertools.product((None, 0, 1, -1), ("big", "little"))])
def test_bits_are_packed_and_unpacked(axis, order):
    for dtype in ("bool", "int8", "uint32"):
        packed = np.packbits(VALUES.astype(dtype), axis, order)
        for run in (pnp.packbits, pb.jit(pnp.packbits, static_argnums=(1, 2))):
            close(run(VALUES.astype(dtype), axis, order), packed)
    for count in (None, 0, 5, -3, 7):
        close(pnp.unpackbits(packed, axis, count, order), np.unpackbits(packed, axis, count, order))


def test_small_arrays_and_batches():
    close(pnp.packbits(np.zeros(0, bool)), np.packbits(np.zeros(0, bool)))
    close(pnp.packbits(np.zeros((2, 0), bool), 1), np.packbits(np.zeros((2, 0), bool), 1))
    close(pnp.packbits(True), np.array([128], "uint8"))
    close(pnp.unpackbits(np.uint8(3)), np.array([0] * 6 + [1, 1], "uint8"))
    close(pnp.unpackbits(np.array([7], "uint8"), count=10), np.array([0] * 5 + [1] * 3 + [0] * 2, "uint8"))
    close(pb.vmap(pnp.packbits)(VALUES), np.stack([np.packbits(v) for v in VALUES]))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pnp.packbits(np.ones(3)), TypeError, "packbits: expected integers or bools, got f32"),
        (lambda: pnp.packbits(VALUES, 3), ValueError, "out of bounds"),
        (lambda: pnp.packbits(VALUES, bitorder="middle"), ValueError, "bitorder must be 'big' or 'little'"),
        (lambda: pnp.unpackbits(np.ones(3, "int8")), TypeError, "unpackbits: expected uint8"),
    ],
)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
