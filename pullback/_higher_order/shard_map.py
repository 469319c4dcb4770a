"""`shard_map`: a function of the parts of arrays that each device of a mesh holds, with collectives between them.

The jaxpr has the types of the parts. Where `check` is set, it is known which values vary along which axes
(`varying.py`), and transposition sums where that is needed; otherwise all do, a result that is copied counts once among
its copies, and the cotangent of an operand that is copied is summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pullback._core.config import config, set_state
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen, cut, filled, others
from pullback._core.meshes import Mesh
from pullback._core.primitive import HigherOrder
from pullback._core.sharding import NamedSharding, PartitionSpec
from pullback._core.trace import call_with, context, is_linear
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.call import called
from pullback._higher_order.call_rules import active_of, wanted_of
from pullback._higher_order.varying import Axes, raised, resolved
from pullback._ops.collectives import psum_p
from pullback._ops.elementwise import div, scalar
from pullback._ops.identity import stage_closed
from pullback._ops.shape import instantiate, reshape_p
from pullback._transforms.accumulators import Parts, set_accumulate
from pullback._transforms.dce import dce
from pullback._transforms.harvest import HarvestTrace, harvest_jaxpr, tap_sites
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize_jaxpr import linearize_jaxpr, transpose_jaxpr
from pullback._transforms.vmap import batch_jaxpr
from pullback._xla.manual import Manual
from pullback._xla.placed_programs import run_where_they_are
from pullback._xla.single_operations import single_equation

Specs = tuple[PartitionSpec, ...]


class Layout:
    """The mesh of a `shard_map`, and the axes along which its function has parts. Hashable."""

    __slots__ = ("mesh", "names", "check", "label")

    def __init__(self, mesh: Mesh, names: Sequence[Any], check: bool, label: str):
        self.mesh: Mesh = mesh
        self.names: tuple[Any, ...] = tuple([name for name in mesh.axis_names if name in names])
        self.check: bool = check
        self.label: str = label

    def _key(self) -> tuple[Any, ...]:
        return self.mesh, self.names, self.check, self.label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{self.mesh!r}, manual={self.names}"

    def parts(self, spec: PartitionSpec, ndim: int) -> list[int]:
        """The number of parts along each axis of an array."""
        sizes = self.mesh.shape
        return [int(np.prod([sizes[name] for name in spec.of_axis(i)], initial=1)) for i in range(ndim)]

    def local(self, aval: ShapedArray, spec: PartitionSpec) -> ShapedArray:
        """The type of a part."""
        shape = [n // k for n, k in zip(aval.shape, self.parts(spec, aval.ndim), strict=True)]
        return make_aval(tuple(shape), aval.dtype, aval.weak_type)

    def whole(self, aval: ShapedArray, spec: PartitionSpec) -> ShapedArray:
        """The type of an array with these parts."""
        shape = [n * k for n, k in zip(aval.shape, self.parts(spec, aval.ndim), strict=True)]
        return make_aval(tuple(shape), aval.dtype, aval.weak_type)

    def varying(self, spec: PartitionSpec) -> Axes:
        """The axes along which parts differ."""
        return frozenset(spec.names) if self.check else frozenset(self.names)

    def copied(self, spec: PartitionSpec) -> tuple[Any, ...]:
        """The axes along which several devices have the same part."""
        sizes = self.mesh.shape
        return tuple([name for name in self.names if name not in spec.names and sizes[name] > 1])

    def ordered(self, axes: Axes) -> tuple[Any, ...]:
        return tuple([name for name in self.names if name in axes])

    @contextmanager
    def scope(self) -> Iterator[None]:
        """The named axes and the current mesh, for functions that are traced as parts of this one."""
        sizes, meshes = context.axis_sizes, config.meshes
        context.axis_sizes = (*sizes, *[(name, self.mesh.shape[name]) for name in self.names])
        set_state("meshes", (*meshes, self.mesh))
        try:
            yield
        finally:
            context.axis_sizes = sizes
            set_state("meshes", meshes)


shard_map_p: HigherOrder = HigherOrder(
    "shard_map",
    lambda params: [called(params["jaxpr"])],
    lambda params, jaxprs, kept: {
        **params,
        "jaxpr": jaxprs[0],
        "in_specs": params["in_specs"] if kept is None else tuple(chosen(params["in_specs"], kept)),
    },
)


def bind_shard_map(
    jaxpr: Jaxpr, operands: Sequence[Any], in_specs: Specs, out_specs: Specs, layout: Layout
) -> list[Any]:
    """Apply a function of parts, made ready for transposition if it is checked."""
    jaxpr, _ = _ready(jaxpr, in_specs, out_specs, layout)
    return shard_map_p.bind(*operands, jaxpr=jaxpr, in_specs=in_specs, out_specs=out_specs, layout=layout)


def _ready(jaxpr: Jaxpr, in_specs: Specs, out_specs: Specs | None, layout: Layout) -> tuple[Jaxpr, list[Axes]]:
    """The jaxpr with its values made to vary where they must, and the axes along which its results do."""
    if not layout.check:
        return jaxpr, [frozenset(layout.names)] * len(jaxpr.outvars)
    jaxpr, outs = resolved(jaxpr, [layout.varying(spec) for spec in in_specs], layout.names)
    if not tap_sites(jaxpr):
        jaxpr, _ = dce(jaxpr)  # values of which it was asked alone where they vary; taps may have no readers yet
    if out_specs is None:
        return jaxpr, list(outs)
    return raised(jaxpr, outs, [a | layout.varying(s) for a, s in zip(outs, out_specs, strict=True)], layout.names), [
        *outs
    ]


def _type(*avals, jaxpr, in_specs, out_specs, layout):
    return [layout.whole(aval, spec) for aval, spec in zip(jaxpr.out_avals, out_specs, strict=True)]


def _evaluate(*args, jaxpr, **params):
    avals = tuple([x.aval for x in args])
    key = ("applied", avals, *params.items())
    whole = jaxpr.derive(key, lambda: single_equation(shard_map_p, avals, {"jaxpr": jaxpr, **params}))
    return run_where_they_are(f"shard_map of {params['layout'].label}", whole, args)


def _lower(ctx, *operands, jaxpr, in_specs, out_specs, layout):
    module, mesh = ctx.module, layout.mesh
    outer, spread = module.manual, module.spread
    positions = range(mesh.size) if spread is None else spread.positions(mesh.flat_devices)
    module.manual = Manual(mesh, layout.names, positions, outer)
    try:
        if spread is None:
            return ctx.inline(jaxpr, operands)
        name = spread.mesh_name(mesh)
        ins = ", ".join(spread.value(mesh, spec, x.aval.ndim) for spec, x in zip(in_specs, operands, strict=True))
        outs = ", ".join(
            spread.value(mesh, spec, aval.ndim) for spec, aval in zip(out_specs, jaxpr.out_avals, strict=True)
        )
        attributes = (
            f"in_shardings = #sdy.sharding_per_value<[{ins}]>, out_shardings = #sdy.sharding_per_value<[{outs}]>, "
            f"manual_axes = #sdy<manual_axes{{{spread.axes(mesh, layout.names)}}}>"
        )
        assert name
        region = ctx.region(jaxpr.in_avals, lambda block, args: block.inline(jaxpr, args), "sdy.return")
        avals = [layout.whole(aval, spec) for aval, spec in zip(jaxpr.out_avals, out_specs, strict=True)]
        return ctx.op("sdy.manual_computation", list(operands), avals, attributes, [region])
    finally:
        module.manual = outer


def _jvp(primals, tangents, *, jaxpr, in_specs, out_specs, layout):
    active = active_of(tangents)
    with layout.scope():
        derived, present = jvp_jaxpr(jaxpr, active)
    outs = bind_shard_map(
        derived,
        [*primals, *chosen(tangents, active)],
        (*in_specs, *chosen(in_specs, active)),
        (*out_specs, *chosen(out_specs, present)),
        layout,
    )
    n = len(jaxpr.outvars)
    return outs[:n], filled(present, outs[n:], [zero_of(out.aval) for out in outs[:n]])


def _linearize(trace, primals, tangents, *, jaxpr, in_specs, out_specs, layout):
    active = active_of(tangents)
    with layout.scope():
        parts = linearize_jaxpr(jaxpr, active)
    n = len(jaxpr.outvars)
    forward, varying = _ready(parts.forward, in_specs, None, layout)
    # a residual that differs along axes gets a leading axis that is spread over them
    residual_specs = tuple([PartitionSpec(layout.ordered(axes)) if axes else PartitionSpec() for axes in varying[n:]])
    stacked = [len(spec) > 0 for spec in residual_specs]
    forward = forward.derive(("stacked", n, tuple(stacked)), lambda: _with_leading_axes(forward, n, stacked))
    results = bind_shard_map(forward, primals, in_specs, (*out_specs, *residual_specs), layout)
    outs, saved = results[:n], results[n:]
    known = [primals[i] for i in parts.forwarded]
    k = len(known)
    linear = parts.linear
    linear = linear.derive(("unstacked", k, tuple(stacked)), lambda: _without_leading_axes(linear, k, stacked))
    touts = bind_shard_map(
        linear,
        [*known, *saved, *chosen(tangents, active)],
        (*[in_specs[i] for i in parts.forwarded], *residual_specs, *chosen(in_specs, active)),
        tuple(chosen(out_specs, parts.present)),
        layout,
    )
    return outs, filled(parts.present, touts, [zero_of(out.aval) for out in outs])


def _with_leading_axes(jaxpr: Jaxpr, n: int, stacked: Sequence[bool]) -> Jaxpr:
    """The jaxpr with an axis of length 1 in front of the marked ones of the results after the first `n`."""
    eqns, outvars = list(jaxpr.eqns), list(jaxpr.outvars)
    for i, s in enumerate(stacked, n):
        if s:
            outvars[i] = _reshaped(eqns, outvars[i], (1, *outvars[i].aval.shape))
    return Jaxpr([], jaxpr.invars, eqns, outvars)


def _without_leading_axes(jaxpr: Jaxpr, k: int, stacked: Sequence[bool]) -> Jaxpr:
    """The jaxpr that takes such results, after its first `k` inputs. Its equations stay: a bwd rule is not applied."""
    eqns: list[Equation] = []
    invars = list(jaxpr.invars)
    for i, s in enumerate(stacked, k):
        if s:
            aval = invars[i].aval
            given = Var(make_aval((1, *aval.shape), aval.dtype))
            eqns.append(Equation(reshape_p, [given], [invars[i]], {"shape": aval.shape}))
            invars[i] = given
    return Jaxpr([], invars, [*eqns, *jaxpr.eqns], jaxpr.outvars)


def _reshaped(eqns: list[Equation], atom: Any, shape: tuple[int, ...]) -> Var:
    out = Var(make_aval(shape, atom.aval.dtype))
    eqns.append(Equation(reshape_p, [atom], [out], {"shape": shape}))
    return out


def _accumulate(cts, *operands, accums, jaxpr, in_specs, out_specs, layout):
    linear = tuple([is_linear(x) for x in operands])
    given, wanted = active_of(cts), wanted_of(chosen(accums, linear))
    takes = chosen(in_specs, linear)
    with layout.scope():
        backward = jaxpr.derive(
            ("transposed", linear, given, wanted, in_specs, out_specs, layout),
            lambda: _transposed(jaxpr, linear, given, wanted, in_specs, out_specs, layout),
        )
    results = bind_shard_map(
        backward,
        [*others(operands, linear), *chosen(cts, given)],
        (*others(in_specs, linear), *chosen(out_specs, given)),
        tuple(chosen(takes, wanted)),
        layout,
    )
    for accum, ct in zip(chosen(chosen(accums, linear), wanted), results, strict=True):
        accum.add(ct)


def _transposed(jaxpr, linear, given, wanted, in_specs, out_specs, layout) -> Jaxpr:
    """The transpose, from the cotangents of parts to those of the `wanted` linear parts."""
    backward, forms = transpose_jaxpr(jaxpr, linear, given, wanted)
    known = len(jaxpr.invars) - sum(linear)
    specs = chosen(chosen(in_specs, linear), wanted)
    avals = chosen(chosen(jaxpr.in_avals, linear), wanted)

    def fun(*args):
        others_, cts = cut(args, known)
        if not layout.check:
            cts = [_shared(ct, layout, spec) for ct, spec in zip(cts, chosen(out_specs, given), strict=True)]
        results = iter(eval_jaxpr(backward, [], *others_, *cts))
        sums = []
        for parts, aval, spec in zip(forms, avals, specs, strict=True):
            total = Parts(aval)
            for form in parts:
                total.add(next(results) if form is None else form.filled(results))
            ct = _dense(total, aval)
            if not layout.check:
                for name in layout.copied(spec):
                    ct = psum_p.bind(ct, axis_name=name)
            sums.append(ct)
        return sums

    staged = stage_closed(fun, backward.in_avals, "the transpose of shard_map")
    if not layout.check:
        return staged
    # an operand that is one value has one cotangent, even where its function did not sum
    ins = (*others(in_specs, linear), *chosen(out_specs, given))
    ready, varying = _ready(staged, ins, None, layout)
    return ready.derive(("summed", tuple(specs), layout), lambda: _summed(ready, varying, specs, layout))


def _summed(jaxpr: Jaxpr, varying: Sequence[Axes], specs: Sequence[PartitionSpec], layout: Layout) -> Jaxpr:
    extra = [[name for name in layout.copied(spec) if name in axes] for axes, spec in zip(varying, specs, strict=True)]
    if not any(extra):
        return jaxpr

    def fun(*args):
        outs = []
        for x, names in zip(eval_jaxpr(jaxpr, [], *args), extra, strict=True):
            for name in names:
                x = psum_p.bind(x, axis_name=name)
            outs.append(x)
        return outs

    return stage_closed(fun, jaxpr.in_avals, "the transpose of shard_map")


def _dense(total: Parts, aval: ShapedArray) -> Any:
    for part in list(total.scattered):
        total.total.add(part)
    value = total.total.taken()
    return instantiate(Zero(aval)) if value is None else value


def _shared(ct: Any, layout: Layout, spec: PartitionSpec) -> Any:
    """The share of a cotangent for each copy of a result."""
    count = int(np.prod([layout.mesh.shape[name] for name in layout.copied(spec)], initial=1))
    return ct if count == 1 else div(ct, scalar(ct, count))


def _batch(trace, operands, dims, jaxpr, in_specs, out_specs, layout):
    with layout.scope():
        derived, out_batched = batch_jaxpr(jaxpr, trace, tuple([d is not None for d in dims]))
    moved = [x if d is None else trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
    ins = tuple([s if d is None else PartitionSpec(None, *s) for s, d in zip(in_specs, dims, strict=True)])
    outs = tuple([PartitionSpec(None, *s) if b else s for s, b in zip(out_specs, out_batched, strict=True)])
    return bind_shard_map(derived, moved, ins, outs, layout), [0 if b else None for b in out_batched]


def _harvest(trace: HarvestTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Values at taps are further results: those of all devices, along a leading axis."""
    jaxpr, layout = params["jaxpr"], params["layout"]
    with layout.scope():
        derived, marks = harvest_jaxpr(jaxpr, trace.kinds)
    n = len(jaxpr.outvars)
    count = len(derived.outvars) - n
    stacked = derived.derive(("stacked", n), lambda: _with_leading_axes(derived, n, [True] * count))
    out_specs = (*params["out_specs"], *[PartitionSpec(layout.names)] * count)
    outs = call_with(trace.parent, bind_shard_map, stacked, args, params["in_specs"], out_specs, layout)
    trace.collect(marks, outs[n:])
    return outs[:n]


def _dce(used: Sequence[bool], eqn: Equation) -> Equation:
    params = eqn.params
    jaxpr, read = dce(params["jaxpr"], tuple(used), keep_inputs=False)
    return eqn.replace(
        invars=chosen(eqn.invars, read),
        outvars=chosen(eqn.outvars, used),
        params={
            **params,
            "jaxpr": jaxpr,
            "in_specs": tuple(chosen(params["in_specs"], read)),
            "out_specs": tuple(chosen(params["out_specs"], used)),
        },
    )


def _placements(jaxpr: AnyValue, in_specs: AnyValue, out_specs: AnyValue, layout: Layout) -> list[NamedSharding]:
    return [NamedSharding(layout.mesh, PartitionSpec())]


shard_map_p.abstract_eval = _type
shard_map_p.evaluate = _evaluate
shard_map_p.lower = _lower
shard_map_p.jvp = _jvp
shard_map_p.linearize = _linearize
set_accumulate(shard_map_p, _accumulate)
shard_map_p.batch = _batch
shard_map_p.harvest = _harvest
shard_map_p.dce = _dce
shard_map_p.has(placements=_placements)

__all__ = ["Layout", "bind_shard_map", "shard_map_p"]
