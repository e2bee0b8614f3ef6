"""Expressions from OpenFace's CSV files, by name, and of whatever is given as a photo."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import SHARED
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.animation.drivers import read_driver, read_expression
from ganimation_jax.animation.finding import NoFaceError
from ganimation_jax.animation.photo_like import pixels_of
from ganimation_jax.animation.targets import expression, resolve
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media import frames

CASE = SHARED / "cases" / "15_csv_as_expression" / "target.csv"
RNG = np.random.default_rng(0)


@pytest.mark.skipif(not CASE.exists(), reason=f"no {CASE}")
def test_the_expression_of_a_row():
    aus = read_expression(CASE, ACTION_UNITS)
    assert len(aus) == 17
    assert (aus["AU01"], aus["AU12"]) == (3.38 / 5, 1.91 / 5)
    assert read_expression(CASE, ("AU12", "Smiling")) == {"AU12": 1.91 / 5}
    with pytest.raises(UnusableFile, match="none of Smiling"):
        read_expression(CASE, ("Smiling",))


def table(path, *rows, columns="frame, timestamp, confidence, success, AU06_r, AU12_r"):
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def driver(path, units=("AU12", "AU45"), fps=25.0):
    return read_driver(SimpleNamespace(action_units=units), path, "critic", fps)


def test_a_row_per_frame(tmp_path):
    path = table(
        *(tmp_path / "a.csv", "1, 0.000, 0.98, 1, 0, 5", "2, 0.040, 0.1, 0, 0, 0"),
        *("3, 0.120, 0.98, 1, 1.5, 2.5",),
    )
    read = driver(path)
    assert read.times == [0, Fraction(1, 25), Fraction(3, 25)]
    assert read.readings[1] is None
    np.testing.assert_array_equal(read.readings[0], [1, np.nan])
    np.testing.assert_array_equal(read.readings[2], [0.5, np.nan])
    assert (read.noisy, read.sound) == (False, None)
    with pytest.raises(UnusableFile, match="more than one row"):
        read_expression(path, ACTION_UNITS)


def test_rows_without_times(tmp_path):
    rows = ("0.9, 0, 5", "0.9, 0, 0")
    path = table(tmp_path / "a.csv", *rows, columns="confidence, AU06_r, AU12_r")
    assert driver(path, fps=10.0).times == [0, Fraction(1, 10)]
    assert driver(path, fps=10.0).film.rate == 10


@pytest.mark.parametrize(
    ("rows", "error", "says"),
    [
        (["1, 0.0, 0.9, 1, 0, 5", "1, 0.0, 0.9, 1, 0, 5"], UnusableFile, "out of order"),
        (["1, nan, 0.9, 1, 0, 5"], UnusableFile, "timestamp is 'nan'"),
        (["1, 0.0, 0.9, 1, 0, 6"], UnusableFile, "outside 0-5"),
        (["1, 0.0, 0.9, 0, 0, 0"], NoFaceError, "no face in any frame"),
        ([], NoFaceError, "no face in any frame"),
    ],
)
def test_rows_that_cannot_drive(tmp_path, rows, error, says):
    with pytest.raises(error, match=says):
        driver(table(tmp_path / "a.csv", *rows))


@pytest.mark.parametrize(
    ("said", "meant"),
    [("smile", "happy"), ("joyful", "happy"), ("Happy", "happy"), ("surprize", "surprised")],
)
def test_other_names_of_expressions_suggest_one(said, meant):
    with pytest.raises(ValueError, match=f"no expression '{said}'; did you mean {meant}?"):
        expression(said, ACTION_UNITS)
    with pytest.raises(ValueError, match=r"'xyzzy'\. There are neutral"):
        expression("xyzzy", ACTION_UNITS)


def test_an_expression_by_name_sets_all_units():
    own = np.full(17, np.nan, np.float32)
    want = list(expression("sad", ACTION_UNITS).values())
    np.testing.assert_array_equal(resolve("sad", own, ACTION_UNITS), np.float32(want))


def test_photos_are_paths_pictures_and_arrays(tmp_path):
    array = RNG.integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    for photo in (array, Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(pixels_of(photo), array)
    half = Image.fromarray(array)
    half.putalpha(0)
    assert (pixels_of(half) == 255).all()
    with pytest.raises(TypeError, match="uint8 h w 3"):
        pixels_of(array / 255)
    with pytest.raises(ValueError, match="none.png: unreadable picture"):
        pixels_of("none.png")


# Animated pictures


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_frames_of_animated_pictures(tmp_path, suffix):
    shades = (10, 200, 90)
    images = [Image.new("RGB", (20, 10), (shade, shade, shade)) for shade in shades]
    path, options = tmp_path / f"a{suffix}", {"lossless": True} if suffix == ".webp" else {}
    durations = [40, 200, 100]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, **options)
    read = list(frames.moments(path))
    assert [int(moment.image[5, 5, 0]) for moment in read] == list(shades)
    assert [moment.time for moment in read] == [0, Fraction(1, 25), Fraction(6, 25)]
    film = frames.film(path)
    assert (film.total, film.rate) == (3, Fraction(3000, 340))
    assert frames.sound_of(path) is None
