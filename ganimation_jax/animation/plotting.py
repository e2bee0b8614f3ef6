"""Draw the action units of a video's faces over time."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganimation_jax.action_units import ANATOMY
from ganimation_jax.animation.readings import Line
from ganimation_jax.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3
# Of different lightness and dash, so that faces can be told apart without colour.
STROKES = (("#1c5d99", "-"), ("#d9772b", "--"), ("#2b2b2b", ":"), ("#7aa874", "-."))


def figure(lines: Sequence[Line], units: Sequence[str]) -> "Figure":
    """A panel for each action unit: intensity over time, with a line for each face.

    Lines are interrupted where a face was not found.

    Args:
      lines: of one video, in the order of its frames.
      units: which panels.

    Raises:
      ImportError: matplotlib is not installed (extra ``figures``).
    """
    from matplotlib.figure import Figure

    rows = math.ceil(len(units) / COLUMNS)
    made = Figure(figsize=(11, 0.9 + 1.15 * rows), dpi=120, layout="constrained")
    panels = made.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    names = {unit.code: unit.action for unit in ANATOMY}
    faces = sorted({line.face for line in lines})
    for panel, unit in zip(panels, units, strict=False):
        panel.set_title(f"{unit}  {names.get(unit, '')}".strip(), loc="left", fontsize=9)
        panel.set_ylim(-0.03, 1.03)
        panel.set_yticks((0, 0.5, 1))
        panel.grid(color="#dfe4e9", linewidth=0.6)
        panel.tick_params(labelsize=8, length=0)
        panel.spines[:].set_visible(False)
        for number, face in enumerate(faces):
            color, dash = STROKES[number % len(STROKES)]
            times, values = series(lines, unit, face)
            panel.plot(times, values, dash, color=color, linewidth=1.3, label=f"face {face}")
        if not any(unit in line.aus for line in lines):
            panel.text(0.5, 0.5, "not read", transform=panel.transAxes, ha="center", fontsize=9)
    for panel in panels[len(units) :]:
        panel.set_visible(False)
    # The lowest panel of each column; beside the hidden ones they are a row higher.
    for panel in panels[max(len(units) - COLUMNS, 0) : len(units)]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("seconds", fontsize=8)
    made.suptitle(f"Action units in {Path(lines[0].file).name}", x=0.01, ha="left", fontsize=11)
    if len(faces) > 1:
        made.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=4,
                    frameon=False, fontsize=9)  # fmt: skip
    return made


def series(lines: Sequence[Line], unit: str, face: int) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and intensities of one face; NaN where frames of it are missing."""
    times, values, last = [], [], None
    for line in lines:
        if line.face != face or line.frame is None:
            continue
        if last is not None and line.frame > last + 1:
            times.append(math.nan)
            values.append(math.nan)
        times.append(line.time)
        values.append(line.aus.get(unit, math.nan))
        last = line.frame
    return np.array(times, float), np.array(values, float)


def save(lines: Sequence[Line], units: Sequence[str], path: Path) -> None:
    """Write the plot.

    Args:
      path: a ``.png``, ``.svg`` or ``.pdf`` file.

    Raises:
      ImportError: matplotlib is not installed.
      OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    figure(lines, units).savefig(buffer, format=path.suffix[1:].lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
