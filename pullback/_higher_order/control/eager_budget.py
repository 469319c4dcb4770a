"""Eager evaluation of control flow: short loops run equation by equation on the host, long ones are compiled.

A loop starts interpreted. When it has evaluated more equations than a compilation is worth, the rest is handed to XLA
from the current state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import ConcreteArray
from pullback._core.config import config
from pullback._core.jaxpr import HeldJaxpr, Jaxpr
from pullback._core.placed_array import PlacedArray
from pullback._core.primitive import Primitive
from pullback._core.trace import context
from pullback._xla.executable import compile_jaxpr, lasting
from pullback._xla.placed_programs import run_where_they_are, runs_elsewhere
from pullback._xla.single_operations import single_equation

# equations interpreted before XLA takes over: about 20 ms, the time to compile a small loop
BUDGET = 10_000
# the assumed number of steps of a loop of unknown length
_STEPS = 4


def cost(jaxpr: Jaxpr) -> int:
    """The number of equations that one evaluation runs; loops count with their length if it is known."""

    def total() -> int:
        return sum(1 + sum(_times(held) * cost(held.jaxpr) for held in eqn.held) for eqn in jaxpr.eqns)

    return jaxpr.derive("cost", total)


def is_beyond(spent: int) -> bool:
    """Whether a loop that evaluates so many equations is handed over to XLA."""
    return spent > BUDGET and not config.debugging and context.trace.hands_over


def are_placed(args: Sequence[Any]) -> bool:
    """Whether a loop over these arrays is compiled at once: on several devices each operation is a program."""
    return any(type(x) is PlacedArray for x in args) and not config.debugging and context.trace.hands_over


def _times(held: HeldJaxpr) -> int:
    # a while loop
    return _STEPS if held.times is None else held.times


def run_compiled(primitive: Primitive, args: Sequence[ConcreteArray], params: dict, holder: Jaxpr) -> list[Any]:
    """Run the compiled program of one primitive application; it is cached on the jaxpr `holder`."""
    avals = tuple(a.aval for a in args)
    if any(runs_elsewhere(jaxpr, args) for jaxpr in (held.jaxpr for held in primitive.bodies(params))):
        key = ("application", primitive, avals, *params.items())
        if key not in holder.cache:
            holder.cache[key] = single_equation(primitive, avals, params)
        return run_where_they_are(primitive.name, holder.cache[key], args)
    key = ("program", config.tracing, primitive, avals, *params.items())
    program = holder.cache[key]() if key in holder.cache else None
    if program is None:
        program = compile_jaxpr(single_equation(primitive, avals, params), lasts=True)
        holder.cache[key] = (lambda: program) if program.key is None else weakref.ref(program)
    else:
        lasting.get(program.key)  # marks it as recently used
    return program.run(args)


def run_interpreted_once(
    primitive: Primitive,
    args: Sequence[ConcreteArray],
    params: dict,
    holder: Jaxpr,
    interpret: Callable[..., list[Any]],
) -> list[Any]:
    """Interpret the first application to arguments of given types, and compile from the second on."""
    key = ("applied", primitive, tuple(a.aval for a in args), *params.items())
    if config.debugging or not context.trace.hands_over or key not in holder.cache:
        holder.cache[key] = True
        return interpret(*args, **params)
    return run_compiled(primitive, args, params, holder)
