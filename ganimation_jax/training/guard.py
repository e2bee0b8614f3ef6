"""Count updates skipped for non-finite losses or gradients, and name what broke first."""

import logging
import math
from collections.abc import Mapping

log = logging.getLogger(__name__)

SKIPPED = "/skipped"


class Guard:
    """Monitors the metrics of one run for losses and gradients that are not finite.

    The training step itself skips such updates. A single skipped update does no harm; many in
    a row mean that the run has diverged.

    Args:
      patience: number of consecutive calls with a skipped update that are tolerated.
    """

    def __init__(self, patience: int):
        self._patience = patience
        self._in_a_row = 0
        self.first = ""  # the metrics that broke first in this series of calls, and when

    @property
    def clean(self) -> bool:
        """Whether the last call skipped no update, so that its state is worth saving."""
        return not self._in_a_row

    @property
    def lost(self) -> bool:
        """Whether more than ``patience`` consecutive calls skipped an update."""
        return self._in_a_row > self._patience

    def observe(self, images: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one call, which ended after ``images`` training images."""
        shares = {name: value for name, value in metrics.items() if name.endswith(SKIPPED)}
        if not any(shares.values()):
            self._in_a_row, self.first = 0, ""
            return
        self._in_a_row += 1
        # A broken loss term also breaks the sum of the losses and the other network's losses.
        # The single terms say most about the cause.
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
        """Reset the counter, after a good state has been restored."""
        self._in_a_row, self.first = 0, ""
