"""Where a run's measurements go: its files, the console, Weights & Biases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganimation_jax.logs.alerts import Alert
from ganimation_jax.logs.console import Console
from ganimation_jax.logs.run_files import RunFiles, commit_of, sample_path
from ganimation_jax.logs.weights_and_biases import WandbSink
from ganimation_jax.version import __version__


class Writer:
    """Passes what one run measures to its sinks: files, console, W&B.

    Args:
      workdir: of the run.
      config: stored as ``config.json`` and with W&B.
      start: images trained on so far: records of a former attempt that come after are dropped,
        because this attempt makes them again.
      total: images in all, for the remaining time.
      wandb: arguments of ``WandbSink``.
      enabled: whether this process is the one that writes; the others do nothing.
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
        self._workdir, self._enabled = workdir, enabled
        if enabled:
            commit = commit_of(Path(__file__).parents[2])
            code = {"ganimation_jax": __version__, "commit": commit}
            self._files = RunFiles(workdir, config, start, code)
            self._console = Console(total)
            self._wandb = WandbSink(workdir, dict(config) | {"code": code}, **wandb)

    def metrics(
        self, images: int, values: Mapping[str, float], console: Sequence[str] = ()
    ) -> None:
        """Record scalars; those named in ``console`` are also printed, with speed and ETA.

        Without names, all that are called ``loss`` are printed.
        """
        if self._enabled:
            numbers = {name: float(value) for name, value in values.items()}
            self._files.metrics(images, numbers)
            self._wandb.metrics(images, numbers)
            self._console.metrics(images, numbers, console)

    def rewind(self, images: int) -> None:
        """Forget records and alerts after ``images``: training resumes there once more."""
        if self._enabled:
            self._files.rewind(images)
            self._console.rewind()

    def history(self) -> list[dict[str, Any]]:
        """The records so far, with ``images``; a value that was not finite is None."""
        return self._files.history() if self._enabled else []

    def alert(self, alert: Alert) -> None:
        """Report that something goes wrong, or does no longer."""
        if self._enabled:
            self._files.alert(alert)
            self._console.alert(alert)
            self._wandb.alert(alert)

    def picture(self, images: int, name: str, pixels: np.ndarray) -> Path:
        """Store an image, uint8 ``h w 3``, as ``samples/<name>-<images>.png``; returns its path."""
        if self._enabled:
            path = self._files.picture(images, name, pixels)
            self._wandb.media(images, name, path)
        return sample_path(self._workdir, images, name, ".png")

    def video(self, images: int, name: str, frames: Sequence[np.ndarray], rate: int = 10) -> Path:
        """Store frames, uint8 ``h w 3`` each, as a GIF beside the pictures; returns its path.

        Args:
          images, name: as for ``picture``.
          frames: of one size; shown again and again.
          rate: frames a second.
        """
        if self._enabled:
            path = self._files.video(images, name, frames, rate)
            self._wandb.media(images, name, path)
        return sample_path(self._workdir, images, name, ".gif")

    def artifact(self, folder: Path, step: int) -> None:
        """Send a checkpoint to W&B, if the config says so; it must be complete.

        Args:
          folder: of the checkpoint.
          step: its number, an alias of the artifact's version.
        """
        if self._enabled:
            self._wandb.artifact(folder, step)

    def close(self) -> None:
        """Finish the W&B run, if there is one."""
        if self._enabled:
            self._wandb.close()
