"""What prepare takes as input: odd pictures and names, every kind of OpenFace output, CelebA."""

import numpy as np
import pytest
from prepare_folders import draw, intensities, look, read_rows, records, write_csv
from prepare_openface import face_at, openface, skipped, write_rows

# OpenFace


def test_faces_of_a_picture_are_cut_where_the_landmarks_are(tmp_path):
    """FaceLandmarkImg: a row a face, columns ``face`` and ``confidence``."""
    draw(tmp_path / "imgs/two.png", side=300, width=400, seed=1)
    small, small_transform = face_at(-30, 2.0, 220, 90)
    large, large_transform = face_at(30, 4.0, 120, 60)
    faces = [{"face": i, "confidence": 0.9} | face for i, face in enumerate((small, large))]
    lost = {"face": 2, "confidence": 0.9} | face_at(0, 1e6, 0, 0)[0]
    write_rows(tmp_path / "csv/two.csv", faces)
    write_rows(tmp_path / "csv/lost.csv", [lost])
    draw(tmp_path / "imgs/lost.png", side=300)

    assert openface(tmp_path, "--align", "--faces", "all") == 0
    found = records(tmp_path / "out")
    assert set(found) == {"two", "two+1"}
    np.testing.assert_allclose(found["two"]["transform"], large_transform, atol=2e-3)
    np.testing.assert_allclose(found["two+1"]["transform"], small_transform, atol=2e-3)
    np.testing.assert_array_equal(found["two"]["aus"], np.float32(intensities(1)))
    assert skipped(tmp_path) == [("lost.png", "unusable landmarks")]
    # A second way to the crop: each of its pixels is looked up in the picture.
    picture = np.asarray(look(tmp_path / "imgs/two.png"), float)
    back = np.linalg.inv(np.vstack([large_transform, [0, 0, 1]]))
    crop = np.asarray(look(tmp_path / "out/crops/two.jpg"), float)
    for x, y in ((10, 10), (16, 25), (22, 6)):
        column, row, _ = back @ (x + 0.5, y + 0.5, 1)
        assert np.abs(crop[y, x] - picture[int(row), int(column)]).max() < 12

    assert openface(tmp_path, "--align") == 0
    assert set(records(tmp_path / "out")) == {"two"}
    assert ("two.png face 2", "another face") in skipped(tmp_path)


def test_no_landmarks_to_align_by(tmp_path):
    draw(tmp_path / "imgs/a.jpg")
    write_csv(tmp_path / "csv/a.csv")
    assert openface(tmp_path, "--align") == 1
    assert skipped(tmp_path) == [("a.jpg", "CSV lacks landmarks")]


@pytest.mark.parametrize("first", [0, 1])
def test_a_file_for_a_folder_of_frames(tmp_path, first):
    for number in range(4):
        draw(tmp_path / f"imgs/walk/{number:05d}.jpg", seed=number)
        draw(tmp_path / f"imgs/run/{number:05d}.jpg", seed=number)
    frames = [{"frame": first + i, "confidence": 0.9, "success": i != 1} for i in range(6)]
    for row in frames:
        row["success"] = int(row["success"])
    write_rows(tmp_path / "csv/walk.csv", frames)
    assert openface(tmp_path) == 0
    found = records(tmp_path / "out")
    assert {one["source"] for one in found.values()} == {f"walk/0000{i}.jpg" for i in (0, 2, 3)}
    np.testing.assert_array_equal(found[f"walk+{first + 2:06d}"]["aus"], np.float32(intensities(2)))
    assert skipped(tmp_path) == [
        *[(f"0000{i}.jpg", "picture without annotation") for i in range(4)],
        ("walk.csv", "OpenFace found no face"),
        *[("walk.csv", "annotation without picture")] * 2,
    ]
    table = read_rows(tmp_path / "out/table.csv")
    assert len({row["split"] for row in table}) == 1  # a sequence is of one person


def test_crops_that_openface_wrote(tmp_path):
    for number in (1, 2, 7):
        draw(tmp_path / f"imgs/clip_aligned/frame_det_00_{number:06d}.bmp", side=112, seed=number)
    for number in range(2):
        draw(tmp_path / f"imgs/pic_aligned/face_det_{number:06d}.bmp", side=112, seed=number)
    frames = [{"frame": 1 + i, "face_id": 0, "confidence": 1, "success": 1} for i in range(3)]
    write_rows(tmp_path / "csv/clip.csv", frames)
    write_rows(tmp_path / "csv/pic.csv", [{"face": i, "confidence": 1} for i in range(2)])
    assert openface(tmp_path) == 0
    found = records(tmp_path / "out")
    assert set(found) == {"clip+000001", "clip+000002", "pic+000000", "pic+000000+1"}
    for name, seed in {"clip+000002": 1, "pic+000000+1": 1, "clip+000001": 0}.items():
        np.testing.assert_array_equal(found[name]["aus"], np.float32(intensities(seed)))
    assert skipped(tmp_path) == [("frame_det_00_000007.bmp", "picture without annotation")]


def test_a_broken_file_for_a_folder_loses_no_picture_silently(tmp_path):
    for number in range(2):
        draw(tmp_path / f"imgs/clip_aligned/frame_det_00_{number:06d}.bmp", side=112)
        draw(tmp_path / f"imgs/walk/{number}.jpg")
        draw(tmp_path / f"imgs/other/walk/{number}.png")
    draw(tmp_path / "imgs/good.jpg")
    write_csv(tmp_path / "csv/good.csv")
    (tmp_path / "csv/clip.csv").write_text("frame, face_id, gaze\n1, 0, 0\n")
    write_rows(tmp_path / "csv/walk.csv", [{"frame": 1, "confidence": 1}])
    assert openface(tmp_path) == 0
    assert set(records(tmp_path / "out")) == {"good"}
    assert skipped(tmp_path) == [
        *[
            (f"{i}.{kind}", "picture without annotation")
            for i in range(2)
            for kind in ("jpg", "png")
        ],
        ("clip.csv", "CSV lacks action units"),
        *[(f"frame_det_00_00000{i}.bmp", "picture without annotation") for i in range(2)],
        ("walk.csv", "two folders of one name"),
    ]


def test_one_file_that_names_its_pictures(tmp_path):
    for name in ("a.jpg", "deep/b.jpg", "c.jpg", "x/twin.jpg", "y/twin.jpg"):
        draw(tmp_path / "imgs" / name)
    names = ("deep/b.jpg", "a", "gone.jpg", "x/twin.jpg", "y/twin.jpg")
    rows = [{"filename": name, "confidence": 0.9} for name in names]
    write_rows(tmp_path / "all.csv", rows)
    assert openface(tmp_path, csv="all.csv") == 0
    found = records(tmp_path / "out")
    assert set(found) == {"a", "b", "x__twin", "y__twin"}
    for name, seed in {"a": 1, "x__twin": 3, "y__twin": 4}.items():
        np.testing.assert_array_equal(found[name]["aus"], np.float32(intensities(seed)))
    assert skipped(tmp_path) == [
        ("all.csv:gone.jpg", "annotation without picture"),
        ("c.jpg", "picture without annotation"),
    ]
