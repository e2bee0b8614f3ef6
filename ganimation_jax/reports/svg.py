"""The drawings of the report, as inline SVG."""

import html
from collections.abc import Sequence

import numpy as np

INK, BLUE, RED = "#1f2933", "#2f6f9f", "#c0503a"
WIDTH, HEIGHT = 230, 64  # of a histogram


def histogram(counts: np.ndarray) -> str:
    """Shares of the faces over 0-5, heights by square root: most faces are at 0."""
    shares = (counts / max(counts.sum(), 1)).tolist()
    tall = HEIGHT / max(max(shares), 1e-9) ** 0.5
    wide, step = WIDTH / len(shares), 5 / len(shares)
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{HEIGHT - tall * share**0.5:.1f}" width="{wide - 1:.1f}"'
        f' height="{tall * share**0.5:.1f}"><title>{place * step:.1f}-{(place + 1) * step:.1f}:'
        f" {share:.1%}</title></rect>"
        for place, share in enumerate(shares)
    )
    anchors = ("start", "middle", "middle", "middle", "middle", "end")
    ticks = "".join(
        f'<text x="{value * WIDTH / 5:.0f}" y="{HEIGHT + 13}" text-anchor="{anchor}">{value}</text>'
        for value, anchor in enumerate(anchors)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 16}" width="{WIDTH}" height="{HEIGHT + 16}">'
        f'<g fill="{BLUE}">{bars}</g>'
        f'<path d="M0 {HEIGHT}H{WIDTH}" stroke="#9aa5b1"/><g class="tick">{ticks}</g></svg>'
    )


def heat_map(matrix: np.ndarray, names: Sequence[str]) -> str:
    """A square matrix of numbers in [-1, 1]: red above 0, blue below, NaN blank."""
    cell, edge = 36, 48
    side = edge + cell * len(names)
    parts = []
    for row, name in enumerate(names):
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
                ink = "#fff" if abs(value) > 0.55 else INK
                text = f"{value:.2f}".replace("0.", ".").replace("-.00", ".00")
                parts.append(
                    f'<text x="{x + cell / 2 - 0.5}" y="{y + cell / 2 + 3.5}" text-anchor="middle"'
                    f' fill="{ink}" class="value">{text}</text>'
                )
    return f'<svg viewBox="0 0 {side} {side}" width="{side}" height="{side}">{"".join(parts)}</svg>'


def bars(counts: Sequence[tuple[str, int]], color: str = BLUE) -> str:
    """Horizontal bars with their numbers, as rows of a table."""
    largest = max((count for _, count in counts), default=1)
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="n">{count:,}</td><td class="bar"><div style="'
        f'width:{max(100 * count / max(largest, 1), 0.5):.1f}%;background:{color}"></div></td></tr>'
        for name, count in counts
    )
    return f'<table class="bars">{rows}</table>'


def _shade(value: float) -> str:
    """White at 0, red at 1, blue at -1."""
    strength = min(abs(value), 1.0)
    end = RED if value > 0 else BLUE
    channels = (int(end[place : place + 2], 16) for place in (1, 3, 5))
    mixed = (round(250 + (channel - 250) * strength) for channel in channels)
    return "#" + "".join(f"{channel:02x}" for channel in mixed)
