"""Checks of values inside traced code, as results: `checkify(f)` returns the first failed `check` beside f's result.

The checks are those that a program states by `check`. Those that JAX adds by itself (NaNs, divisions, indices) are
planned; `debug_nans` and `debug.find_nan` find NaNs meanwhile.
"""

from __future__ import annotations

import enum
import functools
import typing as _typing
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pullback import errors
from pullback._api.taps import collect, tap
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike
from pullback._core.config import config
from pullback._core.errors import boundary, described, wrapping
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import Tracer
from pullback._core.tree import register_pytree_node, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree
from pullback._transforms.harvest import VALUE
from pullback.numpy import argmax, asarray, logical_not, ravel

__all__ = [
    "Error",
    "ErrorCategory",
    "all_checks",
    "automatic_checks",
    "check",
    "check_error",
    "checkify",
    "debug_check",
    "div_checks",
    "float_checks",
    "index_checks",
    "init_error",
    "nan_checks",
    "user_checks",
]


class ErrorCategory(enum.Enum):
    """The kinds of checks. Those by `check` are USER; the others are planned.

    >>> ErrorCategory.USER in user_checks
    True
    """

    USER = "user"
    NAN = "nan"
    DIV = "div"
    OOB = "oob"


user_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.USER})
nan_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.NAN})
div_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.DIV})
index_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.OOB})
float_checks: frozenset[ErrorCategory] = nan_checks | div_checks
automatic_checks: frozenset[ErrorCategory] = float_checks | index_checks
all_checks: frozenset[ErrorCategory] = automatic_checks | user_checks

_PREFIX = "checkify "
# the number of a check in the source of its message, which jaxprs that are kept refer to
_messages: list[str] = []


class Error:
    """The outcome of checks: a pytree of flags, and of the values that messages show.

    >>> err, _ = checkify(lambda x: check(x > 0, "got {x}", x=x))(-1.5)
    >>> err.get()
    'got -1.5 (`check` failed)'
    """

    __slots__ = ("_checks", "_texts")

    def __init__(self, checks: list[tuple[Any, Any]], texts: tuple[str, ...]):
        self._checks = checks
        self._texts = texts

    def get(self) -> str | None:
        """The message of the first failed check; None if all hold. Of a batch, for the first example that fails it."""
        for (failed, values), text in zip(self._checks, self._texts, strict=True):
            flags = np.ravel(np.asarray(failed))
            if flags.any():
                at = int(np.argmax(flags))
                args, kwargs = tree_map(lambda x, n=flags.size, i=at: _shown(x, n, i), values)
                return f"{text.format(*args, **kwargs)} (`check` failed)"
        return None

    def throw(self) -> None:
        """Raise JaxRuntimeError for the first failed check."""
        message = self.get()
        if message is not None:
            raise errors.JaxRuntimeError(message)

    def __repr__(self) -> str:
        return f"Error({self.get()})"


def _shown(x: Any, count: int, at: int) -> Any:
    value = np.asarray(x)
    if count > 1 and value.shape[:1] == (count,):
        value = value[at]
    return value.item() if value.ndim == 0 else value


register_pytree_node(Error, lambda err: ((err._checks,), err._texts), lambda texts, children: Error(children[0], texts))


def init_error() -> Error:
    """The outcome of no checks. Raises nothing.

    >>> init_error().get() is None
    True
    """
    return Error([], ())


@boundary
def check(pred: ArrayLike, msg: str, *fmt_args: PyTree, debug: bool = False, **fmt_kwargs: PyTree) -> None:
    """Check a condition, in traced code too, where `checkify` is around it.

    Args:
      pred: a scalar bool, or an array of them which must all hold.
      msg: what the error says, a text with places for `str.format`.
      fmt_args, fmt_kwargs: arrays to put into the places.
      debug: whether the check is left out where no `checkify` is around it.

    Raises:
      JaxRuntimeError: it does not hold, and its value is known outside of `checkify`.
      ValueError: its value is not known, and no `checkify` is around it.
      TypeError: a condition that is no array of bools, or a message that is no text.

    >>> err, y = checkify(lambda x: (check(x > 0, "x must be positive"), x * 2)[1])(1.)
    >>> print(err.get(), y)
    None 2.0
    """
    holds = asarray(pred)
    if holds.dtype != np.bool_:
        raise TypeError(
            f"check: the condition must be a bool, got {described(pred)}. Compare, as in check(x > 0, ...)."
        )
    if not isinstance(msg, str):
        raise TypeError(f"check: the message must be a string, got {described(msg)}")
    failed = logical_not(holds.all())
    values = fmt_args, fmt_kwargs
    if config.collecting_taps:
        _messages.append(msg)
        tap((failed, tree_map(asarray, values)), f"{_PREFIX}{len(_messages) - 1}")
    elif isinstance(failed, Tracer) and failed._known() is None:
        if not debug:
            raise ValueError(
                "check: the condition is a traced value, and there is no checkify around the function that is traced. "
                "Call checkify.checkify(f)(...), also as jit(checkify.checkify(f)), and look at the error it returns; "
                "or pass debug=True to leave the check out elsewhere."
            )
    elif not debug:
        Error([(_known(failed), tree_map(_known, values))], (msg,)).throw()


def _known(x: Any) -> Any:
    return x._concrete("checkify.check") if isinstance(x, Tracer) else x


def debug_check(pred: ArrayLike, msg: str, *fmt_args: PyTree, **fmt_kwargs: PyTree) -> None:
    """A `check` that is left out where no `checkify` is around it. TypeError as there.

    >>> debug_check(False, "never shown")
    """
    check(pred, msg, *fmt_args, debug=True, **fmt_kwargs)


@boundary
def check_error(error: Error) -> None:
    """Raise JaxRuntimeError for the first failed check of an outcome. TypeError for anything else.

    >>> check_error(init_error())
    """
    if not isinstance(error, Error):
        raise TypeError(f"check_error: expected an Error, as checkify gives it, got {described(error)}")
    if config.collecting_taps and any(isinstance(failed, Tracer) for failed, _ in error._checks):
        for (failed, values), text in zip(error._checks, error._texts, strict=True):
            check(logical_not(failed), text, *values[0], **values[1])
        return
    error.throw()


@boundary
def checkify(f: Callable[..., Any], errors: Iterable[ErrorCategory] = user_checks) -> Callable[..., tuple[Error, Any]]:
    """The function, with the outcome of the checks inside it as a further result.

    Args:
      f: a function; checks may be inside `jit`, `vmap`, `grad`, `scan` and `cond`, not inside a `while_loop`.
      errors: the kinds of checks, `user_checks`.

    Returns: a function that returns `(error, result)`; `error.get()` is a message or None, `error.throw()` raises it.
    Raises: NotImplementedError for other kinds of checks; TypeError if `f` is not callable.

    >>> import pullback as pb
    >>> def f(x):
    ...     check(x > 0, "x must be positive, got {}", x)
    ...     return x * 2
    >>> err, y = pb.jit(checkify(f))(-1.)
    >>> print(err.get(), y)
    x must be positive, got -1.0 (`check` failed) -2.0
    """
    check_callable("checkify", f)
    others = frozenset(errors) - user_checks
    if others:
        raise NotImplementedError(
            f"checkify: checks of the kinds {sorted(kind.value for kind in others)} are planned, not written yet; "
            "debug_nans raises at the operation that makes a NaN, and debug.find_nan finds it. Use user_checks."
        )

    @wrapping(f)
    @boundary
    def checked(*args, **kwargs):
        result, found = collect(functools.partial(f, **kwargs), *args, kinds=(VALUE,))
        checks, texts = [], []
        for site, _, leaves in found:
            if site.name.startswith(_PREFIX):
                failed, values = tree_unflatten(site.tree, leaves)
                checks.append(_first(failed, values))
                texts.append(_messages[int(site.name.removeprefix(_PREFIX))])
        return Error(checks, tuple(texts)), result

    return checked


def _first(failed: Array, values: Any) -> tuple[Any, Any]:
    """Of a check that ran several times, in a loop, whether it failed, and the values of the first failure."""
    if failed.ndim == 0:
        return failed, values
    flags = ravel(failed)
    at = argmax(flags)
    return flags.any(), tree_map(lambda x: x.reshape(flags.size, *x.shape[failed.ndim :])[at], values)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"JaxRuntimeError": "pullback.errors:JaxRuntimeError"})
