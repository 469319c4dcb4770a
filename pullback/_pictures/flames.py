"""Flame graphs: as SVG, as collapsed stacks, and as the JSON that speedscope opens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape

from pullback._core.errors import Location
from pullback._pictures.graphs import short_rule
from pullback._pictures.measuring import Place

_WIDTH, _ROW, _CHARACTER = 1080.0, 19.0, 6.7
# what is narrower is left out
_NARROWEST = 0.6
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# the kinds of bars, and their colors where it is light and where it is dark
_COLORS = {
    "paper": ("#ffffff", "#14171d"),
    "ink": ("#1d2330", "#e8ebf1"),
    "forward": ("#c9d9fb", "#27437c"),
    "backward": ("#fbd3b4", "#7a4519"),
    "rule": ("#e0cdf6", "#56357d"),
    "no": ("#dfe3e8", "#3a414c"),
}


def stack_of(place: Place) -> tuple[str, ...]:
    """The frames of an operation, from the outermost to itself."""
    rule = [short_rule(place.rule)] if place.rule else []
    return (
        f"{pass_of(place.backward)} pass",
        *map(short, place.calls),
        *rule,
        place.primitive,
    )


def pass_of(backward: bool | None) -> str:
    """The name of a pass."""
    return "no" if backward is None else "backward" if backward else "forward"


def _in_order(seconds: Mapping[Place, float]) -> list[tuple[tuple[str, ...], float, Place]]:
    """The stacks with their times: the forward pass first, then by name."""
    stacks = [(stack_of(place), spent, place) for place, spent in seconds.items() if spent > 0]
    return sorted(stacks, key=lambda item: (item[2].backward is None, bool(item[2].backward), item[0]))


def short(call: Location) -> str:
    """A line in short: the function, the file without its folder, the number."""
    return f"{call.function} ({call.filename.rpartition('/')[2]}:{call.line})"


def collapsed(seconds: Mapping[Place, float]) -> str:
    """A line for each stack, with its microseconds, as flamegraph.pl and its like read them."""
    lines = [
        ";".join(frame.replace(";", ",").replace("\n", " ") for frame in stack_of(place)) + f" {round(spent * 1e6)}"
        for place, spent in seconds.items()
    ]
    return "\n".join(sorted(lines)) + "\n"


def speedscope(seconds: Mapping[Place, float], name: str) -> str:
    """The JSON of speedscope's file format: a profile of samples, each a stack with its seconds."""
    frames: dict[tuple[str, str, int], int] = {}
    samples: list[list[int]] = []
    weights: list[float] = []
    for stack, spent, place in _in_order(seconds):
        places = [("", 0), *((call.filename, call.line) for call in place.calls)]
        places += [("", 0)] * (len(stack) - len(places))
        samples.append([frames.setdefault((f, *where), len(frames)) for f, where in zip(stack, places, strict=True)])
        weights.append(spent)
    return json.dumps(
        {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "shared": {
                "frames": [
                    {"name": frame, **({"file": file, "line": line} if file else {})} for frame, file, line in frames
                ]
            },
            "profiles": [
                {
                    "type": "sampled",
                    "name": name,
                    "unit": "seconds",
                    "startValue": 0,
                    "endValue": sum(weights),
                    "samples": samples,
                    "weights": weights,
                }
            ],
        }
    )


def time_of(seconds: float) -> str:
    """A time in words."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def flame_svg(sizes: Mapping[Place, float], title: str, told: Callable[[float], str] = time_of) -> str:
    """The flame graph: time, or what else has a size, from left to right, callers above what they call."""
    stacks = _in_order(sizes)
    total = sum(spent for _, spent, _ in stacks) or 1.0
    deepest = max((len(stack) for stack, _, _ in stacks), default=0)
    height = deepest * _ROW + 46
    parts: list[str] = []
    for depth in range(deepest):
        x = 0.0
        begin: tuple[float, tuple[str, ...], Place] | None = None
        for stack, spent, place in stacks:
            frames = stack[: depth + 1] if len(stack) > depth else ()
            if begin is not None and frames != begin[1]:
                parts += _bar(begin[0], x, depth, begin[1], begin[2], total, told)
                begin = None
            if begin is None and frames:
                begin = (x, frames, place)
            x += spent
        if begin is not None:
            parts += _bar(begin[0], x, depth, begin[1], begin[2], total, told)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pullback-flames" role="img" width="{_WIDTH:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" font-family="{_FONT}" font-size="11">'
        f"<title>{escape(title)}</title><style>{_style()}</style>"
        f'<rect class="paper" width="100%" height="100%" rx="8"/>'
        f'<text class="ink" x="8" y="22" font-size="14" font-weight="600">{escape(title)}</text>{"".join(parts)}</svg>'
    )


def _bar(
    begin: float,
    end: float,
    depth: int,
    frames: Sequence[str],
    place: Place,
    total: float,
    words: Callable[[float], str],
) -> list[str]:
    """A rectangle with as much of its name as there is room for."""
    scale = (_WIDTH - 16) / total
    x, width, y = 8 + begin * scale, (end - begin) * scale, 36 + depth * _ROW
    if width < _NARROWEST:
        return []
    name = frames[-1]
    ruled = place.rule is not None and short_rule(place.rule) in frames
    kind = "rule" if ruled else pass_of(place.backward)
    told = f"{name}\n{words(end - begin)}, {100 * (end - begin) / total:.1f} %"
    room = int((width - 6) / _CHARACTER)
    shown = name if len(name) <= room else f"{name[: room - 1]}…" if room > 3 else ""
    text = f'<text class="ink" x="{x + 3:.1f}" y="{y + 13:.1f}">{escape(shown)}</text>' if shown else ""
    rect = f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width - 1, 0.5):.1f}" height="{_ROW - 1:.1f}"'
    return [f'<g><title>{escape(told)}</title>{rect} rx="2"/>{text}</g>']


def _style() -> str:
    """The colors; styles are those of a whole page, hence the class."""
    light, dark = (
        "".join(f".pullback-flames .{kind}{{fill:{colors[i]}}}" for kind, colors in _COLORS.items()) for i in (0, 1)
    )
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
