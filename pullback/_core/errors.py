"""Exceptions of the library, source locations of the user, and removal of internal frames from tracebacks."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple, TypeVar

from pullback._core.config import config
from pullback._core.typing import AnyValue

_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class _OwnFiles(dict[str, bool]):
    """Whether a file of source belongs to the package itself."""

    def __missing__(self, filename: str) -> bool:
        own = self[filename] = filename.startswith(_package)
        return own


internal_files = _OwnFiles()


class JAXTypeError(TypeError):
    """The base of errors about traced values that are used as others are.

    >>> issubclass(ConcretizationTypeError, JAXTypeError)
    True
    """


class JAXIndexError(IndexError):
    """The base of errors about indices that tracing cannot have.

    >>> issubclass(NonConcreteBooleanIndexError, JAXIndexError)
    True
    """


class KeyReuseError(RuntimeError):
    """A random key was used twice: raised while the option `debug_key_reuse` is on.

    >>> issubclass(KeyReuseError, RuntimeError)
    True
    """


class InconclusiveDimensionOperation(Exception):
    """A program asked about a symbolic dimension what its variables do not decide, such as whether `b >= 2`.

    >>> from pullback import export
    >>> b, = export.symbolic_shape("b")
    >>> b >= 1, b == 2  # dimensions that differ in form differ
    (True, False)
    >>> try:
    ...     b >= 2
    ... except InconclusiveDimensionOperation:
    ...     print("for which b?")
    for which b?
    """


class ConcretizationTypeError(JAXTypeError):
    """A value that is known only at run time of the compiled function was requested while it is being traced.

    >>> import pullback as pb
    >>> try:
    ...     pb.jit(lambda x: pb.numpy.zeros(3) * float(x))(1.)
    ... except ConcretizationTypeError:
    ...     print("float() needs a value")
    float() needs a value
    """


class TracerBoolConversionError(ConcretizationTypeError):
    """`if`, `while`, `and`, `or` or `assert` was applied to a traced value.

    >>> import pullback as pb
    >>> try:
    ...     pb.jit(lambda x: 1. if x > 0 else 2.)(1.)
    ... except TracerBoolConversionError:
    ...     print("use pb.lax.cond, or pb.numpy.where")
    use pb.lax.cond, or pb.numpy.where
    """


class TracerIntegerConversionError(ConcretizationTypeError):
    """A traced value was used where Python needs an integer, such as a list index or a shape.

    >>> import pullback as pb
    >>> try:
    ...     pb.jit(lambda n: [1., 2.][n])(0)
    ... except TracerIntegerConversionError:
    ...     print("use an array, or make n static")
    use an array, or make n static
    """


class TracerArrayConversionError(ConcretizationTypeError):
    """NumPy, or another library, requested the data of a traced value.

    >>> import numpy as np, pullback as pb
    >>> try:
    ...     pb.jit(np.sin)(1.)
    ... except TracerArrayConversionError:
    ...     print("use pb.numpy.sin")
    use pb.numpy.sin
    """


class NonConcreteBooleanIndexError(JAXIndexError):
    """A boolean mask under tracing would give a result whose shape depends on data.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> try:
    ...     pb.jit(lambda x: x[x > 0])(pnp.arange(3))
    ... except NonConcreteBooleanIndexError:
    ...     print("use pnp.where")
    use pnp.where
    """


class UnexpectedTracerError(JAXTypeError):
    """A tracer outlived the transformation that made it: a leak through a global, a closure or a mutated object.

    >>> import pullback as pb
    >>> leaked = []
    >>> _ = pb.jit(lambda x: leaked.append(x) or x)(1.)
    >>> try:
    ...     leaked[0] + 1.
    ... except UnexpectedTracerError:
    ...     print("return it instead")
    return it instead
    """


class RuleNotDefinedError(NotImplementedError):
    """A primitive or a function lacks the rule that a transformation needs.

    >>> import pullback as pb
    >>> p = pb.extend.core.Primitive("p")
    >>> _ = p.def_kernel(lambda x: x), p.def_abstract_eval(lambda x: x)
    >>> try:
    ...     pb.grad(p.bind)(1.)
    ... except RuleNotDefinedError:
    ...     print("p has no jvp rule")
    p has no jvp rule
    """


class RuleOrderWarning(UserWarning):
    """A custom rule is lost when it is differentiated itself; the message names the rule and its line.

    >>> import pullback as pb, warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", pb.errors.RuleOrderWarning)  # what warned now raises
    """


class RuleError(TypeError):
    """A custom rule broke its contract: the message names the rule, the argument by path, expected and got.

    >>> import pullback as pb
    >>> f = pb.custom_vjp(lambda x: x)
    >>> f.defvjp(lambda x: (x, None), lambda _, ct: (ct, ct))
    >>> try:
    ...     pb.grad(f)(1.)
    ... except RuleError:
    ...     print("the rule returns two cotangents for one argument")
    the rule returns two cotangents for one argument
    """


class RuleCheckError(AssertionError):
    """A derivative rule failed its check; the message is the report.

    >>> import pullback as pb
    >>> f = pb.custom_jvp(lambda x: x)
    >>> _ = f.defjvp(lambda primals, tangents: (f(*primals), 3. * tangents[0]))
    >>> try:
    ...     pb.check_rules(f, 1.)
    ... except RuleCheckError:
    ...     print("the derivative is 1")
    the derivative is 1
    """


class ProcessFailureError(RuntimeError):
    """Other processes died, hung or left before they had done their part; `processes` are their indices.

    >>> ProcessFailureError("psum: process 1 died", [1]).processes
    (1,)
    """

    def __init__(self, message: str, processes: Iterable[int] = ()):
        super().__init__(message)
        self.processes: tuple[int, ...] = tuple(processes)


for _error in (
    *(JAXTypeError, JAXIndexError, KeyReuseError, InconclusiveDimensionOperation, ConcretizationTypeError),
    *(TracerBoolConversionError, TracerIntegerConversionError, TracerArrayConversionError),
    *(NonConcreteBooleanIndexError, UnexpectedTracerError, RuleNotDefinedError, RuleOrderWarning, RuleError),
    *(RuleCheckError, ProcessFailureError),
):
    _error.__module__ = "pullback.errors"  # which tracebacks show


class Location(NamedTuple):
    """A line of the user's source."""

    filename: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line} ({self.function})"


def is_internal(code: CodeType) -> bool:
    """Return whether a code object belongs to the package itself."""
    return internal_files[code.co_filename]


def user_frame() -> FrameType | None:
    """The innermost frame outside the package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_internal(frame.f_code):
        frame = frame.f_back
    return frame


def no_dtype(value: object) -> TypeError:
    """The error for a value that is no dtype, with what was meant if that can be guessed."""
    hint = ""
    if type(value) is int:
        hint = " A shape of several axes is one tuple, as in zeros((2, 3))."
    elif hasattr(value, "shape"):
        hint = " Arrays that are joined are one list, as in vstack([x, y]); the dtype of an array is x.dtype."
    return TypeError(f"expected a dtype such as 'float32', np.int8 or float; got {value!r}.{hint}")


def warn_user(message: str) -> None:
    """A UserWarning at the innermost line outside the package, once per line."""
    frame = user_frame()
    place = (frame.f_code.co_filename, frame.f_lineno) if frame else ("pullback", 1)
    registry = frame.f_globals.setdefault("__warningregistry__", {}) if frame else None
    warnings.warn_explicit(message, UserWarning, *place, registry=registry)


def describe_function(fun: AnyValue) -> str:
    """The name of a function and the location of its definition, for messages."""
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


def function_name(fun: AnyValue) -> str:
    """The name by which the user knows a callable."""
    if isinstance(fun, functools.partial):
        return function_name(fun.func)
    return getattr(fun, "__name__", None) or type(fun).__name__


F = TypeVar("F", bound=Callable)


class Described:
    """A value that describes itself in messages, so that they do not name internal classes."""

    __slots__ = ()

    def _described(self) -> str:
        """A noun with its article, such as "an array of type f32[3]"."""
        raise NotImplementedError


def described(x: AnyValue) -> str:
    """The description of a value in messages: "3 of type int", or the value's own."""
    return x._described() if isinstance(x, Described) else f"{x!r} of type {type(x).__name__}"


def kind_of(x: AnyValue) -> str:
    """The short description of a value in messages: "list", or the value's own."""
    return x._described() if isinstance(x, Described) else type(x).__name__


W = TypeVar("W")


def _copy_names(wrapper: Any, fun: Callable) -> None:
    try:
        functools.update_wrapper(wrapper, fun, updated=())
    except TypeError:  # an object whose `__name__` is no string, but a bound method of some library, for example
        names = [name for name in functools.WRAPPER_ASSIGNMENTS if isinstance(getattr(fun, name, None), str)]
        functools.update_wrapper(wrapper, fun, names, ())


def wrapping(fun: Callable) -> Callable[[W], W]:
    """A decorator for a wrapper of `fun`, a user's function: it gets the name, docstring and attributes of `fun`.

    Attributes listed in `__own__`, which our decorators set, describe that object only and are not copied. Attributes
    that the wrapper already has are kept.
    """

    def dress(wrapper: W) -> W:
        _copy_names(wrapper, fun)
        if not isinstance(fun, type):
            attributes = getattr(fun, "__dict__", {})
            # most functions have none, and every `grad(f)(x)` comes here: the set difference runs in C
            for key in attributes.keys() - getattr(fun, "__own__", ()) if attributes else ():
                if not key.startswith("__"):
                    wrapper.__dict__.setdefault(key, attributes[key])
        return wrapper

    return dress


def standing_for(fun: Callable) -> Callable[[Callable], Callable]:
    """A decorator for an internal function around `fun`, a user's: messages name `fun` and its line."""

    def rename(wrapper):
        _copy_names(wrapper, fun)
        wrapper.__name__ = function_name(fun)  # a callable object has no name to copy
        return wrapper

    return rename


# files and folders of other packages whose frames are removed from tracebacks too
excluded_paths: list[str] = []


def register_exclusion(path: str) -> None:
    """Have the frames of a file, or of the files in a folder, removed from tracebacks that leave a public function.

    For a library whose own functions call public functions with functions of its own. Raises nothing.

    >>> register_exclusion("/a/library/of/mine.py")
    >>> excluded_paths.pop()
    '/a/library/of/mine.py'
    """
    excluded_paths.append(path)


def include_frame(frame: FrameType) -> bool:
    """Return whether tracebacks that leave a public function show a frame. Raises nothing.

    >>> include_frame(sys._getframe())
    True
    """
    code = frame.f_code
    return not (is_internal(code) or code.co_filename.startswith(tuple(excluded_paths)))


def fold(error: BaseException) -> None:
    """Remove the package's own frames from the traceback of an exception and of the exceptions in its chain.

    To be called in an `except` block that ends with `raise`: a bare raise does not add its own frame again.
    The option `traceback_filtering` is obeyed: "off" keeps all frames, "tracebackhide" marks those that are not to be
    shown, for IPython and pytest, and "remove_frames" keeps the whole traceback as that of the cause.
    """
    mode = config.traceback_filtering
    if mode == "off":
        return
    folded: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in folded:
        folded.add(id(link))
        if mode == "tracebackhide":
            _hide(link)
        elif not isinstance(link, UnfilteredStackTrace):
            whole = link.__traceback__
            _fold_one(link)
            if link is error and mode == "remove_frames" and whole is not None:
                _keep_whole(link, whole)
        link = link.__cause__ or link.__context__


def _hide(error: BaseException) -> None:
    entry = error.__traceback__
    while entry is not None:
        if not include_frame(entry.tb_frame):
            entry.tb_frame.f_locals["__tracebackhide__"] = True
        entry = entry.tb_next


class UnfilteredStackTrace(Exception):
    """The cause of an exception whose traceback leaves frames out: its own traceback has them all.

    >>> str(UnfilteredStackTrace())
    'the frames of the library, which the traceback below leaves out'
    """

    shown: TracebackType | None = None

    def __init__(self) -> None:
        super().__init__("the frames of the library, which the traceback below leaves out")


def _keep_whole(error: BaseException, whole: TracebackType) -> None:
    """Keep a traceback from before it was filtered; of one that was filtered further inside, the frames above it."""
    known = error.__cause__
    entry: TracebackType | None = whole
    if isinstance(known, UnfilteredStackTrace):
        above = []
        while entry is not None and entry is not known.shown:
            above.append(entry)
            entry = entry.tb_next
        if entry is not None:
            entry = known.__traceback__
        for outer in reversed(above):
            entry = TracebackType(entry, outer.tb_frame, outer.tb_lasti, outer.tb_lineno)
    else:
        # the cause becomes that of the whole traceback; a context stays where it is
        inner, known = known, UnfilteredStackTrace()
        known.__cause__, known.__context__ = inner, error.__context__
        known.__suppress_context__ = error.__suppress_context__
        error.__cause__ = known
    known.__traceback__, known.shown = entry, error.__traceback__


def _fold_one(error: BaseException) -> None:
    kept = []
    entry = error.__traceback__
    while entry is not None:
        if include_frame(entry.tb_frame):
            kept.append(entry)
        entry = entry.tb_next
    folded: TracebackType | None = None
    for entry in reversed(kept):
        folded = TracebackType(folded, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = folded


def boundary(fun: F) -> F:
    """Mark a public function: exceptions leave it without the package's internal frames."""

    @functools.wraps(fun)
    def entry(*args, **kwargs):
        try:
            return fun(*args, **kwargs)
        except Exception as error:
            fold(error)
            raise

    return entry  # type: ignore[return-value]
