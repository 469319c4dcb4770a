"""Values of types of one's own: sums of tangents, and operations along an axis of their parts.

Parts are arrays: what is done to a value's axes or entries is done to its parts. A value with a batch axis, or one over
which a loop goes, has that axis in front in every part: this is the axis of the type's `leading_axis_spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.arguments import aval_of
from pullback._core.array import lift
from pullback._core.config import config
from pullback._core.dtypes import is_inexact
from pullback._core.hitypes import (
    HiType,
    add_values_p,
    detach_value_p,
    lower_value_p,
    part_types,
    raise_value_p,
)
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, make_aval, matches
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import concatenate
from pullback._ops.compare import select
from pullback._ops.elementwise import add
from pullback._ops.scattered import adding
from pullback._ops.shape import expand_dims, full, instantiate, reduce_sum, zeros_like_aval
from pullback._ops.slicing import index_in_dim

by_parts_p = Primitive("by_parts")
by_parts_p.has(own_types=True)


def by_parts(fun: Callable[..., Any], ty: HiType, *values: AnyValue, shared: Sequence[Any] = ()) -> Any:
    """The value of the type `ty` whose parts are `fun(*shared, *parts)` of the parts of other values in the same place.

    `fun` rearranges entries along leading axes, and does the same to tangents.
    """
    return by_parts_p.bind(*shared, *values, fun=fun, ty=ty, count=len(shared))


def with_leading_axis(ty: HiType, size: int) -> Any:
    """The type of `size` values, with the axis in front in each part."""
    stacked = ty.inc_rank(size, ty.leading_axis_spec())
    _check_axis(ty, stacked, size, f"inc_rank({size}, {ty.leading_axis_spec()!r}) of")
    return stacked


def without_leading_axis(ty: HiType) -> Any:
    """The type of an entry of a value along the leading axis of its parts."""
    size = leading_length(ty)
    if size is None:
        raise ValueError(
            f"values of the type {ty.str_short()} have no axis to map or to loop over: the parts, {_texts(ty)}, must "
            "have a leading axis of one length each"
        )
    spec = ty.leading_axis_spec()
    entry = ty.dec_rank(size, spec)
    _check_axis(entry, ty, size, f"dec_rank({size}, {spec!r}) of {ty.str_short()} gave")
    return entry


def leading_length(ty: Any) -> int | None:
    """The length of the leading axis of an array, or of all parts; None if there is none."""
    if type(ty) is ShapedArray:
        return ty.shape[0] if ty.shape else None
    lengths = {aval.shape[:1] for aval in part_types(ty)}
    return lengths.pop()[0] if len(lengths) == 1 and () not in lengths else None


def _check_axis(entry: Any, stacked: Any, size: int, what: str) -> None:
    for ty in (entry, stacked):
        if not isinstance(ty, HiType):
            raise TypeError(f"{what}: expected a type of one's own, got {ty!r}")
    expected = [make_aval((size, *aval.shape), aval.dtype) for aval in part_types(entry)]
    got = part_types(stacked)
    if len(expected) != len(got) or not all(map(matches, expected, got)):
        raise TypeError(
            f"{what} {entry.str_short()}: its parts are {_texts(entry)}, so those of {stacked.str_short()} must have "
            f"an axis of length {size} in front of these, but lo_ty says {_texts(stacked)}"
        )


def _texts(ty: HiType) -> str:
    return ", ".join(aval.str_short() for aval in part_types(ty))


def entry(x: Any, i: int, axis: int = 0) -> Any:
    """One entry along an axis, of a value of a type of one's own along the leading one."""
    if type(x.aval) is ShapedArray:
        return index_in_dim(x, i, axis, keepdims=False)
    return by_parts(lambda part: entry(part, i), without_leading_axis(x.aval), x)


def stack_entries(rows: Sequence[Any], aval: Any) -> Any:
    """Values of one type along a new leading axis; `aval` is their type."""
    if type(aval) is not ShapedArray:
        ty = with_leading_axis(aval, len(rows))
        if not rows:
            return placeholder(ty)
        return by_parts(lambda *parts: stack_entries(parts, parts[0].aval), ty, *rows)
    if not rows:
        return zeros_like_aval(make_aval((0, *aval.shape), aval.dtype, aval.weak_type))
    return concatenate([expand_dims(row, (0,)) for row in rows], 0)


def sum_of_entries(x: Any) -> Any:
    """The sum over the leading axis, of tangents."""
    if type(x.aval) is ShapedArray:
        return reduce_sum(x, (0,))
    total = None
    for i in range(leading_length(x.aval) or 0):
        total = entry(x, i) if total is None else add_values_p.bind(total, entry(x, i))
    return instantiate(Zero(without_leading_axis(x.aval))) if total is None else total


def chosen_entries(flags: Any, x: Any, y: Any) -> Any:
    """The entries of `x` where the flags are set, elsewhere those of `y`; flags are those of the leading axis."""
    if type(x.aval) is ShapedArray:
        return select(expand_dims(flags, tuple(range(1, x.aval.ndim))), x, y)
    return by_parts(chosen_entries, x.aval, x, y, shared=[flags])


def chosen_value(flag: Any, x: Any, y: Any) -> Any:
    """`x` if the flag is set, else `y`."""
    if type(x.aval) is ShapedArray:
        return select(flag, x, y)
    return by_parts(chosen_value, x.aval, x, y, shared=[flag])


def default_value(aval: Any) -> Any:
    """The zero of a type; some value of one that has none."""
    no_zero = type(aval) is not ShapedArray and type(aval).vspace_zero is HiType.vspace_zero
    return placeholder(aval) if no_zero else zeros_like_aval(aval)


def sum_of_tangents(x: Any, y: Any) -> Any:
    """The sum of two tangents, arrays or numbers with promotion."""
    return add(x, y) if type(aval_of(x)) is ShapedArray else add_values_p.bind(lift(x), lift(y))


def undefined_value(aval: HiType) -> Any:
    """Some value of a type, of which nothing must depend: its parts are nan, unless these are searched for."""
    fill = 0 if config.debug_nans else np.nan
    parts = [full(p.shape, fill if is_inexact(p.dtype) else 0, p.dtype) for p in part_types(aval)]
    return raise_value_p.bind(*parts, ty=aval)


def placeholder(aval: Any) -> Any:
    """Some value of a type, where its result is not used."""
    if type(aval) is ShapedArray:
        return zeros_like_aval(aval)
    return raise_value_p.bind(*map(zeros_like_aval, part_types(aval)), ty=aval)


# --- the rules of the primitives that have derivatives ---


def _add_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    given = [t for t in tangents if type(t) is not Zero]
    dot = given[0] if len(given) == 1 else adding(given[0].aval).bind(*given)
    return add_values_p.bind(*primals), dot


add_values_p.jvp = _add_jvp


def stop_gradient(x: Any) -> Any:
    """A value of a type of one's own, with derivative zero."""
    return detach_value_p.bind(x)


def _by_parts(*operands: Any, fun: Callable[..., Any], ty: HiType, count: int) -> Any:
    columns = zip(*(lower_value_p.bind(x) for x in operands[count:]), strict=True)
    return raise_value_p.bind(*[fun(*operands[:count], *column) for column in columns], ty=ty)


def _by_parts_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    out, fun, n = by_parts_p.bind(*primals, **params), params["fun"], params["count"]
    zero = zero_of(out.aval)
    if all(type(t) is Zero for t in tangents[n:]):
        return out, zero
    dots = [instantiate(t) for t in tangents[n:]]
    if type(zero.aval) is not ShapedArray:
        return out, by_parts_p.bind(*primals[:n], *dots, **{**params, "ty": zero.aval})
    dot = fun(*primals[:n], *dots)
    if not matches(zero.aval, dot.aval):
        raise TypeError(
            f"the tangents at {out.aval.str_short()} are of type {zero.aval.str_short()} by to_tangent_aval, but those "
            f"at its entries make one of type {dot.aval.str_short()}: the axes in front must be the same"
        )
    return out, dot


by_parts_p.abstract_eval = lambda *avals, fun, ty, count: ty
by_parts_p.evaluate = _by_parts
by_parts_p.jvp = _by_parts_jvp
