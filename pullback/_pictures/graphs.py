"""The graph of a program: nodes for operations, boxes for loops and branches, edges for values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pullback._core.errors import Location
from pullback._core.jaxpr import Equation, HeldJaxpr, Jaxpr, Literal, Var
from pullback._core.printing import format_literal, format_param
from pullback._pictures.programs import Program, is_call, nbytes, size, sources

_SHORT = 22


@dataclass(eq=False, slots=True)
class Node:
    """Something that has a value: an input, a constant, an operation, a call, a result of a loop.

    `kind` is "input", "constant", "result", "port" (where a value enters or leaves a loop), "operation", "call",
    "rule" (a call with custom rules, or what a rule computed) or "fold" (several operations as one). `number` is that
    of the operation of the first program that it is, or is the derivative of; `order` counts the operations of its own,
    and `derived` says that the number is that of the operation it is the derivative of.
    """

    kind: str
    title: str
    detail: str = ""
    backward: bool = False
    number: int | None = None
    calls: tuple[Location, ...] = ()
    notes: list[str] = field(default_factory=list)
    count: int = 1
    inside: Callable[[], Graph] | None = None
    order: int = 0
    derived: bool = False

    @property
    def badge(self) -> str:
        """Its number, as that of an operation or of a derivative; "" without one."""
        return "" if self.number is None else f"{'∂' * self.derived}{self.number}"


@dataclass(eq=False, slots=True)
class Box:
    """A loop, a branch or a pass, with what is in it."""

    kind: str
    title: str
    items: list[Node | Box] = field(default_factory=list)
    backward: bool = False
    number: int | None = None
    calls: tuple[Location, ...] = ()
    order: int = 0

    def nodes(self) -> Iterator[Node]:
        """All nodes, here and in inner boxes."""
        for item in self.items:
            if isinstance(item, Box):
                yield from item.nodes()
            else:
                yield item


@dataclass(eq=False, slots=True)
class Edge:
    """Values that pass from one node to another: `kept` for the backward pass, or `again` in the next step.

    `values` has the type and the bytes of each, by the identity of its variable.
    """

    source: Node
    target: Node
    values: dict[int, tuple[str, int]] = field(default_factory=dict)
    kept: bool = False
    again: bool = False

    @property
    def label(self) -> str:
        """The types of the values, each once."""
        return ", ".join(dict.fromkeys(label for label, _ in self.values.values()))

    @property
    def nbytes(self) -> int:
        """The memory of the values."""
        return sum(count for _, count in self.values.values())


@dataclass(eq=False, slots=True)
class Graph:
    """A box with everything, and the edges."""

    root: Box
    edges: list[Edge]

    @property
    def operations(self) -> int:
        """The number of operations, those inside of calls and folded ones too."""
        return sum(node.count for node in self.root.nodes() if node.kind in ("operation", "call", "rule", "fold"))

    @property
    def kept(self) -> list[int]:
        """The bytes of the residuals, each once."""
        found: dict[int, int] = {}
        for edge in self.edges:
            if edge.kept:
                found.update((value, count) for value, (_, count) in edge.values.items())
        return [*found.values()]


def graph_of(program: Program, numbers: Mapping[int, int], derived: bool = True) -> Graph:
    """The graph of a program. Its operations have the `numbers` of the equations that they are, or come from.

    `derived` says that in a backward pass these are the numbers of others, whose derivatives they are.
    """
    jaxpr = program.closed.jaxpr
    return _Builder(numbers, derived).whole(program.title, jaxpr, program.inputs, program.results)


class _Builder:
    """Walks through a jaxpr, and remembers for each variable the node that it comes from."""

    def __init__(self, numbers: Mapping[int, int], derived: bool):
        self.numbers = numbers
        self.derived = derived
        self.made: dict[Var, Node] = {}
        self.edges: dict[tuple[int, int, bool], Edge] = {}

    def whole(
        self, title: str, jaxpr: Jaxpr, input_names: Sequence[str] = (), result_names: Sequence[str] = ()
    ) -> Graph:
        """The graph of a jaxpr, with names for its inputs and results."""
        names = input_names or ["input"] * len(jaxpr.invars)
        inputs = [Node("input", shortened(n), v.aval.str_short()) for n, v in zip(names, jaxpr.invars)]
        consts = [Node("constant", "constant", v.aval.str_short()) for v in jaxpr.constvars]
        self.made.update(zip((*jaxpr.invars, *jaxpr.constvars), (*inputs, *consts)))
        work = Box("program", title)
        self.equations(jaxpr, work)
        titles = result_names or ["result"] * len(jaxpr.outvars)
        results = [Node("result", shortened(t), v.aval.str_short()) for t, v in zip(titles, jaxpr.outvars)]
        for atom, node in zip(jaxpr.outvars, results):
            self.connect(atom, node)
        used = {id(edge.source) for edge in self.edges.values()}
        root = Box("program", title, [*inputs, *(c for c in consts if id(c) in used)])
        passes = [item for item in work.items if not item.backward], [item for item in work.items if item.backward]
        if passes[1]:
            root.items += [Box("pass", "forward pass", passes[0]), Box("pass", "backward pass", passes[1], True)]
        else:
            root.items += work.items
        root.items += results
        return Graph(root, [*self.edges.values()])

    def connect(self, atom: Var | Literal, target: Node, again: bool = False) -> None:
        """An edge from where a variable is made; values between the same nodes share one."""
        source = self.made.get(atom) if isinstance(atom, Var) else None
        if source is None:
            target.notes += [f"reads {format_literal(atom)}"] if isinstance(atom, Literal) else []
            return
        kept = target.backward and not source.backward and source.kind != "result"
        edge = self.edges.setdefault((id(source), id(target), again), Edge(source, target, {}, kept, again))
        edge.values[id(atom)] = atom.aval.str_short(), nbytes(atom.aval)

    def equations(self, jaxpr: Jaxpr, box: Box) -> None:
        for eqn in jaxpr.eqns:
            opens = any(held.operands is not None for held in eqn.held) and not is_call(eqn)
            item = self.opened(eqn) if opens else self.node(eqn)
            item.order = len(box.items)
            box.items.append(item)

    def node(self, eqn: Equation) -> Node:
        node = self.described(eqn)
        read = [self.made[v] for v in eqn.invars if isinstance(v, Var) and v in self.made]
        # what has no origin of its own, a conversion of a result, say
        node.backward = node.backward or any(source.backward for source in read)
        for atom in eqn.invars:
            if isinstance(atom, Var):
                self.connect(atom, node)
        self.made.update((v, node) for v in eqn.outvars)
        return node

    def stem(self, eqn: Equation) -> Node:
        """The node of an equation with what its origin tells."""
        origin = eqn.origin
        number = next((self.numbers[id(e)] for e in (*sources(eqn), eqn) if id(e) in self.numbers), None)
        node = Node("operation", eqn.primitive.name, _types(eqn.outvars), number=number)
        if origin is not None:
            node.backward, node.calls = origin.backward, origin.calls
            node.derived = origin.backward and self.derived
            node.notes += [f"part of {short_rule(origin.rule)}"] if origin.rule else []
            node.notes += [f"the derivative of {place_of([origin.forward])}"] if origin.forward else []
        return node

    def described(self, eqn: Equation) -> Node:
        """The node of an equation, without edges."""
        node, origin = self.stem(eqn), eqn.origin
        node.notes.append(f"{sum(nbytes(v.aval) for v in eqn.outvars):,} bytes")
        if is_call(eqn):
            return self._call(eqn, node)
        literals = " ".join(format_literal(v) for v in eqn.invars if isinstance(v, Literal))
        node.title = shortened(f"{node.title} {literals}".strip())
        params = {key: format_param(value) for key, value in eqn.primitive.shown(eqn.params)[1].items()}
        node.notes += [shortened(f"{key}={text}", 80) for key, text in params.items() if text and "\n" not in text]
        call = eqn.params.get("call") if eqn.primitive.traits.ruled else None
        if call is not None or (origin is not None and origin.rule):
            node.kind = "rule"
        return node

    def _call(self, eqn: Equation, node: Node) -> Node:
        """The node of a call, with what is called inside."""
        jaxpr = eqn.held[0].jaxpr
        ruled = eqn.primitive.traits.ruled
        node.kind, node.count = "rule" if ruled else "call", size(jaxpr)
        # functions with rules say their name, calls have it among what they show
        name = getattr(eqn.params["call"], "name", "") if ruled else eqn.primitive.shown(eqn.params)[1].get("name", "")
        node.title = shortened(f"{name}" if ruled and name else f"{eqn.primitive.name} {name}".strip())
        node.notes.append(f"{node.count} operations inside")
        numbers, derived, title = self.numbers, self.derived, node.title
        node.inside = lambda: _Builder(numbers, derived).whole(title, jaxpr)
        return node

    def opened(self, eqn: Equation) -> Box:
        """The box of a loop or of branches."""
        stem, held = self.stem(eqn), eqn.held
        loop = any(h.carried for h in held)
        counts = "".join(f" × {h.times}" for h in held if loop and h.times is not None)
        title = f"{stem.title}{counts}"
        box = Box("loop" if loop else "choice", title, [], stem.backward, stem.number, stem.calls)
        results = self._ports(eqn, box.backward, loop)
        entering = {i for h in held for i in h.operands or ()}
        for i, atom in enumerate(eqn.invars):
            if i not in entering and isinstance(atom, Var):  # what chooses
                for result in results:
                    self.connect(atom, result)
        many = len(held) > 1
        for i, h in enumerate(held):
            inner = Box("branch", _branch(h, i, loop), [], box.backward, box.number, box.calls) if many else box
            self.body(eqn, h, inner, results, loop)
            if many and inner.items:
                box.items.append(inner)
        box.items += results
        self.made.update(zip(eqn.outvars, results))
        return box

    def _ports(self, eqn: Equation, backward: bool, loop: bool) -> list[Node]:
        """A node for each result of a loop or branch."""
        carried = max((len(h.carried) for h in eqn.held), default=0)
        titles = ["carry" if i < carried else "stacked" if loop else "chosen" for i in range(len(eqn.outvars))]
        return [Node("port", t, v.aval.str_short(), backward) for t, v in zip(titles, eqn.outvars)]

    def body(self, eqn: Equation, held: HeldJaxpr, box: Box, results: list[Node], loop: bool) -> None:
        """The nodes of a jaxpr that an equation runs. What does not change from step to step is its operand."""
        jaxpr = held.jaxpr
        entries: dict[int, Node] = {}
        for k, v in enumerate(jaxpr.invars):
            operand = None if held.operands is None else eqn.invars[held.operands[k]]
            same = operand is not None and k not in held.carried and operand.aval == v.aval
            if same and isinstance(operand, Var) and operand in self.made:
                self.made[v] = self.made[operand]
                continue
            title = "carry" if k in held.carried else "slice" if loop else "input"
            node = entries[k] = Node("port", title, v.aval.str_short(), box.backward)
            if operand is not None:
                self.connect(operand, node)
            self.made[v] = node
        read = {v for e in jaxpr.eqns for v in e.invars} | set(jaxpr.outvars)
        box.items += [node for k, node in entries.items() if jaxpr.invars[k] in read]
        for k, node in entries.items():
            if jaxpr.invars[k] not in read:
                self.edges = {key: edge for key, edge in self.edges.items() if edge.target is not node}
        self.equations(jaxpr, box)
        if not held.returns:
            for atom in jaxpr.outvars:
                port = Node("port", "goes on" if loop else "decides", atom.aval.str_short(), box.backward)
                box.items.append(port)
                self.connect(atom, port)
            return
        for atom, node in zip(jaxpr.outvars, results):
            self.connect(atom, node)
        for k, node in zip(held.carried, results):
            if k in entries and jaxpr.invars[k] in read:
                values = {id(node): (node.detail, 0)}
                self.edges[(id(node), id(entries[k]), True)] = Edge(node, entries[k], values, again=True)


def _types(variables: Sequence[Var]) -> str:
    text = ", ".join(v.aval.str_short() for v in variables[:2])
    return f"{text}, {len(variables) - 2} more" if len(variables) > 2 else text


def _branch(held: HeldJaxpr, i: int, loop: bool) -> str:
    if loop:
        return "body" if held.returns else "condition"
    return f"branch {i}"


def shortened(text: str, limit: int = _SHORT) -> str:
    """The text, or its beginning."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def short_rule(rule: str) -> str:
    """A rule in short: without where it is defined."""
    return rule.partition(" (defined at")[0]


def place_of(calls: Sequence[Location]) -> str:
    """The user's line in short: the file without its folder, as pictures are shown around, the line, the function."""
    return f"{calls[-1].filename.rpartition('/')[2]}:{calls[-1].line} {calls[-1].function}" if calls else ""
