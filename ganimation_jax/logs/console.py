"""A run's progress, in lines for people."""

import logging
import time
from collections.abc import Mapping, Sequence

from ganimation_jax.logs.alerts import Alert

log = logging.getLogger(__name__)


class Console:
    """Prints progress, speed and remaining time.

    Args:
      total: images in all.
    """

    def __init__(self, total: int):
        self._total = total
        self._last: tuple[int, float] | None = None  # images and time of the last record

    def metrics(self, images: int, values: Mapping[str, float], shown: Sequence[str]) -> None:
        """Print the values named in ``shown``; without any, all that are called ``loss``."""
        names = shown or [name for name in values if name.endswith("/loss")]
        text = "  ".join(f"{name} {values[name]:.4g}" for name in names if name in values)
        log.info("%s  %s", self._clock(images), text)

    def alert(self, alert: Alert) -> None:
        """Print an alert."""
        level = logging.WARNING if alert.began else logging.INFO
        log.log(level, "%s  %s", f"{alert.images:,} images", alert.message)

    def rewind(self) -> None:
        """Measure speed from the next record on."""
        self._last = None

    def _clock(self, images: int) -> str:
        """Progress, and the speed since the last record: the first one waits for compilation."""
        now, last = time.monotonic(), self._last
        self._last = images, now
        text = f"{images:,}/{self._total:,} images"
        if last and images > last[0] and now > last[1]:
            speed = (images - last[0]) / (now - last[1])
            left = int((self._total - images) / speed)
            eta = f"{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d}"
            text += f"  {speed:.1f} images/s  ETA {eta}"
        return text
