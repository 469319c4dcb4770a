"""What programs ask about the transformations around them, and about types, under JAX's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import aval_of
from pullback._core.array import Array, is_array_like
from pullback._core.errors import described
from pullback._core.jaxpr import ClosedJaxpr, Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.trace import Trace, Tracer, context
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, DTypeLike
from pullback._transforms.vmap import BatchTrace

array_types: tuple[type, ...] = (Array, np.ndarray, np.generic, bool, int, float, complex)


def trace_state_clean() -> bool:
    """Return whether no transformation is running. Raises nothing.

    >>> trace_state_clean()
    True
    """
    return context.trace.parent is None


class OpaqueTraceState:
    """The transformations that ran when it was made: equal if they are the same."""

    __slots__ = ("_traces",)
    _traces: tuple[Trace, ...]

    def __init__(self) -> None:
        traces: list[Trace] = []
        trace: Any = context.trace
        while trace is not None:
            traces.append(trace)
            trace = trace.parent
        self._traces = tuple(traces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueTraceState) and self._traces == other._traces

    def __hash__(self) -> int:
        return hash(self._traces)


def get_opaque_trace_state(convention: str | None = None) -> OpaqueTraceState:
    """An object that is equal to another if the same transformations ran when both were made. Raises nothing.

    >>> get_opaque_trace_state() == get_opaque_trace_state()
    True
    """
    return OpaqueTraceState()


def find_top_trace(xs: AnyValue = ()) -> Trace:
    """The innermost transformation that is running. Raises nothing.

    >>> import pullback as pb
    >>> def f(x):
    ...     print(x._trace.main is find_top_trace((x,)).main)
    ...     return x
    >>> _ = pb.jvp(f, (1.,), (1.,))
    True
    """
    return context.trace


@contextmanager
def take_current_trace() -> Iterator[Trace]:
    """Context manager: the innermost transformation, in place of which the one around it runs. Raises nothing.

    >>> with take_current_trace() as trace:
    ...     trace_state_clean()
    True
    """
    outer = context.trace
    context.trace = outer if outer.parent is None else outer.parent
    try:
        yield outer
    finally:
        context.trace = outer


@contextmanager
def set_current_trace(trace: Trace) -> Iterator[None]:
    """Context manager: a transformation as the innermost one. TypeError for anything else.

    >>> with take_current_trace() as trace, set_current_trace(trace):
    ...     trace_state_clean()
    True
    """
    if not isinstance(trace, Trace):
        raise TypeError(f"set_current_trace: expected a trace, got {described(trace)}")
    outer, context.trace = context.trace, trace
    try:
        yield
    finally:
        context.trace = outer


@contextmanager
def eval_context() -> Iterator[None]:
    """Context manager: operations are evaluated as if no transformation were running. Raises nothing.

    >>> with eval_context():
    ...     trace_state_clean()
    True
    """
    outer = context.trace
    while context.trace.parent is not None:
        context.trace = context.trace.parent
    try:
        yield
    finally:
        context.trace = outer


def mapped_aval(size: int, axis: int | None, aval: ShapedArray) -> ShapedArray:
    """The type without an axis of that length, which is mapped; the type itself for None.

    ValueError if the axis has another length.

    >>> mapped_aval(2, 1, ShapedArray((3, 2), "float32"))
    ShapedArray(float32[3])
    """
    if axis is None:
        return aval
    shape = list(aval.shape)
    if shape.pop(axis) != size:
        raise ValueError(f"mapped_aval: expected length {size} along axis {axis} of {aval.str_short()}")
    return make_aval(tuple(shape), aval.dtype, aval.weak_type)


def unmapped_aval(size: int, axis: int | None, aval: ShapedArray, explicit_mesh_axis: AnyValue = None) -> ShapedArray:
    """The type with a further axis of that length; the type itself for None. Raises nothing.

    >>> unmapped_aval(2, 1, ShapedArray((3,), "float32"))
    ShapedArray(float32[3,2])
    """
    if axis is None:
        return aval
    shape = list(aval.shape)
    shape.insert(axis, size)
    return make_aval(tuple(shape), aval.dtype, aval.weak_type)


def jaxpr_as_fun(closed_jaxpr: ClosedJaxpr, *args: Any) -> Any:
    """The function of a jaxpr: of flat arguments, to a list of results; with arguments, their results.

    TypeError for arguments that do not fit.

    >>> import pullback as pb
    >>> f = jaxpr_as_fun(pb.make_jaxpr(lambda x: x * 2)(1.))
    >>> print(*f(3.))
    6.0
    """
    if args:
        return eval_jaxpr(closed_jaxpr.jaxpr, closed_jaxpr.consts, *args)
    return lambda *xs: eval_jaxpr(closed_jaxpr.jaxpr, closed_jaxpr.consts, *xs)


def jaxprs_in_params(params: dict[str, Any]) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of an equation, in lists and tuples too. Raises nothing.

    >>> import pullback as pb
    >>> eqn = pb.make_jaxpr(pb.jit(lambda x: x * 2))(1.).eqns[0]
    >>> len(list(jaxprs_in_params(eqn.params)))
    1
    """
    for value in params.values():
        for x in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(x, (Jaxpr, ClosedJaxpr)):
                yield x.jaxpr


def subjaxprs(jaxpr: Jaxpr) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of the equations of a jaxpr. Raises nothing.

    >>> import pullback as pb
    >>> len(list(subjaxprs(pb.make_jaxpr(pb.jit(lambda x: x * 2))(1.).jaxpr)))
    1
    """
    for eqn in jaxpr.eqns:
        yield from jaxprs_in_params(eqn.params)


def new_jaxpr_eqn(
    invars: Sequence[Any],
    outvars: Sequence[Var],
    primitive: Any,
    params: dict[str, Any],
    effects: AnyValue = frozenset(),
    source_info: AnyValue = None,
    ctx: AnyValue = None,
) -> Equation:
    """An equation. Its effects are those of its primitive; what else JAX's equations have is ignored. Raises nothing.

    >>> import pullback as pb
    >>> jaxpr = pb.make_jaxpr(lambda x: x * 2)(1.).jaxpr
    >>> eqn = jaxpr.eqns[0]
    >>> new_jaxpr_eqn(eqn.invars, eqn.outvars, eqn.primitive, eqn.params).primitive
    mul
    """
    return Equation(primitive, list(invars), list(outvars), params)


def gensym() -> Callable[[ShapedArray], Var]:
    """A function that makes a new variable of a type. Raises nothing.

    >>> gensym()(ShapedArray((2,), "float32"))
    Var(f32[2])
    """
    return Var


def primal_dtype_to_tangent_dtype(primal_dtype: DTypeLike) -> np.dtype:
    """The dtype of tangents of arrays of a dtype: the same, or `float0`. TypeError for anything but a dtype.

    >>> primal_dtype_to_tangent_dtype(np.dtype("int32")).name
    'void'
    """
    return dtypes.tangent_dtype(dtypes.canonicalize_dtype(primal_dtype))


def get_aval(x: AnyValue) -> ShapedArray:
    """The type of an array or a number. TypeError for anything else.

    >>> get_aval(1.)
    ShapedArray(float32[], weak_type=True)
    """
    return aval_of(x)


def valid_jaxtype(x: AnyValue) -> bool:
    """Return whether functions of arrays take the value. Raises nothing.

    >>> valid_jaxtype(1.), valid_jaxtype("a")
    (True, False)
    """
    return is_array_like(x)


def concrete_or_error(force: Callable[[Any], Any] | None, val: AnyValue, context: str = "") -> Any:
    """The value, converted by `force`; ConcretizationTypeError if it is traced and not known.

    >>> concrete_or_error(int, 3.0)
    3
    """
    known = val._concrete(context or "concrete_or_error") if isinstance(val, Tracer) else val
    return known if force is None else force(known)


def unsafe_am_i_under_a_jit() -> bool:
    """Return whether a function is being staged to a jaxpr. Raises nothing.

    >>> unsafe_am_i_under_a_jit()
    False
    """
    return not context.trace.transparent


def unsafe_get_axis_names() -> list[Any]:
    """The names of the axes in scope. Raises nothing.

    >>> unsafe_get_axis_names()
    []
    """
    return [name for name, _ in context.axis_sizes]


def unsafe_am_i_under_a_vmap() -> bool:
    """Return whether a function is being mapped by `vmap`. Raises nothing.

    >>> import pullback as pb
    >>> pb.vmap(lambda x: x * unsafe_am_i_under_a_vmap())(pb.numpy.ones(2)).tolist()
    [1.0, 1.0]
    """
    trace = context.trace
    while trace is not None:
        if isinstance(trace, BatchTrace):
            return True
        trace = trace.parent
    return False


def call_impl(f: Any, *args: Any, **params: Any) -> Any:
    """The results of a wrapped function of `extend.linear_util`; the parameters are ignored. Raises what it raises.

    >>> from pullback.extend.linear_util import wrap_init
    >>> call_impl(wrap_init(lambda x: [x + 1]), 2)
    [3]
    """
    return f.call_wrapped(*args)


class DropVar(Var):
    """A variable for a result that nobody reads, for programs that make equations themselves.

    >>> import pullback as pb
    >>> DropVar(pb.typeof(1.)).aval.shape
    ()
    """

    __slots__ = ()


def nonempty_axis_env() -> bool:
    """Return whether an axis has a name in scope. Raises nothing.

    >>> nonempty_axis_env()
    False
    """
    return bool(context.axis_sizes)
