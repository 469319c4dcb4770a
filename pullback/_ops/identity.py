"""Identity operations: `stop_gradient`, and arrays as constants inside a jaxpr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pullback._core import dtypes
from pullback._core.array import ConcreteArray, lift
from pullback._core.errors import UnexpectedTracerError
from pullback._core.flat_function import WithAux
from pullback._core.hitypes import detach_value_p
from pullback._core.jaxpr import Equation, Jaxpr, Var
from pullback._core.primitive import Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import is_linear
from pullback._core.tree_paths import tree_map
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback._ops.compare import select_p
from pullback._ops.families import ANY, operands, unary
from pullback._ops.shape import zeros_like_aval

T = TypeVar("T")

stop_gradient_p: Primitive = unary("stop_gradient", lambda x: x, lambda ctx, x: x, None, ANY)
stop_gradient_p.has(cheap=True)


def stop_gradient(x: PyTree) -> Any:
    """`x` itself, with derivative zero: a pytree of arrays, or of values of types of one's own.

    TypeError for other leaves.

    >>> import pullback as pb
    >>> from pullback import lax
    >>> print(pb.grad(lambda x: x * lax.stop_gradient(x))(3.))
    3.0
    """

    def stop(leaf):
        if not isinstance(leaf, ConcreteArray) and type(getattr(leaf, "aval", None)) not in (ShapedArray, type(None)):
            return detach_value_p.bind(lift(leaf))
        leaf = operands("stop_gradient", leaf)[0]
        return stop_gradient_p.bind(leaf) if dtypes.is_inexact(leaf.aval.dtype) else leaf

    return tree_map(stop, x)


def only_where(flags: AnyValue, x: AnyValue) -> Any:
    """`x`, with a derivative only where the flags are set: nothing, not even nan, passes elsewhere.

    The flags broadcast to the shape of `x`; values that nothing differentiates are returned unchanged.
    """
    if is_linear(x):
        return select_p.bind(flags, x, zeros_like_aval(x.aval))
    if type(x) is ConcreteArray or not dtypes.is_inexact(x.aval.dtype):
        return x
    return select_p.bind(flags, x, stop_gradient_p.bind(x))


# --- constants inside jaxprs ---

constant_p = Primitive("constant")


class Constant:
    """An array as a parameter of `constant`; not hashable, so that no cache of types keeps its data alive."""

    __slots__ = ("array",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: ConcreteArray):
        self.array = array

    def __repr__(self) -> str:
        return f"<{self.array.aval.str_short()}>"


constant_p.kernel = lambda value: value.array.value
constant_p.abstract_eval = lambda value: value.array.aval
constant_p.lower = lambda ctx, value: ctx.constant(value.array.value, value.array.aval.strip_weak_type())


def constant_equations(variables: Sequence[Var], values: Sequence[Any], what: str) -> list[Equation]:
    """Equations that bind variables to arrays; refuses tracers, which a cached jaxpr must not hold."""
    for x in values:
        if not isinstance(x, ConcreteArray):
            raise UnexpectedTracerError(
                f"{what} uses a value of type {x.aval.str_short()} traced by {x._trace.describe()} that is none of its "
                "inputs: a custom rule closes over it. Pass it to the function as an argument, and to the backward "
                "rule among the residuals."
            )
    return [Equation(constant_p, [], [v], {"value": Constant(x)}) for v, x in zip(variables, values, strict=True)]


def embed_constants(jaxpr: Jaxpr, values: Sequence[Any], what: str) -> Jaxpr:
    """A jaxpr whose leading inputs have the given values, without those inputs."""
    if not values:
        return jaxpr
    n = len(values)
    eqns = constant_equations(jaxpr.invars[:n], values, what)
    return Jaxpr([], jaxpr.invars[n:], [*eqns, *jaxpr.eqns], jaxpr.outvars)


def stage_closed(fun: Callable[..., Sequence[Any]], avals: Sequence[ShapedArray], what: str) -> Jaxpr:
    """Trace a flat function to a jaxpr that holds its constants; `what` names it in messages."""
    jaxpr, consts = stage_open(fun, avals, what)
    return embed_constants(jaxpr, consts, what)


def stage_noting(
    fun: Callable[..., tuple[Sequence[Any], T]], avals: Sequence[ShapedArray], what: str
) -> tuple[Jaxpr, T]:
    """`stage_closed` for a function that returns its results and information about them, which is returned too."""
    noting = WithAux(fun)
    return stage_closed(noting, avals, what), noting.aux
