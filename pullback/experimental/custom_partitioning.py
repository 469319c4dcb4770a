"""Functions that say themselves how they are divided among devices (`jax.experimental.custom_partitioning`)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.arguments import check_callable
from pullback._core.array import Array
from pullback._core.errors import boundary, function_name
from pullback._core.trace import Tracer
from pullback._core.tree import tree_leaves, tree_unflatten
from pullback._higher_order.bodies import lift_tree, trace_body
from pullback._higher_order.partitioning import Partitioning, custom_partitioning_p
from pullback._higher_order.sharding_rules import (
    BATCHING,
    ArrayMapping,
    CompoundFactor,
    SdyShardingRule,
    checked_rule,
)

__all__ = [
    "BATCHING",
    "ArrayMapping",
    "CompoundFactor",
    "SdyShardingRule",
    "custom_partitioning",
    "custom_partitioning_p",
]


class custom_partitioning:
    """A function with rules for how compiled programs of several devices divide it.

    Outside of such programs, eagerly, on one device and inside of `shard_map`, it is the function itself. It has no
    derivative and no batching rule: `custom_vjp`, `custom_jvp` and `custom_vmap` of a function that calls it give them.

    Args:
      fun: a function of pytrees of arrays, which must not use arrays from outside.
      static_argnums: arguments that are passed to `fun` and to the rules as they are.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> @custom_partitioning
    ... def normalized(x):
    ...     return x / pnp.sqrt((x * x).sum(-1, keepdims=True))
    >>> def partition(mesh, args, result):
    ...     place = pb.NamedSharding(mesh, pb.P(args[0].sharding.spec[0], None))  # each row on one device
    ...     return mesh, normalized.fun, place, (place,)
    >>> _ = normalized.def_partition(partition, sharding_rule="i j -> i j", need_replication_factors=("j",))
    >>> mesh = pb.make_mesh((1,), ("x",))
    >>> print(pb.jit(normalized)(pb.device_put(pnp.array([[3., 4.]]), pb.NamedSharding(mesh, pb.P("x")))))
    [[0.6 0.8]]
    """

    def __init__(self, fun: Callable[..., Any], static_argnums: Sequence[int] = ()):
        check_callable("custom_partitioning", fun)
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.static_argnums: tuple[int, ...] = (
            (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
        )
        self.partition: Callable[..., Any] | None = None
        self.propagate_user_sharding: Callable[..., Any] | None = None
        self.infer_sharding_from_operands: Callable[..., Any] | None = None
        self.decode_shardings: bool = True
        self.sharding_rule: Any = None

    @boundary
    def def_partition(
        self,
        partition: Callable[..., Any],
        infer_sharding_from_operands: Callable[..., Any] | None = None,
        propagate_user_sharding: Callable[..., Any] | None = None,
        decode_shardings: bool = True,
        sharding_rule: Any = None,
        *,
        reduction_factors: Sequence[str] = (),
        need_replication_factors: Sequence[str] = (),
        permutation_factors: Sequence[str] = (),
        **factor_sizes: int,
    ) -> Callable[..., Any]:
        """Set the rules; returns `partition`.

        Args:
          partition: `partition(*static_args, mesh, args, result)`, where `args` (a tuple) and `result` are pytrees of
            `ShapeDtypeStruct` with the shardings that the compiler has chosen. It returns `(mesh, function,
            result_shardings, arg_shardings)`: a function of the parts, in which collectives along the axes of the mesh
            may be used, and the shardings that it is for, to which the compiler brings the arguments.
          infer_sharding_from_operands, propagate_user_sharding: rules of a former partitioner, which are not called.
          decode_shardings: whether shardings are specs of the mesh, as far as there is one; else lists of parts.
          sharding_rule: how shardings spread from operands to results and back: a text such as "i j, j k -> i k", an
            `SdyShardingRule`, or a function of the static arguments, the mesh, and lists of the types of operands and
            results that returns one of these, or a pair of one and a dict of the arguments below.
          reduction_factors, need_replication_factors, permutation_factors, factor_sizes: of a text, see
            `SdyShardingRule`.

        Raises: ValueError for a rule that is none; NotImplementedError for the former rules without a `sharding_rule`.
        """
        check_callable("custom_partitioning: partition", partition)
        named = {
            "reduction_factors": tuple(reduction_factors),
            "need_replication_factors": tuple(need_replication_factors),
            "permutation_factors": tuple(permutation_factors),
        }
        properties = {**{k: v for k, v in named.items() if v}, **factor_sizes}
        if sharding_rule is None and (infer_sharding_from_operands or propagate_user_sharding):
            raise NotImplementedError(
                f"custom_partitioning of {function_name(self.fun)}: shardings are propagated by a sharding_rule, and "
                "not by infer_sharding_from_operands or propagate_user_sharding. Pass one, such as '... i -> ... i'"
            )
        if isinstance(sharding_rule, str) or (sharding_rule is not None and not callable(sharding_rule)):
            sharding_rule = checked_rule(sharding_rule, properties)
        elif properties:
            raise ValueError(f"custom_partitioning: {', '.join(properties)}: a text as sharding_rule takes these")
        self.partition = partition
        self.propagate_user_sharding = propagate_user_sharding
        self.infer_sharding_from_operands = infer_sharding_from_operands
        self.decode_shardings = decode_shardings
        self.sharding_rule = sharding_rule
        return partition

    @boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = function_name(self.fun)
        if self.partition is None:
            raise TypeError(f"custom_partitioning of {name}: give it rules first, by def_partition")
        bound = inspect.signature(self.fun).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"custom_partitioning of {name}: arguments by keyword alone, {list(bound.kwargs)}, are not taken"
            )
        static = {i % len(bound.args): bound.args[i] for i in self.static_argnums}
        for i, value in static.items():
            if any(isinstance(x, (Array, Tracer)) for x in tree_leaves(value)):
                raise TypeError(f"custom_partitioning of {name}: the argument {i} is static, and must be no array")
        moving = tuple([x for i, x in enumerate(bound.args) if i not in static])

        @functools.wraps(self.fun)
        def function(*xs):
            rest = iter(xs)
            return self.fun(*[static[i] if i in static else next(rest) for i in range(len(bound.args))])

        xs, in_tree = lift_tree(f"custom_partitioning of {name}", "args", moving)
        body = trace_body("custom_partitioning", function, in_tree, [x.aval for x in xs], name)
        if body.consts:
            raise ValueError(
                f"custom_partitioning of {name}: it uses {len(body.consts)} arrays that are no arguments, of types "
                f"{[x.aval.str_short() for x in body.consts]}. Pass them, so that the rules can say where they are"
            )
        rules = Partitioning(
            name,
            self.partition,
            self.sharding_rule,
            tuple(static.values()),
            self.decode_shardings,
            (in_tree, body.out_tree),
        )
        outs = custom_partitioning_p.bind(*xs, jaxpr=body.jaxpr, partitioning=rules)
        return tree_unflatten(body.out_tree, outs)
