"""How training is doing: the failures that users report, seen in the metrics as they come.

A monitor watches one number, made of metrics that training writes anyway. An alert begins
when its mean over the last records is beyond a limit, and ends when all of them are within it.
Nothing is looked at during the warm-up. All that ``Monitors`` knows follows from the records since
then, in their order: a continued run takes in ``metrics.jsonl`` again and neither loses nor
repeats an alert.

This needs no device: floats in, sentences out. docs/troubleshooting.md explains each failure.
"""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganimation_jax.logs.alerts import Alert
from ganimation_jax.types import Monitor


class Monitors:
    """Watches the metrics of one run.

    Args:
      monitors: what to look for; none: nothing is ever said.
      warmup: images before which records are ignored.
    """

    def __init__(self, monitors: Sequence[Monitor], warmup: int):
        self._monitors, self._warmup = tuple(monitors), warmup
        self._begin()

    def observe(self, images: int, values: Mapping[str, float | None]) -> list[Alert]:
        """Take in one record.

        Args:
          images: trained on so far.
          values: metrics of a log or of an evaluation, by name.

        Returns:
          what begins or ends with this record.
        """
        if images < self._warmup:
            return []
        alerts = []
        for monitor in self._monitors:
            numbers = [values.get(name) for name in monitor.reads]
            known = [number for number in numbers if number is not None and math.isfinite(number)]
            if len(known) == len(numbers):
                self._windows[monitor.name].append(monitor.measure(*known))
                alerts += self._look(images, monitor)
        return alerts

    def replay(self, records: Iterable[Mapping[str, Any]]) -> list[Alert]:
        """Begin anew with what was observed before.

        Args:
          records: of ``metrics.jsonl``, each with ``images``.

        Returns:
          the alerts that have begun and not ended.
        """
        self._begin()
        for record in records:
            self.observe(record["images"], record)
        return list(self._open.values())

    def _begin(self) -> None:
        self._open: dict[str, Alert] = {}
        self._windows = {m.name: collections.deque[float]([], m.records) for m in self._monitors}

    def _look(self, images: int, monitor: Monitor) -> list[Alert]:
        window = self._windows[monitor.name]
        value, is_open = sum(window) / len(window), monitor.name in self._open
        bad = [x >= monitor.limit if monitor.above else x <= monitor.limit for x in window]
        bad_mean = value >= monitor.limit if monitor.above else value <= monitor.limit
        if is_open and not any(bad):
            del self._open[monitor.name]
            message = f"RECOVERED {monitor.name}: {_measured(monitor, value)}"
        elif not is_open and bad_mean and len(window) == monitor.records:
            message = (
                f"{monitor.name.upper()}: {monitor.symptom} ({_measured(monitor, value)}, limit "
                f"{monitor.limit:.3g}). {monitor.advice}"
            )
        else:
            return []
        alert = Alert(images, monitor.name, not is_open, value, monitor.limit, message)
        if alert.began:
            self._open[monitor.name] = alert
        return [alert]


def _measured(monitor: Monitor, value: float) -> str:
    return f"{' and '.join(monitor.reads)}: {value:.3g} over {monitor.records} records"
