"""Context managers that set one option for this thread, until the context ends."""

from __future__ import annotations

from typing import Any

from pullback._core.config import config as config  # the examples read it
from pullback._core.config import override


def enable_x64(new_val: bool = True) -> Any:
    """Context manager: allow (or forbid) 64-bit dtypes in this thread.

    ValueError, at its entry, for a value other than True and False.

    >>> with enable_x64():
    ...     config.enable_x64
    True
    """
    return override("enable_x64", new_val)


def debug_nans(new_val: bool = True) -> Any:
    """Context manager: raise as soon as an operation in this thread produces a NaN.

    Compiled functions and loops then run operation by operation, and the error names the line that applied the
    operation.

    >>> with debug_nans():
    ...     config.debug_nans
    True
    """
    return override("debug_nans", new_val)


def disable_jit(disable: bool = True) -> Any:
    """Context manager: run functions under ``jit`` as plain Python in this thread.

    ValueError, at its entry, for a value other than True and False.

    >>> with disable_jit():
    ...     config.disable_jit
    True
    """
    return override("disable_jit", disable)


def numpy_rank_promotion(new_val: str = "allow") -> Any:
    """Context manager: "allow", "warn" about or "raise" on broadcasting between different ranks.

    >>> with numpy_rank_promotion("raise"):
    ...     config.numpy_rank_promotion
    'raise'
    """
    return override("numpy_rank_promotion", new_val)


def default_matmul_precision(new_val: str | None = None) -> Any:
    """Context manager: the precision of matrix products and convolutions that name none.

    >>> with default_matmul_precision("highest"):
    ...     config.default_matmul_precision
    'highest'
    """
    return override("default_matmul_precision", new_val)


def collecting_taps() -> Any:
    """Context manager: record taps in this thread, for `tapped` to collect."""
    return override("collecting_taps", True)


def debug_infs(new_val: bool = True) -> Any:
    """Context manager: raise as soon as an operation in this thread produces an infinity, as `debug_nans` for NaNs.

    ValueError, at its entry, for a value other than True and False.

    >>> with debug_infs():
    ...     config.debug_infs
    True
    """
    return override("debug_infs", new_val)


def debug_key_reuse(new_val: bool = True) -> Any:
    """Context manager: KeyReuseError where a typed key is used twice, which would give the same numbers again.

    Drawing numbers with a key uses it, and so does `random.split`; `random.fold_in` and `random.key_data` do not, and
    `random.clone` gives a key that may be used once more. Of an array of keys each is used by itself. Functions
    that are traced are checked as a whole: both branches of a `cond`, a loop that uses the same key in each step. The
    error says where the key was used first. Raw keys are not checked.

    ValueError, at its entry, for a value other than True and False.

    >>> from pullback import random
    >>> from pullback.errors import KeyReuseError
    >>> with debug_key_reuse():
    ...     key = random.key(0)
    ...     x = random.normal(key)
    ...     try:
    ...         y = random.normal(key)
    ...     except KeyReuseError as error:
    ...         print(str(error).split(":")[0])
    Previously-consumed key passed to normal at index 0
    """
    return override("debug_key_reuse", new_val)


def numpy_dtype_promotion(new_val: str = "standard") -> Any:
    """Context manager: "standard" promotion of dtypes, or "strict": TypePromotionError unless dtypes agree.

    Python numbers take the dtype of the array, in both. ValueError, at its entry, for other values.

    >>> with numpy_dtype_promotion("strict"):
    ...     config.numpy_dtype_promotion
    'strict'
    """
    return override("numpy_dtype_promotion", new_val)


def log_compiles(new_val: bool = True) -> Any:
    """Context manager: write to the log "pullback" how long tracing, lowering and compiling take in this thread.

    ValueError, at its entry, for a value other than True and False.

    >>> with log_compiles():
    ...     config.log_compiles
    True
    """
    return override("log_compiles", new_val)


def checking_leaks(new_val: bool = True) -> Any:
    """Context manager: UnexpectedTracerError where a traced value outlives the function that was traced or mapped.

    A value that is used after the end always raises. This finds those that are only kept, in a list, an attribute or a
    closure, and says where they were made and what holds them. It searches all objects whenever a function has been
    traced, which is slow. ValueError, at its entry, for a value other than True and False.

    >>> import pullback as pb
    >>> kept = []
    >>> with checking_leaks():
    ...     try:
    ...         pb.jit(lambda x: kept.append(x))(1.)
    ...     except pb.errors.UnexpectedTracerError as error:
    ...         print(str(error).split(":")[0])
    Leaked trace
    """
    return override("check_tracer_leaks", new_val)


check_tracer_leaks = checking_leaks


def explain_cache_misses(new_val: bool = True) -> Any:
    """Context manager: write to the log "pullback" why a jitted function is traced in this thread.

    ValueError, at its entry, for a value other than True and False.

    >>> with explain_cache_misses():
    ...     config.explain_cache_misses
    True
    """
    return override("explain_cache_misses", new_val)


def enable_checks(new_val: bool = True) -> Any:
    """Context manager, without effect: `core.check_jaxpr` checks a jaxpr.

    >>> with enable_checks():
    ...     config.enable_checks
    True
    """
    return override("enable_checks", new_val)


def threefry_partitionable(new_val: bool = True) -> Any:
    """Context manager, without effect: there is one way to make random bits, that of True.

    >>> with threefry_partitionable():
    ...     config.threefry_partitionable
    True
    """
    return override("threefry_partitionable", new_val)


def transfer_guard(new_val: str) -> Any:
    """Context manager, without effect: the device is the host, so there are no transfers to guard.

    >>> with transfer_guard("disallow"):
    ...     config.transfer_guard
    'disallow'
    """
    return override("transfer_guard", new_val)


def transfer_guard_host_to_device(new_val: str | None = None) -> Any:
    """Context manager, without effect, as `transfer_guard`.

    >>> with transfer_guard_host_to_device("disallow"):
    ...     config.transfer_guard_host_to_device
    'disallow'
    """
    return override("transfer_guard_host_to_device", new_val)


def transfer_guard_device_to_device(new_val: str | None = None) -> Any:
    """Context manager, without effect, as `transfer_guard`.

    >>> with transfer_guard_device_to_device("disallow"):
    ...     config.transfer_guard_device_to_device
    'disallow'
    """
    return override("transfer_guard_device_to_device", new_val)


def transfer_guard_device_to_host(new_val: str | None = None) -> Any:
    """Context manager, without effect, as `transfer_guard`.

    >>> with transfer_guard_device_to_host("disallow"):
    ...     config.transfer_guard_device_to_host
    'disallow'
    """
    return override("transfer_guard_device_to_host", new_val)


def default_prng_impl(new_val: str = "threefry2x32") -> Any:
    """Context manager: the generator of keys that name none, "threefry2x32", "rbg" or "unsafe_rbg".

    ValueError, at its entry, for others.

    >>> with default_prng_impl("threefry2x32"):
    ...     config.default_prng_impl
    'threefry2x32'
    """
    return override("default_prng_impl", new_val)
