"""What a compiled run takes, by XLA's own profile: its operations lead back to equations by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pullback._core.arguments import check_leaves, flatten_result, lift_leaves
from pullback._core.errors import describe_function
from pullback._core.jaxpr import Equation, Jaxpr, consts_to_args
from pullback._core.option_contexts import debug_nans
from pullback._core.origins import KeepingCalls
from pullback._core.staging import stage
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.typing import PyTree
from pullback._pictures.measuring import Place, place_of
from pullback._xla import profiling
from pullback._xla.executable import compile_jaxpr

# what only runs others, which have times of their own
_RUNNING_OTHERS = {"while", "conditional", "call"}
_OPERATION = re.compile(r"^(?:ROOT )?%?([\w.\-]+) = .*? ([\w\-]+)\(")
_NAME = re.compile(r'op_name="(?:[^"]*/)?e(\d+)/[^"]*"')
_CALLED = re.compile(r"calls=%?([\w.\-]+)")
_HEAD = re.compile(r"^%?([\w.\-]+) \(.*\{$")


class CompiledTimes(NamedTuple):
    """The seconds of a run at each place, the number of XLA's operations there, and XLA's count of memory."""

    value: Any
    seconds: dict[Place, float]
    counts: dict[Place, int]
    memory: Any


# copies and the like that XLA adds
UNKNOWN = Place(None, (), None, "XLA's own")


def compiled_times(fun: Callable, args: Sequence[PyTree], kwargs: dict[str, PyTree], runs: int) -> CompiledTimes:
    """Compile a function and measure what its operations take, on average over some runs."""
    check_leaves("profile", fun, args, kwargs)
    leaves, tree = tree_flatten((tuple(args), kwargs))
    xs = lift_leaves("profile", fun, leaves, (tuple(args), kwargs))
    trees: list[Any] = []

    def flat(*inputs):
        inner_args, inner_kwargs = tree_unflatten(tree, inputs)
        outs, out_tree = flatten_result("profile", fun, fun(*inner_args, **inner_kwargs))
        trees[:] = [out_tree]
        return outs

    with debug_nans(), KeepingCalls():
        closed = stage(flat, [x.aval for x in xs], f"profile of {describe_function(fun)}")
    places: list[Place] = []
    program = compile_jaxpr(consts_to_args(_named(closed.jaxpr, places)))
    operands = [*closed.consts, *xs]

    def run() -> list[Any]:
        outs = program.run(operands)
        for out in outs:
            out.block_until_ready()
        return outs

    value = tree_unflatten(trees[0], run())

    def several() -> None:
        for _ in range(runs):
            run()

    times = profiling.operation_times(several)
    text = "\n".join(module.to_string() for module in program.loaded.hlo_modules())
    numbers, kinds = _numbers(text)
    seconds: dict[Place, float] = {}
    counts: dict[Place, int] = {}
    for name, spent in times.items():
        if kinds.get(name) in _RUNNING_OTHERS:
            continue
        place = places[numbers[name]] if name in numbers else UNKNOWN
        seconds[place] = seconds.get(place, 0.0) + spent / runs
        counts[place] = counts.get(place, 0) + 1
    return CompiledTimes(value, seconds, counts, program.loaded.get_compiled_memory_stats())


def _named(jaxpr: Jaxpr, places: list[Place]) -> Jaxpr:
    """The jaxpr whose equations, in held ones too, have numbers as scopes, and the place of each number."""
    eqns: list[Equation] = []
    for eqn in jaxpr.eqns:
        outer = len(places)
        places.append(_place(eqn))
        params = eqn.params
        if eqn.held:
            params = eqn.primitive.rebuilt(params, [_named(held.jaxpr, places) for held in eqn.held])
        eqns.append(eqn.replace(params=params, scopes=(f"e{outer}",)))
    return Jaxpr(jaxpr.constvars, jaxpr.invars, eqns, jaxpr.outvars)


def _place(eqn: Equation) -> Place:
    if eqn.origin is not None:
        return place_of(eqn.origin, eqn.primitive.name)
    line = eqn.location
    return Place(False, () if line is None else (line,), None, eqn.primitive.name)


def _numbers(text: str) -> tuple[dict[str, int], dict[str, str]]:
    """The number of the equation that each of XLA's operations comes from, and what each does.

    One that fuses others has the number of the result; if that has none, of the last one that it fuses.
    """
    numbers: dict[str, int] = {}
    kinds: dict[str, str] = {}
    inside: dict[str, int] = {}
    calls: dict[str, str] = {}
    computation = ""
    for line in map(str.strip, text.splitlines()):
        head = _HEAD.match(line)
        if head:
            computation = head.group(1)
            continue
        found = _OPERATION.match(line)
        if not found:
            continue
        name, kinds[found.group(1)] = found.group(1), found.group(2)
        number = _NAME.search(line)
        if number:
            numbers[name] = inside[computation] = int(number.group(1))
        called = _CALLED.search(line)
        if called:
            calls[name] = called.group(1)
    for name, fused in calls.items():
        if name not in numbers and fused in inside:
            numbers[name] = inside[fused]
    return numbers, kinds
