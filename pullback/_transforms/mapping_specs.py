"""Values of types of one's own as arguments and results of `vmap`: how a `MappingSpec` places the axis in their parts.

Inside, the axis is in front in every part. That is where the `leading_axis_spec` of a type puts it; for another spec
the types tell where it is: the parts of the whole value and those of one example differ by the axis, or do not differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.hitypes import HiType, MappingSpec, part_types
from pullback._core.types import ShapedArray
from pullback._ops.own_types import by_parts, leading_length, with_leading_axis
from pullback._ops.shape import move_axis
from pullback._transforms.vmap import repeated, without_leading


def check_spec(axis: Any, x: Any, where: Callable[[], str]) -> Any:
    """Refuse an axis of a value that is no `MappingSpec`, and a `MappingSpec` for an array."""
    if type(x.aval) is ShapedArray:
        raise ValueError(f"{where()} is an array: its in_axes must be an int or None, got {axis!r}")
    if not isinstance(axis, MappingSpec):
        raise ValueError(
            f"{where()} is of type {x.aval.str_short()}: its in_axes must be a MappingSpec, such as "
            f"{x.aval.leading_axis_spec()!r}, or None to share it, and axis_size must be passed; got {axis!r}"
        )
    return axis


def with_axes_in_front(
    xs: Sequence[Any], dims: Sequence[Any], size: int, where: Callable[[int], str]
) -> tuple[list[Any], list[int | None]]:
    """Arguments with those of own types in the form with the axis in front, and the dims of all."""
    out, places = [], []
    for i, (x, dim) in enumerate(zip(xs, dims, strict=True)):
        if isinstance(dim, MappingSpec):
            x, dim = _in_front(x, dim, size, where(i)), 0
        out.append(x)
        places.append(dim)
    return out, places


def _in_front(x: Any, spec: MappingSpec, size: int, where: str) -> Any:
    ty = x.aval
    if spec == ty.leading_axis_spec():
        if leading_length(ty) != size:
            raise ValueError(
                f"{where} is of type {ty.str_short()}, whose parts have no leading axis of length {size}, which is "
                "axis_size"
            )
        without_leading(ty)
        return x
    example = ty.dec_rank(size, spec)
    axes = _axes(example, ty, size, f"{where}, along {spec!r}")
    columns = iter(axes)

    def front(part: Any) -> Any:
        axis = next(columns)
        return repeated(part, size) if axis is None else move_axis(part, axis, 0)

    return by_parts(front, with_leading_axis(example, size), x)


def with_axis_at(x: Any, spec: Any, where: str) -> Any:
    """A result, whose axis is in front, in the form that `spec` asks for."""
    ty: Any = x.aval
    if type(ty) is ShapedArray:
        raise ValueError(f"{where} of the result is an array: out_axes must be an int or None there, got {spec!r}")
    if not isinstance(spec, MappingSpec):
        raise ValueError(
            f"{where} of the result is of type {ty.str_short()}: out_axes must be a MappingSpec there, such as "
            f"{ty.leading_axis_spec()!r}, got {spec!r}"
        )
    if spec == ty.leading_axis_spec():
        return x
    size = leading_length(ty) or 0
    example = without_leading(ty)
    whole = example.inc_rank(size, spec)
    axes = _axes(example, whole, size, f"{where} of the result, along {spec!r}")
    if None in axes:
        raise ValueError(
            f"{where} of the result: along {spec!r} a part is shared by the examples, but each example has its own"
        )
    columns = iter(axes)
    return by_parts(lambda part: move_axis(part, 0, next(columns) or 0), whole, x)


def _axes(example: Any, whole: Any, size: int, where: str) -> list[int | None]:
    """The axis of each part of a whole value that its examples do not have; None where there is none."""
    axes: list[int | None] = []
    for ty in (example, whole):
        if not isinstance(ty, HiType):
            raise TypeError(f"{where}: dec_rank and inc_rank must return types of one's own, got {ty!r}")
    inner, outer = part_types(example), part_types(whole)
    for a, b in zip(inner, outer, strict=False):
        found = [i for i in range(b.ndim) if b.shape[i] == size and b.shape[:i] + b.shape[i + 1 :] == a.shape]
        if a.dtype != b.dtype or len(inner) != len(outer) or not (found or a.shape == b.shape):
            raise ValueError(
                f"{where}: a value of type {whole.str_short()} has parts {_texts(outer)}; {size} examples of type "
                f"{example.str_short()} have parts {_texts(inner)} each, which is no axis of length {size}"
            )
        if len(found) > 1:
            raise ValueError(
                f"{where}: the axis may be any of {found} of a part of type {b.str_short()}. Let the "
                "leading_axis_spec of the type be the spec, with the axis in front."
            )
        axes.append(found[0] if found else None)
    return axes


def _texts(types: Sequence[ShapedArray]) -> str:
    return ", ".join(aval.str_short() for aval in types)
