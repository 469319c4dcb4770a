"""Code that is written for speed: it is longer than it need be, since a measurement asked for it.

`process_eagerly`: one or two operands are read without a loop, and the type of the result without a call. Every eager
operation passes through it, but for operators and elementwise functions of `pullback.numpy` on arrays of known types:
`evaluation_of_one` and `evaluation_of_two` make what evaluates these, without look-ups and without asking the traces
in between (an operation takes 0.7 µs, where it took 0.9).

The other such code is that of warm calls, in `warm_calls.py`.

Three idioms stand where they are used and save a call for each operation: `try: ... fold(error)` in place of
`@boundary` (operators, `bind`, compiled functions); `type(x) is Node` in place of `isinstance`, which walks the bases;
`parent is evaluator`, after which a kernel runs without a change of the current trace (`_transforms/linearize.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pullback._core import numpy_state
from pullback._core.array import ConcreteArray
from pullback._core.config import config, nans_were_debugged
from pullback._core.lazy import LateModule
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, at_least

if TYPE_CHECKING:
    from pullback._core import divided, nans
    from pullback._xla import single_operations
else:
    divided = LateModule("pullback._core.divided")
    nans = LateModule("pullback._core.nans")
    single_operations = LateModule("pullback._xla.single_operations")

_enter, _leave = numpy_state.enter, numpy_state.leave
# the elements from which on an elementwise kernel is called by `divided.py`, which keeps the memory of such results
_DIVIDED = 32_768


def process_eagerly(self: Any, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """The method `process_primitive` of the evaluator, `self`."""
    kernel = primitive.kernel
    if kernel is None or primitive.multiple_results:
        return self.evaluate_generally(primitive, args, params)
    values: Sequence[Any]
    avals: tuple[ShapedArray, ...]
    try:
        # without a loop for one and two operands
        if len(args) == 2:
            a, b = args
            values, avals = (a._value, b._value), (a.aval, b.aval)
        elif len(args) == 1:
            (a,) = args
            values, avals = (a._value,), (a.aval,)
        else:
            values, avals = [a._value for a in args], tuple([a.aval for a in args])
    except AttributeError:
        on_devices = primitive.evaluate is None and PlacedArray in map(type, args)
        if on_devices and not (nans_were_debugged[0] and config.debugging):
            known = single_operations.known_result(primitive, args, params)
            if known is not None:
                return known
        # not an array yet, only on the device, or a leaked tracer
        args = self.concrete_operands(args, primitive)
        if any(type(a) is PlacedArray for a in args):
            return self.evaluate_generally(primitive, args, params)
        values, avals = [a.value for a in args], tuple([a.aval for a in args])
    try:
        aval = primitive.types[(avals, *params.items()) if params else avals]
    except (KeyError, TypeError):
        aval = primitive.infer(avals, params)
    token = _enter()
    try:
        if aval.size >= _DIVIDED and primitive.traits.elementwise and not primitive.traits.whole:
            out = divided.divided(kernel, values, params, aval.shape, aval.dtype)
        else:
            out = kernel(*values, **params) if params else kernel(*values)
        # of a scalar the class tells the dtype, sooner
        if type(out) is not aval.scalar and out.dtype is not aval.dtype and out.dtype != aval.dtype:
            out = out.astype(aval.dtype)
    finally:
        _leave(token)
    array = ConcreteArray()  # inlines array_of
    array.aval = aval
    array._value = out
    array._memory = False
    if nans_were_debugged[0] and config.debugging:
        nans.inspect_operation(primitive, args, (array,), params)
    return array


def evaluation_of_one(self: Any, primitive: Primitive, operand: ShapedArray) -> Callable[[ConcreteArray], Any]:
    """A function that applies a primitive without parameters to concrete arrays of a type.

    It does what `process_eagerly`, to which it leaves all but small arrays on the host, does after its look-ups.
    """
    process = self.process_primitive
    aval = primitive.infer((operand,), {})
    if primitive.kernel is None or primitive.multiple_results or at_least(aval.size, _DIVIDED):
        return lambda x: process(primitive, (x,), {})
    scalar, dtype = aval.scalar, aval.dtype

    def evaluate(x):
        if nans_were_debugged[0]:
            return process(primitive, (x,), {})
        try:
            value = x._value
        except AttributeError:
            return process(primitive, (x,), {})
        token = _enter()
        try:
            out = primitive.kernel(value)  # type: ignore[misc]
            if type(out) is not scalar and out.dtype is not dtype and out.dtype != dtype:
                out = out.astype(dtype)
        finally:
            _leave(token)
        array = ConcreteArray()  # inlines array_of
        array.aval = aval
        array._value = out
        array._memory = False
        return array

    return evaluate


def evaluation_of_two(
    self: Any, primitive: Primitive, first: ShapedArray | None, second: ShapedArray | None
) -> Callable[[ConcreteArray, ConcreteArray], Any]:
    """The same for two operands; None for a type that is not known.

    One function of any number of operands in place of the two takes 1.19 of the time for a chain of operators on small
    arrays, eagerly, and 1.0 to 1.06 for gradients.
    """
    process = self.process_primitive
    aval = None if first is None or second is None else primitive.infer((first, second), {})
    if aval is None or primitive.kernel is None or primitive.multiple_results or at_least(aval.size, _DIVIDED):
        return lambda x, y: process(primitive, (x, y), {})
    scalar, dtype = aval.scalar, aval.dtype

    def evaluate(x, y):
        if nans_were_debugged[0]:
            return process(primitive, (x, y), {})
        try:
            a, b = x._value, y._value
        except AttributeError:
            return process(primitive, (x, y), {})
        token = _enter()
        try:
            out = primitive.kernel(a, b)  # type: ignore[misc]
            if type(out) is not scalar and out.dtype is not dtype and out.dtype != dtype:
                out = out.astype(dtype)
        finally:
            _leave(token)
        array = ConcreteArray()  # inlines array_of
        array.aval = aval
        array._value = out
        array._memory = False
        return array

    return evaluate
