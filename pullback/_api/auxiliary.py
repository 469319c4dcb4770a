"""The auxiliary result of a differentiated function: what it returns beside its value, without derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._core.errors import function_name, kind_of
from pullback._core.refs import Ref
from pullback._core.trace import Tracer, context
from pullback._core.tree import tree_flatten
from pullback._core.typing import AnyValue, PyTree


def split_aux(function: str, fun: Callable, result: PyTree) -> tuple[Any, Any]:
    """The value and the auxiliary result that a function with `has_aux` returned."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        length = f" of length {len(result)}" if isinstance(result, (tuple, list)) else ""
        raise TypeError(
            f"{function} with has_aux=True: {function_name(fun)} must return a pair (result, auxiliary), "
            f"got {kind_of(result)}{length}"
        )
    return result[0], result[1]


def strip_aux(aux: PyTree) -> Any:
    """The auxiliary result with the tracers of the transformation that just ended replaced by their primals."""
    leaves, tree = tree_flatten(aux)
    return tree.unflatten([_primal(x) for x in leaves])


def _primal(x: AnyValue) -> Any:
    if isinstance(x, Ref):
        if not x.cell.owner.alive:
            x.cell.content, x.cell.owner = _primal(x.cell.content), context.trace
        return x
    while isinstance(x, Tracer) and not x._trace.alive and hasattr(x, "_primal"):
        x = x._primal
    return x


__all__ = ["split_aux", "strip_aux"]
