"""Exceptions of the library, the user's place in the source, and the folding of our own frames out of tracebacks."""
from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple, TypeVar

from pullback._core.config import config

_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_internal: dict[CodeType, bool] = {}


class ConcretizationTypeError(TypeError):
    """A value that is known only when the compiled function runs was asked for while it is being traced."""


class TracerBoolConversionError(ConcretizationTypeError):
    """`if`, `while`, `and`, `or` or `assert` met a traced value."""


class TracerIntegerConversionError(ConcretizationTypeError):
    """A traced value was used where Python needs an integer, such as a list index or a shape."""


class TracerArrayConversionError(ConcretizationTypeError):
    """NumPy, or another library, asked a traced value for its data."""


class NonConcreteBooleanIndexError(IndexError):
    """A boolean mask under tracing would give a result whose shape depends on data."""


class UnexpectedTracerError(Exception):
    """A tracer outlived the transformation that made it: a leak through a global, a closure or a mutated object."""


class RuleNotDefinedError(NotImplementedError):
    """A primitive or a function lacks the rule that a transformation needs."""


class RuleOrderWarning(UserWarning):
    """A custom rule that is itself being differentiated loses what it says: the message names it and its line."""


class RuleError(TypeError):
    """A custom rule broke its contract: the message names the rule, the argument by path, expected and got."""


class RuleCheckError(AssertionError):
    """A derivative rule failed its check; the message is the report."""


class Location(NamedTuple):
    """A line of the user's source."""

    filename: str
    line: int
    function: str

    def __str__(self):
        return f"{self.filename}:{self.line} ({self.function})"


def is_internal(code: CodeType) -> bool:
    """Whether a code object belongs to the package itself."""
    known = _internal.get(code)
    if known is None:
        known = _internal[code] = code.co_filename.startswith(_package)
    return known


def user_frame() -> FrameType | None:
    """The innermost frame outside the package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code):
        frame = frame.f_back
    return frame


def user_location() -> Location | None:
    """The innermost line outside the package that is running now."""
    frame = user_frame()
    if frame is None:
        return None
    return Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def describe_function(fun: Any) -> str:
    """A function's name with the place of its definition, for messages."""
    target = fun
    while True:
        if isinstance(target, functools.partial):
            target = target.func
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        else:
            break
    name = function_name(fun)
    code = getattr(target, "__code__", None)
    return f"{name} (defined at {code.co_filename}:{code.co_firstlineno})" if code else name


def function_name(fun: Any) -> str:
    """The name a user knows a callable by."""
    if isinstance(fun, functools.partial):
        return function_name(fun.func)
    return getattr(fun, "__name__", None) or type(fun).__name__


def fold(error: BaseException) -> None:
    """Take the package's own frames out of the traceback of an exception, and of those it is chained to.

    To be called in an `except` block that then says `raise`: a bare raise does not enter its own frame again.
    `config.update("traceback_filtering", "off")` keeps all frames.
    """
    if config.traceback_filtering == "off":
        return
    folded: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in folded:
        folded.add(id(link))
        _fold_one(link)
        link = link.__cause__ or link.__context__


def _fold_one(error: BaseException) -> None:
    kept = []
    entry = error.__traceback__
    while entry is not None:
        if not is_internal(entry.tb_frame.f_code):
            kept.append(entry)
        entry = entry.tb_next
    folded: TracebackType | None = None
    for entry in reversed(kept):
        folded = TracebackType(folded, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = folded


F = TypeVar("F", bound=Callable)


def boundary(fun: F) -> F:
    """Mark a function of the public surface: exceptions leave it with the package's frames folded away."""

    @functools.wraps(fun)
    def entry(*args, **kwargs):
        try:
            return fun(*args, **kwargs)
        except Exception as error:
            fold(error)
            raise

    return entry  # type: ignore[return-value]
