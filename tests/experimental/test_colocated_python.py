"""Python functions on the host of their arguments' devices: `experimental.colocated_python`."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental import colocated_python as cp
from pullback.experimental.colocated_python.func import ColocatedFunction


class Elsewhere:
    """A device of another process."""

    process_index = 3


class Sums:
    def __init__(self, start):
        self.made = True
        self.total = start

    def add(self, x):
        self.total = self.total + np.sum(x)
        return self.total


def sorted_by_numpy(x):
    assert type(x) is not pb.core.Tracer
    return np.sort(x)


def split(x, *, at):
    return {"low": x[: int(at)], "high": x[int(at) :]}


def nothing():
    return np.float32(4)


def test_a_function_runs_in_python_where_its_argument_is():
    device = pb.devices()[2]
    x = pb.device_put(pnp.array([3.0, 1.0, 2.0]), device)
    result = cp.colocated_python(sorted_by_numpy)(x)
    assert result.devices() == {device}
    np.testing.assert_array_equal(result, [1, 2, 3])


def test_results_are_put_where_the_types_of_results_say():
    place = pb.NamedSharding(pb.make_mesh((2,), ("x",), devices=pb.devices()[:2]), pb.P("x"))

    def types_of_results(x, *, at):
        assert (x.shape, at.dtype) == ((4,), np.int32)
        half = pb.ShapeDtypeStruct((2,), x.dtype, sharding=place)
        return {"low": half, "high": half}

    f = cp.colocated_python(split).specialize(out_specs_fn=types_of_results)
    result = f(pnp.arange(4.0), at=pnp.int32(2))
    assert result["high"].sharding == place
    np.testing.assert_array_equal(result["high"], [2, 3])
    with pytest.raises(TypeError, match=r"results:\n  \['high'\]: expected f32\[2\], got f32\[3\]"):
        f(pnp.arange(4.0), at=pnp.int32(1))


def test_arguments_have_the_types_that_were_said():
    specs = ((pb.ShapeDtypeStruct((3,), np.float32),), {})
    f = cp.colocated_python(sorted_by_numpy).specialize(in_specs=specs)
    np.testing.assert_array_equal(f(pnp.array([2.0, 1.0, 0.0])), [0, 1, 2])
    with pytest.raises(TypeError, match=r"expected f32\[3\], got f32\[2\]"):
        f(pnp.ones(2))


def test_a_function_without_arguments_needs_devices():
    f = cp.colocated_python(nothing)
    with pytest.raises(ValueError, match=r"nothing has no arguments.*specialize\(devices=\.\.\.\)"):
        f()
    assert f.specialize(devices=pb.devices()[1:2])().devices() == {pb.devices()[1]}


def test_devices_of_another_process_are_refused_in_one_line():
    f = ColocatedFunction(nothing, devices=[Elsewhere()])
    with pytest.raises(RuntimeError, match="the devices are of process 3, and Python runs in its own process") as info:
        f()
    assert "\n" not in str(info.value)
    with pytest.raises(TypeError, match="fun must be a function"):
        cp.colocated_python(3)
    with pytest.raises(TypeError, match="cls must be a class"):
        cp.colocated_python_class(nothing)


def test_an_object_is_made_at_the_first_call_and_stays():
    sums = cp.colocated_python_class(Sums)(1.0)
    assert type(sums).__name__ == "Sums"
    assert float(sums.add(pnp.ones(3))) == 4
    assert float(sums.add(pnp.ones(2))) == 6
    with pytest.raises(AttributeError, match="has no method 'total'"):
        _ = sums.total


def test_devices_of_the_processor_stand_for_themselves():
    mesh = pb.make_mesh((2, 4), ("a", "b"))
    assert cp.colocated_cpu_devices(mesh) == mesh
    assert cp.colocated_cpu_devices(pb.devices()[3:5]) == pb.devices()[3:5]
