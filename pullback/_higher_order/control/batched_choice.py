"""Choices that every example of a batch makes for itself: all ways are gone for all examples, and results selected.

A way that an example did not choose may have no derivative there (the square root of a negative number), and nan times
zero is nan. So nothing comes back from it: what belongs to an example has a derivative only in its own way, and where
examples share a value, which adds up what all of them make of it, examples that went another way are replaced by one
that went this way.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ConcreteArray
from pullback._core.jaxpr import Jaxpr
from pullback._core.trace import is_linear
from pullback._ops.compare import select
from pullback._ops.dynamic_slicing import dynamic_index_in_dim
from pullback._ops.identity import only_where, stop_gradient_p
from pullback._ops.reduce import argmax, reduce_or
from pullback._ops.shape import expand_dims
from pullback._transforms.vmap import axis_names


def spread(flags: Any, x: Any) -> Any:
    """Flags of examples, in the shape that selects among values with as many axes as `x`."""
    return expand_dims(flags, tuple(range(1, x.aval.ndim)))


def guards(trace: Any, jaxpr: Jaxpr, batched: Sequence[bool]) -> tuple[bool, ...]:
    """Which operands of a function may be replaced by another example's: those with a batch axis.

    None of them if the function works along that axis, as `psum` does: then the values of all examples count.
    """
    return tuple(batched) if trace.axis_name not in axis_names(jaxpr) else (False,) * len(batched)


def stand_in(flags: Any, values: Sequence[Any], guarded: Sequence[bool]) -> list[Any]:
    """The values, where the flag is not set, if they are `guarded`, in copies of the first example whose flag is."""
    return _replaced(flags, values, guarded, lambda row: row)


def _replaced(flags: Any, values: Sequence[Any], guarded: Sequence[bool], row: Callable[[Any], Any]) -> list[Any]:
    if flags.aval.shape[0] == 0:
        return list(values)
    first = argmax(flags, 0, np.int32)
    return [select(spread(flags, x), x, row(dynamic_index_in_dim(x, first, 0))) if g else x
            for x, g in zip(values, guarded, strict=True)]


def chosen_only(trace: Any, flags: Any, jaxpr: Jaxpr, values: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    """The operands for a way that the examples whose flag is set have chosen; the others get no derivative out of it.

    `batched` says which have a batch axis, in front.
    """
    shared = [not b and type(x) is not ConcreteArray and (dtypes.is_inexact(x.aval.dtype) or is_linear(x))
              for x, b in zip(values, batched, strict=True)]
    owned = [only_where(spread(flags, x), x) if b else x for x, b in zip(values, batched, strict=True)]
    if not any(shared) or flags.aval.shape[0] == 0:
        return owned
    replaced = [g and not is_linear(x) and dtypes.is_inexact(x.aval.dtype)
                for x, g in zip(values, guards(trace, jaxpr, batched), strict=True)]
    owned = _replaced(flags, owned, replaced, _constant)
    anyone = reduce_or(flags, (0,))
    return [only_where(anyone, x) if s else x for x, s in zip(owned, shared, strict=True)]


def _constant(x: Any) -> Any:
    return x if type(x) is ConcreteArray else stop_gradient_p.bind(x)


__all__ = ["chosen_only", "guards", "spread", "stand_in"]
