"""What a run writes of itself into its folder: metrics, alerts, attempts and pictures."""

import datetime
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganimation_jax.files import json_lines
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.logs.alerts import Alert, is_alert

Values = Mapping[str, float]
GIT_SECONDS = 5.0


class RunFiles:
    """The files of one run.

    - ``config.json``
    - ``metrics.jsonl``: records by ``images``, the clock of training; what is not finite is null
    - ``alerts.jsonl``: see ``Alert``
    - ``starts.jsonl``: a line for each attempt: when, from where, with which code
    - ``samples/``: pictures and GIFs

    Args:
      workdir: of the run; made if absent.
      config: of the run.
      start: images trained on so far: later records of a former attempt are dropped.
      code: version and commit.
    """

    def __init__(
        self, workdir: Path, config: Mapping[str, Any], start: int, code: Mapping[str, str]
    ):
        workdir.mkdir(parents=True, exist_ok=True)
        self._workdir = workdir
        self._metrics, self._alerts = workdir / "metrics.jsonl", workdir / "alerts.jsonl"
        write_atomically(workdir / "config.json", json.dumps(config, indent=2) + "\n")
        self.rewind(start)
        starts = workdir / "starts.jsonl"
        json_lines.clean(starts, _is_start)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        json_lines.append(starts, {"images": start, "time": now} | dict(code))

    def metrics(self, images: int, values: Values) -> None:
        """Add a record."""
        record = {n: value if math.isfinite(value) else None for n, value in values.items()}
        json_lines.append(self._metrics, {"images": images} | record)

    def alert(self, alert: Alert) -> None:
        """Add an alert."""
        json_lines.append(self._alerts, alert._asdict())

    def rewind(self, images: int) -> None:
        """Forget records and alerts after ``images``; move damaged lines aside."""
        json_lines.clean(self._metrics, json_lines.numbers_only, "images", images)
        json_lines.clean(self._alerts, is_alert, "images", images)

    def history(self) -> list[dict[str, Any]]:
        """The records so far."""
        return json_lines.read(self._metrics, json_lines.numbers_only, "images")

    def picture(self, images: int, name: str, pixels: np.ndarray) -> Path:
        """Store an image, uint8 ``h w 3``; returns its path."""
        path = sample_path(self._workdir, images, name, ".png")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    def video(self, images: int, name: str, frames: Sequence[np.ndarray], rate: int) -> Path:
        """Store frames, uint8 ``h w 3`` each, as an endless GIF; returns its path."""
        path = sample_path(self._workdir, images, name, ".gif")
        path.parent.mkdir(exist_ok=True)
        first, *others = [Image.fromarray(frame) for frame in frames]
        first.save(path, save_all=True, append_images=others, duration=1000 // rate, loop=0)
        return path


def sample_path(workdir: Path, images: int, name: str, suffix: str) -> Path:
    """Where a picture of a run lies."""
    return workdir / "samples" / f"{name}-{images:08d}{suffix}"


def commit_of(folder: Path) -> str:
    """The git commit of the repository whose root is ``folder``; empty if it is none."""
    if not (folder / ".git").exists():  # else git would look in the folders above
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # there is no git
        return ""
    return done.stdout.strip()


def _is_start(record: dict[str, Any]) -> bool:
    return json_lines.is_count(record.get("images")) and isinstance(record.get("time"), str)
