"""What evaluators look at: held-out faces, their edits, and what the critic reads in both."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ganimation_jax.data.pipeline import Source
from ganimation_jax.evaluation import attention, aus, quality, truth
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.types import Batch, Edit, to_float


class HeldOut(NamedTuple):
    """Arrays over the held-out faces; images float32 in [-1, 1]."""

    image: np.ndarray  # b h w 3
    aus: np.ndarray  # b n, annotated
    target_aus: np.ndarray  # b n, asked for
    edited: np.ndarray  # b h w 3
    attention: np.ndarray | None  # b h w 1; None where the model has none
    reconstructed: np.ndarray  # b h w 3, the edit edited back to `aus`
    aus_read: np.ndarray | None  # b n, the model's own reading of `image`, if it reads
    edited_aus_read: np.ndarray | None  # b n, its reading of `edited`


def look(
    batches: Iterable[dict[str, np.ndarray]],
    edit: Callable[[jax.Array, jax.Array, jax.Array], Edit],
    read_aus: Callable[[jax.Array], jax.Array] | None,
) -> HeldOut:
    """Edit held-out faces there and back.

    Args:
      batches: of ``data.pipeline.evaluation_batches``.
      edit: image, want, have -> Edit; compiled.
      read_aus: image -> conditions; compiled; None if the model reads none.
    """
    parts = []
    for arrays in batches:
        batch = Batch(**{name: jnp.asarray(array) for name, array in arrays.items()})
        batch = batch._replace(image=to_float(batch.image))
        there = edit(batch.image, batch.want, batch.have)
        back = edit(there.image, batch.have, batch.want)
        part = {
            "image": batch.image,
            "aus": batch.have,
            "target_aus": batch.want,
            "edited": there.image,
            "attention": there.attention,
            "reconstructed": back.image,
            "aus_read": read_aus(batch.image) if read_aus else None,
            "edited_aus_read": read_aus(there.image) if read_aus else None,
        }
        parts.append(HeldOut(**jax.device_get(part)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def evaluate(
    held_out: HeldOut, faces: Source, action_units: tuple[str, ...]
) -> Iterator[tuple[str, float]]:
    """The evaluators that are quick enough to run during training: ``(name, value)``.

    Args:
      held_out: what was seen.
      faces: where it comes from: drawn ones have a true edit.
      action_units: names of the n action units.
    """
    h = held_out
    if h.aus_read is not None and h.edited_aus_read is not None:
        yield from aus.agreement("critic_on_real", action_units, h.aus_read, h.aus)
        yield from aus.agreement("critic_on_edits", action_units, h.edited_aus_read, h.target_aus)
        yield from aus.change_correlation(h.edited_aus_read - h.aus_read, h.target_aus - h.aus)
    if h.attention is not None:
        yield from attention.health(h.attention)
    yield from quality.reconstruction(h.reconstructed, h.image)
    yield from quality.change(h.edited, h.image)
    if isinstance(faces, SyntheticFaces):
        yield from truth.evaluate(
            truth.of(faces, action_units, h.target_aus), h.image, h.edited, h.attention
        )
