"""Python functions and objects beside the devices of their arguments, under JAX's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from pullback._core.errors import boundary, described
from pullback._core.meshes import Mesh
from pullback._core.typing import AnyValue, PyTree
from pullback._xla import platforms
from pullback.experimental.colocated_python.func import ColocatedFunction

__all__ = ["colocated_cpu_devices", "colocated_python", "colocated_python_class"]


@boundary
def colocated_cpu_devices(devices_or_mesh: Sequence[Any] | Mesh) -> Sequence[Any] | Mesh:
    """The processor's devices beside the devices of a list, or of a mesh, in the same process and order.

    A device of the processor stands for itself. ValueError where a process has fewer devices of the processor.

    >>> import pullback as pb
    >>> colocated_cpu_devices(pb.devices()[:1]) == pb.devices("cpu")[:1]
    True
    """
    if isinstance(devices_or_mesh, Mesh):
        found = colocated_cpu_devices(devices_or_mesh.devices.ravel().tolist())
        shape = devices_or_mesh.devices.shape
        return Mesh(np.array(found).reshape(shape), devices_or_mesh.axis_names, axis_types=devices_or_mesh.axis_types)
    taken: dict[int, list[Any]] = {}
    for device in platforms.devices(platforms.HOST):
        taken.setdefault(device.process_index, []).append(device)
    return [_beside(device, taken) for device in devices_or_mesh]


def _beside(device: Any, free: dict[int, list[Any]]) -> Any:
    if platforms.name_of(device) == platforms.HOST:
        return device
    if not free.get(device.process_index):
        raise ValueError(
            f"colocated_cpu_devices: process {device.process_index} has no device of the processor left for {device}; "
            "PULLBACK_NUM_CPU_DEVICES says how many there are"
        )
    return free[device.process_index].pop(0)


@boundary
def colocated_python(fun: Callable[..., PyTree]) -> ColocatedFunction:
    """A function that runs in Python on the host of its arguments' devices; its results are arrays there.

    The host is this process: for devices of others, a call raises RuntimeError. TypeError for anything but a function.

    >>> import pullback as pb, numpy as np
    >>> colocated_python(lambda x: np.sort(x))(pb.numpy.array([3, 1, 2]))
    Array([1, 2, 3], dtype=int32)
    """
    if not callable(fun):
        raise TypeError(f"colocated_python: fun must be a function, got {described(fun)}")
    return ColocatedFunction(fun)


@boundary
def colocated_python_class(cls: type) -> type:
    """A class whose methods run on the host of their arguments' devices. The object is made at the first call of one.

    TypeError for anything but a class.

    >>> class Counter:
    ...     def __init__(self, start):
    ...         self.count = start
    ...     def add(self, x):
    ...         self.count += x
    ...         return self.count
    >>> import pullback as pb
    >>> counter = colocated_python_class(Counter)(3)
    >>> counter.add(pb.numpy.int32(4))
    Array(7, dtype=int32)
    """
    if not isinstance(cls, type):
        raise TypeError(f"colocated_python_class: cls must be a class, got {described(cls)}")

    class Colocated:
        """An object on the host of the devices that its methods are called with."""

        def __init__(self, *args: AnyValue, **kwargs: AnyValue):
            self._made = partial(cls, *args, **kwargs)

        @cached_property
        def _object(self) -> Any:
            return self._made()

        def __getattr__(self, name: str) -> ColocatedFunction:
            if name.startswith("_") or not callable(getattr(cls, name, None)):
                raise AttributeError(f"an object of colocated_python_class({cls.__name__}) has no method {name!r}")

            def method(*args: AnyValue, **kwargs: AnyValue) -> PyTree:
                return getattr(self._object, name)(*args, **kwargs)

            method.__name__ = name
            return ColocatedFunction(method)

    Colocated.__name__, Colocated.__qualname__, Colocated.__module__ = cls.__name__, cls.__qualname__, cls.__module__
    return Colocated
