"""Dispatch: the choice of the interpreter that handles a primitive.

Every transformation is a `Trace`. The current one is stored in a thread-local context, and `Primitive.bind` calls it.
A trace that finds none of its own tracers passes the primitive to its parent, down to the evaluator.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pullback._core.array import Array, ConcreteArray
from pullback._core.dtypes import is_inexact
from pullback._core.errors import (
    ConcretizationTypeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
    boundary,
)
from pullback._core.types import NotAnArrayError, ShapedArray, no_array
from pullback._core.typing import AnyValue, AxisName, DTypeLike


class Trace:
    """An interpreter of primitives.

    `parent` is the trace that was current when this one began; `alive` turns False when the transformed function has
    returned, after which its tracers are leaks.
    """

    __slots__ = ("parent", "alive", "transparent", "__weakref__")
    parent: Any
    alive: bool
    # whether operations without tracers may run immediately; False if this trace, or one below, must see them all
    transparent: bool
    # whether it stands for several runs of the function, one for each example
    repeats: bool = False
    # whether it records plain primitives as they are: then it does not matter which trace is the current one
    only_records: bool = False

    def __init__(self, parent: Trace | None):
        self.parent = parent
        self.alive = True
        self.transparent = parent is None or parent.transparent

    @property
    def main(self) -> Trace:
        """The trace; programs compare it, to tell which transformation a tracer belongs to."""
        return self

    @property
    def hands_over(self) -> bool:
        """Whether long loops that are evaluated here are handed over to the compiler."""
        return self.parent is None or self.parent.hands_over

    def process_primitive(self, primitive: AnyValue, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Interpret one application of a primitive; returns a value, or a list if the primitive has many results."""
        raise NotImplementedError

    def describe(self) -> str:
        """The transformation in the user's terms, for messages."""
        return type(self).__name__

    def stands_in_for(self, x: object) -> bool:
        """Return whether another value replaces this tracer while the trace is current."""
        return False


class Tracer(Array):
    """A value inside a transformation: it has a type and stands for an array.

    >>> import pullback as pb
    >>> def f(x):
    ...     print(isinstance(x, Tracer), x.shape)
    ...     return x
    >>> _ = pb.make_jaxpr(f)(1.)
    True ()
    """

    __slots__ = ("_trace", "aval", "__weakref__")
    _trace: Any
    aval: ShapedArray

    def _origin(self) -> str:
        """The location where the value was made, if it is known, for messages about leaks."""
        return ""

    def _known(self) -> ConcreteArray | None:
        """The value, if the transformation knows it during tracing (under grad, but not under jit); else None."""
        return None

    def _outer(self) -> Any:
        """The value for which it stands in the transformation around its own; None if there is none."""
        return None

    def _constant(self) -> bool:
        """Return whether computing with the known value outside the transformation loses no derivative."""
        return True

    def _concrete(self, purpose: str, error: type[ConcretizationTypeError] = ConcretizationTypeError) -> ConcreteArray:
        """The known value; otherwise an error that names the `purpose` and an alternative."""
        check_alive(self)
        if type(self.aval) is not ShapedArray:
            raise NotAnArrayError(f"{purpose}: {no_array(self.aval)}")
        value = self._known()
        if value is None:
            origin = self._origin()
            raise error(
                f"{purpose} needs the value of a traced array of type {self.aval.str_short()}, which is not "
                f"known in {self._trace.describe()}{': ' + origin if origin else ''}. {_INSTEAD[error]}"
            )
        return value

    def _exported(self, purpose: str, error: type[ConcretizationTypeError] = ConcretizationTypeError) -> ConcreteArray:
        """The known value, for code outside the transformation; an error where a derivative would be lost."""
        value = self._concrete(purpose, error)
        if not self._constant():
            raise error(
                f"{purpose} would take the value of a traced array of type {self.aval.str_short()} out of "
                f"{self._trace.describe()}, and the derivative of what is computed from it would be lost. Use "
                "the functions of pullback.numpy, which are differentiated; if the value is meant to count as "
                "a constant, say so with lax.stop_gradient(x)."
            )
        return value

    @boundary
    def __bool__(self) -> bool:
        return bool(
            self._concrete("the truth of a condition (if, while, and, or, not, assert)", TracerBoolConversionError)
        )

    @boundary
    def __int__(self) -> int:
        return int(self._concrete("int()"))

    @boundary
    def __float__(self) -> float:
        return float(self._exported("float()"))

    @boundary
    def __complex__(self) -> complex:
        return complex(self._exported("complex()"))

    @boundary
    def __index__(self) -> int:
        return self._concrete("a Python index or shape", TracerIntegerConversionError).__index__()

    @boundary
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        known = self._exported("NumPy (np.asarray, or a NumPy function)", TracerArrayConversionError)
        return known.__array__(dtype, copy)

    @boundary
    def item(self, *args: int) -> Any:
        """The single element as a Python scalar, where the value is known and no derivative is lost."""
        return self._exported(".item()").item(*args)

    @boundary
    def tolist(self) -> Any:
        """The elements as nested lists of Python scalars, where the values are known and no derivative is lost."""
        return self._exported(".tolist()").tolist()

    def _described(self) -> str:
        return f"a traced array of type {self.aval.str_short()}"

    def __repr__(self) -> str:
        return f"Array<{self.aval.str_short()}> in {self._trace.describe()}"

    @boundary
    def __format__(self, spec: str) -> str:
        return format(self._concrete(f"the format {spec!r}"), spec) if spec else self._text()

    def _text(self) -> str:
        value = self._known() if type(self.aval) is ShapedArray else None
        return repr(self) if value is None else str(value)

    def block_until_ready(self) -> Tracer:
        """Return the traced value: there is nothing to wait for."""
        return self

    def __copy__(self) -> Tracer:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracer:
        return self

    @boundary
    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError(f"a traced value ({self!r}) cannot be pickled: it has no data")


_INSTEAD: dict[type, str] = {
    ConcretizationTypeError: "Mark the argument static (static_argnums), or compute it outside of the transformation.",
    TracerBoolConversionError: "Use lax.cond, lax.while_loop or numpy.where for control flow that depends on data, or "
    "mark the argument static (static_argnums).",
    TracerIntegerConversionError: "Mark the argument static (static_argnums), or use lax.dynamic_slice or array "
    "indexing, which take traced positions.",
    TracerArrayConversionError: "Use the function of pullback.numpy in place of NumPy's, or pure_callback to run NumPy "
    "code on the host.",
}


def check_alive(x: Tracer) -> None:
    """Refuse a tracer whose transformation has ended."""
    if not x._trace.alive and not has_stand_in(x, context.trace):
        refuse_choice_by_tangent(x)
        origin = x._origin()
        raise UnexpectedTracerError(
            f"a traced value of type {x.aval.str_short()} was used after {x._trace.describe()} had ended"
            f"{': ' + origin if origin else ''}. It leaked out through a global, an attribute, a mutated list or a "
            "closure; return it from the transformed function instead. If a custom rule closes over it, pass it as an "
            "argument."
        )


def has_stand_in(x: Tracer, trace: Trace | None) -> bool:
    """Return whether another value replaces a tracer in this trace."""
    while trace is not None:
        if trace.stands_in_for(x):
            return True
        trace = trace.parent
    return False


def encloses(x: Tracer, trace: Trace | None) -> bool:
    """Return whether a tracer is valid in this trace, which runs inside its transformation or replaces it."""
    while trace is not None:
        if trace is x._trace or trace.stands_in_for(x):
            return True
        trace = trace.parent
    return False


class LinearTracer(Tracer):
    """A tracer for a linear operand: transpose rules get it in place of a value.

    `_index` numbers the tracers of its trace.
    """

    __slots__ = ()
    _index: int


def refuse_choice_by_tangent(x: Tracer) -> None:
    """Refuse an integer or bool computed from a tangent where its value is needed: as a mask, an index, a branch."""
    if isinstance(x, LinearTracer) and type(x.aval) is ShapedArray and not is_inexact(x.aval.dtype):
        raise TypeError(
            f"a choice (a mask, a position, a branch, a number of steps) needs the value of a traced array "
            f"of type {x.aval.str_short()} that was made of a tangent: {x._origin()}. The tangent output of "
            "a custom jvp rule (or the function given to linear_transpose) must be linear in its tangent "
            "inputs, so that it can be transposed; choose by primal values instead."
        )


def is_linear(x: object) -> bool:
    """Return whether a transpose rule's argument is a linear operand (it has an `aval` but no value).

    >>> is_linear(1.)
    False
    """
    return isinstance(x, LinearTracer)


class Context(threading.local):
    """The state of this thread: the current trace, and the sizes of the named axes of enclosing `vmap`s."""

    trace: Trace
    axis_sizes: tuple[tuple[Any, int], ...] = ()
    # the `shard_map` whose function is being traced
    parts: Any = None
    # the arrays by identity that `make_jaxpr` shows as constants, even those of one number
    captured: dict[int, Any] = {}

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "context"  # there is one instance; functions that are pickled by value refer to it


context = Context()


def install_evaluator(trace: Trace) -> None:
    """Make `trace` the bottom of every thread's stack of traces (called once by the layer that can evaluate)."""
    Context.trace = trace


def call_with(trace: Trace, fun: Callable, /, *args: AnyValue, **params: AnyValue) -> Any:
    """Call `fun` with `trace` as the current trace."""
    outer, context.trace = context.trace, trace
    try:
        return fun(*args, **params)
    finally:
        context.trace = outer


@contextmanager
def axis_size(name: AxisName | None, size: int) -> Iterator[None]:
    """Bind `name` to an axis of `size` while the context lasts; None binds nothing."""
    outer = context.axis_sizes
    if name is not None:
        context.axis_sizes = (*outer, (name, size))
    try:
        yield
    finally:
        context.axis_sizes = outer


def lookup_axis_size(name: AxisName, function: str) -> int:
    """The size of the named axis that `function` was given."""
    for known, size in reversed(context.axis_sizes):
        if known == name:
            return size
    names = ", ".join(repr(known) for known, _ in context.axis_sizes) or "none"
    raise NameError(
        f"{function}: no enclosing vmap or shard_map has an axis named {name!r}; the names in scope are: {names}. "
        f"Name the axis with vmap(..., axis_name={name!r}), or give shard_map a mesh that has it."
    )
