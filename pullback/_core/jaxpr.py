"""The jaxpr: a function as a typed list of equations in single static assignment form, and its evaluation."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any, NamedTuple

from pullback._core.array import ConcreteArray, array_of
from pullback._core.config import config
from pullback._core.errors import Location
from pullback._core.origins import AtEquation, origins_are_tracked
from pullback._core.types import ShapedArray


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

    def __init__(self, value: Any, aval: ShapedArray):
        self.value = value
        self.aval = aval

    @property
    def val(self) -> Any:
        """The scalar, under its other name."""
        return self.value

    def __repr__(self) -> str:
        return f"Literal({self.value!r})"


Atom = Var | Literal


class Equation:
    """One application of a primitive: `outvars = primitive[params] invars`.

    `origin` tells more than the line, in jaxprs that were made under `debug_nans` (see `origins`).

    >>> import pullback as pb
    >>> eqn = pb.make_jaxpr(lambda x: 2 * x)(1.).eqns[0]
    >>> eqn.primitive, eqn.params, eqn.outvars
    (mul, {}, [Var(f32[])])
    """

    __slots__ = ("primitive", "invars", "outvars", "params", "code", "line", "origin")
    primitive: Any
    invars: list[Atom]
    outvars: list[Var]
    params: dict[str, Any]
    code: CodeType | None
    line: int
    origin: Any

    def __init__(self, primitive: Any, invars: list[Atom], outvars: list[Var], params: dict[str, Any],
                 code: CodeType | None = None, line: int = 0, origin: Any = None):
        self.primitive = primitive
        self.invars = invars
        self.outvars = outvars
        self.params = params
        self.code = code
        self.line = line
        self.origin = origin

    @property
    def location(self) -> Location | None:
        """The user's line that applied the primitive."""
        return Location(self.code.co_filename, self.line, self.code.co_name) if self.code else None

    @property
    def effectful(self) -> bool:
        """Whether it acts on the world, itself or in a function it holds, and must not be dropped."""
        return self.primitive.traits.effectful or any(held.jaxpr.effectful for held in self.held)

    @property
    def held(self) -> Sequence[HeldJaxpr]:
        """The jaxprs that it runs. To a primitive that holds no functions a jaxpr is a parameter as any other."""
        return self.primitive.bodies(self.params)

    def replace(self, **changes: Any) -> Equation:
        """An equation like this one, some of its attributes replaced."""
        parts: dict[str, Any] = {"primitive": self.primitive, "invars": self.invars, "outvars": self.outvars,
                                 "params": self.params, "code": self.code, "line": self.line,
                                 "origin": self.origin}
        return Equation(**{**parts, **changes})

    def __repr__(self) -> str:
        from_ = " ".join(map(repr, self.invars))
        return f"{self.primitive.name} {from_}"


class Jaxpr:
    """`{ lambda constvars; invars. let equations in outvars }`.

    `cache` keeps what transformations derived from it (linearized, batched, compiled forms) as long as it lives.

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
    def effectful(self) -> bool:
        """Whether some equation, here or below, acts on the world and must not be dropped."""
        known = self.cache.get("effectful")
        if known is None:
            known = self.cache["effectful"] = any(eqn.effectful for eqn in self.eqns)
        return known

    def derive(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns, remembered under `key` as long as the jaxpr lives."""
        if config.collecting_taps:
            key = (key, "with taps")  # rules that `make` calls leave more in it
        try:
            return self.cache[key]
        except KeyError:
            result = self.cache[key] = make()
            return result

    def __str__(self) -> str:
        return _format(self)

    def __repr__(self) -> str:
        return _format(self)


def _count(jaxpr: Jaxpr) -> str:
    return f"<jaxpr of {len(jaxpr.eqns)} equations>"


_format: Callable[[Jaxpr], str] = _count


def install_printer(format_jaxpr: Callable[[Jaxpr], str]) -> None:
    """Tell jaxprs how to print themselves (called once by the module that knows)."""
    global _format
    _format = format_jaxpr


class ClosedJaxpr:
    """A jaxpr with the values of its constant variables, `consts`; what `make_jaxpr` returns.

    >>> import pullback as pb
    >>> closed = pb.make_jaxpr(lambda x: 2 * x)(1.)
    >>> closed.consts, len(closed.eqns)
    ([], 1)
    """

    __slots__ = ("jaxpr", "consts")
    jaxpr: Jaxpr
    consts: list[Any]

    def __init__(self, jaxpr: Jaxpr, consts: Sequence[Any] = ()):
        self.jaxpr = jaxpr
        self.consts = list(consts)

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
        """The constants, under their other name."""
        return self.consts

    def __str__(self) -> str:
        return str(self.jaxpr)

    __repr__ = __str__


class HeldJaxpr(NamedTuple):
    """A jaxpr that a primitive holds, and how it runs it.

    `operands` are the places of those operands of the primitive that go into it, in the order of its inputs; None where
    its inputs are other values. Of its inputs the `carried` get its first results, if it is run again. It runs `times`
    times, None if that is not known. `returns` says whether the primitive's results are its results (stacked, those of
    a loop which are not carried); of several that return, one is chosen.
    """

    jaxpr: Jaxpr
    operands: Sequence[int] | None = None
    carried: range = range(0)
    times: int | None = 1
    returns: bool = True


def gathered(jaxpr: Jaxpr, key: str, find: Callable[[Equation], Iterable[Any]]) -> tuple[Any, ...]:
    """All that `find` finds in the equations, here and in the jaxprs that they hold; remembered under `key`."""

    def gather():
        found: list[Any] = []
        for eqn in jaxpr.eqns:
            found += find(eqn)
            for held in eqn.held:
                found += gathered(held.jaxpr, key, find)
        return tuple(found)

    return jaxpr.derive(("gathered", key), gather)


def without(jaxpr: Jaxpr, key: str, drop: Callable[[Equation], bool], inside: bool = True) -> Jaxpr:
    """The jaxpr without some equations, here and, unless told otherwise, in the jaxprs held; remembered under `key`.

    Results of an equation that is left out are its operands, in their order.
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
        return Jaxpr(jaxpr.constvars, jaxpr.invars, eqns,
                     [same.get(v, v) if type(v) is Var else v for v in jaxpr.outvars])

    return jaxpr.derive(("without", key), make)


def literal_value(literal: Literal) -> ConcreteArray:
    return array_of(literal.aval, literal.value)


def eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], *args: Any) -> list[Any]:
    """Run the equations under the current transformation; returns the list of outputs.

    TypeError for another number of constants or arguments than the jaxpr has variables for.

    >>> import pullback as pb
    >>> closed = pb.make_jaxpr(lambda x: 2 * x)(1.)
    >>> print(*eval_jaxpr(closed.jaxpr, closed.consts, 3.))
    6.0
    """
    env: dict[Var, Any] = {}
    if len(args) != len(jaxpr.invars) or len(consts) != len(jaxpr.constvars):
        raise TypeError(f"eval_jaxpr: expected {len(jaxpr.constvars)} constants and {len(jaxpr.invars)} arguments, "
                        f"got {len(consts)} and {len(args)}")
    env.update(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    tracked = origins_are_tracked()
    for eqn in jaxpr.eqns:
        operands = [env[v] if isinstance(v, Var) else literal_value(v) for v in eqn.invars]
        if tracked:
            with AtEquation(eqn):
                out = eqn.primitive.bind(*operands, **eqn.params)
        else:
            out = eqn.primitive.bind(*operands, **eqn.params)
        if eqn.primitive.multiple_results:
            env.update(zip(eqn.outvars, out, strict=True))
        else:
            env[eqn.outvars[0]] = out
    return [env[v] if isinstance(v, Var) else literal_value(v) for v in jaxpr.outvars]


def consts_to_args(jaxpr: Jaxpr) -> Jaxpr:
    """The same function with its constant variables as leading inputs."""
    if not jaxpr.constvars:
        return jaxpr
    return Jaxpr([], [*jaxpr.constvars, *jaxpr.invars], jaxpr.eqns, jaxpr.outvars)
