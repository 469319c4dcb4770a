"""typeof, the types for annotations, and what there is to know of processes."""

import numpy as np
import pytest

import pullback as pb
from pullback.typing import ArrayLike, DTypeLike


def test_types_of_values():
    assert pb.typeof(np.ones((2, 3), np.int8)).str_short() == "i8[2,3]"
    assert pb.typeof(1.0).weak_type
    seen = []
    pb.jit(pb.vmap(lambda x: seen.append(pb.typeof(x))))(np.ones((2, 3), np.float32))
    assert (seen[0].shape, seen[0].dtype) == ((3,), np.float32)
    with pytest.raises(TypeError, match="typeof: expected an array or a number"):
        pb.typeof("x")


def test_types_for_annotations():
    for x in (pb.numpy.ones(2), np.ones(2), np.float32(1), True, 1, 1.0, 1j):
        assert isinstance(x, ArrayLike)
    traced = []
    pb.make_jaxpr(lambda x: traced.append(isinstance(x, ArrayLike)))(1.0)
    assert traced == [True]
    assert not isinstance([1], ArrayLike)
    assert DTypeLike | None


def test_former_names_of_processes():
    for name, new in (("host_id", "process_index"), ("host_count", "process_count"), ("host_ids", "process_indices")):
        with pytest.warns(DeprecationWarning, match=f"{name} is the former name of {new}") as caught:
            assert getattr(pb, name)() == getattr(pb, new)()
        assert caught[0].filename == __file__


def test_there_is_one_process():
    assert (pb.process_index(), pb.process_count("cpu"), pb.local_device_count()) == (0, 1, pb.device_count())
    for fun in (pb.process_index, pb.process_count, pb.local_device_count):
        with pytest.raises(RuntimeError, match=f"{fun.__name__}: Unknown backend 'gpu': the only backend is 'cpu'"):
            fun("gpu")
