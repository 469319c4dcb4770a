"""The placement of samples: where the numbers that a sampler draws are to be."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from pullback._api.meshes import with_sharding_constraint
from pullback._core.sharding import NamedSharding, PartitionSpec, Sharding

T = TypeVar("T")
Placement: TypeAlias = Sharding | PartitionSpec | None


def placed(samples: T, out_sharding: Placement) -> T:
    """The samples, placed as asked for; they are the same numbers whatever the placement."""
    if out_sharding is None or (isinstance(out_sharding, NamedSharding) and out_sharding.mesh.empty):
        return samples  # the placement in the type of an array outside of meshes prescribes nothing
    return with_sharding_constraint(samples, out_sharding)
