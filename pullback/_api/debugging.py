"""`debug.print` and `debug.breakpoint`: inspection of values of traced and compiled code at run time."""

from __future__ import annotations

import logging
import string
import sys
from bdb import BdbQuit
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from pullback._api.callbacks import bind_debug
from pullback._core.errors import Location, boundary, described, user_frame
from pullback._core.jaxpr import Effect
from pullback._core.trace import Tracer, is_linear
from pullback._core.tree import tree_flatten
from pullback._core.typing import AnyValue


@boundary
def print(
    fmt: str, /, *args: AnyValue, ordered: bool = False, skip_format_check: bool = False, **kwargs: AnyValue
) -> None:
    """Print values, under every transformation and in compiled code.

    A format string with placeholders, not an f-string: that would be filled in once, while the function is traced.

    Args:
      fmt: a format string as for `str.format`.
      args, kwargs: the values to fill in: arrays, pytrees of them, or anything else. Arrays print as eager ones do.
      ordered: accepted for compatibility; compiled programs print in program order.
      skip_format_check: check only when printing that every argument has a placeholder.

    Under `vmap` it prints once for each example, if an argument is batched. Under `grad` it prints once, with primal
    values; tangents without a value at run time are not printed.
    Raises: ValueError if the arguments do not match the placeholders.

    >>> import pullback as pb
    >>> @pb.jit
    ... def f(x):
    ...     pb.debug.print("x is {x} and its square {:.1f}", x * x, x=x)
    ...     return x + 1
    >>> _ = f(3.)
    x is 3.0 and its square 9.0
    """
    if not isinstance(fmt, str):
        raise TypeError(
            f"debug.print: the first argument must be a format string such as 'x is {{}}', got {described(fmt)}"
        )
    if not skip_format_check:
        _check_format(fmt, args, kwargs)

    def write(*values, **named):
        sys.stdout.write(fmt.format(*values, **named) + "\n")

    write.__name__ = "print"
    leaves, in_tree = tree_flatten((args, kwargs))
    bind_debug("debug.print", write, leaves, in_tree, ordered)


class DebugEffect(Effect):
    """What `debug.print` and `debug.callback` do, for programs that name it; see `jaxpr.effectful`.

    >>> issubclass(OrderedDebugEffect, DebugEffect)
    True
    """


class OrderedDebugEffect(DebugEffect):
    """What `debug.print` and `debug.callback` do with `ordered=True`; calls are always made in program order here.

    >>> isinstance(OrderedDebugEffect(), DebugEffect)
    True
    """


_logger = logging.getLogger("pullback.debug")


@boundary
def log(
    fmt: str,
    *args: Any,
    ordered: bool = False,
    partitioned: bool = False,
    skip_format_check: bool = False,
    **kwargs: Any,
) -> None:
    """Write formatted values to the log "pullback.debug", at level INFO, each time the call is executed.

    The arguments and errors of `debug.print`; `partitioned` is ignored.

    >>> import logging, pullback as pb
    >>> logging.getLogger("pullback.debug").setLevel(logging.INFO)
    >>> handler = logging.StreamHandler(sys.stdout)
    >>> logging.getLogger("pullback.debug").addHandler(handler)
    >>> _ = pb.jit(lambda x: pb.debug.log("x is {}", x))(3.)
    x is 3.0
    >>> logging.getLogger("pullback.debug").removeHandler(handler)
    """
    if not isinstance(fmt, str):
        raise TypeError(
            f"debug.log: the first argument must be a format string such as 'x is {{}}', got {described(fmt)}"
        )
    if not skip_format_check:
        _check_format(fmt, args, kwargs)

    def write(*values, **named):
        _logger.info(fmt.format(*values, **named))

    write.__name__ = "log"
    leaves, in_tree = tree_flatten((args, kwargs))
    bind_debug("debug.log", write, leaves, in_tree, ordered)


class _Fields(string.Formatter):
    """A formatter that checks a format string without formatting the values."""

    def get_field(self, field_name, args, kwargs):
        first = field_name.split(".")[0].split("[")[0]
        key = int(first) if first.isdigit() else first
        self.get_value(key, args, kwargs)
        return "", key

    def convert_field(self, value, conversion):
        return value

    def format_field(self, value, format_spec):
        return ""

    def check_unused_args(self, used_args, args, kwargs):
        unused = [f"argument {i}" for i in range(len(args)) if i not in used_args]
        unused += [f"{k}=" for k in kwargs if k not in used_args]
        if unused:
            raise ValueError(
                f"no placeholder for {', '.join(unused)}. Write {{}} where an argument goes; an f-string "
                "does not work, since it is filled in before the values are known"
            )


def _check_format(fmt: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    try:
        _Fields().vformat(fmt, args, kwargs)
    except IndexError:
        raise ValueError(f"debug.print({fmt!r}): a placeholder has no argument; {len(args)} were given") from None
    except KeyError as error:
        raise ValueError(f"debug.print({fmt!r}): the placeholder {error} has no argument of that name") from None
    except ValueError as error:
        raise ValueError(f"debug.print({fmt!r}): {error}") from None


@boundary
def breakpoint(
    *,
    backend: str | None = None,
    filter_frames: bool = True,
    num_frames: int | None = None,
    ordered: bool = False,
    token: AnyValue = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> None:
    """Open Python's debugger `pdb` here each time the call is executed, with the current variables of the function.

    It works in compiled code too: the debugger opens at run time, and traced arrays have their values; tangents
    without a value at run time stay traced. Inspect anything (`p x`, `l`, `where`); `c` continues, `q` raises
    `bdb.BdbQuit`. It cannot step, and assignments do not reach the program. Under `vmap` it opens once for each
    example. Code that runs eagerly can also use Python's own `breakpoint()`.

    Args:
      ordered, token, filter_frames, num_frames: accepted for compatibility; pdb is in the frame of the call alone.
      backend: None or "cli", for the terminal; ValueError for JAX's "web".
      stdin, stdout: text files for the commands and the output, in place of the terminal.

    >>> import io, pullback as pb
    >>> @pb.jit
    ... def f(x):
    ...     y = x * x
    ...     pb.debug.breakpoint(stdin=io.StringIO("p float(y + 1)\\nc\\n"), stdout=screen)
    ...     return y
    >>> screen = io.StringIO()
    >>> _ = f(3.)
    >>> "10.0" in screen.getvalue()
    True
    """
    if backend not in (None, "cli"):
        raise ValueError(f'debug.breakpoint: the debugger is pdb, on the terminal ("cli"); got backend={backend!r}')
    frame = user_frame()
    if frame is None:
        raise RuntimeError("debug.breakpoint: there is no frame of the user's to stop in")
    place = Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    variables, surroundings = dict(frame.f_locals), frame.f_globals
    traced = {name: value for name, value in variables.items() if _is_traced(value)}

    def stop(known):
        _open(place, surroundings, {**variables, **known}, stdin, stdout)

    leaves, in_tree = tree_flatten(((traced,), {}))
    bind_debug("debug.breakpoint", stop, leaves, in_tree, ordered)


def _is_traced(value: AnyValue) -> bool:
    """Return whether a variable holds traced arrays, all of which will have values at run time."""
    try:
        tracers = [x for x in tree_flatten(value)[0] if isinstance(x, Tracer)]
    except (TypeError, ValueError):
        return False
    return bool(tracers) and all(x._trace.alive and not is_linear(x) for x in tracers)


def _open(place: Location, surroundings: dict[str, Any], variables: dict[str, Any], stdin: Any, stdout: Any) -> None:
    import pdb

    if stdin is not None and stdout is None:
        stdout = sys.stdout  # otherwise pdb reads from the terminal
    debugger = pdb.Pdb(stdin=stdin, stdout=stdout, nosigint=True, readrc=stdin is None)

    def pause():
        frame = sys._getframe(1)
        del frame.f_locals["__pause__"]
        debugger.reset()
        debugger.interaction(frame, None)

    _in_frame(place, surroundings, variables, pause)
    if debugger.quitting:
        raise BdbQuit


def _in_frame(place: Location, surroundings: dict[str, Any], variables: dict[str, Any], pause: Callable) -> None:
    """Call `pause` from a frame that looks like the user's: the same source location, the given variables."""
    code = compile("__pause__()", place.filename, "exec")
    exec(
        code.replace(co_firstlineno=place.line, co_name=place.function), surroundings, {**variables, "__pause__": pause}
    )
