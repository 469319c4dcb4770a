"""Tables by which programs give rules to primitives, in the forms of JAX's `interpreters`; the rules lead to ours.

Assignment, `table[primitive] = rule`, sets a rule of the primitive, with the checks that its `def_` methods make.
Reading gives back what was assigned, or the rule that the primitive has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pullback._api.primitive_checks import checked_batch, checked_jvp, checked_lowering, checked_transpose
from pullback._core.arguments import check_callable
from pullback._core.array import lift
from pullback._core.errors import RuleError, described, standing_for
from pullback._core.jaxpr import ClosedJaxpr
from pullback._core.primitive import Primitive
from pullback._core.staging import stage
from pullback._core.trace import LinearTracer, context, is_linear
from pullback._core.tree import register_pytree_node
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._xla.built_rules import NotBuilt, emit_built
from pullback._xla.lowering import Block, Value


class UndefinedPrimal:
    """A linear operand in a transpose rule of one of these tables: it has a type and no value.

    >>> UndefinedPrimal(ShapedArray((2,), "float32"))
    UndefinedPrimal(ShapedArray(float32[2]))
    """

    __slots__ = ("aval",)
    aval: ShapedArray

    def __init__(self, aval: ShapedArray):
        self.aval = aval

    def __repr__(self) -> str:
        return f"UndefinedPrimal({self.aval!r})"


register_pytree_node(UndefinedPrimal, lambda x: ((), x.aval), lambda aval, _: UndefinedPrimal(aval))


class RuleTable(MutableMapping[Any, Any]):
    """A table of one kind of rules, by primitives."""

    def __init__(self, name: str, slot: str, to_ours: Callable[[Primitive, Callable], Callable], from_ours: Callable):
        self._name = name
        self._slot = slot
        self._to_ours = to_ours
        self._from_ours = from_ours
        self._given: dict[Any, Any] = {}

    def __setitem__(self, primitive: AnyValue, rule: AnyValue) -> None:
        if not isinstance(primitive, Primitive):
            raise TypeError(f"{self._name}[...] = rule: expected a primitive, got {described(primitive)}")
        check_callable(f"{self._name}[{primitive}]", rule)
        self._given[primitive] = rule
        self._set(primitive, self._to_ours(primitive, rule))

    def __getitem__(self, primitive: AnyValue) -> Any:
        if primitive in self._given:
            return self._given[primitive]
        rule = getattr(primitive, self._slot, None)
        if rule is None:
            raise KeyError(primitive)
        return self._from_ours(rule)

    def __delitem__(self, primitive: AnyValue) -> None:
        del self._given[primitive]
        self._set(primitive, None)

    def _set(self, primitive: AnyValue, rule: Any) -> None:
        setattr(primitive, self._slot, rule)
        if self._slot == "jvp":
            primitive.factor = None  # which said the same as the rule of the package

    def __iter__(self) -> Iterator[Any]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        return f"<the table {self._name}: {len(self)} rules assigned>"


# --- transposition ---


class _Unknown(LinearTracer):
    """A linear operand, for a rule of the package that is called through a table."""

    __slots__ = ("_index",)

    def __init__(self, aval: ShapedArray):
        self._trace = context.trace
        self.aval = aval
        self._index = 0

    def _origin(self) -> str:
        return "it is an UndefinedPrimal"


def transpose_from(primitive: Primitive, rule: Callable) -> Callable:
    """A transpose rule that gets an `UndefinedPrimal` for each linear operand, as one of ours."""

    @standing_for(rule)
    def transpose(cotangent, /, *operands, **params):
        return rule(cotangent, *[UndefinedPrimal(x.aval) if is_linear(x) else x for x in operands], **params)

    return checked_transpose(primitive, transpose)


def transpose_to(rule: Callable) -> Callable:
    """One of our transpose rules as one that gets an `UndefinedPrimal` for each linear operand."""

    def transpose(cotangent, *operands, **params):
        return rule(cotangent, *[_Unknown(x.aval) if isinstance(x, UndefinedPrimal) else x for x in operands], **params)

    return transpose


# --- vectorization ---


class AxisData(NamedTuple):
    """What a batching rule may ask about the `vmap`: the name of its axis and its length."""

    name: Any
    size: int
    spmd_name: Any = None
    explicit_mesh_axis: Any = None


def batch_from_axis_rule(primitive: Primitive, rule: Callable) -> Callable:
    """`rule(axis_size, axis_name, trace_type, operands, dims, **params)` as one of ours."""
    return lambda trace, operands, dims, **params: checked_batch(
        primitive, standing_for(rule)(partial(rule, trace.size, trace.axis_name, None))
    )(trace, operands, dims, **params)


def batch_from_fancy_rule(primitive: Primitive, rule: Callable) -> Callable:
    """`rule(axis_data, operands, dims, **params)` as one of ours."""
    return lambda trace, operands, dims, **params: checked_batch(
        primitive, standing_for(rule)(partial(rule, AxisData(trace.axis_name, trace.size)))
    )(trace, operands, dims, **params)


def _without_trace(rule: Callable) -> Callable:
    return lambda operands, dims, **params: rule(_Axis.here(), operands, dims, **params)


class _Axis(NamedTuple):
    """Stands for the trace in one of our batching rules that is called through a table."""

    size: int
    axis_name: Any

    @staticmethod
    def here() -> _Axis:
        name, size = context.axis_sizes[-1] if context.axis_sizes else (None, 1)
        return _Axis(size, name)


def _itself(rule: Callable) -> Callable:
    return rule


primitive_jvps: RuleTable = RuleTable("primitive_jvps", "jvp", partial(checked_jvp, adds_zeros=True), _itself)
primitive_transposes: RuleTable = RuleTable("primitive_transposes", "transpose", transpose_from, transpose_to)
primitive_batchers: RuleTable = RuleTable("primitive_batchers", "batch", checked_batch, _without_trace)
axis_primitive_batchers: RuleTable = RuleTable("axis_primitive_batchers", "batch", batch_from_axis_rule, _without_trace)
fancy_primitive_batchers: RuleTable = RuleTable(
    "fancy_primitive_batchers", "batch", batch_from_fancy_rule, _without_trace
)


# --- lowering ---


class LoweringContext:
    """What a lowering rule gets: the emitter of the block, and the types of operands and results.

    Everything else is asked of the emitter: `op`, `constant`, `inline` and the rest.
    """

    __slots__ = ("_block", "avals_in", "avals_out", "primitive")

    def __init__(self, block: Block, avals_in: Sequence[ShapedArray], primitive: Primitive):
        self._block = block
        self.avals_in: list[ShapedArray] = list(avals_in)
        self.avals_out: list[ShapedArray] = list(block.out_avals)
        self.primitive: Primitive = primitive

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._block, name)
        except AttributeError:
            raise AttributeError(
                f"the lowering context has no {name!r}: of JAX's it has avals_in, avals_out and primitive. "
                "Write the rule with mlir.lower_fun(function), or with ctx.op(...) as in ARCHITECTURE.md."
            ) from None


def lower_from(primitive: Primitive, rule: Callable) -> Callable:
    """A lowering rule that may ask for `ctx.avals_in` and `ctx.avals_out`, as one of ours."""

    @standing_for(rule)
    def lower(ctx, /, *operands, **params):
        seen = LoweringContext(ctx, [x.aval for x in operands], primitive)
        try:
            result = rule(seen, *operands, **params)
        except (TypeError, AttributeError, RuntimeError) as refused:
            if not _builds_with_mlir(refused):
                raise
            result = _built(ctx, partial(rule, seen, **params), primitive, operands)
        if not primitive.multiple_results and isinstance(result, (list, tuple)) and len(result) == 1:
            return result[0]  # rules of JAX's always return a list
        return result

    return checked_lowering(primitive, lower)


def _builds_with_mlir(error: Exception) -> bool:
    """Whether a rule failed because MLIR's objects, with which it builds, take no values but MLIR's own."""
    if isinstance(error, AttributeError) and isinstance(error.obj, (Value, LoweringContext)):
        return True
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    made = place.tb_frame.f_globals.get("__name__", "") if place is not None else ""
    return made.startswith("jaxlib.mlir") or "MLIR" in str(error) or "jaxlib.mlir" in str(error)


def _built(ctx: Block, rule: Callable[..., Any], primitive: Primitive, operands: Sequence[Value]) -> list[Value]:
    """What a rule emits that builds operations from MLIR's objects."""
    try:
        return emit_built(ctx, rule, f"rule_of_{primitive.name}", operands, list(ctx.out_avals))
    except NotBuilt as error:
        raise RuleError(f"the lowering rule of '{primitive.name}' must return {error}") from None


class PlatformRules:
    """Lowering rules of a primitive by platform; `None` is the key of that for all others."""

    def __init__(self, rules: dict[str | None, Callable]):
        self.rules = rules

    def __call__(self, ctx, /, *operands, **params):
        rule = self.rules.get(ctx.module.platform) or self.rules.get(None)
        if rule is None:
            raise NotImplementedError(
                f"there is no lowering rule for {ctx.module.platform!r}, only for {', '.join(map(repr, self.rules))}. "
                "Set one by register_lowering(primitive, rule), for all platforms"
            )
        return rule(ctx, *operands, **params)


def rule_of_platform(primitive: Primitive, platform: str | None, rule: Callable) -> Callable:
    """The lowering rule of a primitive after one has been set, for a platform or for all."""
    rules: dict[str | None, Callable] = {}
    if isinstance(primitive.lower, PlatformRules):
        rules.update(primitive.lower.rules)
    elif primitive.lower is not None:
        rules[None] = primitive.lower
    rules[None if platform is None else _PLATFORMS.get(platform, platform)] = rule
    return rule if list(rules) == [None] else PlatformRules(rules)


_PLATFORMS = {"gpu": "cuda"}


def lower_fun(fun: Callable[..., Any], multiple_results: bool = True) -> Callable[..., Any]:
    """A lowering rule that emits what a function of arrays does.

    Args:
      fun: `fun(*arrays, **params)`, the implementation of the primitive in terms of other operations.
      multiple_results: whether it returns a sequence of results.

    Raises: TypeError if `fun` is not callable.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> double_p = pb.extend.core.Primitive("double")
    >>> _ = double_p.def_abstract_eval(lambda x: x)
    >>> pb.interpreters.mlir.register_lowering(double_p, lower_fun(lambda x: x + x, multiple_results=False))
    >>> print(pb.jit(double_p.bind)(2.))
    4.0
    """
    check_callable("lower_fun", fun)

    @standing_for(fun)
    def rule(ctx, /, *operands: Value, **params):
        @standing_for(fun)
        def flat(*xs):
            outs = fun(*xs, **params)
            return [lift(x) for x in (outs if multiple_results else [outs])]

        block = ctx._block if isinstance(ctx, LoweringContext) else ctx
        closed: ClosedJaxpr = stage(flat, [x.aval for x in operands], "a function for lower_fun")
        constants = [block.constant(x.value, x.aval) for x in closed.consts]
        outs = block.inline(closed.jaxpr, [*constants, *operands])
        return outs if multiple_results else outs[0]

    return rule
