"""Accumulators: where a backward pass adds up the cotangents of a value.

A backward rule that takes accumulators decides itself what to compute, and adds what it has computed when it has it:
nothing for a `NullAccum`, and into memory of the user's for a `RefAccum`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core import dtypes
from pullback._core.array import ConcreteArray
from pullback._core.cells import check_level, owned_data, read_cell, staging_of
from pullback._core.errors import RuleError, boundary, described
from pullback._core.primitive import HigherOrder
from pullback._core.refs import Ref, make_ref
from pullback._core.trace import Tracer, is_linear
from pullback._core.types import ShapedArray, at_least
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._ops.scattered import Scattered, added, in_place
from pullback._ops.shape import zeros_like_aval
from pullback._ops.tangents import fit_tangent


class _WrongCotangent(RuleError, ValueError):
    """A cotangent of a wrong type: a RuleError, as if a rule had returned it, and a ValueError, as JAX raises it."""


_WrongCotangent.__name__ = "RuleError"


class GradAccum:
    """The sum of the cotangents of one value: `accum(ct)` adds to it. `aval` is the type of the value.

    The kinds are `ValAccum`, which holds the sum, `RefAccum`, which adds it to a Ref, and `NullAccum`, which has no use
    for it.

    >>> import pullback as pb
    >>> isinstance(pb.ad.ValAccum(pb.typeof(1.)), GradAccum)
    True
    """

    __slots__ = ("aval", "where")
    aval: ShapedArray
    where: str | Callable[[], str]

    def __init__(self, aval: ShapedArray, where: str | Callable[[], str] = ""):
        self.aval = aval
        self.where = where

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the cotangents."""
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the cotangents, `float0` where the value has no derivative."""
        return self.aval.to_tangent_aval().dtype

    def add(self, ct: Any) -> None:
        """Add a cotangent without checks: it may also be `Scattered`."""
        raise NotImplementedError

    def taken(self) -> Any:
        """What was added so far, an array or None, for a rule that goes on from it: it must add the result."""
        return None

    @boundary
    def accum(self, ct: AnyValue) -> None:
        """Add a cotangent: an array of the value's shape and dtype. None and symbolic zeros add nothing.

        Raises: an error that is a ValueError and a TypeError for anything else; it names the value and both types.
        """
        if ct is None:
            return
        if not (isinstance(ct, Scattered) and ct.aval is self.aval):
            ct = fit_tangent(ct, self.aval, self._place, _WrongCotangent)
        if type(ct) is not Zero:
            self.add(ct)

    def _place(self) -> str:
        return (self.where() if callable(self.where) else self.where) or "the cotangent given to accum"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.aval.str_short()})"


class ValAccum(GradAccum):
    """An accumulator that holds the sum. `freeze` returns it: an array, or a symbolic zero if nothing was added.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> accum = pb.ad.ValAccum(pb.typeof(pnp.zeros(2)))
    >>> accum.accum(pnp.array([1., 2.]))
    >>> accum.accum(pnp.array([10., 20.]))
    >>> print(accum.freeze())
    [11. 22.]
    """

    __slots__ = ("val", "owned")
    val: Any

    def __init__(self, aval: ShapedArray, val: AnyValue = None, where: str | Callable[[], str] = ""):
        super().__init__(aval, where)
        self.val = None if type(val) is Zero else val
        self.owned: bool = False

    def add(self, ct: Any) -> None:
        """Add a cotangent without checks."""
        self.val, self.owned = added(self.val, ct, self.owned)

    def taken(self) -> Any:
        """The sum so far, or None; it starts anew."""
        val, self.val, self.owned = self.val, None, False
        return val

    def freeze(self) -> Any:
        """The sum. Nothing can be added in place any more: a later `accum` makes a new array."""
        self.owned = False
        return Zero(self.aval.to_tangent_aval()) if self.val is None else self.val


class NullAccum(GradAccum):
    """An accumulator of a cotangent that nobody asks for: what is added to it is lost, and need not be computed.

    >>> import pullback as pb
    >>> pb.ad.NullAccum(pb.typeof(1.)).accum(3.)
    """

    __slots__ = ()

    def add(self, ct: Any) -> None:
        """Do nothing."""

    @boundary
    def accum(self, ct: AnyValue) -> None:
        """Do nothing."""

    def freeze(self) -> Zero:
        """A symbolic zero."""
        return Zero(self.aval.to_tangent_aval())


class Parts(GradAccum):
    """An accumulator of what is added later, elsewhere: at most one array, and scattered parts while they are small."""

    __slots__ = ("total", "scattered")

    def __init__(self, aval: ShapedArray):
        super().__init__(aval)
        self.total: ValAccum = ValAccum(aval)
        self.scattered: list[Scattered] = []

    def add(self, ct: Any) -> None:
        if not isinstance(ct, Scattered) or self.total.val is not None:
            self.total.add(ct)
            return
        self.scattered.append(ct)
        if at_least(sum([x.aval.size for part in self.scattered for x in part.operands]) - self.aval.size, 0):
            for part in self.scattered:
                self.total.add(part)
            self.scattered = []

    def taken(self) -> Any:
        """The array, or None; it starts anew."""
        return self.total.taken()

    def parts(self) -> list[Any]:
        """What is to be added."""
        return [*self.scattered, *([] if self.total.val is None else [self.total.val])]


class RefAccum(GradAccum):
    """An accumulator that adds to a Ref, of the shape and dtype of the value; without `ref`, to a new one.

    >>> import pullback as pb
    >>> accum = pb.ad.RefAccum(pb.typeof(1.), pb.new_ref(100.))
    >>> accum.accum(4.)
    >>> accum.ref
    Ref(104., dtype=float32)
    """

    __slots__ = ("held", "ref")
    ref: Ref

    def __init__(self, aval: ShapedArray, ref: Ref | None = None, where: str | Callable[[], str] = ""):
        super().__init__(aval, where)
        if ref is None:
            ref = make_ref(zeros_like_aval(aval))
        if not isinstance(ref, Ref):
            raise TypeError(f"{self._place()}: expected a Ref, got {described(ref)}")
        if (ref.shape, ref.dtype) != (aval.shape, aval.dtype):
            raise ValueError(
                f"{self._place()}: a Ref of type {ref.aval_of_part.str_short()} cannot take the gradient of a value of "
                f"type {aval.str_short()}: it must have its shape and dtype. Gradients are not converted."
            )
        self.ref = ref
        self.held: Parts | None = None

    def add(self, ct: Any) -> None:
        """Add a cotangent without checks."""
        if self.held is not None:
            self.held.add(ct)
        else:
            _add_to_ref(self.ref, ct)

    def taken(self) -> Any:
        """What is held back, an array or None."""
        return self.held and self.held.taken()

    def hold(self) -> None:
        """Hold back what is added from now on, so that the Ref stays as it is if the backward pass fails."""
        self.held = Parts(self.aval)

    def release(self) -> None:
        """Add to the Ref what was held back."""
        held, self.held = self.held, None
        for part in held.parts() if held is not None else ():
            _add_to_ref(self.ref, part)

    def check(self) -> None:
        """Refuse what was held back if the Ref cannot take it: it belongs to a transformation inside."""
        for part in self.held.parts() if self.held is not None else ():
            for x in part.operands if isinstance(part, Scattered) else (part,):
                if isinstance(x, Tracer):
                    check_level(self.ref.cell, x)

    def freeze(self) -> Any:
        """What the Ref holds."""
        return self.ref[...]


def _add_to_ref(ref: Ref, ct: Any) -> None:
    if not isinstance(ct, Scattered):
        ref.addupdate(ct)
        return
    cell = ref.cell
    here = not ref.path and staging_of(cell, "written to") is None and type(cell.content) is ConcreteArray
    if here and in_place(*ct.operands):
        ct.add_to(owned_data(cell))
    else:
        ref[...] = ct.added_to(ref[...] if ref.path else read_cell(cell, kept=False))


# what values that depend on no input in question add to
NOWHERE = NullAccum(ShapedArray((), dtypes.float0))


def taken_of(accum: GradAccum, aval: ShapedArray) -> Any:
    """What was added to an accumulator so far, if it is an array of just this type, to go on from; else None."""
    before = accum.taken()
    if before is not None and before.aval is not aval:
        accum.add(before)
        return None
    return before


def set_accumulate(p: HigherOrder, rule: Callable[..., None]) -> None:
    """Set the rule of a primitive that adds cotangents to accumulators, and the transpose rule that it implies."""

    def transpose(cts: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
        accums = [ValAccum(x.aval) if is_linear(x) else None for x in operands]
        rule(cts, *operands, accums=accums, **params)
        return [None if accum is None else accum.freeze() for accum in accums]

    p.accumulate = rule
    p.transpose = transpose


__all__ = ["GradAccum", "NOWHERE", "NullAccum", "Parts", "RefAccum", "ValAccum", "set_accumulate", "taken_of"]
