"""Videos: faces edited frame by frame."""

import os
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from films import mean_difference, sound_of, write_film
from helpers import needs_mediapipe, portrait
from painter import HEIGHT, SIZE, UNITS, WIDTH, Painter, av, drawn, read_back, shown
from PIL import Image, ImageSequence

from ganimation_jax.animation import tracking
from ganimation_jax.animation.animator import Animator, NoFaceError
from ganimation_jax.animation.clips import drive, edit_video
from ganimation_jax.animation.loading import LoadedModel
from ganimation_jax.animation.watching import watch
from ganimation_jax.faces.crops import CANONICAL_EYES
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.video import moments
from ganimation_jax.types import Condition, Edit


def more_smile(own):
    return np.clip(np.add(own, (0.4, 0)), 0, 1)


def test_every_frame_is_edited_and_all_else_stays(tmp_path):
    frames = [drawn((20 + 3 * i, 60, (0.2, 0.6))) for i in range(30)]
    source = write_film(tmp_path / "in.mp4", frames, sound="aac", late=0.1)
    told = []
    count = edit_video(
        Painter(),
        source,
        tmp_path / "out.mp4",
        more_smile,
        tags={"model": "painter"},
        progress=lambda *done: told.append(done),
    )
    assert (count, told) == (30, [(i, 30) for i in range(1, 31)])
    before, after = read_back(source), read_back(tmp_path / "out.mp4")
    assert len(after) == 30
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        old, new = np.asarray(old), np.asarray(new)
        np.testing.assert_allclose(shown(new, 20 + 3 * number, 60), (0.6, 0.6), atol=0.03)
        outside = np.r_[0:22, 98:HEIGHT]  # and what the filter may be late by
        assert mean_difference(new[outside], old[outside]) < 1.5
    times = [moment.time for moment in moments(tmp_path / "out.mp4")]
    assert times == [moment.time for moment in moments(source)]
    assert sound_of(tmp_path / "out.mp4")[1] == sound_of(source)[1]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["model"] == "painter"
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4"]


def test_frames_without_a_face_pass_unedited(tmp_path):
    frames = [drawn((60, 60, (0.2, 0.6)))] * 6 + [drawn()] * 9 + [drawn((90, 60, (0.3, 0.1)))] * 5
    source = write_film(tmp_path / "in.mp4", frames)
    assert edit_video(Painter(), source, tmp_path / "out.mp4", more_smile) == 20
    after = [np.asarray(image) for image in read_back(tmp_path / "out.mp4")]
    for image in after[6:15]:
        assert np.abs(image.astype(float) - 60).max() < 20  # no red remains of the held face
    np.testing.assert_allclose(shown(after[5], 60, 60), (0.6, 0.6), atol=0.03)
    np.testing.assert_allclose(shown(after[15], 90, 60), (0.7, 0.1), atol=0.03)


def test_a_face_that_is_overlooked_is_edited_where_it_is(tmp_path):
    frames = [drawn((60, 60, (0.2, 0.6)))] * 12
    source = write_film(tmp_path / "in.mp4", frames)
    # The first look at the first frame, then two a frame: where it was, and all around.
    painter = Painter(blind=range(5, 9))
    assert edit_video(painter, source, tmp_path / "out.mp4", more_smile) == 12
    for image in read_back(tmp_path / "out.mp4"):
        np.testing.assert_allclose(shown(np.asarray(image), 60, 60), (0.6, 0.6), atol=0.03)
    assert len(painter.looks) == 12 + 2


def test_a_video_without_any_face_is_not_written(tmp_path):
    source = write_film(tmp_path / "in.mp4", [drawn()] * 5)
    with pytest.raises(NoFaceError, match=r"in\.mp4: there is no face in any frame"):
        edit_video(Painter(), source, tmp_path / "out.mp4", more_smile)
    with pytest.raises(NoFaceError, match=r"in\.mp4: there is no face in any frame"):
        drive(Painter(), drawn((60, 60, (0.2, 0.6))), source, tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_which_faces(tmp_path):
    """One of two is larger at first; later the other is."""
    one, other = (0.2, 0.2), (0.4, 0.4)
    frames = [drawn((10, 70, one), (120, 56, other))] * 3
    frames += [drawn((10, 56, one), (120, 70, other))] * 3
    source = write_film(tmp_path / "in.mp4", frames)
    for faces, edited in (("largest", (True, False)), ("all", (True, True)), (2, (True, True))):
        out = tmp_path / "out.mp4"
        edit_video(Painter(), source, out, lambda own: np.add(own, (0, 0.5)), faces=faces)
        for image in read_back(out):
            blues = [shown(np.asarray(image), left, 56)[1] for left in (10, 120)]
            wanted = [au + 0.5 * yes for (_, au), yes in zip((one, other), edited, strict=True)]
            np.testing.assert_allclose(blues, wanted, atol=0.03)
    with pytest.raises(ValueError, match="faces"):
        edit_video(Painter(), source, tmp_path / "new.mp4", more_smile, faces="both")
    assert not (tmp_path / "new.mp4").exists()


def test_who_is_followed_stays_though_another_grows(tmp_path):
    def three(side):
        return drawn((5, 60, (0.2, 0.2)), (80, 56, (0.2, 0.2)), (150, side, (0.2, 0.2)))

    source = write_film(tmp_path / "in.mp4", [three(50)] * 3 + [three(64)] * 3)
    edit_video(Painter(), source, tmp_path / "out.mp4", more_smile, faces=2)
    for image in read_back(tmp_path / "out.mp4"):
        smiles = [shown(np.asarray(image), left, 50)[0] for left in (5, 80, 150)]
        np.testing.assert_allclose(smiles, (0.6, 0.6, 0.2), atol=0.03)


def test_a_face_that_was_there_is_looked_for_where_it_was(tmp_path):
    frames = [drawn((60 + i, 40, (0.2, 0.6))) for i in range(30)]
    source = write_film(tmp_path / "in.mp4", frames)
    one, all_of_them = Painter(), Painter()
    edit_video(one, source, tmp_path / "out.mp4", more_smile)
    edit_video(all_of_them, source, tmp_path / "out.mp4", more_smile, faces="all")
    # In all of the frame, with tiles, only to begin with; for others again after 25 frames.
    assert [look for look in one.looks if look[0] == WIDTH] == [(WIDTH, None)]
    assert [look for look in all_of_them.looks if look[0] == WIDTH] == [(WIDTH, None)] * 2
    windows = {look for look in one.looks if look[0] != WIDTH}
    assert windows <= {(width, (1,)) for width in (79, 80, 81)}


def test_what_a_face_shows_is_steadied(tmp_path):
    """Its target is made of its smoothed action units."""
    frames = [drawn((60, 60, (0.5 + 0.1 * (-1) ** i, 0.5))) for i in range(30)]
    source = write_film(tmp_path / "in.mp4", frames)
    owns = []
    edit_video(Painter(), source, tmp_path / "out.mp4", lambda own: owns.append(own) or own)
    assert np.ptp(np.array(owns)[15:, 0]) < 0.06  # of 0.2
    assert owns[0].dtype == np.float32


def test_after_a_cut_nothing_is_left_of_what_was_before(tmp_path):
    bright = [255 - drawn((10, 100, (0.0, 0.0))) // 2 for _ in range(3)]
    for frame in bright:
        frame[30:90, 60:120] = (220, 230, 230)
        frame[:, :60] = frame[:, 120:] = frame[:30] = frame[90:] = (20, 200, 200)
    frames = [drawn((60, 60, (0.1, 0.1)))] * 8 + bright
    source = write_film(tmp_path / "in.mp4", frames)
    owns = []
    edit_video(Painter(), source, tmp_path / "out.mp4", lambda own: owns.append(own) or own)
    np.testing.assert_allclose(owns[7], 0.1, atol=0.02)
    np.testing.assert_allclose(owns[8], 0.9, atol=0.02)  # smoothed, it would be lower


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_video_as_gif(tmp_path, suffix):
    frames = [drawn((20 + 9 * i, 60, (0.2, 0.6))) for i in range(10)]
    source = write_film(tmp_path / "in.mp4", frames, sound="aac")
    assert edit_video(Painter(), source, tmp_path / f"out{suffix}", more_smile) == 10
    with Image.open(tmp_path / f"out{suffix}") as picture:
        images = []
        for frame in ImageSequence.Iterator(picture):
            images.append(np.asarray(frame.convert("RGB")))
            assert frame.info["duration"] == 40
    assert len(images) == 10
    for number, image in enumerate(images):
        np.testing.assert_allclose(shown(image, 20 + 9 * number, 60), (0.6, 0.6), atol=0.05)


def test_names_that_cannot_be(tmp_path):
    source = write_film(tmp_path / "in.mp4", [drawn((60, 60, (0.2, 0.6)))] * 2)
    photo = drawn((60, 60, (0.2, 0.6)))
    content = source.read_bytes()
    for out, message in ((source, "is what is read"), (tmp_path / "out.avi", "written as")):
        with pytest.raises(ValueError, match=message):
            edit_video(Painter(), source, out, more_smile)
        with pytest.raises(ValueError, match=message):
            drive(Painter(), photo, source, out)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UnusableFile, match="unreadable video"):
        edit_video(Painter(), tmp_path / "bad.mp4", tmp_path / "out.mp4", more_smile)
    assert source.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["bad.mp4", "in.mp4"]


@pytest.mark.parametrize("make", ["edit", "drive"])
def test_a_longer_video_takes_no_more_memory(tmp_path, make):
    peaks = []
    for count in (12, 48):
        frames = [drawn((20 + i % 9, 60, (0.2, 0.6))) for i in range(count)]
        source = write_film(tmp_path / f"{count}.mp4", frames)
        del frames
        tracemalloc.start()
        if make == "edit":
            edit_video(Painter(), source, tmp_path / "out.mp4", more_smile)
        else:
            drive(Painter(), drawn((60, 60, (0.2, 0.6))), source, tmp_path / "out.mp4")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Of 36 frames more, less than one: a frame has 86,400 bytes, what is kept of a driver's 1,100.
    assert peaks[1] - peaks[0] < 86_400


# Real faces


def toy():
    """Paints the mouth red by AU12, and reads nothing."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    mouth = np.exp(-(((rows - 0.72) / 0.06) ** 2) - ((columns - 0.5) / 0.15) ** 2)[..., None]

    def edit(image, want, have):
        attention = 1 - jnp.asarray(mouth, jnp.float32) * want[:, 0, None, None, None]
        color = jnp.broadcast_to(jnp.array([1.0, -1, -1]), image.shape)
        return Edit(image * attention + color * (1 - attention), attention, color)

    def read(image):
        return jnp.full((len(image), 2), 0.25)

    return LoadedModel(
        name="toy",
        conditions=tuple(map(Condition, UNITS)),
        image_size=SIZE,
        eyes=CANONICAL_EYES,
        grey=False,
        edit=jax.jit(edit),
        needs_have=False,
        read_aus=jax.jit(read),
        sha256="0" * 64,
        about={},
    )


@needs_mediapipe
def test_a_real_face_is_followed_and_steadied(tmp_path):
    rng = np.random.default_rng(0)
    face = np.asarray(portrait(200), float)
    frames = []
    for number in range(12):
        frame = np.full((240, 420, 3), 90.0)
        frame[20:220, 20 + 6 * number :][:, :200] = face
        frames.append(np.clip(frame + 12 * rng.normal(size=frame.shape), 0, 255).astype(np.uint8))
    source = write_film(tmp_path / "in.mp4", frames)
    with Animator(toy()) as animator:
        watched = [(followed[0].found, followed[0].track) for _, followed in watch(
            animator, source, "largest")]  # fmt: skip
        edit_video(animator, source, tmp_path / "out.mp4", lambda own: np.add(own, (0.75, 0)))
    steps = np.array([
        (tracking.place_of(found.transform, SIZE)[:3], track.place.value[:3])
        for found, track in watched
    ])  # fmt: skip
    # It moves along x only: all else is trembling.
    found, held = np.diff(steps[..., 1:], n=2, axis=0)[2:].std(axis=0)
    assert (held < 0.5 * found).all()
    assert np.abs(np.diff(steps[..., 0], axis=1)).max() < 0.08 * np.exp(steps[..., 2].max())
    # The mouth is painted, and that goes along with the face.
    reds = []
    for old, new in zip(read_back(source), read_back(tmp_path / "out.mp4"), strict=True):
        change = np.subtract(new, old, dtype=float)
        red = np.clip(change[..., 0] - change[..., 1], 0, None) * (change[..., 1] < -20)
        assert red.sum() > 0
        reds.append(np.average(np.arange(420), weights=red.sum(axis=0)))
    np.testing.assert_allclose(np.diff(reds)[3:], 6, atol=1.5)  # from a standstill it is late
    assert reds[-1] - reds[0] == pytest.approx(66, abs=8)
