"""Pictures as text: an operation in a line, with what it reads, boxes by indentation."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._pictures.graphs import Box, Edge, Graph, Node, place_of
from pullback._pictures.layout import amount
from pullback._pictures.svg import summary


def text_of(graphs: Sequence[Graph]) -> str:
    """The graphs one after the other."""
    return "\n\n".join(_one(graph) for graph in graphs)


def _one(graph: Graph) -> str:
    names: dict[int, str] = {}
    for node in graph.root.nodes():
        names[id(node)] = node.title if node.kind == "input" else f"%{len(names)}"
    operands: dict[int, list[Edge]] = {}
    kept: dict[int, list[Edge]] = {}
    for edge in graph.edges:
        operands.setdefault(id(edge.target), []).append(edge)
        if edge.kept:
            kept.setdefault(id(edge.source), []).append(edge)
    rows: list[tuple[str, str, str, str]] = []

    def fill(box: Box, indent: str) -> None:
        for item in box.items:
            if isinstance(item, Box):
                rows.append((f"{indent}┌ {item.title}", "", "", ""))
                fill(item, f"{indent}│ ")
                rows.append((f"{indent}└", "", "", ""))
            else:
                edges = operands.get(id(item), [])
                reads = " ".join(f"next {names[id(e.source)]}" if e.again else names[id(e.source)] for e in edges)
                rows.append((f"{indent}{_title(item, names[id(item)])}", item.detail, reads, _remarks(item, kept)))

    fill(graph.root, "  ")
    widths = [min(max(len(row[i]) for row in rows), 44) for i in range(3)] if rows else [0, 0, 0]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[3]]).rstrip() for row in rows]
    return "\n".join([f"{graph.root.title}: {summary(graph)}", *lines])


def _title(node: Node, name: str) -> str:
    if node.kind == "input":
        return node.title
    return f"{name} = {node.title}" if node.kind != "result" else node.title


def _remarks(node: Node, kept: dict[int, list[Edge]]) -> str:
    """What else is known: the operation that it comes from, what is kept, the line."""
    remarks = []
    if node.number is not None:
        remarks.append(node.badge if node.derived else f"#{node.badge}")
    if node.kind == "rule":
        remarks.append("custom rule")
    if node.kind == "fold" or node.count > 1:
        remarks.append(f"{node.count:,} operations")
    if id(node) in kept:
        values = {key: count for edge in kept[id(node)] for key, (_, count) in edge.values.items()}
        remarks.append(f"kept: {amount(sum(values.values()))}")
    if node.kind not in ("fold", "port") and node.calls:
        remarks.append(place_of(node.calls))
    return "  ".join(remarks)
