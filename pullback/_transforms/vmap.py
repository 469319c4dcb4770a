"""Vectorization: every primitive is replaced by its batching rule, on values that carry a batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pullback._core.array import lift
from pullback._core.config import leaks_are_checked
from pullback._core.errors import RuleNotDefinedError
from pullback._core.hitypes import add_values_p, detach_value_p, lower_value_p, raise_value_p
from pullback._core.jaxpr import Jaxpr, eval_jaxpr, gathered
from pullback._core.lazy import LateModule
from pullback._core.primitive import Collective, HigherOrder, Primitive, missing_rule_message
from pullback._core.trace import Trace, Tracer, axis_size, call_with, context
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, AxisName
from pullback._ops.identity import stage_noting
from pullback._ops.own_types import by_parts, by_parts_p, with_leading_axis, without_leading_axis
from pullback._ops.shape import broadcast_in_dim, move_axis

if TYPE_CHECKING:
    from pullback._core import leaks
else:
    leaks = LateModule("pullback._core.leaks")

_SUBJECT = "the vmap of a traced function"


class BatchTracer(Tracer):
    """A value with a batch axis, whose type does not include that axis."""

    __slots__ = ("_batch_value", "_dim")

    def __init__(self, trace: BatchTrace, value: AnyValue, dim: int):
        self._trace = trace
        self._batch_value: Any = value
        self._dim: int = dim
        aval = value.aval
        if type(aval) is ShapedArray:
            self.aval = make_aval(aval.shape[:dim] + aval.shape[dim + 1 :], aval.dtype, aval.weak_type)
        else:
            self.aval: ShapedArray = without_leading(aval)

    @property
    def val(self) -> Any:
        """The array with the batch axis, under JAX's name; operations on the tracer apply to it."""
        # a type of one's own may have a part of this name
        return self._batch_value if type(self.aval) is ShapedArray else super().val  # type: ignore[misc]

    @property
    def batch_dim(self) -> int:
        """The place of the batch axis in `val`."""
        return self._dim if type(self.aval) is ShapedArray else super().batch_dim  # type: ignore[misc]

    def _outer(self) -> Any:
        return self._batch_value

    def _origin(self) -> str:
        return self._trace.line_of(self)


class BatchTrace(Trace):
    """Applies batching rules. `axis_name` may be None; `size` is the length of the batch axis.

    It `repeats` the function, once for each example, unless only tangents of it have a batch axis.
    """

    __slots__ = ("axis_name", "repeats", "size", "spmd_axes", "subject")

    def __init__(self, parent: Trace | None, axis_name: AxisName | None, size: int, subject: str = "vmap"):
        super().__init__(parent)
        self.axis_name: AxisName | None = axis_name
        self.size: int = size
        self.subject: str = subject
        self.repeats: bool = True
        # axes of a mesh along which constraints on examples spread the batch axis; None leaves it to the compiler
        self.spmd_axes: tuple[str, ...] | None = None

    def describe(self) -> str:
        return self.subject if self.axis_name is None else f"{self.subject} over the axis {self.axis_name!r}"

    def split(self, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Values, and their batch axes (None for an unbatched value)."""
        values: list[Any] = []
        dims: list[int | None] = []
        for a in args:
            if type(a) is BatchTracer and a._trace is self:
                values.append(a._batch_value)
                dims.append(a._dim)
            else:
                values.append(a)
                dims.append(None)
        return values, dims

    def join(self, value: AnyValue, dim: int | None) -> Any:
        return value if dim is None else BatchTracer(self, value, dim)

    def is_along_axis(self, primitive: Primitive, params: dict[str, Any]) -> bool:
        """Return whether a primitive works along the named axis of this trace (`psum`, `axis_index`)."""
        return type(primitive) is Collective and params[primitive.axis_param] == self.axis_name is not None

    def must_process(self, primitive: Primitive, params: dict[str, Any]) -> bool:
        """Return whether a primitive, or a function that it holds, must be processed by this trace."""
        if primitive.traits.per_example:
            return True
        if self.axis_name is None or type(primitive) is not HigherOrder:
            return False
        held = primitive.bodies(params)
        return not held or any(self.axis_name in axis_names(h.jaxpr) for h in held)

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        values, dims = self.split(args)
        collective = type(primitive) is Collective and self.is_along_axis(primitive, params)
        if not collective and all(d is None for d in dims) and not self.must_process(primitive, params):
            return call_with(self.parent, primitive.bind, *args, **params)
        rule = primitive.collective if collective else primitive.batch  # type: ignore[attr-defined]
        if rule is None:
            raise RuleNotDefinedError(missing_rule_message(primitive, "batch"))
        values = [v if isinstance(v, Tracer) else lift(v) for v in values]
        out, out_dims = call_with(self.parent, rule, self, values, dims, **params)
        if primitive.multiple_results:
            if not isinstance(out_dims, (list, tuple)):
                out_dims = [out_dims] * len(out)
            return [self.join(v, d) for v, d in zip(out, out_dims, strict=True)]
        return self.join(out, out_dims)

    def line_of(self, x: BatchTracer) -> str:
        """The line where a value was made, for messages; no trace knows but `_LocatedTrace`."""
        return ""

    def materialize(self, value: AnyValue, dim: int | None, to: int = 0) -> Any:
        """The value with its batch axis at `to`; an unbatched value is repeated."""
        return repeated(value, self.size, to) if dim is None else moved(lift(value), dim, to)


class _LocatedTrace(BatchTrace):
    """A trace that knows the lines where its values were made, while `check_tracer_leaks` is on."""

    __slots__ = ("lines",)

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.lines: dict[int, str] = {}

    def join(self, value: AnyValue, dim: int | None) -> Any:
        x = super().join(value, dim)
        if dim is not None:
            self.lines[id(x)] = leaks.user_line()  # of what is still there at the end, the last with this number
        return x

    def line_of(self, x: BatchTracer) -> str:
        return f"it was made at {self.lines[id(x)]}"


def axis_names(jaxpr: Jaxpr) -> frozenset:
    """The named axes of the collectives in a jaxpr and in the jaxprs it holds."""

    def name(eqn):
        return [eqn.params[eqn.primitive.axis_param]] if type(eqn.primitive) is Collective else ()

    return frozenset(gathered(jaxpr, "axis names", name))


def batch_flat(
    fun: Callable[..., Sequence[Any]],
    values: Sequence[Any],
    dims: Sequence[int | None],
    size: int,
    axis_name: AxisName | None = None,
    subject: str = "vmap",
    repeats: bool = True,
    spmd_axes: tuple[str, ...] | None = None,
) -> tuple[list[Any], list[int | None], BatchTrace]:
    """Run a flat function on values with batch axes; returns results, their batch axes (None: unbatched), the trace."""
    trace = (_LocatedTrace if leaks_are_checked() else BatchTrace)(context.trace, axis_name, size, subject)
    trace.repeats, trace.spmd_axes = repeats, spmd_axes
    args = [trace.join(v, d) for v, d in zip(values, dims, strict=True)]
    try:
        with axis_size(axis_name, size):
            outs = call_with(trace, fun, *args)
    finally:
        trace.alive = False
    values_out, dims_out = trace.split(outs)
    if leaks_are_checked():
        del args, outs
        leaks.refuse_leaks(trace)
    return values_out, dims_out, trace


def batch_jaxpr(
    jaxpr: Jaxpr, trace: BatchTrace, batched: tuple[bool, ...], force: tuple[bool, ...] | bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr on inputs of which the `batched` ones have a leading batch axis.

    Results that do not depend on a batched input are unbatched, unless `force` requests a batch axis; the second value
    flags the batched ones.
    """
    if isinstance(force, bool):
        force = (force,) * len(jaxpr.outvars)
    name, size, spmd = trace.axis_name, trace.size, trace.spmd_axes

    def make():
        def fun(*args):
            dims = [0 if b else None for b in batched]
            flat = partial(eval_jaxpr, jaxpr, [])
            outs, out_dims, inner = batch_flat(flat, args, dims, size, name, spmd_axes=spmd)
            out_batched = tuple([f or d is not None for d, f in zip(out_dims, force, strict=True)])
            return [
                inner.materialize(v, d) if b else v for v, d, b in zip(outs, out_dims, out_batched, strict=True)
            ], out_batched

        avals = [with_leading(aval, size) if b else aval for aval, b in zip(jaxpr.in_avals, batched, strict=True)]
        return stage_noting(fun, avals, _SUBJECT)

    return jaxpr.derive(("batch", batched, force, size, name, spmd, context.axis_sizes), make)


def without_leading(aval: Any) -> Any:
    """The type of one entry along the first axis."""
    if type(aval) is not ShapedArray:
        return without_leading_axis(aval)
    return make_aval(aval.shape[1:], aval.dtype, aval.weak_type)


def moved(x: Any, source: int, to: int) -> Any:
    """`x` with one axis moved; that of a value of a type of one's own is in front and stays there."""
    if type(x.aval) is not ShapedArray:
        return x
    return move_axis(x, source, to)


def repeated(x: AnyValue, size: int, to: int = 0) -> Any:
    """An unbatched value, repeated along a new axis at `to`."""
    x = lift(x)
    if type(x.aval) is not ShapedArray:
        return by_parts(lambda part: repeated(part, size), with_leading_axis(x.aval, size), x)
    to = to % (x.aval.ndim + 1)
    full = (*x.aval.shape[:to], size, *x.aval.shape[to:])
    return broadcast_in_dim(x, full, tuple(i for i in range(len(full)) if i != to))


def with_leading(aval: Any, size: int) -> Any:
    """The type with an additional leading axis."""
    if type(aval) is not ShapedArray:
        return with_leading_axis(aval, size)
    return make_aval((size, *aval.shape), aval.dtype, aval.weak_type)


# --- values of types of one's own: the batch axis is in front of all parts ---


def _batch_lower(trace: BatchTrace, operands: Sequence[Any], dims: Sequence[int | None]) -> tuple[Any, Any]:
    return lower_value_p.bind(*operands), 0


def _batch_raise(trace: BatchTrace, parts: Sequence[Any], dims: Sequence[int | None], ty: Any) -> tuple[Any, Any]:
    parts = [trace.materialize(x, d) for x, d in zip(parts, dims, strict=True)]
    return raise_value_p.bind(*parts, ty=with_leading(ty, trace.size)), 0


def _batch_all(primitive: Primitive) -> Callable[..., tuple[Any, Any]]:
    def batch(trace: BatchTrace, operands: Sequence[Any], dims: Sequence[int | None]) -> tuple[Any, Any]:
        return primitive.bind(*[trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]), 0

    return batch


def _batch_by_parts(
    trace: BatchTrace, operands: Sequence[Any], dims: Sequence[int | None], fun: Callable[..., Any], ty: Any, count: int
) -> tuple[Any, Any]:
    def batched(*parts: Any) -> Any:
        outs, out_dims, inner = batch_flat(lambda *xs: [fun(*xs)], parts, dims, trace.size)
        return inner.materialize(outs[0], out_dims[0])

    return by_parts_p.bind(*operands, fun=batched, ty=with_leading(ty, trace.size), count=count), 0


by_parts_p.batch = _batch_by_parts
lower_value_p.batch = _batch_lower
raise_value_p.batch = _batch_raise
add_values_p.batch = _batch_all(add_values_p)
detach_value_p.batch = _batch_all(detach_value_p)
