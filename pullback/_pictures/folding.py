"""Folding: a graph with no more nodes than can be read, by function and source line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from pullback._core.errors import Location
from pullback._pictures.graphs import Box, Edge, Graph, Node, place_of

_NAMES = 3
# of more values from outside, and for it, none is shown by itself
_MANY = 12


def folded(graph: Graph, limit: int) -> Graph:
    """The graph with at most `limit` nodes, or a few more: loops closed first, then lines, then functions.

    What is folded is a graph of its own, `Node.inside`.
    """
    if _count(graph.root) <= limit:
        return graph
    root = graph.root
    depths = range(max((len(item.calls) for item in _within(root)), default=0), 0, -1)
    ways: list[Callable[[], Box]] = [
        lambda: _closed(root),
        *(functools.partial(_by_runs, root, depth) for depth in depths),
        *(functools.partial(_by_lines, root, depth) for depth in depths),
        lambda: _runs_of(root, lambda before, item: item.order == before.order + 1),
        lambda: _grouped(root, lambda item: tuple(call.function for call in item.calls[:1])),
    ]
    for way in ways:
        smaller = way()
        if _count(smaller) <= limit and len(_within(smaller)) > len(_ends(smaller)) + 1:
            return _joined(graph, smaller)
    return _joined(graph, _in_stretches(root, limit))


def _count(box: Box) -> int:
    return sum(_count(item) if isinstance(item, Box) else 1 for item in box.items)


def _within(box: Box) -> list[Node | Box]:
    """The items of the passes, or of the box itself."""
    return [item for part in box.items for item in (part.items if _is_pass(part) else [part])]  # type: ignore[union-attr]


def _is_pass(item: Node | Box) -> bool:
    return isinstance(item, Box) and item.kind == "pass"


def _each_pass(root: Box, change: Callable[[Sequence[Node | Box]], list[Node | Box]]) -> Box:
    """The box with other operations: those of each pass, or its own, between inputs and results."""
    if any(_is_pass(item) for item in root.items):
        items: list[Node | Box] = []
        for item in root.items:
            if isinstance(item, Box) and _is_pass(item):
                item = Box(item.kind, item.title, change(item.items), item.backward)
            items.append(item)
        return Box(root.kind, root.title, items)
    ends = _ends(root)
    before: list[Node | Box] = [end for end in ends if end.kind != "result"]
    after: list[Node | Box] = [end for end in ends if end.kind == "result"]
    return Box(root.kind, root.title, before + change([item for item in root.items if item not in ends]) + after)


def _ends(root: Box) -> list[Node]:
    """What stands outside of the program: its inputs and results."""
    return [i for i in root.items if isinstance(i, Node) and i.kind in ("input", "constant", "result")]


def _closed(root: Box) -> Box:
    """Every loop and branch as one node."""
    return _each_pass(root, lambda items: [_fold([item]) if isinstance(item, Box) else item for item in items])


def _by_runs(root: Box, depth: int) -> Box:
    """Neighbours that have the calls down to a depth in common as one node."""
    return _runs_of(root, lambda before, item: before.calls[:depth] == item.calls[:depth])


def _runs_of(root: Box, belong: Callable[[Node | Box, Node | Box], bool]) -> Box:
    """Neighbours that belong together as one node."""

    def change(items: Sequence[Node | Box]) -> list[Node | Box]:
        runs: list[list[Node | Box]] = []
        for item in items:
            if runs and belong(runs[-1][-1], item):
                runs[-1].append(item)
            else:
                runs.append([item])
        return [_fold(run) for run in runs]

    return _each_pass(root, change)


def _grouped(root: Box, key: Callable[[Node | Box], Hashable]) -> Box:
    """Items with the same key as one node, wherever they stand."""

    def change(items: Sequence[Node | Box]) -> list[Node | Box]:
        groups: dict[Hashable, list[Node | Box]] = {}
        for item in items:
            groups.setdefault(key(item), []).append(item)
        return [_fold(group) for group in groups.values()]

    return _each_pass(root, change)


def _by_lines(root: Box, depth: int) -> Box:
    """What has the calls down to a depth in common as one node."""
    return _grouped(root, lambda item: item.calls[:depth])


def _in_stretches(root: Box, limit: int) -> Box:
    """As many stretches of neighbours as there is room for."""

    def change(items: Sequence[Node | Box]) -> list[Node | Box]:
        step = max(-(-len(items) // max(limit // 2, 1)), 1)
        return [_fold(items[i : i + step]) for i in range(0, len(items), step)]

    return _each_pass(root, change)


def _fold(items: Sequence[Node | Box]) -> Node | Box:
    """One node for several items; a node for itself."""
    if len(items) == 1 and isinstance(items[0], Node):
        return items[0]
    nodes = [node for item in items for node in ([item] if isinstance(item, Node) else item.nodes())]
    work = [node for node in nodes if node.kind != "port"]
    first = items[0]
    common = _common([item.calls for item in items])
    if len(items) == 1:
        title, detail = first.title, place_of(first.calls)
    else:
        title = place_of(common) or f"{work[0].title} … {work[-1].title}"
        names = list(dict.fromkeys(node.title.partition(" ")[0] for node in work))
        detail = " ".join(names[:_NAMES]) + (" …" if len(names) > _NAMES else "")
    numbers = [item.number for item in (*items, *work) if item.number is not None]
    count = sum(node.count for node in work)
    detail = f"{count:,}: {detail}" if detail else f"{count:,} operations"
    number, derived = min(numbers, default=None), any(item.derived for item in work)
    return _Folded("fold", title, detail, first.backward, number, common, [], count, derived=derived, items=items)


def _common(paths: Sequence[tuple[Location, ...]]) -> tuple[Location, ...]:
    """The calls that all have in common."""
    shared: list[Location] = []
    for lines in zip(*paths, strict=False):
        if len(set(lines)) != 1:
            break
        shared.append(lines[0])
    return tuple(shared)


@dataclass(eq=False, slots=True)
class _Folded(Node):
    """A node that stands for several items."""

    items: Sequence[Node | Box] = ()


def _joined(graph: Graph, root: Box) -> Graph:
    """The graph of a folded box: the edges between what is left, equal ones once."""
    stands: dict[int, Node] = {}
    for node in root.nodes():
        stands[id(node)] = node
        if isinstance(node, _Folded):
            items = node.items
            node.inside = _Inside(graph, node.title, items)
            for item in items:
                inner = [item] if isinstance(item, Node) else item.nodes()
                stands.update((id(n), node) for n in inner)
    edges: dict[tuple[int, int], Edge] = {}
    for edge in graph.edges:
        source, target = stands[id(edge.source)], stands[id(edge.target)]
        if source is not target:
            new = Edge(source, target, {}, edge.kept, edge.again)
            edges.setdefault((id(source), id(target)), new).values.update(edge.values)
    return Graph(root, [*edges.values()])


class _Inside:
    """What is folded in a node, as a graph of its own: values from outside are its inputs."""

    __slots__ = ("graph", "title", "items")

    def __init__(self, graph: Graph, title: str, items: Sequence[Node | Box]):
        self.graph = graph
        self.title = title
        self.items = items

    def __call__(self) -> Graph:
        inner = {id(n) for item in self.items for n in ([item] if isinstance(item, Node) else item.nodes())}
        edges: list[Edge] = []
        outside = {id(edge.source) for edge in self.graph.edges if id(edge.target) in inner} - inner
        leaving = {id(edge.source) for edge in self.graph.edges if id(edge.target) not in inner} & inner
        inputs: dict[int, Node] = {}
        results: dict[int, Node] = {}
        many = Node("input", f"{len(outside)} values", "from outside")
        for edge in self.graph.edges:
            source, target = edge.source, edge.target
            if id(target) in inner:
                if id(source) not in inner:
                    outer = Node("input", source.title, edge.label, source.backward, source.number)
                    source = inputs.setdefault(id(source), many if len(outside) > _MANY else outer)
                edges.append(Edge(source, target, edge.values, edge.kept, edge.again))
            elif id(source) in inner and len(leaving) <= _MANY:
                result = results.setdefault(id(source), Node("result", "result", edge.label))
                if not any(e.target is result for e in edges):
                    edges.append(Edge(source, result, edge.values))
        return Graph(
            Box("program", self.title, [*dict.fromkeys(inputs.values()), *self.items, *results.values()]), edges
        )
