"""The jaxpr: a function as a typed list of equations in single static assignment form, and its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from importlib import import_module
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from pullback._core.array import ArrayLike, ConcreteArray, array_of
from pullback._core.config import config
from pullback._core.errors import Location
from pullback._core.lazy import LateModule
from pullback._core.origins import AtEquation, origins_are_tracked
from pullback._core.scopes import in_scopes
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue

if TYPE_CHECKING:
    from pullback._core import notebooks
else:
    notebooks = LateModule("pullback._core.notebooks")


class Var:
    """A variable: bound once, by an equation or as an input. `aval` is its type.

    >>> import pullback as pb
    >>> pb.make_jaxpr(lambda x: x)(1.).jaxpr.invars
    [Var(f32[])]
    """

    __slots__ = ("aval",)
    aval: ShapedArray

    def __init__(self, aval: ShapedArray):
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var({self.aval.str_short()})"


class Literal:
    """A scalar constant written in place of a variable. `value` is a NumPy scalar, `aval` its type.

    >>> import pullback as pb
    >>> pb.make_jaxpr(lambda x: 2 * x)(1.).eqns[0].invars[0].value
    np.float32(2.0)
    """

    __slots__ = ("aval", "value")
    aval: ShapedArray
    value: Any

    def __init__(self, value: AnyValue, aval: ShapedArray):
        self.value = value
        self.aval = aval

    @property
    def val(self) -> Any:
        """The scalar; an alias of `value`."""
        return self.value

    def __repr__(self) -> str:
        return f"Literal({self.value!r})"


Atom = Var | Literal


class Equation:
    """One application of a primitive: `outvars = primitive[params] invars`.

    `origin` holds more than the line, in jaxprs that were made under `debug_nans` (see `origins`). `scopes` are the
    names of the parts of the program around it, outermost first (`named_scope`).

    >>> import pullback as pb
    >>> eqn = pb.make_jaxpr(lambda x: 2 * x)(1.).eqns[0]
    >>> eqn.primitive, eqn.params, eqn.outvars
    (mul, {}, [Var(f32[])])
    """

    __slots__ = ("primitive", "invars", "outvars", "params", "code", "line", "origin", "scopes")
    primitive: Any
    invars: list[Atom]
    outvars: list[Var]
    params: dict[str, Any]
    code: CodeType | None
    line: int
    origin: Any
    scopes: tuple[str, ...]

    def __init__(
        self,
        primitive: Any,
        invars: list[Atom],
        outvars: list[Var],
        params: dict[str, Any],
        code: CodeType | None = None,
        line: int = 0,
        origin: Any = None,
        scopes: tuple[str, ...] = (),
    ):
        self.primitive = primitive
        self.invars = invars
        self.outvars = outvars
        self.params = params
        self.code = code
        self.line = line
        self.origin = origin
        self.scopes = scopes

    @property
    def location(self) -> Location | None:
        """The user's line that applied the primitive."""
        return Location(self.code.co_filename, self.line, self.code.co_name) if self.code else None

    @property
    def effectful(self) -> bool:
        """True if the equation, or a jaxpr it holds, has a side effect; it must not be dropped."""
        primitive = self.primitive
        return primitive.traits.effectful or (primitive.holds and any(held.jaxpr.effectful for held in self.held))

    @property
    def effects(self) -> frozenset[Effect]:
        """The side effects of the equation, and of the jaxprs it holds."""
        own = [SideEffect(self.primitive.name)] if self.primitive.traits.effectful else []
        return frozenset([*own, *(effect for held in self.held for effect in held.jaxpr.effects)])

    @property
    def held(self) -> Sequence[HeldJaxpr]:
        """The jaxprs that the equation runs. In a primitive that holds no functions, a jaxpr is a plain parameter."""
        return self.primitive.bodies(self.params)

    def replace(self, **changes: AnyValue) -> Equation:
        """A copy of this equation with some attributes replaced."""
        parts: dict[str, Any] = {
            "primitive": self.primitive,
            "invars": self.invars,
            "outvars": self.outvars,
            "params": self.params,
            "code": self.code,
            "line": self.line,
            "origin": self.origin,
            "scopes": self.scopes,
        }
        return Equation(**{**parts, **changes})

    def __reduce__(self) -> str | tuple[Any, ...]:
        return Equation, (self.primitive, self.invars, self.outvars, self.params)  # the line is not pickled

    def __repr__(self) -> str:
        from_ = " ".join(map(repr, self.invars))
        return f"{self.primitive.name} {from_}"


# stands for a jaxpr among what it remembers, where it would keep itself alive
_ITSELF = object()


class Jaxpr:
    """`{ lambda constvars; invars. let equations in outvars }`.

    `cache` keeps the results of transformations (linearized, batched, compiled forms) as long as the jaxpr lives.

    >>> import pullback as pb
    >>> jaxpr = pb.make_jaxpr(lambda x: 2 * x)(1.).jaxpr
    >>> len(jaxpr.eqns), jaxpr.in_avals
    (1, [ShapedArray(float32[], weak_type=True)])
    """

    __slots__ = ("constvars", "invars", "eqns", "outvars", "cache", "__weakref__")
    constvars: list[Var]
    invars: list[Var]
    eqns: list[Equation]
    outvars: list[Atom]

    def __init__(self, constvars: list[Var], invars: list[Var], eqns: list[Equation], outvars: list[Atom]):
        self.constvars = constvars
        self.invars = invars
        self.eqns = eqns
        self.outvars = outvars
        self.cache: dict[Any, Any] = {}

    @property
    def in_avals(self) -> list[ShapedArray]:
        """The types of the inputs."""
        return [v.aval for v in self.invars]

    @property
    def out_avals(self) -> list[ShapedArray]:
        """The types of the results."""
        return [v.aval for v in self.outvars]

    @property
    def jaxpr(self) -> Jaxpr:
        """The jaxpr: those in parameters of equations are closed, as `consts` says."""
        return self

    @property
    def consts(self) -> list[Any]:
        """The values of constants inside of an equation: none, they are operands of the equation."""
        return []

    @property
    def effectful(self) -> bool:
        """True if an equation, here or in a held jaxpr, has a side effect; it must not be dropped."""
        known = self.cache.get("effectful")
        if known is None:
            known = any(eqn.primitive.traits.effectful for eqn in self.eqns)
            known = known or any(held.jaxpr.effectful for eqn in self.holding for held in eqn.held)
            self.cache["effectful"] = known
        return known

    @property
    def holding(self) -> Sequence[Equation]:
        """The equations that hold jaxprs."""
        known = self.cache.get("holding")
        if known is None:
            known = self.cache["holding"] = [eqn for eqn in self.eqns if eqn.primitive.holds]
        return known

    @property
    def effects(self) -> frozenset[Effect]:
        """The side effects of the equations, here or in held jaxprs."""
        return frozenset([effect for eqn in self.eqns for effect in eqn.effects])

    @property
    def has_own_types(self) -> bool:
        """True if a value, here or in a held jaxpr, is no array."""
        known = self.cache.get("has own types")
        if known is None:
            known = any(type(v.aval) is not ShapedArray for v in (*self.constvars, *self.invars))
            known = known or any(type(v.aval) is not ShapedArray for eqn in self.eqns for v in eqn.outvars)
            known = known or any(held.jaxpr.has_own_types for eqn in self.holding for held in eqn.held)
            self.cache["has own types"] = known
        return known

    def derive(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of `make`, cached under `key` as long as the jaxpr lives."""
        if config.collecting_taps:
            key = (key, "with taps")  # the rules that `make` calls then keep more equations
        try:
            found = self.cache[key]
        except KeyError:
            pass  # what `make` raises is not to be shown as a consequence
        else:
            return self if found is _ITSELF else found
        result = make()
        self.cache[key] = _ITSELF if result is self else result
        return result

    def __reduce__(self) -> str | tuple[Any, ...]:
        return Jaxpr, (self.constvars, self.invars, self.eqns, self.outvars)

    def __str__(self) -> str:
        return _format(self)

    def __repr__(self) -> str:
        return _format(self)

    def _repr_html_(self) -> str:
        return notebooks.jaxpr_html(str(self))


def _loading(jaxpr: Jaxpr) -> str:
    import_module("pullback._core.printing")
    return _format(jaxpr)


# replaced when the module `printing` is loaded, which the first text does
_format: Callable[[Jaxpr], str] = _loading


def install_printer(format_jaxpr: Callable[[Jaxpr], str]) -> None:
    """Install the function that prints jaxprs (called once by the module `printing`)."""
    global _format
    _format = format_jaxpr


class Effect:
    """The base of the classes that say what a function does besides returning results.

    >>> issubclass(ReadEffect, Effect)
    True
    """

    __slots__ = ()


class SideEffect(Effect):
    """An equation of this primitive does something besides returning results, such as to call a function of Python."""

    __slots__ = ("primitive",)
    primitive: str

    def __init__(self, primitive: str):
        self.primitive = primitive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SideEffect) and self.primitive == other.primitive

    def __hash__(self) -> int:
        return hash(self.primitive)

    def __repr__(self) -> str:
        return f"SideEffect({self.primitive})"


class RefEffect(NamedTuple):
    """An access to a reference: `input_index` is its place among the constants and inputs, `aval` its type."""

    input_index: int
    aval: ShapedArray

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input_index}: {self.aval.str_short()})"


class ReadEffect(RefEffect, Effect):
    """The function reads a reference."""


class WriteEffect(RefEffect, Effect):
    """The function writes to a reference."""


class ClosedJaxpr:
    """A jaxpr with the values of its constant variables, `consts`; what `make_jaxpr` returns.

    A reference that the function takes, or closes over, is a variable that stands for its content; what was written is
    among the results, after those of the function. `effects` lists these accesses.

    >>> import pullback as pb
    >>> closed = pb.make_jaxpr(lambda x: 2 * x)(1.)
    >>> closed.consts, len(closed.eqns)
    ([], 1)
    """

    __slots__ = ("jaxpr", "consts", "effects")
    jaxpr: Jaxpr
    consts: list[Any]
    effects: list[RefEffect]

    def __init__(self, jaxpr: Jaxpr, consts: Sequence[Any] = (), effects: Sequence[RefEffect] = ()):
        self.jaxpr = jaxpr
        self.consts = list(consts)
        self.effects = list(effects)

    @property
    def in_avals(self) -> list[ShapedArray]:
        """The types of the inputs."""
        return self.jaxpr.in_avals

    @property
    def out_avals(self) -> list[ShapedArray]:
        """The types of the results."""
        return self.jaxpr.out_avals

    @property
    def eqns(self) -> list[Equation]:
        """The equations, in order."""
        return self.jaxpr.eqns

    @property
    def literals(self) -> list[Any]:
        """The constants; an alias of `consts`."""
        return self.consts

    def __str__(self) -> str:
        effects = f"\n  with {', '.join(map(repr, self.effects))}" if self.effects else ""
        return f"{self.jaxpr}{effects}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return notebooks.jaxpr_html(str(self))


class HeldJaxpr(NamedTuple):
    """A jaxpr that a primitive holds, and how the primitive runs it.

    `operands` are the indices of the primitive's operands that are its inputs, in order; None if its inputs are other
    values. The inputs in `carried` get its first results when it runs again. It runs `times` times. None stands for an
    unknown number, perhaps 0: then the carried results are the initial values, and other results that are not the
    jaxpr's (zeros, say) are told by another held jaxpr with the same `operands` and `carried`. `returns` says whether
    the primitive's results are its results (for a loop those that are not carried are stacked); if several held jaxprs
    return, one of them is chosen.
    """

    jaxpr: Jaxpr
    operands: Sequence[int] | None = None
    carried: range = range(0)
    times: int | None = 1
    returns: bool = True


def gathered(jaxpr: Jaxpr, key: str, find: Callable[[Equation], Iterable[Any]]) -> tuple[Any, ...]:
    """Everything that `find` yields for the equations, here and in held jaxprs; cached under `key`."""

    def gather():
        found: list[Any] = []
        for eqn in jaxpr.eqns:
            found += find(eqn)
            if eqn.primitive.holds:
                for held in eqn.held:
                    found += gathered(held.jaxpr, key, find)
        return tuple(found)

    return jaxpr.derive(("gathered", key), gather)


def without(jaxpr: Jaxpr, key: str, drop: Callable[[Equation], bool], inside: bool = True) -> Jaxpr:
    """The jaxpr without the equations that `drop` selects, in held jaxprs too if `inside`; cached under `key`.

    Each result of a dropped equation is replaced by its operand in the same position.
    """

    def make():
        same: dict[Any, Any] = {}
        eqns: list[Equation] = []
        for eqn in jaxpr.eqns:
            invars = [same.get(v, v) if type(v) is Var else v for v in eqn.invars]
            if drop(eqn):
                same.update(zip(eqn.outvars, invars, strict=False))
                continue
            eqns.append(eqn.replace(invars=invars) if same else eqn)
            held = eqn.held if inside else ()
            smaller = [without(h.jaxpr, key, drop) for h in held]
            if any(new is not h.jaxpr for new, h in zip(smaller, held, strict=True)):
                eqns[-1] = eqns[-1].replace(params=eqn.primitive.rebuilt(eqn.params, smaller))
        if all(a is b for a, b in zip(eqns, jaxpr.eqns, strict=False)) and len(eqns) == len(jaxpr.eqns):
            return jaxpr
        return Jaxpr(
            jaxpr.constvars, jaxpr.invars, eqns, [same.get(v, v) if type(v) is Var else v for v in jaxpr.outvars]
        )

    return jaxpr.derive(("without", key), make)


def literal_value(literal: Literal) -> ConcreteArray:
    return array_of(literal.aval, literal.value)


def eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], *args: ArrayLike, propagate_source_info: bool = True) -> list[Any]:
    """Evaluate the equations under the current transformation; returns the list of outputs.

    `propagate_source_info` is ignored: an equation that fails is named by its own line. TypeError if the number of
    constants or arguments differs from the number of variables.

    >>> import pullback as pb
    >>> closed = pb.make_jaxpr(lambda x: 2 * x)(1.)
    >>> print(*eval_jaxpr(closed.jaxpr, closed.consts, 3.))
    6.0
    """
    env: dict[Var, Any] = {}
    if len(args) != len(jaxpr.invars) or len(consts) != len(jaxpr.constvars):
        raise TypeError(
            f"eval_jaxpr: expected {len(jaxpr.constvars)} constants and {len(jaxpr.invars)} arguments, "
            f"got {len(consts)} and {len(args)}"
        )
    env.update(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    tracked = origins_are_tracked()
    for eqn, last in zip(jaxpr.eqns, jaxpr.derive("last uses", lambda: _last_uses(jaxpr)), strict=True):
        operands = [env[v] if isinstance(v, Var) else literal_value(v) for v in eqn.invars]
        if tracked:
            with AtEquation(eqn):
                out = eqn.primitive.bind(*operands, **eqn.params)
        elif eqn.scopes:
            with in_scopes(eqn.scopes):
                out = eqn.primitive.bind(*operands, **eqn.params)
        else:
            out = eqn.primitive.bind(*operands, **eqn.params)
        if eqn.primitive.multiple_results:
            env.update(zip(eqn.outvars, out, strict=True))
        else:
            env[eqn.outvars[0]] = out
        for v in last:
            del env[v]
    return [env[v] if isinstance(v, Var) else literal_value(v) for v in jaxpr.outvars]


def _last_uses(jaxpr: Jaxpr) -> list[list[Var]]:
    """For each equation the variables that nothing reads after it: their memory is used again."""
    read = {v for v in jaxpr.outvars if type(v) is Var}
    uses = []
    for eqn in reversed(jaxpr.eqns):
        last = [v for v in dict.fromkeys((*eqn.invars, *eqn.outvars)) if type(v) is Var and v not in read]
        read.update(last)
        uses.append(last)
    return uses[::-1]


def consts_to_args(jaxpr: Jaxpr) -> Jaxpr:
    """The same function with its constant variables as leading inputs."""
    if not jaxpr.constvars:
        return jaxpr
    return Jaxpr([], [*jaxpr.constvars, *jaxpr.invars], jaxpr.eqns, jaxpr.outvars)
