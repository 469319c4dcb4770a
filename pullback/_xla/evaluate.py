"""The evaluator at the bottom of every stack of transformations: it evaluates primitives immediately.

Small host arrays go through the primitive's NumPy kernel, without a compiler; a primitive without a kernel goes through
a compiled program of one operation, cached by types and parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import numpy_state
from pullback._core.arguments import kind_of
from pullback._core.array import ConcreteArray, array_of, lift
from pullback._core.config import config
from pullback._core.errors import UnexpectedTracerError
from pullback._core.jaxpr import Equation, Jaxpr, Var
from pullback._core.nans import announce, inspect_operation
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.staging import foreign_tracer_message
from pullback._core.trace import Trace, Tracer, call_with, check_alive, install_evaluator
from pullback._core.types import NotAnArrayError, ShapedArray, no_array
from pullback._core.typing import AnyValue
from pullback._xla import engine, platforms
from pullback._xla.executable import QUICK, Executable, ProgramOfValues, compile_jaxpr, lasting
from pullback._xla.fast_paths import process_eagerly
from pullback._xla.placed_programs import compile_placed, spread_of
from pullback._xla.programs import size_of


class Evaluator(Trace):
    """Evaluates primitives on concrete arrays."""

    __slots__ = ()

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "evaluator"  # there is one instance; functions that are pickled by value refer to it

    def describe(self) -> str:
        return "evaluation"

    process_primitive = process_eagerly

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
                announce(primitive)
            return primitive.evaluate(*args, **params)
        avals = tuple(a.aval for a in args)
        out_avals = primitive.infer(avals, params)
        if any(type(a) is PlacedArray for a in args):
            outs = _where_they_are(primitive, args, params)
        elif primitive.kernel is None:
            outs = _one_op(primitive, avals, params).run(args)
        else:
            with numpy_state.silenced():
                values = primitive.kernel(*[a.value for a in args], **params)
            outs = [
                array_of(aval, np.asarray(out).astype(aval.dtype, copy=False))
                for aval, out in zip(out_avals, values, strict=True)
            ]
        if config.debugging:
            inspect_operation(primitive, args, outs, params)
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


def _one_op(primitive, avals, params, options=QUICK) -> Executable | ProgramOfValues:
    key: Any = (primitive, avals, options, *params.items(), *map(kind_of, params.values()))
    try:
        program = lasting.get(key)
    except TypeError:
        key, program = None, None
    if program is None:
        program = compile_jaxpr(single_equation(primitive, avals, params), options=options)
        if key is not None:
            lasting.keep(key, program, size_of(program.text()))
    return program


def _where_they_are(primitive, args, params) -> list[ConcreteArray]:
    """The results of an operation on arrays that were placed, as a program on their devices."""
    avals = tuple(a.aval for a in args)
    places = tuple([a.placement if type(a) is PlacedArray else None for a in args])
    key: Any = ("placed", primitive, avals, places, *params.items(), *map(kind_of, params.values()))
    try:
        program = lasting.get(key)
    except TypeError:
        key, program = None, None
    if program is None:
        jaxpr = single_equation(primitive, avals, params)
        spread = spread_of(primitive.name, places, [None] * len(jaxpr.outvars))
        program = compile_placed(jaxpr, spread, options=QUICK if spread.platform == platforms.HOST else ())
        if key is not None:
            lasting.keep(key, program, size_of(program.text()))
    return program.run(args)


def program_if_worth(
    primitive: Primitive, avals: tuple[ShapedArray, ...], params: dict[str, Any], share: float, options: Any = QUICK
) -> Executable | ProgramOfValues | None:
    """The program of an operation, once its kernel has used as much time as a compilation takes; None until then.

    `share` is the time of the kernel as a fraction of a compilation's. `options` are the compiler's: quick, since one
    operation leaves nothing to fuse, unless its loop is to be vectorized.
    """
    if engine.is_left_behind():
        return None
    key = ("spent on", primitive, avals, *params.items())
    spent = lasting.get(key) or 0.0
    if spent >= 1:
        return _one_op(primitive, avals, params, options)
    lasting.keep(key, spent + share, 200)
    return None


def single_equation(primitive: Primitive, avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> Jaxpr:
    """The jaxpr of one application of a primitive."""
    out = primitive.infer(avals, params)
    invars = [Var(aval) for aval in avals]
    outvars = [Var(aval) for aval in (out if primitive.multiple_results else [out])]
    return Jaxpr([], invars, [Equation(primitive, list(invars), outvars, params)], list(outvars))


evaluator = Evaluator(None)
install_evaluator(evaluator)


def eagerly(fun, *args: AnyValue) -> Any:
    """Call a function outside all transformations."""
    return call_with(evaluator, fun, *args)
