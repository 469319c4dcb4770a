"""`shard_map`: a function of the parts of arrays on each device of a mesh; `smap` and `pmap`, made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from functools import partial
from typing import Any, overload

import numpy as np

from pullback._api.devices import check_backend
from pullback._api.jit import jit
from pullback._core.arguments import argument_path, canonical_argnums, check_callable, lift_leaves
from pullback._core.errors import boundary, described, function_name, standing_for, wrapping
from pullback._core.interning import interned
from pullback._core.meshes import AbstractMesh, Mesh
from pullback._core.sharding import PartitionSpec
from pullback._core.trace import context
from pullback._core.tree import tree_flatten, tree_leaves, tree_unflatten
from pullback._core.tree_paths import broadcast_prefix, keystr, tree_flatten_with_path, tree_map
from pullback._core.typing import AxisName, F, PyTree, PyTreePrefix
from pullback._higher_order.bodies import path_of, trace_body
from pullback._higher_order.parts import parts_along
from pullback._higher_order.shard_map import Layout, bind_shard_map
from pullback._higher_order.varying import resolved
from pullback._ops.shape import expand_dims, reshape
from pullback._ops.sharding_constraint import concrete_mesh, current_mesh
from pullback._xla import platforms


def _checked_layout(f: Any, mesh: AbstractMesh | None, names: Set[AxisName], check: bool) -> Layout:
    """The mesh of a call and its axes; errors name the function."""
    who = f"shard_map of {function_name(f)}"
    wanted = mesh
    if wanted is None or wanted.empty:
        raise ValueError(f"{who}: expected a mesh, by mesh=, set_mesh(mesh) or `with mesh:`; none is set")
    found = concrete_mesh(wanted)
    if not isinstance(found, Mesh):
        raise ValueError(f"{who}: {wanted} has no devices: set a mesh of devices with these axes, by set_mesh(mesh)")
    unknown = [name for name in names if name not in found.axis_names]
    if unknown:
        raise ValueError(f"{who}: axis_names: the mesh has the axes {found.axis_names}, got {unknown}")
    for name, _ in context.axis_sizes:
        if name in (names or found.axis_names):
            raise ValueError(
                f"{who}: the axis {name!r} of the mesh has the name of an axis around the call, of vmap or another "
                "shard_map: rename one, or leave it out of axis_names"
            )
    return Layout(found, tuple(names) or found.axis_names, check, function_name(f))


def _checked_specs(who: str, what: str, specs: PyTreePrefix, tree: PyTree, of: str, layout: Layout) -> list[Any]:
    """A spec for each leaf; None stands for `P()`."""
    try:
        flat = broadcast_prefix(specs, tree, is_leaf=lambda x: x is None or isinstance(x, PartitionSpec))
    except ValueError as error:
        raise ValueError(f"{who}: {what} does not fit {of}: {error}") from None
    found = []
    for (path, _), spec in zip(tree_flatten_with_path(tree)[0], flat, strict=True):
        if spec is None:
            spec = PartitionSpec()
        where = f"{who}: {what}{keystr(path)}"
        if not isinstance(spec, PartitionSpec):
            raise TypeError(f"{where}: expected a PartitionSpec or None, got {described(spec)}")
        for name in spec.names:
            if name not in layout.names:
                raise ValueError(f"{where}: {spec} names the axis {name!r}, but the axes are {layout.names}")
        found.append(spec)
    return found


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
    """Map a function over the parts of arrays that the devices of a mesh hold; collectives exchange data between them.

    Args:
      f: a function of arrays or pytrees of them, which it gets part by part; without it, returns a decorator. It may
        call `lax.psum` and the other collectives along the axes of the mesh.
      mesh: the mesh; by default the current one at the call, or else at the definition.
      in_specs: for each argument a `PartitionSpec`, or a pytree prefix of them: how it is divided. An axis of the mesh
        that a spec does not name gives all devices along it the same part.
      out_specs: the same for results: how their parts are put together. A result must be the same on all devices
        along an axis that its spec does not name.
      axis_names: the axes of the mesh along which `f` gets parts; by default all. The compiler decides about others.
      check_vma: whether it is checked that results are the same where `out_specs` says so, and derivatives need no
        more sums than necessary. Without it that is the caller's promise.

    Raises: TypeError if `f` is not callable; at the call, ValueError without a mesh, for specs that do not fit, and for
      results that may differ among devices where they must not.

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
    at_definition = current_mesh()

    @wrapping(f)
    @boundary
    def mapped(*args):
        layout = _checked_layout(f, mesh or current_mesh() or at_definition, axis_names, check_vma)
        return _call(f, args, in_specs, out_specs, layout)

    return mapped


def _call(f: Any, args: tuple, in_specs: PyTreePrefix, out_specs: PyTreePrefix, layout: Layout) -> Any:
    who = f"shard_map of {layout.label}"
    leaves, in_tree = tree_flatten(args)
    xs = lift_leaves("shard_map", f, leaves, args)
    given = tuple(in_specs) if type(in_specs) is list else in_specs
    if isinstance(given, tuple) and len(given) != len(args):
        raise ValueError(f"{who}: in_specs has {len(given)} entries for {len(args)} arguments")
    ins = _checked_specs(who, "in_specs", given, args, "the arguments", layout)
    avals = []
    paths = [path for path, _ in tree_flatten_with_path(args)[0]]
    for x, spec, path in zip(xs, ins, paths, strict=True):
        where = f"{who}: {argument_path(f, path[0].idx, path[1:])} of type {x.aval.str_short()}"
        if len(spec) > x.aval.ndim:
            raise ValueError(f"{where}: {spec} has {len(spec)} entries, the array {x.aval.ndim} axes")
        for axis, (size, count) in enumerate(zip(x.aval.shape, layout.parts(spec, x.aval.ndim), strict=True)):
            if size % count:
                raise ValueError(
                    f"{where}: axis {axis} of length {size} cannot be divided into {count} equal parts, as {spec} over "
                    f"{layout.mesh} asks for. Pad it to a multiple of {count}"
                )
        avals.append(layout.local(x.aval, spec))
    with layout.scope(), parts_along(layout.names if layout.check else ()):
        body = trace_body("shard_map", f, in_tree, avals, "f")
    consts = list(body.consts)
    specs = (*[PartitionSpec()] * len(consts), *ins)
    template = tree_unflatten(body.out_tree, [0] * body.out_tree.num_leaves)
    outs = _checked_specs(who, "out_specs", out_specs, template, "the result", layout)
    jaxpr = interned(body.jaxpr) if context.trace.transparent else body.jaxpr
    if layout.check:
        _, varying = resolved(jaxpr, [layout.varying(spec) for spec in specs], layout.names)
        for axes, spec, (path, _) in zip(varying, outs, tree_flatten_with_path(template)[0], strict=True):
            extra = [name for name in layout.copied(spec) if name in axes]
            if extra:
                raise ValueError(
                    f"{who}: the result{keystr(path)} may differ among the devices along {tuple(extra)}, but out_specs "
                    f"says {spec}, one value for all of them. Combine it there, by lax.psum or lax.pmean over "
                    f"{extra[0]!r}, name the axis in the spec, or pass check_vma=False if it is the same"
                )
    for aval, spec, (path, _) in zip(jaxpr.out_avals, outs, tree_flatten_with_path(template)[0], strict=True):
        if len(spec) > aval.ndim:
            raise ValueError(
                f"{who}: out_specs{keystr(path)}: {spec} has {len(spec)} entries, but the result is {aval.str_short()}"
            )
    results = bind_shard_map(jaxpr, [*consts, *xs], specs, tuple(outs), layout)
    return tree_unflatten(body.out_tree, results)


@boundary
def smap(f: Any = None, /, *, in_axes: PyTreePrefix = None, out_axes: PyTreePrefix, axis_name: AxisName) -> Any:
    """`shard_map` along one axis of the current mesh, with axes of arrays in place of specs.

    Args:
      f: a function of the parts of arrays; without it, returns a decorator.
      in_axes: for each argument the axis that is divided, or None, or a pytree prefix of these.
      out_axes: the same for results.
      axis_name: the axis of the mesh.

    Raises: as `shard_map`; ValueError for axes that an array has not.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> with pb.set_mesh(pb.make_mesh((1,), ("x",))):
    ...     print(pb.smap(lambda x: pb.lax.psum(x, "x"), in_axes=0, out_axes=None, axis_name="x")(pnp.ones(2)))
    [1. 1.]
    """
    if f is None:
        return partial(smap, in_axes=in_axes, out_axes=out_axes, axis_name=axis_name)
    check_callable("smap", f)

    @wrapping(f)
    @boundary
    def mapped(*args):
        who = f"smap of {function_name(f)}"
        axes = tuple(in_axes) if type(in_axes) is list else in_axes
        if isinstance(axes, tuple) and len(axes) != len(args):
            raise ValueError(f"{who}: in_axes has {len(axes)} entries for {len(args)} arguments")
        leaves, tree = tree_flatten(args)
        flat = broadcast_prefix(axes, args, is_leaf=lambda x: x is None)
        specs = [_spec_of_axis(who, a, np.ndim(x), axis_name) for a, x in zip(flat, leaves, strict=True)]
        outs = tree_map(lambda a: _spec_of_axis(who, a, None, axis_name), out_axes, is_leaf=lambda x: x is None)
        layout = _checked_layout(f, current_mesh(), frozenset({axis_name}), True)
        return _call(f, args, tree_unflatten(tree, specs), outs, layout)

    return mapped


def _spec_of_axis(who: str, axis: Any, ndim: int | None, name: AxisName) -> PartitionSpec:
    """The spec of an array that is divided along one of its axes."""
    if axis is None:
        return PartitionSpec()
    place = axis + ndim if ndim is not None and axis < 0 else axis
    if place < 0 or (ndim is not None and place >= ndim):
        raise ValueError(f"{who}: the axis {axis} does not exist in an array of {ndim} axes")
    return PartitionSpec(*[None] * place, name)


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
    """Map a function over an axis of its arguments, each example on a device of its own. `shard_map` is the newer way.

    Args:
      fun: a function of arrays or pytrees of them.
      axis_name: the name of the mapped axis, for collectives.
      in_axes, out_axes: the mapped axis of each argument and result, or None, as for `vmap`.
      axis_size: the length of the mapped axis, if no argument shows it.
      devices: the devices; by default the first ones.
      static_broadcasted_argnums, donate_argnums, backend: as `static_argnums`, `donate_argnums` and `backend` of `jit`.

    Raises: TypeError if `fun` is not callable; at the call, ValueError for an axis longer than there are devices.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.pmap(lambda x: x / pb.lax.psum(x, "i"), axis_name="i")(pnp.ones((1, 2))))
    [[1. 1.]]
    """
    check_callable("pmap", fun)
    check_backend("pmap", backend)
    static = canonical_argnums("pmap", static_broadcasted_argnums, what="static_broadcasted_argnums")
    axis: Any = f"pmap of {function_name(fun)}" if axis_name is None else axis_name
    known = None if devices is None else list(devices)

    @standing_for(fun)
    def mapped(*args, **kwargs):
        fixed = {i % len(args): args[i % len(args)] for i in static}
        axes = in_axes
        if isinstance(axes, (tuple, list)):
            axes = tuple(entry for i, entry in enumerate(axes) if i not in fixed)
        rest = tuple([x for i, x in enumerate(args) if i not in fixed])
        flat = broadcast_prefix(axes, rest, is_leaf=lambda x: x is None) + [0] * len(tree_leaves(kwargs))
        leaves, tree = tree_flatten((rest, kwargs))
        for i, (x, a) in enumerate(zip(leaves, flat, strict=True)):
            if a is not None and not -np.ndim(x) <= a < np.ndim(x):
                place = f"{path_of(tree, i)}, of shape {np.shape(x)}"
                raise ValueError(
                    f"pmap of {function_name(fun)}: in_axes: axis {a} of {place}, does not exist. Give None for what "
                    "is not mapped, or make it static by static_broadcasted_argnums"
                )
        sizes = {np.shape(x)[a] for x, a in zip(leaves, flat, strict=True) if a is not None}
        if axis_size is not None:
            sizes.add(axis_size)
        if len(sizes) != 1:
            raise ValueError(f"pmap of {function_name(fun)}: the mapped axes have the lengths {sorted(sizes)}, not one")
        (count,) = sizes
        available = platforms.devices(backend) if known is None else known
        if count > len(available):
            raise ValueError(
                f"pmap of {function_name(fun)}: the mapped axis has length {count}, an example for each device, and "
                f"there {'is 1 device' if len(available) == 1 else f'are {len(available)} devices'}. Use vmap, which "
                "maps on one, or shard_map, which gives each device a part"
            )
        mesh = Mesh(np.array(available[:count], object), (axis,))

        @standing_for(fun)
        def example(*parts):
            xs = [
                x if a is None else reshape(x, (*x.aval.shape[:a], *x.aval.shape[a + 1 :]))
                for x, a in zip(parts, flat, strict=True)
            ]
            args_, kwargs_ = tree_unflatten(tree, xs)
            given = iter(args_)
            whole = [fixed[i] if i in fixed else next(given) for i in range(len(args))]
            out = fun(*whole, **kwargs_)
            outs = broadcast_prefix(out_axes, out, is_leaf=lambda x: x is None)
            leaves_, tree_ = tree_flatten(out)
            return tree_unflatten(
                tree_, [x if a is None else expand_dims(x, (a,)) for x, a in zip(leaves_, outs, strict=True)]
            )

        specs = tuple([_along(a, axis) for a in flat])
        return _pmapped(example, leaves, specs, out_axes, mesh, axis)

    return jit(mapped, static_argnums=static, donate_argnums=canonical_argnums("pmap", donate_argnums))


def _along(place: int | None, axis: Any) -> PartitionSpec:
    return PartitionSpec() if place is None else PartitionSpec(*[None] * place, axis)


def _pmapped(example: Any, leaves: list[Any], specs: Any, out_axes: Any, mesh: Mesh, axis: Any) -> Any:
    out_specs = tree_map(lambda a: _along(a, axis), out_axes, is_leaf=lambda x: x is None)
    return shard_map(example, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)(*leaves)
