"""`Primitive`: an operation with all its rules.

A rule is an attribute of the primitive, set where the primitive is defined; there are no tables elsewhere. The
package sets the attributes directly and trusts its rules; users set them by methods that add checks
(`_api/primitives.py`). `params` are the keyword parameters of the application:

| rule | signature | result |
|---|---|---|
| `kernel` | `(*numpy_values, **params)` | evaluation with NumPy |
| `evaluate` | `(*arrays, **params)` | evaluation by other operations; with neither, a program is compiled |
| `abstract_eval` | `(*avals, **params)` | the result's type, or a list; raises in the user's terms on bad operands |
| `lower` | `(ctx, *operands, **params)` | StableHLO, by the emitter `ctx`; one name or a list |
| `jvp` | `(primals, tangents, **params)` | results and tangents; a tangent may be a symbolic `Zero`, in and out |
| `transpose` | `(cotangent, *operands, **params)` | a cotangent per operand, an array or `Scattered`; None where |
| | | it is not linear |
| `batch` | `(trace, operands, dims, **params)` | results and their batch axes; a dim of None: no batch axis |
| `taylor` | `(primals, series, **params)` | results and their derivatives along a curve, lists; None for a constant |

With `multiple_results`, a result is a list. A transpose rule finds its linear operands by `is_linear`. `taylor` is
optional, for speed: without it `_transforms/jet.py` falls back to the jvp rule. Further properties of an operation are
its `traits`.

A `HigherOrder` primitive holds functions: `bodies(params)` lists them and how it runs them; `rebuilt(params, jaxprs,
kept)` gives the parameters with other jaxprs in their places and, where `kept` has a flag for each operand of the
primitive, for the marked operands only. The jaxprs must take the inputs of the old ones, or the marked ones: counts of
operands are derived from `kept` alone. Every analysis (effects, taps, named axes, zeros, linearity, cost) and dead-code
elimination (`_transforms/dce.py`) use these two.

`jvp`, `taylor` and `batch` run under the parent trace of the transformation, `linearize` under the tape, which passes
operations without nodes to the parent. In `transpose` a cotangent may be a symbolic `Zero` if there are several
(`instantiate` makes an array of it). Optional further rules:

| rule | signature | use |
|---|---|---|
| `factor` | `(x, y, **params)` | of a function of one operand: the array by which `jvp` multiplies the tangent; |
| | | where tangents are recorded on a tape it replaces `jvp`, and is evaluated under the parent trace; or |
| | | `OTHER`: a product, whose tangent is the sum of those with a tangent in place of one operand |
| `linearize` | `(trace, primals, tangents, **params)` | replaces `jvp` where tangents are recorded on a tape |
| `stage` | `(trace, args, params)` | replaces plain recording in a jaxpr |
| `record` | `(tape, args, params)` | replaces plain recording on a tape |
| `depends` | `(marked, **params)` | the results that depend on marked operands, if the bodies do not determine them |
| `dce` | `(used, eqn)` | the equation for the used results only, likewise |
| `harvest` | `(trace, args, params)` | results, with taps passed to the trace, likewise; see `_transforms/harvest.py` |
| `at_once` | `(args, params)` | the results, if no transformation needs to see the primitive |
| `show` | `(params)` | the name and the parameters that jaxprs show, or None for its own |
| `accumulate` | `(cotangents, *operands, accums, **params)` | replaces `transpose`: adds a cotangent to the |
| | | accumulator of each linear operand; those of other operands are None |
| `narrow` | `(record)` | a linear operation on a tape without operands that turned out unnecessary |
| `thread` | `(args, params, jaxprs, read, written)` | results and the contents of references after it, for functions |
| | | with further inputs, the contents of those `read` and `written`, and results, of those written |
| `save` | `(eqn, missing, saving)` | partial saving by a `checkpoint` policy, for `missing` results: the equation |
| | | that saves more, the values it saves, and the one that recomputes the missing results (or None); |
| | | None to have the whole equation recomputed |
| `checkpointed` | `(eqn, policy)` | the equation that takes its place in a function that `checkpoint` linearizes |

A `Collective` works along a named axis, given by its parameter `axis_param`; `collective` is its batching rule for
the `vmap` that binds the name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from types import EllipsisType
from typing import Any

from pullback._core.errors import RuleNotDefinedError, fold
from pullback._core.jaxpr import HeldJaxpr, Jaxpr
from pullback._core.pickling import at_home, home_of
from pullback._core.trace import context
from pullback._core.types import NotAnArrayError, ShapedArray, no_array
from pullback._core.typing import AnyValue

_CACHE_LIMIT = 4096
# the rule `factor` of a product
OTHER = "other"
# whether an access to a reference has been recorded in a jaxpr: then `bind` calls the function that discharges them
discharge_refs = [False]


def _load_discharge(*args: Any) -> Any:
    import_module("pullback._core.discharge")  # installs the function
    return _discharge(*args)


_discharge: Callable[..., Any] = _load_discharge


class Traits:
    """Properties of an operation beyond its rules.

    `bilinear`: it is linear in each of two operands. `additive`: the operands that it is jointly linear in, if there
    are several (`...` for all). `homogeneous`: the operands that make the result zero if they are zero.
    `vanishing(zeros, **params)`: the results that are zero, given the operands that are, if this differs among results.
    `elementwise`: an entry of the result is the kernel of the entries at the same index. `whole`: its kernel
    gets large arrays as a whole nevertheless, not in parts. `cheap`: a continuous function, which takes a compiled
    program little longer than to write its result to memory. `rearranging`: all entries
    of the result are entries of its single operand. `effectful`: it has a side effect and must not be dropped.
    `per_example`: the batching rule is called even if no operand has a batch axis. `own_types`: operands may be values
    that are no arrays, see `hitypes`. `rematerialized(policy, **params)`: its rule `save` is called by a `checkpoint`
    without a policy too; True if that leaves side effects where they are. `placements(**params)`: the shardings that it
    names. `ruled`: its derivative comes from rules of a user's.
    """

    bilinear: bool = False
    additive: tuple[int, ...] | EllipsisType | None = None
    homogeneous: tuple[int, ...] | None = None
    vanishing: Callable[..., Sequence[bool]] | None = None
    elementwise: bool = False
    whole: bool = False
    cheap: bool = False
    rearranging: bool = False
    effectful: bool = False
    per_example: bool = False
    rematerialized: Callable[..., bool] | None = None
    own_types: bool = False
    placements: Callable[..., Sequence[Any]] | None = None
    ruled: bool = False

    def __init__(self, **traits: Any):
        for name, value in traits.items():
            if name not in Traits.__annotations__:
                raise TypeError(f"there is no trait {name!r}")
            setattr(self, name, value)


_NO_TRAITS = Traits()


class Primitive:
    """An operation that transformations handle as a unit, with its rules."""

    __slots__ = (
        "name",
        "multiple_results",
        "kernel",
        "evaluate",
        "abstract_eval",
        "lower",
        "jvp",
        "factor",
        "transpose",
        "batch",
        "taylor",
        "traits",
        "types",
    )
    name: str
    multiple_results: bool
    traits: Traits
    # whether equations of it hold jaxprs
    holds: bool = False
    # JAX's calls of functions that are not traced yet: none here
    call_primitive: bool = False
    map_primitive: bool = False

    def __init__(self, name: str, multiple_results: bool = False):
        self.name = name
        self.multiple_results = multiple_results
        self.kernel: Callable[..., Any] | None = None
        self.evaluate: Callable[..., Any] | None = None
        self.abstract_eval: Callable[..., Any] | None = None
        self.lower: Callable[..., Any] | None = None
        self.jvp: Callable[..., Any] | None = None
        self.factor: Any = None
        self.transpose: Callable[..., Any] | None = None
        self.batch: Callable[..., Any] | None = None
        self.taylor: Callable[..., Any] | None = None
        self.traits = _NO_TRAITS
        # the types of results, cached by the types of operands and the parameters
        self.types: dict[Any, Any] = {}

    def has(self, **traits: AnyValue) -> None:
        """Set traits."""
        self.traits = Traits(**{**vars(self.traits), **traits})

    def bodies(self, params: dict[str, Any]) -> Sequence[HeldJaxpr]:
        """The jaxprs that it runs: none unless it is a `HigherOrder`."""
        return ()

    def impl(self, /, *args: AnyValue, **params: AnyValue) -> Any:
        """The results, computed at once."""
        if self.evaluate is not None:
            return self.evaluate(*args, **params)
        return self.bind(*args, **params)

    def get_bind_params(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters of an equation as those of `bind`, which takes the same."""
        return params

    def shown(self, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The name and the parameters that a jaxpr shows."""
        return self.name, params

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str | tuple[Any, ...]:
        return at_home, home_of(self, f"the primitive '{self.name}'")

    def bind(self, /, *args: AnyValue, **params: AnyValue) -> Any:
        """Apply the primitive under the current transformation."""
        try:
            return context.trace.process_primitive(self, args, params)
        except Exception as error:
            fold(error)  # as `boundary` does; a call of that would slow down every operation
            raise

    def infer(self, avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> Any:
        """The type of the result (a list if there are many), cached by types and parameters."""
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
        if not (self.traits.own_types or isinstance(self, HigherOrder)):
            for aval in avals:
                if type(aval) is not ShapedArray:
                    raise NotAnArrayError(f"{self.name}: {no_array(aval)}")
        try:
            result = rule(*avals, **params)
        except TypeError:
            refuse_misfit(self.name, rule, avals, params)
            raise
        return list(result) if self.multiple_results else result

    def rule(self, which: str) -> Callable[..., Any]:
        """The rule named `which`; RuleNotDefinedError, with instructions, if it is not set."""
        rule = getattr(self, which)
        if rule is None:
            raise RuleNotDefinedError(missing_rule_message(self, which))
        return rule


class Forgetting(dict[Any, Any]):
    """A dict that stores nothing: functions among the parameters must not be kept alive by a cache key."""

    __slots__ = ()

    def __setitem__(self, key: AnyValue, value: AnyValue) -> None:
        pass


class HigherOrder(Primitive):
    """An operation that holds functions: jaxprs among its parameters, or Python functions that are not traced yet.

    `bodies(params)` lists the jaxprs, `rebuilt(params, jaxprs, kept=None)` puts others in their places. A primitive
    whose functions are not traced yet has no bodies.
    """

    __slots__ = (
        "_bodies",
        "_rebuilt",
        "linearize",
        "stage",
        "record",
        "depends",
        "dce",
        "harvest",
        "accumulate",
        "narrow",
        "save",
        "checkpointed",
        "at_once",
        "show",
        "thread",
    )
    holds: bool = True

    def __init__(
        self,
        name: str,
        bodies: Callable[[dict[str, Any]], Sequence[HeldJaxpr]] = lambda params: (),
        rebuilt: Callable[..., dict[str, Any]] | None = None,
        multiple_results: bool = True,
    ):
        super().__init__(name, multiple_results)
        self.types: Forgetting = Forgetting()
        self._bodies = bodies
        self._rebuilt = rebuilt
        self.linearize: Callable[..., Any] | None = None
        self.stage: Callable[..., Any] | None = None
        self.record: Callable[..., Any] | None = None
        self.depends: Callable[..., Any] | None = None
        self.dce: Callable[..., Any] | None = None
        self.harvest: Callable[..., Any] | None = None
        self.accumulate: Callable[..., None] | None = None
        self.narrow: Callable[..., Any] | None = None
        self.save: Callable[..., Any] | None = None
        self.checkpointed: Callable[..., Any] | None = None
        self.at_once: Callable[..., Any] | None = None
        self.show: Callable[..., Any] | None = None
        self.thread: Callable[..., Any] | None = None

    def bind(self, /, *args: AnyValue, **params: AnyValue) -> Any:
        """Apply the primitive under the current transformation, unless the `at_once` rule gives the results.

        References that its functions access become operands and results first (`discharge.py`).
        """
        try:
            if discharge_refs[0]:
                outs = _discharge(self, args, params)
                if outs is not None:
                    return outs
            if self.at_once is not None:
                outs = self.at_once(args, params)
                if outs is not None:
                    return outs
            return context.trace.process_primitive(self, args, params)
        except Exception as error:
            fold(error)
            raise

    def shown(self, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The name and the parameters that a jaxpr shows: those of the `show` rule, if it returns any."""
        return (self.show and self.show(params)) or (self.name, params)

    def bodies(self, params: dict[str, Any]) -> Sequence[HeldJaxpr]:
        """The jaxprs that it runs, each with how it runs it."""
        return self._bodies(params)

    def rebuilt(
        self, params: dict[str, Any], jaxprs: Sequence[Jaxpr], kept: Sequence[bool] | None = None
    ) -> dict[str, Any]:
        """The parameters with `jaxprs` in place of its bodies, for the operands marked in `kept`."""
        assert self._rebuilt is not None, self.name
        return self._rebuilt(params, jaxprs, kept)


def install_discharge(discharge: Callable[..., Any]) -> None:
    """Install the function that discharges references (called once by the module `discharge`)."""
    global _discharge
    _discharge = discharge


class Collective(Primitive):
    """An operation along a named axis, given by its parameter `axis_param`.

    `varies` says whether its result differs along the axis: it does not where all are combined.
    """

    __slots__ = ("axis_param", "collective", "varies")
    axis_param: str
    varies: bool

    def __init__(self, name: str, axis_param: str = "axis_name", varies: bool = True):
        super().__init__(name)
        self.axis_param = axis_param
        self.varies = varies
        self.collective: Callable[..., Any] | None = None


def refuse_misfit(name: str, rule: Callable[..., Any], avals: tuple[ShapedArray, ...], params: dict[str, Any]) -> None:
    """Refuse operands and parameters that do not match the signature of a typing rule."""
    try:
        inspect.signature(rule).bind(*avals, **params)
    except TypeError as error:
        raise TypeError(
            f"{name}: got {len(avals)} operand{'s' * (len(avals) != 1)} and the parameters {[*params]}, "
            f"which do not fit its typing rule: {error}"
        ) from None
    except ValueError:
        pass  # Python cannot determine the signature


_HOW = {
    "abstract_eval": ("type", "def_abstract_eval(lambda *avals, **params: aval)"),
    "lower": ("lowering", "def_lowering(lambda ctx, *operands, **params: ...)"),
    "jvp": ("jvp", "def_jvp(lambda primals, tangents, **params: (out, tangent_out))"),
    "transpose": ("transpose", "def_transpose(lambda cotangent, *operands, **params: [...])"),
    "batch": ("batching", "def_batch(lambda operands, dims, **params: (out, dim))"),
}


def missing_rule_message(primitive: Primitive, which: str) -> str:
    """The message for a missing rule, with how to add it."""
    label, how = _HOW.get(which, (which, f"{which} = rule"))
    if which == "transpose":
        return (
            f"the primitive '{primitive.name}' has no transpose rule, so it cannot be differentiated in reverse: "
            "it is not known to be linear in the value that reached it. If it stands in a custom jvp rule, the "
            "tangent output of that rule must be a linear function of its tangent inputs. "
            f"If '{primitive.name}' is linear, set {primitive.name}_p.{how}."
        )
    return f"the primitive '{primitive.name}' has no {label} rule. Set one: {primitive.name}_p.{how}."
