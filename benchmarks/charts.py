"""Line charts with logarithmic axes as SVG text, for docs: one small writer, no dependency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 420, 240, 64, 48, 42, 110

Series = Mapping[str, Sequence[tuple[float, float]]]


def lines(title: str, across: str, up: str, series: Series) -> str:
    """A chart of y over x, both logarithmic, a line a name. Values are above 0."""
    points = [p for line in series.values() for p in line]
    columns, rows = axis([x for x, _ in points]), axis([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + WIDTH * share(x, columns), TOP + HEIGHT * (1 - share(y, rows))

    parts = [text(LEFT, 18, title, "start", bold=True)]
    for x in columns:
        at, _ = place(x, rows[0])
        parts += [rule(at, at, TOP, TOP + HEIGHT), text(at, TOP + HEIGHT + 16, short(x), "middle")]
    for y in rows:
        _, at = place(columns[0], y)
        parts += [rule(LEFT, LEFT + WIDTH, at, at), text(LEFT - 6, at + 4, short(y), "end")]
    parts += [text(LEFT + WIDTH / 2, TOP + HEIGHT + 34, across, "middle"), text(LEFT, TOP - 10, up, "start")]
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(x, y) for x, y in sorted(line)]
        parts.append(polyline(places, colour))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
        parts.append(text(LEFT + WIDTH + 10, TOP + 12 + 18 * number, name, "start", colour))
    return page(LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM, parts)


def page(width: float, height: float, parts: Sequence[str]) -> str:
    """An SVG file on white."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" font-size="12" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def text(x: float, y: float, words: str, anchor: str, colour: str = "#222", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'


def polyline(points: Sequence[tuple[float, float]], colour: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.8"/>'


def rule(x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def axis(values: Sequence[float]) -> list[float]:
    """Powers of ten, or of two where all values lie within one decade, that enclose the values."""
    base = 10.0 if max(values) > 10 * min(values) else 2.0
    low = math.floor(math.log(min(values), base) + 1e-9)
    high = max(math.ceil(math.log(max(values), base) - 1e-9), low + 1)
    return [base**power for power in range(low, high + 1)]


def share(value: float, ticks: Sequence[float]) -> float:
    return math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])


def short(value: float) -> str:
    """1000 as 1k, 0.001 as 1m."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u")):
        if value >= size * 0.9999:
            return f"{value / size:.3g}{unit}"
    return f"{value:.1e}"
