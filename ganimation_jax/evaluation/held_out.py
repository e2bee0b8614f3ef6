"""What evaluators look at: held-out faces, their edits, and what the model reads in both."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ganimation_jax.data.examples import Source
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.types import Condition, Edit, to_float

EditFaces = Callable[[jax.Array, jax.Array, jax.Array], Edit]  # image, want, have; compiled
ReadFaces = Callable[[jax.Array], jax.Array]  # image -> conditions; compiled


class HeldOut(NamedTuple):
    """Arrays over the held-out faces; images float32 in [-1, 1]."""

    image: np.ndarray  # b h w 3
    have: np.ndarray  # b n, annotated
    want: np.ndarray  # b n, requested
    edited: np.ndarray  # b h w 3
    # b h w 3, the edit edited back to ``have``; None where the model cannot undo edits
    reconstructed: np.ndarray | None
    attention: np.ndarray | None = None  # b h w 1; None where the model has none
    read: np.ndarray | None = None  # b n, the model's own reading of ``image``, if it reads
    edited_read: np.ndarray | None = None  # b n, its reading of ``edited``
    other: np.ndarray | None = None  # b h w 3, a face with ``want``, where the data have it
    paired: np.ndarray | None = None  # b, where ``other`` is the same person's; None: everywhere


class Subject(NamedTuple):
    """What is evaluated: a model and faces that it was not trained on."""

    held_out: HeldOut
    faces: Source  # the source of ``held_out``: its first faces, in order
    conditions: tuple[Condition, ...]  # n
    edit: EditFaces
    read: ReadFaces | None  # the model's own reader, if it has one

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(condition.name for condition in self.conditions)

    @property
    def persons(self) -> list[str]:
        """Who each face is; faces whose person is not known count as persons of their own."""
        count = len(self.held_out.image)
        if isinstance(self.faces, SyntheticFaces):
            return [str(i // self.faces.expressions) for i in range(count)]
        return [self.faces[i].get("person") or f"unknown {i}" for i in range(count)]


def look(
    batches: Iterable[dict[str, np.ndarray]],
    edit: EditFaces,
    read: ReadFaces | None,
    undo: bool = True,
) -> HeldOut:
    """Edit held-out faces there and back.

    Args:
      batches: of ``data.pipeline.evaluation_batches``; closed at the end, if it can be.
      edit: image, want, have -> Edit.
      read: image -> conditions; None if the model reads none.
      undo: whether the model can undo edits (``Model.undoes``).
    """
    try:
        parts = [_look(arrays, edit, read, undo) for arrays in batches]
    finally:
        if close := getattr(batches, "close", None):
            close()
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _look(
    arrays: dict[str, np.ndarray], edit: EditFaces, read: ReadFaces | None, undo: bool
) -> HeldOut:
    image, have, want = (jnp.asarray(arrays[name]) for name in ("image", "have", "want"))
    image = to_float(image)
    there = edit(image, want, have)
    other = arrays.get("other")
    found = {
        "image": image,
        "have": have,
        "want": want,
        "edited": there.image,
        "reconstructed": edit(there.image, have, want).image if undo else None,
        "attention": there.attention,
        "read": read(image) if read else None,
        "edited_read": read(there.image) if read else None,
        "other": None if other is None else to_float(jnp.asarray(other)),
        "paired": arrays.get("paired"),
    }
    return HeldOut(**jax.device_get(found))
