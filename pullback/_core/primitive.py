"""`Primitive`: an operation with all its rules.

A rule is an attribute of the primitive, set where the primitive is defined; there are no tables on the side. The
package sets the attributes, and trusts its rules; users set them by methods that put checks around them
(`_api/primitives.py`). With `params` the keyword parameters of the application:

| rule | signature | what it says |
|---|---|---|
| `kernel` | `(*numpy_values, **params)` | evaluation with NumPy |
| `evaluate` | `(*arrays, **params)` | evaluation by other operations; with neither, a program is compiled |
| `abstract_eval` | `(*avals, **params)` | the result's type, or a list; raises in the user's words on bad operands |
| `lower` | `(ctx, *operands, **params)` | StableHLO, by the emitter `ctx`; one name or a list |
| `jvp` | `(primals, tangents, **params)` | results and tangents; a tangent may be a symbolic `Zero`, in and out |
| `transpose` | `(cotangent, *operands, **params)` | a cotangent per operand, None where it is not linear |
| `batch` | `(trace, operands, dims, **params)` | results and their batch axes; a dim of None: no batch axis |
| `taylor` | `(primals, series, **params)` | results and their derivatives along a curve, lists; None for none at all |

With `multiple_results`, a result is a list. A transpose rule tells operands that it is linear in by `is_linear`.
`taylor` is there for speed alone: without it `_transforms/jet.py` makes do with the jvp rule. What is known of an
operation beyond its rules stands in its `traits`.

A `HigherOrder` primitive holds functions: `bodies(params)` says which, and how it runs them; `rebuilt(params, jaxprs,
kept)` gives the parameters with others in their places and, where `kept` marks operands, for these operands alone.
Whatever only looks (effects, taps, named axes, zeros, linearity, cost) or leaves out (`_transforms/dce.py`) asks these.
It may say more by further rules:

| rule | signature | what it says |
|---|---|---|
| `linearize` | `(trace, primals, tangents, **params)` | in place of `jvp`, where tangents go onto a tape |
| `stage` | `(trace, args, params)` | in place of plain recording in a jaxpr |
| `record` | `(tape, args, params)` | in place of plain recording on a tape |
| `depends` | `(marked, **params)` | which results depend on marked operands, if the bodies do not tell |
| `dce` | `(used, eqn)` | the equation for the used results alone, likewise |
| `harvest` | `(trace, args, params)` | results, and taps to the trace, likewise; see `_transforms/harvest.py` |
| `at_once` | `(args, params)` | the results, if they can be had without a transformation's seeing the primitive |
| `narrow` | `(record)` | a linear operation on a tape without operands that are not needed after all |
| `save` | `(eqn, missing, saving)` | what a policy of `checkpoint` saves inside, for `missing` results: the equation |
| | | that saves more, what it saves, and the one that makes the missing results from these (or None) |

A `Collective` works along a named axis, which the parameter `axis_param` holds; `collective` is its batching rule for
the `vmap` that binds the name.
"""
from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

from pullback._core.errors import RuleNotDefinedError, fold
from pullback._core.jaxpr import HeldJaxpr, Jaxpr
from pullback._core.trace import context
from pullback._core.types import ShapedArray

_CACHE_LIMIT = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Traits:
    """What is known of an operation beyond its rules.

    `bilinear`: it is linear in each of two operands. `additive`: the operands that it is linear in together, where
    these are several (`...` for all). `homogeneous`: the operands that make the result zero if they are.
    `vanishing(zeros, **params)`: which results are zero, given which operands are, where that differs among them.
    `elementwise`: an entry of the result comes from the entries in its place, by the kernel. `rearranging`: all entries
    of the result are entries of the operand, if that is one. `effectful`: it acts on the world, and must not be
    dropped. `per_example`: the batching rule is asked even where no operand has a batch axis.
    """

    bilinear: bool = False
    additive: tuple[int, ...] | EllipsisType | None = None
    homogeneous: tuple[int, ...] | None = None
    vanishing: Callable[..., Sequence[bool]] | None = None
    elementwise: bool = False
    rearranging: bool = False
    effectful: bool = False
    per_example: bool = False


_NO_TRAITS = Traits()


class Primitive:
    """An operation that every transformation meets as a whole, with its rules."""

    __slots__ = ("name", "multiple_results", "kernel", "evaluate", "abstract_eval", "lower", "jvp", "transpose",
                 "batch", "taylor", "traits", "types")
    name: str
    multiple_results: bool
    traits: Traits

    def __init__(self, name: str, multiple_results: bool = False):
        self.name = name
        self.multiple_results = multiple_results
        self.kernel: Callable[..., Any] | None = None
        self.evaluate: Callable[..., Any] | None = None
        self.abstract_eval: Callable[..., Any] | None = None
        self.lower: Callable[..., Any] | None = None
        self.jvp: Callable[..., Any] | None = None
        self.transpose: Callable[..., Any] | None = None
        self.batch: Callable[..., Any] | None = None
        self.taylor: Callable[..., Any] | None = None
        self.traits = _NO_TRAITS
        # the types of results, remembered per types of operands and parameters
        self.types: dict[Any, Any] = {}

    def has(self, **traits: Any) -> None:
        """Set traits."""
        self.traits = dataclasses.replace(self.traits, **traits)

    def bodies(self, params: dict[str, Any]) -> Sequence[HeldJaxpr]:
        """The jaxprs that it runs: none, for what `HigherOrder` is not."""
        return ()

    def __repr__(self) -> str:
        return self.name

    def bind(self, *args: Any, **params: Any) -> Any:
        """Apply the primitive under the current transformation."""
        try:
            return context.trace.process_primitive(self, args, params)
        except Exception as error:
            fold(error)  # as `boundary` does, which would cost every operation a call
            raise

    def infer(self, avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> Any:
        """The type of the result (a list of types where there are many), remembered per types and parameters."""
        try:
            key = (avals, *params.items()) if params else avals
            return self.types[key]
        except KeyError:
            pass
        except TypeError:
            return self._infer(avals, params)
        result = self._infer(avals, params)
        self.types[key] = result
        if len(self.types) > _CACHE_LIMIT:
            self.types.clear()
        return result

    def _infer(self, avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> Any:
        rule = self.rule("abstract_eval")
        try:
            result = rule(*avals, **params)
        except TypeError:
            refuse_misfit(self.name, rule, avals, params)
            raise
        return list(result) if self.multiple_results else result

    def rule(self, which: str) -> Callable[..., Any]:
        """The named rule, or an error that says how to give it."""
        rule = getattr(self, which)
        if rule is None:
            raise RuleNotDefinedError(missing_rule_message(self, which))
        return rule


class Forgetting(dict[Any, Any]):
    """Types that are not remembered: functions among the parameters must not live on in the key."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class HigherOrder(Primitive):
    """An operation that holds functions: jaxprs among its parameters, or Python functions that are not traced yet.

    `bodies(params)` lists the jaxprs, `rebuilt(params, jaxprs, kept=None)` puts others in their places. One that holds
    none has functions that are not traced yet.
    """

    __slots__ = ("_bodies", "_rebuilt", "linearize", "stage", "record", "depends", "dce", "harvest", "narrow", "save",
                 "at_once")

    def __init__(self, name: str, bodies: Callable[[dict[str, Any]], Sequence[HeldJaxpr]] = lambda params: (),
                 rebuilt: Callable[..., dict[str, Any]] | None = None, multiple_results: bool = True):
        super().__init__(name, multiple_results)
        self.types = Forgetting()
        self._bodies = bodies
        self._rebuilt = rebuilt
        self.linearize: Callable[..., Any] | None = None
        self.stage: Callable[..., Any] | None = None
        self.record: Callable[..., Any] | None = None
        self.depends: Callable[..., Any] | None = None
        self.dce: Callable[..., Any] | None = None
        self.harvest: Callable[..., Any] | None = None
        self.narrow: Callable[..., Any] | None = None
        self.save: Callable[..., Any] | None = None
        self.at_once: Callable[..., Any] | None = None

    def bind(self, *args: Any, **params: Any) -> Any:
        """Apply the primitive under the current transformation, if its results are not to be had at once."""
        try:
            if self.at_once is not None:
                outs = self.at_once(args, params)
                if outs is not None:
                    return outs
            return context.trace.process_primitive(self, args, params)
        except Exception as error:
            fold(error)
            raise

    def bodies(self, params: dict[str, Any]) -> Sequence[HeldJaxpr]:
        """The jaxprs that it runs, and how."""
        return self._bodies(params)

    def rebuilt(self, params: dict[str, Any], jaxprs: Sequence[Jaxpr], kept: Sequence[bool] | None = None
                ) -> dict[str, Any]:
        """The parameters with other jaxprs in the places of its bodies, for the operands that are `kept`."""
        assert self._rebuilt is not None, self.name
        return self._rebuilt(params, jaxprs, kept)


class Collective(Primitive):
    """An operation along a named axis, whose name is its parameter `axis_param`."""

    __slots__ = ("axis_param", "collective")
    axis_param: str

    def __init__(self, name: str, axis_param: str = "axis_name"):
        super().__init__(name)
        self.axis_param = axis_param
        self.collective: Callable[..., Any] | None = None


def refuse_misfit(name: str, rule: Callable[..., Any], avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> None:
    """Refuse operands and parameters that a typing rule cannot be called with."""
    try:
        inspect.signature(rule).bind(*avals, **params)
    except TypeError as error:
        raise TypeError(f"{name}: got {len(avals)} operand{'s' * (len(avals) != 1)} and the parameters {[*params]}, "
                        f"which do not fit its typing rule: {error}") from None
    except ValueError:
        pass  # Python cannot tell the signature


_HOW = {
    "abstract_eval": ("type", "def_abstract_eval(lambda *avals, **params: aval)"),
    "lower": ("lowering", "def_lowering(lambda ctx, *operands, **params: ...)"),
    "jvp": ("jvp", "def_jvp(lambda primals, tangents, **params: (out, tangent_out))"),
    "transpose": ("transpose", "def_transpose(lambda cotangent, *operands, **params: [...])"),
    "batch": ("batching", "def_batch(lambda operands, dims, **params: (out, dim))"),
}


def missing_rule_message(primitive: Primitive, which: str) -> str:
    """What is missing, and how to add it."""
    label, how = _HOW.get(which, (which, f"{which} = rule"))
    if which == "transpose":
        return (f"the primitive '{primitive.name}' has no transpose rule, so it cannot be differentiated in reverse: "
                "it is not known to be linear in the value that reached it. If it stands in a custom jvp rule, the "
                "tangent output of that rule must be a linear function of its tangent inputs. "
                f"If '{primitive.name}' is linear, set {primitive.name}_p.{how}.")
    return f"the primitive '{primitive.name}' has no {label} rule. Set one: {primitive.name}_p.{how}."
