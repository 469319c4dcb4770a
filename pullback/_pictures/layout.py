"""Where the parts of a picture are: Graphviz's layered layout, by pygraphviz, whose wheels bring Graphviz."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pullback._pictures.graphs import Box, Edge, Graph, Node

# a character of the monospaced fonts that pictures are written in, by the font's size
_CHARACTER = 0.62
TITLE, DETAIL = 13.0, 11.0
_POINTS = 72.0
# Graphviz has state of the process
_lock = threading.Lock()


@dataclass(slots=True)
class Layout:
    """The places in points, from the top left: centers and sizes of nodes, corners of boxes, curves of edges."""

    width: float = 0.0
    height: float = 0.0
    nodes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    boxes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    edges: list[tuple[Edge, list[tuple[float, float]], tuple[float, float] | None]] = field(default_factory=list)


def laid_out(graph: Graph) -> Layout:
    """The layout of a graph. ImportError, with what to install, without pygraphviz."""
    agraph, names, boxes, edges = _dot(graph)
    with _lock:
        agraph.layout(prog="dot")
    left, _, right, top = _numbers(agraph.graph_attr["bb"])
    layout = Layout(right - left, top)
    for node, name in names.items():
        x, y = _numbers(agraph.get_node(name).attr["pos"])
        layout.nodes[node] = (x, top - y, *_size(names.node(node)))
    for box, cluster in boxes.items():
        x0, y0, x1, y1 = _numbers(cluster.graph_attr["bb"])
        layout.boxes[box] = (x0, top - y1, x1 - x0, y1 - y0)
    for edge, drawn in edges:
        points = _curve(drawn.attr["pos"], top)
        label = drawn.attr["lp"]
        at = None
        if label:
            x, y = _numbers(label)
            at = (x, top - y)
        layout.edges.append((edge, points, at))
    return layout


def kept_label(edge: Edge) -> str:
    """What is written at a residual."""
    return f"keeps {amount(edge.nbytes)}"


def amount(count: int) -> str:
    """A number of bytes in words."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


class _Names(dict[int, str]):
    """The names of nodes for Graphviz: none of the user's text reaches it."""

    def __init__(self) -> None:
        self.known: dict[int, Node] = {}

    def add(self, node: Node) -> str:
        self.known[id(node)] = node
        name = self[id(node)] = f"n{len(self)}"
        return name

    def node(self, key: int) -> Node:
        return self.known[key]


def _dot(graph: Graph) -> tuple[Any, _Names, Mapping[int, Any], list[tuple[Edge, Any]]]:
    agraph = _pygraphviz().AGraph(directed=True, strict=False, ranksep="0.32", nodesep="0.22", newrank=True)
    agraph.node_attr.update(shape="box", fixedsize="true", label="")
    agraph.edge_attr.update(arrowhead="none", fontname="Courier", fontsize=str(DETAIL))
    names = _Names()
    boxes: dict[int, Any] = {}

    def fill(box: Box, into: Any) -> None:
        for item in box.items:
            if isinstance(item, Box):
                width = "m" * (len(item.title) + 3)
                boxes[id(item)] = inner = into.add_subgraph(
                    name=f"cluster{len(boxes)}",
                    label=width,
                    labeljust="l",
                    fontname="Courier",
                    fontsize=str(TITLE),
                    margin="10",
                )
                fill(item, inner)
            else:
                wide, high = _size(item)
                into.add_node(names.add(item), width=f"{wide / _POINTS:.3f}", height=f"{high / _POINTS:.3f}")

    fill(graph.root, agraph)
    edges = []
    for key, edge in enumerate(graph.edges):
        options = {"constraint": "false"} if edge.again else {}
        if edge.kept:
            options["label"] = f" {kept_label(edge)} "
        source, target = names[id(edge.source)], names[id(edge.target)]
        agraph.add_edge(source, target, key=str(key), **options)
        edges.append((edge, agraph.get_edge(source, target, key=str(key))))
    return agraph, names, boxes, edges


def is_there() -> bool:
    """Return whether the package that computes layouts is installed."""
    return importlib.util.find_spec("pygraphviz") is not None


def _pygraphviz() -> Any:
    try:
        import pygraphviz
    except ImportError:
        raise ImportError(
            "draw: a picture as SVG or HTML needs the package pygraphviz, which brings Graphviz: "
            "pip install pullback[draw]. The text, str(picture), needs nothing"
        ) from None
    return pygraphviz


def _size(node: Node) -> tuple[float, float]:
    """The width and the height of a node, by its texts."""
    title = len(node.title) + (len(str(node.number)) + 2 if node.number is not None else 0)
    wide = max(title * TITLE, len(node.detail) * DETAIL) * _CHARACTER + 20
    return max(wide, 58.0), 40.0 if node.detail else 26.0


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _curve(text: str, top: float) -> list[tuple[float, float]]:
    """The control points of a curve, from start to end."""
    points = []
    for part in text.split():
        if part[0] not in "es":
            x, y = _numbers(part)
            points.append((x, top - y))
    return points
