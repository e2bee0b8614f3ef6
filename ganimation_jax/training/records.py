"""The metrics of calls under way: fetched without stopping the device, watched, recorded."""

import collections
from collections.abc import Callable, Mapping, Sequence

import jax

from ganimation_jax.logs.writer import Writer
from ganimation_jax.training.guard import Guard
from ganimation_jax.training.monitors import Monitors
from ganimation_jax.types import Metrics

IN_FLIGHT = 2  # calls that the host runs ahead of the device


class Records:
    """Metrics on their way from the device to the logs.

    Args:
      writer: where they are written.
      guard: counts the updates that were skipped.
      monitors: look for failures in what is written.
      due: images -> whether the metrics after so many are to be written.
      console: metrics to print.
    """

    def __init__(
        self,
        writer: Writer,
        guard: Guard,
        monitors: Monitors,
        due: Callable[[int], bool],
        console: Sequence[str],
    ):
        self._writer, self._guard, self._monitors = writer, guard, monitors
        self._due, self._console = due, tuple(console)
        self._waiting: collections.deque[tuple[int, Metrics]] = collections.deque()

    def push(self, images: int, metrics: Metrics) -> None:
        """Take the metrics of the call that ends after ``images``; may still be computed."""
        self._waiting.append((images, metrics))
        self.settle(IN_FLIGHT)

    def settle(self, left: int = 0) -> None:
        """Wait until at most ``left`` calls are under way; record those that ended."""
        while len(self._waiting) > left:
            images, metrics = self._waiting.popleft()
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
            self._guard.observe(images, values)
            if self._due(images):
                self.write(images, values, self._console)

    def write(self, images: int, values: Mapping[str, float], console: Sequence[str]) -> None:
        """Record values and report what the monitors find in them."""
        self._writer.metrics(images, values, console)
        for alert in self._monitors.observe(images, values):
            self._writer.alert(alert)

    def rewind(self, images: int) -> None:
        """Forget what was recorded after ``images``, and what is under way."""
        self._waiting.clear()
        self._guard.reset()
        self._writer.rewind(images)
        self._monitors.replay(self._writer.history())
