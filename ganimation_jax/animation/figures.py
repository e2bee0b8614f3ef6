"""Figures of a model's edits of one face, as in the paper."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.animation.photo_like import Pixels
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.reports.samples import expressions, single_conditions

STEPS = 7  # number of pictures in an interpolation


def figure(
    animator: Animator, face: Face, targets: Sequence[Float[np.ndarray, " n"]] = ()
) -> Pixels:
    """All figures of this module, stacked vertically: uint8 ``H W 3``.

    Args:
      targets: expressions, ``n`` each; the figure has one ``strip`` for each.
    """
    parts = [strip(animator, face, target) for target in targets]
    parts += [units_alone(animator, face), basic_expressions(animator, face)]
    width, gap = max(part.shape[1] for part in parts), 24
    white = [np.pad(part, ((0, gap), (0, width - part.shape[1]), (0, 0)), constant_values=255)
             for part in parts]  # fmt: skip
    return np.concatenate(white)


def units_alone(animator: Animator, face: Face) -> Pixels:
    """Each action unit alone at rising intensities, with attention masks (figure 3)."""
    return single_conditions(
        animator.model.edit, face.crop, np.nan_to_num(face.aus), animator.model.conditions
    )


def basic_expressions(animator: Animator, face: Face) -> Pixels:
    """Basic expressions with attention mask, colour mask and reconstruction."""
    own, conditions = np.nan_to_num(face.aus)[None], animator.model.conditions
    return expressions(animator.model.edit, face.crop[None], own, conditions, animator.model.undoes)


def strip(animator: Animator, face: Face, target: Float[np.ndarray, " n"]) -> Pixels:
    """Interpolation from the face's own expression to ``target``, ``n``, in equal steps."""
    crop_itself = face._replace(transform=np.eye(2, 3))
    steps = np.linspace(0, 1, STEPS, dtype=np.float32)
    targets = face.aus + (target - face.aus) * steps[:, None]
    edits = animator.run(face.crop, [crop_itself], targets[:, None])
    return grid([[face.crop, *edits]], columns=["source", *(f"{step:.2f}" for step in steps)])
