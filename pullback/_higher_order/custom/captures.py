"""Traced values that functions with rules capture: the search for them, and the substitution of operands for them.

A rule is called when its function is differentiated, and by then the tracers that it captures may belong to a
transformation that has ended or moved on. The call therefore passes captured tracers as further operands; while the
function or one of its rules runs, these operands are substituted for the tracers (`StandIns`).

The search begins, at every call, at the function, its rules, the arguments in `nondiff_argnums` and those given by
keyword. It follows

- of a Python function: closure cells and default values; of a bound method: its function and object; of a
  `functools.partial`: its function and arguments; of a compiled function, or one with rules: the user's functions;
- items of lists, tuples, sets and deques, values of dicts;
- attributes and slots of any other object, read without calling the user's code: the value of a property is found
  in the attribute that it reads.

It does not find

- global variables, attributes of modules, classes and functions;
- values that only running code would give: items of a generator, the object behind a weak reference;
- items of NumPy arrays of objects, and private data of extension types;
- keys of dicts;
- values that are stored after the call;
- a name that referred to a module, a class or a builtin when the rules were set;
- anything beyond `_MOST` objects that hold others.

Such a value is refused by `UnexpectedTracerError` if a rule uses it, with the advice to pass it as an argument. Values
that the function itself uses while it is traced are found by tracing, wherever they are kept (`primitive._stage`).
tests/higher_order/test_captures.py has a test for each line.
"""

from __future__ import annotations

import collections
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pullback._core.arguments import argument_path
from pullback._core.array import ConcreteArray
from pullback._core.errors import UnexpectedTracerError
from pullback._core.jaxpr import ClosedJaxpr, Jaxpr
from pullback._core.primitive import Primitive
from pullback._core.trace import Trace, Tracer, call_with, context, encloses
from pullback._core.tree_paths import tree_flatten_with_path
from pullback._core.typing import AnyValue, PyTree

_OPAQUE = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    np.ndarray,
    np.generic,
    types.ModuleType,
    type,
    types.BuiltinFunctionType,
    np.ufunc,
    np.dtype,
    ConcreteArray,
    Trace,
    Jaxpr,
    ClosedJaxpr,
    Primitive,
)
_MOST = 2000
_opaque: dict[type, bool] = {types.ModuleType: True}


def is_opaque(kind: type) -> bool:
    """Return whether objects of a type are not searched."""
    known = _opaque.get(kind)
    if known is None:
        known = _opaque[kind] = issubclass(kind, _OPAQUE)
    return known


def _needs_no_search(cell: types.CellType, decorated: AnyValue) -> bool:
    """Return whether a variable holds a module, a class, a builtin or the decorated function, so needs no search."""
    try:
        x = cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return False
    return x is decorated or isinstance(x, (types.ModuleType, type, types.BuiltinFunctionType))


class CaptureSearch:
    """The places in a decorated function and its rules from which tracers can be reached; searched at every call.

    `cells` are the closure cells to search, `always` is True if something else must be searched each time.
    """

    __slots__ = ("roots", "cells", "always")

    def __init__(self, decorated: AnyValue, roots: Iterable[Any]):
        self.roots: list[Any] = [root for root in roots if root is not None]
        self.cells: list[Any] = []
        self.always: bool = False
        for root in self.roots:
            if type(root) is types.FunctionType:
                self.cells += [cell for cell in root.__closure__ or () if not _needs_no_search(cell, decorated)]
                held = [*(root.__defaults__ or ()), *(root.__kwdefaults__ or {}).values()]
                self.always = self.always or not all(is_opaque(type(x)) for x in held)
            else:
                self.always = self.always or not is_opaque(type(root))

    def tracers(self, decorated: AnyValue, fixed: Sequence[Any], keywords: dict[str, Any]) -> Sequence[Tracer]:
        """The tracers that are captured, or held by nondifferentiable arguments."""
        if not (self.cells or self.always or fixed or keywords):
            return ()
        if self.always or fixed or keywords:
            return closed_over([*self.roots, *fixed, *keywords.values()])
        for cell in self.cells:
            try:
                x = cell.cell_contents
            except ValueError:  # a name that is not bound yet
                continue
            kind = type(x)
            if (
                x is decorated
                or _opaque.get(kind)
                or (
                    kind is types.FunctionType
                    and x.__closure__ is None
                    and x.__defaults__ is None
                    and x.__kwdefaults__ is None
                )
            ):
                continue
            return closed_over(self.roots)
        return ()


def closed_over(roots: Iterable[Any]) -> list[Tracer]:
    """The tracers that can be reached from functions and objects, outermost transformation first (see above)."""
    found = {id(x): x for x in _reached(roots, Tracer) if encloses(x, context.trace)}
    return sorted(found.values(), key=lambda t: _depth(t._trace))


def arrays_closed_over(roots: Iterable[Any]) -> dict[int, ConcreteArray]:
    """The arrays that can be reached from functions and objects, by their identity."""
    return {id(x): x for x in _reached(roots, ConcreteArray)}


def _reached(roots: Iterable[Any], wanted: type) -> Iterator[Any]:
    """The objects of a class that can be reached, those found several times each time."""
    seen: set[int] = set()
    waiting = [root for root in roots if root is not None]
    while waiting and len(seen) < _MOST:
        x = waiting.pop()
        kind = type(x)
        if issubclass(kind, wanted):
            yield x
        elif not is_opaque(kind) and not issubclass(kind, Tracer) and id(x) not in seen:
            seen.add(id(x))
            waiting.extend(_parts(x, kind))


def _parts(x: AnyValue, kind: type) -> Iterable[Any]:
    """The objects that an object holds."""
    if kind is types.FunctionType:
        held = x.__dict__.get("__closed_over__")
        if held is not None:
            return held
        parts = [*(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
        for cell in x.__closure__ or ():
            try:
                parts.append(cell.cell_contents)
            except ValueError:  # a name that is not bound yet
                pass
        return parts
    if kind is types.MethodType:
        return (x.__func__, x.__self__)
    if issubclass(kind, functools.partial):
        return (x.func, *x.args, *x.keywords.values())
    if hasattr(kind, "closed_over_parts"):
        return x.closed_over_parts()
    for container in (list, tuple, set, frozenset, collections.deque):
        if issubclass(kind, container):
            return list(container.__iter__(x))
    parts = list(dict.values(x)) if issubclass(kind, dict) else []
    try:
        parts += object.__getattribute__(x, "__dict__").values()
    except AttributeError:
        pass
    for base in kind.__mro__:
        for member in base.__dict__.values():
            if type(member) is types.MemberDescriptorType:
                try:
                    parts.append(member.__get__(x))
                except AttributeError:  # a slot that is not set
                    pass
    return parts


def _depth(trace: Trace | None) -> int:
    depth = 0
    while trace is not None:
        trace, depth = trace.parent, depth + 1
    return depth


class StandIns(Trace):
    """Substitutes values for the tracers that the running code refers to; all else passes to the parent."""

    __slots__ = ("values",)

    def __init__(self, tracers: Sequence[Any], values: Sequence[Any]):
        super().__init__(context.trace)
        self.values = {id(t): v for t, v in zip(tracers, values, strict=True)}

    def describe(self) -> str:
        return self.parent.describe()

    def stands_in_for(self, x: AnyValue) -> bool:
        return id(x) in self.values

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        values = self.values
        return call_with(self.parent, primitive.bind, *[values.get(id(a), a) for a in args], **params)

    def run(self, fun: Callable, *args: PyTree) -> Any:
        """Call a function, and substitute in its results too."""
        result = call_with(self, fun, *args)
        if isinstance(result, tuple):
            return tuple([self.replaced(part) for part in result])
        return self.replaced(result)

    def replaced(self, part: AnyValue) -> Any:
        """A list of values after the substitution; any other value unchanged."""
        return [self.values.get(id(v), v) for v in part] if isinstance(part, list) else part


def traced_arguments(
    label: Callable[[], str], fun: Callable, arguments: Sequence[tuple[int, Any]], refused: bool
) -> dict[int, str]:
    """The traced values in nondifferentiable arguments of `fun`, by identity, with the path of each.

    `arguments` are positions and values. A jvp rule gets traced values like captured ones. A bwd rule cannot get them,
    since it runs after their lifetime: with `refused` they raise UnexpectedTracerError.
    """
    found: dict[int, str] = {}
    for i, value in arguments:
        for path, leaf in tree_flatten_with_path(value)[0]:
            if not isinstance(leaf, Tracer):
                continue
            where = found[id(leaf)] = argument_path(fun, i, path)
            if refused:
                raise UnexpectedTracerError(
                    f"{label()}: {where} is in nondiff_argnums, but holds a value traced by {leaf._trace.describe()}. "
                    "nondiff_argnums is for what is no array: functions, strings, static settings. Make the argument "
                    "an ordinary one; a rule may return None (or zeros) for it."
                )
    return found
