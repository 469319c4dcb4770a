"""`tap` and `tapped`: observe or change values inside a function, without changing any signature."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from pullback._core import dtypes
from pullback._core.arguments import check_callable
from pullback._core.config import config
from pullback._core.errors import RuleError, boundary, describe_function, described, fold, wrapping
from pullback._core.option_contexts import collecting_taps
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import lift_tree, path_of
from pullback._higher_order.custom.call import DerivedCall, closing_over
from pullback._higher_order.custom.captures import closed_over
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._ops.shape import instantiate
from pullback._ops.tangents import fit_tangent
from pullback._transforms.harvest import COTANGENT, LOG, VALUE, Site, TapValues, harvest_flat, tap_p


@boundary
def tap(x: PyTree, name: str | None = None, *, bwd: Callable[[Any], Any] | None = None) -> Any:
    """`x` itself, as a named value that `tapped` records, or whose cotangent `bwd` changes.

    Args:
      x: a pytree of arrays. Use the returned value from here on: values computed from `x` itself bypass the tap.
      name: the name under which `tapped` shows the value and the cotangent. Outside `tapped` the tap leaves no
        operation in a jaxpr.
      bwd: a function that reverse mode always applies to the cotangent of `x`, under `tapped` or not: it takes and
        returns a pytree like `x`, with None for integers. A named tap records the result of `bwd`. Forward mode ignores
        it.

    Raises: TypeError if `x` has a leaf that is not an array; RuleError in reverse mode, if `bwd` does not return a
      cotangent of `x`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.debug import tap
    >>> print(pb.grad(lambda x: 10. * tap(x, bwd=lambda ct: pnp.clip(ct, -1., 1.)))(3.))
    1.0
    """
    if name is None and bwd is None:
        raise TypeError("tap: give it a name for `tapped` to show, or a function bwd that changes the cotangent")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"tap: the name must be a string, got {described(name)}")
    if bwd is not None:
        check_callable("tap", bwd)
    elif not config.collecting_taps:
        return x
    leaves, tree = lift_tree("tap", "x", x)
    if name is not None and config.collecting_taps and leaves:
        leaves = tap_p.bind(*leaves, site=Site(name, tree, tuple(range(len(leaves)))), kind=VALUE)
    if bwd is not None:
        where = [i for i, leaf in enumerate(leaves) if dtypes.is_inexact(leaf.aval.dtype)]
        tracers = closed_over([bwd])
        call = closing_over(_with_backward(bwd, tree, where), tracers)
        outs = custom_call_p.bind(*tracers, *(leaves[i] for i in where), call=call) if where else []
        for i, out in zip(where, outs, strict=True):
            leaves[i] = out
    return tree_unflatten(tree, leaves)


def _with_backward(bwd: Callable, tree: PyTreeDef, where: list[int]) -> DerivedCall:
    """The identity on the floating-point leaves of a pytree, whose cotangents pass through `bwd`."""

    def label() -> str:
        return f"tap: the function bwd, {describe_function(bwd)},"

    def backward(static, residuals, cts):
        given = _at_positions(tree, where, map(instantiate, cts))
        result, got = tree_flatten(bwd(given))
        expected = tree_flatten(given)[1]
        if got != expected:
            raise RuleError(f"{label()} must return a cotangent with the structure {expected}, got {got}")

        def place(i: int) -> str:
            path = path_of(tree, where[i])
            return f"{label()} cotangent{' at ' + path if path else ''}"

        return [
            fit_tangent(new, old.aval, functools.partial(place, i))
            for i, (new, old) in enumerate(zip(result, cts, strict=True))
        ]

    return DerivedCall(
        lambda *xs: list(xs),
        "tap",
        "a tap",
        jvp=lambda primals, tangents: (primals, tangents),
        fwd=lambda primals, active: (primals, [], None),
        bwd=backward,
    )


def _at_positions(tree: PyTreeDef, where: Any, leaves: PyTree) -> Any:
    """A pytree with the given leaves at some positions, and None at the others."""
    full: list[Any] = [None] * tree.num_leaves
    for i, leaf in zip(where, leaves, strict=True):
        full[i] = leaf
    return tree_unflatten(tree, full)


class Taps(NamedTuple):
    """The values recorded by taps, by name. A tap that was executed several times has a list, in forward-pass order.

    >>> import pullback as pb
    >>> from pullback.debug import tap, tapped
    >>> _, taps = tapped(pb.grad(lambda x: 5. * tap(x * x, "y")))(3.)
    >>> print(taps.values["y"], taps.cotangents["y"])
    9.0 5.0
    """

    values: dict[str, Any]
    cotangents: dict[str, Any]


@boundary
def tapped(fun: Callable) -> Callable:
    """A function that returns the result of `fun`, and the values that its taps recorded.

    `fun` may be, or contain, any transformation: `tapped(grad(loss))` shows the cotangents that `grad` computes. Inside
    a `scan` (or a `fori_loop` with constant bounds) the values of a tap are stacked, a row for each step, in the order
    of `xs`; in nested loops, once for each loop. Under a `vmap` they have a batch axis, after the axes of loops. In a
    branch of a `cond` that is not taken, a tap records zeros. Taps are collected by the innermost `tapped` around them.

    Returns: a function with the arguments of `fun` that returns `(result, taps)`, where `taps.values` and
      `taps.cotangents` are dicts from the names to pytrees like the tap's argument, with None in the place of leaves
      without derivative. There is no cotangent if nothing is differentiated, or none reaches the tap.
    Raises: NotImplementedError naming a tap inside a `while_loop`, whose number of steps is not known.

    >>> import pullback as pb
    >>> from pullback.debug import tap, tapped
    >>> def loss(x):
    ...     y = tap(x * x, "y")
    ...     return 5. * y
    >>> gradient, taps = tapped(pb.grad(loss))(3.)
    >>> print(gradient, taps.values["y"], taps.cotangents["y"])
    30.0 9.0 5.0
    """
    check_callable("tapped", fun)

    @wrapping(fun)
    def collected(*args, **kwargs):
        try:
            result, found = collect(functools.partial(fun, **kwargs), *args, kinds=(VALUE, COTANGENT))
            return result, _by_name(found)
        except Exception as error:
            fold(error)
            raise

    return collected


def collect(fun: Callable, *args: PyTree, kinds: tuple[str, ...]) -> tuple[Any, list[TapValues]]:
    """The result of a function, and the values at taps of the given kinds inside it, in order."""
    with collecting_taps():
        return harvest_flat(fun, *args, kinds=kinds)


def collected_logs(fun: Callable, *args: PyTree) -> tuple[Any, list[tuple[str, Any]]]:
    """The result of a function, and the names and values that it logs, in order."""
    result, found = collect(fun, *args, kinds=(LOG,))
    return result, [(site.name, _at_positions(site.tree, site.leaves, leaves)) for site, _, leaves in found]


def _by_name(found: list[TapValues]) -> Taps:
    values: dict[str, list] = {}
    cotangents: dict[str, list] = {}
    for site, kind, leaves in found:
        seen = values if kind == VALUE else cotangents
        seen.setdefault(site.name, []).append(_at_positions(site.tree, site.leaves, leaves))
    for several in cotangents.values():
        several.reverse()  # the backward pass reaches the last first
    return Taps(
        *(
            {name: several[0] if len(several) == 1 else several for name, several in seen.items()}
            for seen in (values, cotangents)
        )
    )


__all__ = ["Taps", "tap", "tapped"]
