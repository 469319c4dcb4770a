"""Context managers for options of JAX's: two that change something here, and others whose value is kept and read."""

from __future__ import annotations

from typing import Any

from pullback._core.config import config as config  # the examples read it
from pullback._core.config import override


def enable_custom_prng(new_val: bool = True) -> Any:
    """Context manager: `random.PRNGKey` makes typed keys, as `random.key` does. Raises nothing.

    >>> from pullback import random
    >>> with enable_custom_prng():
    ...     print(random.PRNGKey(0).dtype)
    key<fry>
    """
    return override("enable_custom_prng", new_val)


def no_tracing(new_val: bool = True) -> Any:
    """Context manager: RuntimeError as soon as a function is traced in this thread, by `jit` or another transformation.

    >>> import pullback as pb
    >>> f = pb.jit(lambda x: x + 1)
    >>> with no_tracing():
    ...     try:
    ...         f(1.)
    ...     except RuntimeError as error:
    ...         print(error)
    a function is traced, but the option no_tracing is set
    """
    return override("no_tracing", new_val)


def allow_f16_reductions(new_val: bool = True) -> Any:
    """Context manager, without effect: sums of half precision are added in single precision. Raises nothing.

    >>> with allow_f16_reductions():
    ...     config.allow_f16_reductions
    True
    """
    return override("allow_f16_reductions", new_val)


def array_garbage_collection_guard(new_val: str = "allow") -> Any:
    """Context manager, without effect: no array refers to itself. Raises nothing.

    >>> with array_garbage_collection_guard("log"):
    ...     config.array_garbage_collection_guard
    'log'
    """
    return override("array_garbage_collection_guard", new_val)


def jax2tf_associative_scan_reductions(new_val: bool = True) -> Any:
    """Context manager, without effect: nothing is translated for TensorFlow. Raises nothing.

    >>> with jax2tf_associative_scan_reductions():
    ...     config.jax2tf_associative_scan_reductions
    True
    """
    return override("jax2tf_associative_scan_reductions", new_val)


def legacy_prng_key(new_val: str = "allow") -> Any:
    """Context manager, without effect: raw keys are always allowed. Raises nothing.

    >>> with legacy_prng_key("allow"):
    ...     config.legacy_prng_key
    'allow'
    """
    return override("legacy_prng_key", new_val)


def no_execution(new_val: bool = True) -> Any:
    """Context manager, without effect: `eval_shape` computes types without executing anything. Raises nothing.

    >>> with no_execution(False):
    ...     config.no_execution
    False
    """
    return override("no_execution", new_val)


def softmax_custom_jvp(new_val: bool = True) -> Any:
    """Context manager, without effect: the derivative of `softmax` is always its own. Raises nothing.

    >>> with softmax_custom_jvp():
    ...     config.softmax_custom_jvp
    True
    """
    return override("softmax_custom_jvp", new_val)


def thread_guard(new_val: bool = True) -> Any:
    """Context manager, without effect: arrays may be used in all threads. Raises nothing.

    >>> with thread_guard():
    ...     config.thread_guard
    True
    """
    return override("thread_guard", new_val)


def auto_pcast(new_val: bool = True) -> Any:
    """Context manager, without effect: values are made varying over the axes of a mesh where they need to be.

    Raises nothing.

    >>> with auto_pcast():
    ...     config.auto_pcast
    True
    """
    return override("auto_pcast", new_val)


def remove_size_one_mesh_axis_from_type(new_val: bool = True) -> Any:
    """Context manager, without effect: types name the axes of a mesh as they were given. Raises nothing.

    >>> with remove_size_one_mesh_axis_from_type():
    ...     config.remove_size_one_mesh_axis_from_type
    True
    """
    return override("remove_size_one_mesh_axis_from_type", new_val)
