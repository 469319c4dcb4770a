"""The engine: XLA's client of the processor, its devices, and transfers to and from them. Started at the first use.

Other platforms have clients of their own (`platforms`).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from pullback._core import allocator, dtypes
from pullback._core import array as array_module
from pullback._core.array import ConcreteArray
from pullback._core.config import config, fixed, forget_traces
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._xla import mlir, tracebacks


@cache
def xla_client() -> Any:
    """The module `jaxlib.xla_client`."""
    from jaxlib import xla_client

    return xla_client


_starting = threading.Lock()
# whether the client was started before this process was forked: its threads exist in the parent only
_left_behind = False


def client() -> Any:
    """The CPU client of this process: a single one, even if several threads ask at once."""
    check_process()
    with _starting:
        return _client()


def is_left_behind() -> bool:
    """Return whether the engine's threads exist only in the parent process of a fork."""
    return _left_behind


def check_process() -> None:
    """Raise an error if the client's threads do not exist in this process."""
    if _left_behind:
        raise RuntimeError(
            "this process was forked from one that had started the engine, XLA, whose threads do not survive a fork: "
            "nothing can be compiled here, run on the device, or moved there. Start processes by spawning, with "
            "multiprocessing.get_context('spawn'), or fork before anything is compiled. Arrays that are ready can be "
            "read here, and eager operations that have a NumPy kernel go on working."
        )


def _after_fork() -> None:
    global _left_behind, _starting
    _starting = threading.Lock()
    if is_started() or _inline.cache_info().currsize:
        _left_behind = True
        array_module.install_buffer_reader(read, wait, True)
        # warm calls find their program by the tracing state alone
        forget_traces()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _inline() -> tuple[Any, Any]:
    xla_flags()  # XLA reads them now
    made = xla_client().make_cpu_client(asynchronous=False, num_devices=1).local_devices()[0]
    return made, _sharding_of(xla_client().DeviceList((made,)))


def inline() -> tuple[Any, Any]:
    """The device of a second client, whose programs run in the thread that calls them, and the sharding on it."""
    check_process()
    with _starting:
        return _inline()


# of several processes: makes the client, given the function that does so for one
starter: Callable[[Callable[..., Any]], Any] | None = None


def is_started() -> bool:
    """Return whether the client has been made, so that it is too late to join other processes."""
    return _client.cache_info().currsize > 0


@cache
def _client() -> Any:
    array_module.install_buffer_reader(read, wait, False)
    fixed["num_cpu_devices"] = "the engine has started, set it before the first array is compiled for or placed"
    fixed["array_tracebacks"] = "the engine has started, set it before the first array is compiled for or placed"
    tracebacks.leave_out(xla_client()._xla.set_tracebacks_enabled)
    xla_flags()  # XLA reads them now
    allocator.keep_freed_memory()  # for the threads that it starts
    make = partial(xla_client().make_cpu_client, asynchronous=True, num_devices=device_count_asked())
    return make() if starter is None else starter(make)


@cache
def xla_flags() -> str:
    """The flags that XLA has read, once for all when the client was made: later changes of the environment are none."""
    return _flags_of_environment()


def _flags_of_environment() -> str:
    """The flags in the variable XLA_FLAGS, or in the file that it names."""
    text = os.environ.get("XLA_FLAGS", "")
    if not text.strip() or text.lstrip().startswith("-"):
        return text
    try:
        with open(text, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return text


def device_count_asked() -> int:
    """The number of devices that the processor is to stand for: the option, or XLA's flag."""
    flag = re.search(r"--xla_force_host_platform_device_count=(\d+)", _flags_of_environment())
    return max(1, int(flag[1]) if flag and config.num_cpu_devices == 1 else config.num_cpu_devices)


def devices() -> list[Any]:
    """The processor's devices of this process."""
    return client().local_devices()


@cache
def device() -> Any:
    """The processor's first device, where arrays are that were not put elsewhere."""
    return devices()[0]


@cache
def device_list(on: tuple[Any, ...] | None = None) -> Any:
    return xla_client().DeviceList((device(),) if on is None else on)


@cache
def sharding() -> Any:
    """The sharding of an array that is entirely on the one device."""
    return _sharding_of(device_list())


def _sharding_of(devices: Any) -> Any:
    xc = xla_client()
    replicated = xc.OpSharding()
    replicated.type = xc.OpSharding.Type.REPLICATED
    return xc._xla.GSPMDSharding(devices, replicated)


def result_handler(aval: ShapedArray, on: Any = None) -> Any:
    """What takes a result of a program, of this type, from the engine; `on` is its sharding, if not on the device."""
    make, place = xla_client()._xla.array_result_handler, sharding() if on is None else on
    try:
        return make(carrier(aval), place, committed=True, _skip_checks=True)
    except TypeError:
        return make(carrier(aval), place, committed=True)


def parsed(text: str, as_hlo: bool) -> Any:
    """A StableHLO module as an object of the engine's: of MLIR, or of XLA."""
    if as_hlo:
        return xla_client()._xla.mlir.mlir_module_to_xla_computation(text, use_tuple_args=False, return_tuple=False)
    return mlir.parsed(text)


# dtypes unknown to the buffer protocol are passed as the unsigned integer of their width
_carriers: dict[np.dtype, np.dtype] = {dtypes.bfloat16: np.dtype(np.uint16)}
_carriers.update(
    {
        d: np.dtype(np.uint8)
        for d in (
            dtypes.float8_e4m3fn,
            dtypes.float8_e5m2,
            dtypes.float8_e4m3b11fnuz,
            dtypes.float8_e4m3fnuz,
            dtypes.float8_e5m2fnuz,
            dtypes.float8_e3m4,
            dtypes.float8_e4m3,
            dtypes.float8_e8m0fnu,
        )
    }
)
_widened = {dtypes.int4: np.dtype(np.int8), dtypes.uint4: np.dtype(np.uint8)}
# a float0 holds no data; programs use a bool in its place, which is False
_stand_ins = {dtypes.float0: np.dtype(bool)}


def carrier(aval: ShapedArray) -> ShapedArray:
    """The type that stands for this type at the boundary of a compiled program."""
    dtype = _carriers.get(aval.dtype) or _widened.get(aval.dtype) or _stand_ins.get(aval.dtype)
    return aval if dtype is None else make_aval(aval.shape, dtype)


def is_widened(dtype: np.dtype) -> bool:
    """Return whether the dtype crosses the boundary by conversion rather than reinterpretation (4-bit integers)."""
    return dtype in _widened


def is_stand_in(dtype: np.dtype) -> bool:
    """Return whether values of the dtype are represented by their carriers inside a program too (float0)."""
    return dtype in _stand_ins


def put(x: ConcreteArray) -> Any:
    """The device buffer of an array, made at the first use."""
    buffer = getattr(x, "_buffer", None)
    if buffer is None:
        check_process()
        value = np.asarray(x.value, order="C")
        aval = x.aval
        if value.dtype.isbuiltin != 1:
            value, aval = carried_value(value), carrier(aval)
        buffer = x._buffer = xla_client().batched_device_put(
            aval, sharding(), [value], [device()], True, enable_x64=True
        )
    return buffer


@cache
def copier() -> Callable[[np.ndarray, ShapedArray], Any]:
    """A function that makes a device buffer of an array which its owner may write to when it has returned.

    Of a dtype that the engine knows, with contiguous entries; in a process that `check_process` lets pass.
    """
    xc = xla_client()
    put, place, devices = xc.batched_device_put, sharding(), [device()]
    semantics = xc.HostBufferSemantics.IMMUTABLE_ONLY_DURING_CALL

    def copied(value: np.ndarray, aval: ShapedArray) -> Any:
        # committed, no copy forced, and types of 64 bits as they are
        return put(aval, place, [value], devices, True, False, semantics, True)

    return copied


def sharing(aval: ShapedArray) -> tuple[np.ndarray, Any] | None:
    """An array of NumPy's and a device buffer of the same memory; None if the engine only makes copies.

    Of a dtype that the engine knows; in a process that `check_process` lets pass.
    """
    whole = np.zeros(aval.size * aval.dtype.itemsize + 64, np.uint8)
    start = -whole.ctypes.data % 64  # the engine takes memory that is aligned like this as it is
    memory = whole[start : start + aval.size * aval.dtype.itemsize].view(aval.dtype).reshape(aval.shape)
    buffer = xla_client().batched_device_put(aval, sharding(), [memory], [device()], True, enable_x64=True)
    return (memory, buffer) if np.shares_memory(memory, np.asarray(buffer)) else None


def read(buffer: AnyValue, aval: ShapedArray) -> np.ndarray:
    """The NumPy value of a buffer, without a copy if the engine allows it."""
    if _left_behind:
        wait(buffer)
    value = np.asarray(buffer)
    if value.dtype.hasobject:
        buffer.block_until_ready()  # raises the error of the program that failed
    return value if value.dtype is aval.dtype else host_value(value, aval)


def wait(buffer: AnyValue) -> None:
    """Wait until a buffer has been computed."""
    if _left_behind and not buffer.is_ready():
        check_process()
    buffer.block_until_ready()


def carried_value(value: np.ndarray) -> np.ndarray:
    """A NumPy value converted to the dtype of its carrier."""
    if value.dtype in _carriers:
        return value.view(_carriers[value.dtype])
    if value.dtype in _widened:
        return value.astype(_widened[value.dtype])
    if value.dtype in _stand_ins:
        return np.zeros(value.shape, _stand_ins[value.dtype])
    return value


def host_value(value: np.ndarray, aval: ShapedArray) -> np.ndarray:
    """A NumPy value converted back from the dtype of its carrier."""
    if aval.dtype in _carriers:
        return value.view(aval.dtype)
    if aval.dtype in _widened:
        return value.astype(aval.dtype)
    if aval.dtype in _stand_ins:
        return np.zeros(aval.shape, aval.dtype)
    return value


def __getattr__(name: str) -> Any:
    """Classes of the engine's, which are loaded with it: `Device`, `JaxRuntimeError`."""
    if name in ("Device", "JaxRuntimeError"):
        return getattr(xla_client()._xla, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
