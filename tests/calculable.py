"""A model whose generator can be calculated by hand."""

import numpy as np

from ganimation_jax.animation.loading import LoadedModel
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.types import Condition, Edit

UNITS = ("AU04", "AU12", "AU09")


def calculable(size=32, eyes=CANONICAL_EYES, critic=True, units=UNITS, edit=None, needs_have=False):
    """Adds 100 levels times the first unit, and 10 times the second; all own units are 0.5."""
    batches = []

    def brighten(image, want, have):
        batches.append(len(image))
        change = want[:, :2] @ np.array([100, 10], np.float32) / 127.5
        edited = image + change[:, None, None, None]
        return Edit(edited, np.full_like(image[..., :1], 0.25), np.zeros_like(image))

    def half(image):
        return np.full((len(image), len(units)), 0.5, np.float32)

    facts = {"eyes": eyes, "grey": False, "needs_have": needs_have, "sha256": "0", "about": {}}
    read_aus = half if critic else None
    conditions = tuple(map(Condition, units))
    model = LoadedModel("sum", conditions, size, edit=edit or brighten, read_aus=read_aus, **facts)
    return model, batches
