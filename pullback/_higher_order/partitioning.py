"""`custom_partitioning`: a function with rules for how it is divided among devices.

In a program of several devices it is a custom call that XLA's partitioner asks about: by its sharding rule first, then
by a call of Python with the shardings that it has chosen. What comes back is a module of what each device computes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.meshes import Mesh
from pullback._core.primitive import HigherOrder
from pullback._core.sharding import Sharding
from pullback._core.trace import Tracer
from pullback._core.tree import PyTreeDef
from pullback._core.types import ShapedArray, ShapeDtypeStruct, make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.bodies import trace_body
from pullback._higher_order.call import called, check_operands
from pullback._higher_order.shard_map import Layout
from pullback._higher_order.sharding_rules import SdyShardingRule, checked_rule
from pullback._xla import engine, placement, plugins
from pullback._xla.evaluate import eagerly
from pullback._xla.lowering import module_of_parts
from pullback._xla.manual import Manual
from pullback._xla.spread import Spread, tiles_of

_TARGET = "pullback_partitioning"


class Partitioning:
    """The rules of a function, for one call: `partition`, and the sharding rule or the function that makes it.

    `name` is the function's, `static_args` are passed on to the rules, and the trees are those of arguments and result.
    """

    def __init__(
        self,
        name: str,
        partition: Callable[..., Any],
        sharding_rule: Any,
        static_args: tuple[Any, ...],
        decode: bool,
        trees: tuple[PyTreeDef, PyTreeDef],
    ):
        self.name = name
        self.partition = partition
        self.sharding_rule = sharding_rule
        self.static_args = static_args
        self.decode = decode
        self.in_tree, self.out_tree = trees

    def __repr__(self) -> str:
        return f"<partitioning of {self.name}>"

    def rule(self, mesh: Mesh, jaxpr: Jaxpr) -> str | None:
        """The sharding rule as an attribute; None if there is none."""
        rule = self.sharding_rule
        if rule is None:
            return None
        properties: dict[str, Any] = {}
        if callable(rule) and not isinstance(rule, SdyShardingRule):
            rule = rule(*self.static_args, mesh, list(jaxpr.in_avals), list(jaxpr.out_avals))
            if isinstance(rule, (list, tuple)) and len(rule) == 2:
                rule, properties = rule
        try:
            return checked_rule(rule, properties).text(
                *[[x.shape for x in xs] for xs in (jaxpr.in_avals, jaxpr.out_avals)]
            )
        except ValueError as error:
            raise ValueError(f"custom_partitioning of {self.name}: {error}") from None


class Divided:
    """A call in a program of several devices: what the partitioner's questions are answered by.

    `failure` is the exception of a rule that failed: the engine reports its text alone.
    """

    def __init__(self, partitioning: Partitioning, jaxpr: Jaxpr, spread: Spread, mesh: Mesh):
        self.partitioning = partitioning
        self.jaxpr = jaxpr
        self.spread = spread
        self.mesh = mesh
        self.failure: BaseException | None = None

    def _chosen(self, described: Any, aval: ShapedArray) -> Any:
        """The sharding that the partitioner has chosen."""
        if self.partitioning.decode:
            return self.spread.chosen(described.to_proto(), aval.ndim)
        return self.spread.tiled(tiles_of(described, aval.ndim, len(self.spread.devices)))

    def _structs(self, tree: PyTreeDef, avals: Sequence[ShapedArray], described: Sequence[Any]) -> Any:
        leaves = [
            ShapeDtypeStruct(aval.shape, aval.dtype, sharding=self._chosen(at, aval))
            for aval, at in zip(avals, described, strict=True)
        ]
        return tree.unflatten(leaves)

    def divide(
        self, described_args: Sequence[Any], described_results: Sequence[Any]
    ) -> tuple[str, list[Any], list[Any]]:
        """The module of what each device computes, and the shardings of arguments and results that it is for."""
        rules, jaxpr = self.partitioning, self.jaxpr
        who = f"custom_partitioning of {rules.name}: partition"
        answer = rules.partition(
            *rules.static_args,
            self.mesh,
            self._structs(rules.in_tree, jaxpr.in_avals, described_args),
            self._structs(rules.out_tree, jaxpr.out_avals, described_results),
        )
        if not isinstance(answer, tuple) or len(answer) != 4:
            raise TypeError(
                f"{who} must return (mesh, function of the parts, shardings of the result, shardings of the "
                f"arguments), got {answer!r}"
            )
        mesh, function, results, arguments = answer
        ins, in_avals = self._parts(who, "arguments", rules.in_tree, arguments, jaxpr.in_avals)
        outs, out_avals = self._parts(who, "the result", rules.out_tree, results, jaxpr.out_avals)
        layout = Layout(mesh, mesh.axis_names, False, rules.name)
        with layout.scope():
            body = trace_body(
                "custom_partitioning", function, rules.in_tree, in_avals, f"the function of {rules.name}'s parts"
            )
        if any(isinstance(x, Tracer) for x in body.consts):
            raise ValueError(f"{who}: the function of the parts uses traced values that are no arguments of it")
        found = [aval.strip_weak_type() for aval in body.jaxpr.out_avals]
        if body.out_tree != rules.out_tree or found != out_avals:
            raise ValueError(
                f"{who}: the function of the parts must return {[x.str_short() for x in out_avals]}, parts of the "
                f"result as its shardings say, got {[x.str_short() for x in found]}"
            )
        manual = Manual(mesh, mesh.axis_names, self.spread.positions(mesh.flat_devices))
        return module_of_parts(body.jaxpr, body.consts, self.spread.platform, manual), ins, outs

    def _parts(
        self, who: str, what: str, tree: PyTreeDef, places: Any, avals: Sequence[ShapedArray]
    ) -> tuple[list[Any], list[ShapedArray]]:
        """The engine's descriptions of shardings, and the types of the parts."""
        described, parts = [], []
        for place, aval in zip(tree.flatten_up_to(places), avals, strict=True):
            if not isinstance(place, Sharding):
                raise TypeError(f"{who}: expected a sharding for each of {what}, got {place!r}")
            positions = np.asarray(self.spread.positions(place.flat_devices))
            described.append(
                engine.xla_client().HloSharding.from_proto(placement.described(positions[place.tiles(aval.ndim)]))
            )
            parts.append(make_aval(place.shard_shape(aval.shape), aval.dtype))
        return described, parts


_divided: WeakValueDictionary[bytes, Divided] = WeakValueDictionary()
_numbers = itertools.count()


def _asked(arg_shapes, arg_shardings, result_shape, result_sharding, key) -> tuple[bytes, list[Any], Any]:
    """The answer to the partitioner."""
    divided = _divided[bytes(key)]
    many = result_shape.is_tuple()
    try:
        results = result_sharding.tuple_elements() if many else [result_sharding]
        text, ins, outs = eagerly(divided.divide, arg_shardings, results)
    except BaseException as error:
        divided.failure = error
        raise
    tuple_of = engine.xla_client().HloSharding.tuple_sharding
    return text.encode(), ins, tuple_of(result_shape, outs) if many else outs[0]


def _from_users(sharding, shape, key):
    return sharding


def _from_operands(arg_shapes, arg_shardings, shape, key):
    raise NotImplementedError("shardings are propagated by sharding rules")


_registered: set[str] = set()


def _register(platform: str) -> None:
    """Tell the compiler of a platform, once, whom to ask."""
    if platform not in _registered:
        engine.xla_client().register_custom_call_partitioner(
            _TARGET,
            _from_users,
            _asked,
            _from_operands,
            can_side_effecting_have_replicated_sharding=True,
            c_api=plugins.interface_of(platform),
        )
        _registered.add(platform)


custom_partitioning_p: HigherOrder = HigherOrder(
    "custom_partitioning",
    lambda params: [called(params["jaxpr"])],
    lambda params, jaxprs, kept: {**params, "jaxpr": jaxprs[0]},
)


def _type(*avals, jaxpr, partitioning):
    check_operands(f"custom_partitioning of {partitioning.name}", jaxpr, avals)
    return jaxpr.out_avals


def _lower(ctx, *operands, jaxpr, partitioning):
    module, spread = ctx.module, ctx.module.spread
    mesh = None if spread is None else spread.mesh
    if mesh is None or len(spread.devices) == 1 or module.manual is not None:
        return ctx.inline(jaxpr, operands)
    _register(spread.platform)
    divided = Divided(partitioning, jaxpr, spread, mesh)
    key = f"{next(_numbers)}"
    _divided[key.encode()] = divided
    module.divided.append(divided)
    rule = partitioning.rule(mesh, jaxpr)
    return ctx.op(
        "stablehlo.custom_call",
        operands,
        list(jaxpr.out_avals),
        f'call_target_name = "{_TARGET}", api_version = 2 : i32, has_side_effect = false, backend_config = "{key}"'
        + ("" if rule is None else f", sdy.sharding_rule = {rule}"),
    )


def _refusal(what: str, partitioning: Partitioning, instead: str) -> NotImplementedError:
    return NotImplementedError(
        f"custom_partitioning of {partitioning.name}: {what} has no rule that says how it is divided. {instead}"
    )


def _jvp(primals, tangents, *, jaxpr, partitioning):
    if any(type(t) is not Zero for t in tangents):
        raise _refusal(
            "its derivative",
            partitioning,
            "Call it in a function with rules, by custom_vjp or custom_jvp",
        )
    outs = custom_partitioning_p.bind(*primals, jaxpr=jaxpr, partitioning=partitioning)
    return outs, [zero_of(out.aval) for out in outs]


def _batch(trace, operands, dims, *, jaxpr, partitioning):
    raise _refusal("vmap of it", partitioning, "Write it for leading axes ('... i -> ... i'), or use custom_vmap")


custom_partitioning_p.evaluate = lambda *args, jaxpr, partitioning: eval_jaxpr(jaxpr, [], *args)
custom_partitioning_p.abstract_eval = _type
custom_partitioning_p.lower = _lower
custom_partitioning_p.jvp = _jvp
custom_partitioning_p.batch = _batch

__all__ = ["Partitioning", "custom_partitioning_p"]
