"""`shard_map` as it was called before it left JAX's experimental part: with `check_rep` in place of `check_vma`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._api.shard_map import shard_map as _shard_map
from pullback._core.errors import boundary
from pullback._core.meshes import AbstractMesh
from pullback._core.typing import AxisName, PyTreePrefix

__all__ = ["shard_map"]


@boundary
def shard_map(
    f: Callable[..., Any],
    mesh: AbstractMesh,
    in_specs: PyTreePrefix,
    out_specs: PyTreePrefix,
    check_rep: bool = True,
    auto: frozenset[AxisName] = frozenset(),
) -> Callable[..., Any]:
    """`pullback.shard_map`; `auto` are the axes of the mesh along which the compiler decides.

    Raises: as `pullback.shard_map`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> mesh = pb.make_mesh((1,), ("x",))
    >>> print(shard_map(lambda x: pb.lax.psum(x, "x"), mesh, pb.P("x"), pb.P())(pnp.ones(2)))
    [1. 1.]
    """
    names = frozenset(mesh.axis_names) - frozenset(auto)
    return _shard_map(
        f,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names=names if auto else frozenset(),
        check_vma=check_rep,
    )
