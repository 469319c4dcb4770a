"""Options: process-wide values, overridden per thread by context managers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from pullback._core.typing import AnyValue

_PRECISIONS = (None, "default", "high", "highest", "bfloat16", "tensorfloat32", "float32")

# name -> the values that the option accepts; the first is the default. A range stands for a number of bytes, `float`
# for a number of seconds, `Path` for a folder or None
_CHOICES: dict[str, tuple[Any, ...] | range | type] = {
    "enable_x64": (False, True),
    "debug_nans": (False, True),
    "disable_jit": (False, True),
    "traceback_filtering": ("auto", "off"),
    "numpy_rank_promotion": ("allow", "warn", "raise"),
    "default_matmul_precision": _PRECISIONS,
    # the memory of compiled programs that only the library still holds, since it may need them again
    "program_cache_max_size": range(2**63),
    # compiled programs on disk
    "enable_compilation_cache": (True, False),
    "compilation_cache_dir": Path,
    "compilation_cache_max_size": range(2**63),
    "persistent_cache_min_compile_time_secs": float,
    "persistent_cache_min_entry_size_bytes": range(2**63),
}
_DEFAULTS: dict[str, Any] = {
    "program_cache_max_size": 2**28,
    "compilation_cache_dir": None,
    "compilation_cache_max_size": 2**30,
    "persistent_cache_min_compile_time_secs": 0.0,
    "persistent_cache_min_entry_size_bytes": 0,
}

# not options: state that transformations set temporarily and that a trace depends on
_STATES: dict[str, tuple[Any, ...]] = {"collecting_taps": (False, True)}

_TRUE = ("1", "true", "on", "yes", "y", "t")
_FALSE = ("0", "false", "off", "no", "n", "f", "")


def _option_name(name: str) -> str:
    """The name without its optional ``jax_`` prefix; AttributeError if the option does not exist."""
    bare = name.removeprefix("jax_")
    if bare not in _CHOICES:
        raise AttributeError(f"config has no option {name!r}. Options: {', '.join(_CHOICES)}.")
    return bare


def _check(name: str, value: AnyValue) -> Any:
    choices = _CHOICES[name]
    if isinstance(choices, range):
        if type(value) is int and value in choices:
            return value
        raise ValueError(f"config option {name!r}: expected a number of bytes, an int of 0 or more; got {value!r}.")
    if choices is float:
        if isinstance(value, (int, float)) and value >= 0:
            return float(value)
        raise ValueError(f"config option {name!r}: expected a number of seconds, 0 or more; got {value!r}.")
    if choices is Path:
        if value is None or (isinstance(value, (str, os.PathLike)) and os.fspath(value)):
            return value if value is None else os.fspath(value)
        raise ValueError(f"config option {name!r}: expected the path of a folder, or None; got {value!r}.")
    assert isinstance(choices, tuple)
    for choice in choices:
        if value == choice:
            return choice
    expected = ", ".join(map(repr, choices))
    raise ValueError(f"config option {name!r}: expected one of {expected}; got {value!r}.")


def _from_environment(name: str, environ: dict[str, str]) -> Any:
    """The initial value of an option, from PULLBACK_<NAME> if that is set."""
    choices = _CHOICES[name]
    variable = f"PULLBACK_{name.upper()}"
    text = environ.get(variable)
    if text is None:
        return choices[0] if isinstance(choices, tuple) else _DEFAULTS[name]
    lowered = text.strip().lower()
    if isinstance(choices, range):
        if lowered.isdecimal() and int(lowered) in choices:
            return int(lowered)
        raise ValueError(f"environment variable {variable}: expected a number of bytes; got {text!r}.")
    if choices is float:
        try:
            return _check(name, float(lowered))
        except ValueError:
            raise ValueError(f"environment variable {variable}: expected a number of seconds; got {text!r}.") from None
    if choices is Path:
        return text or None
    assert isinstance(choices, tuple)
    if set(choices) == {False, True}:
        if lowered in _TRUE or lowered in _FALSE:
            return lowered in _TRUE
    elif lowered in choices:
        return lowered
    elif None in choices and lowered in ("", "none"):
        return None
    expected = ", ".join(map(str, choices))
    raise ValueError(f"environment variable {variable}: expected one of {expected}; got {text!r}.")


# whether any thread ever turned debug_nans on; the evaluator asks this first, as a thread's own values are slow to read
nans_were_debugged = [False]


class TracingState:
    """The values of the options that a traced function depends on; equal values are one object."""

    __slots__ = ("values",)
    values: tuple[Any, ...]

    def __init__(self, values: tuple[Any, ...]):
        self.values = values


_TRACING = ("enable_x64", "disable_jit", "debug_nans", "numpy_rank_promotion", "default_matmul_precision", *_STATES)
_states: dict[tuple, TracingState] = {}


def _tracing_state(source: Any) -> TracingState:
    key = tuple(getattr(source, name) for name in _TRACING)
    nans_were_debugged[0] = nans_were_debugged[0] or source.debug_nans
    return _states.setdefault(key, TracingState(key))


def forget_traces() -> None:
    """Invalidate everything traced until now, for all values of the options."""
    _states.clear()
    Config.tracing = _tracing_state(Config)
    if "tracing" in config.__dict__:
        config.__dict__["tracing"] = _tracing_state(config)


class Config(threading.local):
    """The options. Class attributes hold the process-wide values, instance attributes one thread's override.

    Every option can be read as ``config.name`` or ``config.jax_name``. Reads are plain attribute reads; there
    is no ``__getattr__``, which would double their cost.
    """

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "config"  # there is one instance; functions that are pickled by value refer to it

    enable_x64: bool
    debug_nans: bool
    disable_jit: bool
    traceback_filtering: str
    numpy_rank_promotion: str
    default_matmul_precision: str | None
    program_cache_max_size: int
    enable_compilation_cache: bool
    compilation_cache_dir: str | None
    compilation_cache_max_size: int
    persistent_cache_min_compile_time_secs: float
    persistent_cache_min_entry_size_bytes: int
    collecting_taps: bool
    tracing: TracingState

    def __setattr__(self, name: str, value: AnyValue) -> None:
        raise AttributeError(
            f"config.{name} cannot be assigned; use config.update({name!r}, value), "
            "or a context manager such as enable_x64(True)."
        )

    def update(self, name: str, value: AnyValue) -> None:
        """Set an option for the whole process.

        Args:
          name: an option's name, with or without the prefix ``jax_``.
          value: its new value.

        Raises:
          AttributeError: the option does not exist.
          ValueError: the option does not accept this value.

        >>> config.update("numpy_rank_promotion", "warn")
        >>> config.numpy_rank_promotion
        'warn'
        >>> config.update("jax_numpy_rank_promotion", "allow")
        """
        name = _option_name(name)
        setattr(Config, name, _check(name, value))
        Config.tracing = _tracing_state(Config)
        if "tracing" in self.__dict__:
            self.__dict__["tracing"] = _tracing_state(self)

    def read(self, name: str) -> Any:
        """The value that this thread sees; AttributeError for an unknown name.

        >>> config.read("jax_debug_nans")
        False
        """
        return getattr(self, _option_name(name))

    @property
    def values(self) -> dict[str, Any]:
        """Every option and the value that this thread sees."""
        return {name: getattr(self, name) for name in _CHOICES}


for _name in _CHOICES:
    setattr(Config, _name, _from_environment(_name, dict(os.environ)))
    setattr(Config, f"jax_{_name}", property(attrgetter(_name)))
for _name, _values in _STATES.items():
    setattr(Config, _name, _values[0])
Config.tracing = _tracing_state(Config)

config: Config = Config()


@contextmanager
def _override(name: str, value: AnyValue) -> Iterator[None]:
    """Set an option for this thread until the context ends."""
    overrides = config.__dict__  # threading.local gives each thread its own
    outer = overrides.get(name, overrides)  # `overrides` itself stands for "no override"
    overrides[name] = value if name in _STATES else _check(name, value)
    overrides["tracing"] = _tracing_state(config)
    try:
        yield
    finally:
        if outer is overrides:
            overrides.pop(name, None)
        else:
            overrides[name] = outer
        if overrides.keys() == {"tracing"}:
            del overrides["tracing"]  # nothing is overridden: the process-wide values apply here too
        else:
            overrides["tracing"] = _tracing_state(config)


def enable_x64(new_val: bool = True) -> Any:
    """Context manager: allow (or forbid) 64-bit dtypes in this thread.

    ValueError, at its entry, for a value other than True and False.

    >>> with enable_x64():
    ...     config.enable_x64
    True
    """
    return _override("enable_x64", new_val)


def debug_nans(new_val: bool = True) -> Any:
    """Context manager: raise as soon as an operation in this thread produces a NaN.

    Compiled functions and loops then run operation by operation, and the error names the line that applied the
    operation.

    >>> with debug_nans():
    ...     config.debug_nans
    True
    """
    return _override("debug_nans", new_val)


def disable_jit(disable: bool = True) -> Any:
    """Context manager: run functions under ``jit`` as plain Python in this thread.

    ValueError, at its entry, for a value other than True and False.

    >>> with disable_jit():
    ...     config.disable_jit
    True
    """
    return _override("disable_jit", disable)


def numpy_rank_promotion(value: str) -> Any:
    """Context manager: "allow", "warn" about or "raise" on broadcasting between different ranks.

    >>> with numpy_rank_promotion("raise"):
    ...     config.numpy_rank_promotion
    'raise'
    """
    return _override("numpy_rank_promotion", value)


def default_matmul_precision(value: str | None) -> Any:
    """Context manager: the precision of matrix products and convolutions that name none.

    >>> with default_matmul_precision("highest"):
    ...     config.default_matmul_precision
    'highest'
    """
    return _override("default_matmul_precision", value)


def collecting_taps() -> Any:
    """Context manager: record taps in this thread, for `tapped` to collect."""
    return _override("collecting_taps", True)
