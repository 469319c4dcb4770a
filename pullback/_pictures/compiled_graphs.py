"""The graph of what XLA makes of a program: its instructions, those that it has fused as one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pullback._core.jaxpr import Equation, consts_to_args
from pullback._pictures.graphs import Box, Edge, Graph, Node, shortened
from pullback._pictures.hlo import Computations, Instruction, number_of, numbered_scopes, read
from pullback._pictures.programs import Program
from pullback._xla.executable import compile_jaxpr

# what computes nothing
_PASSING_ON = {"bitcast", "get-tuple-element", "copy", "tuple"}
_CALLS = {"fusion", "while", "conditional", "call"}
_NAMES = 4


def compiled_graph(program: Program, numbers: Mapping[int, int]) -> Graph:
    """The graph of the compiled program; its instructions have the `numbers` of the equations that they come from."""
    eqns: list[Equation] = []
    jaxpr = consts_to_args(numbered_scopes(program.closed.jaxpr, eqns))
    executable = compile_jaxpr(jaxpr)
    computations = read("\n".join(module.to_string() for module in executable.loaded.hlo_modules()))
    names = [*["constant"] * len(program.closed.consts), *program.inputs]
    known = {n: numbers[id(eqn)] for n, eqn in enumerate(eqns) if id(eqn) in numbers}
    results = [(name, v.aval.str_short()) for name, v in zip(program.results, jaxpr.outvars)]
    reader = _Reader(computations, known, eqns)
    return reader.graph(f"jit of {program.title}, by XLA", computations.entry, names, results)


class _Reader:
    """Makes graphs of computations."""

    def __init__(self, program: Computations, numbers: Mapping[int, int], eqns: Sequence[Equation]):
        self.program = program
        self.numbers = numbers
        self.eqns = eqns

    def graph(
        self, title: str, name: str, inputs: Sequence[str] = (), results: Sequence[tuple[str, str]] = ()
    ) -> Graph:
        """The graph of a computation; inputs may have names, results names and types."""
        made: dict[str, list[Node]] = {}
        edges: dict[tuple[int, int], Edge] = {}
        ends: list[Node | Box] = []
        items: list[Node | Box] = []
        outs: list[Node | Box] = []
        for instruction in self.program.bodies[name]:
            sources = [made.get(operand, []) for operand in instruction.operands]
            if instruction.kind == "parameter":
                i = int(instruction.literal)
                node = Node("input", shortened(inputs[i] if i < len(inputs) else "input"), shortened(instruction.type))
                ends.append(node)
                made[instruction.name] = [node]
            elif instruction.kind == "constant":
                made[instruction.name] = []
            elif instruction.kind in _PASSING_ON:
                made[instruction.name] = _passed_on(instruction, sources)
            else:
                node = self.node(instruction)
                items.append(node)
                for source in dict.fromkeys(s for given in sources for s in given):
                    edges[(id(source), id(node))] = Edge(source, node, {id(source): (source.detail, 0)})
                made[instruction.name] = [node]
            if instruction.root:
                outs = self.results(made[instruction.name], results, edges)
        used = {source for source, _ in edges}
        return Graph(
            Box("program", title, [*(end for end in ends if id(end) in used), *items, *outs]), [*edges.values()]
        )

    def node(self, instruction: Instruction) -> Node:
        """The node of an instruction."""
        number = number_of(instruction, self.program)
        title = instruction.kind
        node = Node("operation", title, shortened(instruction.type))
        if number is not None:
            node.number = self.numbers.get(number)
            origin = self.eqns[number].origin
            node.calls = () if origin is None else origin.calls
            node.backward = origin is not None and origin.backward
        bodies = [name for name in instruction.called if name in self.program.bodies]
        if instruction.kind in _CALLS and bodies:
            inner = [i for name in bodies for i in self.program.bodies[name]]
            kinds = dict.fromkeys(i.kind for i in inner if i.kind not in (*_PASSING_ON, "parameter", "constant"))
            node.kind = "call"
            node.count = sum(i.kind not in (*_PASSING_ON, "parameter", "constant") for i in inner) or 1
            shown = " ".join([*kinds][:_NAMES])
            node.title = shortened(shown if instruction.kind == "fusion" and shown else f"{title} {shown}".strip())
            fused = sorted({self.numbers[i.number] for i in inner if i.number in self.numbers and i.number is not None})
            node.notes.append(f"{title} of operations {', '.join(map(str, fused))}" if fused else title)
            first = bodies[0]
            node.inside = lambda: self.graph(node.title, first)
        return node

    def results(
        self, nodes: Sequence[Node], named: Sequence[tuple[str, str]], edges: dict[tuple[int, int], Edge]
    ) -> list[Node | Box]:
        """A node for each result."""
        outs: list[Node | Box] = []
        for i, source in enumerate(nodes):
            name, detail = named[i] if i < len(named) else ("result", source.detail)
            node = Node("result", shortened(name), detail)
            edges[(id(source), id(node))] = Edge(source, node, {id(source): (source.detail, 0)})
            outs.append(node)
        return outs


def _passed_on(instruction: Instruction, sources: Sequence[list[Node]]) -> list[Node]:
    """The nodes whose values an instruction passes on: all of them, or one of a tuple's."""
    if instruction.kind == "tuple":
        return [source for given in sources for source in given[:1]]
    given = sources[0] if sources else []
    if instruction.kind == "get-tuple-element" and len(given) > 1:
        return given[instruction.element : instruction.element + 1]
    return given
