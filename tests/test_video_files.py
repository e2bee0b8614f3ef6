"""Videos read and written: every frame at its time, upright, in its colours, with the sound."""

import os
import struct
from fractions import Fraction

import numpy as np
import pytest
from films import mean_difference, read_moving, scene, sound_of, tone, write_film
from PIL import Image

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.moving import write_moments
from ganimation_jax.media.video import film, moments, probe

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")


def with_sound_of(source, out, tags=()):
    """Its frames, through the writer."""
    return write_moments(out, moments(source), film(source), dict(tags), sound=source)


LATE = [0, 0.3]
BLUE_RED = [(90, 1.8556), (200, 1.5748)]


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "aac"), ("a.mkv", "aac"), ("a.mp4", "libmp3lame"), ("a.webm", "libopus")],
)
def test_sound_is_copied_packet_by_packet(tmp_path, name, codec, late):
    source = write_film(tmp_path / name, list(map(scene, range(25))), sound=codec, late=late)
    assert with_sound_of(source, tmp_path / "out.mp4") == 25
    (old, packets, heard), (new, copied, then) = map(sound_of, (source, tmp_path / "out.mp4"))
    assert (new, copied) == (old, packets)
    assert len(packets) > 20
    assert then == pytest.approx(heard, abs=0.003)
    # By another route: half a second of silence, and what the coding adds.
    assert then == pytest.approx(0.5 + late, abs=0.03)


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mov", "pcm_s24le"), ("a.mkv", "mp2")]
)
def test_sound_that_does_not_fit_is_coded_again(tmp_path, name, codec, late):
    source = write_film(tmp_path / name, list(map(scene, range(25))), sound=codec, late=late)
    with_sound_of(source, tmp_path / "out.mp4")
    (_, _, heard), (codec, packets, then) = map(sound_of, (source, tmp_path / "out.mp4"))
    assert (codec, len(packets)) == ("aac", pytest.approx(48, abs=3))
    assert then == pytest.approx(heard, abs=0.005)


def test_sound_that_starts_before_the_pictures(tmp_path):
    times = range(10, 35)
    source = write_film(tmp_path / "a.mkv", list(map(scene, range(25))), times, sound="aac")
    with_sound_of(source, tmp_path / "out.mp4")
    assert [float(moment.time) for moment in moments(tmp_path / "out.mp4")][:2] == [0.4, 0.44]
    assert sound_of(tmp_path / "out.mp4")[2] == pytest.approx(0.5, abs=0.03)


def test_a_stream_that_starts_late_starts_at_nought(tmp_path):
    """As in recordings of broadcasts, whose clock runs on."""
    source = write_film(tmp_path / "a.ts", list(map(scene, range(25))), sound="aac")
    with av.open(str(source)) as container:
        assert container.start_time > 0
        streams = container.streams
        starts = [float(s.start_time * s.time_base) for s in (streams.video[0], streams.audio[0])]
    with_sound_of(source, tmp_path / "out.mp4")
    first = next(moments(tmp_path / "out.mp4")).time
    assert float(first) == pytest.approx(starts[0] - min(starts), abs=0.001)
    heard, then = sound_of(source)[2], sound_of(tmp_path / "out.mp4")[2]
    assert then == pytest.approx(heard - min(starts), abs=0.002)


def test_a_mute_video(tmp_path):
    source = write_film(tmp_path / "a.mp4", list(map(scene, range(5))))
    with_sound_of(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert probe(tmp_path / "out.mp4") == (0.2, 25)


def test_sound_that_outlasts_the_pictures_is_heard_to_its_end(tmp_path):
    source = write_film(tmp_path / "a.mp4", list(map(scene, range(25))), sound="aac", late=2.5)
    with_sound_of(source, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4")[1] == sound_of(source)[1]


@pytest.mark.parametrize(("name", "base"), [("a.mp4", 90_000), ("a.mkv", 1000)])
def test_a_variable_rate_is_kept(tmp_path, name, base):
    seconds = [0, 0.04, 0.1, 0.11, 0.5, 0.533, 1]
    ticks = [round(second * base) for second in seconds]
    source = tmp_path / name
    write_film(source, list(map(scene, range(7))), ticks, base=Fraction(1, base))
    with_sound_of(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
    np.testing.assert_allclose([frame.time for frame in frames], seconds, atol=1e-3)
    for number, frame in enumerate(frames):
        image = frame.to_ndarray(format="rgb24")
        assert mean_difference(image, scene(number)) < 2.5
        assert mean_difference(image, scene(number + 1)) > 2.5
    # The last one is as long as the average. From the file's head: FFmpeg looks elsewhere.
    content = (tmp_path / "out.mp4").read_bytes()
    scale, length = struct.unpack_from(">II", content, content.index(b"mvhd") + 16)
    assert length / scale == pytest.approx(1 + 1 / film(source).rate, abs=2e-3)
    write_moments(tmp_path / "out.gif", moments(source), film(source), {})
    shown = read_moving(tmp_path / "out.gif")[1]
    # The fourth would end the third after a hundredth of a second.
    assert shown == [40, 60, 400, 30, 470, round(1000 / film(source).rate, -1)]


def test_of_two_frames_at_one_time_the_first_counts(tmp_path):
    ticks = [0, 4, 400, 800, 1200, 1600]  # which Matroska rounds to thousandths of a second
    images = list(map(scene, range(6)))
    source = write_film(tmp_path / "a.mkv", images, ticks, base=Fraction(1, 10_000))
    assert with_sound_of(source, tmp_path / "out.mp4") == 5
    seen = list(moments(tmp_path / "out.mp4"))
    assert [float(moment.time) for moment in seen] == [0, 0.04, 0.08, 0.12, 0.16]
    assert mean_difference(seen[1].image, scene(2)) < 2.5


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_video_is_upright_as_its_mark_says(tmp_path, degrees):
    source = write_film(tmp_path / "a.mp4", [scene(0)] * 3, turned=degrees)
    upright = np.rot90(scene(0), degrees // 90)
    seen = [moment.image for moment in moments(source)]
    assert {image.shape for image in seen} == {upright.shape}
    assert mean_difference(seen[0], upright) < 2.5
    with_sound_of(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation == 0
    assert mean_difference(frame.to_ndarray(format="rgb24"), upright) < 2.5


def test_pixels_become_square(tmp_path):
    source = write_film(tmp_path / "a.mp4", [scene(0)] * 3, sample_aspect_ratio=Fraction(3, 2))
    wide = Image.fromarray(scene(0)).resize((96, 48))
    assert mean_difference(next(moments(source)).image, wide) < 3


def test_colours_of_a_large_video_that_says_nothing_of_them(tmp_path):
    """Players take it for BT.709, by its size."""
    # y, u and v of red 200, green 60, blue 90 by BT.709, in limited range.
    luma = (0.2126 * 200 + 0.7152 * 60 + 0.0722 * 90) / 255
    yuv = (16 + 219 * luma, *(128 + 224 * (c / 255 - luma) / d for c, d in BLUE_RED))
    planes = [
        np.full((h, 1280), round(v), np.uint8) for h, v in zip((720, 180, 180), yuv, strict=True)
    ]
    frame = av.VideoFrame.from_ndarray(np.concatenate(planes), format="yuv420p")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"qp": "0"})
        video.width, video.height = 1280, 720
        container.mux(video.encode(frame))
        container.mux(video.encode())
    image = next(moments(tmp_path / "a.mp4")).image
    np.testing.assert_allclose(image.mean(axis=(0, 1)), (200, 60, 90), atol=2)


def test_colours_of_the_source_are_said_again(tmp_path):
    said = {"color_primaries": 9, "color_trc": 18, "colorspace": 9}  # BT.2020, HLG: phones
    source = write_film(tmp_path / "a.mp4", [scene(0)] * 3, **said)
    with_sound_of(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc) == (9, 18)


def test_a_video_that_breaks_off_leaves_nothing(tmp_path):
    source = write_film(tmp_path / "a.mp4", [scene(number) for number in range(25)])
    content = bytearray(source.read_bytes())
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableFile, match="unreadable video"):
        with_sound_of(source, tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        audio = container.add_stream("aac", rate=48_000)
        container.mux(audio.encode(tone(0.2, 0)))
        container.mux(audio.encode())
    for look in (probe, film, lambda path: next(moments(path))):
        with pytest.raises(UnusableFile, match="no pictures"):
            look(tmp_path / "a.mp4")
