"""Moving pictures of what a model does: expressions that rise and fall."""

import jax.numpy as jnp
import numpy as np

from ganimation_jax.samples import EditFn, expression_targets
from ganimation_jax.types import to_float, to_uint8
from ganimation_jax.writers import grid

STEPS = 8  # frames from the face's own expression to the target


def expressions(
    edit: EditFn, images: np.ndarray, aus: np.ndarray, units: tuple[str, ...]
) -> list[np.ndarray]:
    """Frames of ``samples.expressions``' targets coming and going; the last joins the first.

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
