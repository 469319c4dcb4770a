"""Calls from compiled programs back to Python: their emission, compilation and execution.

The engine checks neither shapes nor dtypes of a function's results, and passes memory that it will reuse: functions get
copies, and must return what was declared. An exception stops the program; it is stored here while the engine unwinds,
and raised again in the caller of the program.

The engine guarantees no order between calls. Calls with side effects are ordered by a data dependence: each takes a
number that the previous one returned, through loops, branches and calls (see `Block.order`).
"""

from __future__ import annotations

import re
import threading
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
from pullback._xla.lowering import Block, Value, from_carrier, to_carrier

HostCall = Callable[..., Sequence[np.ndarray]]

_TARGETS = {"cpu": "xla_ffi_python_cpu_callback", "cuda": "xla_ffi_python_gpu_callback"}


def emit_host_call(
    ctx: Block, function: HostCall, operands: Sequence[Value], out_avals: Sequence[ShapedArray], effectful: bool
) -> list[Value]:
    """Emit a call of `function(*numpy_arrays)`, which must return arrays of exactly the given types.

    An effectful call is never dropped, and runs after every effectful call that was emitted before it.
    """
    platform = ctx.module.platform
    if platform not in _TARGETS:
        raise NotImplementedError(
            f"calls to the host are not available on {platform!r}, whose plugin has no custom call for them"
        )
    avals = [x.aval for x in operands]
    ordered = effectful and ctx.order is not None
    given = [to_carrier(ctx, x) for x in operands]
    carried = [engine.carrier(aval.strip_weak_type()) for aval in out_avals]
    if ordered:
        given.insert(0, ctx.order)
        carried.insert(0, ctx.order.aval)
    spread, callbacks = ctx.module.spread, ctx.module.callbacks
    if spread is None or len(spread.devices) == 1:
        callbacks.append(_entry(function, avals, out_avals, ordered))
    else:
        callbacks.append(_FromSeveral(function, avals, out_avals, ordered, failures_of(callbacks)))
    attributes = (
        f'call_target_name = "{_TARGETS[platform]}", api_version = 4 : i32, '
        f"has_side_effect = {str(effectful).lower()}, backend_config = {{index = {len(callbacks) - 1} : ui64}}"
    )
    if spread is not None and len(spread.devices) > 1 and ctx.module.manual is None:
        # one call, on the first device, which gets the whole arrays
        at = f"<@{spread.first_device()}, []>"
        attributes += f", sdy.sharding = #sdy.sharding_per_value<[{', '.join([at] * max(1, len(carried)))}]>"
    outs = ctx.op("stablehlo.custom_call", given, carried, attributes)
    if ordered:
        ctx.order, *outs = outs
    return [from_carrier(ctx, x, aval.strip_weak_type()) for x, aval in zip(outs, out_avals, strict=True)]


class _Stop(Exception):
    """The exception that the engine sees; its message holds the number under which the original is stored."""


_numbers = count()
_failures: OrderedDict[int, BaseException] = OrderedDict()
# exceptions that are never retrieved (two calls failed at once, and the engine reports one) must not accumulate
_FAILURES_LIMIT = 32


def _entry(
    function: HostCall, in_avals: Sequence[ShapedArray], out_avals: Sequence[ShapedArray], ordered: bool
) -> Callable:
    def entry(*values):
        try:
            return _called(function, in_avals, out_avals, ordered, values)
        except BaseException as error:
            number = next(_numbers)
            _failures[number] = error
            if len(_failures) > _FAILURES_LIMIT:
                _failures.popitem(last=False)
            raise _Stop(f"pullback host call failure <{number}>") from None

    return entry


def _called(
    function: HostCall,
    in_avals: Sequence[ShapedArray],
    out_avals: Sequence[ShapedArray],
    ordered: bool,
    values: Sequence[np.ndarray],
) -> tuple[np.ndarray, ...]:
    mode = enter()
    try:
        given = values[1:] if ordered else values
        outs = function(*[_incoming(v, aval) for v, aval in zip(given, in_avals, strict=True)])
        results = [_outgoing(out, aval) for out, aval in zip(outs, out_avals, strict=True)]
        return (np.array(values[0]), *results) if ordered else tuple(results)
    finally:
        leave(mode)


class _FromSeveral:
    """A function that a program of several devices calls.

    When it raises an exception, the program goes on, with zeros, and the exception is raised at its end: the other
    devices may wait for this one, and the engine ends the process if they do so for long.
    """

    def __init__(
        self,
        function: HostCall,
        in_avals: Sequence[ShapedArray],
        out_avals: Sequence[ShapedArray],
        ordered: bool,
        failures: list[BaseException],
    ):
        self.arguments = function, in_avals, out_avals, ordered
        self.failures = failures

    def __call__(self, *values: np.ndarray) -> tuple[np.ndarray, ...]:
        _, _, out_avals, ordered = self.arguments
        if not self.failures:
            before, _within.several = within_several(), True
            try:
                return _called(*self.arguments, values)
            except BaseException as error:
                self.failures.append(error)
            finally:
                _within.several = before
        zeros = [np.zeros(aval.shape, engine.carrier(aval).dtype) for aval in out_avals]
        return (np.array(values[0]), *zeros) if ordered else tuple(zeros)


def failures_of(callbacks: Sequence[Callable]) -> list[BaseException]:
    """The exceptions of the functions that one program of several devices calls, which are raised when it has ended."""
    return next((entry.failures for entry in callbacks if isinstance(entry, _FromSeveral)), [])


# whether the function that this thread is in was called by a program of several devices
_within = threading.local()


def within_several() -> bool:
    """Return whether a program of several devices waits for the function that this thread is in."""
    return getattr(_within, "several", False)


def _incoming(value: np.ndarray, aval: ShapedArray) -> np.ndarray:
    value = engine.host_value(np.array(value), aval)
    value.flags.writeable = False
    return value


def _outgoing(value: np.ndarray, aval: ShapedArray) -> np.ndarray:
    return engine.carried_value(np.ascontiguousarray(value).reshape(aval.shape))


def compile_with_callbacks(
    text: str, callbacks: Sequence[Callable], settings: Any, devices: tuple[Any, ...] | None = None
) -> Any:
    """Compile a module that calls Python functions; the program keeps them alive."""
    module = engine.parsed(text, as_hlo=False)  # functions cannot be passed with text
    client = engine.client() if devices is None else devices[0].client
    return client.compile_and_load(module, engine.device_list(devices), settings, list(callbacks))


def waiting(loaded: AnyValue, callbacks: Sequence[Callable]) -> Callable:
    """The program's `execute`, changed to return when the run has finished, and to raise a function's exception."""
    run, failures = loaded.execute_sharded, failures_of(callbacks)

    def execute(buffers):
        failures.clear()
        try:
            results = run(buffers, with_tokens=True)
            results.consume_token().block_until_ready()
            if not failures:
                return results
            failure = failures[0]
            failures.clear()
        except Exception as error:
            found = _failure_in(str(error))
            if found is None:
                raise
            failure = found
        fold(failure)
        raise failure

    return execute


def _failure_in(message: str) -> BaseException | None:
    found = re.search(r"pullback host call failure <(\d+)>", message)
    return _failures.pop(int(found.group(1)), None) if found else None
