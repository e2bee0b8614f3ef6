"""Frames of videos as input of prepare."""

import numpy as np
import pytest
from prepare_folders import draw, look, records, write_csv
from prepare_openface import face_at, openface, skipped, write_rows

from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.files.unusable import UnusableFile


def write_video(path, count, rate=25, size=(96, 64)):
    """Each frame is of one grey, 4 n + 20; x264 is lossy, but not by that much."""
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 10**6
        for number in range(count):
            grey = np.full((size[1], size[0], 3), 20 + 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())


def test_frames_are_the_same_wherever_reading_starts(tmp_path):
    write_video(tmp_path / "v.mp4", 50)
    from ganimation_jax.media.video import frames, probe

    def read(start, stop, every=1):
        return {
            number: np.asarray(image)
            for number, image in frames(tmp_path / "v.mp4", start, stop, every)
        }

    assert probe(tmp_path / "v.mp4") == (2.0, 25.0)
    whole = read(0, float("inf"))
    assert sorted(whole) == list(range(50))
    for number, image in whole.items():
        assert abs(image.mean() - (20 + 4 * number)) < 6
    pieces = [read(0, 0.7), read(0.7, 1.33), read(1.33, float("inf"))]
    assert [len(piece) for piece in pieces] == [18, 16, 16]
    joined = {number: image for piece in pieces for number, image in piece.items()}
    assert all(np.array_equal(joined[number], whole[number]) for number in whole)
    assert sorted(read(0.5, 2, every=10)) == [20, 30, 40]


def test_a_video_that_breaks_off_is_told(tmp_path):
    write_video(tmp_path / "v.avi", 50)
    content = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(b"no video" + content[:100])
    from ganimation_jax.media.video import probe

    with pytest.raises(UnusableFile, match="unreadable video"):
        probe(tmp_path / "v.avi")


def test_a_file_for_a_video(tmp_path):
    write_video(tmp_path / "imgs/talk.mp4", 10)
    faces = [face_at(10 * i, 1.5, 40, 10)[0] for i in range(12)]
    rows = [
        {"frame": i + 1, "timestamp": i / 25, "confidence": 0.9, "success": 1} | face
        for i, face in enumerate(faces)
        if i != 4
    ]
    write_rows(tmp_path / "csv/talk.csv", rows)
    assert openface(tmp_path, "--align") == 0
    found = records(tmp_path / "out")
    assert sorted(found) == [f"talk.mp4+f{i:06d}" for i in range(10) if i != 4]
    for number in (0, 9):
        record = found[f"talk.mp4+f{number:06d}"]
        assert record["source"] == f"talk.mp4#{number}"
        want = face_at(10 * number, 1.5, 40, 10)[1]
        np.testing.assert_allclose(record["transform"], want, atol=2e-3)
        grey = np.asarray(look(tmp_path / f"out/crops/{record['id']}.jpg")).mean()
        assert abs(grey - (20 + 4 * number)) < 6
    assert skipped(tmp_path) == [("talk.mp4", "annotation without picture")]


def test_frames_of_one_second_are_pairs(tmp_path, capsys):
    """At 10 frames a second frames 0 and 9 are, 9 and 10 are not; a picture has no partner."""
    write_video(tmp_path / "imgs/talk.mp4", 12, rate=10)
    columns, _ = face_at(0, 1.5, 40, 10)
    rows = [{"frame": i + 1, "confidence": 0.9, "success": 1} | columns for i in (0, 5, 9, 10)]
    write_rows(tmp_path / "csv/talk.csv", rows)
    assert openface(tmp_path, "--align", "--pairs", "--test-fraction", 0) == 0
    dataset = FaceDataset(tmp_path / "out", "train")
    groups = dict(zip((one["source"] for one in dataset), dataset.pair_groups(), strict=True))
    assert groups["talk.mp4#0"] == groups["talk.mp4#5"] == groups["talk.mp4#9"]
    assert groups["talk.mp4#10"] != groups["talk.mp4#9"]

    assert openface(tmp_path, "--align", "--pairs", "--faces", "all") == 2
    assert "--pairs needs --faces largest" in capsys.readouterr().err
    draw(tmp_path / "photos/imgs/a.jpg", seed=0)
    write_csv(tmp_path / "photos/csv/a.csv", 0)
    assert openface(tmp_path / "photos", "--pairs") == 2
    assert "--pairs needs videos" in capsys.readouterr().err
