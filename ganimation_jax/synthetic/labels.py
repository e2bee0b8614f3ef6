"""Labels of drawn faces: the emotion that they show, glasses, beard and the colour of the hair."""

import numpy as np

from ganimation_jax.conditions import EMOTION, EMOTIONS, Condition
from ganimation_jax.synthetic.drawing import Array
from ganimation_jax.synthetic.drawn_person import HAIR_COLORS, HAIR_SHADES, Identity

# Names are CelebA's where it has them.
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Red_Hair")
LABELS = (
    Condition("Beard", "binary"),
    Condition("Eyeglasses", "binary"),
    *(Condition(name, "one_of", "hair") for name in HAIR),
    *(Condition(name, "one_of", EMOTION) for name in EMOTIONS),
)
STUBBLE = 0.2  # less of a beard is hardly seen


def labels_of(identity: Identity, emotion: str) -> Array:
    """The labels of a drawn face, float32, 0 or 1, in the order of ``LABELS``."""
    shown = {emotion, hair_of(identity)}
    if identity.beard >= STUBBLE:
        shown.add("Beard")
    if identity.glasses >= 0.5:  # below that none are drawn
        shown.add("Eyeglasses")
    return np.array([one.name in shown for one in LABELS], np.float32)


def hair_of(identity: Identity) -> str:
    """The name of the hair's colour: of the base colour that it is nearest to a shade of."""

    def distance(name: str) -> float:
        bases = np.array(HAIR_COLORS[name])
        color = np.array(identity.hair_color)
        light = (bases @ color / np.square(bases).sum(axis=1)).clip(*HAIR_SHADES)
        return float(np.abs(bases * light[:, None] - color).sum(axis=1).min())

    return min(HAIR, key=distance)
