"""Losses and gradients that are not finite: counts skipped updates and names what broke first."""

import logging
import math
from collections.abc import Mapping

log = logging.getLogger(__name__)

SKIPPED = "/skipped"


class Guard:
    """Watches the metrics of one run for losses and gradients that are not finite.

    The training step skips such updates by itself. One now and then does no harm; many in a row
    mean that the run is lost.

    Args:
      patience: consecutive calls with a skipped update that are tolerated.
    """

    def __init__(self, patience: int):
        self._patience = patience
        self._in_a_row = 0
        self.first = ""  # what broke first in this row of calls, and when

    @property
    def clean(self) -> bool:
        """Whether all updates of the last call were made: its state is worth keeping."""
        return not self._in_a_row

    @property
    def lost(self) -> bool:
        """Whether patience is at an end."""
        return self._in_a_row > self._patience

    def observe(self, images: int, metrics: Mapping[str, float]) -> None:
        """Take in the metrics of one call, those after ``images`` images."""
        shares = {name: value for name, value in metrics.items() if name.endswith(SKIPPED)}
        if not any(shares.values()):
            self._in_a_row, self.first = 0, ""
            return
        self._in_a_row += 1
        # The rest of a call follows from what broke in it: the losses of one network's terms
        # tell more than their sum, or than the other network's.
        names = [name for name, value in metrics.items() if not math.isfinite(value)]
        if not self.first:
            self.first = f"at {images:,} images: {', '.join(names)}"
        left_out = ", ".join(
            f"{value:.0%} of the {name.removesuffix(SKIPPED)}'s updates"
            for name, value in shares.items()
            if value
        )
        log.warning("NOT FINITE at %s images: %s; left out: %s", images, ", ".join(names), left_out)

    def reset(self) -> None:
        """Begin anew, from a state that was good."""
        self._in_a_row, self.first = 0, ""
