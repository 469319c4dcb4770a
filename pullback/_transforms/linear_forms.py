"""A recorded linear map as data: the residuals it was recorded with, and its form, a jaxpr.

Two maps recorded by the same code have equal forms, so that a form can be part of a pytree's structure: an argument or
a result of `jit`, the carry of a loop, the result of two branches of `cond`.
"""

from __future__ import annotations

import functools
import pickle
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from pullback._core.arguments import kind_of
from pullback._core.array import Array, ConcreteArray
from pullback._core.jaxpr import Jaxpr, Literal, Var, eval_jaxpr
from pullback._core.pickling import writes_functions
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero
from pullback._transforms.linearize import Linearized, Node
from pullback._transforms.linearize_jaxpr import equations_of
from pullback._transforms.transpose import record_linear


class LinearForm:
    """A linear map as a jaxpr: `jaxpr` takes residuals and tangents, in that order, to the results that do not vanish.

    `inputs` and `outputs` have an entry for each input and result of the map: whether an input is active, and the type
    of a result that vanishes, None for the others. Forms compare by structure.
    """

    __slots__ = ("jaxpr", "inputs", "outputs", "_hash")
    jaxpr: Jaxpr
    inputs: tuple[bool, ...]
    outputs: tuple[ShapedArray | None, ...]

    def __init__(self, jaxpr: Jaxpr, inputs: tuple[bool, ...], outputs: tuple[ShapedArray | None, ...]):
        self.jaxpr = jaxpr
        self.inputs = inputs
        self.outputs = outputs
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, LinearForm)
            and hash(self) == hash(other)
            and self.inputs == other.inputs
            and self.outputs == other.outputs
            and same_jaxprs(self.jaxpr, other.jaxpr)
        )

    def __hash__(self) -> int:
        if self._hash is None:
            jaxpr = self.jaxpr
            self._hash = hash(
                (self.inputs, self.outputs, tuple(jaxpr.in_avals), tuple(eqn.primitive for eqn in jaxpr.eqns))
            )
        return self._hash

    def __reduce__(self) -> str | tuple[Any, ...]:
        return LinearForm, (self.jaxpr, self.inputs, self.outputs)

    def __repr__(self) -> str:
        return f"<linear map of {len(self.jaxpr.eqns)} operations>"


def form_of(linear: Linearized) -> tuple[LinearForm, list[Any]]:
    """The form of a recorded map, and its residuals, each once."""
    tape = linear.tape
    variables: dict[int, Var] = {}
    known: dict[int, Var] = {}
    values: list[Any] = []
    active = [Var(node.aval) for node in linear.inputs if node is not None]
    for node, var in zip((n for n in linear.inputs if n is not None), active, strict=True):
        variables[node._index] = var

    def atom(x: Any) -> Var:
        if type(x) is Node and x._trace is tape:
            return variables[x._index]
        var = known.get(id(x))
        if var is None:
            var = known[id(x)] = Var(x.aval)
            values.append(x)
        return var

    eqns = equations_of(linear.needed(), atom, variables)
    outs: list[Any] = [atom(t) for t in linear.outputs if type(t) is not Zero]
    form = LinearForm(
        Jaxpr([], [*known.values(), *active], eqns, outs),
        tuple(node is not None for node in linear.inputs),
        tuple(t.aval if type(t) is Zero else None for t in linear.outputs),
    )
    return form, values


def record_form(form: LinearForm, values: list[Any]) -> Linearized:
    """The map on a tape again, with `values` in place of the residuals it was recorded with."""
    jaxpr = form.jaxpr
    linear = record_linear(lambda *nodes: eval_jaxpr(jaxpr, [], *values, *nodes), jaxpr.in_avals[len(values) :])
    nodes, outs = iter(linear.inputs), iter(linear.outputs)
    return Linearized(
        linear.tape,
        linear.records,
        [next(nodes) if a else None for a in form.inputs],
        [next(outs) if aval is None else Zero(aval) for aval in form.outputs],
    )


def check_picklable(jaxpr: Jaxpr, what: str) -> None:
    """Refuse a jaxpr with an operation that cannot be pickled, by its name."""
    for eqn in jaxpr.eqns:
        for held in eqn.held:
            check_picklable(held.jaxpr, what)
        try:
            pickle.dumps((eqn.primitive, eqn.params))
        except Exception as error:
            if writes_functions():
                continue  # the pickler at work can do more
            rule = getattr(eqn.params.get("call"), "label", None)
            raise TypeError(
                f"{what} cannot be pickled: the operation '{eqn.primitive.name}'{f' of {rule}' if rule else ''} holds "
                f"what has no name by which another process could find it ({error}). Define functions, rules and "
                "classes at the top of a module, or use cloudpickle."
            ) from None


# --- equality of structure ---


def same_jaxprs(a: Jaxpr, b: Jaxpr) -> bool:
    """Return whether two jaxprs are equal, equation by equation, up to the names of variables."""
    return _Comparison().jaxprs(a, b)


class _Comparison:
    """Comparison of equation parameters, including functions and the package's own objects.

    Rules of custom functions are created anew at each call: they are equal if their code and all captured values are.
    """

    def __init__(self) -> None:
        self.assumed: set[tuple[int, int]] = set()

    def jaxprs(self, a: Jaxpr, b: Jaxpr) -> bool:
        if a is b:
            return True
        if (
            len(a.eqns) != len(b.eqns)
            or a.in_avals != b.in_avals
            or a.out_avals != b.out_avals
            or [v.aval for v in a.constvars] != [v.aval for v in b.constvars]
        ):
            return False
        pairs: dict[Any, Any] = dict(zip((*a.constvars, *a.invars), (*b.constvars, *b.invars), strict=True))

        def atoms(xs: list, ys: list) -> bool:
            return len(xs) == len(ys) and all(
                pairs.get(x) is y
                if type(x) is Var
                else type(y) is Literal and x.aval is y.aval and self.same(x.value, y.value)
                for x, y in zip(xs, ys, strict=True)
            )

        for one, two in zip(a.eqns, b.eqns, strict=True):
            if one.primitive is not two.primitive or not atoms(one.invars, two.invars):
                return False
            if [v.aval for v in one.outvars] != [v.aval for v in two.outvars]:
                return False
            if not self.same(one.params, two.params):
                return False
            pairs.update(zip(one.outvars, two.outvars, strict=True))
        return atoms(a.outvars, b.outvars)

    def same(self, a: AnyValue, b: AnyValue) -> bool:
        if a is b:
            return True
        if type(a) is not type(b):
            return False
        if isinstance(a, (tuple, list)):
            return len(a) == len(b) and all(map(self.same, a, b))
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(self.same(a[k], b[k]) for k in a)
        if isinstance(a, (np.ndarray, np.generic)):
            return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        if isinstance(a, Jaxpr):
            return self.jaxprs(a, b)
        if isinstance(a, ConcreteArray):
            return a.aval is b.aval and np.asarray(a.value).tobytes() == np.asarray(b.value).tobytes()
        if isinstance(a, (CodeType, Array)):
            return False
        if (id(a), id(b)) in self.assumed:
            return True
        parts = _components(a)
        if parts is None:
            return _equal(a, b)
        self.assumed.add((id(a), id(b)))
        return self.same(parts, _components(b))


def _components(x: PyTree) -> list[Any] | None:
    """The components of a function or of an object of the package; None for a value that is compared as a whole."""
    if isinstance(x, FunctionType):
        cells = [] if x.__closure__ is None else [_contents(cell) for cell in x.__closure__]
        return [x.__code__, cells, x.__defaults__, x.__kwdefaults__]
    if isinstance(x, MethodType):
        return [x.__func__, x.__self__]
    if isinstance(x, functools.partial):
        return [x.func, x.args, x.keywords]
    if isinstance(x, BuiltinFunctionType) or not type(x).__module__.startswith("pullback."):
        return None
    # a call without a key is equal to itself only, so its parts decide
    if "__eq__" in _methods(x) and getattr(x, "key", x) is not None:
        return None
    names = [name for cls in type(x).__mro__ for name in cls.__dict__.get("__slots__", ())]
    names += getattr(x, "__dict__", ())
    # `tag` identifies the vmap that batched a rule and differs in each run; `site` is a source location, for messages
    return [getattr(x, name, None) for name in names if name not in ("tag", "site")]


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _methods(x: AnyValue) -> set[str]:
    """The attributes that the classes of an object define, except those of `object`."""
    return {name for cls in type(x).__mro__[:-1] for name in cls.__dict__}


def _equal(a: AnyValue, b: AnyValue) -> bool:
    try:
        return kind_of(a) == kind_of(b) and bool(a == b)
    except Exception:
        return False


__all__ = ["LinearForm", "check_picklable", "form_of", "record_form"]
