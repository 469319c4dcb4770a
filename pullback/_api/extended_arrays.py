"""Functions that move entries, or compare arrays, on arrays of extended dtypes such as typed keys: on their words."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pullback._core.dtypes import ExtendedDType
from pullback._core.errors import boundary, fold
from pullback._core.lazy import LateModule
from pullback._core.public_array import ExtendedArray, extended_arrays_exist
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import AnyValue, F
from pullback._ops.compare import bitwise_not
from pullback._ops.shape import broadcast_to

if TYPE_CHECKING:
    from pullback._api import vectorize
else:
    vectorize = LateModule("pullback._api.vectorize")


def moves_entries(fun: F) -> F:
    """A `boundary` of a function that only moves entries: arrays of extended dtypes go through it word by word."""
    return _accepting(fun, through_words)


def compares(fun: F) -> F:
    """A `boundary` of a function that compares arrays: those of one extended dtype by all their words."""
    return _accepting(fun, _of_words)


def searches(fun: F) -> F:
    """A `boundary` of `isin`: elements of one extended dtype are compared by all their words."""
    return _accepting(fun, _among)


def keeps_dtype(fun: F) -> F:
    """A `boundary` of `astype`: arrays of an extended dtype have that dtype only."""
    return _accepting(fun, as_they_are)


def _accepting(fun: F, through: Callable[..., Any]) -> F:
    """A `boundary` of the function that looks for such arrays when the function has refused its arguments."""

    @functools.wraps(fun)
    def entry(*args, **kwargs):
        try:
            return fun(*args, **kwargs)
        except Exception as error:
            fold(error)
            if not _is_refusal(error, args, kwargs):
                raise
        return through(fun, args, kwargs)

    return entry  # type: ignore[return-value]


def instead(through: Callable[..., Any]) -> Callable[..., Any]:
    """For `publish`: what a function does with such arrays that has refused them; NotImplemented for others."""

    def retry(fun: Callable[..., Any], error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return through(fun, args, kwargs) if _is_refusal(error, args, kwargs) else NotImplemented

    return retry


def _is_refusal(error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a function has refused arrays of extended dtypes, or such a dtype."""
    if not isinstance(error, (TypeError, AttributeError)) or not extended_arrays_exist[0]:
        return False
    return any(map(_is_extended, tree_flatten((args, kwargs), _is_extended)[0]))


def _is_extended(x: AnyValue) -> bool:
    return isinstance(x, (ExtendedArray, ExtendedDType))


@boundary
def through_words(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function that moves entries, applied to the words of the arrays of extended dtype among them."""
    leaves, tree = tree_flatten((args, kwargs), _is_extended)
    at = [i for i, x in enumerate(leaves) if isinstance(x, ExtendedArray)]
    dtypes = [i for i, x in enumerate(leaves) if isinstance(x, ExtendedDType)]
    kind = leaves[at[0]].aval if at else leaves[dtypes[0]].aval(())

    def of_one_word(*words):
        given = list(leaves)
        for i in dtypes:
            given[i] = kind.words.dtype
        for i, word in zip(at, words, strict=True):
            given[i] = word
        inner_args, inner_kwargs = tree_unflatten(tree, given)
        return fun(*inner_args, **inner_kwargs)

    if not at:
        return tree_map(
            lambda x: kind.of_words(broadcast_to(x[..., None], (*x.shape, *kind.words.shape))), of_one_word()
        )
    words = vectorize.vmap(of_one_word, in_axes=-1, out_axes=-1)(*[leaves[i].words for i in at])
    first, *others = [leaves[i] for i in at]
    return tree_map(lambda moved: first.joined(moved, others, fun.__name__), words)


@boundary
def equal_entries(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of `eq` and `ne` of arrays of one extended dtype."""
    x, y = [*args, *kwargs.values()]
    return x == y if fun.__name__ == "eq" else x != y


@boundary
def _of_words(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a comparison of two arrays of one extended dtype, applied to all their words."""
    given = [x for x in (*args, *kwargs.values()) if not isinstance(x, bool)]
    if len({x.dtype if _is_extended(x) else None for x in given}) != 1:
        kinds = " and ".join(str(getattr(x, "dtype", type(x).__name__)) for x in given)
        raise TypeError(f"{fun.__name__}: keys are compared with keys of the same generator only, got {kinds}")

    def words(x: Any) -> Any:
        return x.words if _is_extended(x) else x

    return fun(*map(words, args), **{name: words(x) for name, x in kwargs.items()})


@boundary
def of_one_word(fun: Callable[..., Any], error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a test of numbers that has refused elements of an extended dtype: of one word for each of them."""
    if not _is_refusal(error, args, kwargs):
        raise error
    return fun(*(x.words[..., 0] if isinstance(x, ExtendedArray) else x for x in args), **kwargs)


@boundary
def _among(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of `isin` for two arrays of one extended dtype."""
    given = inspect.signature(fun).bind(*args, **kwargs).arguments
    x, tests = given.pop("element"), given.pop("test_elements")
    if not isinstance(x, ExtendedArray) or not isinstance(tests, ExtendedArray) or x.dtype != tests.dtype:
        kinds = " and ".join(str(getattr(a, "dtype", type(a).__name__)) for a in (x, tests))
        raise TypeError(f"{fun.__name__}: keys are compared with keys of the same generator only, got {kinds}")
    fun(0, 0, **given)  # refuses another method
    found = (x.reshape(-1, 1) == tests.reshape(1, -1)).any(1).reshape(x.shape)
    return bitwise_not(found) if given.get("invert") else found


@boundary
def as_they_are(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An array of an extended dtype in that dtype; TypeError for another one."""
    x, dtype = [*args, *(kwargs[name] for name in ("x", "dtype") if name in kwargs)][:2]
    if not _is_extended(x) or dtype != x.dtype:
        raise TypeError(f"{fun.__name__}: keys are not converted, from or to other dtypes: to {dtype}")
    return x
