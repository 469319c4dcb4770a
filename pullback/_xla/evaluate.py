"""The evaluator at the bottom of every stack of transformations: it evaluates primitives immediately.

Small host arrays go through the primitive's NumPy kernel, without a compiler; a primitive without a kernel goes through
a compiled program of one operation (`single_operations.py`). What compiles is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core import numpy_state
from pullback._core.array import ConcreteArray, array_of, lift
from pullback._core.config import config, keys_were_checked
from pullback._core.errors import UnexpectedTracerError
from pullback._core.lazy import LateModule
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.staging import foreign_tracer_message
from pullback._core.trace import Trace, Tracer, call_with, check_alive, install_evaluator
from pullback._core.types import NotAnArrayError, ShapedArray, no_array
from pullback._core.typing import AnyValue
from pullback._xla.fast_paths import evaluation_of_one, evaluation_of_two, process_eagerly

if TYPE_CHECKING:
    from pullback._analysis import key_reuse
    from pullback._core import nans
    from pullback._xla import single_operations
else:
    key_reuse = LateModule("pullback._analysis.key_reuse")
    nans = LateModule("pullback._core.nans")
    single_operations = LateModule("pullback._xla.single_operations")


class Evaluator(Trace):
    """Evaluates primitives on concrete arrays."""

    __slots__ = ()

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "evaluator"  # there is one instance; functions that are pickled by value refer to it

    def describe(self) -> str:
        return "evaluation"

    process_primitive = process_eagerly
    evaluation_of_one = evaluation_of_one
    evaluation_of_two = evaluation_of_two

    def concrete_operands(self, args: Sequence[Any], primitive: Primitive) -> list[ConcreteArray]:
        """The operands as concrete arrays: not arrays yet, only on the device, or leaked tracers, which are refused."""
        xs = [concrete(a, primitive.name) for a in args]
        for x in xs:
            if type(x.aval) is not ShapedArray:
                raise NotAnArrayError(f"{primitive.name}: {no_array(x.aval)}")
        return xs

    def evaluate_generally(self, primitive, args, params):
        args = [concrete(a, primitive.name) for a in args]
        if primitive.evaluate is not None:
            if config.debugging:
                nans.announce(primitive)
            if primitive.holds and keys_were_checked[0] and config.debug_key_reuse:
                return key_reuse.evaluate_checked(primitive, args, params)
            return primitive.evaluate(*args, **params)
        avals = tuple(a.aval for a in args)
        out_avals = primitive.infer(avals, params)
        if any(type(a) is PlacedArray for a in args):
            outs = single_operations.run_placed(primitive, args, params)
        elif primitive.kernel is None:
            outs = single_operations.program_of(primitive, avals, params).run(args)
        else:
            with numpy_state.silenced():
                values = primitive.kernel(*[a.value for a in args], **params)
            outs = [
                array_of(aval, np.asarray(out).astype(aval.dtype, copy=False))
                for aval, out in zip(out_avals, values, strict=True)
            ]
        if config.debugging:
            nans.inspect_operation(primitive, args, outs, params)
        return outs if primitive.multiple_results else outs[0]


def concrete(x: AnyValue, primitive_name: str) -> ConcreteArray:
    """An operand of an eager primitive; a tracer here has leaked."""
    if type(x) is ConcreteArray or type(x) is PlacedArray:
        return x
    try:
        x = lift(x)
    except TypeError as error:
        raise TypeError(f"{primitive_name}: {error}") from None
    if isinstance(x, Tracer):
        check_alive(x)
        raise UnexpectedTracerError(foreign_tracer_message(x, f"the evaluation of '{primitive_name}'"))
    return x


evaluator = Evaluator(None)
install_evaluator(evaluator)


def eagerly(fun, *args: AnyValue) -> Any:
    """Call a function outside all transformations."""
    return call_with(evaluator, fun, *args)
