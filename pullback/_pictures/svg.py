"""Pictures as SVG. All text is escaped; colors follow the reader's preference for light or dark."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from html import escape

from pullback._pictures.graphs import Box, Graph, Node, place_of
from pullback._pictures.layout import DETAIL, TITLE, Layout, amount, kept_label, laid_out

_MARGIN = 16.0
_HEADER = 44.0
_CLASS = "pullback-picture"
_MOST_LINKS = 150
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# names of colors: paper, ink, muted, line, and for each kind of node its fill and its stroke
_LIGHT = {
    "paper": "#ffffff", "ink": "#1d2330", "muted": "#5d6675", "line": "#8b95a5", "kept": "#b45f06",
    "operation": ("#edf3ff", "#4a74c9"), "backward": ("#fff0e6", "#cf6a1d"), "rule": ("#f5ecff", "#7a3fb8"),
    "input": ("#eaf7ee", "#3b945a"), "constant": ("#f1f3f5", "#868e99"), "box": ("#f8f9fb", "#c3cad4"),
}  # fmt: skip
_DARK = {
    "paper": "#14171d", "ink": "#e8ebf1", "muted": "#a3adbc", "line": "#7d8796", "kept": "#f0a04b",
    "operation": ("#1c2a47", "#7aa2f2"), "backward": ("#3f2614", "#f0954b"), "rule": ("#33204a", "#bd8bf0"),
    "input": ("#173322", "#62bd84"), "constant": ("#242a33", "#8b95a5"), "box": ("#1a1e26", "#465061"),
}  # fmt: skip


def svg_of(graphs: Sequence[Graph], name: str = "", styled: bool = True) -> str:
    """The graphs side by side, each under its title.

    `name` tells pictures of one page apart; of those all but one need not be `styled`.
    """
    layouts = [laid_out(graph) for graph in graphs]
    name = name or name_of(graphs)
    parts: list[str] = []
    x = _MARGIN
    for graph, layout in zip(graphs, layouts, strict=True):
        title, told = graph.root.title, summary(graph)
        width = max(layout.width, len(title) * (TITLE + 2) * 0.62, len(told) * DETAIL * 0.62)
        parts.append(_text(x, 22, title, "title", TITLE + 2, "start"))
        parts.append(_text(x, 39, told, "muted", DETAIL, "start"))
        inset = (width - layout.width) / 2
        parts.append(f'<g transform="translate({x + inset:.1f} {_HEADER + 8:.0f})">{_drawn(graph, layout)}</g>')
        x += width + 2 * _MARGIN
    width, height = x - _MARGIN, max(layout.height for layout in layouts) + _HEADER + 8 + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" class="{_CLASS}" role="img" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="{_FONT}">'
        f"<title>{escape(', '.join(graph.root.title for graph in graphs))}</title>"
        f"<style>{style() if styled else ''}{_links(name, graphs)}</style>"
        f'<rect class="paper" width="100%" height="100%" rx="8"/>{"".join(parts)}</svg>'
    )


def name_of(graphs: Sequence[Graph]) -> str:
    """A name for a picture: the same for the same one, so that pages do not change without reason."""
    return "pullback-" + hashlib.sha256(repr([_content(graph) for graph in graphs]).encode()).hexdigest()[:10]


def summary(graph: Graph) -> str:
    """How many operations a program has, and what it keeps, in words."""
    count = graph.operations
    told = f"{count:,} operation{'s' * (count != 1)}"
    kept = graph.kept
    if kept:
        told += f", keeps {len(kept)} residual{'s' * (len(kept) != 1)} of {amount(sum(kept))}"
    return told


def _content(graph: Graph) -> list[object]:
    nodes = [(n.kind, n.title, n.detail, n.number) for n in graph.root.nodes()]
    return [graph.root.title, nodes, [(e.label, e.nbytes) for e in graph.edges]]


def _drawn(graph: Graph, layout: Layout) -> str:
    """The boxes, then the edges, then the nodes."""
    parts = [_box(box, layout) for box in _boxes(graph.root)]
    for edge, points, at in layout.edges:
        kind = "kept" if edge.kept else "again" if edge.again else "edge"
        (x, y), *rest = points
        curve = " ".join(f"{px:.1f},{py:.1f}" for px, py in rest)
        told = f"{edge.label}{', in the next step' if edge.again else ''}"
        parts.append(f'<path class="{kind}" d="M{x:.1f},{y:.1f} C{curve}"><title>{escape(told)}</title></path>')
        parts.append(_head(points, kind))
        if at is not None:
            parts.append(_text(at[0], at[1] + 4, kept_label(edge), "kept-label", DETAIL))
    parts += [_node(node, *layout.nodes[id(node)]) for node in graph.root.nodes()]
    return "".join(parts)


def _head(points: Sequence[tuple[float, float]], kind: str) -> str:
    """The head of an arrow, at the end of a curve, in its direction."""
    (x0, y0), (x, y) = points[-2], points[-1]
    length = math.hypot(x - x0, y - y0) or 1.0
    dx, dy = (x - x0) / length, (y - y0) / length
    back, side = (x - 6 * dx, y - 6 * dy), (3 * dy, -3 * dx)
    corners = [(x, y), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
    return f'<polygon class="{kind}-head" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}"/>'


def _boxes(box: Box) -> list[Box]:
    found = []
    for item in box.items:
        if isinstance(item, Box):
            found += [item, *_boxes(item)]
    return found


def _box(box: Box, layout: Layout) -> str:
    x, y, width, height = layout.boxes[id(box)]
    kind = "box backward-box" if box.backward else "box"
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8"/>' + _text(
        x + 10, y + 18, box.title, "box-title", TITLE - 1, "start"
    )


def _node(node: Node, x: float, y: float, width: float, height: float) -> str:
    kind = node_class(node)
    left, top = x - width / 2, y - height / 2
    link = f" of{node.number}" if node.number is not None else ""
    round_ = 13 if node.kind in ("input", "constant", "result", "port") else 5
    shape = f'width="{width:.1f}" height="{height:.1f}" rx="{round_}"'
    parts = [f"<title>{escape(chr(10).join(told(node)))}</title>"]
    if node.kind in ("fold", "call") or node.inside is not None:
        parts.append(f'<rect class="{kind} behind" x="{left + 4:.1f}" y="{top + 4:.1f}" {shape}/>')
    parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" {shape}/>')
    shift = 0.0
    if node.number is not None:
        parts.append(_text(left + 7, top + 15, node.badge, "badge", DETAIL - 1, "start"))
        shift = len(node.badge) * 3.0
    if node.detail:
        parts.append(_text(x + shift, y - 3, node.title, "ink", TITLE))
        parts.append(_text(x, y + 13, node.detail, "muted", DETAIL))
    else:
        parts.append(_text(x + shift, y + 4, node.title, "ink", TITLE))
    return f'<g class="node{link}">{"".join(parts)}</g>'


def node_class(node: Node) -> str:
    """The color of a node: by its pass, unless it is part of a rule or stands outside."""
    if node.kind in ("input", "result", "constant"):
        return "constant" if node.kind == "constant" else "input"
    if node.kind == "port":
        return "constant"
    return "rule" if node.kind == "rule" else "backward" if node.backward else "operation"


def told(node: Node) -> list[str]:
    """What is known of a node, line by line."""
    of = f"{'the derivative of' if node.derived else 'operation'} {node.number}" if node.number is not None else ""
    lines = [f"{node.title}  {node.detail}", of, "a custom rule" if node.kind == "rule" else ""]
    return [line for line in [*lines, *(place_of([call]) for call in reversed(node.calls)), *node.notes] if line]


def _text(x: float, y: float, text: str, kind: str, size: float, anchor: str = "middle") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{size:.0f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def style() -> str:
    """The colors and lines of all pictures."""
    lines = (
        ".@ path{fill:none;stroke-width:1.2}.@ .kept{stroke-width:1.6;stroke-dasharray:5 3}"
        ".@ .again{stroke-dasharray:2 3}.@ .title,.@ .badge{font-weight:600}.@ .behind{opacity:.55}"
        ".@ .kept-label{paint-order:stroke;stroke-width:3}"
    )
    colors = f"{_colors(_LIGHT)}@media (prefers-color-scheme:dark){{{_colors(_DARK)}}}"
    return (lines + colors).replace(".@", f".{_CLASS}")


def _links(name: str, graphs: Sequence[Graph]) -> str:
    """What comes from one operation lights up together with it; nothing if there is too much."""
    numbers = sorted({n.number for graph in graphs for n in graph.root.nodes() if n.number is not None})
    if not numbers or len(numbers) > _MOST_LINKS:
        return ""
    lit = ",".join(f"#{name}:has(.of{n}:hover) .of{n}" for n in numbers)
    rects = ",".join(f"#{name}:has(.of{n}:hover) .of{n} rect" for n in numbers)
    return (
        f"#{name}:has(.node:hover) .node{{opacity:.5}}{lit},#{name} .node:hover{{opacity:1}}{rects}{{stroke-width:3}}"
    )


def _colors(colors: dict) -> str:
    line, kept = colors["line"], colors["kept"]
    rules = {
        ".paper": f"fill:{colors['paper']}",
        ".ink,.title": f"fill:{colors['ink']}",
        ".muted,.box-title,.badge": f"fill:{colors['muted']}",
        ".kept-label": f"fill:{kept};stroke:{colors['paper']}",
        ".edge,.again": f"stroke:{line}",
        ".edge-head,.again-head": f"fill:{line}",
        ".kept": f"stroke:{kept}",
        ".kept-head": f"fill:{kept}",
    }
    for kind in ("operation", "backward", "rule", "input", "constant", "box"):
        fill, stroke = colors[kind]
        rules[f"rect.{kind}"] = f"fill:{fill};stroke:{stroke}"
    rules["rect.backward-box"] = f"stroke:{colors['backward'][1]}"
    return "".join(",".join(f".@ {one}" for one in which.split(",")) + f"{{{what}}}" for which, what in rules.items())
