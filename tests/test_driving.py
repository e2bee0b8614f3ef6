"""A video drives a photo."""

import numpy as np
import pytest
from films import sound_of, write_film
from painter import RATE, Painter, drawn, read_back, shown
from PIL import Image, ImageSequence

from ganimation_jax.animation.animator import NoFaceError
from ganimation_jax.animation.clips import drive, expressions

RISE = [(0.3, 0.5)] * 10 + [(0.9, 0.5)] * 10  # AU12 goes up, AU25 does not move


def driven(tmp_path, frames, photo_aus=(0.1, 0.2), name="out.mp4", painter=None, **options):
    """What the photo shows in each frame."""
    source = write_film(tmp_path / "in.mp4", frames, sound="aac")
    photo = drawn((100, 60, photo_aus))
    count = drive(painter or Painter(), photo, source, tmp_path / name, **options)
    assert count == len(frames)
    images = [np.asarray(image) for image in read_back(tmp_path / name)]
    for image in images:
        assert np.abs(image[:, :90].astype(float) - 60).max() < 20  # the photo, not the driver
    return np.stack([shown(image, 100, 60) for image in images])


def of_squares(expressions):
    return [drawn((20, 60, aus)) for aus in expressions]


def test_relative_adds_what_differs_from_neutral(tmp_path):
    got = driven(tmp_path, of_squares(RISE))
    np.testing.assert_allclose(got[:6], [(0.1, 0.2)] * 6, atol=0.03)
    np.testing.assert_allclose(got[14:], [(0.7, 0.2)] * 6, atol=0.03)
    assert sound_of(tmp_path / "out.mp4")[1] == sound_of(tmp_path / "in.mp4")[1]
    assert (np.diff(got[:, 0]) > -0.02).all()


def test_absolute_shows_the_drivers(tmp_path):
    got = driven(tmp_path, of_squares(RISE), relative=False)
    np.testing.assert_allclose(got[:6], RISE[:6], atol=0.03)
    np.testing.assert_allclose(got[14:], RISE[14:], atol=0.03)


def test_the_sum_stays_in_range(tmp_path):
    got = driven(tmp_path, of_squares(RISE), photo_aus=(0.8, 0.2))
    np.testing.assert_allclose(got[14:], [(1.0, 0.2)] * 6, atol=0.03)


def test_while_the_driver_is_away_the_last_expression_stays(tmp_path):
    frames = of_squares(RISE)
    frames = [drawn()] * 4 + frames + [drawn()] * 10 + frames[:3]
    got = driven(tmp_path, frames)
    np.testing.assert_allclose(got[:4], [(0.1, 0.2)] * 4, atol=0.03)
    np.testing.assert_allclose(got[20:33], [(0.7, 0.2)] * 13, atol=0.04)
    assert got[-1, 0] < 0.3


def test_the_annotator_leaves_to_the_photo_what_it_does_not_read(tmp_path):
    """Painter's reads AU12 only."""
    got = driven(tmp_path, of_squares([(0.9, 0.9)] * 5), relative=False, by="annotator")
    np.testing.assert_allclose(got, [(0.9, 0.2)] * 5, atol=0.03)
    got = driven(tmp_path, of_squares([(0.9, 0.9)] * 5), by="annotator", painter=Painter((), False))
    np.testing.assert_allclose(got, [(0.1, 0.2)] * 5, atol=0.03)


def test_what_cannot_read(tmp_path):
    source = write_film(tmp_path / "in.mp4", of_squares(RISE))
    photo, out = drawn((60, 60, (0.2, 0.6))), tmp_path / "out.mp4"
    with pytest.raises(ValueError, match="painter has no critic"):
        drive(Painter(critic=False), photo, source, out)
    with pytest.raises(ValueError, match="'guess'"):
        drive(Painter(), photo, source, out, by="guess")
    with pytest.raises(NoFaceError, match="no square"):
        drive(Painter(), drawn(), source, out)


def test_a_driven_gif_keeps_the_drivers_time(tmp_path):
    source = write_film(tmp_path / "in.mp4", of_squares(RISE))
    drive(Painter(), drawn((100, 60, (0.1, 0.2))), source, tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as picture:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
    assert sum(durations) == 20 * 40  # frames that are equal have become one


def test_neutral_is_where_an_action_unit_is_at_rest():
    """Whatever it does at first, and each apart from the others."""
    times = [number / RATE for number in range(200)]
    smile = np.where(np.arange(200) < 60, 0.8, 0.1)
    brows = np.where(np.arange(200) < 150, 0.2, 0.7)
    got = np.stack(expressions(list(np.stack([smile, brows], axis=1)), times, relative=True))
    np.testing.assert_allclose(got[30], (0.7, 0.0), atol=0.01)
    np.testing.assert_allclose(got[100], (0.0, 0.0), atol=0.01)
    np.testing.assert_allclose(got[-1], (0.0, 0.5), atol=0.01)


def test_at_rest_noise_adds_little():
    rng = np.random.default_rng(0)
    noise = np.clip(0.3 + 0.05 * rng.normal(size=(500, 3)), 0, 1)
    got = np.stack(expressions(list(noise), [n / RATE for n in range(500)], relative=True))
    assert 0 < got.mean() < 0.03  # the 10th percentile of the noise itself is at -0.064
