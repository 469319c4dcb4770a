"""Why a jitted function is traced: what differs from the calls that it was traced for before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary, ref

from pullback._core import compilations
from pullback._core.arguments import input_names
from pullback._core.compilations import Compilation
from pullback._core.config import TracingState
from pullback._core.errors import described, function_name
from pullback._core.tree import PyTreeDef, tree_unflatten
from pullback._core.typing import AnyValue

_SHOWN = 3
# how many function objects of the same code have been traced while somebody watched, and the last of them
_functions: WeakKeyDictionary[CodeType, tuple[int, ref[Callable]]] = WeakKeyDictionary()


def noted(fun: Callable, key: tuple, known: Iterable[Any], static: Sequence[int]) -> Compilation | None:
    """A report of the program that is to be traced, with the reason; None if nobody watches."""
    if not compilations.is_watched():
        return None
    report = Compilation(function_name(fun), reason(fun, key, known, static))
    compilations.note(report)
    return report


def reason(fun: Callable, key: tuple, known: Iterable[Any], static: Sequence[int]) -> str:
    """The words for why there is no trace for a key of jit's cache, given the keys that there are."""
    keys = [k for k in known if isinstance(k, tuple)][::-1]  # of two that are as near, the last one
    if not keys:
        return _of_a_new_function(fun)
    nearest = min(keys, key=lambda other: (other[0] != key[0], len(_differences(fun, key, other, static))))
    differences = _differences(fun, key, nearest, static)
    more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return "; ".join(differences[:_SHOWN]) + more


def _of_a_new_function(fun: Callable) -> str:
    code = getattr(fun, "__code__", None)
    if code is None:
        return "the first call"
    count, last = _functions.get(code, (0, ref(fun)))
    if count and last() is fun:
        return "the first call since its traces were discarded"
    _functions[code] = count + 1, ref(fun)
    if not count:
        return "the first call"
    others = "another function object" if count == 1 else f"{count} other function objects"
    return (
        f"the first call of this function object: {others} of the same code had to be traced before. Define the "
        "function once, outside of the loop or function that makes it anew"
    )


def _differences(fun: Callable, key: tuple, other: tuple, static: Sequence[int]) -> list[str]:
    (tree, avals, constants, (state, axes)), (tree2, avals2, constants2, (state2, axes2)) = key, other
    found = []
    if tree != tree2:
        found.append(f"another structure of the arguments: {tree}, before {tree2}")
    else:
        names = _names(fun, tree, len(avals), static)
        for i, (aval, aval2) in enumerate(zip(avals, avals2, strict=True)):
            if aval is not aval2 and aval != aval2:
                found.append(f"argument {names[i]}: {_type(aval, aval2)}, before {_type(aval2, aval)}")
    now, before = dict(constants), dict(constants2)
    for place in {**now, **before}:
        if place not in now or place not in before or now[place] != before[place]:
            name = f"'{place}'" if isinstance(place, str) else input_names(fun, [0], {}, [place])[0]
            values = [described(given[place].value) if place in given else "not given" for given in (now, before)]
            found.append(f"static argument {name}: {values[0]}, before {values[1]}")
    if state is not state2:
        found.append(_state_difference(state, state2))
    if axes != axes2:
        found.append(f"other named axes around the call: {axes or 'none'}, before {axes2 or 'none'}")
    return found or ["a value that compares unequal to itself in an argument's type"]


def _names(fun: Callable, tree: PyTreeDef, count: int, static: Sequence[int]) -> list[str]:
    args, kwargs = tree_unflatten(tree, [0] * count)
    positions = [i for i in range(len(args) + len(static)) if i not in static]
    return input_names(fun, args, kwargs, positions[: len(args)])


def _type(aval: AnyValue, other: AnyValue) -> str:
    words = aval.str_short()
    if words == other.str_short() and getattr(aval, "weak_type", False):
        words += " of a Python number (weak type)"
    return words


def _state_difference(state: TracingState, other: TracingState) -> str:
    changed = [
        f"{name}={value!r}, before {before!r}"
        for name, value, before in zip(state.names, state.values, other.values, strict=True)
        if value != before
    ]
    return f"other options: {'; '.join(changed)}" if changed else "traces were forgotten since"
