"""Operations that return their operand: `stop_gradient`."""
from __future__ import annotations

from typing import Any

from pullback._core import dtypes
from pullback._core.array import lift
from pullback._core.tree_paths import tree_map
from pullback._ops.families import ANY, unary

stop_gradient_p = unary("stop_gradient", lambda x: x, lambda ctx, x: x, None, ANY)


def stop_gradient(x: Any) -> Any:
    """`x` itself, with derivative zero: a pytree of arrays.

    >>> import pullback as pb
    >>> from pullback import lax
    >>> print(pb.grad(lambda x: x * lax.stop_gradient(x))(3.))
    3.0
    """

    def stop(leaf):
        leaf = lift(leaf)
        return stop_gradient_p.bind(leaf) if dtypes.is_inexact(leaf.aval.dtype) else leaf

    return tree_map(stop, x)
