"""Names under which programs of several devices asked for functions before."""

import numpy as np
import pytest

import pullback as pb
from pullback.experimental import mesh_utils
from pullback.experimental.pjit import pjit
from pullback.experimental.shard_map import shard_map

X = np.arange(16, dtype=np.float32).reshape(8, 2)


def test_a_program_with_the_former_names():
    mesh = pb.sharding.Mesh(mesh_utils.create_device_mesh((4, 2)), ("x", "y"))
    total = shard_map(lambda x: pb.lax.psum(x, "x"), mesh, pb.P("x"), pb.P())
    np.testing.assert_array_equal(total(X), X.reshape(4, 2, 2).sum(0))
    part = shard_map(lambda x: pb.lax.psum(x, "x"), mesh, pb.P("x"), pb.P(), check_rep=False, auto=frozenset({"y"}))
    np.testing.assert_array_equal(pb.jit(part)(X), total(X))
    with mesh:
        doubled = pjit(lambda x: x * 2, in_shardings=pb.P("x"), out_shardings=pb.P("y"))(X)
    assert doubled.sharding.spec == pb.P("y")


def test_arrays_of_devices():
    assert [d.id for d in mesh_utils.create_device_mesh((2, 4)).flat] == list(range(8))
    assert mesh_utils.create_hybrid_device_mesh((2, 4), (1, 1)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"a mesh of shape \(3,\) has 3 devices, got 8"):
        mesh_utils.create_device_mesh((3,))
    with pytest.raises(ValueError, match="expected 2 processes of 4 devices"):
        mesh_utils.create_hybrid_device_mesh((4,), (2,))
    with pytest.raises(ValueError, match="expected shapes of one length"):
        mesh_utils.create_hybrid_device_mesh((4,), (2, 1))
