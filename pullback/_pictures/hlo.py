"""Compiled programs, read from XLA's text: instructions, and the equations that they come from.

Equations get their numbers as scopes before they are compiled; XLA keeps these with what it makes of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pullback._core.jaxpr import Equation, Jaxpr

_INSTRUCTION = re.compile(r"^(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NUMBER = re.compile(r'op_name="(?:[^"]*/)?e(\d+)/[^"]*"')
_CALLED = re.compile(r"(?:calls|body|condition|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_INDEX = re.compile(r"index=(\d+)")
_OPERAND = re.compile(r"%([\w.\-]+)")
_LAYOUT = re.compile(r"(?<=\])\{[^}]*\}")


class Instruction(NamedTuple):
    """An instruction: its type, what it does, its operands, the computations it calls.

    `number` is that of the equation it comes from, None if XLA has added it; `literal` the text between its brackets,
    and `element` what it takes of a tuple.
    """

    name: str
    type: str
    kind: str
    operands: list[str]
    called: list[str]
    number: int | None
    literal: str
    element: int
    root: bool


class Computations(NamedTuple):
    """The computations of a program by their names, and the name of the first."""

    bodies: dict[str, list[Instruction]]
    entry: str


def numbered_scopes(jaxpr: Jaxpr, eqns: list[Equation]) -> Jaxpr:
    """The jaxpr whose equations, in held ones too, have their index in `eqns` as scope; they are appended to it."""
    new: list[Equation] = []
    for eqn in jaxpr.eqns:
        number = len(eqns)
        eqns.append(eqn)
        params = eqn.params
        if eqn.held:
            params = eqn.primitive.rebuilt(params, [numbered_scopes(held.jaxpr, eqns) for held in eqn.held])
        new.append(eqn.replace(params=params, scopes=(f"e{number}",)))
    return Jaxpr(jaxpr.constvars, jaxpr.invars, new, jaxpr.outvars)


def read(text: str) -> Computations:
    """The computations in the text of a program."""
    bodies: dict[str, list[Instruction]] = {}
    entry = current = ""
    for line in map(str.strip, text.splitlines()):
        head = _HEAD.match(line)
        if head:
            current = head.group(2)
            bodies[current] = []
            entry = current if head.group(1) else entry
            continue
        found = _INSTRUCTION.match(line)
        if found and current:
            bodies[current].append(_instruction(found, line))
    return Computations(bodies, entry)


def _instruction(found: re.Match[str], line: str) -> Instruction:
    root, name, kind_of_value, kind, rest = found.groups()
    # operands have no brackets of their own; what follows them has
    inside = rest.partition(")")[0]
    number, index, branches = _NUMBER.search(line), _INDEX.search(line), _BRANCHES.search(line)
    called = _CALLED.findall(line) + (_OPERAND.findall(branches.group(1)) if branches else [])
    return Instruction(
        name,
        _LAYOUT.sub("", kind_of_value),
        kind,
        _OPERAND.findall(inside),
        called,
        int(number.group(1)) if number else None,
        inside,
        int(index.group(1)) if index else 0,
        bool(root),
    )


def number_of(instruction: Instruction, program: Computations) -> int | None:
    """The number of an instruction; of one that fuses others and has none, the last one inside."""
    if instruction.number is not None or instruction.kind != "fusion":
        return instruction.number
    inner = [i.number for name in instruction.called for i in program.bodies.get(name, ()) if i.number is not None]
    return inner[-1] if inner else None
