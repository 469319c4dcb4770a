"""What a compiled run takes, by XLA's own profile: its operations lead back to equations by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pullback._core.arguments import check_leaves, flatten_result, lift_leaves
from pullback._core.errors import describe_function
from pullback._core.jaxpr import Equation, consts_to_args
from pullback._core.option_contexts import debug_nans
from pullback._core.origins import KeepingCalls
from pullback._core.staging import stage
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.typing import PyTree
from pullback._pictures.compiled_memory import memory_at_peak
from pullback._pictures.hlo import Instruction, number_of, numbered_scopes, read
from pullback._pictures.measuring import Held, Place, place_of
from pullback._xla import profiling
from pullback._xla.executable import compile_jaxpr

# what only runs others, which have times of their own
_RUNNING_OTHERS = {"while", "conditional", "call"}


class CompiledTimes(NamedTuple):
    """The seconds of a run at each place, the number of XLA's operations there, XLA's count of memory, what it holds
    at its fullest, and what the backward pass reads of the forward pass's."""

    value: Any
    seconds: dict[Place, float]
    counts: dict[Place, int]
    memory: Any
    peak: list[Held]
    residuals: list[Held]


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
    eqns: list[Equation] = []
    program = compile_jaxpr(consts_to_args(numbered_scopes(closed.jaxpr, eqns)))
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
    computations = read("\n".join(module.to_string() for module in program.loaded.hlo_modules()))
    instructions = {i.name: i for body in computations.bodies.values() for i in body}

    def place(instruction: Instruction | None) -> Place:
        number = None if instruction is None else number_of(instruction, computations)
        return UNKNOWN if number is None else _place(eqns[number])

    seconds: dict[Place, float] = {}
    counts: dict[Place, int] = {}
    for name, spent in times.items():
        instruction = instructions.get(name)
        if instruction is not None and instruction.kind in _RUNNING_OTHERS:
            continue
        where = place(instruction)
        seconds[where] = seconds.get(where, 0.0) + spent / runs
        counts[where] = counts.get(where, 0) + 1
    memory = program.loaded.get_compiled_memory_stats()
    return CompiledTimes(value, seconds, counts, memory, *memory_at_peak(computations, place))


def _place(eqn: Equation) -> Place:
    if eqn.origin is not None:
        return place_of(eqn.origin, eqn.primitive.name)
    line = eqn.location
    return Place(False, () if line is None else (line,), None, eqn.primitive.name)
