"""Inside of `shard_map`, where a program says itself what each device does: the groups of devices along named axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.meshes import Mesh
from pullback._core.sharding import PartitionSpec
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue

_INDEX = np.dtype(np.int32)
_ID = np.dtype(np.uint32)


class Manual:
    """The mesh of a `shard_map` and the axes that its function has parts along.

    `positions` are those of its devices in the program. Sums over one axis after another are one operation: `sums`
    holds the operands of those emitted.
    """

    def __init__(self, mesh: Mesh, names: Sequence[Any], positions: Sequence[int], outer: Manual | None = None):
        self.mesh: Mesh = mesh
        self.names: tuple[Any, ...] = tuple(names) if outer is None else (*outer.names, *names)
        self._ids: np.ndarray = np.array(positions).reshape(mesh.axis_sizes)
        self.sums: dict[str, tuple[str, Any, tuple[Any, ...]]] = {}

    def size(self, name: AnyValue) -> int:
        """The length of an axis."""
        return self.mesh.shape[name]

    def groups(self, names: Sequence[Any]) -> list[list[int]]:
        """The devices that differ along these axes alone, group by group, in the order of the axes."""
        places = [self.mesh.axis_names.index(name) for name in names]
        rest = [i for i in range(self._ids.ndim) if i not in places]
        count = int(np.prod([self._ids.shape[i] for i in places]))
        return self._ids.transpose(*rest, *places).reshape(-1, count).tolist()

    def coordinates(self, name: AnyValue) -> np.ndarray:
        """The index along an axis by the number of the device in the program."""
        place = self.mesh.axis_names.index(name)
        found = np.empty(self._ids.size, _INDEX)
        found[self._ids.ravel()] = np.indices(self._ids.shape)[place].ravel()
        return found


def manual_of(ctx: AnyValue, name: AnyValue) -> Manual | None:
    """The `shard_map` around, if the axis has several devices; None if it has one, so that nothing is exchanged.

    NameError outside of all.
    """
    manual = ctx.module.manual
    if manual is None or name not in manual.names:
        known = "none" if manual is None else ", ".join(map(repr, manual.names))
        raise NameError(f"a collective along the axis {name!r} cannot be compiled here: the axes of a mesh are {known}")
    return manual if manual.size(name) > 1 else None


def channel(ctx: AnyValue) -> str:
    """The attributes that make an operation one of all devices."""
    module = ctx.module
    module.channels += 1
    return f"channel_handle = #stablehlo.channel_handle<handle = {module.channels}, type = 1>"


def groups_attribute(groups: Sequence[Sequence[int]]) -> str:
    """The groups of devices as an attribute."""
    rows = ", ".join(str(list(group)) for group in groups)
    return f"replica_groups = dense<[{rows}]> : tensor<{len(groups)}x{len(groups[0])}xi64>"


def all_reduce(ctx: AnyValue, x: AnyValue, name: AnyValue, operation: str) -> Any:
    """The sum, maximum or minimum over an axis."""
    manual = manual_of(ctx, name)
    if manual is None:
        return x
    names: tuple[Any, ...] = (name,)
    before = manual.sums.get(x.name)
    if before is not None and before[0] == operation and name not in before[2]:
        _, x, others = before
        names = (*others, name)
    aval = make_aval((), x.aval.dtype)
    region = ctx.region([aval, aval], lambda block, args: [block.op(operation, list(args))])
    attributes = f"{groups_attribute(manual.groups(names))}, {channel(ctx)}, use_global_device_ids"
    out = ctx.op("stablehlo.all_reduce", [x], None, attributes, [region])
    manual.sums[out.name] = (operation, x, names)
    return out


def axis_index(ctx: AnyValue, name: AnyValue) -> Any:
    """The index of the device along an axis."""
    manual, aval = manual_of(ctx, name), make_aval((), _INDEX)
    if manual is None:
        return ctx.constant(0, aval)
    known = manual.coordinates(name)

    def found(block: AnyValue) -> Any:
        own = block.convert(block.op("stablehlo.partition_id", [], make_aval((), _ID)), _INDEX)
        table = block.constant(known, make_aval(known.shape, _INDEX))
        one = block.op("stablehlo.dynamic_slice", [table, own], make_aval((1,), _INDEX), "slice_sizes = array<i64: 1>")
        return block.op("stablehlo.reshape", [one], aval)

    rest, spread = [n for n in manual.mesh.axis_names if n not in manual.names], ctx.module.spread
    if not rest or spread is None:
        return found(ctx)
    # a device knows its number only where all axes are those of parts: a function of parts along the others too
    attributes = (
        "in_shardings = #sdy.sharding_per_value<[]>, out_shardings = #sdy.sharding_per_value<"
        f"[{spread.value(manual.mesh, PartitionSpec(), 0)}]>, "
        f"manual_axes = #sdy<manual_axes{{{spread.axes(manual.mesh, rest)}}}>"
    )
    region = ctx.region([], lambda block, _: [found(block)], "sdy.return")
    return ctx.op("sdy.manual_computation", [], aval, attributes, [region])
