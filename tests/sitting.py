"""A visitor of the page with a photo of two faces."""

import numpy as np
from calculable import calculable

from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.faces.alignment import crop
from ganimation_jax.web.photos import Photo, Sitting

UNITS = ("AU01", "AU04", "AU12")


def seated():
    """A model that adds 100 levels times the first unit, a photo, and the batches it is given."""
    model, batches = calculable(32, units=UNITS)
    image = np.random.default_rng(0).integers(60, 130, (64, 128, 3), np.uint8)
    faces = []
    for x in (0, 64):
        transform = np.array([[0.5, 0, -x / 2], [0, 0.5, 0]])
        own = np.array([0.2, 0.5, 0.5], np.float32)
        faces.append(Face(crop(image, transform, 32), transform, (x, 0, x + 64, 64), own))
    photo = Photo(image, tuple(faces))
    return Animator(model), Sitting(photo, photo), batches
