"""Branches chosen by each example of a batch: every branch runs for all examples, and the results are selected.

A branch that an example did not choose may have no derivative there (the square root of a negative number), and nan
times zero is nan. So no derivative may come back from it: a batched operand has a derivative only in its own branch.
For an operand that the examples share, whose derivative sums over all of them, the examples that chose another branch
are replaced by one that chose this branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ConcreteArray
from pullback._core.jaxpr import Jaxpr
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray, is_differentiable
from pullback._core.typing import AnyValue, PyTree
from pullback._ops.arg_extremes import argmax
from pullback._ops.compare import select
from pullback._ops.dynamic_slicing import dynamic_index_in_dim
from pullback._ops.identity import only_where, stop_gradient_p
from pullback._ops.reduce import reduce_or
from pullback._ops.shape import expand_dims
from pullback._transforms.vmap import BatchTrace, axis_names


def broadcast_flags(flags: AnyValue, x: PyTree) -> Any:
    """The flags of examples, in a shape that broadcasts against `x`."""
    return expand_dims(flags, tuple(range(1, x.aval.ndim)))


def replaceable_by_chosen(trace: BatchTrace, jaxpr: Jaxpr, batched: Sequence[bool]) -> tuple[bool, ...]:
    """Flags for the operands of a function that may be replaced by another example's: those with a batch axis.

    All False if the function works along that axis, as `psum` does: then the values of all examples matter.
    """
    return tuple(batched) if trace.axis_name not in axis_names(jaxpr) else (False,) * len(batched)


def replaced_by_chosen(flags: AnyValue, values: Sequence[Any], replaceable: Sequence[bool]) -> list[Any]:
    """Replace the `replaceable` values of examples whose flag is unset by those of the first with a set flag."""
    return _select_rows(flags, values, replaceable, lambda row: row)


def _select_rows(
    flags: AnyValue, values: Sequence[Any], replaceable: Sequence[bool], row: Callable[[Any], Any]
) -> list[Any]:
    if flags.aval.shape[0] == 0:
        return list(values)
    first = argmax(flags, 0, np.int32)
    return [
        select(broadcast_flags(flags, x), x, row(dynamic_index_in_dim(x, first, 0)))
        if g and type(x.aval) is ShapedArray
        else x
        for x, g in zip(values, replaceable, strict=True)
    ]


def chosen_operands(
    trace: BatchTrace, flags: AnyValue, jaxpr: Jaxpr, values: Sequence[Any], batched: Sequence[bool]
) -> list[Any]:
    """The operands for a branch, restricted so that only the examples whose flag is set get a derivative from it.

    `batched` flags the operands with a (leading) batch axis.
    """
    shared = [
        not b and type(x) is not ConcreteArray and (is_differentiable(x.aval) or is_linear(x))
        for x, b in zip(values, batched, strict=True)
    ]
    owned = [
        only_where(broadcast_flags(flags, x), x) if b and type(x.aval) is ShapedArray else x
        for x, b in zip(values, batched, strict=True)
    ]
    if not any(shared) or flags.aval.shape[0] == 0:
        return owned
    replaced = [
        g and not is_linear(x) and type(x.aval) is ShapedArray and dtypes.is_inexact(x.aval.dtype)
        for x, g in zip(values, replaceable_by_chosen(trace, jaxpr, batched), strict=True)
    ]
    owned = _select_rows(flags, owned, replaced, _constant)
    any_chosen = reduce_or(flags, (0,))
    return [
        only_where(any_chosen, x) if s and type(x.aval) is ShapedArray else x
        for x, s in zip(owned, shared, strict=True)
    ]


def _constant(x: AnyValue) -> Any:
    return x if type(x) is ConcreteArray else stop_gradient_p.bind(x)


__all__ = ["chosen_operands", "replaceable_by_chosen", "broadcast_flags", "replaced_by_chosen"]
