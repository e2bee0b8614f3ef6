"""Weight clipping, and how often a clipped critic is updated (WGAN; Arjovsky et al. 2017).

A critic whose weights lie in a small box is Lipschitz: this is how the first Wasserstein GAN bounds
the slope that the gradient penalty (WGAN-GP) holds at 1. ``types.Optimizer`` says when the clipping
happens: ``after`` each update, as in the paper's Algorithm 1, or ``before`` each loss, as in the
published code, where the generator meets a critic whose last update is not clipped yet.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ganimation_jax.types import Array, Nets, Optimizer, Params

WHEN = ("after", "before")
START = 25  # generator updates until which the critic gets more updates than later
AGAIN = 500  # and again before every such generator update


def clamp(limit: float, leave: Collection[str] = ()) -> Callable[[Nets], Nets]:
    """Make a function that clips all weights to [-limit, limit], scales of norms included.

    Args:
      limit: the largest absolute value of a weight (published: 0.01).
      leave: names of top-level parts of a network that keep their values, because the critic's
        score does not depend on them.
    """

    def clip(part: Params) -> Params:
        return jax.tree.map(lambda x: jnp.clip(x, -limit, limit), part)

    return lambda nets: {
        network: {name: part if name in leave else clip(part) for name, part in params.items()}
        for network, params in nets.items()
    }


def clip_weights(
    optimizer: Optimizer, limit: float, when: str = "after", leave: Collection[str] = ()
) -> Optimizer:
    """Make an optimiser clip the weights of the networks that it trains; see ``clamp``.

    Args:
      optimizer: of a critic.
      limit: the largest absolute value of a weight; 0: nothing is clipped.
      when: "after" each update (the paper) or "before" each loss (its code).
      leave: names of parts that keep their values.

    Raises:
      ValueError: ``limit`` is negative, or ``when`` is something else.
    """
    if limit < 0:
        raise ValueError(f"loss.clip is {limit}; it must not be negative, and 0 is none")
    if when not in WHEN:
        raise ValueError(f"loss.clip_when {when!r} is neither {' nor '.join(WHEN)}")
    if not limit:
        return optimizer
    if when == "after":
        return optimizer._replace(after=clamp(limit, leave))
    return optimizer._replace(before=clamp(limit, leave))


class Start(NamedTuple):
    """When the generator is updated: less often at the start, and now and then later.

    Every step has the same number of critic updates. Where the published code makes 100 of them
    before one update of the generator (the first 25 updates and every 500th), several steps follow
    one another, of which only the last updates the generator.
    """

    several: int = 1  # steps to one update of the generator, in these places

    @classmethod
    def of(cls, critic_updates: int, at_start: int) -> "Start":
        """With ``critic_updates`` in a step and at least ``at_start`` before these updates."""
        return cls(max(1, -(-at_start // critic_updates)))

    def steps_after(self, updates: Array) -> Array:
        """The number of steps taken with so many updates of the generator."""
        later = jnp.maximum(updates - 1, 0) // AGAIN
        return updates + (self.several - 1) * (jnp.minimum(updates, START) + later)

    def due(self, step: Array) -> Array:
        """Whether the step after ``step`` steps updates the generator."""
        # After the start: one step an update up to the 500th, which takes several, and so on.
        since = step - START * self.several - (AGAIN - START)
        later = (since < 0) | (since % (self.several + AGAIN - 1) >= self.several - 1)
        early = step % self.several == self.several - 1
        return jnp.where(step < START * self.several, early, later)
