"""Attributes and operators of traced values of types of one's own.

A traced value has the attributes of its type: fields, and what is declared by `aval_property` and `aval_method`; an
operator `x + y` is the static method `_add` of the type. In functions with rules, and in rules, it also has the
attributes of a value of its class. Tracers of arrays are of the same classes, whose own slots and methods have names
that begin with an underscore: no field of a type has one of those. So that nothing
costs them, tracers get descriptors for those names, and operators that tell the types apart, when the first value of a
type is met.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pullback._core.array import Array
from pullback._core.errors import boundary, fold
from pullback._core.trace import Tracer
from pullback._core.types import NotAnArrayError, OwnType, ShapedArray
from pullback._core.typing import AnyValue

# attributes that are those of the type in any case
OF_ARRAYS = frozenset(("shape", "dtype", "ndim", "size", "update"))


class _InUserCode(threading.local):
    """The number of functions with rules, or rules, that run in this thread: they see values, not types alone."""

    depth = 0


in_user_code = _InUserCode()


class aval_property:
    """A property of traced values of a type: `name = aval_property(function of the value)` in the type's class.

    >>> aval_property(lambda x: x.aval).fget.__name__
    '<lambda>'
    """

    def __init__(self, fget: Callable[[Any], Any]):
        self.fget = fget


class aval_method:
    """A method of traced values of a type: `name = aval_method(function of the value and arguments)` in its class.

    >>> aval_method(lambda x, y: y).fun(0, 1)
    1
    """

    def __init__(self, fun: Callable[..., Any]):
        self.fun = fun


_OUTSIDE = (
    "traced values have the attributes of their type alone, its fields and what it declares with aval_property and "
    "aval_method. Read parts of the value in a function with rules (custom_rules, custom_jvp, custom_vjp of pullback), "
    "which gets a value of its class."
)
_DIFFERENTIATED = (
    "it is itself being differentiated, and the type does not say what derivatives its parts have. This is a second "
    "derivative, in which rules are differentiated, or the function has no vjp rule and a tangent is passed to it. "
    "Where that may be, let rules compute by calling functions with rules, or give the function a vjp rule."
)


class _OwnAttribute:
    """An attribute of tracers that a type of one's own declares; for arrays, what the class had before."""

    __slots__ = ("name", "others", "unpacked")

    def __init__(self, name: str, others: AnyValue, unpacked: Callable[[Any], Any]):
        self.name = name
        self.others = others
        self.unpacked = unpacked

    def __get__(self, x: AnyValue, owner: type | None = None) -> Any:
        if x is None:
            return self if self.others is None else self.others
        ty, name = x.aval, self.name
        if type(ty) is ShapedArray:
            if self.others is None:
                raise AttributeError(f"'Array' object has no attribute {name!r}", name=name, obj=x)
            return self.others.__get__(x, owner)
        if in_user_code.depth:
            value = self.unpacked(x)
            if value is not x and hasattr(value, name):
                return getattr(value, name)
        try:
            found = object.__getattribute__(ty, name)
        except AttributeError:
            raise NotAnArrayError(
                f"a traced value of the type {ty.str_short()} has no attribute {name!r}: "
                + (_DIFFERENTIATED if in_user_code.depth else _OUTSIDE)
            ) from None
        if isinstance(found, aval_property):
            return found.fget(x)
        return found.fun.__get__(x) if isinstance(found, aval_method) else found


def declare_attributes(ty: OwnType, interface: type, value: AnyValue, unpacked: Callable[[Any], Any]) -> None:
    """Give tracers the attributes of a type beyond those of `interface`, and the names of those of its values.

    `unpacked` makes a value of its class of a tracer.
    """
    own = set(dir(type(ty))) - set(dir(interface)) | set(getattr(ty, "__dict__", ()))
    for name in own | set(dir(value)):
        if name.startswith("_") or name == "aval" or isinstance(vars(Tracer).get(name), _OwnAttribute):
            continue
        others = getattr(Tracer, name, None)
        if others is None or (name not in OF_ARRAYS and hasattr(others, "__get__")):
            setattr(Tracer, name, _OwnAttribute(name, others, unpacked))


_BINARY = "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift".split()
_OTHERS = "eq ne lt le gt ge neg pos abs invert getitem len iter contains".split()


def declare_operators() -> None:
    """Let the operators of tracers see values of types of one's own; those of arrays are called for arrays."""
    for name in (*_BINARY, *_OTHERS):
        for reflected in (False, True) if name in _BINARY else (False,):
            method = f"__{'r' * reflected}{name}__"
            setattr(Tracer, method, _operator(name, getattr(Array, method), reflected))


def _operator(name: str, of_arrays: Callable[..., Any], reflected: bool) -> Callable[..., Any]:
    def operator(*operands: Any) -> Any:
        for x in operands:
            if isinstance(x, Tracer) and type(x.aval) is not ShapedArray:
                return operate(name, *(operands[::-1] if reflected else operands))
        try:
            return of_arrays(*operands)
        except Exception as error:
            fold(error)
            raise

    return operator


@boundary
def operate(name: str, *operands: Any) -> Any:
    """An operator whose operand is a traced value of an own type: the static method `_add` and the like of the type."""
    for reflected, x in zip((False, True), operands):
        ty = getattr(x, "aval", None)
        if isinstance(ty, OwnType):
            method = f"_r{name}" if reflected else f"_{name}"
            rule = getattr(type(ty), method, None)
            if rule is not None:
                return rule(x, *(operands[:1] if reflected else operands[1:]))
    ty = next(x.aval for x in operands if isinstance(getattr(x, "aval", None), OwnType))
    raise TypeError(
        f"a traced value of the type {ty.str_short()} has no operator {name!r}. Declare it on the type, "
        f"{type(ty).__name__}._{name} = staticmethod(f), with a function with rules f, or call the function."
    )
