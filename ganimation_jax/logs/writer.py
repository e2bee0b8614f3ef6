"""What a run says of itself: console, ``metrics.jsonl``, pictures, alerts, Weights & Biases."""

import datetime
import json
import logging
import math
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from PIL import Image

from ganimation_jax.logs.alerts import Alert
from ganimation_jax.version import __version__

log = logging.getLogger(__name__)

Values = Mapping[str, float]
CONSOLE = ("critic/loss", "critic/penalty", "critic/aus", "generator/loss", "generator/aus")


class Writer:
    """Writes metrics and pictures of one run under its workdir.

    Records are keyed by images, the clock of training. Records of a former attempt that lie
    after ``start`` are dropped from ``metrics.jsonl`` and ``alerts.jsonl``: this attempt makes
    them again. ``starts.jsonl`` gets a line for each attempt: when, from where, with which code.

    Args:
      workdir: of the run.
      config: stored as ``config.json`` and with W&B.
      start: images trained on so far.
      total: images in all, for the ETA.
      wandb: ``mode`` ("auto": online if a key is set, else offline; "online", "offline",
        "disabled"), ``project``, ``group``, ``name``, ``tags``, ``artifacts`` (whether ``artifact``
        sends anything). The run's id is kept in ``wandb_id.txt``: a continued run is the same run
        in W&B, which keeps what it has already of records that are made again.
      enabled: whether this process is the one that writes; the others only keep silent.
    """

    def __init__(
        self,
        workdir: Path,
        config: Mapping[str, Any],
        *,
        start: int = 0,
        total: int = 0,
        wandb: Mapping[str, Any],
        enabled: bool = True,
    ):
        self._enabled, self._workdir, self._total = enabled, workdir, total
        self._artifacts = wandb.get("artifacts", False)
        if not enabled:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        self._last: tuple[int, float] | None = None  # images and time of the last record
        (workdir / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        self._jsonl, self._alerts = workdir / "metrics.jsonl", workdir / "alerts.jsonl"
        self.rewind(start)
        code = {"ganimation_jax": __version__, "commit": commit_of(Path(__file__).parents[1])}
        self._wandb = _start_wandb(workdir, dict(config) | {"code": code}, **wandb)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        _append(workdir / "starts.jsonl", {"images": start, "time": now} | code)

    def metrics(self, images: int, values: Values, console: Sequence[str] = CONSOLE) -> None:
        """Record scalars; those named in ``console`` are also printed, with speed and ETA.

        What is not finite is null in the record: JSON has no word for it.
        """
        if not self._enabled:
            return
        numbers = {name: float(value) for name, value in values.items()}
        record = {n: value if math.isfinite(value) else None for n, value in numbers.items()}
        _append(self._jsonl, {"images": images} | record)
        self._to_wandb(images, numbers)
        shown = "  ".join(f"{name} {numbers[name]:.4g}" for name in console if name in numbers)
        log.info("%s  %s", self._clock(images), shown)

    def rewind(self, images: int) -> None:
        """Forget records and alerts after ``images``: training goes on from there once more."""
        if self._enabled:
            _drop_after(self._jsonl, images)
            _drop_after(self._alerts, images)
            self._last = None

    def history(self) -> list[dict[str, Any]]:
        """The records so far, with ``images``; a value that was not finite is None."""
        if not self._enabled or not self._jsonl.exists():
            return []
        return [json.loads(line) for line in self._jsonl.read_text().splitlines()]

    def alert(self, alert: Alert) -> None:
        """Tell that something goes wrong, or does no longer: console, ``alerts.jsonl``, W&B."""
        if not self._enabled:
            return
        _append(self._alerts, alert._asdict())
        level = logging.WARNING if alert.began else logging.INFO
        log.log(level, "%s  %s", f"{alert.images:,} images", alert.message)
        if self._wandb:
            title = alert.name if alert.began else f"{alert.name}: recovered"
            self._wandb.alert(title, alert.message, level="WARN" if alert.began else "INFO")

    def picture(self, images: int, name: str, pixels: np.ndarray) -> Path:
        """Store an image, uint8 ``h w 3``, as ``<name>-<images>.png``; returns its path."""
        folder = self._workdir / "samples"
        path = folder / f"{name}-{images:08d}.png"
        if not self._enabled:
            return path
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        if self._wandb:
            import wandb

            self._to_wandb(images, {name: wandb.Image(str(path))})
        return path

    def video(self, images: int, name: str, frames: Sequence[np.ndarray], rate: int = 10) -> Path:
        """Store frames, uint8 ``h w 3`` each, as ``<name>-<images>.gif``; returns its path.

        Args:
          images, name: as for ``picture``.
          frames: of one size; shown again and again.
          rate: frames a second.
        """
        folder = self._workdir / "samples"
        path = folder / f"{name}-{images:08d}.gif"
        if not self._enabled:
            return path
        folder.mkdir(exist_ok=True)
        first, *others = [Image.fromarray(frame) for frame in frames]
        first.save(path, save_all=True, append_images=others, duration=1000 // rate, loop=0)
        if self._wandb:
            import wandb

            self._to_wandb(images, {name: wandb.Video(str(path), format="gif")})
        return path

    def artifact(self, folder: Path, step: int) -> None:
        """Send a checkpoint to W&B, if ``artifacts`` says so; it must be complete.

        Args:
          folder: of the checkpoint.
          step: its number, an alias of the artifact's version.
        """
        if self._enabled and self._wandb and self._artifacts:
            import wandb

            checkpoint = wandb.Artifact(f"checkpoint-{self._wandb.id}", type="checkpoint")
            checkpoint.add_dir(str(folder))
            self._wandb.log_artifact(checkpoint, aliases=["latest", f"step-{step}"])

    def close(self) -> None:
        """Finish the W&B run, if there is one."""
        if self._enabled and self._wandb:
            self._wandb.finish()

    def _to_wandb(self, images: int, values: Mapping[str, Any]) -> None:
        # In a continued run W&B is ahead at first: it has these records, and refuses them.
        if self._wandb and images >= self._wandb.step:
            self._wandb.log(values, step=images)

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


def _drop_after(path: Path, images: int) -> None:
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        # A line that a kill cut short has no line end, and its record is made again.
        kept = [x for x in lines if x.endswith("\n") and json.loads(x)["images"] <= images]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept))
        partial.replace(path)


def commit_of(folder: Path) -> str:
    """The git commit that ``folder``, the root of a repository, is at; empty if it is none."""
    git = folder / ".git"
    if git.is_file():  # a worktree: the file says where its own folder is
        git = folder / git.read_text().removeprefix("gitdir:").strip()
    head = git / "HEAD"
    if not head.exists():
        return ""
    reference = head.read_text().strip()
    if not reference.startswith("ref:"):
        return reference
    name = reference.removeprefix("ref:").strip()
    shared = git / "commondir"
    for place in (git, git / shared.read_text().strip()) if shared.exists() else (git,):
        if (place / name).exists():
            return (place / name).read_text().strip()
        packed = place / "packed-refs"
        for line in packed.read_text().splitlines() if packed.exists() else ():
            if line.endswith(f" {name}"):
                return line.split()[0]
    return ""


def _append(path: Path, record: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def _start_wandb(
    workdir: Path,
    config: Mapping[str, Any],
    mode: str,
    project: str,
    group: str,
    name: str,
    tags: Sequence[str] = (),
    **ours: bool,
) -> Any:
    if mode == "disabled":
        return None
    if mode == "auto":
        mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    import wandb

    kept = workdir / "wandb_id.txt"
    # An agent of a sweep says which run it expects.
    known = os.environ.get("WANDB_RUN_ID") or (kept.read_text().strip() if kept.exists() else "")
    run_id = known or uuid.uuid4().hex[:8]
    kept.write_text(run_id + "\n")
    return wandb.init(
        mode=cast(Literal["online", "offline"], mode),
        dir=workdir,
        config=dict(config),
        project=project or None,
        group=group or None,
        name=name or None,
        tags=list(tags) or None,
        id=run_id,
        resume="allow" if mode == "online" else None,  # offline each attempt is a folder
    )
