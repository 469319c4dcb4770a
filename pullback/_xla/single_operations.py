"""Programs of one operation, cached by types and parameters: for eager operations that no kernel evaluates.

The options are the compiler's quick ones, since one operation leaves nothing to fuse.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from pullback._core.arguments import kind_of
from pullback._core.array import ConcreteArray
from pullback._core.jaxpr import Equation, Jaxpr, Var
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.sharding import Sharding
from pullback._core.types import ShapedArray
from pullback._xla import engine, platforms
from pullback._xla.executable import QUICK, Executable, ProgramOfValues, compile_jaxpr, lasting
from pullback._xla.placed_programs import compile_placed, spread_of
from pullback._xla.placement import buffer_at
from pullback._xla.programs import size_of


def program_of(
    primitive: Primitive, avals: tuple[ShapedArray, ...], params: dict[str, Any]
) -> Executable | ProgramOfValues:
    """The compiled program of an operation."""
    key: Any = (primitive, avals, *params.items(), *map(kind_of, params.values()))
    try:
        program = lasting.get(key)
    except TypeError:
        key, program = None, None
    if program is None:
        program = compile_jaxpr(single_equation(primitive, avals, params), options=QUICK)
        if key is not None:
            lasting.keep(key, program, size_of(program.text()))
    return program


def _placed_key(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> tuple[Any, ...]:
    avals = tuple([a.aval for a in args])
    places = tuple([a.placement if type(a) is PlacedArray else None for a in args])
    if not params:
        return "placed", primitive, avals, places
    return ("placed", primitive, avals, places, *params.items(), *map(kind_of, params.values()))


def known_result(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> PlacedArray | None:
    """The result of an operation with one result on arrays that were placed, if its program is known; else None.

    What runs before an operation on a device is this: it does without the checks and the look-ups of the general way.
    """
    try:
        if len(args) == 1 and not params:  # as `_placed_key`, without loops
            (a,) = args
            program = lasting.get(("placed", primitive, (a.aval,), (a.placement,)))
            buffers = [a._buffer]
        else:
            program = lasting.get(_placed_key(primitive, args, params))
            if program is None:
                return None
            buffers = [
                a._buffer if type(a) is PlacedArray else _number_at(a, place)
                for a, place in zip(args, program.ins, strict=True)
            ]
    except (AttributeError, TypeError):
        return None  # a deleted array, a number, a tracer, a parameter that is not hashable
    if program is None:
        return None
    outs = (
        program.launch(buffers) if program.alone else program.execute(buffers).consume_with_handlers(program.handlers)
    )
    array = PlacedArray()  # inlines placed
    array.aval = program.out_avals[0]
    array._buffer = outs[0]
    array.placement = program.outs[0]
    return array


# the buffers of numbers that operations on placed arrays have had as operands
_numbers: OrderedDict[Any, Any] = OrderedDict()
_NUMBERS_LIMIT = 1000


def _number_at(x: ConcreteArray, place: Sharding) -> Any:
    """The buffer of an array of the host's at a place; numbers are kept there, since programs repeat them."""
    value = x._value
    if value.ndim:
        return buffer_at(x, place)
    key = x.aval, value.tobytes(), place
    buffer = _numbers.get(key)
    if buffer is None:
        buffer = _numbers[key] = buffer_at(x, place)
        if len(_numbers) > _NUMBERS_LIMIT:
            _numbers.popitem(last=False)
    return buffer


def run_placed(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> list[ConcreteArray]:
    """The results of an operation on arrays that were placed, as a program on their devices."""
    key: Any = _placed_key(primitive, args, params)
    _, _, avals, places, *_ = key
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
    primitive: Primitive, avals: tuple[ShapedArray, ...], params: dict[str, Any], share: float
) -> Executable | ProgramOfValues | None:
    """The program of an operation, once its kernel has used as much time as a compilation takes; None until then.

    `share` is the time of the kernel as a fraction of a compilation's.
    """
    if engine.is_left_behind():
        return None
    key = ("spent on", primitive, avals, *params.items())
    spent = lasting.get(key) or 0.0
    if spent >= 1:
        return program_of(primitive, avals, params)
    lasting.keep(key, spent + share, 200)
    return None


def single_equation(primitive: Primitive, avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> Jaxpr:
    """The jaxpr of one application of a primitive."""
    out = primitive.infer(avals, params)
    invars = [Var(aval) for aval in avals]
    outvars = [Var(aval) for aval in (out if primitive.multiple_results else [out])]
    return Jaxpr([], invars, [Equation(primitive, list(invars), outvars, params)], list(outvars))
