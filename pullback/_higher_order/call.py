"""`jit` as a primitive: a call of a traced function, kept as one equation and compiled as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.array import ConcreteArray
from pullback._core.config import config
from pullback._core.jaxpr import ClosedJaxpr, HeldJaxpr, Jaxpr, consts_to_args, eval_jaxpr
from pullback._core.primitive import HigherOrder
from pullback._core.types import ShapedArray, matches
from pullback._higher_order.call_rules import give_call_rules
from pullback._transforms.lower_types import lower_types
from pullback._xla.executable import executable_of, install_type_lowering
from pullback._xla.placed_programs import run_where_they_are, runs_elsewhere


def called(jaxpr: Jaxpr, leading: int = 0) -> HeldJaxpr:
    """A jaxpr that a primitive calls with its operands, except the `leading` ones."""
    return HeldJaxpr(jaxpr, range(leading, leading + len(jaxpr.invars)))


def _body(params: dict[str, Any]) -> list[HeldJaxpr]:
    # a closed jaxpr, which `_with_constants` takes apart, has no references left
    return [] if type(params["jaxpr"]) is ClosedJaxpr else [called(params["jaxpr"])]


jit_p = HigherOrder("jit", _body, lambda params, jaxprs, kept: {**params, "jaxpr": jaxprs[0]})


def call(jaxpr: Jaxpr, args: Sequence[Any], name: str, inline: bool = False) -> list[Any]:
    """Call a traced function (without constants) under the current transformation."""
    return jit_p.bind(*args, name=name, jaxpr=jaxpr, inline=inline)


def check_operands(what: str, jaxpr: Jaxpr, avals: Sequence[ShapedArray]) -> None:
    """Refuse operands whose types differ from those that a nested jaxpr was traced with."""
    expected = jaxpr.in_avals
    if len(expected) != len(avals) or not all(map(matches, expected, avals)):
        raise TypeError(f"{what}: expected operands {expected}, got {list(avals)}")


def _with_constants(args: Any, params: dict[str, Any]) -> Any:
    """A call of a closed jaxpr, as programs make it that interpret jaxprs themselves: its constants are operands."""
    closed = params["jaxpr"]
    if type(closed) is not ClosedJaxpr:
        return None
    return jit_p.bind(*closed.consts, *args, **{**params, "jaxpr": consts_to_args(closed.jaxpr)})


def _evaluate(*args: ConcreteArray, jaxpr, name, inline):
    if config.debugging:
        return eval_jaxpr(jaxpr, [], *args)
    if runs_elsewhere(jaxpr, args):
        return run_where_they_are(f"jit of {name}", jaxpr, args)
    return executable_of(jaxpr).run(args)


def _type(*avals, jaxpr, name, inline):
    check_operands(f"jit of {name}", jaxpr, avals)
    return jaxpr.out_avals


def _lower(ctx, *operands, jaxpr, name, inline):
    return ctx.inline(jaxpr, operands) if inline else ctx.call(jaxpr, operands, name)


# programs are compiled of jaxprs, which this layer makes
install_type_lowering(lower_types)
jit_p.at_once = _with_constants
jit_p.evaluate = _evaluate
jit_p.abstract_eval = _type
jit_p.lower = _lower
give_call_rules(jit_p, apply=lambda jaxpr, operands, params: call(jaxpr, operands, **params))

__all__ = ["call", "called", "check_operands", "jit_p"]
