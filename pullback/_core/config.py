"""Options: process-wide values, overridden per thread by context managers."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

from pullback._core.inert_options import INERT, RESULTS
from pullback._core.typing import AnyValue

# the names of `lax.Precision`, their other names, and those of `lax.DotAlgorithmPreset`
_PRECISIONS = (
    *(None, "default", "high", "highest", "bfloat16", "tensorfloat32", "float32", "fastest", "bfloat16_3x", "DEFAULT"),
    *("ANY_F8_ANY_F8_F32", "ANY_F8_ANY_F8_F32_FAST_ACCUM", "ANY_F8_ANY_F8_ANY", "ANY_F8_ANY_F8_ANY_FAST_ACCUM"),
    *("F16_F16_F16", "F16_F16_F32", "BF16_BF16_BF16", "BF16_BF16_F32", "BF16_BF16_F32_X3", "BF16_BF16_F32_X6"),
    *("BF16_BF16_F32_X9", "TF32_TF32_F32", "TF32_TF32_F32_X3", "F32_F32_F32", "F64_F64_F64"),
)

# name -> the values that the option accepts; the first is the default. A range stands for a number of bytes, `float`
# for a number of seconds, `Path` for a folder or None, `str` for names or None
_CHOICES: dict[str, tuple[Any, ...] | range | type] = {
    "enable_x64": (False, True),
    "debug_nans": (False, True),
    "debug_infs": (False, True),
    # whether random keys that are used twice raise an error
    "debug_key_reuse": (False, True),
    # whether a transformation that ends is searched for traced values that outlive it
    "check_tracer_leaks": (False, True),
    "disable_jit": (False, True),
    # all but "off" take the package's frames out; the other names are JAX's ways to do so
    "traceback_filtering": ("auto", "off", "tracebackhide", "remove_frames", "quiet_remove_frames"),
    "numpy_rank_promotion": ("allow", "warn", "raise"),
    "numpy_dtype_promotion": ("standard", "strict"),
    "default_matmul_precision": _PRECISIONS,
    # the memory of compiled programs that only the library still holds, since it may need them again
    "program_cache_max_size": range(2**63),
    # what tracing and compiling took, and why a function was traced, written to the log
    "log_compiles": (False, True),
    "explain_cache_misses": (False, True),
    # whether jitted functions that do not say so answer before they are compiled
    "jit_tiered": (False, True),
    # compiled programs on disk
    "enable_compilation_cache": (True, False),
    "compilation_cache_dir": Path,
    "compilation_cache_max_size": range(2**63),
    "persistent_cache_min_compile_time_secs": float,
    "persistent_cache_min_entry_size_bytes": range(2**63),
    # whether arrays on the device keep the lines that made them, for profiles of memory
    "array_tracebacks": (False, True),
    # several processes: how long they wait for each other, and whether each program is compared before each run
    "collective_timeout_secs": float,
    "distributed_debug": (False, True),
    # the generator of keys that name none
    "default_prng_impl": ("threefry2x32", "rbg", "unsafe_rbg"),
    # which platforms there are to be, in the order of preference, and which of them programs run on; names are looked
    # up when the first program is compiled
    "platforms": str,
    "platform_name": str,
    # the numbers of NVIDIA's devices that this process may use, or "all"
    "cuda_visible_devices": str,
    # how many devices the processor stands for, set before the first is used
    "num_cpu_devices": range(2**16),
}
_DEFAULTS: dict[str, Any] = {
    "program_cache_max_size": 2**28,
    "compilation_cache_dir": None,
    "compilation_cache_max_size": 2**30,
    "persistent_cache_min_compile_time_secs": 0.0,
    "collective_timeout_secs": 1800.0,
    "persistent_cache_min_entry_size_bytes": 0,
    "num_cpu_devices": 1,
    "platforms": None,
    "platform_name": None,
    "cuda_visible_devices": "all",
}

# what -1 means
_UNLIMITED = {"compilation_cache_max_size": 2**63 - 1, "persistent_cache_min_entry_size_bytes": 0, "num_cpu_devices": 1}

# options that accept any value -> their defaults; "default_device" is checked where it is set
_OPEN: dict[str, Any] = {**INERT, "default_device": None}

# not options: state that transformations set temporarily and that a trace depends on
_STATES: dict[str, tuple[Any, ...]] = {"collecting_taps": (False, True), "meshes": ((),), "mesh_of_programs": (None,)}

# options that cannot change any more -> why
fixed: dict[str, str] = {}

_TRUE = ("1", "true", "on", "yes", "y", "t")
_FALSE = ("0", "false", "off", "no", "n", "f", "")


def _option_name(name: str) -> str:
    """The name without its optional ``jax_`` prefix; AttributeError if the option does not exist."""
    bare = name.removeprefix("jax_")
    if bare not in _CHOICES and bare not in _OPEN:
        raise AttributeError(f"config has no option {name!r}. Options: {', '.join(_CHOICES)}.")
    return bare


def _check(name: str, value: AnyValue) -> Any:
    if name in _OPEN:
        if name in RESULTS and value != _OPEN[name]:
            warnings.warn(f"config option {name!r}: {value!r} has no effect: {RESULTS[name]}", stacklevel=3)
        return value
    choices = _CHOICES[name]
    if isinstance(choices, range):
        if type(value) is int and value == -1 and name in _UNLIMITED:
            return _UNLIMITED[name]
        if type(value) is int and value in choices:
            return value
        what = "devices" if name == "num_cpu_devices" else "bytes"
        raise ValueError(f"config option {name!r}: expected a number of {what}, an int of 0 or more; got {value!r}.")
    if choices is float:
        if isinstance(value, (int, float)) and value >= 0:
            return float(value)
        raise ValueError(f"config option {name!r}: expected a number of seconds, 0 or more; got {value!r}.")
    if choices is str:
        if value is None or isinstance(value, str):
            parts = [part.strip() for part in (value or "").lower().split(",")]
            return ",".join(filter(None, parts)) or _DEFAULTS[name]
        raise ValueError(f"config option {name!r}: expected names, separated by commas, or None; got {value!r}.")
    if choices is Path:
        if value is None or (isinstance(value, (str, os.PathLike)) and os.fspath(value)):
            return value if value is None else os.fspath(value)
        raise ValueError(f"config option {name!r}: expected the path of a folder, or None; got {value!r}.")
    assert isinstance(choices, tuple)
    if value == "" and None in choices:
        return None
    for choice in choices:
        if value == choice:
            return choice
    expected = ", ".join(map(repr, choices))
    raise ValueError(f"config option {name!r}: expected one of {expected}; got {value!r}.")


def _from_environment(name: str, environ: dict[str, str], prefix: str = "PULLBACK_") -> Any:
    """The initial value of an option, from PULLBACK_<NAME> if that is set."""
    variable = f"{prefix}{name.upper()}"
    if variable in environ:
        return from_text(f"environment variable {variable}", name, environ[variable])
    choices = _CHOICES[name]
    return choices[0] if isinstance(choices, tuple) else _DEFAULTS[name]


def from_text(where: str, name: str, text: str) -> Any:
    """The value of an option that a text means; ValueError, which begins with `where`, if it means none."""
    choices = _CHOICES[name]
    lowered = text.strip().lower()
    if isinstance(choices, range):
        if lowered.isdecimal() and int(lowered) in choices:
            return int(lowered)
        raise ValueError(f"{where}: expected a number of bytes; got {text!r}.")
    if choices is float:
        try:
            return _check(name, float(lowered))
        except ValueError:
            raise ValueError(f"{where}: expected a number of seconds; got {text!r}.") from None
    if choices is str:
        return _check(name, text)
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
    raise ValueError(f"{where}: expected one of {expected}; got {text!r}.")


# whether any thread ever turned debug_nans on; the evaluator asks this first, as a thread's own values are slow to read
nans_were_debugged = [False]
# the same for debug_key_reuse
keys_were_checked = [False]
# the same for check_tracer_leaks
leaks_were_checked = [False]


# a number for `config.promotion`, another than that; 0 once a thread has had options of its own: `config` must be asked
process_promotion = [4]


class TracingState:
    """The values of the options, `names`, that a traced function depends on; equal values are one object.

    `promoted` keeps the promoted dtypes, which depend on them too.
    """

    __slots__ = ("values", "promoted")
    names: ClassVar[tuple[str, ...]]
    values: tuple[Any, ...]
    promoted: dict[Any, Any]

    def __init__(self, values: tuple[Any, ...]):
        self.values = values
        self.promoted = {}


_TRACING = (
    "enable_x64",
    "disable_jit",
    "debug_nans",
    "debug_infs",
    "debug_key_reuse",
    "check_tracer_leaks",
    "numpy_rank_promotion",
    "numpy_dtype_promotion",
    "default_matmul_precision",
    "default_prng_impl",
    "enable_custom_prng",
    "default_device",
    "platforms",
    "platform_name",
    *_STATES,
)
TracingState.names = _TRACING
_states: dict[tuple, TracingState] = {}


def _tracing_state(source: Any) -> TracingState:
    key = tuple(getattr(source, name) for name in _TRACING)
    nans_were_debugged[0] = nans_were_debugged[0] or source.debug_nans or source.debug_infs
    keys_were_checked[0] = keys_were_checked[0] or source.debug_key_reuse
    leaks_were_checked[0] = leaks_were_checked[0] or source.check_tracer_leaks
    return _states.setdefault(key, TracingState(key))


def forget_traces() -> None:
    """Invalidate everything traced until now, for all values of the options."""
    _states.clear()
    _derive()


def _derive() -> None:
    """Set what follows from the options, for the process and for this thread."""
    Config.tracing = _tracing_state(Config)
    Config.debugging = Config.debug_nans or Config.debug_infs
    Config.promotion = Config.enable_x64 + 2 * (Config.numpy_dtype_promotion == "strict")
    process_promotion[0] = process_promotion[0] and Config.promotion + 4
    if "tracing" in config.__dict__:
        process_promotion[0] = 0
        config.__dict__["tracing"] = _tracing_state(config)
        config.__dict__["debugging"] = config.debug_nans or config.debug_infs
        config.__dict__["promotion"] = config.enable_x64 + 2 * (config.numpy_dtype_promotion == "strict")


class Config(threading.local):
    """The options. Class attributes hold the process-wide values, instance attributes one thread's override.

    Every option can be read as ``config.name`` or ``config.jax_name``. Reads are plain attribute reads; there
    is no ``__getattr__``, which would double their cost.
    """

    def __reduce__(self) -> str | tuple[Any, ...]:
        return "config"  # there is one instance; functions that are pickled by value refer to it

    enable_x64: bool
    debug_nans: bool
    debug_infs: bool
    debug_key_reuse: bool
    check_tracer_leaks: bool
    disable_jit: bool
    traceback_filtering: str
    numpy_rank_promotion: str
    numpy_dtype_promotion: str
    default_device: Any
    default_matmul_precision: str | None
    program_cache_max_size: int
    log_compiles: bool
    explain_cache_misses: bool
    jit_tiered: bool
    enable_compilation_cache: bool
    compilation_cache_dir: str | None
    compilation_cache_max_size: int
    persistent_cache_min_compile_time_secs: float
    persistent_cache_min_entry_size_bytes: int
    array_tracebacks: bool
    num_cpu_devices: int
    platforms: str | None
    platform_name: str | None
    cuda_visible_devices: str
    collecting_taps: bool
    meshes: tuple[Any, ...]  # the meshes that this thread has entered
    mesh_of_programs: Any  # the mesh, set by `set_mesh`, that compiled functions of arrays without a place run on
    tracing: TracingState
    debugging: bool  # whether operations are searched for NaNs or infinities
    promotion: int  # what the dtype of a result depends on, as one number

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
        value = _check(name, value)
        if name in fixed and value != getattr(Config, name):
            raise RuntimeError(
                f"config option {name!r}: {fixed[name]}; got {value!r}, it is {getattr(Config, name)!r}."
            )
        setattr(Config, name, value)
        _derive()

    def read(self, name: str) -> Any:
        """The value that this thread sees; AttributeError for an unknown name.

        >>> config.read("jax_debug_nans")
        False
        """
        return getattr(self, _option_name(name))

    @property
    def values(self) -> dict[str, Any]:
        """Every option and the value that this thread sees."""
        return {name: getattr(self, name) for name in (*_CHOICES, *_OPEN)}

    @property
    def x64_enabled(self) -> bool:
        """The option `enable_x64`."""
        return self.enable_x64

    @property
    def jax_x64_enabled(self) -> bool:
        """The option `enable_x64`."""
        return self.enable_x64

    def parse_flags_with_absl(self) -> None:
        """Set the options that the program's arguments give, as --jax_enable_x64, and have absl's flags read."""
        import_module("pullback._core.flags").parse_with_absl()

    def config_with_absl(self) -> None:
        """Set the options that the program's arguments give; absl's flags are read by the program itself."""
        import_module("pullback._core.flags").read_arguments(sys.argv[1:])


_environ = dict(os.environ)
for _name in _CHOICES:
    setattr(Config, _name, _from_environment(_name, _environ))
    setattr(Config, f"jax_{_name}", property(attrgetter(_name)))
for _name, _value in _OPEN.items():
    setattr(Config, _name, _value)
    setattr(Config, f"jax_{_name}", property(attrgetter(_name)))
for _name, _values in _STATES.items():
    setattr(Config, _name, _values[0])

config: Config = Config()
_derive()


def is_option(name: str) -> bool:
    """Whether an option of this name is read from texts."""
    return name in _CHOICES


def read_environment_of_jax(environ: dict[str, str]) -> None:
    """Set the options that JAX_<NAME> gives in the environment and PULLBACK_<NAME> does not.

    >>> read_environment_of_jax({})
    """
    for name in _CHOICES:
        if f"JAX_{name.upper()}" in environ and f"PULLBACK_{name.upper()}" not in environ:
            config.update(name, _from_environment(name, environ, "JAX_"))


def set_state(name: str, value: AnyValue) -> None:
    """Set a state for this thread; for its process-wide value, nothing is overridden any more."""
    overrides = config.__dict__  # threading.local gives each thread its own
    if value == getattr(Config, name):
        overrides.pop(name, None)
    else:
        overrides[name] = value
    overrides["tracing"] = None  # `_derive` sets it
    _derive_overrides(overrides)


@contextmanager
def override(name: str, value: AnyValue) -> Iterator[None]:
    """Set an option for this thread until the context ends."""
    overrides = config.__dict__
    outer = overrides.get(name, overrides)  # `overrides` itself stands for "no override"
    overrides[name] = value if name in _STATES else _check(name, value)
    overrides["tracing"] = None
    _derive()
    try:
        yield
    finally:
        if outer is overrides:
            overrides.pop(name, None)
        else:
            overrides[name] = outer
        _derive_overrides(overrides)


@contextmanager
def seen_as(overrides: dict[str, Any]) -> Iterator[None]:
    """Let this thread see the options as the one does whose overrides, its `config.__dict__`, these are."""
    own = config.__dict__
    outer = dict(own)
    own.clear()
    own.update(overrides)
    try:
        yield
    finally:
        own.clear()
        own.update(outer)


def _derive_overrides(overrides: dict[str, Any]) -> None:
    if overrides.keys() <= {"tracing", "debugging", "promotion"}:
        overrides.clear()  # nothing is overridden: the process-wide values apply here too
    else:
        _derive()


def leaks_are_checked() -> bool:
    """Whether a transformation that ends is searched for leaks."""
    return leaks_were_checked[0] and config.check_tracer_leaks
