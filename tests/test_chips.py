"""Faces are cropped as dlib crops its chips, and embeddings of different people lie apart."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import needs
from PIL import Image

from ganimation_jax.evaluation import identity_distance
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.features import face_resnet
from ganimation_jax.features.batches import in_batches
from ganimation_jax.types import to_float

RNG = np.random.default_rng(0)

FACES = Path(__file__).parents[2] / "shared" / "data" / "lfw_openface"


# --- From our crops to dlib's chips


def dots(side, points):
    """White spots on black, [-1, 1]."""
    y, x = np.mgrid[:side, :side] + 0.5
    spots = sum(np.exp(-((x - px * side) ** 2 + (y - py * side) ** 2) / 18) for px, py in points)
    return np.repeat(2 * spots[None, :, :, None] - 1, 3, axis=-1).astype(np.float32)


def centre(picture):
    """Of brightness, in pixels from the top left corner."""
    weight = picture[..., 0] + 1
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()


@pytest.mark.parametrize("side", [96, 240])
@pytest.mark.parametrize("eyes", [CANONICAL_EYES, ((0.30, 0.36), (0.69, 0.36))])
def test_eyes_come_where_dlibs_chip_has_them(side, eyes):
    chip = np.asarray(face_resnet.to_chip(dots(side, eyes), eyes))[0]
    assert chip.shape == (150, 150, 3)
    left, right = centre(chip[:, :75]), centre(chip[:, 75:])
    # (mean face + 0.25) / 1.5 * 150
    np.testing.assert_allclose(left, (47.73, 47.14), atol=0.2)
    np.testing.assert_allclose((right[0] + 75, right[1]), (100.28, 47.12), atol=0.2)


def test_chip_is_dlibs():
    dlib = pytest.importorskip("dlib", reason="dlib is not installed: pip install dlib-bin")
    noise = RNG.integers(0, 256, (7, 7, 3), np.uint8)
    side, scale, left, top = 200, 100, 50, 50  # a chip of 150 pixels: nothing to smooth
    image = np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))
    mean = np.array([(0.8595674595992, 0.2134981538014), (0.6460604764104, 0.2289674387677),
                     (0.1205750620789, 0.2137274526848), (0.3340850613712, 0.2290642403242),
                     (0.4901123135679, 0.6277975316475)])  # fmt: skip
    marks = mean * scale + (left, top)  # dlib rounds to pixels
    points = [dlib.point(*map(int, mark.round())) for mark in marks]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, side, side), points)
    want = dlib.get_face_chip(image, shape, 150, 0.25)
    right_eye, left_eye = marks[:2].mean(axis=0), marks[2:4].mean(axis=0)
    eyes = tuple(tuple((eye + 0.5) / side) for eye in (left_eye, right_eye))
    got = (np.asarray(face_resnet.to_chip(image[None], eyes))[0] + 1) * 127.5
    error = np.abs(got - want).mean()
    assert error < 2  # of 255: rounded points, and dlib truncates colours
    assert np.abs(got - np.roll(want, 1, axis=1)).mean() > 1.5 * error  # half a pixel would show


def test_chip_beyond_the_picture_is_black_and_gradients_flow():
    eyes = ((0.1, 0.1), (0.9, 0.1))
    white = np.full((1, 50, 50, 3), 255, np.uint8)
    chip = face_resnet.to_chip(white, eyes)
    np.testing.assert_allclose(chip[0, :10], -1, atol=1e-5)
    np.testing.assert_allclose(chip[0, 75, 75], 1, atol=1e-5)
    gradient = jax.grad(lambda x: face_resnet.to_chip(x, eyes).sum())(to_float(jnp.asarray(white)))
    assert gradient.min() > 0


@needs(face_resnet)
@pytest.mark.skipif(not FACES.exists(), reason=f"no real faces at {FACES}")
def test_real_people_are_told_apart():
    rows = [line.split(",") for line in (FACES / "metadata.csv").read_text().splitlines()[1:]]
    same, other = (pairs[:40] for pairs in identity_distance.sample_pairs([row[2] for row in rows]))
    # Where the eyes are in this set's crops, on average over poses.
    embed = face_resnet.load(eyes=((0.303, 0.359), (0.688, 0.359)))

    def distances(pairs):
        def read(index):
            with Image.open(FACES / "imgs" / f"{rows[index][0]}.jpg") as image:
                return np.asarray(image.convert("RGB"))

        first, second = (
            in_batches(embed, np.stack([read(index) for index in side]), size=40)
            for side in pairs.T
        )
        return np.linalg.norm(first - second, axis=1)

    area, error = identity_distance.auc(distances(same), distances(other))
    assert area > 0.95
    assert error < 0.03
