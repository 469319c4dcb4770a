"""Calls from compiled programs back to Python: how they are emitted, compiled and run.

The engine checks neither shapes nor dtypes of what a function returns, and hands out memory of its own that it will use
again: functions get copies, and must return what was declared. An exception stops the program; it is kept here while
the engine unwinds, and raised again where the program was started.

The engine promises no order between calls. Those that act on the world are put in order by data: each takes a number
that the one before it returned, through loops, branches and calls (see `Block.order`).
"""
from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from pullback._core.errors import fold
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._xla import engine
from pullback._xla.float_mode import enter, leave
from pullback._xla.lowering import Block, Value, arrive, depart

HostCall = Callable[..., Sequence[np.ndarray]]

_TARGET = "xla_ffi_python_cpu_callback"


def emit_host_call(ctx: Block, function: HostCall, operands: Sequence[Value], out_avals: Sequence[ShapedArray],
                   effectful: bool) -> list[Value]:
    """Emit a call of `function(*numpy_arrays)`, which must return arrays of exactly the given types.

    An effectful call is never left out, and comes after every effectful call that was emitted before it.
    """
    avals = [x.aval for x in operands]
    ordered = effectful and ctx.order is not None
    given = [depart(ctx, x) for x in operands]
    carried = [engine.carrier(aval.strip_weak_type()) for aval in out_avals]
    if ordered:
        given.insert(0, ctx.order)
        carried.insert(0, ctx.order.aval)
    callbacks = ctx.module.callbacks
    callbacks.append(_entry(function, avals, out_avals, ordered))
    attributes = (f'call_target_name = "{_TARGET}", api_version = 4 : i32, has_side_effect = {str(effectful).lower()}, '
                  f"backend_config = {{index = {len(callbacks) - 1} : ui64}}")
    outs = ctx.op("stablehlo.custom_call", given, carried, attributes)
    if ordered:
        ctx.order, *outs = outs
    return [arrive(ctx, x, aval.strip_weak_type()) for x, aval in zip(outs, out_avals, strict=True)]


class _Stop(Exception):
    """What the engine gets to see of an exception; its message says under which number that is kept."""


_numbers = count()
_failures: OrderedDict[int, BaseException] = OrderedDict()
# those that are never asked for (two calls failed at once, and the engine reports one) must not pile up
_FAILURES_LIMIT = 32


def _entry(function: HostCall, in_avals: Sequence[ShapedArray], out_avals: Sequence[ShapedArray], ordered: bool
           ) -> Callable:
    def entry(*values):
        mode = enter()
        try:
            given = values[1:] if ordered else values
            outs = function(*[_incoming(v, aval) for v, aval in zip(given, in_avals, strict=True)])
            results = [_outgoing(out, aval) for out, aval in zip(outs, out_avals, strict=True)]
            return (np.array(values[0]), *results) if ordered else tuple(results)
        except BaseException as error:
            number = next(_numbers)
            _failures[number] = error
            if len(_failures) > _FAILURES_LIMIT:
                _failures.popitem(last=False)
            raise _Stop(f"pullback host call failure <{number}>") from None
        finally:
            leave(mode)

    return entry


def _incoming(value: np.ndarray, aval: ShapedArray) -> np.ndarray:
    value = engine.host_value(np.array(value), aval)
    value.flags.writeable = False
    return value


def _outgoing(value: np.ndarray, aval: ShapedArray) -> np.ndarray:
    return engine.carried_value(np.ascontiguousarray(value).reshape(aval.shape))


def compile_with_callbacks(text: str, callbacks: Sequence[Callable], settings: Any) -> Any:
    """Compile a module that calls Python functions; the program keeps them alive."""
    from jaxlib.mlir import ir
    from jaxlib.mlir._mlir_libs import _jax_mlir_ext
    from jaxlib.mlir.dialects import chlo, stablehlo
    # text alone is not taken together with functions. A context of its own: one that lasts would keep all constants
    registry = ir.DialectRegistry()
    _jax_mlir_ext.register_dialects(registry)
    context = ir.Context()
    context.append_dialect_registry(registry)
    context.load_all_available_dialects()
    stablehlo.register_dialect(context)
    chlo.register_dialect(context)
    with context:
        module = ir.Module.parse(text)
    return engine.client().compile_and_load(module, engine.device_list(), settings, list(callbacks))


def waiting(loaded: AnyValue) -> Callable:
    """The program's `execute` that returns when the run is over, and raises what a function raised."""
    run = loaded.execute_sharded

    def execute(buffers):
        try:
            results = run(buffers, with_tokens=True)
            results.consume_token().block_until_ready()
            return results
        except Exception as error:
            failure = _failure_in(str(error))
            if failure is None:
                raise
        fold(failure)
        raise failure

    return execute


def _failure_in(message: str) -> BaseException | None:
    found = re.search(r"pullback host call failure <(\d+)>", message)
    return _failures.pop(int(found.group(1)), None) if found else None
