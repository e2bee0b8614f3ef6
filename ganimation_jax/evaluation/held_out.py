"""What evaluators look at: held-out faces, their edits, and what the critic reads in both."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from ganimation_jax.evaluation import attention, aus, quality
from ganimation_jax.types import Batch, Edit


class HeldOut(NamedTuple):
    """Arrays over the held-out faces; images float32 in [-1, 1]."""

    image: np.ndarray  # b h w 3
    aus: np.ndarray  # b n, annotated
    target_aus: np.ndarray  # b n, asked for
    edited: np.ndarray  # b h w 3
    attention: np.ndarray  # b h w 1
    reconstructed: np.ndarray  # b h w 3, the edit edited back to `aus`
    aus_read: np.ndarray  # b n, the critic's reading of `image`
    edited_aus_read: np.ndarray  # b n, the critic's reading of `edited`


def look(
    batches: Iterable[Batch],
    edit: Callable[[jax.Array, jax.Array], Edit],
    read_aus: Callable[[jax.Array], jax.Array],
) -> HeldOut:
    """Edit held-out faces there and back.

    Args:
      batches: with float images.
      edit: image, aus -> Edit; compiled.
      read_aus: image -> aus; compiled.
    """
    parts = []
    for batch in batches:
        there = edit(batch.image, batch.target_aus)
        back = edit(there.image, batch.aus)
        part = {
            "image": batch.image,
            "aus": batch.aus,
            "target_aus": batch.target_aus,
            "edited": there.image,
            "attention": there.attention,
            "reconstructed": back.image,
            "aus_read": read_aus(batch.image),
            "edited_aus_read": read_aus(there.image),
        }
        parts.append(HeldOut(**jax.device_get(part)))
    return HeldOut(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))


def evaluate(held_out: HeldOut, action_units: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """All evaluators in turn: ``(name, value)``."""
    h = held_out
    yield from aus.agreement("critic_on_real", action_units, h.aus_read, h.aus)
    yield from aus.agreement("critic_on_edits", action_units, h.edited_aus_read, h.target_aus)
    yield from aus.change_correlation(h.edited_aus_read - h.aus_read, h.target_aus - h.aus)
    yield from attention.health(h.attention)
    yield from quality.reconstruction(h.reconstructed, h.image)
    yield from quality.change(h.edited, h.image)
