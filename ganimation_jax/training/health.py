"""How training is doing: the failures that users report, seen in the metrics as they come.

A monitor watches one number, made of metrics that training writes anyway. An alert begins
when its mean over the last records is beyond a limit, and ends when all of them are within it.
Nothing is looked at during the warm-up. All that ``Health`` knows follows from the records since
then, in their order: a continued run takes in ``metrics.jsonl`` again and neither loses nor
repeats an alert.

This needs no device: floats in, sentences out. docs/troubleshooting.md explains each failure.
"""

import collections
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ganimation_jax.logs.alerts import Alert
from ganimation_jax.models.critic import depth_for

EVALUATIONS = 2  # records of held-out scores, which are far apart and steady


class Monitor(NamedTuple):
    """One way in which training fails."""

    name: str
    reads: tuple[str, ...]  # metrics; a record that lacks one, or has no number for it, is skipped
    measure: Callable[..., float]  # of these metrics, in this order
    limit: float
    above: bool  # whether values from the limit upwards are bad, or those from it downwards
    symptom: str
    advice: str
    records: int = 5  # looked at together: one is a single batch, or a few


class Health:
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


def build(cfg: ConfigDict, aus: np.ndarray) -> Health:
    """The monitors for a run; those that ``cfg.health`` asks for.

    Args:
      cfg: the run.
      aus: ``len n`` in [0, 1], those of all training faces.
    """
    if not cfg.health.on:
        return Health((), 0)
    depth = cfg.critic.depth or depth_for(cfg.image_size)
    spread = float(aus.var(axis=0).mean())
    found = monitors(
        image_size=cfg.image_size,
        patches=(cfg.image_size // 2**depth) ** 2,
        constant_error=cfg.loss.aus * spread,
    )
    return Health(found, cfg.health.warmup)


def monitors(*, image_size: int, patches: int, constant_error: float) -> tuple[Monitor, ...]:
    """What to look for. Limits and their reasons are here and nowhere else.

    Args:
      image_size: side of the images.
      patches: scores that the critic gives an image.
      constant_error: the AU loss of always answering the mean of the training faces.
    """
    # A critic whose summed score has a gradient of norm 1 can tell two images apart by no more
    # than their distance: at most 2 sqrt(3) image_size, for white and black. Scores are means.
    farthest = 2 * math.sqrt(3) * image_size / patches
    return (
        Monitor(
            name="attention_near_1",
            reads=("generator/attention_mean",),
            measure=float,
            # True edits of drawn faces change 7% of the pixels: at 0.99 a seventh of what is new
            # there shows. Sound runs on real faces have 0.85 to 0.95.
            limit=0.99,
            above=True,
            symptom="the source is kept nearly everywhere, edits will have no visible effect",
            advice="Raise loss.aus or lower loss.cycle; a higher loss.attention pulls the other "
            "way, with care. If critic_aus_flat is told too, mend that first: there is nothing to "
            "be gained by editing",
        ),
        Monitor(
            name="attention_near_0",
            reads=("generator/attention_mean",),
            measure=float,
            # Nine tenths of every pixel painted anew: the generator copies the face itself.
            limit=0.1,
            above=False,
            symptom="the source is ignored, the whole picture is painted anew",
            advice="Lower loss.attention, or raise loss.cycle",
        ),
        Monitor(
            name="no_visible_effect",
            reads=("edit_response/pixels",),
            measure=float,
            # Of 255. True edits of drawn faces change them by 1.4 (32x32) to 1.8 (64x64).
            limit=0.5,
            above=False,
            symptom="edits of held-out faces hardly change them",
            advice="Raise loss.aus, or lower loss.cycle; see critic_aus_flat and attention_near_1",
            records=EVALUATIONS,
        ),
        Monitor(
            name="critic_blind",
            reads=("critic/real", "critic/edited"),
            measure=lambda real, edited: -(real + edited),
            # Less than a ten-thousandth of what it could be; below 0 edits score higher.
            limit=1e-4 * farthest,
            above=False,
            symptom="the critic does not tell edited from real: the Wasserstein estimate is low",
            advice="Lower loss.penalty as long as critic/gradient_norm stays near 1; raise "
            "lr_critic or n_critic; for a narrow critic raise critic.init_std",
        ),
        Monitor(
            name="critic_explodes",
            reads=("critic/real", "critic/edited"),
            measure=lambda real, edited: abs(real + edited),
            limit=farthest,
            above=True,
            symptom="scores are further apart than white and black images could be under the "
            "penalty: the critic diverges",
            advice="Raise loss.penalty, lower lr_critic, or set clip_norm; try dtype=float32",
        ),
        Monitor(
            name="gradient_norm_high",
            reads=("critic/gradient_norm",),
            measure=float,
            # The penalty draws it to 1; it is within 0.95 and 1.05 for most of a sound run.
            limit=2.0,
            above=True,
            symptom="the critic is far steeper than the penalty allows, scores and edits will "
            "oscillate",
            advice="Raise loss.penalty, or lower lr_critic or loss.aus",
        ),
        Monitor(
            name="gradient_norm_low",
            reads=("critic/gradient_norm",),
            measure=float,
            limit=0.5,
            above=False,
            symptom="the critic is nearly flat, it gives the generator nothing to follow",
            advice="Raise lr_critic; for a narrow critic raise critic.init_std (see its docstring)",
        ),
        Monitor(
            name="critic_aus_flat",
            reads=("critic/aus",),
            measure=float,
            # A tenth better than a constant answer: the scatter of a few batches.
            limit=0.9 * constant_error,
            above=True,
            symptom="the critic reads action units no better than a constant answer",
            advice="Raise loss.aus or lr_critic; for a narrow critic raise critic.init_std; look "
            "whether the annotations belong to the faces (report.html of prepare)",
        ),
        Monitor(
            name="generator_aus_flat",
            reads=("generator/aus",),
            measure=float,
            limit=0.9 * constant_error,
            above=True,
            symptom="the critic finds the action units asked for no better than if edits all "
            "showed the same",
            advice="Raise loss.aus, or lower loss.cycle; if critic_aus_flat is told too, mend that "
            "first",
        ),
    )
