"""Pictures of what a model does, for people to look at."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.types import Condition, Edit, to_float, to_uint8

EditFn = Callable[[jax.Array, jax.Array, jax.Array], Edit]  # image, want, have; compiled
SHOWN = ("happy", "surprised", "angry", "sad", "disgusted")
INTENSITY = 0.8
STEPS = 8  # frames from the face's own expression to the target
LEVELS = (0.0, 1 / 3, 2 / 3, 1.0)  # as in the paper's figure 3


def expressions(
    edit: EditFn,
    images: np.ndarray,
    have: np.ndarray,
    conditions: Sequence[Condition],
    undo: bool = True,
) -> np.ndarray:
    """A column for each target, a block for each face.

    The rows of a block: the edit, its attention and colour if the model has them, and the edit
    undone, if the model can undo it.

    Args:
      edit: of any batch.
      images: uint8 ``b h w 3``.
      have: ``b n``, what the faces show.
      conditions: n of them.
      undo: see ``Model.undoes``.

    Returns:
      uint8 ``H W 3``.
    """
    image, own = to_float(jnp.asarray(images)), jnp.asarray(have)
    targets = wanted(conditions, have)
    columns, rows = [], []
    for want in targets.values():
        there = edit(image, jnp.asarray(want), own)
        parts = {"edited": there.image}
        if there.attention is not None:
            parts["attention"] = jnp.repeat(there.attention * 2 - 1, 3, axis=-1)
        if there.color is not None:
            parts["colour"] = there.color
        if undo:
            parts["undone"] = edit(there.image, own, jnp.asarray(want)).image
        rows = list(parts)
        columns.append([np.asarray(to_uint8(part)) for part in parts.values()])
    cells = []
    for face, source in enumerate(images):
        blank = np.full_like(source, 255)
        for row in range(len(rows)):
            first = source if row == 0 else blank
            cells.append([first, *(column[row][face] for column in columns)])
    return grid(cells, rows * len(images), ["source", *targets])


def moving_expressions(
    edit: EditFn, images: np.ndarray, have: np.ndarray, conditions: Sequence[Condition]
) -> list[np.ndarray]:
    """Frames of ``expressions``' targets coming and going; the last joins the first.

    Args:
      edit: of any batch.
      images: uint8 ``b h w 3``.
      have: ``b n``, what the faces show: where each expression begins.
      conditions: n of them.

    Returns:
      2 * STEPS frames, uint8 ``H W 3``: a row for each face, a column for each expression.
    """
    image, own = to_float(jnp.asarray(images)), jnp.asarray(have)
    targets = wanted(conditions, have)
    rising = []
    for share in np.linspace(0, 1, STEPS + 1):
        columns = [
            np.asarray(to_uint8(edit(image, own + share * (want - own), own).image))
            for want in targets.values()
        ]
        cells = [
            [source, *(column[face] for column in columns)] for face, source in enumerate(images)
        ]
        rising.append(grid(cells, columns=["source", *targets]))
    return [*rising, *rising[-2:0:-1]]


def single_conditions(
    edit: EditFn, image: np.ndarray, have: np.ndarray, conditions: Sequence[Condition]
) -> np.ndarray:
    """One face with each condition alone at rising levels: a row each.

    Args:
      edit: of any batch.
      image: uint8 ``h w 3``.
      have: ``n``, what the face shows.
      conditions: n of them.

    Returns:
      uint8 ``H W 3``; at the right the attention at the highest level, if the model has one.
    """
    rows, titles = [], [f"{level:.2f}" for level in LEVELS]
    source = to_float(jnp.repeat(image[None], len(LEVELS), axis=0))
    own = jnp.repeat(jnp.asarray(have)[None], len(LEVELS), axis=0)
    attended = False
    for place in range(len(conditions)):
        want = np.repeat(have[None], len(LEVELS), axis=0)
        want[:, place] = LEVELS
        edited = edit(source, jnp.asarray(want), own)
        row = list(np.asarray(to_uint8(edited.image)))
        if edited.attention is not None:
            attended = True
            row.append(grey(edited.attention)[-1])
        rows.append(row)
    names = [condition.name for condition in conditions]
    return grid(rows, names, [*titles, *(["attention"] if attended else [])])


def grey(mask: jax.Array) -> np.ndarray:
    """A mask ``b h w 1`` in [0, 1] as uint8 ``b h w 3``."""
    return np.repeat(np.asarray(to_uint8(mask * 2 - 1)), 3, axis=-1)


def wanted(conditions: Sequence[Condition], have: np.ndarray) -> dict[str, np.ndarray]:
    """Targets to show, by name: float32 ``b n`` each.

    Intensities are set to those of well-known expressions as far as their action units are
    among the conditions, or all to one level if none is; a binary condition is flipped; each
    condition of a group is chosen in turn.

    Args:
      conditions: n of them.
      have: ``b n``, what the faces show.
    """
    kinds = np.array([condition.kind for condition in conditions])
    names = [condition.name for condition in conditions]
    targets = {}
    if (intensities := kinds == "intensity").any():
        for name in SHOWN:
            present = np.isin(names, list(EXPRESSIONS[name])) & intensities
            if present.any():
                targets[name] = np.where(intensities, np.where(present, INTENSITY, 0), have).astype(
                    np.float32
                )
        if not targets:
            targets["all"] = np.where(intensities, INTENSITY, have).astype(np.float32)
    for place, condition in enumerate(conditions):
        want = np.array(have, np.float32)
        if condition.kind == "binary":
            want[:, place] = 1 - want[:, place]
            targets[f"{condition.name} flipped"] = want
        elif condition.kind == "one_of":
            want[:, [other.group == condition.group for other in conditions]] = 0
            want[:, place] = 1
            targets[condition.name] = want
    return targets
