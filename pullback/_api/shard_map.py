"""shard_map and pmap (one device, being replaced)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from typing import Any, overload

from pullback._api.devices import check_backend
from pullback._api.jit import jit
from pullback._api.meshes import get_abstract_mesh
from pullback._api.vectorize import vmap
from pullback._core.arguments import canonical_argnums, check_callable
from pullback._core.errors import boundary, function_name, standing_for, wrapping
from pullback._core.meshes import AbstractMesh
from pullback._core.trace import lookup_axis_size
from pullback._core.tree_paths import tree_map
from pullback._core.typing import AxisName, F, PyTreePrefix
from pullback._ops.shape import reshape


@boundary
def pmap(
    fun: Callable[..., Any],
    axis_name: AxisName | None = None,
    *,
    in_axes: PyTreePrefix = 0,
    out_axes: PyTreePrefix = 0,
    static_broadcasted_argnums: int | Iterable[int] = (),
    devices: Sequence[Any] | None = None,
    backend: str | None = None,
    axis_size: int | None = None,
    donate_argnums: int | Iterable[int] = (),
) -> Callable[..., Any]:
    """Map a function over an axis of its arguments, each example on a device of its own: of one example, on the one.

    Args:
      fun, axis_name, in_axes, out_axes, axis_size: as for `vmap`.
      static_broadcasted_argnums, donate_argnums, devices, backend: as `static_argnums`, `donate_argnums`, `device` and
        `backend` of `jit`.

    Raises: TypeError if `fun` is not callable; at the call, ValueError for an axis of another length than 1.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.pmap(lambda x: x / pb.lax.psum(x, "i"), axis_name="i")(pnp.ones((1, 2))))
    [[1. 1.]]
    """
    check_callable("pmap", fun)
    check_backend("pmap", backend)
    static = canonical_argnums("pmap", static_broadcasted_argnums, what="static_broadcasted_argnums")
    axis: Any = object() if axis_name is None else axis_name

    @standing_for(fun)
    def example(*args, **kwargs):
        if lookup_axis_size(axis, "pmap") != 1:
            raise ValueError(
                f"pmap of {function_name(fun)}: the mapped axis has length {lookup_axis_size(axis, 'pmap')}, an "
                "example for each device, and there is 1 device. Use vmap, which maps on one; several are planned, "
                "not written yet."
            )
        return fun(*args, **kwargs)

    @standing_for(fun)
    def mapped(*args, **kwargs):
        fixed = {i % len(args): args[i % len(args)] for i in static}
        axes = in_axes
        if isinstance(axes, (tuple, list)):
            axes = tuple(entry for i, entry in enumerate(axes) if i not in fixed)

        @standing_for(fun)
        def with_fixed(*xs, **keywords):
            rest = iter(xs)
            return example(*[fixed[i] if i in fixed else next(rest) for i in range(len(args))], **keywords)

        rest = [x for i, x in enumerate(args) if i not in fixed]
        return vmap(with_fixed, axes, out_axes, axis, axis_size)(*rest, **kwargs)

    return jit(mapped, static_argnums=static, donate_argnums=canonical_argnums("pmap", donate_argnums))


@overload
def shard_map(
    f: None = None,
    /,
    *,
    out_specs: PyTreePrefix,
    in_specs: PyTreePrefix = ...,
    mesh: AbstractMesh | None = ...,
    axis_names: Set[AxisName] = ...,
    check_vma: bool = ...,
) -> Callable[[F], F]: ...
@overload
def shard_map(
    f: F,
    /,
    *,
    out_specs: PyTreePrefix,
    in_specs: PyTreePrefix = ...,
    mesh: AbstractMesh | None = ...,
    axis_names: Set[AxisName] = ...,
    check_vma: bool = ...,
) -> F: ...
@boundary
def shard_map(
    f: Any = None,
    /,
    *,
    out_specs: PyTreePrefix,
    in_specs: PyTreePrefix = None,
    mesh: AbstractMesh | None = None,
    axis_names: Set[AxisName] = frozenset(),
    check_vma: bool = True,
) -> Any:
    """Map a function over the parts of arrays that a mesh of devices holds: of one device, which holds all.

    Args:
      f: a function of arrays or pytrees of them; without it, returns a decorator.
      mesh: the mesh whose axes `f` may name in collectives; by default the current one.
      in_specs, out_specs, check_vma: how arguments and results are spread; on one device all specs mean the same.
      axis_names: the axes that `f` may name; by default all.

    Raises: TypeError if `f` is not callable, ValueError without a mesh.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> total = pb.shard_map(
    ...     lambda x: pb.lax.psum(x, "x"), mesh=pb.make_mesh((1,), ("x",)), in_specs=pb.P("x"), out_specs=pb.P()
    ... )
    >>> print(total(pnp.ones(2)))
    [1. 1.]
    """
    if f is None:
        return partial(
            shard_map, out_specs=out_specs, in_specs=in_specs, mesh=mesh, axis_names=axis_names, check_vma=check_vma
        )
    check_callable("shard_map", f)
    axes = get_abstract_mesh() if mesh is None else mesh
    if axes.empty:
        raise ValueError("shard_map: expected a mesh, by mesh=, set_mesh(mesh) or `with mesh:`; none is set")
    names = [name for name in axes.axis_names if not axis_names or name in axis_names]
    mapped = f
    for name in names:
        mapped = vmap(mapped, in_axes=None, out_axes=0, axis_name=name, axis_size=1)

    @wrapping(f)
    @boundary
    def whole(*args):
        return tree_map(lambda x: reshape(x, x.shape[len(names) :]), mapped(*args))

    return whole
