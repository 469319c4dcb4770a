"""Arrays over processes, and the arrays of one process that their parts are."""

from __future__ import annotations

from typing import Any

from pullback._api.placing import make_array_from_process_local_data
from pullback._api.shared_data import is_global
from pullback._core.errors import described
from pullback._core.meshes import Mesh
from pullback._core.sharding import NamedSharding, PartitionSpec
from pullback._core.tree import tree_unflatten
from pullback._core.tree_paths import broadcast_prefix, keystr, tree_flatten_with_path
from pullback._core.types import make_aval
from pullback._core.typing import PyTree
from pullback._ops.sharding_constraint import moved
from pullback._xla import placement


def _placed_leaves(function: str, tree: PyTree, mesh: Any, specs: Any) -> tuple[list[Any], Any, list[NamedSharding]]:
    """The leaves of a pytree, its structure, and a placement for each."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"{function}: global_mesh: expected a Mesh of devices, got {described(mesh)}")
    pairs, treedef = tree_flatten_with_path(tree)
    places = []
    prefix = broadcast_prefix(specs, tree, is_leaf=lambda spec: spec is None or isinstance(spec, PartitionSpec))
    for (path, _), spec in zip(pairs, prefix, strict=True):
        if not isinstance(spec, PartitionSpec):
            raise TypeError(
                f"{function}: pspecs{keystr(path)}: expected a PartitionSpec, P() for arrays that are whole "
                f"everywhere, got {described(spec)}"
            )
        places.append(NamedSharding(mesh, spec))
    return [leaf for _, leaf in pairs], treedef, places


def to_global(function: str, tree: PyTree, mesh: Any, specs: Any) -> Any:
    """Arrays over processes, of the part that each of them has."""
    leaves, treedef, places = _placed_leaves(function, tree, mesh, specs)
    return tree_unflatten(
        treedef,
        [
            leaf if is_global(leaf) else make_array_from_process_local_data(place, leaf)
            for leaf, place in zip(leaves, places, strict=True)
        ],
    )


def to_local(function: str, tree: PyTree, mesh: Any, specs: Any) -> Any:
    """The part of this process of arrays over processes, as arrays of its own."""
    leaves, treedef, places = _placed_leaves(function, tree, mesh, specs)
    found = []
    for leaf, place in zip(leaves, places, strict=True):
        if is_global(leaf):
            here = NamedSharding(mesh.local_mesh, place.spec)
            x = leaf if leaf.placement.is_equivalent_to(place, leaf.ndim) else moved(leaf, place)
            counts = zip(place.tiles(x.ndim).shape[:-1], here.tiles(x.ndim).shape[:-1], x.shape, strict=True)
            shape = tuple([size // everywhere * of_here for everywhere, of_here, size in counts])
            parts = dict(placement.read_parts(x.buffer, x.aval, x.placement))
            ordered = {device: parts[device] for device in here.flat_devices}
            leaf = placement.from_parts(make_aval(shape, x.dtype), here, ordered)
        found.append(leaf)
    return tree_unflatten(treedef, found)
