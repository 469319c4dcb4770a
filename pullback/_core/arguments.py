"""Arguments of user functions: static arguments, their names in messages, and their binding to a signature."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from types import CodeType
from typing import Any

import numpy as np

from pullback._core.array import Array, ConcreteArray, is_array_like, lift
from pullback._core.errors import described, function_name
from pullback._core.hitypes import is_own_value
from pullback._core.refs import Ref
from pullback._core.trace import Tracer, check_alive
from pullback._core.tree import LEAF, tree_flatten
from pullback._core.tree_paths import keystr, leaf_hint, tree_flatten_with_path
from pullback._core.types import OwnType, ShapedArray, ShapeDtypeStruct
from pullback._core.typing import AnyValue, PyTree


def check_callable(function: str, fun: AnyValue) -> None:
    """Raise TypeError if `fun` is not callable."""
    if not callable(fun):
        raise TypeError(f"{function}: expected a function, got {described(fun)}")


def signature(fun: Callable) -> inspect.Signature | None:
    """The signature of `fun`, or None where Python cannot determine it."""
    try:
        return inspect.signature(fun)
    except (ValueError, TypeError):
        return None


# equal values of these are one value
_PLAIN = frozenset([int, bool, str, bytes, type(None)])


def kind_of(value: AnyValue) -> Any:
    """A key that separates equal values with different programs: 1, 1.0 and True; 0.0 and -0.0.

    In tuples, sets and dataclasses too.
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind
    if isinstance(value, tuple):
        return type(value), tuple(map(kind_of, value))
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, (float, complex)):
        return type(value), math.copysign(1.0, value.real), math.copysign(1.0, value.imag)
    if isinstance(value, frozenset):
        return type(value), frozenset((x, kind_of(x)) for x in value)
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return type(value), tuple([kind_of(getattr(value, name, None)) for name, f in fields.items() if f.compare])
    return type(value)


class StaticValue:
    """A static argument as part of a cache key: equal only to an equal value of the same type."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: AnyValue) -> bool:
        return self.value is other.value or (kind_of(self.value) == kind_of(other.value) and self.value == other.value)


@lru_cache(256)
def canonical_static(positions: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The valid positions in a call; negative ones count from its end."""
    return tuple(p % count if p < 0 else p for p in positions if -count <= p < count)


def with_parameters(function: Callable[..., Any], names: str) -> None:
    """Set the names of the positional-only parameters of a generated function, so that they can be passed by keyword.

    The names are written into its code object: a wrapper would cost every call.
    """
    code, given = function.__code__, tuple(names.split())
    function.__code__ = code.replace(co_varnames=(*given, *code.co_varnames[len(given) :]), co_posonlyargcount=0)


# the signatures of functions, which those with one body share
_shown: dict[CodeType, inspect.Signature] = {}


def hide_keywords(function: Any) -> None:
    """Leave `out` and `where` out of the signature of a function."""
    sig = _shown.get(function.__code__)
    if sig is None:
        whole = inspect.signature(function)
        shown = [p for p in whole.parameters.values() if p.name not in ("out", "where")]
        sig = _shown[function.__code__] = whole.replace(parameters=shown)
    function.__signature__ = sig


def refuse_keywords(name: str, out: AnyValue, where: AnyValue) -> None:
    """Refuse what NumPy's ufuncs take to write into an array, as JAX does."""
    if out is not None:
        raise NotImplementedError(f"{name}: the argument 'out' is not supported: arrays are not modified")
    if where is not None:
        raise NotImplementedError(
            f"{name}: the argument 'where' is not supported: use numpy.where(condition, {name}(...), other)"
        )


def parameter_name(fun: Callable, index: int) -> str:
    """The name of the positional parameter at `index`, as messages show it."""
    sig = signature(fun)
    if sig is not None:
        positional = [p for p in sig.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if index < len(positional):
            return f"'{positional[index].name}'"
        variadic = next((p for p in sig.parameters.values() if p.kind is p.VAR_POSITIONAL), None)
        if variadic is not None:
            return f"'{variadic.name}[{index - len(positional)}]'"
    return str(index)


def argument_path(fun: Callable, index: int, path: Sequence[Any] = ()) -> str:
    """The words for an argument and a path inside it: `argument 'params', leaf ['w']`."""
    where = keystr(tuple(path))
    return f"argument {parameter_name(fun, index)}{', leaf ' + where if where else ''}"


def input_names(fun: Callable, args: Sequence[Any], kwargs: dict[str, Any], positions: Sequence[int]) -> list[str]:
    """A name for every leaf of `(args, kwargs)`, for messages about the inputs of a traced function.

    `positions` holds the position of each of `args` in the call.
    """
    names = []
    for i, arg in zip(positions, args, strict=True):
        names += [f"{parameter_name(fun, i)}{keystr(path)}" for path, _ in tree_flatten_with_path(arg)[0]]
    for key in sorted(kwargs):
        names += [f"'{key}'{keystr(path)}" for path, _ in tree_flatten_with_path(kwargs[key])[0]]
    return names


def canonical_argnums(
    function: str, argnums: AnyValue, count: int | None = None, what: str = "argnums"
) -> tuple[int, ...]:
    """Argument positions as a tuple of non-negative ints; negative ones count from the end of `count` arguments."""
    try:
        positions: tuple[int, ...] = (operator.index(argnums),)
    except TypeError:
        try:
            positions = tuple(operator.index(a) for a in argnums)
        except TypeError:
            raise TypeError(f"{function}: {what} must be an int or a sequence of ints, got {argnums!r}") from None
    if count is None:
        return positions
    result = []
    for a in positions:
        if not -count <= a < count:
            raise ValueError(
                f"{function}: {what}={argnums!r} asks for positional argument {a}, but the call has "
                f"{count} positional argument{'s' if count != 1 else ''}. Pass by position "
                "what is asked for."
            )
        result.append(a % count)
    if len(set(result)) != len(result):
        raise ValueError(f"{function}: {what}={argnums!r} names an argument twice")
    return tuple(result)


def chosen_argnums(function: str, argnums: AnyValue) -> tuple[tuple[int, ...], bool]:
    """The positions of the differentiated arguments, in the given order, and whether a single integer was given."""
    positions = canonical_argnums(function, argnums)
    try:
        operator.index(argnums)
    except TypeError:
        if not isinstance(argnums, (Sequence, np.ndarray)):
            raise TypeError(
                f"{function}: argnums must be an int or a sequence of ints, in the order of the results, "
                f"got {argnums!r}"
            ) from None
        return positions, False
    return positions, True


def canonical_names(function: str, names: AnyValue, what: str) -> tuple[str, ...]:
    """Argument names given as one string or several."""
    try:
        given = () if names is None else (names,) if isinstance(names, str) else tuple(names)
        if not all(isinstance(name, str) for name in given):
            raise TypeError
    except TypeError:
        raise TypeError(f"{function}: {what} must be a string or a sequence of strings, got {names!r}") from None
    return given


def marked_arguments(
    function: str, fun: Callable, sig: inspect.Signature | None, what: str, argnums: AnyValue, argnames: AnyValue
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The positions and names of the arguments that the user marks by either (`what` is "static" or "donate").

    A name also marks its position, and a position its name, as far as the signature is known. A name or position that
    the signature does not have is refused: a misspelled name would mark nothing.
    """
    nums = canonical_argnums(function, () if argnums is None else argnums, what=f"{what}_argnums")
    names = canonical_names(function, argnames, f"{what}_argnames")
    if sig is None or not (nums or names):
        return nums, names
    parameters, of = sig.parameters.values(), f"{function} of {function_name(fun)}"
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    count = len(positional)
    if not any(p.kind is p.VAR_POSITIONAL for p in parameters) and any(not -count <= i < count for i in nums):
        raise ValueError(
            f"{of}: {what}_argnums={argnums!r}, but the function has {count} positional "
            f"parameter{'s' if count != 1 else ''}: {function_name(fun)}{sig}"
        )
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in names:
            if name not in sig.parameters:
                raise ValueError(
                    f"{of}: {what}_argnames={argnames!r}, but the function has no parameter {name!r}: "
                    f"{function_name(fun)}{sig}"
                )
    more_nums = [positional.index(n) for n in names if n in positional]
    more_names = [positional[i] for i in nums if -count <= i < count]
    return tuple(dict.fromkeys((*nums, *more_nums))), tuple(dict.fromkeys((*names, *more_names)))


def bind_positionally(
    fun: Callable, sig: inspect.Signature | None, args: Sequence[Any], kwargs: dict[str, Any], label: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments in positional form, defaults filled in; keyword-only arguments stay in the dict."""
    if sig is None:
        if kwargs:
            raise TypeError(
                f"{label}: keyword arguments need a signature to be mapped to positions, and Python cannot "
                "tell that of this function. Pass them by position."
            )
        return tuple(args), {}
    try:
        bound = sig.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{label}: the arguments do not fit the signature {function_name(fun)}{sig}: {error}") from None
    bound.apply_defaults()
    return bound.args, bound.kwargs


def aval_of(x: AnyValue) -> Any:
    """The type of an argument, without copying its data; TypeError if it is not an array."""
    if isinstance(x, (Array, ShapeDtypeStruct)) or is_own_value(x):
        return x.aval
    return x if isinstance(x, (OwnType, ShapedArray)) else lift(x).aval


def check_leaf(x: AnyValue, describe: Callable[[], str], structs: bool = False) -> None:
    """Raise TypeError, in the user's terms, for a leaf that is not an array.

    `structs` allows what is one only for a function that is traced: a `ShapeDtypeStruct`, a Ref.
    """
    if isinstance(x, Ref) and structs:
        return
    if isinstance(x, (ShapeDtypeStruct, OwnType, ShapedArray)):
        if not structs:
            raise TypeError(
                f"{describe()}: expected an array or a number, got {x!r}, which has no data. Pass an "
                "array, or use eval_shape, make_jaxpr or jit(...).lower, which need none."
            ) from None
    elif not is_array_like(x):
        hint = leaf_hint(x)
        raise TypeError(
            f"{describe()}: expected an array or a number, got {described(x)}. "
            f"{hint or 'If it is not meant to be traced, close over it or mark it static.'}"
        ) from None
    else:
        try:
            aval_of(x)
        except (TypeError, OverflowError) as error:
            raise type(error)(f"{describe()}: {error}") from None


def check_leaves(
    function: str,
    fun: Callable,
    args: Sequence[Any],
    kwargs: dict[str, Any] | None = None,
    positions: Sequence[int] | None = None,
    structs: bool = False,
) -> None:
    """Raise TypeError for arguments with a leaf that is not an array, naming the first such leaf by path.

    `positions` holds the positions of `args` in the call, if they are not all of its arguments.
    """
    for i, arg in zip(range(len(args)) if positions is None else positions, args, strict=True):
        for path, leaf in tree_flatten_with_path(arg)[0]:
            check_leaf(leaf, partial(_describe, function, fun, i, path), structs)
    for key, value in (kwargs or {}).items():
        for path, leaf in tree_flatten_with_path(value)[0]:
            check_leaf(leaf, partial(_describe, function, fun, key, path), structs)


def _describe(function: str, fun: Callable, argument: int | str, path: Sequence[Any]) -> str:
    """The words for an argument, by position or keyword, and a path inside it, of a call that `function` made."""
    where = (
        argument_path(fun, argument, path)
        if isinstance(argument, int)
        else f"keyword argument '{argument}'{keystr(tuple(path))}"
    )
    return f"{function} of {function_name(fun)}: {where}"


def lift_leaves(
    function: str,
    fun: Callable,
    leaves: Iterable[Any],
    args: Sequence[Any],
    kwargs: dict[str, Any] | None = None,
    positions: Sequence[int] | None = None,
) -> list[Array]:
    """The leaves of the arguments as arrays; `positions` as for `check_leaves`."""
    xs: list[Array] = []
    concrete = True
    try:
        for x in leaves:
            if type(x) is not ConcreteArray:
                x = lift(x)
                concrete = concrete and type(x) is ConcreteArray
            xs.append(x)
    except (TypeError, OverflowError):
        check_leaves(function, fun, args, kwargs, positions)
        raise
    if not concrete:
        for x in xs:
            if isinstance(x, Tracer):
                check_alive(x)
    return xs


def flatten_result(function: str, fun: Callable, result: PyTree) -> tuple[list[Array], Any]:
    """The leaves of a function's result as arrays, and its structure; the error names a leaf that is not an array."""
    if isinstance(result, Array):
        return [result], LEAF
    leaves, tree = tree_flatten(result)
    try:
        return [x if isinstance(x, Array) else lift(x) for x in leaves], tree
    except TypeError:
        for path, leaf in tree_flatten_with_path(result)[0]:
            if isinstance(leaf, Ref):
                raise ValueError(
                    f"{function}: {function_name(fun)} must not return a Ref, but the leaf "
                    f"{keystr(path) or 'it returned'} is {leaf.cell.described()}. Return what it holds, ref[...]."
                ) from None
            if not is_array_like(leaf):
                raise TypeError(
                    f"{function}: {function_name(fun)} must return arrays or numbers, in lists, tuples, dicts or other "
                    f"pytrees, but the leaf {keystr(path) or 'it returned'} is {described(leaf)}"
                ) from None
        raise


def described_result(x: AnyValue) -> str:
    """The words for what a rule returned."""
    if isinstance(x, Array):
        return f"an array of type {x.aval.str_short()}"
    if isinstance(x, np.ndarray):
        return f"a NumPy array of dtype {x.dtype.name} and shape {x.shape}"
    if isinstance(x, (list, tuple)):
        return f"a {type(x).__name__} of length {len(x)}"
    return described(x)
