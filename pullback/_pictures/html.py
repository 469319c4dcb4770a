"""Pictures as HTML: the SVG, and below it what is folded, to be unfolded where it stands. No script runs in it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pullback._pictures.folding import folded
from pullback._pictures.graphs import Graph, Node, place_of
from pullback._pictures.svg import name_of, summary, svg_of

# so deep are folded parts shown inside of folded parts, and so many in all
_DEPTH, _PARTS = 4, 200

_STYLE = (
    ".pullback-page{overflow-x:auto;font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
    ".pullback-page details{margin:6px 0 6px 8px;padding-left:8px;border-left:2px solid #8b95a5}"
    ".pullback-page summary{cursor:pointer;padding:3px 0}.pullback-page summary span{opacity:.65}"
)


def html_of(graphs: Sequence[Graph], limit: int) -> str:
    """A part of a page: the graphs, and below them the folded parts of each."""
    shown = [folded(graph, limit) for graph in graphs]
    name = name_of(graphs)
    parts = [f"<style>{_STYLE}</style>", svg_of(shown, name)]
    room = [_PARTS]
    for k, graph in enumerate(shown):
        inner = "".join(_details(node, f"{name}-{k}-{i}", limit, 1, room) for i, node in enumerate(graph.root.nodes()))
        if inner:
            parts.append(f"<details><summary>inside {escape(graph.root.title)}</summary>{inner}</details>")
    return f'<div class="pullback-page">{"".join(parts)}</div>'


def page_of(graphs: Sequence[Graph], limit: int) -> str:
    """A page of its own."""
    title = escape(", ".join(graph.root.title for graph in graphs))
    colors = "body{margin:16px}@media (prefers-color-scheme:dark){body{background:#0f1116;color:#e8ebf1}}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="color-scheme" content="light dark"><style>{colors}</style></head>'
        f"<body>{html_of(graphs, limit)}</body></html>"
    )


def _details(node: Node, name: str, limit: int, depth: int, room: list[int]) -> str:
    """What is folded in a node, with a line that says what it is."""
    if node.inside is None or depth > _DEPTH or room[0] <= 0:
        return ""
    room[0] -= 1
    graph = folded(node.inside(), limit)
    inner = "".join(
        _details(deeper, f"{name}-{i}", limit, depth + 1, room) for i, deeper in enumerate(graph.root.nodes())
    )
    number = f"{node.badge} " if node.badge else ""
    where = escape(" · ".join(part for part in (node.detail, place_of(node.calls), summary(graph)) if part))
    line = f"{number}{escape(node.title)} <span>{where}</span>"
    return f"<details><summary>{line}</summary>{svg_of([graph], name, styled=False)}{inner}</details>"
