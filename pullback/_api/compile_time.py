"""Evaluation while a function is being traced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pullback._core.primitive import Primitive
from pullback._core.trace import Trace, Tracer, call_with, context
from pullback._xla.evaluate import evaluator


class Folding(Trace):
    """Evaluates operations without traced operands; all others pass to the parent."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(context.trace)
        self.transparent = True

    def describe(self) -> str:
        return self.parent.describe()

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        trace = self.parent if any(isinstance(a, Tracer) for a in args) else evaluator
        return call_with(trace, primitive.bind, *args, **params)


@contextmanager
def ensure_compile_time_eval() -> Iterator[None]:
    """In this block, operations on concrete values are evaluated immediately, even while a function is being traced.

    A shape, or the number of steps of a loop, may thus be computed there with the functions of `pullback.numpy`.
    Operations on traced values are traced as usual; using their value raises ConcretizationTypeError.

    >>> import pullback as pb
    >>> @pb.jit
    ... def padded(x):
    ...     with pb.ensure_compile_time_eval():
    ...         n = int(pb.numpy.ceil(pb.numpy.log2(x.shape[0])))
    ...     return pb.numpy.pad(x, (0, 2 ** n - x.shape[0]))
    >>> padded(pb.numpy.ones(5)).shape
    (8,)
    """
    outer, context.trace = context.trace, Folding()
    try:
        yield
    finally:
        context.trace = outer


__all__ = ["ensure_compile_time_eval"]
