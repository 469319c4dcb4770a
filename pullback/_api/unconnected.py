"""The gradient at a leaf on which the result does not depend: zeros, None, or an error that names the leaf.

Dependence is structural: without it, no cotangent reaches the leaf. A derivative that merely vanishes at the point is
a dependence, and so is `x * 0`; a path through `stop_gradient`, or an argument for which a rule returns None, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._api.users_tangents import float0_zeros, of_weakness
from pullback._core.arguments import argument_path
from pullback._core.errors import function_name
from pullback._core.tree_paths import tree_flatten_with_path
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._transforms.linearize import Linearized
from pullback._transforms.transpose import pull

CHOICES = ("zero", "none", "error")


def check_unconnected(function: str, unconnected: AnyValue) -> None:
    """Refuse an invalid choice."""
    if unconnected not in CHOICES:
        raise ValueError(f"{function}: unconnected must be one of {', '.join(map(repr, CHOICES))}, got {unconnected!r}")


def pull_connected(
    function: str,
    fun: Callable,
    linear: Linearized,
    ct: AnyValue,
    avals: Sequence[ShapedArray],
    dynamic: Sequence[Any],
    positions: Sequence[int],
    unconnected: str,
) -> list[Any]:
    """The gradient's leaves, with None, or an error, for those that no cotangent reaches.

    Integers, which never have a derivative, keep their zeros of dtype `float0`.
    """
    grads = pull(linear, [ct], once=True)
    refuse_unconnected(function, fun, [type(g) is Zero for g in grads], dynamic, positions, unconnected)
    return [
        float0_zeros(aval) if g is None else None if type(g) is Zero else of_weakness(g, aval)
        for g, aval in zip(grads, avals, strict=True)
    ]


def refuse_unconnected(
    function: str,
    fun: Callable,
    missing: Sequence[bool],
    dynamic: Sequence[Any],
    positions: Sequence[int],
    unconnected: str,
) -> None:
    """With "error", raise an error naming the first leaf of the arguments that no cotangent reaches."""
    if unconnected != "error" or not any(missing):
        return
    path = tree_flatten_with_path(tuple(dynamic))[0][list(missing).index(True)][0]
    where = argument_path(fun, positions[path[0].idx], path[1:])
    raise ValueError(
        f"{function} of {function_name(fun)} with unconnected='error': the result does not depend "
        f"on {where}. Leave it out of what is differentiated, look for an unused parameter or a "
        "stop_gradient, or pass unconnected='zero' or 'none'."
    )
