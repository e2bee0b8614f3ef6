"""What a run says of itself: console, ``metrics.jsonl``, pictures, Weights & Biases."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger(__name__)

Values = Mapping[str, float]
CELL = 96  # pixels; smaller images are hard to see and to label
CONSOLE = ("critic/loss", "critic/penalty", "critic/aus", "generator/loss", "generator/aus")


class Writer:
    """Writes metrics and pictures of one run under its workdir.

    Records are keyed by images, the clock of training. Records of a former attempt that lie
    after ``start`` are dropped from ``metrics.jsonl``: this attempt makes them again.

    Args:
      workdir: of the run.
      config: stored as ``config.json`` and with W&B.
      start: images trained on so far.
      total: images in all, for the ETA.
      wandb: ``mode`` ("auto": online if a key is set, else offline; "online", "offline",
        "disabled"), ``project``, ``group``, ``name``.
    """

    def __init__(
        self,
        workdir: Path,
        config: Mapping[str, Any],
        *,
        start: int = 0,
        total: int = 0,
        wandb: Mapping[str, str],
    ):
        workdir.mkdir(parents=True, exist_ok=True)
        self._workdir, self._total = workdir, total
        self._last: tuple[int, float] | None = None  # images and time of the last record
        (workdir / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        self._jsonl = workdir / "metrics.jsonl"
        _drop_after(self._jsonl, start)
        self._wandb = _start_wandb(workdir, config, **wandb)

    def metrics(self, images: int, values: Values, console: Sequence[str] = CONSOLE) -> None:
        """Record scalars; those named in ``console`` are also printed, with speed and ETA."""
        record = {name: float(value) for name, value in values.items()}
        with self._jsonl.open("a") as file:
            file.write(json.dumps({"images": images} | record) + "\n")
        if self._wandb:
            self._wandb.log(record, step=images)
        shown = "  ".join(f"{name} {record[name]:.4g}" for name in console if name in record)
        log.info("%s  %s", self._clock(images), shown)

    def picture(self, images: int, name: str, pixels: np.ndarray) -> Path:
        """Store an image, uint8 ``h w 3``, as ``<name>-<images>.png``; returns its path."""
        folder = self._workdir / "samples"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}-{images:08d}.png"
        Image.fromarray(pixels).save(path)
        if self._wandb:
            import wandb

            self._wandb.log({name: wandb.Image(str(path))}, step=images)
        return path

    def close(self) -> None:
        """Finish the W&B run, if there is one."""
        if self._wandb:
            self._wandb.finish()

    def _clock(self, images: int) -> str:
        """Progress, and the speed since the last record: the first one waits for compilation."""
        now, last = time.monotonic(), self._last
        self._last = images, now
        text = f"{images:,}/{self._total:,} images"
        if last and images > last[0]:
            speed = (images - last[0]) / (now - last[1])
            left = int((self._total - images) / speed)
            eta = f"{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d}"
            text += f"  {speed:.1f} images/s  ETA {eta}"
        return text


def grid(
    cells: Sequence[Sequence[np.ndarray]], rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> np.ndarray:
    """Images in rows and columns with labels at the left and on top.

    Args:
      cells: uint8 ``h w 3`` each, all of one size; enlarged to ``CELL`` pixels if smaller.
      rows, columns: labels; empty for none.

    Returns:
      uint8 ``H W 3``.
    """
    zoom = max(1, -(-CELL // cells[0][0].shape[1]))
    cells = [[cell.repeat(zoom, axis=0).repeat(zoom, axis=1) for cell in row] for row in cells]
    height, width = cells[0][0].shape[:2]
    text_size = max(10, width // 8)
    font = ImageFont.load_default(text_size)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength
    left = int(max((measure(label, font) for label in rows), default=-8)) + 8
    top = int(text_size * 1.6) if columns else 0
    gap = max(2, width // 48)
    size = (left + len(cells[0]) * (width + gap), top + len(cells) * (height + gap))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for x, label in enumerate(columns):
        middle = left + x * (width + gap) + width // 2
        draw.text((middle, top // 2), label, "black", font, anchor="mm")
    for y, row in enumerate(cells):
        if y < len(rows):
            middle = top + y * (height + gap) + height // 2
            draw.text((left - 6, middle), rows[y], "black", font, anchor="rm")
        for x, cell in enumerate(row):
            place = (left + x * (width + gap), top + y * (height + gap))
            sheet.paste(Image.fromarray(cell), place)
    return np.asarray(sheet)


def _drop_after(path: Path, images: int) -> None:
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        # A line that a kill cut short has no line end, and its record is made again.
        kept = [x for x in lines if x.endswith("\n") and json.loads(x)["images"] <= images]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept))
        partial.replace(path)


def _start_wandb(
    workdir: Path, config: Mapping[str, Any], mode: str, project: str, group: str, name: str
) -> Any:
    if mode == "disabled":
        return None
    if mode == "auto":
        mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    import wandb

    return wandb.init(
        mode=cast(Literal["online", "offline"], mode),
        dir=workdir,
        config=dict(config),
        project=project or None,
        group=group or None,
        name=name or None,
    )
