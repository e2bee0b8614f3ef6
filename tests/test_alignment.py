"""Similarity transforms and the crops that they cut."""

import numpy as np
import pytest
from helpers import ramp, turn

from ganimation_jax.faces.alignment import (
    CANONICAL,
    RIGID,
    _part,
    apply,
    crop,
    invert,
    similarity,
    transform_of,
)
from ganimation_jax.faces.landmarker import DetectedFace, Pose
from ganimation_jax.faces.openface_points import transform_of_openface

# Alignment, without MediaPipe.


def face_at(transform):
    """A face whose rigid points are where a crop of side 1 has them, moved by ``transform``."""
    points = np.zeros((478, 2), np.float32)
    points[list(RIGID)] = apply(transform, np.array(CANONICAL))
    return DetectedFace(points, np.zeros(52, np.float32), Pose(0, 0, 0))


@pytest.mark.parametrize("degrees", [-170, -30, 0, 45, 90])
def test_a_known_similarity_is_found_and_undone(degrees):
    placed = turn(degrees, scale=230, shift=(512, 301))  # of the crop of side 1 in a photo
    transform = transform_of(face_at(placed), 128)
    points = np.random.default_rng(0).uniform(0, 1, (20, 2))
    np.testing.assert_allclose(apply(transform, apply(placed, points)), points * 128, atol=2e-4)
    there_and_back = apply(invert(transform), apply(transform, points * 600))
    np.testing.assert_allclose(there_and_back, points * 600, atol=1e-9)


def test_similarity_is_the_least_squares_optimum():
    rng = np.random.default_rng(1)
    source = rng.normal(size=(8, 2))
    target = apply(turn(25, 3, (1, 2)), source) + rng.normal(scale=0.1, size=(8, 2))

    # A similarity is linear in four numbers: solve for them directly.
    x, y = source.T
    one, zero = np.ones(8), np.zeros(8)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    (c, s, a, b), *_ = np.linalg.lstsq(rows, np.concatenate(target.T), rcond=None)
    want = [(c, -s, a), (s, c, b)]
    np.testing.assert_allclose(similarity(source, target), want, rtol=1e-9)


def test_points_that_fix_no_transform_are_refused():
    for points in (np.ones((8, 2)), np.full((8, 2), np.nan)):
        with pytest.raises(ValueError, match="coincide or are not finite"):
            similarity(points, np.multiply(CANONICAL, 128))
    with pytest.raises(ValueError, match="68 landmarks"):
        transform_of_openface(np.zeros((67, 2)), 128)


@pytest.mark.parametrize("scale", [0.3, 0.8, 2.5])
@pytest.mark.parametrize("degrees", [0, 33])
def test_a_crop_shows_what_the_transform_says(scale, degrees):
    transform = turn(degrees, scale, (20, 5))
    size = round(120 * scale)
    transform[:, 2] += size / 2 - apply(transform, np.array([200, 200]))  # its middle is the ramp's
    got = crop(ramp(), transform, size)
    assert got.shape == (size, size, 3)
    assert got.dtype == np.uint8
    y, x = np.mgrid[:size, :size] + 0.5
    came_from = apply(invert(transform), np.stack([x, y], axis=-1))
    np.testing.assert_allclose(got[..., :2], came_from / 2, atol=1.2)  # rounded three times
    assert abs((got[..., :2] - came_from / 2).mean()) < 0.05  # but never only down


def test_beyond_the_edge_the_picture_is_mirrored():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    shift = np.array([(1.0, 0, 8), (0, 1, 8)])
    want = np.pad(image, ((8, 16), (8, 16), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(crop(image, shift, 32), want)


@pytest.mark.parametrize("degrees", [0, 20])
@pytest.mark.parametrize("scale", [3.0, 9.7])
def test_detail_too_fine_for_the_crop_does_not_alias(scale, degrees):
    side = round(200 * scale)
    y, x = np.mgrid[:side, :side]
    transform = turn(degrees, 1 / scale)
    transform[:, 2] = 32 - apply(transform, np.full(2, side / 2))[:2]

    def stripes(period):  # of crop pixels
        wave = 127.5 + 127.5 * np.sin(2 * np.pi * (x + 0.4 * y) / (period * scale))
        return crop(np.repeat(wave.astype(np.uint8)[..., None], 3, axis=-1), transform, 64)

    assert stripes(1.2 * 0.7).std() < 4  # finer than two pixels: grey
    assert stripes(8).std() > 80  # coarse ones stay, 90 is all of them


@pytest.mark.parametrize(
    ("rows", "columns"), [((2, 5), (1, 6)), ((-3, 7), (2, 12)), ((-9, 15), (-4, 3))]
)
def test_a_part_beyond_the_edges_is_mirrored(rows, columns):
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    mirrored = np.pad(image, ((20, 20), (20, 20), (0, 0)), mode="symmetric")
    want = mirrored[20 + rows[0] : 20 + rows[1], 20 + columns[0] : 20 + columns[1]]
    np.testing.assert_array_equal(_part(image, slice(*rows), slice(*columns)), want)
