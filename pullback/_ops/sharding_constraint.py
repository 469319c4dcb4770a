"""`with_sharding_constraint` and `reshard`: where the compiler is to put a value, an operation of its own."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from pullback._core.config import config
from pullback._core.errors import described
from pullback._core.jaxpr import Jaxpr
from pullback._core.layouts import Format, placement_of
from pullback._core.lazy import LateModule
from pullback._core.meshes import AbstractMesh, Mesh
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, Placement, PyTree
from pullback._ops.rules import linear_jvp

if TYPE_CHECKING:
    from pullback._xla import placed_programs, placement, single_operations
else:
    placed_programs = LateModule("pullback._xla.placed_programs")
    placement = LateModule("pullback._xla.placement")
    single_operations = LateModule("pullback._xla.single_operations")

sharding_constraint_p: Primitive = Primitive("sharding_constraint")


def current_mesh() -> AbstractMesh | None:
    """The mesh that was set or entered last in this thread."""
    return config.meshes[-1] if config.meshes else None


def concrete_mesh(mesh: AbstractMesh | None) -> Mesh | None:
    """The mesh of devices that an abstract one stands for: itself, or one with the same axes that was set."""
    if mesh is None or isinstance(mesh, Mesh):
        return mesh
    return next((m for m in reversed(config.meshes) if isinstance(m, Mesh) and m.shape == mesh.shape), None)


def sharding_of(where: str, place: AnyValue) -> Sharding | None:
    """What a user gave for a placement, as a sharding: a device, a spec over the current mesh, a sharding or None.

    Of a `Format` it is the placement. `where` begins the message of errors: TypeError for anything else, ValueError for
    a spec without a mesh.
    """
    if place is None or isinstance(place, SingleDeviceSharding):
        return place
    if isinstance(place, (NamedSharding, PartitionSpec)):
        mesh = place.mesh if isinstance(place, NamedSharding) else current_mesh()
        spec = place.spec if isinstance(place, NamedSharding) else place
        found = concrete_mesh(mesh)
        if found is None:
            if not spec.names and (isinstance(place, PartitionSpec) or place.mesh.empty):
                return None  # the placement in the type of an array prescribes nothing
            raise ValueError(
                f"{where}: {place} needs a mesh of devices. Set one, with `with set_mesh(mesh):`, or pass "
                "NamedSharding(mesh, spec)"
            )
        if isinstance(place, NamedSharding) and found is mesh:
            return place
        try:
            return NamedSharding(found, spec)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if isinstance(place, Sharding):
        return place
    if isinstance(place, Format):
        return sharding_of(where, placement_of(where, place))
    if hasattr(place, "platform") and hasattr(place, "process_index"):
        return SingleDeviceSharding(place)
    raise TypeError(
        f"{where}: expected None, a device, a sharding (x.sharding, NamedSharding(mesh, P('x'))) or a PartitionSpec, "
        f"got {described(place)}"
    )


def check_fits(where: str, sharding: Sharding, shape: tuple[int, ...]) -> None:
    """Refuse a sharding whose spec is too long for the shape, or does not divide it; `where` begins the message."""
    try:
        if not spreads_all(sharding):
            return
        sharding.shard_shape(shape)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def laid_out(function: str, result: PyTree, out_sharding: Placement) -> Any:
    """The arrays that a function returns, constrained to where its argument `out_sharding` says."""
    place = sharding_of(f"{function}: out_sharding", out_sharding)
    if place is None:
        return result
    leaves, tree = tree_flatten(result)
    for x in leaves:
        check_fits(f"{function}: out_sharding: a result of type {x.aval.str_short()}", place, x.aval.shape)
    return tree_unflatten(tree, [sharding_constraint_p.bind(x, sharding=place) for x in leaves])


def spreads_all(sharding: Sharding) -> bool:
    """Whether the placement says for each axis how it is spread: none is left to the compiler."""
    return not isinstance(sharding, NamedSharding) or PartitionSpec.UNCONSTRAINED not in tuple(sharding.spec)


def _evaluate(x, sharding):
    if not spreads_all(sharding):
        sharding = _settled(sharding, getattr(x, "placement", None))
    if type(x) is PlacedArray and not x.placement.is_fully_addressable:
        return moved(x, sharding)
    return placement.put(x, sharding)


def _settled(sharding: NamedSharding, now: Sharding | None) -> NamedSharding:
    """The placement with its open axes spread as they are now, where that needs no axis of the mesh twice."""
    spec = sharding.spec
    here = now.spec if isinstance(now, NamedSharding) and now.mesh == sharding.mesh else PartitionSpec()
    parts = [
        tuple([name for name in here.of_axis(i) if name not in spec.names])
        if part is PartitionSpec.UNCONSTRAINED
        else part
        for i, part in enumerate(spec)
    ]
    return NamedSharding(sharding.mesh, PartitionSpec(*parts))


def moved(x: PlacedArray, sharding: Sharding) -> PlacedArray:
    """An array over several processes, spread in another way: all of them call this."""
    jaxpr = _identity(x.aval, sharding)

    def make():
        return placed_programs.compile_placed(
            jaxpr, placed_programs.spread_of("device_put", (x.placement,), (sharding,))
        )

    program: placed_programs.PlacedProgram = jaxpr.derive(("placed", x.placement), make)
    return cast(PlacedArray, program.run([x])[0])


@lru_cache(256)
def _identity(aval: ShapedArray, sharding: Sharding) -> Jaxpr:
    return single_operations.single_equation(sharding_constraint_p, (aval,), {"sharding": sharding})


def _type(x, sharding):
    check_fits("sharding_constraint", sharding, x.shape)
    return x


def _lower(ctx, x, sharding):
    spread = ctx.module.spread
    if spread is None or len(sharding.flat_devices) == 1:
        return x
    manual = ctx.module.manual
    if manual is not None and isinstance(sharding, NamedSharding):
        sharding = NamedSharding(sharding.mesh, without_axes(sharding.spec, manual.names))
    attribute = f"sharding = {spread.attribute(sharding, x.aval.ndim)}"
    return ctx.op("sdy.sharding_constraint", [x], None, attribute)


def without_axes(spec: PartitionSpec, names: tuple[Any, ...]) -> PartitionSpec:
    """The spec without axes that values have parts along anyhow."""
    return PartitionSpec(
        *[
            part if part is PartitionSpec.UNCONSTRAINED else tuple([n for n in spec.of_axis(i) if n not in names])
            for i, part in enumerate(spec)
        ]
    )


def _batch(trace, operands, dims, sharding):
    (x,), (d,) = operands, dims
    if isinstance(sharding, NamedSharding):
        parts = [*sharding.spec, *[None] * (x.aval.ndim - 1 - len(sharding.spec))]
        parts.insert(d, _batch_part(trace.spmd_axes, sharding.spec))
        sharding = NamedSharding(sharding.mesh, PartitionSpec(*parts))
    return sharding_constraint_p.bind(x, sharding=sharding), d


def _batch_part(axes: tuple[str, ...] | None, spec: PartitionSpec) -> Any:
    """The entry for a batch axis that `vmap(spmd_axis_name=)` spreads along these axes of the mesh."""
    if axes is None:
        return PartitionSpec.UNCONSTRAINED
    if set(axes) & set(spec.names):
        raise ValueError(
            f"vmap: spmd_axis_name={axes}: a constraint inside of the function has the spec {spec}, which divides an "
            "example along the same axis of the mesh. Name another axis"
        )
    return axes[0] if len(axes) == 1 else axes


sharding_constraint_p.abstract_eval = _type
sharding_constraint_p.evaluate = _evaluate
sharding_constraint_p.lower = _lower
linear_jvp(sharding_constraint_p)
sharding_constraint_p.transpose = lambda ct, x, sharding: [sharding_constraint_p.bind(ct, sharding=sharding)]
sharding_constraint_p.batch = _batch
sharding_constraint_p.has(placements=lambda sharding: [sharding], rearranging=True)
