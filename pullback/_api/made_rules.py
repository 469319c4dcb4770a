"""Rules made of other functions of the user's: one rule from one per argument, a bwd rule that logs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.errors import describe_function, wrapping
from pullback._core.tree import tree_flatten
from pullback._core.tree_paths import tree_text
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._higher_order.custom.checks import check_call, check_pair
from pullback._higher_order.custom.logs import log_all
from pullback._ops.own_types import sum_of_tangents
from pullback._ops.shape import zeros_like_aval


def sum_of_jvps(decorated: AnyValue, jvps: Sequence[Any], covered: Sequence[int]) -> Callable[..., Any]:
    """The jvp rule of a decorated function that adds the results of a rule for each covered argument."""

    def ask(i, args, keywords):
        try:
            return jvps[i](*args, **keywords)
        except TypeError as error:
            check_call(
                lambda: f"rule {i}, {describe_function(jvps[i])}, of {decorated._label()}, set by defjvps,",
                jvps[i],
                "tangent, primal_out, *primals",
                len(args),
                keywords,
                error,
            )
            raise

    def sum_of_jvps(primals, tangents, **keywords):
        if len(jvps) != len(primals):
            raise TypeError(
                f"{decorated._label()}: defjvps was given {len(jvps)} rules for {len(primals)} arguments. "
                "Give one for each, None where the tangent vanishes."
            )
        out = decorated(*primals, **keywords)
        parts = [
            ask(i, (t, out, *primals), keywords) for i, t in zip(covered, tangents, strict=True) if jvps[i] is not None
        ]
        leaves, tree = tree_flatten(out)
        total: Any = [Zero(lift(x).aval.to_tangent_aval()) for x in leaves] if not parts else None
        for part in parts:
            part_leaves, part_tree = tree_flatten(part)
            if part_tree != tree:
                raise TypeError(
                    f"{decorated._label()}: a rule given to defjvps returned {tree_text(part_tree)}, "
                    f"expected the structure of the function's result, {tree_text(tree)}"
                )
            total = (
                part_leaves
                if total is None
                else [sum_of_tangents(a, b) for a, b in zip(total, part_leaves, strict=True)]
            )
        return out, tree.unflatten([zeros_like_aval(t.aval) if type(t) is Zero else t for t in total])

    return wrapping(decorated.fun)(sum_of_jvps)


def logging(decorated: AnyValue, bwd: Callable[..., Any]) -> Callable[..., Any]:
    """The bwd rule that logs what `bwd` returns beside the cotangents."""

    def label():
        return f"the bwd rule {describe_function(bwd)} of {decorated._label()}, set by defvjp_with_logs,"

    @functools.wraps(bwd)
    def logging(*args, **keywords):
        try:
            result = bwd(*args, **keywords)
        except TypeError as error:
            check_call(label, bwd, "residuals, cotangent", len(args), keywords, error)
            raise
        cotangents, logs = check_pair(label, result, "(cotangents, logs)")
        log_all(logs, label)
        return cotangents

    return logging
