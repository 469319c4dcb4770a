"""The memory of a compiled program at its fullest: what is alive there by XLA's schedule, and where that comes from."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod

from pullback._pictures.hlo import Computations, Instruction
from pullback._pictures.measuring import Held, Place

_ARRAY = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_BITS = re.compile(r"\d+")
# no memory of their own have views, what is there before the program runs, and loops, whose state is their operand
_WITHOUT = {"parameter", "constant", "bitcast", "get-tuple-element", "tuple", "while", "optimization-barrier"}
_RUNNING_OTHERS = {"while", "conditional", "call"}


def size_of(text: str) -> int:
    """The bytes of a value, or of all parts of a tuple, by its type as XLA writes it."""
    total = 0
    for element, shape in _ARRAY.findall(text):
        bits = 8 if element == "pred" else int((_BITS.search(element) or ["0"])[0])
        total += prod(int(n) for n in shape.split(",") if n) * bits // 8
    return total


def memory_at_peak(program: Computations, place: Callable[[Instruction], Place]) -> tuple[list[Held], list[Held]]:
    """What is in use at once where that is most, and what the backward pass reads of the forward pass's.

    Each value counts as one of its own from its instruction to the last that reads it, though XLA lets some take the
    memory of an operand. Of a loop or a branch it is what one step has at its fullest.
    """
    forward = {i.name: place(i).backward is False for body in program.bodies.values() for i in body}
    kept: dict[str, Instruction] = {}

    def fullest(name: str) -> list[Instruction]:
        body = program.bodies.get(name, [])
        makers: dict[str, set[str]] = {}
        last: dict[str, int] = {}
        made = {i.name: i for i in body}
        for n, instruction in enumerate(body):
            if instruction.kind in _WITHOUT:
                read = {m for operand in instruction.operands for m in makers.get(operand, ())}
                makers[instruction.name] = read
            else:
                read = {m for operand in instruction.operands for m in makers.get(operand, ())}
                makers[instruction.name] = {instruction.name}
                if place(instruction).backward:
                    kept.update((m, made[m]) for m in read if forward[m])
            for maker in read | makers[instruction.name]:
                last[maker] = len(body) if instruction.root else n
        live: list[Instruction] = []
        most: list[Instruction] = []
        for n, instruction in enumerate(body):
            if makers[instruction.name] == {instruction.name}:
                live.append(instruction)
            inner: list[Instruction] = []
            if instruction.kind in _RUNNING_OTHERS:
                inner = max(map(fullest, instruction.called), key=_bytes, default=[])
            if _bytes(live) + _bytes(inner) > _bytes(most):
                most = [*live, *inner]
            live = [i for i in live if last[i.name] > n]
        return most

    peak = fullest(program.entry)
    return _summed(peak, place, kept), _summed([*kept.values()], place, kept)


def _bytes(instructions: list[Instruction]) -> int:
    return sum(size_of(i.type) for i in instructions)


def _summed(
    instructions: list[Instruction], place: Callable[[Instruction], Place], kept: dict[str, Instruction]
) -> list[Held]:
    """The memory by place, the largest first."""
    sizes: dict[tuple[Place, bool], list[int]] = {}
    for instruction in instructions:
        sizes.setdefault((place(instruction), instruction.name in kept), []).append(size_of(instruction.type))
    held = [Held(sum(each), len(each), where, residual) for (where, residual), each in sizes.items()]
    return sorted(held, key=lambda h: -h.nbytes)
