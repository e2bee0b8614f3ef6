"""Adam for both networks, and the published learning-rate schedules."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from ganimation_jax.types import Optimizers

# Which epoch the linear decay takes an image to be in (0 is the first).
DECAYS = {
    "smooth": lambda epoch: epoch,
    "by_epoch": jnp.floor,  # official code: lowered after an epoch, never 0
    "by_next_epoch": lambda epoch: jnp.floor(epoch) + 1,  # ganimation_replicate: 0 in the last
}


def decay_factor(
    epoch: jax.Array | float, epochs: float, decay_epochs: float, decay: str = "smooth"
) -> jax.Array:
    """Share of the learning rate: 1, then linear to 0 over the last ``decay_epochs``.

    Args:
      epoch: epochs trained so far, with their fraction.
      epochs: in the whole training.
      decay_epochs: how many of them decay.
      decay: a name in ``DECAYS``.
    """
    left = epochs - DECAYS[decay](jnp.asarray(epoch, jnp.float32))
    return jnp.clip(left / max(decay_epochs, 1e-9), 0, 1)


def build_optimizers(cfg: ConfigDict, epoch: int = 1, critic_losses: int = 1) -> Optimizers:
    """Optimisers as ``cfg`` describes them; the shape of their state depends on none of it.

    Args:
      cfg: the run.
      epoch: images in one.
      critic_losses: optimiser updates of the critic on each batch.
    """

    def adam(updates_per_step: int) -> optax.GradientTransformation:
        def rate(count: jax.Array) -> jax.Array:
            images = count // updates_per_step * cfg.n_critic * cfg.batch_size
            return cfg.lr * decay_factor(images / epoch, cfg.epochs, cfg.decay_epochs, cfg.decay)

        b1, b2 = cfg.adam
        return optax.adam(rate, b1, b2)

    return Optimizers(generator=adam(1), critic=adam(cfg.n_critic * critic_losses))
