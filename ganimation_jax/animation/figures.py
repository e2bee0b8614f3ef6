"""Pictures of what a model does with one face, as in the paper's figures."""

from collections.abc import Sequence

import numpy as np

from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.reports.samples import expressions, single_conditions

STEPS = 7  # of an interpolation


def figure(animator: Animator, face: Face, targets: Sequence[np.ndarray] = ()) -> np.ndarray:
    """All of the below, one under the other: uint8 ``H W 3``.

    Args:
      targets: expressions, ``n`` each: a ``strip`` for each of them.
    """
    parts = [strip(animator, face, target) for target in targets]
    parts += [units_alone(animator, face), basic_expressions(animator, face)]
    width, gap = max(part.shape[1] for part in parts), 24
    white = [np.pad(part, ((0, gap), (0, width - part.shape[1]), (0, 0)), constant_values=255)
             for part in parts]  # fmt: skip
    return np.concatenate(white)


def units_alone(animator: Animator, face: Face) -> np.ndarray:
    """Each action unit alone at rising intensities, with attention (the paper's figure 3)."""
    return single_conditions(
        animator.model.edit, face.crop, np.nan_to_num(face.aus), animator.model.conditions
    )


def basic_expressions(animator: Animator, face: Face) -> np.ndarray:
    """Basic expressions with attention, colour, and the edit undone."""
    own, conditions = np.nan_to_num(face.aus)[None], animator.model.conditions
    return expressions(animator.model.edit, face.crop[None], own, conditions)


def strip(animator: Animator, face: Face, target: np.ndarray) -> np.ndarray:
    """From the face's own expression to another, ``n``, in equal steps."""
    crop_itself = face._replace(transform=np.eye(2, 3))
    steps = np.linspace(0, 1, STEPS, dtype=np.float32)
    targets = face.aus + (target - face.aus) * steps[:, None]
    edits = animator.run(face.crop, [crop_itself], targets[:, None])
    return grid([[face.crop, *edits]], columns=["source", *(f"{step:.2f}" for step in steps)])
