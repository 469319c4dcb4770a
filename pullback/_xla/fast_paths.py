"""Code that is written for speed: it is longer than it need be, since a measurement asked for it.

`run_of`: the part of a warm call that reads its arguments and makes its results is generated, without loops, for each
number of them. With ten arrays in and out it saves 0.3 of 13 microseconds, a fifth of the cost besides the engine's
dispatch. With the look-up in `_api/short_call.py` a warm call takes a third of the time of the general path.

`process_eagerly`: one or two operands are read without a loop, and the type of the result without a call. Every eager
operation passes through it.

Three idioms stand where they are used and save a call for each operation: `try: ... fold(error)` in place of
`@boundary` (operators, `bind`, compiled functions); `type(x) is Node` in place of `isinstance`, which walks the bases;
`parent is evaluator`, after which a kernel runs without a change of the current trace (`_transforms/linearize.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any

from pullback._core import numpy_state
from pullback._core.array import ConcreteArray
from pullback._core.config import config, nans_were_debugged
from pullback._core.lazy import LateModule
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.tree import PyTreeDef, tree_structure
from pullback._core.types import ShapedArray

if TYPE_CHECKING:
    from pullback._core import divided, nans
    from pullback._xla import single_operations
    from pullback._xla.executable import Executable
else:
    divided = LateModule("pullback._core.divided")
    nans = LateModule("pullback._core.nans")
    single_operations = LateModule("pullback._xla.single_operations")

_enter, _leave = numpy_state.enter, numpy_state.leave
_aval = attrgetter("aval")
# the elements from which on an elementwise kernel runs in parts: `divided.py` has the figures
_DIVIDED = 524_288

# --- eager operations ---


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
        if out.dtype is not aval.dtype and out.dtype != aval.dtype:
            out = out.astype(aval.dtype)
    finally:
        _leave(token)
    array = ConcreteArray()  # inlines array_of
    array.aval = aval
    array._value = out
    if nans_were_debugged[0] and config.debugging:
        nans.inspect_operation(primitive, args, (array,), params)
    return array


# --- warm calls of compiled functions ---


class _Miss:
    def __reduce__(self) -> str | tuple[Any, ...]:
        return "MISS"


# the result of a run on arguments that do not match
MISS = _Miss()
# above this number arguments and results are handled in loops: compiling generated code would take long
_WRITTEN = 200


def run_of(program: Executable, types: tuple, out_tree: PyTreeDef, consts: Sequence[Any]) -> Callable[[Sequence], Any]:
    """A function of the flat arguments that runs the program, if they are arrays of these types, on the device."""
    m = len(program.out_avals)
    if len(types) + len(consts) + m > _WRITTEN:
        return _looped(program, types, out_tree, consts)
    forms = ((0, "{}"), ((0,) * m, "({}, )"), ([0] * m, "[{}, ]"))
    form = next((form for flat, form in forms if out_tree == tree_structure(flat)), "unflatten([{}, ])")
    return _generated(len(types), len(consts), m, form)(
        program.execute, program.handlers, types, consts, program.out_avals, out_tree.unflatten
    )


@functools.cache
def _generated(n: int, k: int, m: int, form: str) -> Callable[..., Callable[[Sequence], Any]]:
    """Generate such functions for n arguments, k constants and m results, in a given form."""
    fit = " and ".join(f"type(a{i}) is ConcreteArray and a{i}.aval is t{i}" for i in range(n)) or "True"
    # inlines array_on_device, which would cost a call each
    results = "; ".join(f"o{i} = ConcreteArray(); o{i}.aval = r{i}; o{i}._buffer = b{i}" for i in range(m)) or "pass"
    source = f"""
def maker(execute, handlers, types, consts, out_types, unflatten):
    ({_each("t{}", n)}) = types
    ({_each("c{}", k)}) = consts
    ({_each("r{}", m)}) = out_types
    def run(args):
        ({_each("a{}", n)}) = args
        if not ({fit}):
            return MISS
        try:
            buffers = [{_each("c{}._buffer", k)}{_each("a{}._buffer", n)}]
        except AttributeError:
            return MISS
        ({_each("b{}", m)}) = execute(buffers).consume_with_handlers(handlers)
        {results}
        return {form.replace("{}, ", _each("o{}", m)).replace("{}", "o0")}
    return run
"""
    names: dict[str, Any] = {"ConcreteArray": ConcreteArray, "MISS": MISS}
    exec(source, names)
    return names["maker"]


@functools.cache
def taker_of(
    count: int, positions: tuple[int, ...], static: tuple[int, ...], names: tuple[str, ...], fixed: tuple[str, ...]
) -> Callable[[Sequence[Any]], Callable[[tuple, dict], tuple | None]]:
    """Generate what takes the arrays at `positions`, then those with `names`, from a call's arguments.

    None for calls with others; `values` are those of the static arguments, which must be the same objects.
    """
    places = [*[f"args[{i}]" for i in static], *[f"kwargs[{name!r}]" for name in fixed]]
    same = "".join(f" and {place} is values[{k}]" for k, place in enumerate(places))
    taken = [*[f"args[{i}]" for i in positions], *[f"kwargs[{name!r}]" for name in names]]
    source = f"""
def maker(values):
    def take(args, kwargs):
        try:
            if len(args) == {count} and len(kwargs) == {len(names) + len(fixed)}{same}:
                return ({"".join(part + ", " for part in taken)})
        except KeyError:
            pass
        return None
    return take
"""
    made: dict[str, Any] = {}
    exec(source, made)
    return made["maker"]


def _each(part: str, n: int) -> str:
    return "".join(f"{part.format(i)}, " for i in range(n))


def _looped(program: Executable, types: tuple, out_tree: PyTreeDef, consts: Sequence[Any]) -> Callable[[Sequence], Any]:
    """The function that `_generated` generates, with loops."""
    execute, handlers, out_types = program.execute, program.handlers, program.out_avals
    buffer, kinds = attrgetter("_buffer"), {ConcreteArray}

    def run(args):
        if not {*map(type, args)} <= kinds or not all(map(is_, map(_aval, args), types)):
            return MISS
        try:
            buffers = [*map(buffer, consts), *map(buffer, args)]
        except AttributeError:
            return MISS
        results = []
        for aval, out in zip(out_types, execute(buffers).consume_with_handlers(handlers), strict=True):
            array = ConcreteArray()  # inlines array_on_device
            array.aval = aval
            array._buffer = out
            results.append(array)
        return out_tree.unflatten(results)

    return run
