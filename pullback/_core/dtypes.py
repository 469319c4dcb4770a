"""Dtypes: the extended ones, canonical forms, JAX's type promotion with weak types, fast predicates."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from pullback._core.config import config
from pullback._core.errors import no_dtype, warn_user
from pullback._core.promotion_lattice import (
    WEAK_COMPLEX,
    WEAK_FLOAT,
    WEAK_INT,
    standard_edges,
    strict_edges,
    upper_bounds,
)
from pullback._core.typing import AnyValue, DTypeLike

bfloat16: np.dtype = np.dtype(ml_dtypes.bfloat16)
float8_e3m4: np.dtype = np.dtype(ml_dtypes.float8_e3m4)
float8_e4m3: np.dtype = np.dtype(ml_dtypes.float8_e4m3)
float8_e4m3b11fnuz: np.dtype = np.dtype(ml_dtypes.float8_e4m3b11fnuz)
float8_e4m3fn: np.dtype = np.dtype(ml_dtypes.float8_e4m3fn)
float8_e4m3fnuz: np.dtype = np.dtype(ml_dtypes.float8_e4m3fnuz)
float8_e5m2: np.dtype = np.dtype(ml_dtypes.float8_e5m2)
float8_e5m2fnuz: np.dtype = np.dtype(ml_dtypes.float8_e5m2fnuz)
float8_e8m0fnu: np.dtype = np.dtype(ml_dtypes.float8_e8m0fnu)
int4: np.dtype = np.dtype(ml_dtypes.int4)
uint4: np.dtype = np.dtype(ml_dtypes.uint4)

# the tangent type of integers and booleans: an array of it holds no numbers
float0: np.dtype = np.dtype([("float0", np.void, 0)])

_FLOAT8 = (
    float8_e3m4,
    float8_e4m3,
    float8_e4m3b11fnuz,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
)

_BOOL = np.dtype(np.bool_)
_SIGNED = (int4, *map(np.dtype, ("int8", "int16", "int32", "int64")))
_UNSIGNED = (uint4, *map(np.dtype, ("uint8", "uint16", "uint32", "uint64")))
_FLOAT = (*_FLOAT8, bfloat16, *map(np.dtype, ("float16", "float32", "float64")))
_COMPLEX = (np.dtype("complex64"), np.dtype("complex128"))

# every dtype of arrays -> its NumPy abstract class
_ABSTRACT: dict[np.dtype, type] = {
    _BOOL: np.bool_,
    **dict.fromkeys(_SIGNED, np.signedinteger),
    **dict.fromkeys(_UNSIGNED, np.unsignedinteger),
    **dict.fromkeys(_FLOAT, np.floating),
    **dict.fromkeys(_COMPLEX, np.complexfloating),
}
_BY_NAME = {dtype.name: dtype for dtype in _ABSTRACT}

_PYTHON_SCALARS: dict[type, np.dtype] = {
    kind: np.dtype(name) for kind, name in ((bool, "bool"), (int, "int64"), (float, "float64"), (complex, "complex128"))
}
_TO_32 = {np.dtype(f"{kind}64"): np.dtype(f"{kind}32") for kind in ("int", "uint", "float")}
_TO_32[np.dtype("complex128")] = np.dtype("complex64")


class TypePromotionError(ValueError):
    """Two dtypes have no common dtype that may be chosen without an explicit cast.

    >>> from pullback.numpy import promote_types
    >>> try:
    ...     promote_types("float8_e5m2", "float8_e4m3fn")
    ... except TypePromotionError:
    ...     print("cast one of them")
    cast one of them
    """

    __module__ = "pullback.errors"  # which tracebacks show


# -- Predicates. An unknown dtype (float0, object, str) is none of these. --------------------------------

_IS_UNSIGNED, _IS_INTEGER = frozenset(_UNSIGNED), frozenset(_SIGNED + _UNSIGNED)
_IS_FLOAT, _IS_COMPLEX, _IS_INEXACT = map(frozenset, (_FLOAT, _COMPLEX, _FLOAT + _COMPLEX))


def itemsize_bits(dtype: DTypeLike) -> int:
    """The number of bits of an entry. TypeError for what is no dtype.

    >>> itemsize_bits("int4"), itemsize_bits("bool"), itemsize_bits("float32")
    (4, 8, 32)
    """
    kind = np.dtype(dtype)
    name = kind.name.removeprefix("u")
    return int(name.removeprefix("int")) if name in ("int1", "int2", "int4") else 8 * kind.itemsize


def is_bool(dtype: np.dtype) -> bool:
    return dtype == _BOOL


def is_integer(dtype: np.dtype) -> bool:
    return dtype in _IS_INTEGER


def is_unsigned(dtype: np.dtype) -> bool:
    return dtype in _IS_UNSIGNED  # the kind of uint4 is not NumPy's "u"


def is_float(dtype: np.dtype) -> bool:
    return dtype in _IS_FLOAT


def is_complex(dtype: np.dtype) -> bool:
    return dtype in _IS_COMPLEX


def is_inexact(dtype: np.dtype) -> bool:
    return dtype in _IS_INEXACT


# -- Canonical dtypes. -----------------------------------------------------------------------------------

_canonical_32: dict[Any, np.dtype] = {}
_canonical_64: dict[Any, np.dtype] = {}


def canonicalize_dtype(dtype: DTypeLike | None) -> np.dtype:
    """The dtype of an array that is requested with `dtype`.

    Args:
      dtype: a NumPy or ml_dtypes dtype or scalar type, its name, or bool, int, float or complex.

    Returns: the native-order np.dtype; 64-bit kinds become 32-bit ones (complex128 complex64) unless
      ``config.enable_x64``.

    Raises: TypeError for what is no dtype, or one that arrays cannot have (object, str, datetime, ...).

    >>> canonicalize_dtype(float), canonicalize_dtype("int8"), canonicalize_dtype(np.complex128)
    (dtype('float32'), dtype('int8'), dtype('complex64'))
    """
    cache = _canonical_64 if config.enable_x64 else _canonical_32
    try:
        return cache[dtype]
    except (KeyError, TypeError):
        pass
    resolved = resolve(dtype)
    if cache is _canonical_32 and resolved in _TO_32:
        if not (isinstance(dtype, type) and dtype in _PYTHON_SCALARS):
            _narrowed[dtype] = resolved
        resolved = _TO_32[resolved]
    try:
        cache[dtype] = resolved
    except TypeError:  # an unhashable spelling, for instance a list of fields
        pass
    return resolved


# spellings that name a 64-bit dtype and give a 32-bit one -> the dtype they name
_narrowed: dict[Any, np.dtype] = {}


def requested_dtype(dtype: DTypeLike | None, default: DTypeLike | None = None) -> np.dtype:
    """`canonicalize_dtype` of a dtype that the user requested, `default` where that is None.

    UserWarning, once per call site, if a 64-bit dtype is requested by name and 64-bit types are off.

    >>> requested_dtype(None, float), requested_dtype("int8", float)
    (dtype('float32'), dtype('int8'))
    """
    if dtype is None and default is not None:
        return canonicalize_dtype(default)
    result = canonicalize_dtype(dtype)
    try:
        asked = _narrowed.get(dtype)
    except TypeError as error:  # one of our arrays, which NumPy takes for its dtype
        raise no_dtype(dtype) from error
    if asked is not None and not config.enable_x64:
        _warn_of_narrowing(asked, result)
    return result


def _warn_of_narrowing(asked: np.dtype, result: np.dtype) -> None:
    warn_user(
        f"dtype {asked.name} was asked for, but 64-bit types are off, so it is {result.name}. Turn them on with "
        f"pullback.config.update('enable_x64', True), or ask for {result.name}."
    )


def resolve(dtype: AnyValue) -> np.dtype:
    """The dtype of that name, native order, 64-bit kinds kept; TypeError if no array can have it."""
    if dtype is None:  # NumPy would read it as float64
        raise TypeError("expected a dtype such as 'float32', np.int8 or float; got None.")
    if isinstance(dtype, str) and dtype in _BY_NAME:  # NumPy knows 'bfloat16' only once registered
        return _BY_NAME[dtype]
    try:
        resolved = np.dtype(dtype)
    except TypeError as error:
        raise no_dtype(dtype) from error
    # longlong and long are equal to int64 or int32 but distinct objects; take the usual one
    resolved = _BY_NAME.get(resolved.name, resolved)
    if resolved not in _ABSTRACT and resolved != float0:
        raise TypeError(
            f"arrays cannot have dtype {resolved.name} (from {dtype!r}); expected a boolean, integer, "
            f"floating or complex dtype: {', '.join(_BY_NAME)}."
        )
    return resolved


def python_scalar_dtype(type_: type) -> np.dtype:
    """The dtype of a Python scalar's type: bool, int32, float32 or complex64; 64-bit ones with x64.

    >>> python_scalar_dtype(int)
    dtype('int32')
    """
    if type_ not in _PYTHON_SCALARS:
        raise TypeError(f"python_scalar_dtype: expected bool, int, float or complex; got {type_!r}.")
    return canonicalize_dtype(type_)


# -- Promotion: the lattice of JAX's documented "Type promotion semantics". ------------------------------

_Node = Any  # np.dtype, or the name of a weak node
_WEAK_NODE_DTYPE = {
    WEAK_INT: np.dtype("int64"),
    WEAK_FLOAT: np.dtype("float64"),
    WEAK_COMPLEX: np.dtype("complex128"),
}


def _by_dtype(bounds: dict[str, frozenset[str]]) -> dict[_Node, frozenset[_Node]]:
    return {
        _BY_NAME.get(name, name): frozenset(_BY_NAME.get(above, above) for above in names)
        for name, names in bounds.items()
    }


@cache
def _upper_bounds(strict: bool) -> dict[_Node, frozenset[_Node]]:
    kinds = [[str(dtype) for dtype in kind] for kind in (_IS_INTEGER, _IS_FLOAT, _IS_COMPLEX)]
    edges = strict_edges(*kinds) if strict else standard_edges([dtype.name for dtype in _FLOAT8])
    return _by_dtype(upper_bounds(edges))


def _least_upper_bound(nodes: set[_Node]) -> _Node:
    bounds = _upper_bounds(strict := config.numpy_dtype_promotion == "strict")
    common = frozenset.intersection(*(bounds[node] for node in nodes))
    for node in common:
        if common <= bounds[node]:
            return node
    names = sorted(str(node) for node in nodes)
    if strict:
        raise TypePromotionError(
            f"dtypes {', '.join(names)} have no implicit promotion under the option numpy_dtype_promotion='strict': "
            "only Python numbers promote. Cast explicitly, for instance with x.astype('float32')."
        )
    narrow = "8-bit floats" if any(node in _FLOAT8 for node in nodes) else "4-bit integers"
    raise TypePromotionError(
        f"dtypes {', '.join(names)} have no implicit promotion: {narrow} combine only with themselves and "
        "with weaker kinds. Cast explicitly first, for instance x.astype('float32')."
    )


def _weak_node(dtype: np.dtype) -> _Node:
    if dtype in _IS_INTEGER:
        return WEAK_INT
    if dtype in _IS_FLOAT:
        return WEAK_FLOAT
    return WEAK_COMPLEX if dtype in _IS_COMPLEX else dtype


def promote(*pairs: tuple[np.dtype, bool]) -> tuple[np.dtype, bool]:
    """The common (dtype, weak) of any number of (dtype, weak) pairs, canonical.

    A weak dtype is that of a Python scalar, or of a result made of Python scalars only: it yields to strong dtypes
    of its own and higher kinds. The order of the pairs does not matter.

    Raises:
      TypePromotionError: there is no common dtype (float8 and 4-bit integers never promote implicitly).

    >>> promote((np.dtype("float16"), False), (np.dtype("float32"), True))
    (dtype('float16'), False)
    >>> promote((np.dtype("int8"), False), (np.dtype("float32"), True))
    (dtype('float32'), True)
    """
    cache = config.tracing.promoted
    found = cache.get(pairs)
    if found is None:
        found = cache[pairs] = _promote(pairs)
    return found


def join(dtype_a: np.dtype, weak_a: bool, dtype_b: np.dtype, weak_b: bool) -> tuple[np.dtype, bool]:
    """promote of two pairs, for hot paths: flat arguments, one dict lookup.

    >>> join(np.dtype("int32"), True, np.dtype("int8"), False)
    (dtype('int8'), False)
    """
    key = (dtype_a, weak_a, dtype_b, weak_b)
    cache = config.tracing.promoted
    found = cache.get(key)
    if found is None:
        found = cache[key] = _promote(((dtype_a, weak_a), (dtype_b, weak_b)))
    return found


def _promote(pairs: tuple[tuple[np.dtype, bool], ...]) -> tuple[np.dtype, bool]:
    if not pairs:
        raise ValueError("promote: expected at least one (dtype, weak) pair; got none.")
    for dtype, _ in pairs:
        _check_promotable(dtype)
    # all weak: join the dtypes themselves, so that weak int16 with weak int32 is not forced to the default
    if all(weak for _, weak in pairs):
        node, weak = _least_upper_bound({dtype for dtype, _ in pairs}), True
    else:
        node, weak = _least_upper_bound({_weak_node(d) if weak else d for d, weak in pairs}), False
    # an array made under x64 keeps its width when the option is off again: wide dtypes are not narrowed
    if isinstance(node, str):
        node, weak = _WEAK_NODE_DTYPE[node], True
    elif any(dtype in _TO_32 for dtype, _ in pairs):
        return node, weak
    return canonicalize_dtype(node), weak and node != _BOOL


def _check_promotable(dtype: np.dtype) -> None:
    if dtype not in _ABSTRACT:
        if dtype == float0:
            raise TypePromotionError(
                "float0, the dtype of the tangent of an integer or a bool, takes part in no "
                "arithmetic: its one value is zero. Leave the term out."
            )
        raise TypePromotionError(f"dtype {dtype} does not take part in type promotion; convert it explicitly.")


def promote_types(a: DTypeLike, b: DTypeLike) -> np.dtype:
    """The common dtype of two dtypes; int, float and complex stand for weak Python scalars.

    Without x64, a 64-bit result arises only where an argument is a 64-bit dtype itself, as in JAX.
    TypePromotionError if there is no common dtype, TypeError for an argument that is not a dtype.

    >>> promote_types("int8", "uint8"), promote_types("bfloat16", float)
    (dtype('int16'), dtype(bfloat16))
    """
    nodes = set()
    wide = False
    for dtype in (a, b):
        resolved = resolve(dtype)
        _check_promotable(resolved)
        wide = wide or resolved in _TO_32
        python_type = isinstance(dtype, type) and dtype in (int, float, complex)  # np.dtype("int64") == int
        nodes.add(_weak_node(resolved) if python_type else resolved)
    node = _least_upper_bound(nodes)
    result = _WEAK_NODE_DTYPE[node] if isinstance(node, str) else node
    return result if wide else canonicalize_dtype(result)


def to_inexact(dtype: np.dtype, weak: bool) -> tuple[np.dtype, bool]:
    """The dtype in which a function such as sin computes: booleans and integers become floating.

    64-bit integers become float64, all others float32, as in JAX.

    >>> to_inexact(np.dtype("int32"), True)
    (dtype('float32'), True)
    """
    if dtype in _IS_INEXACT:
        return dtype, weak
    if dtype not in _ABSTRACT:
        raise TypeError(f"to_inexact: expected a boolean or numeric dtype; got {dtype}.")
    return _FLOAT[-1] if dtype.itemsize == 8 else _FLOAT[-2], weak


def tangent_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of tangents and cotangents: `dtype` itself if inexact, else float0.

    >>> tangent_dtype(np.dtype("float32"))
    dtype('float32')
    """
    return dtype if dtype in _IS_INEXACT else float0


# -- NumPy's queries, aware of the extended dtypes. ------------------------------------------------------


def issubdtype(arg1: DTypeLike, arg2: DTypeLike) -> bool:
    """np.issubdtype that treats bfloat16 and float8 as floating, 4-bit integers as integers.

    TypeError for an argument that is not a dtype.

    >>> issubdtype("bfloat16", np.floating), issubdtype(np.float32, np.integer)
    (True, False)
    """
    class_a, class_b = _scalar_class(arg1), _scalar_class(arg2)
    if issubclass(class_a, class_b):
        return True
    own = None if _is_abstract(class_a) or issubclass(class_a, extended) else _ABSTRACT.get(np.dtype(class_a))
    return own is not None and issubclass(own, class_b)


def _is_abstract(class_: type) -> bool:
    return class_ in (
        np.generic,
        np.number,
        np.integer,
        np.signedinteger,
        np.unsignedinteger,
        np.inexact,
        np.floating,
        np.complexfloating,
        np.flexible,
        np.character,
    )


class extended(np.generic):
    """The abstract scalar type of dtypes that NumPy has no elements for, such as that of typed random keys.

    >>> issubclass(prng_key, extended), issubdtype("float32", extended)
    (True, False)
    """


class prng_key(extended):
    """The abstract scalar type of typed random keys.

    >>> import pullback as pb
    >>> pb.dtypes.issubdtype(pb.random.key(0).dtype, pb.dtypes.prng_key)
    True
    """


class ExtendedDType:
    """The base of dtypes whose scalar type is `extended`; `type` is that scalar type."""

    __slots__ = ()
    type: type[extended]
    struct: Any  # the array without data of a shape, whose words are a `ShapeDtypeStruct`
    aval: Any  # the type of the arrays of a shape


def _scalar_class(spec: Any) -> type:
    """A dtype's scalar type; NumPy's abstract classes and the extended ones stand for themselves."""
    if isinstance(spec, type) and (_is_abstract(spec) or issubclass(spec, extended)):
        return spec
    if isinstance(spec, ExtendedDType):
        return spec.type
    if isinstance(spec, str) and spec in _BY_NAME:
        return _BY_NAME[spec].type
    try:
        return np.dtype(spec).type
    except TypeError as error:
        raise TypeError(f"issubdtype: expected a dtype or a NumPy scalar class; got {spec!r}.") from error


def finfo(dtype: DTypeLike) -> Any:
    """Machine limits of a floating or complex dtype, the extended ones included; ValueError for others.

    >>> float(finfo("bfloat16").eps)
    0.0078125
    """
    resolved = resolve(dtype)
    if resolved not in _IS_INEXACT:
        raise ValueError(f"finfo: expected a floating or complex dtype; got {resolved.name}. Try iinfo.")
    return ml_dtypes.finfo(resolved)


def iinfo(int_type: DTypeLike) -> Any:
    """Machine limits of an integer dtype, 4-bit ones included; ValueError for others.

    >>> int(iinfo("int4").max)
    7
    """
    resolved = resolve(int_type)
    if resolved not in _IS_INTEGER:
        raise ValueError(f"iinfo: expected an integer dtype; got {resolved.name}. Try finfo.")
    return ml_dtypes.iinfo(resolved)


def _short_name(dtype: np.dtype) -> str:
    name = dtype.name
    for long, short in (("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "i"), ("complex", "c")):
        if name.startswith(long):
            return short + name[len(long) :]
    return name


_SHORT_NAMES = {**{dtype: _short_name(dtype) for dtype in _ABSTRACT}, float0: "float0"}


def short_name(dtype: np.dtype) -> str:
    """The name as jaxprs print it.

    >>> short_name(np.dtype("float32")), short_name(bfloat16), short_name(float8_e4m3fn)
    ('f32', 'bf16', 'f8_e4m3fn')
    """
    return _SHORT_NAMES.get(dtype) or str(dtype)
