"""Functions of known and unknown arguments: what depends on known ones alone is computed, the rest is traced.

The functions are wrapped as `extend.linear_util.wrap_init` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.jaxpr import Jaxpr
from pullback._core.primitive import Primitive
from pullback._core.public_array import ExtendedArray
from pullback._core.staging import StagedTracer, StagingTrace, stage
from pullback._core.trace import Trace, call_with
from pullback._core.types import ExtendedType, ShapedArray
from pullback._core.typing import AnyValue
from pullback._transforms.dce import dce


class PartialVal(tuple[Any, Any]):
    """A value that is known, `(None, value)`, or of which only the type is, `(type, None)`.

    >>> PartialVal.known(3.).is_known(), PartialVal.unknown(ShapedArray((2,), "float32")).is_known()
    (True, False)
    """

    __slots__ = ()

    def __new__(cls, pair: tuple[Any, Any]) -> PartialVal:
        return super().__new__(cls, pair)

    @classmethod
    def known(cls, const: AnyValue) -> PartialVal:
        """A known value."""
        return cls((None, const))

    @classmethod
    def unknown(cls, aval: ShapedArray) -> PartialVal:
        """A value of this type."""
        return cls((aval, None))

    def is_known(self) -> bool:
        """Return whether the value is known."""
        return self[0] is None

    def get_known(self) -> Any:
        """The value, or None."""
        return self[1]

    def get_aval(self) -> ShapedArray:
        """The type."""
        return lift(self[1]).aval if self.is_known() else self[0]


class _Partial(Trace):
    """Stages the operations on unknown values, and passes all others on to the trace around it."""

    __slots__ = ("staging",)

    def __init__(self, staging: StagingTrace):
        super().__init__(staging)
        self.transparent = staging.parent.transparent
        self.staging = staging

    def describe(self) -> str:
        return self.staging.describe()

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        unknown = any(type(a) is StagedTracer and a._trace is self.staging for a in args)
        return call_with(self.staging if unknown else self.staging.parent, primitive.bind, *args, **params)


def _unknown(trace: StagingTrace, aval: ShapedArray | ExtendedType) -> Any:
    if isinstance(aval, ExtendedType):
        return aval.of_words(trace.new_input(aval.words))
    return trace.new_input(aval)


def trace_to_jaxpr_nounits(
    fun: Any, pvals: Sequence[PartialVal], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[PartialVal], list[Any]]:
    """Evaluate what depends on known arguments alone, and trace the rest.

    Args:
      fun: a function wrapped by `linear_util.wrap_init`, from arrays to a list of arrays.
      pvals: its arguments.
      instantiate: whether known results are results of the jaxpr too, for all or for each.

    Returns:
      The jaxpr of the unknown results; the results; the values of the jaxpr's constants.

    Raises: what `fun` raises.

    >>> from pullback.extend.linear_util import wrap_init
    >>> f = wrap_init(lambda x, y: (x + 1, x * y))
    >>> arguments = [PartialVal.known(2.), PartialVal.unknown(ShapedArray((), "float32"))]
    >>> jaxpr, results, _ = trace_to_jaxpr_nounits(f, arguments)
    >>> print(results[0].get_known(), results[1].is_known(), len(jaxpr.eqns))
    3.0 False 1
    """
    trace = StagingTrace("a function that is evaluated partially")
    args = [pval.get_known() if pval.is_known() else _unknown(trace, pval[0]) for pval in pvals]
    try:
        outs = [
            x if isinstance(x, ExtendedArray) else lift(x) for x in call_with(_Partial(trace), fun.call_wrapped, *args)
        ]
        data = [x.words if isinstance(x, ExtendedArray) else x for x in outs]
        wanted = [instantiate] * len(outs) if isinstance(instantiate, bool) else instantiate
        staged = [
            forced or (type(x) is StagedTracer and x._trace is trace) for x, forced in zip(data, wanted, strict=True)
        ]
        closed = trace.finish([x for x, kept in zip(data, staged, strict=True) if kept])
    finally:
        trace.alive = False
    results = [
        PartialVal.unknown(x.aval) if kept else PartialVal.known(x) for x, kept in zip(outs, staged, strict=True)
    ]
    return closed.jaxpr, results, closed.consts


def trace_to_jaxpr_dynamic(
    fun: Any,
    in_avals: Sequence[ShapedArray],
    *,
    keep_inputs: Sequence[bool] | None = None,
    lower: bool = False,
    auto_dce: bool = False,
) -> tuple[Jaxpr, list[ShapedArray], list[Any]]:
    """The jaxpr of a function wrapped by `linear_util.wrap_init`, the types of its results, and its constants' values.

    With `auto_dce`, equations that no result depends on are left out. What the function raises is passed on;
    NotImplementedError for `keep_inputs` that leave inputs out, and for `lower`.

    >>> from pullback.extend.linear_util import wrap_init
    >>> jaxpr, types, _ = trace_to_jaxpr_dynamic(wrap_init(lambda x: [x + 1]), [ShapedArray((2,), "float32")])
    >>> types
    [ShapedArray(float32[2])]
    """
    if lower or not all(keep_inputs or ()):
        raise NotImplementedError("trace_to_jaxpr_dynamic: all inputs are kept, and values stay of their types")
    closed = stage(fun.call_wrapped, in_avals)
    if auto_dce:
        return dce(closed.jaxpr)[0], closed.out_avals, closed.consts
    return closed.jaxpr, closed.out_avals, closed.consts


def dce_jaxpr(
    jaxpr: Jaxpr, used_outputs: Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[bool]]:
    """The jaxpr of the used results, with the inputs that it reads, and flags for these.

    Args:
      jaxpr: a jaxpr.
      used_outputs: a flag for each result.
      instantiate: inputs to keep though nothing reads them: all, or a flag for each.

    Raises: ValueError for a wrong number of flags.

    >>> import pullback as pb
    >>> jaxpr = pb.make_jaxpr(lambda x, y: (x + 1, y * 2))(1., 1.).jaxpr
    >>> smaller, read = dce_jaxpr(jaxpr, [True, False])
    >>> len(smaller.invars), read
    (1, [True, False])
    """
    smaller, read = dce(jaxpr, tuple(used_outputs))
    kept = [instantiate] * len(read) if isinstance(instantiate, bool) else list(instantiate)
    used = [r or k for r, k in zip(read, kept, strict=True)]
    invars = [v for v, u in zip(smaller.invars, used, strict=True) if u]
    return Jaxpr(smaller.constvars, invars, smaller.eqns, smaller.outvars), used


def dce_jaxpr_consts(
    jaxpr: Jaxpr, used_outputs: Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[bool], list[bool]]:
    """`dce_jaxpr`, with the constants that are read; the flags of constants and of inputs. ValueError as there.

    >>> import pullback as pb
    >>> jaxpr = pb.make_jaxpr(lambda x, y: (x + 1, y * 2))(1., 1.).jaxpr
    >>> _, consts, read = dce_jaxpr_consts(jaxpr, [True, False])
    >>> consts, read
    ([], [True, False])
    """
    count = len(jaxpr.constvars)
    whole = Jaxpr([], [*jaxpr.constvars, *jaxpr.invars], jaxpr.eqns, jaxpr.outvars)
    flags = [instantiate] * len(jaxpr.invars) if isinstance(instantiate, bool) else list(instantiate)
    smaller, used = dce_jaxpr(whole, used_outputs, [False] * count + flags)
    consts = sum(used[:count])
    new = Jaxpr(smaller.invars[:consts], smaller.invars[consts:], smaller.eqns, smaller.outvars)
    return new, used[:count], used[count:]
