"""Functions that an algorithm uses at several places, and that are compiled once: their calls stay calls.

For the compiler, a function is its text at every place. A call costs it nothing when it runs, but that it is not fused
with what is around: a function should do more than a few operations on elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import Array
from pullback._core.jaxpr import eval_jaxpr
from pullback._core.primitive import HigherOrder
from pullback._core.staging import stage_open
from pullback._core.types import ShapedArray
from pullback._higher_order.call import called, check_operands
from pullback._higher_order.call_rules import give_call_rules

apart_p = HigherOrder(
    "apart", lambda params: [called(params["jaxpr"])], lambda params, jaxprs, kept: {**params, "jaxpr": jaxprs[0]}
)


def apart(fun: Callable[..., Sequence[Any]], avals: Sequence[ShapedArray], name: str) -> Callable[..., list[Array]]:
    """A flat function on arrays of these types, traced now; what it closes over becomes operands of every call."""
    jaxpr, consts = stage_open(fun, avals, name)
    return lambda *args: apart_p.bind(*consts, *args, jaxpr=jaxpr, name=name)


def _type(*avals, jaxpr, name):
    check_operands(name, jaxpr, avals)
    return jaxpr.out_avals


apart_p.evaluate = lambda *args, jaxpr, name: eval_jaxpr(jaxpr, [], *args)
apart_p.abstract_eval = _type
apart_p.lower = lambda ctx, *operands, jaxpr, name: ctx.call(jaxpr, operands, name, apart=True)
give_call_rules(apart_p)

__all__ = ["apart", "apart_p"]
