"""Wrapped functions and transformations of them under JAX's names: how libraries hand a function to a tracer."""

from __future__ import annotations

import functools
import typing as _typing
from collections.abc import Callable
from typing import Any

from pullback._core.arguments import check_callable
from pullback._core.errors import function_name
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import AnyValue

__all__ = [
    "StoreException",
    "WrappedFun",
    "cache",
    "merge_linear_aux",
    "transformation",
    "transformation2",
    "transformation_with_aux",
    "transformation_with_aux2",
    "wrap_init",
]


class StoreException(Exception):
    """A second result was asked for before the function had run, or set twice.

    >>> issubclass(StoreException, Exception)
    True
    """


class Store:
    """The place where a transformation leaves its second result when the function runs."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: list[Any] = []

    def store(self, value: AnyValue) -> None:
        """Set the value; StoreException if it is set."""
        if self._values:
            raise StoreException("the second result of a wrapped function is set already: the function ran twice")
        self._values.append(value)

    @property
    def val(self) -> Any:
        """The value; StoreException if it is not set."""
        if not self._values:
            raise StoreException("the second result of a wrapped function is known when the function has run")
        return self._values[0]


class WrappedFun:
    """A function and the transformations around it; `call_wrapped` calls it.

    >>> wrap_init(lambda x, n: x * n, {"n": 2}).call_wrapped(3)
    6
    """

    __slots__ = ("f", "params", "debug_info", "_transformed")

    def __init__(
        self, f: Callable[..., Any], params: dict[str, Any], debug_info: AnyValue, transformed: Callable[..., Any]
    ):
        self.f: Any = f
        self.params: dict[str, Any] = params
        self.debug_info: Any = debug_info
        self._transformed = transformed

    @property
    def __name__(self) -> str:
        return function_name(self.f)

    def call_wrapped(self, *args: AnyValue, **kwargs: AnyValue) -> Any:
        """Call the function through its transformations."""
        return self._transformed(*args, **{**self.params, **kwargs})

    def around(self, transformed: Callable[..., Any]) -> WrappedFun:
        """The function with a further transformation, which `transformed` calls."""
        return WrappedFun(self.f, self.params, self.debug_info, transformed)

    def __repr__(self) -> str:
        return f"Wrapped function: {self.__name__}"


def wrap_init(
    f: Callable[..., Any], params: dict[str, Any] | None = None, *, debug_info: AnyValue = None
) -> WrappedFun:
    """Wrap a function, with keyword arguments for it. TypeError if it is not callable.

    >>> wrap_init(abs).call_wrapped(-1)
    1
    """
    check_callable("wrap_init", f)
    return WrappedFun(f, params or {}, debug_info, f)


def transformation2(gen: Callable[..., Any]) -> Callable[..., WrappedFun]:
    """Make a transformation of a function `gen(f, *parameters, *args, **kwargs)` that calls `f`. Raises nothing.

    >>> @transformation2
    ... def scaled(f, factor, x):
    ...     return factor * f(x)
    >>> scaled(wrap_init(abs), 10).call_wrapped(-2)
    20
    """

    @functools.wraps(gen)
    def transform(fun: WrappedFun, *parameters: Any) -> WrappedFun:
        return fun.around(functools.partial(gen, fun._transformed, *parameters))

    return transform


def transformation_with_aux2(gen: Callable[..., Any]) -> Callable[..., tuple[WrappedFun, Callable[[], Any]]]:
    """As `transformation2`, of `gen(f, store, *parameters, *args, **kwargs)`, which calls `store.store(second result)`.

    The transformation returns the function and a function for the second result, which raises StoreException
    until then.

    >>> @transformation_with_aux2
    ... def with_sign(f, store, x):
    ...     store.store(x < 0)
    ...     return f(x)
    >>> f, negative = with_sign(wrap_init(abs))
    >>> f.call_wrapped(-2), negative()
    (2, True)
    """

    @functools.wraps(gen)
    def transform(fun: WrappedFun, *parameters: Any) -> tuple[WrappedFun, Callable[[], Any]]:
        store = Store()
        return fun.around(functools.partial(gen, fun._transformed, store, *parameters)), lambda: store.val

    return transform


def transformation(gen: Callable[..., Any]) -> Callable[..., WrappedFun]:
    """Make a transformation of a generator: it yields arguments and keywords, is sent the result, and yields its own.

    Raises nothing.

    >>> @transformation
    ... def negated(x):
    ...     y = yield (x,), {}
    ...     yield -y
    >>> negated(wrap_init(abs)).call_wrapped(-2)
    -2
    """

    @transformation2
    @functools.wraps(gen)
    def transform(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        steps = gen(*args, **kwargs)
        inner_args, inner_kwargs = next(steps)
        return steps.send(f(*inner_args, **inner_kwargs))

    return transform


def transformation_with_aux(gen: Callable[..., Any]) -> Callable[..., tuple[WrappedFun, Callable[[], Any]]]:
    """As `transformation`, of a generator whose last yield is `(result, second result)`. Raises nothing.

    >>> @transformation_with_aux
    ... def with_sign(x):
    ...     y = yield (x,), {}
    ...     yield y, x < 0
    >>> f, negative = with_sign(wrap_init(abs))
    >>> f.call_wrapped(-2), negative()
    (2, True)
    """

    @transformation_with_aux2
    @functools.wraps(gen)
    def transform(f: Callable[..., Any], store: Store, *args: Any, **kwargs: Any) -> Any:
        steps = gen(*args, **kwargs)
        inner_args, inner_kwargs = next(steps)
        result, second = steps.send(f(*inner_args, **inner_kwargs))
        store.store(second)
        return result

    return transform


def merge_linear_aux(aux1: Callable[[], Any], aux2: Callable[[], Any]) -> tuple[bool, Any]:
    """The second result of whichever of two functions ran, and whether it was the first.

    Raises StoreException if neither or both have run.

    >>> ran, did_not = Store(), Store()
    >>> ran.store(3)
    >>> merge_linear_aux(lambda: ran.val, lambda: did_not.val)
    (True, 3)
    """
    try:
        first = aux1()
    except StoreException:
        return False, aux2()
    try:
        aux2()
    except StoreException:
        return True, first
    raise StoreException("both functions have run")


def cache(call: Callable[..., Any], **options: AnyValue) -> Callable[..., Any]:
    """The function, called each time: compiled programs and traces are kept elsewhere. Raises nothing.

    >>> cache(abs)(-1)
    1
    """
    return call


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
