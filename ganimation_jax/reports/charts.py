"""Charts as inline SVG, readable without colour: lines also differ in dash and marker."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

# Of different lightness, for greyscale.
STROKES = (("#1c5d99", ""), ("#d9772b", "7 3"), ("#2b2b2b", "2 3"), ("#7aa874", "10 3 2 3"))
MOST = 300  # points of a line: a screen shows no more
GRID = "#dfe4e9"
DARK, BLUE, RED = "#1f2933", "#2f6f9f", "#c0503a"


class Line(NamedTuple):
    """One line of a chart; not drawn where y is not finite."""

    x: np.ndarray  # p
    y: np.ndarray  # p
    style: int = 0  # which of the STROKES, and which marker
    error: np.ndarray | None = None  # p, drawn as bars of one standard error


class Scale(NamedTuple):
    """Where values lie on paper."""

    low: float
    high: float
    start: float  # pixels
    end: float

    def __call__(self, value: float) -> float:
        """Pixels; beyond either end of the scale they are outside of the drawing area."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def chart(
    lines: Sequence[Line],
    size: tuple[int, int],
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    identity: bool = False,
    markers: bool = False,
) -> Markup:
    """Lines over a grid.

    Args:
      lines: one point at least with finite y among them, if there is no ``y_range``.
      size: width and height in pixels.
      x_range, y_range: by default those of the points, rounded outwards to ticks.
      identity: whether to draw where y is x.
      markers: whether to mark each point.
    """
    width, height = size
    xs = np.concatenate([line.x[np.isfinite(line.y)] for line in lines])
    ys = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    x_ticks = ticks(*(x_range or _span(xs)), about=width // 75)
    y_ticks = ticks(*(y_range or _span(ys)), about=height // 40)
    x_low, x_high = x_range or (min(x_ticks[0], xs.min()), max(xs.max(), x_ticks[1]))
    y_low, y_high = y_range or (y_ticks[0], y_ticks[-1])
    x = Scale(x_low, x_high, 34, width - 10)
    y = Scale(y_low, y_high, height - 18, 8)
    parts = [_axes(x, y, x_ticks, y_ticks)]
    if identity:
        parts.append(
            f'<path d="M{x(x_low):.1f} {y(x_low):.1f}L{x(x_high):.1f} {y(x_high):.1f}"'
            f' stroke="#7b8794" stroke-dasharray="1 3"/>'
        )
    parts += [_line(line, x, y, markers) for line in lines]
    drawing = "".join(parts)  # numbers only: nothing to escape
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" fill="none">{drawing}</svg>')


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers around a range: the first not above ``low``, the last not below ``high``."""
    if high - low < 1e-6 * max(abs(low), 1e-3):  # a constant
        low, high = low - max(abs(low) / 2, 1e-3), high + max(abs(high) / 2, 1e-3)
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def swatch(style: int) -> Markup:
    """A sample of a line's style, for a key."""
    return Markup('<svg width="30" height="12" fill="none"><path d="M1 6H29"{}/>{}</svg>').format(
        Markup(_stroke(style)),
        Markup(_marker(style, 15, 6)),
    )


def histogram(counts: np.ndarray) -> Markup:
    """Shares of the faces over 0-5; heights are square roots, because most faces are at 0."""
    shares = (counts / max(counts.sum(), 1)).tolist()
    width, height = 230, 64  # pixels, without the ticks
    tall = height / max(max(shares), 1e-9) ** 0.5
    wide, step = width / len(shares), 5 / len(shares)
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{height - tall * share**0.5:.1f}" width="{wide - 1:.1f}"'
        f' height="{tall * share**0.5:.1f}"><title>{place * step:.1f}-{(place + 1) * step:.1f}:'
        f" {share:.1%}</title></rect>"
        for place, share in enumerate(shares)
    )
    anchors = ("start", "middle", "middle", "middle", "middle", "end")
    ticks = "".join(
        f'<text x="{value * width / 5:.0f}" y="{height + 13}" text-anchor="{anchor}">{value}</text>'
        for value, anchor in enumerate(anchors)
    )
    return Markup(
        f'<svg viewBox="0 0 {width} {height + 16}" width="{width}" height="{height + 16}">'
        f'<g fill="{BLUE}">{bars}</g>'
        f'<path d="M0 {height}H{width}" stroke="#9aa5b1"/><g class="tick">{ticks}</g></svg>'
    )


def heat_map(matrix: np.ndarray, names: Sequence[str]) -> Markup:
    """A square matrix of numbers in [-1, 1]: red above 0, blue below, NaN blank."""
    cell, edge = 36, 48
    side = edge + cell * len(names)
    parts = []
    for row, name in enumerate(map(escape, names)):
        middle = edge + cell * (row + 0.5)
        parts.append(f'<text x="{edge - 6}" y="{middle + 4}" text-anchor="end">{name}</text>')
        parts.append(f'<text x="{middle}" y="{edge - 8}" text-anchor="middle">{name}</text>')
        for column, value in enumerate(matrix[row].tolist()):
            x, y = edge + cell * column, edge + cell * row
            if row == column:
                continue
            known = value == value
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 1}" height="{cell - 1}" rx="3"'
                f' fill="{_shade(value) if known else "#f0f2f4"}"/>'
            )
            if known:
                ink = "#fff" if abs(value) > 0.55 else DARK
                text = f"{value:.2f}".replace("0.", ".").replace("-.00", ".00")
                parts.append(
                    f'<text x="{x + cell / 2 - 0.5}" y="{y + cell / 2 + 3.5}" text-anchor="middle"'
                    f' fill="{ink}" class="value">{text}</text>'
                )
    drawing = "".join(parts)
    return Markup(
        f'<svg viewBox="0 0 {side} {side}" width="{side}" height="{side}">{drawing}</svg>'
    )


def _span(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _axes(x: Scale, y: Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> str:
    parts = []
    for value in y_ticks:
        if y.low <= value <= y.high:
            parts.append(f'<path d="M{x.start} {y(value):.1f}H{x.end}" stroke="{GRID}"/>')
            parts.append(
                f'<text x="{x.start - 5}" y="{y(value) + 3.5:.1f}" text-anchor="end">'
                f"{_short(value)}</text>"
            )
    inside = [value for value in x_ticks if x.low <= value <= x.high]
    parts += [
        f'<text x="{x(value):.1f}" y="{y.start + 14:.1f}" text-anchor="middle">'
        f"{_short(value)}</text>"
        for value in inside
    ]
    parts.append(f'<path d="M{x.start} {y.start}H{x.end}" stroke="#9aa5b1"/>')
    return "".join(parts)


def _line(line: Line, x: Scale, y: Scale, markers: bool) -> str:
    points_x, points_y = _thin(line.x, line.y)
    parts, pen = [], "M"
    for px, py in zip(points_x.tolist(), points_y.tolist(), strict=True):
        if not math.isfinite(py):
            pen = "M"  # a gap, not a bridge
            continue
        parts.append(f"{pen}{x(px):.1f} {y(py):.1f}")
        pen = "L"
    drawn = f'<path d="{"".join(parts)}"{_stroke(line.style)}/>'
    if markers:
        errors = np.zeros_like(line.y) if line.error is None else np.nan_to_num(line.error)
        for px, py, error in zip(*(a.tolist() for a in (line.x, line.y, errors)), strict=True):
            if math.isfinite(py):
                bar = f"M{x(px):.1f} {y(py - error):.1f}V{y(py + error):.1f}"
                drawn += f'<path d="{bar}" stroke="{STROKES[line.style % 4][0]}"/>'
                drawn += _marker(line.style, x(px), y(py))
    return drawn


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours, where there are more points than can be seen."""
    if len(x) <= MOST:
        return x, y
    pieces = zip(np.array_split(x, MOST), np.array_split(y, MOST), strict=True)
    means = np.array([(a.mean(), b.mean()) for a, b in pieces])
    return means[:, 0], means[:, 1]


def _stroke(style: int) -> str:
    color, dash = STROKES[style % len(STROKES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f' stroke="{color}" stroke-width="1.6" stroke-linejoin="round"{dashes}'


def _marker(style: int, x: float, y: float) -> str:
    shape = (
        f"M{x - 2.6:.1f} {y:.1f}a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0 -5.2 0",
        f"M{x - 2.4:.1f} {y - 2.4:.1f}h4.8v4.8h-4.8z",
        f"M{x:.1f} {y - 3.2:.1f}l3 5.4h-6z",
        f"M{x:.1f} {y - 3.4:.1f}l3.2 3.4l-3.2 3.4l-3.2 -3.4z",
    )[style % 4]
    return f'<path d="{shape}" fill="{STROKES[style % 4][0]}"/>'


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _shade(value: float) -> str:
    """White at 0, red at 1, blue at -1."""
    strength = min(abs(value), 1.0)
    end = RED if value > 0 else BLUE
    channels = (int(end[place : place + 2], 16) for place in (1, 3, 5))
    mixed = (round(250 + (channel - 250) * strength) for channel in channels)
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
