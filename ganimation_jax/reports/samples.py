"""Pictures of what a model does, for people to look at."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ganimation_jax.action_units import EXPRESSIONS, positions
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.types import Edit, to_float, to_uint8

EditFn = Callable[[jax.Array, jax.Array], Edit]  # image, aus; compiled
SHOWN = ("happy", "surprised", "angry", "sad", "disgusted")
INTENSITY = 0.8
STEPS = 8  # frames from the face's own expression to the target
LEVELS = (0.0, 1 / 3, 2 / 3, 1.0)  # as in the paper's figure 3


def expressions(
    edit: EditFn, images: np.ndarray, aus: np.ndarray, units: tuple[str, ...]
) -> np.ndarray:
    """A column for each target expression, a block for each face.

    The rows of a block: the edit, its attention and colour, and the edit undone.

    Args:
      edit: of any batch.
      images: uint8 ``b h w 3``.
      aus: ``b n``, what the faces show.
      units: names of the n action units.

    Returns:
      uint8 ``H W 3``.
    """
    image, own = to_float(jnp.asarray(images)), jnp.asarray(aus)
    targets = expression_targets(units)
    columns = []
    for target in targets.values():
        there = edit(image, jnp.tile(target, (len(image), 1)))
        back = edit(there.image, own)
        column = to_uint8(there.image), to_uint8(there.color), to_uint8(back.image)
        edited, color, undone = (np.asarray(pictures) for pictures in column)
        columns.append((edited, grey(there.attention), color, undone))
    cells = []
    for face, source in enumerate(images):
        blank = np.full_like(source, 255)
        for row in range(4):
            first = source if row == 0 else blank
            cells.append([first, *(column[row][face] for column in columns)])
    labels = ["edited", "attention", "colour", "undone"] * len(image)
    return grid(cells, labels, ["source", *targets])


def moving_expressions(
    edit: EditFn, images: np.ndarray, aus: np.ndarray, units: tuple[str, ...]
) -> list[np.ndarray]:
    """Frames of ``expressions``' targets coming and going; the last joins the first.

    Args:
      edit: of any batch.
      images: uint8 ``b h w 3``.
      aus: ``b n``, what the faces show: where each expression begins.
      units: names of the n action units.

    Returns:
      2 * STEPS frames, uint8 ``H W 3``: a row for each face, a column for each expression.
    """
    image, own = to_float(jnp.asarray(images)), jnp.asarray(aus)
    targets = expression_targets(units)
    rising = []
    for share in np.linspace(0, 1, STEPS + 1):
        columns = [
            np.asarray(to_uint8(edit(image, own + share * (target - own)).image))
            for target in targets.values()
        ]
        cells = [
            [source, *(column[face] for column in columns)] for face, source in enumerate(images)
        ]
        rising.append(grid(cells, columns=["source", *targets]))
    return [*rising, *rising[-2:0:-1]]


def single_units(
    edit: EditFn, image: np.ndarray, aus: np.ndarray, units: tuple[str, ...]
) -> np.ndarray:
    """One face with each action unit alone at rising intensities: a row each.

    Args:
      edit: of any batch.
      image: uint8 ``h w 3``.
      aus: ``n``, what the face shows.
      units: names of the n action units.

    Returns:
      uint8 ``H W 3``; at the right the attention at the highest intensity.
    """
    rows = []
    source = to_float(jnp.repeat(image[None], len(LEVELS), axis=0))
    for unit in range(len(units)):
        target = np.repeat(aus[None], len(LEVELS), axis=0)
        target[:, unit] = LEVELS
        edited = edit(source, jnp.asarray(target))
        rows.append([*np.asarray(to_uint8(edited.image)), grey(edited.attention)[-1]])
    return grid(rows, units, [*(f"{level:.2f}" for level in LEVELS), "attention"])


def grey(mask: jax.Array) -> np.ndarray:
    """A mask ``b h w 1`` in [0, 1] as uint8 ``b h w 3``."""
    return np.repeat(np.asarray(to_uint8(mask * 2 - 1)), 3, axis=-1)


def expression_targets(units: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Expressions to show: float32 ``n`` each, by name. Units that are not there are left out."""
    targets = {}
    for name in SHOWN:
        present = [unit for unit in EXPRESSIONS[name] if unit in units]
        if present:
            target = np.zeros(len(units), np.float32)
            target[positions(present, units)] = INTENSITY
            targets[name] = target
    return targets or {"all": np.full(len(units), INTENSITY, np.float32)}
