"""Arrays on devices: transfers of pytrees, and arrays made of the parts that each device is to hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._api.meshes import places_of
from pullback._api.shared_data import is_global, require_equal
from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, lift
from pullback._core.errors import boundary, described
from pullback._core.hitypes import all_parts, is_own_value, parts_of, registered, value_of
from pullback._core.sharding import Index, Sharding
from pullback._core.trace import context
from pullback._core.tree import tree_unflatten
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.types import make_aval
from pullback._core.typing import DTypeLike, PyTree, PyTreePrefix, ShapeLike
from pullback._higher_order.bodies import lift_tree
from pullback._ops.sharding_constraint import check_fits, sharding_constraint_p, sharding_of, spreads_all
from pullback._xla import engine, placement
from pullback._xla.evaluate import evaluator


@boundary
def device_put(
    x: PyTree,
    device: PyTreePrefix = None,
    *,
    src: PyTreePrefix = None,
    donate: PyTreePrefix = False,
    may_alias: PyTreePrefix = None,
) -> Any:
    """The leaves of a pytree as arrays on a device, or spread over several; values do not change.

    Inside of a traced function it is a constraint for the compiler, as `with_sharding_constraint` is.

    Args:
      x: a pytree of arrays, NumPy data and numbers.
      device: a device, a sharding, a `PartitionSpec` over the current mesh or None, or a pytree prefix of these. With
        None, arrays stay where they are, and others go to the first device.
      src: the placement now, which arrays know; not read.
      donate, may_alias: whether the memory of `x` may be reused for the result. This is always so for arrays, which are
        never modified, and never for NumPy data, which is copied.

    TypeError for anything but an array or a number, ValueError for a sharding that does not fit the array.

    >>> import pullback as pb, numpy as np
    >>> pb.device_put({"a": np.arange(3, dtype="int32")})
    {'a': Array([0, 1, 2], dtype=int32)}
    """
    arrays, tree = lift_tree("device_put", "x", x)
    if device is None:
        for array in all_parts(arrays) if registered and context.trace is evaluator else arrays:
            if type(array) is ConcreteArray:
                engine.put(array)
        return tree_unflatten(tree, arrays)
    places = places_of("device_put", "device", x, "x", device)
    # the usual leaf is sent there without an operation of its own
    direct = {id(place): _transferred(place) for place in places} if context.trace is evaluator else {}
    results: list[Any] = []
    # what must be the same in all processes
    shared: dict[int, Any] = {}
    for i, (array, place) in enumerate(zip(arrays, places, strict=True)):
        if registered and is_own_value(array):
            value: Any = array
            results.append(value_of(value.aval, device_put(parts_of(value.aval, value), place)))
            continue
        if place is not None:
            at, sent = direct.get(id(place)), None
            try:
                if at is not None and type(array) is ConcreteArray:
                    sent = placement.put(array, at)
                else:
                    placement.indices_here(place, array.aval.shape)
            except ValueError as error:
                path = keystr(tree_flatten_with_path(x)[0][i][0]) if len(arrays) > 1 else ""
                raise ValueError(f"device_put: x{path} of type {array.aval.str_short()}: {error}") from None
            if sent is None and not place.is_fully_addressable and isinstance(array, ConcreteArray):
                if not is_global(array):
                    shared[i] = array
            array = sharding_constraint_p.bind(array, sharding=place) if sent is None else sent
        if type(array) is ConcreteArray:
            engine.put(array)
        results.append(array)
    if shared:
        require_equal("device_put", "x", tree_unflatten(tree, [shared.get(i, 0) for i in range(len(arrays))]))
    return tree_unflatten(tree, results)


def _transferred(place: Sharding | None) -> Sharding | None:
    """The placement if data of this process is just sent there; None if others, or the compiler, have a say."""
    if place is None or not place.is_fully_addressable or not spreads_all(place):
        return None
    return placement.kept(place)


def _checked_sharding(function: str, sharding: Any, shape: tuple[int, ...]) -> Sharding:
    found = sharding_of(f"{function}: sharding", sharding)
    if found is None:
        raise TypeError(f"{function}: sharding: expected a sharding, got None")
    check_fits(f"{function}: an array of shape {shape}", found, shape)
    return found


@boundary
def make_array_from_callback(
    shape: ShapeLike,
    sharding: Any,
    data_callback: Callable[[Index], Any],
    dtype: DTypeLike | None = None,
) -> Array:
    """An array each part of which a function gives, called for the parts of this process alone.

    Args:
      shape: the shape of the whole array.
      sharding: how it is spread over devices.
      data_callback: a function of an index (a tuple of slices) that returns that part, as NumPy data or an array;
        called once for each part, even if several devices hold it.
      dtype: the dtype; by default that of the first part. Needed if this process holds no part.

    ValueError for a sharding that does not fit the shape, and for parts of another shape or dtype.

    >>> import pullback as pb, numpy as np
    >>> place = pb.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> print(make_array_from_callback((4,), place, lambda index: np.arange(4.0)[index]))
    [0. 1. 2. 3.]
    """
    name = "make_array_from_callback"
    whole = (shape,) if isinstance(shape, int) else tuple(shape)
    place = _checked_sharding(name, sharding, whole)
    known: dict[Any, np.ndarray] = {}
    values = []
    part = place.shard_shape(whole)
    for device, index in place.addressable_devices_indices_map(whole).items():
        key = tuple([(s.start, s.stop) for s in index])
        if key not in known:
            known[key] = np.asarray(lift(data_callback(index)))
            if known[key].shape != part:
                raise ValueError(
                    f"{name}: data_callback returned an array of shape {known[key].shape} for the index {index}, "
                    f"expected {part}"
                )
        values.append((device, known[key]))
    kind = dtypes.canonicalize_dtype(dtype) if dtype is not None else values[0][1].dtype if values else None
    if kind is None:
        raise ValueError(f"{name}: this process holds no part of the array: pass dtype=")
    for _, value in values:
        if value.dtype != kind:
            raise ValueError(f"{name}: data_callback returned an array of dtype {value.dtype}, expected {kind}")
    return placement.from_parts(make_aval(whole, kind), place, dict(values))


@boundary
def make_array_from_single_device_arrays(
    shape: ShapeLike, sharding: Any, arrays: Sequence[Array], *, dtype: DTypeLike | None = None
) -> Array:
    """The array whose parts are these arrays, one for each device of the sharding in this process.

    Args:
      shape: the shape of the whole array.
      sharding: how it is spread over devices.
      arrays: the parts, in any order, each on its device; arrays that were not placed are taken in the order of the
        sharding's devices.
      dtype: the dtype, needed if this process holds no part.

    ValueError for another number of arrays, for shapes that are not those of the parts, and for unequal dtypes.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> place = pb.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> print(make_array_from_single_device_arrays((2,), place, [pnp.ones(2)]))
    [1. 1.]
    """
    name = "make_array_from_single_device_arrays"
    whole = (shape,) if isinstance(shape, int) else tuple(shape)
    place = _checked_sharding(name, sharding, whole)
    mine = place.addressable_devices
    devices = [device for device in place.flat_devices if device in mine]
    if isinstance(arrays, Array) or not all(isinstance(x, ConcreteArray) for x in arrays):
        raise TypeError(f"{name}: arrays: expected a sequence of arrays with data, got {described(arrays)}")
    given: list[Any] = list(arrays)
    if len(given) != len(devices):
        raise ValueError(
            f"{name}: expected an array for each of {len(devices)} devices of this process, got {len(given)}"
        )
    at = [x.sharding.flat_devices for x in given]
    if {d for ds in at for d in ds} == set(devices) and all(len(ds) == 1 for ds in at):
        given = [x for device in devices for x, ds in zip(given, at, strict=True) if ds == (device,)]
    part = place.shard_shape(whole)
    kind = dtypes.canonicalize_dtype(dtype) if dtype is not None else given[0].dtype
    for i, x in enumerate(given):
        if x.shape != part or x.dtype != kind:
            raise ValueError(
                f"{name}: arrays[{i}] is of type {x.aval.str_short()}, expected {make_aval(part, kind).str_short()}, a "
                f"part of {make_aval(whole, kind).str_short()} as {place} spreads it"
            )
    values = {device: np.asarray(x.value) for device, x in zip(devices, given, strict=True)}
    return placement.from_parts(make_aval(whole, kind), place, values)


@boundary
def make_array_from_process_local_data(sharding: Any, local_data: PyTree, global_shape: PyTree = None) -> PyTree:
    """Arrays of the data that each process has: its part of the whole, which the sharding divides among its devices.

    Args:
      sharding: how the whole array is spread over devices.
      local_data: a pytree of NumPy data or arrays: what this process has.
      global_shape: the shape of the whole array, or a pytree prefix of them; an axis of None is inferred. By default
        all axes are: an axis that is spread over processes is as long as all their parts.

    ValueError for data that does not fill the parts of this process.

    >>> import pullback as pb, numpy as np
    >>> place = pb.NamedSharding(pb.make_mesh((1,), ("x",)), pb.P("x"))
    >>> print(make_array_from_process_local_data(place, np.arange(3.0)))
    [0. 1. 2.]
    """
    arrays, tree = lift_tree("make_array_from_process_local_data", "local_data", local_data)
    shapes = [global_shape] * len(arrays) if _is_shape(global_shape) else tree.flatten_up_to(global_shape)
    return tree_unflatten(tree, [_of_local_data(sharding, x, s) for x, s in zip(arrays, shapes, strict=True)])


def _is_shape(x: Any) -> bool:
    return x is None or (isinstance(x, tuple) and all(n is None or isinstance(n, int) for n in x))


def _of_local_data(sharding: Any, x: Any, global_shape: Any) -> Array:
    name = "make_array_from_process_local_data"
    data = np.asarray(x)
    place = sharding_of(f"{name}: sharding", sharding)
    if place is None:
        raise TypeError(f"{name}: sharding: expected a sharding, got None")
    tiles = place.tiles(data.ndim)
    mine = [i for i, device in enumerate(place.flat_devices) if device in place.addressable_devices]
    held = np.argwhere(np.isin(tiles, mine))[:, :-1]
    # along each axis: the parts that this process holds
    own = [sorted(set(held[:, axis])) for axis in range(data.ndim)]
    shape = tuple(global_shape) if global_shape is not None else (None,) * data.ndim
    whole = tuple(
        [
            n if n is not None else size if len(parts) == count else size // max(len(parts), 1) * count
            for n, size, parts, count in zip(shape, data.shape, own, tiles.shape, strict=False)
        ]
    )
    check_fits(f"{name}: an array of shape {whole}", place, whole)
    part = place.shard_shape(whole)
    expected = tuple([len(parts) * n for parts, n in zip(own, part, strict=True)])
    starts: list[dict[int, int]] = [{p: k * n for k, p in enumerate(parts)} for parts, n in zip(own, part, strict=True)]
    if data.shape == whole and data.shape != expected:  # the whole array, of which this process takes its parts
        starts = [{p: p * n for p in parts} for parts, n in zip(own, part, strict=True)]
    elif data.shape != expected:
        raise ValueError(
            f"{name}: the data of this process has shape {data.shape}, but its devices hold parts of shape {expected} "
            f"of an array of shape {whole}, as {place} spreads it"
        )
    values = {}
    for index in np.ndindex(tiles.shape):
        if tiles[index] in mine:
            at = [starts[axis][k] for axis, k in enumerate(index[:-1])]
            values[place.flat_devices[tiles[index]]] = data[
                tuple([slice(s, s + n) for s, n in zip(at, part, strict=True)])
            ]
    ordered = {device: values[device] for device in place.flat_devices if device in values}
    return placement.from_parts(make_aval(whole, data.dtype), place, ordered)
