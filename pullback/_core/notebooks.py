"""Reports and jaxprs as HTML, for notebooks (`_repr_html_`). All text is escaped; colors are the notebook's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

_BLOCK = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;text-align:left;white-space:pre-wrap"
_TYPE = re.compile(r"(?<=[\w_]):(\??[\w.]+\[[^\]\n]*\])")
_OPERATION = re.compile(r"(?<= = )([A-Za-z_][\w.\-]*)")
_WORD = re.compile(r"(?:(?<=\{ )lambda|(?<=\. )let\b|\bin(?= \())")


def preformatted(text: str) -> str:
    """Text with its lines as they are."""
    return f'<pre style="{_BLOCK}">{escape(text)}</pre>'


def table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table under a heading; the heading alone if there are no rows."""
    if not rows:
        return f"<p>{escape(heading)}</p>"
    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in columns)
    cell = '<td style="text-align:left;vertical-align:top;white-space:pre-wrap">'
    body = "".join(f"<tr>{''.join(f'{cell}{escape(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<p>{escape(heading)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def grid(heading: str, labels: Sequence[Sequence[str]]) -> str:
    """Boxes in rows under a heading, equal labels in one color."""
    known = {label: i for i, label in enumerate(dict.fromkeys(label for row in labels for label in row))}
    # the golden angle: colors that follow one another differ
    style = "border:1px solid #8886;padding:.6em 1em;text-align:center;background:hsl({:.0f} 60% 50% / .25)"
    cells = [
        "".join(f'<td style="{style.format(known[label] * 137.5 % 360)}">{escape(label)}</td>' for label in row)
        for row in labels
    ]
    return f"<p>{escape(heading)}</p><table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def jaxpr_html(text: str) -> str:
    """The text of a jaxpr, operations in bold and types pale."""
    text = escape(text, quote=False)
    text = _OPERATION.sub(r"<b>\1</b>", text)
    text = _TYPE.sub(r':<span style="opacity:.6">\1</span>', text)
    text = _WORD.sub(r'<span style="opacity:.6">\g<0></span>', text)
    return f'<pre style="{_BLOCK};white-space:pre;overflow-x:auto">{text}</pre>'
