"""`Primitive`: an operation with all its rules.

A rule is an attribute of the primitive, set where the primitive is defined; there are no tables on the side. The
package sets the attributes, and trusts its rules; users set them by methods that put checks around them
(`_api/primitives.py`). The rules, with `params` the keyword parameters of the application:

- `kernel(*numpy_values, **params)`: evaluation with NumPy. None: eager calls go through a compiled one-op program.
- `abstract_eval(*avals, **params)`: the result's type, or a list of them; raises in the user's words on bad operands.
- `lower(ctx, *operands, **params)`: StableHLO, by the emitter `ctx`; one name or a list.
- `jvp(primals, tangents, **params)`: the result and its tangent; a tangent may be a symbolic `Zero`, in and out.
- `transpose(cotangent, *operands, **params)`: a cotangent per operand, None where it is not linear (`is_linear`).
- `batch(operands, dims, **params)`: the result and its batch axis; a dim of None marks an operand without batch axis.
- `taylor(primals, series, **params)`: the result and its derivatives along a curve, a list; None in place of a list
  where there are none. Only for speed: without it, `_transforms/jet.py` makes do with the jvp rule.

Primitives that hold functions have more to say, see `_higher_order`: with `higher_order` set, `batch` gets the trace as
first argument; `linearize(trace, primals, tangents, **params)` replaces the jvp rule where tangents go onto a tape;
`stage(trace, args, params)` and `record(tape, args, params)` replace plain recording in a jaxpr and on a tape;
`depends(marked, **params)` says which results depend on the marked operands (all of them where there is no such rule).
`narrow(record)` leaves out operands of a linear operation on a tape that are not needed after all;
`harvest(trace, args, params)` runs them so that the taps inside come out, see `_transforms/harvest.py`; `per_example`
asks for the batching rule even where no operand has a batch axis;
`save(eqn, missing, saving)` asks a policy of `checkpoint` about the functions inside, for the `missing` results: the
equation that saves more, the values it saves, and the equation that makes the missing ones from these (or None).
Those that work along a named axis name the parameter that holds it in `axis_param`, and have a rule
`collective(trace, operands, dims, **params)` for the `vmap` that binds the name.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pullback._core.errors import RuleNotDefinedError, fold
from pullback._core.jaxpr import HeldJaxpr
from pullback._core.trace import context
from pullback._core.types import ShapedArray

_CACHE_LIMIT = 4096


class Primitive:
    """An operation that every transformation meets as a whole, with its rules."""

    __slots__ = ("name", "multiple_results", "higher_order", "kernel", "evaluate", "abstract_eval", "lower", "jvp",
                 "linearize", "transpose", "batch", "stage", "record", "dce", "depends", "axis_param", "collective",
                 "bilinear", "additive", "homogeneous", "vanishing", "elementwise", "rearranging", "effectful",
                 "harvest", "narrow", "per_example", "save", "taylor", "bodies", "repeats", "types")

    def __init__(self, name: str, multiple_results: bool = False, higher_order: bool = False):
        self.name = name
        self.multiple_results = multiple_results
        self.higher_order = higher_order
        self.kernel: Callable | None = None
        self.evaluate: Callable | None = None
        self.abstract_eval: Callable | None = None
        self.lower: Callable | None = None
        self.jvp: Callable | None = None
        self.linearize: Callable | None = None
        self.transpose: Callable | None = None
        self.batch: Callable | None = None
        self.stage: Callable | None = None
        self.record: Callable | None = None
        self.dce: Callable | None = None
        self.depends: Callable | None = None
        self.axis_param: str | None = None
        self.collective: Callable | None = None
        self.bilinear = False
        # the operands that it is linear in together (... for all), where these are several
        self.additive: Any = None
        # whether an entry of the result comes from the entries in its place, by the kernel
        self.elementwise = False
        # whether all entries of the result are entries of the operand, if that is one
        self.rearranging = False
        # the operands that make the result zero if they are
        self.homogeneous: tuple[int, ...] | None = None
        # which results are zero, given which operands are and the parameters, where that is no matter of all alike
        self.vanishing: Callable | None = None
        self.effectful = False
        self.harvest: Callable | None = None
        self.narrow: Callable | None = None
        self.per_example = False
        self.save: Callable | None = None
        self.taylor: Callable | None = None
        # what it runs of the jaxprs among its parameters, and how often a loop does
        self.bodies: Callable[..., list[HeldJaxpr]] | None = None
        self.repeats: Callable[..., int] | None = None
        self.types: dict = {}

    def __repr__(self):
        return self.name

    def bind(self, *args: Any, **params: Any) -> Any:
        """Apply the primitive under the current transformation."""
        try:
            return context.trace.process_primitive(self, args, params)
        except Exception as error:
            fold(error)  # as `boundary` does, which would cost every operation a call
            raise

    def infer(self, avals: tuple[ShapedArray, ...], params: dict) -> Any:
        """The type of the result (a list of types where there are many), remembered per types and parameters."""
        try:
            key = (avals, *params.items()) if params else avals
            return self.types[key]
        except KeyError:
            pass
        except TypeError:
            return self._infer(avals, params)
        result = self._infer(avals, params)
        if self.higher_order:
            return result  # the parameters hold functions, which must not live on in the key
        self.types[key] = result
        if len(self.types) > _CACHE_LIMIT:
            self.types.clear()
        return result

    def _infer(self, avals, params):
        rule = self.rule("abstract_eval")
        try:
            result = rule(*avals, **params)
        except TypeError:
            refuse_misfit(self.name, rule, avals, params)
            raise
        return list(result) if self.multiple_results else result

    def rule(self, which: str) -> Callable:
        """The named rule, or an error that says how to give it."""
        rule = getattr(self, which)
        if rule is None:
            raise RuleNotDefinedError(missing_rule_message(self, which))
        return rule


def refuse_misfit(name: str, rule: Callable, avals: tuple[ShapedArray, ...], params: dict) -> None:
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
