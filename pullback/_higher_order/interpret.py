"""Eager evaluation of control flow: short loops run equation by equation on the host, long ones are compiled.

A loop begins interpreted. When it has cost more equations than a compilation is worth, the rest is handed to XLA from
the state it has reached.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import ConcreteArray
from pullback._core.config import config
from pullback._core.jaxpr import Equation, Jaxpr, subjaxprs
from pullback._core.primitive import Primitive
from pullback._xla.evaluate import single_equation
from pullback._xla.executable import compile_jaxpr

# equations interpreted before XLA takes over: about 20 ms of them, what compiling a small loop takes
BUDGET = 10_000


def cost(jaxpr: Jaxpr) -> int:
    """The number of equations one evaluation runs, loops counted with their length where it is known."""

    def total() -> int:
        return sum(1 + _times(eqn) * sum(map(cost, subjaxprs(eqn))) for eqn in jaxpr.eqns)

    return jaxpr.derive("cost", total)


def _times(eqn: Equation) -> int:
    # what is no loop runs once; of a while loop nobody knows
    return eqn.params.get("length", 4 if "cond_jaxpr" in eqn.params else 1)


def run_compiled(primitive: Primitive, args: Sequence[ConcreteArray], params: dict, holder: Jaxpr) -> list[Any]:
    """Compile one application of a primitive, and run it; the program is kept with the jaxpr `holder`."""
    avals = tuple(a.aval for a in args)
    key = ("program", primitive, avals, *params.items())
    program = holder.derive(key, lambda: compile_jaxpr(single_equation(primitive, avals, params)))
    return program.run(args)


def run_interpreted_once(primitive: Primitive, args: Sequence[ConcreteArray], params: dict, holder: Jaxpr,
                         interpret: Callable[..., list[Any]]) -> list[Any]:
    """Interpret the first application to arguments of such types, compile the second: who comes back comes again."""
    key = ("applied", primitive, tuple(a.aval for a in args), *params.items())
    if config.debug_nans or key not in holder.cache:
        holder.cache[key] = True
        return interpret(*args, **params)
    return run_compiled(primitive, args, params, holder)
