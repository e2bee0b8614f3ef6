"""Frames of plain squares, and an animator that edits squares."""

from types import SimpleNamespace

import numpy as np
import pytest

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.animator import Face, NoFaceError
from ganimation_jax.faces.alignment import similarity
from ganimation_jax.types import Condition

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")

SIZE = 64
RATE = 25

# Whole videos, of faces that are plain: a red square whose green and blue are its action units


UNITS = ("AU12", "AU25")
HEIGHT, WIDTH = 120, 240


def drawn(*squares):
    """A frame with squares (left, side, aus) in it, all from row 30 on."""
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for left, side, aus in squares:
        image[30 : 30 + side, left : left + side] = (220, *np.multiply(aus, 255).round())
    return image


def shown(image, left, side):
    """The action units in the middle of a square."""
    middle = image[30 + side // 2, left + side // 2]
    return np.asarray(middle, float)[1:] / 255


class Painter:
    """Finds red squares, and repaints them in the colours of the action units asked for."""

    action_units, image_size = UNITS, SIZE

    def __init__(self, blind=(), critic=True):
        self.model = SimpleNamespace(
            name="painter",
            read_aus=critic or None,
            conditions=tuple(Condition(unit) for unit in ACTION_UNITS),
        )
        self.looks = []  # (width, tiles) of every look for faces
        self.blind = set(blind)  # looks at which nothing is seen

    def find(self, image, faces="largest", *, tiles=None):
        self.looks.append((image.shape[1], tiles))
        red = (image[..., 0] > 140).sum(axis=0) > 8
        edges = np.flatnonzero(np.diff(np.pad(red, 1).astype(int)))
        spans = [(left, right) for left, right in edges.reshape(-1, 2) if right - left > 30]
        found = [self.face(image, left, right) for left, right in spans]
        if not found or len(self.looks) - 1 in self.blind:
            raise NoFaceError("no square")
        found.sort(key=lambda face: -np.ptp(face.box[::2]))
        return found[: {"largest": 1, "all": None}.get(faces, faces)]

    def face(self, image, left, right):
        rows = np.flatnonzero((image[:, left:right, 0] > 140).sum(axis=1) > 8)
        top, bottom = rows[0], rows[-1] + 1
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
        crop_corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * SIZE
        part = image[top + 8 : bottom - 8, left + 8 : right - 8]
        aus = np.median(part, axis=(0, 1))[1:] / 255
        box = (float(left), float(top), float(right), float(bottom))
        return Face(None, similarity(corners, crop_corners), box, aus.astype(np.float32))

    def read(self, image, by):
        assert by == "annotator"
        return {"AU12": float(self.find(image)[0].aus[0])}

    def with_faces(self, image, faces, targets):
        assert len(faces) == len(targets)
        assert len({round(face.box[0]) for face in faces}) == len(faces)  # none twice
        image = image.copy()
        for face, aus in zip(faces, targets, strict=True):
            (left, top), (right, bottom) = corners_of(face.transform)
            colour = (220, *np.multiply(aus, 255).round())
            image[round(top) : round(bottom), round(left) : round(right)] = colour
        return image

    def run(self, image, faces, targets):
        for target in targets:
            yield self.with_faces(image, faces, target)


def corners_of(transform):
    back = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    return (back @ (0, 0, 1))[:2], (back @ (SIZE, SIZE, 1))[:2]


def read_back(path):
    with av.open(str(path)) as container:
        return [frame.to_image(interpolation=0x46004) for frame in container.decode(video=0)]
