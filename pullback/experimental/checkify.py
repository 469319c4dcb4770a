"""Checks of values inside traced code, as results: `checkify(f)` returns the first failed check beside f's result.

The checks are those that a program states by `check`, and on demand those of operations: that they make no nan, do not
divide by zero, and read and write inside of arrays. `debug_nans` and `debug.find_nan` say more about a nan.
"""

from __future__ import annotations

import enum
import functools
import typing as _typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pullback import errors
from pullback._api.inspect import make_jaxpr
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.config import config
from pullback._core.errors import boundary, described, wrapping
from pullback._core.jaxpr import eval_jaxpr
from pullback._core.lazy import attributes as _attributes
from pullback._core.option_contexts import collecting_taps
from pullback._core.trace import Tracer
from pullback._core.tree import register_pytree_node, tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree
from pullback._transforms.harvest import CHECK, Site, uncollected
from pullback.experimental._checking import DIV, NAN, OOB, must_hold, note, run, text_and_loops, texts
from pullback.numpy import asarray, logical_not

__all__ = [
    "Error",
    "ErrorCategory",
    "JaxRuntimeError",
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
    """The kinds of checks: those by `check` are USER; NAN, DIV and OOB are of nans, divisions by zero and indices.

    >>> ErrorCategory.USER in user_checks
    True
    """

    USER = "user"
    NAN = NAN
    DIV = DIV
    OOB = OOB


user_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.USER})
nan_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.NAN})
div_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.DIV})
index_checks: frozenset[ErrorCategory] = frozenset({ErrorCategory.OOB})
float_checks: frozenset[ErrorCategory] = nan_checks | div_checks
automatic_checks: frozenset[ErrorCategory] = float_checks | index_checks
all_checks: frozenset[ErrorCategory] = automatic_checks | user_checks

_FAILED = " (`check` failed)"


class JaxRuntimeError(errors.JaxRuntimeError, ValueError):
    """A check failed.

    >>> try:
    ...     check(False, "never")
    ... except JaxRuntimeError as error:
    ...     print(error)
    never (`check` failed)
    """


class Error:
    """The outcome of checks: a pytree of flags, and of the values that messages show.

    >>> err, _ = checkify(lambda x: check(x > 0, "got {x}", x=x))(-1.5)
    >>> err.get()
    'got -1.5 (`check` failed)'
    """

    __slots__ = ("_checks", "_texts")

    def __init__(self, checks: list[tuple[Any, Any, Any]], texts: tuple[tuple[str, tuple[str, ...]], ...]):
        self._checks = checks
        self._texts = texts  # of each check its text, and the loops around it

    def get(self) -> str | None:
        """The message of the check that failed first; None if all hold. Of a batch, a line for each such example."""
        flags = [np.asarray(failed) for failed, _, _ in self._checks]
        batch = max((x.shape for x in flags), key=len, default=())
        lines = []
        for at in np.ndindex(batch):
            message = self._of_example(at)
            if message is not None and batch:
                message = f"at mapped index {', '.join(map(str, at))}: {message}"
            if message is not None:
                lines.append(message)
        return "\n".join(lines) or None

    def _of_example(self, at: tuple[int, ...]) -> str | None:
        """The message of the first failure of an example of a batch."""
        first: tuple[Any, ...] | None = None
        for (failed, values, steps), (text, loops) in zip(self._checks, self._texts, strict=True):
            rank = np.ndim(failed)
            place = at[:rank]
            if np.asarray(failed)[place]:
                found = loops, np.asarray(steps)[place].tolist(), values, text, place
                first = found if first is None or _precedes(found, first) else first
        if first is None:
            return None
        _, _, values, text, place = first
        args, kwargs = tree_map(lambda x: lift(np.asarray(x)[place]), values)
        return text.format(*args, **kwargs)

    def throw(self) -> None:
        """Raise JaxRuntimeError for the first failed check."""
        message = self.get()
        if message is not None:
            raise JaxRuntimeError(message)

    def __repr__(self) -> str:
        return f"Error({self.get()})"


def _precedes(found: Any, other: Any) -> bool:
    """Return whether a failure came before another, whose check stands before it in the program."""
    for loop, step, other_loop, other_step in zip(found[0], found[1], other[0], other[1], strict=False):
        if loop != other_loop or step > other_step:
            return False
        if step < other_step:
            return True
    return False


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
      ValueError: its value is not known, and no `checkify` is around it. A rule of a function is run by the
        transformation that needs it: `checkify(grad(f))` is around the rules of `f`, `grad(checkify(f))` is not.
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
        note(msg + _FAILED, failed, values, only_collected=debug)
    elif isinstance(failed, Tracer) and failed._known() is None:
        if not debug:
            raise ValueError(
                "check: the condition is a traced value, and there is no checkify around the function that is traced. "
                "Call checkify.checkify(f)(...), also as jit(checkify.checkify(f)), and look at the error it returns; "
                "or pass debug=True to leave the check out elsewhere."
            )
    elif not debug:
        Error([(_known(failed), tree_map(_known, values), np.zeros(0, np.int32))], ((msg + _FAILED, ()),)).throw()


def _known(x: Any) -> Any:
    return x._concrete("checkify.check") if isinstance(x, Tracer) else x


def _of_no_checkify(site: Site, values: Sequence[Any] | None) -> None:
    """What becomes of a check that the rule of a function makes where the checkify is inside of the derivative."""
    if not must_hold(site):
        return
    number, loops = text_and_loops(site)
    if values is None:
        raise ValueError(
            f"check: nothing collects the outcome of {texts[number].removesuffix(_FAILED)!r} in this compiled program. "
            "It stands in a custom rule, which runs where the derivative is taken, outside of the checkify around the "
            "function. Call checkify.checkify around the derivative: checkify(grad(f)), not grad(checkify(f))."
        )
    Error([tree_unflatten(site.tree, values)], ((texts[number], loops),)).throw()


uncollected[CHECK] = _of_no_checkify


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
    if config.collecting_taps:
        for (failed, values, _), (text, _) in zip(error._checks, error._texts, strict=True):
            note(text, failed, values)
        return
    error.throw()


@boundary
def checkify(f: Callable[..., Any], errors: Iterable[ErrorCategory] = user_checks) -> Callable[..., tuple[Error, Any]]:
    """The function, with the outcome of the checks inside it as a further result.

    Args:
      f: a function; checks may be inside `jit`, `vmap`, `grad`, loops and branches.
      errors: the kinds of checks, `user_checks` by default: a union of those, `nan_checks`, `div_checks` and
        `index_checks`; `float_checks` are the first two of these, `automatic_checks` all three, `all_checks` all.
        With others than `user_checks` the function is traced, and operations of all transformations inside it are
        checked: those of derivatives too, and both results that `where` chooses from. Decompositions of matrices, and
        operations that choose and move values, may return nan.

    Returns: a function that returns `(error, result)`; `error.get()` is a message or None, `error.throw()` raises it.
    Raises: TypeError if `f` is not callable, and for a kind that is none.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def f(x):
    ...     check(x > 0, "x must be positive, got {}", x)
    ...     return x * 2
    >>> err, y = pb.jit(checkify(f))(-1.)
    >>> print(err.get(), y)
    x must be positive, got -1.0 (`check` failed) -2.0
    >>> checkify(pb.jit(pnp.log), errors=float_checks)(-1.)[0].get()
    'nan generated by primitive: log.'
    >>> checkify(lambda x, i: x[i], errors=index_checks)(pnp.ones(3), pnp.array(5))[0].get()
    'out-of-bounds indexing for array of shape (3,): index 5 is out of bounds for axis 0 with size 3. '
    """
    check_callable("checkify", f)
    wanted = frozenset(errors)
    if not wanted <= all_checks:
        raise TypeError(f"checkify: errors must be kinds of checks, such as float_checks | user_checks, got {errors!r}")
    kinds = frozenset(kind.value for kind in wanted - user_checks)

    @wrapping(f)
    @boundary
    def checked(*args, **kwargs):
        with collecting_taps():
            if kinds:
                result, found = _of_traced(f, args, kwargs, kinds)
            else:
                result, found = run(functools.partial(f, **kwargs), *args, kinds=kinds)
        checks, about = [], []
        for site, _, leaves in found:
            number, loops = text_and_loops(site)
            if wanted & user_checks or not texts[number].endswith(_FAILED):
                checks.append(tree_unflatten(site.tree, leaves))
                about.append((texts[number], loops))
        return Error(checks, tuple(about)), result

    return checked


def _of_traced(f: Callable[..., Any], args: Any, kwargs: Any, kinds: frozenset[str]) -> tuple[Any, list[Any]]:
    """The result of a function and the outcomes of its checks, with the arrays among its arguments traced."""
    leaves, tree = tree_flatten((args, kwargs))
    places = [i for i, x in enumerate(leaves) if isinstance(x, (Array, np.ndarray, np.generic, float, complex))]
    found: dict[str, Any] = {}

    def flat(*xs):
        whole = list(leaves)
        for i, x in zip(places, xs, strict=True):
            whole[i] = x
        full_args, full_kwargs = tree_unflatten(tree, whole)
        out, found["tree"] = tree_flatten(f(*full_args, **full_kwargs))
        return out

    xs = [leaves[i] for i in places]
    closed = make_jaxpr(flat)(*xs)
    outs, checks = run(lambda *xs: eval_jaxpr(closed.jaxpr, closed.consts, *xs), *xs, kinds=kinds)
    return tree_unflatten(found["tree"], outs), checks


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
