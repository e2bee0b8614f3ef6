"""The clock of a run: images, steps, calls of the device, phases."""

import math
from typing import NamedTuple, Self

from ml_collections import ConfigDict

from ganimation_jax.types import Training


class Schedule(NamedTuple):
    """How long a run is. All lengths are whole calls of the device."""

    images_per_step: int
    steps_per_call: int
    ends: tuple[int, ...]  # the step at which each phase ends

    @classmethod
    def of(cls, cfg: ConfigDict, training: Training, examples: int) -> Self:
        """The schedule of ``cfg.epochs`` over ``examples`` training faces."""
        images_per_step = training.sampling.batches * cfg.batch_size
        calls = math.ceil(cfg.epochs * examples / (images_per_step * cfg.steps_per_call))
        shares = [phase.share for phase in training.phases]
        cuts = [round(calls * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
        return cls(images_per_step, cfg.steps_per_call, tuple(x * cfg.steps_per_call for x in cuts))

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.ends[-1]

    def images(self, step: int) -> int:
        """Training images seen after so many steps."""
        return step * self.images_per_step

    def phase(self, step: int) -> int:
        """The phase, by number, that the step after ``step`` belongs to."""
        return min(self.phases_ended(step), len(self.ends) - 1)

    def phases_ended(self, step: int) -> int:
        """The number of phases that have no step after ``step``; all if the run is finished."""
        return sum(end <= step for end in self.ends)

    def due(self, interval: int, images: int) -> bool:
        """Whether something done every ``interval`` images is due after the call ending here."""
        since = self.images_per_step * self.steps_per_call
        return images % interval < since or images == self.images(self.steps)
