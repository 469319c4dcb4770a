"""Meshes: made of the devices, and set as the current one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ContextDecorator
from math import prod
from typing import Any

import numpy as np

from pullback._core.config import config, set_state
from pullback._core.errors import boundary, described
from pullback._core.meshes import NO_MESH, AbstractMesh, AxisType, Mesh
from pullback._core.sharding import PartitionSpec, SingleDeviceSharding
from pullback._core.tree import tree_leaves
from pullback._core.tree_paths import broadcast_prefix, keystr, tree_flatten_with_path
from pullback._core.typing import PyTree, PyTreePrefix
from pullback._higher_order.bodies import lift_tree
from pullback._ops.sharding_constraint import check_fits, sharding_constraint_p, sharding_of
from pullback._xla import platforms


@boundary
def make_mesh(
    axis_shapes: Sequence[int],
    axis_names: Sequence[Any],
    axis_types: tuple[AxisType, ...] | None = None,
    *,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh of the devices, or of those given, with axes of these lengths.

    Args:
      axis_shapes: the lengths of the axes; their product is the number of devices that are used, the first ones.
      axis_names: a name for each axis.
      axis_types: what decides how arrays are spread along each axis; by default `AxisType.Explicit`, as in JAX. Types
        of arrays do not hold their shardings here, so that explicit axes behave as automatic ones.
      devices: the devices to use.

    ValueError for more devices than there are.

    >>> make_mesh((1, 1), ("data", "model")).size
    1
    """
    given = platforms.devices() if devices is None else list(devices)
    needed = prod(axis_shapes)
    if needed > len(given):
        more = (
            ""
            if devices is not None
            else ' For more devices on a processor, set pullback.config.update("num_cpu_devices", n) at the start.'
        )
        raise ValueError(
            f"make_mesh: a mesh of shape {tuple(axis_shapes)} needs {needed} devices, and there "
            f"{'is 1' if len(given) == 1 else f'are {len(given)}'}.{more}"
        )
    kinds = (AxisType.Explicit,) * len(axis_names) if axis_types is None else axis_types
    return Mesh(np.array(given[:needed], dtype=object).reshape(tuple(axis_shapes)), axis_names, kinds)


def get_mesh() -> Mesh:
    """The mesh that was set by `set_mesh`, or entered; an empty one if none was. Raises nothing.

    >>> get_mesh().empty
    True
    """
    found = next((mesh for mesh in reversed(config.meshes) if isinstance(mesh, Mesh)), None)
    return _EMPTY if found is None else found


def get_abstract_mesh() -> AbstractMesh:
    """The axes of the mesh that was set; none if none was. Raises nothing.

    >>> get_abstract_mesh()
    AbstractMesh((), axis_types=())
    """
    return config.meshes[-1].abstract_mesh if config.meshes else NO_MESH


_EMPTY = Mesh(np.empty((), dtype=object), ())
_EMPTY.devices = np.empty((0,), dtype=object)


class set_mesh(ContextDecorator):
    """Make a mesh the current one: as a function for good, as a context manager until the context ends.

    Specs without a mesh mean this one, and compiled functions run on its devices if no argument was placed elsewhere.

    TypeError for anything but a mesh and None.

    >>> with set_mesh(make_mesh((1,), ("x",))):
    ...     get_mesh().axis_names
    ('x',)
    """

    def __init__(self, mesh: AbstractMesh | None):
        if mesh is not None and not isinstance(mesh, AbstractMesh):
            raise TypeError(f"set_mesh: expected a mesh, got {described(mesh)}")
        self._outer = config.meshes, config.mesh_of_programs
        set_state("meshes", () if mesh is None else (*config.meshes, mesh))
        set_state("mesh_of_programs", mesh if isinstance(mesh, Mesh) else None)

    def __enter__(self) -> set_mesh:
        return self

    def __exit__(self, *error: object) -> None:
        set_state("meshes", self._outer[0])
        set_state("mesh_of_programs", self._outer[1])


class use_abstract_mesh(set_mesh):
    """Context manager: the axes of a mesh as the current ones.

    >>> with use_abstract_mesh(AbstractMesh((1,), ("x",))):
    ...     get_abstract_mesh().axis_names
    ('x',)
    """


def make_single_device_sharding(device: Any, *, memory_kind: str | None = None) -> SingleDeviceSharding:
    """The placement of an array on one device. ValueError for a kind of memory that the device has not.

    >>> make_single_device_sharding(platforms.first()).num_devices
    1
    """
    return SingleDeviceSharding(device, memory_kind=memory_kind)


def places_of(function: str, argument: str, tree: PyTree, what: str, places: PyTreePrefix) -> list[Any]:
    """The sharding (or None) for each leaf of `tree`, the argument `what`, of the pytree prefix `places`."""
    count = len(tree_leaves(tree))
    if places is None or (not isinstance(places, (tuple, list, dict)) and len(tree_leaves(places)) == 1):
        return [sharding_of(f"{function}: {argument}", places)] * count
    try:
        flat = broadcast_prefix(places, tree, is_leaf=lambda x: x is None or isinstance(x, PartitionSpec))
    except ValueError as error:
        raise ValueError(f"{function}: {argument} does not fit {what}: {error}") from None
    return [sharding_of(f"{function}: {argument}", place) for place in flat]


def _constrained(function: str, what: str, tree: PyTree, argument: str, shardings: PyTreePrefix) -> PyTree:
    arrays, treedef = lift_tree(function, what, tree)
    places = places_of(function, argument, tree, what, shardings)
    results = []
    for i, (x, place) in enumerate(zip(arrays, places, strict=True)):
        if place is not None:
            path = keystr(tree_flatten_with_path(tree)[0][i][0])
            check_fits(f"{function}: {what}{path}", place, x.aval.shape)
            x = sharding_constraint_p.bind(x, sharding=place)
        results.append(x)
    return treedef.unflatten(results)


@boundary
def with_sharding_constraint(x: PyTree, shardings: PyTreePrefix) -> PyTree:
    """The leaves of a pytree, as arrays, which the compiler is to place as `shardings` says; eagerly they are moved.

    Args:
      x: a pytree of arrays and numbers.
      shardings: a sharding, a `PartitionSpec` over the current mesh, a device or None (no constraint), or a pytree
        prefix of these. `PartitionSpec.UNCONSTRAINED` leaves an axis to the compiler.

    ValueError for a spec that does not fit the array, TypeError for anything but arrays and numbers.

    >>> import pullback as pb
    >>> spec = pb.sharding.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> print(with_sharding_constraint(pb.numpy.ones(2), spec))
    [1. 1.]
    """
    return _constrained("with_sharding_constraint", "x", x, "shardings", shardings)


@boundary
def reshard(xs: PyTree, out_shardings: PyTreePrefix) -> PyTree:
    """The leaves of a pytree, as arrays, spread as `out_shardings` says, see `with_sharding_constraint`.

    ValueError for a spec that does not fit the array, TypeError for anything but arrays and numbers.

    >>> import pullback as pb
    >>> print(reshard(pb.numpy.ones(2), pb.P(None)))
    [1. 1.]
    """
    return _constrained("reshard", "xs", xs, "out_shardings", out_shardings)
