"""The same computation on eight devices in this library and in JAX: values, and which device holds which part."""

import functools

import jax
import jax.numpy
import numpy as np

import pullback as pb
import pullback.numpy

LIBRARIES = (pb, jax)


@functools.cache
def mesh(lib, shape=(2, 4), names=("a", "b"), order=tuple(range(8))):
    """A mesh of the first devices in an order, with automatic axes."""
    devices = [lib.devices()[i] for i in order[: int(np.prod(shape))]]
    return lib.sharding.Mesh(np.array(devices, object).reshape(shape), names)


def over(lib, *spec, **which):
    """The sharding of a spec over a mesh."""
    return lib.sharding.NamedSharding(mesh(lib, **which), lib.P(*spec))


def put(lib, value, *spec, **which):
    """An array over a mesh."""
    return lib.device_put(value, over(lib, *spec, **which))


def parts_by_device(sharding, shape):
    """The part of an array that each device holds, by the device's number, as pairs of start and stop."""
    return {
        device.id: tuple((0 if s.start is None else s.start, n if s.stop is None else s.stop) for s, n in zip(i, shape))
        for device, i in sharding.devices_indices_map(shape).items()
    }


def same_places(ours, theirs):
    """Check that the leaves of two results are on the same devices in the same parts."""
    mine, their = pb.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(mine) == len(their)
    for x, y in zip(mine, their):
        assert parts_by_device(x.sharding, x.shape) == parts_by_device(y.sharding, y.shape), (x.sharding, y.sharding)


def same_values(ours, theirs, places=False, tolerance=1e-5):
    """Check that the leaves of two results have equal types and values, and if asked equal places."""
    mine, their = pb.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(mine) == len(their)
    for x, y in zip(mine, their):
        a, b = np.asarray(x), np.asarray(y)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype.kind in "fcV" and a.dtype.names is None:
            a, b = a.astype(complex), b.astype(complex)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    if places:
        same_places(ours, theirs)


def both(compute, places=True):
    """Compute with both libraries, check that values, and places, are the same, and return ours."""
    ours, theirs = [compute(lib) for lib in LIBRARIES]
    same_values(ours, theirs, places)
    return ours


def refusal(call, *args, **keywords):
    """The type and the message of the error that a call raises."""
    try:
        call(*args, **keywords)
    except Exception as error:  # whichever it is
        return type(error), str(error)
    raise AssertionError("nothing was refused")
