"""Moving pictures: what is written is what is read, in time, or there is no file."""

import gc
import itertools
import os
import tracemalloc
import weakref
from xml.etree import ElementTree

import numpy as np
import pytest
from films import mean_difference, read_moving, scene
from PIL import Image

from ganimation_jax.media.moving import write_moving

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")

SUFFIXES = [".mp4", ".gif", ".webp"]
HEIGHT, WIDTH = 48, 64


def written(path, count=5, fps=25, **tags):
    write_moving(path, map(scene, range(count)), fps=fps, tags=tags)
    return path


# Pictures


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_what_is_read(tmp_path, suffix):
    images, shown = read_moving(written(tmp_path / f"a{suffix}", count=6))
    assert shown == [40] * 6
    for number, image in enumerate(images):
        # Of no other frame: the square is elsewhere in them.
        assert mean_difference(image, scene(number)) < 2.5
        assert mean_difference(image, scene(number + 1)) > 2.5
        # And not brighter or darker.
        assert np.abs(np.subtract(image, scene(number), dtype=float).mean(axis=(0, 1))).max() < 1
    assert os.listdir(tmp_path) == [f"a{suffix}"]


@pytest.mark.parametrize(
    ("suffix", "fps", "shown"),
    [
        (".gif", 30, [30, 40, 30, 30, 40, 30]),  # hundredths of a second
        (".gif", 12, [80, 90, 80, 80, 90, 80]),
        (".gif", 60, [20, 30, 20, 30]),  # of six, two would be shorter than browsers like
        (".webp", 30, [33, 34, 33, 33, 34, 33]),
        (".mp4", 29.97, [1001 / 30] * 6),
    ],
)
def test_frames_keep_time_on_the_clock_of_the_format(tmp_path, suffix, fps, shown):
    _, got = read_moving(written(tmp_path / f"a{suffix}", count=6, fps=fps))
    np.testing.assert_allclose(got, shown, atol=0.01)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sides_may_be_odd(tmp_path, suffix):
    frames = [scene(number, 33, 47) for number in range(3)]
    assert write_moving(tmp_path / f"a{suffix}", iter(frames), fps=10, tags={}) == 3
    images, _ = read_moving(tmp_path / f"a{suffix}")
    # H.264 has none: a row and a column are added, equal to their neighbours.
    added = suffix == ".mp4"
    assert images[0].size == (47 + added, 33 + added)
    for image, frame in zip(images, frames, strict=True):
        wanted = np.pad(frame, ((0, added), (0, added), (0, 0)), "edge")
        assert mean_difference(image, wanted) < 5


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_does_not_change_is_still_and_costs_little(tmp_path, suffix):
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)  # flickers if coded anew
    frames = [grain.copy() for _ in range(8)]
    for number, frame in enumerate(frames):
        frame[21:30, 11:20] = 40 * min(number, 5)
    write_moving(tmp_path / f"a{suffix}", frames, fps=10, tags={})
    write_moving(tmp_path / f"one{suffix}", frames[:1], fps=10, tags={})
    images, shown = read_moving(tmp_path / f"a{suffix}")
    assert shown == [100] * 5 + [300]  # the last three are one
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[20:30, 10:20] = False  # WebP knows even places only
    for before, after in itertools.pairwise(images):
        np.testing.assert_array_equal(np.asarray(before)[outside], np.asarray(after)[outside])
    assert mean_difference(np.asarray(images[5])[22:28, 12:18], 200) < 10
    assert mean_difference(np.asarray(images[5])[28:30, 18:20], 200) < 50  # of noise it would be 80
    size, one = ((tmp_path / f"{name}{suffix}").stat().st_size for name in ("a", "one"))
    assert size < 1.5 * one


def test_between_two_places_that_change_a_gif_stands_still(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)]
    for level in (0, 250, 100):
        frames.append(frames[0].copy())
        frames[-1][:5, :5] = frames[-1][-5:, -5:] = level
    write_moving(tmp_path / "a.gif", frames, fps=10, tags={})
    images = [np.asarray(image) for image in read_moving(tmp_path / "a.gif")[0]]
    for image, level in zip(images[1:], (0, 250, 100), strict=True):
        np.testing.assert_array_equal(image[6:-6], images[0][6:-6])
        assert (
            mean_difference(image[1:4, 1:4], level) < 10 > mean_difference(image[-4:, -4:], level)
        )


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_it_plays_without_end(tmp_path, suffix):
    with Image.open(written(tmp_path / f"a{suffix}")) as picture:
        assert picture.info["loop"] == 0


def test_an_mp4_is_as_players_want_it(tmp_path):
    content = written(tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        # Said, for a player guesses otherwise.
        assert (context.colorspace, context.color_range) == (1, 1)
        assert (context.color_primaries, context.color_trc) == (1, 1)


RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TAGS = {"comment": "made by a machine", "GANimation target": "AU12=1 <é>", "long": "x" * 600}


def test_tags_survive(tmp_path):
    for suffix in SUFFIXES:
        write_moving(tmp_path / f"a{suffix}", map(scene, range(2)), fps=5, tags=TAGS)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert TAGS.items() <= container.metadata.items()
    with Image.open(tmp_path / "a.gif") as picture:
        comment = picture.info["comment"].decode()
    with Image.open(tmp_path / "a.webp") as picture:
        (item,) = ElementTree.fromstring(picture.info["xmp"]).iter(f"{{{RDF}}}li")
    lines = [f"{name}: {value}" for name, value in TAGS.items()]
    assert comment.splitlines() == lines
    assert item.text.splitlines() == lines


def test_an_mp4_has_all_tags_in_its_comment_too(tmp_path):
    write_moving(tmp_path / "a.mp4", [scene(0)], fps=5, tags={"model": "m", "target": "t"})
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == "model: m\ntarget: t"


# Whole or not at all


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("frames", "kind", "message"),
    [
        ([], ValueError, "no frames"),
        ([scene(0), scene(0, 32)], ValueError, r"\(32, 64, 3\) follows one of \(48, 64, 3\)"),
        ([scene(0).astype(float)], TypeError, "float64"),
        ([scene(0)[..., 0]], TypeError, r"\(48, 64\)"),
    ],
)
def test_frames_that_are_none(tmp_path, suffix, frames, kind, message):
    (tmp_path / f"a{suffix}").write_bytes(b"old")
    with pytest.raises(kind, match=message):
        write_moving(tmp_path / f"a{suffix}", iter(frames), fps=10, tags={})
    assert os.listdir(tmp_path) == [f"a{suffix}"]
    assert (tmp_path / f"a{suffix}").read_bytes() == b"old"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_amid_frames_leaves_nothing(tmp_path, suffix):
    def breaking():
        for number in range(70):  # more than x264 looks ahead
            yield scene(number)
        raise FileNotFoundError(2, "gone", "elsewhere")

    # Other errors pass unchanged.
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        write_moving(tmp_path / f"a{suffix}", breaking(), fps=10, tags={})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_cannot_be_written(tmp_path, suffix, folder):
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / folder / f"a{suffix}"
    with pytest.raises(OSError, match="No such file|Not a directory") as caught:
        write_moving(path, iter([scene(0)]), fps=10, tags={})
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_told(tmp_path, suffix, monkeypatch):
    def full(old, new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganimation_jax.media.moving.os.replace", full)
    with pytest.raises(OSError, match="No space left") as caught:
        written(tmp_path / f"a{suffix}")
    assert caught.value.filename == str(tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none(tmp_path, fps):
    with pytest.raises(ValueError, match="frames a second"):
        written(tmp_path / "a.gif", fps=fps)


def test_another_ending_is_refused_before_frames_are_made(tmp_path):
    def never():
        pytest.fail("a frame was taken")
        yield

    with pytest.raises(ValueError, match=r"a\.avi.*\.mp4, \.gif, \.webp"):
        write_moving(tmp_path / "a.avi", never(), fps=10, tags={})


# In constant memory


def most_alive(path, count):
    """How many of the frames given to the writer are alive at a time, at most; and bytes."""
    alive, most = weakref.WeakSet(), 0

    class Frame(np.ndarray):  # which, unlike an array, has weak references
        __hash__ = object.__hash__

    def frames():
        nonlocal most
        rng = np.random.default_rng(0)
        for number in range(count):
            frame = scene(number, 120, 160).view(Frame)
            frame += rng.integers(0, 2, frame.shape, np.uint8)  # all of it is new
            alive.add(frame)
            yield frame
            del frame
            most = max(most, len(alive))

    gc.disable()  # whenever it may come
    tracemalloc.start()
    try:
        write_moving(path, frames(), fps=25, tags={})
        return most, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_few_frames_are_held_however_many_there_are(tmp_path, suffix):
    (few, less), (many, more) = (most_alive(tmp_path / f"{n}{suffix}", n) for n in (16, 64))
    assert many == few <= 3
    # In whatever form: 48 frames more have 48 * 57,600 bytes. Of a GIF's frames a few pixels are
    # kept for its palette.
    assert more < less + 5 * 57_600


def test_a_webp_film_keeps_transparency(tmp_path):
    frames = [np.full((20, 30, 4), shade, np.uint8) for shade in (40, 90)]
    for frame in frames:
        frame[:8, :, 3], frame[8:, :, 3] = 0, 200
    write_moving(tmp_path / "a.webp", iter(frames), fps=10, tags={"notice": "edited"})
    with Image.open(tmp_path / "a.webp") as film:
        assert film.mode == "RGBA"
        for number, frame in enumerate(frames):
            film.seek(number)
            np.testing.assert_array_equal(np.asarray(film), frame)
    with pytest.raises(TypeError, match="uint8 h w 3"):
        write_moving(tmp_path / "a.gif", iter(frames), fps=10, tags={})
    assert not (tmp_path / "a.gif").exists()
