"""Types of one's own: `HiType`, the type of values that are no arrays, and the primitives between them and their parts.

A class of values is registered with a function that gives the type of a value, an instance of a `HiType`. Such a value
is one leaf of a pytree, and an operand as an array is: its class gets an attribute `aval`, and so it needs no wrapper.
Only functions, those with rules above all, can be applied to it. Where it is known the function gets the value itself;
where it is traced, a value of its class that `raise_val` makes of traced arrays, its parts.

| primitive | meaning |
|---|---|
| `lower_value` | the parts of a value: arrays of the types `lo_ty`. What their derivatives would be, no type says |
| `raise_value` | a value of the parts, the inverse |
| `add_values` | the sum of two tangents of a type, by `vspace_add` |
| `detach_value` | the value with derivative zero |

These four, and primitives that hold functions, are all that takes such values. Before a jaxpr is compiled, its
variables of such types become their parts (`_xla/lower_types.py`), and the first two vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pullback._core.array import Array, lift
from pullback._core.errors import RuleNotDefinedError, boundary, described
from pullback._core.own_attributes import OF_ARRAYS, declare_attributes, declare_operators
from pullback._core.primitive import Primitive
from pullback._core.trace import Tracer, context, is_linear
from pullback._core.tree import tree_flatten
from pullback._core.types import NotAnArrayError, OwnType, ShapedArray, ShapeDtypeStruct, TypeOfValue, matches, no_array
from pullback._core.typing import AnyValue
from pullback._core.zeros import zero_of

T = TypeVar("T")


class MappingSpec:
    """How a value of an own type lies along the axis of a `vmap` or `scan`: along the leading axis of every part.

    Types with other ways to be mapped derive classes from it, such as frozen dataclasses.

    >>> MappingSpec() == MappingSpec()
    True
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *sorted(vars(self).items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class TypeIsIncomplete(NotImplementedError):
    """A type lacks a method that something needs."""


class HiType(OwnType):
    """The type of a value that is no array; derive a class from it, with the methods that are needed.

    Instances are compared and hashed, as programs are found by the types of arguments: a frozen dataclass does this.
    A method that is missing raises NotImplementedError, which says what it is for, when it is first needed.

    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class Half(HiType):
    ...     n: int
    ...     def to_tangent_aval(self):
    ...         return ShapedArray((self.n,), "float32")
    >>> Half(3).str_short(), Half(3).to_tangent_aval()
    ('Half(n=3)', ShapedArray(float32[3]))
    """

    # only the types of arrays can be weak
    weak_type = False

    def lo_ty(self) -> list[ShapedArray]:
        """The types of the arrays that a value consists of in a compiled program, its parts."""
        raise self.missing("lo_ty(self)", "traced functions and compiled programs need")

    def lower_val(self, value: AnyValue) -> list[Any]:
        """The parts of a value, arrays of the types `lo_ty`."""
        raise self.missing("lower_val(self, value)", "traced functions and compiled programs need")

    def raise_val(self, *parts: AnyValue) -> Any:
        """The value of its parts; these may be traced."""
        raise self.missing("raise_val(self, *parts)", "traced functions and compiled programs need")

    def to_tangent_aval(self) -> Any:
        """The type of tangents and cotangents, of arrays or of values of a type of one's own."""
        raise self.missing("to_tangent_aval(self)", "differentiation needs")

    def vspace_zero(self) -> Any:
        """The value that is zero, for a type of tangents."""
        raise self.missing("vspace_zero(self)", "zero tangents need")

    def vspace_add(self, x: AnyValue, y: AnyValue) -> Any:
        """The sum of two values, for a type of tangents."""
        raise self.missing("vspace_add(self, x, y)", "sums of tangents need")

    def dec_rank(self, size: int | None, spec: MappingSpec) -> Any:
        """The type of one of the `size` entries of a value along the axis that `spec` describes."""
        raise self.missing("dec_rank(self, size, spec)", "vmap and scan need")

    def inc_rank(self, size: int, spec: MappingSpec) -> Any:
        """The type of `size` values of this type along the axis that `spec` describes."""
        raise self.missing("inc_rank(self, size, spec)", "vmap and the stacked results of scan need")

    def leading_axis_spec(self) -> MappingSpec:
        """The spec of an axis that is the leading one of every part, as in `scan`."""
        return MappingSpec()

    def str_short(self, short_dtypes: bool = False, **_: AnyValue) -> str:
        """The type as jaxprs and messages print it."""
        return repr(self)

    def __str__(self) -> str:
        return self.str_short()

    def strip_weak_type(self) -> Any:
        """This type, which is not weak."""
        return self

    def missing(self, method: str, purpose: str) -> NotImplementedError:
        """The error for a method that is not defined."""
        name = type(self).__name__
        return TypeIsIncomplete(f"{name}: {purpose} the method {method.partition('(')[0]}. Define {name}.{method}.")

    def __getattr__(self, name: str) -> Any:
        if name in OF_ARRAYS:
            raise NotAnArrayError(f"there is no {name}: {no_array(self)}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)


class _TypeOfValue(TypeOfValue):
    """The attribute `aval` of a registered class."""

    __slots__ = ("typeof",)

    def __init__(self, typeof: Callable[[Any], Any]):
        self.typeof = typeof

    def __get__(self, instance: AnyValue, owner: type | None = None) -> Any:
        if instance is None:
            return self
        ty = self.typeof(instance)
        if type(ty) not in _checked:
            _check_type(ty, type(instance))
            _check_leaf(instance)
            if not _checked:
                declare_operators()
            _checked.add(type(ty))
            declare_attributes(ty, HiType, instance, unpacked)
        return ty

    def operand(self, x: AnyValue) -> Any:
        """The value itself, or a tracer if its parts are traced."""
        if context.trace.parent is None:
            return x
        ty = x.aval
        if type(ty).lo_ty is HiType.lo_ty:
            return x
        parts = parts_of(ty, x)
        return raise_value_p.bind(*parts, ty=ty) if any(isinstance(p, Tracer) for p in parts) else x

    def __set__(self, instance: AnyValue, value: AnyValue) -> None:
        raise AttributeError(
            f"the attribute 'aval' of {type(instance).__name__}, a registered class, is the type of the value"
        )


_checked: set[type] = set()


def _check_leaf(value: AnyValue) -> None:
    leaves, _ = tree_flatten(value)
    if len(leaves) != 1 or leaves[0] is not value:
        raise ValueError(
            f"{type(value).__name__} is registered as a pytree too: a value of a type of one's own is one leaf. "
            "Register the class as one or the other."
        )


def _check_type(ty: AnyValue, cls: type) -> None:
    if not isinstance(ty, HiType):
        raise TypeError(
            f"the function registered for {cls.__name__} must return its type, an instance of a class derived from "
            f"HiType, got {described(ty)}"
        )
    try:
        equal = type(ty).__eq__ is not object.__eq__
        hash(ty)
    except (TypeError, NotImplementedError):
        equal = False
    if not equal:
        raise TypeError(
            f"{type(ty).__name__}: types are compared and hashed, since programs are found by the types of their "
            "arguments. Define __eq__ and __hash__, or make the class a frozen dataclass."
        )


@boundary
def register_hitype(cls: type, typeof: Callable[[Any], HiType]) -> None:
    """Make the instances of a class values that functions of pullback take and return.

    Args:
      cls: the class. A value is one leaf of a pytree.
      typeof: `typeof(value)` is the type of a value, an instance of a class derived from `HiType`.

    Raises: TypeError if `cls` is no class or cannot be changed (the class gets an attribute `aval`), or if `typeof` is
      no function; ValueError for a class that is registered already, that has an attribute `aval`, or that is a pytree.

    >>> import dataclasses, pullback as pb
    >>> @dataclasses.dataclass(frozen=True)
    ... class CelsiusType(HiType):
    ...     pass
    >>> @dataclasses.dataclass(frozen=True)
    ... class Celsius:
    ...     degrees: float
    >>> register_hitype(Celsius, lambda value: CelsiusType())
    >>> pb.typeof(Celsius(20.))
    CelsiusType()
    """
    if not isinstance(cls, type) or not callable(typeof):
        raise TypeError(f"register_hitype: expected a class and a function, got {described(cls)}, {described(typeof)}")
    if issubclass(cls, (Array, tuple, list, dict)):
        raise ValueError(f"register_hitype: {cls.__name__} is an array or a pytree, but a value of a type is one leaf")
    if isinstance(vars(cls).get("aval"), _TypeOfValue):
        raise ValueError(f"register_hitype: {cls.__name__} is registered already")
    if hasattr(cls, "aval") and not isinstance(cls.aval, TypeOfValue):
        raise ValueError(f"register_hitype: {cls.__name__} has an attribute 'aval', which would be the type of a value")
    try:
        cls.aval = _TypeOfValue(typeof)  # type: ignore[attr-defined]
    except TypeError:
        raise TypeError(f"register_hitype: {cls.__name__} cannot be given attributes: derive a class from it") from None
    registered.append(cls)


# empty in programs without own types, which skip what these cost
registered: list[type] = []


def is_own_value(x: object) -> bool:
    """Return whether a value is of a registered class; a tracer is not."""
    return isinstance(getattr(type(x), "aval", None), TypeOfValue)


# --- parts ---


@lru_cache(4096)
def part_types(ty: HiType) -> tuple[ShapedArray, ...]:
    """`lo_ty`, checked."""
    types = ty.lo_ty()
    if not isinstance(types, (list, tuple)):
        raise TypeError(f"{type(ty).__name__}.lo_ty must return a list of types of arrays, got {described(types)}")
    types = [x.aval if isinstance(x, ShapeDtypeStruct) else x for x in types]
    for x in types:
        if type(x) is not ShapedArray:
            raise TypeError(f"{type(ty).__name__}.lo_ty must return a list of types of arrays, but it has {x!r}")
    return tuple(types)


def parts_of(ty: HiType, value: AnyValue) -> list[Any]:
    """`lower_val` of a value, compared with `lo_ty`."""
    name, types, parts = type(ty).__name__, part_types(ty), ty.lower_val(value)
    if not isinstance(parts, (list, tuple)) or len(parts) != len(types):
        got = f"{len(parts)} of them" if isinstance(parts, (list, tuple)) else described(parts)
        raise TypeError(f"{name}.lower_val must return a list of arrays, {len(types)} as in lo_ty, got {got}")
    arrays = []
    for i, (part, expected) in enumerate(zip(parts, types, strict=True)):
        try:
            x = lift(part)
        except TypeError as error:
            raise TypeError(f"{name}.lower_val: part {i}: {error}") from None
        if not matches(expected, x.aval):
            raise TypeError(
                f"{name}.lower_val of a value of type {ty.str_short()}: part {i} has type {x.aval.str_short()}, but "
                f"lo_ty says {expected.str_short()}. Programs are compiled for the types of lo_ty: make both agree."
            )
        arrays.append(x)
    return arrays


def value_of(ty: HiType, parts: Sequence[Any]) -> Any:
    """`raise_val` of parts; the type of the value is compared."""
    value = ty.raise_val(*parts)
    if not is_own_value(value):
        raise TypeError(
            f"{type(ty).__name__}.raise_val must return a value of a registered class, got {described(value)}"
        )
    if value.aval != ty:
        raise TypeError(
            f"{type(ty).__name__}.raise_val, asked for a value of type {ty.str_short()}, returned one of type "
            f"{value.aval.str_short()}"
        )
    return value


def all_parts(values: Sequence[Any]) -> list[Any]:
    """Arrays, and the parts of values."""
    return [part for x in values for part in (parts_of(x.aval, x) if isinstance(x.aval, HiType) else (x,))]


def types_of_parts(avals: Sequence[Any]) -> list[ShapedArray]:
    """The types of arrays, and of the parts of values."""
    return [part for aval in avals for part in (part_types(aval) if isinstance(aval, HiType) else (aval,))]


def all_values(avals: Sequence[Any], parts: Sequence[Any]) -> list[Any]:
    """The arrays and values of these types, from their parts."""
    rest = iter(parts)
    return [
        value_of(aval, [next(rest) for _ in part_types(aval)]) if isinstance(aval, HiType) else next(rest)
        for aval in avals
    ]


def unpacked(x: Any) -> Any:
    """An operand for the user's function or rule: a traced value of an own type as one made of its traced parts.

    A value that is being differentiated, and a tangent, stay traced: their parts have no derivative.
    """
    if not isinstance(x, Tracer) or type(x.aval) is ShapedArray or is_linear(x) or _is_differentiated(x):
        return x
    ty: Any = x.aval
    return value_of(ty, lower_value_p.bind(x))


def _is_differentiated(x: Any) -> bool:
    while isinstance(x, Tracer):
        if not x._constant():
            return True
        x = x._outer()
    return False


# --- primitives ---

lower_value_p = Primitive("lower_value", multiple_results=True)
raise_value_p = Primitive("raise_value")
add_values_p = Primitive("add_values")
detach_value_p = Primitive("detach_value")
for _p in (lower_value_p, raise_value_p, add_values_p, detach_value_p):
    _p.has(own_types=True)


def _parts_have_no_derivative(primals: Any, tangents: Any) -> Any:
    raise RuleNotDefinedError(
        f"the parts of a value of the type {primals[0].aval.str_short()} are read, and the value is being "
        "differentiated: the type does not say what derivatives its parts have. Compute with the value by calling "
        "functions with rules, in rules too: at higher orders rules are differentiated themselves."
    )


def _made_of_differentiated(primals: Any, tangents: Any, ty: HiType) -> Any:
    raise RuleNotDefinedError(
        f"a value of the type {ty.str_short()} is made of parts that are being differentiated. Make it in a function "
        "with rules (custom_rules, custom_jvp, custom_vjp of pullback), which say what its derivative is."
    )


def _raised(*parts: Any, ty: HiType) -> Any:
    return value_of(ty, parts)


def _raised_type(*avals: Any, ty: HiType) -> HiType:
    if len(avals) != len(part_types(ty)) or not all(map(matches, part_types(ty), avals)):
        raise TypeError(f"raise_value: a value of the type {ty.str_short()} consists of {part_types(ty)}, got {avals}")
    return ty


lower_value_p.abstract_eval = part_types
lower_value_p.evaluate = lambda x: parts_of(x.aval, x)
lower_value_p.jvp = _parts_have_no_derivative
raise_value_p.abstract_eval = _raised_type
raise_value_p.evaluate = _raised
raise_value_p.jvp = _made_of_differentiated


def _sum_type(x: Any, y: Any) -> Any:
    if x != y:
        raise TypeError(f"add_values: expected values of one type, got {x.str_short()} and {y.str_short()}")
    return x


add_values_p.abstract_eval = _sum_type
add_values_p.evaluate = lambda x, y: x.aval.vspace_add(x, y)
add_values_p.transpose = lambda ct, x, y: [ct, ct]
add_values_p.has(additive=...)
detach_value_p.abstract_eval = lambda x: x
detach_value_p.evaluate = lambda x: x
detach_value_p.jvp = lambda primals, tangents: (detach_value_p.bind(*primals), zero_of(primals[0].aval))
