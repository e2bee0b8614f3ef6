"""What prepare takes as input: odd pictures and names, every kind of OpenFace output, CelebA."""

import csv
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_folders import draw, intensities, look, read_rows, records, write_csv

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.faces.openface_points import CANONICAL, POINTS
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import read_picture
from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.emotionet import listed_items
from ganimation_jax.prepare.sources import photo_id, photo_items, walk

SIZE = 32


def openface(folder, *extra, csv="csv"):
    command = ["openface", "--images", folder / "imgs", "--csv", folder / csv]
    shape = ["--out", folder / "out", "--size", SIZE, "--workers", 1]
    return main([str(word) for word in [*command, *shape, *extra]])


def skipped(folder):
    """(file name, reason) of every line."""
    rows = read_rows(folder / "out/skipped.csv")
    return sorted((Path(row["file"]).name, row["reason"]) for row in rows)


def write_rows(path, rows):
    """An OpenFace CSV of many rows; each is the columns that it has beside the action units."""
    path.parent.mkdir(parents=True, exist_ok=True)
    units = [f"{code}_r" for code in ACTION_UNITS]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f" {name}" for name in [*rows[0], *units, "AU28_c"]])
        for seed, row in enumerate(rows):
            writer.writerow([*row.values(), *intensities(seed), 0])


def face_at(angle, scale, x, y):
    """68 landmarks of a face turned by ``angle`` degrees, and the transform to its crop.

    Landmarks are written as OpenFace does, from the centre of the first pixel.
    """
    turn, places = np.radians(angle), np.zeros((68, 2))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places[list(POINTS)] = np.multiply(CANONICAL, SIZE)
    points = places @ matrix.T + (x, y) - 0.5
    inverse = np.linalg.inv(matrix)
    columns = {f"{axis}_{i}": points[i, j] for j, axis in enumerate("xy") for i in range(68)}
    return columns, np.column_stack([inverse, -inverse @ (x, y)])


# Pictures


def save_as(path, mode, **options):
    picture = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "suffix", "expected"),
    [
        ("RGB", "png", (200, 100, 50)),
        ("CMYK", "tif", (200, 100, 50)),
        ("YCbCr", "jpg", (200, 100, 50)),
        ("L", "png", (124, 124, 124)),  # 0.299 r + 0.587 g + 0.114 b
        ("P", "gif", (200, 100, 50)),
        ("1", "png", None),
    ],
)
def test_pictures_of_any_mode_come_as_rgb(tmp_path, mode, suffix, expected):
    picture = read_picture(save_as(tmp_path / f"a.{suffix}", mode)).image
    assert (picture.mode, picture.size) == ("RGB", (8, 8))
    if expected:
        assert np.abs(np.subtract(picture.getpixel((4, 4)), expected)).max() <= 4


def test_transparency_is_shown_on_white(tmp_path):
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half.putpixel((1, 1), (255, 0, 0, 255))
    half.putpixel((2, 2), (0, 0, 0, 51))
    half.save(tmp_path / "a.png")
    seen = read_picture(tmp_path / "a.png").image
    assert [seen.getpixel((i, i)) for i in range(3)] == [(255,) * 3, (255, 0, 0), (204,) * 3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_as_their_exif_says(tmp_path, orientation):
    marked = np.zeros((8, 16, 3), np.uint8)
    marked[:4, :4] = 255  # upright, the top left corner is white
    # What a camera stores that is turned, by the EXIF standard's table of rows and columns.
    stored = {
        **{1: marked, 2: marked[:, ::-1], 3: marked[::-1, ::-1], 4: marked[::-1]},
        **{5: marked.swapaxes(0, 1), 6: np.rot90(marked)},
        **{7: marked[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(marked, -1)},
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a.png").image), marked)


def animated(path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 99, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("a.gif", animated, "animated picture"),
        ("a.webp", animated, "animated picture"),
        ("a.png", lambda path: Image.new("1", (12000, 12000)).save(path), "picture too large"),
        ("a.png", lambda path: Image.new("1", (20000, 20000)).save(path), "unreadable picture"),
        ("a.tif", lambda path: Image.new("F", (8, 8)).save(path), "not an 8-bit picture"),
        ("a.jpg", lambda path: path.write_bytes(b""), "unreadable picture"),
        ("a.jpg", lambda path: path.symlink_to("nowhere"), "unreadable picture"),
        ("a.jpg", lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(50)), "unreadable"),
    ],
)
def test_pictures_that_cannot_be_used_say_why(tmp_path, name, write, reason):
    write(tmp_path / name)
    with pytest.raises(UnusableFile) as error:
        read_picture(tmp_path / name)
    assert error.value.reason.startswith(reason)


# Names and folders


def test_ids_are_short_safe_unique_and_depend_on_nothing_else():
    names = ["a.jpg", "b/a.jpg", "b__a.jpg", "a.png", "b a.jpg", "b_a.jpg", "á\n.jpg", "c/á.jpg"]
    names += ["x" * 200 + ".jpg", "x" * 201 + ".jpg", "長" * 80 + ".jpg", "clip.mp4", "-.jpg"]
    ids = [photo_id(name) for name in names]
    assert ids[:2] == ["a", "b__a"]
    assert ids[3] == "a.png"
    assert len(set(ids)) == len(names)
    assert all(len(f"{one}+f000000.jpg".encode()) < 255 for one in ids)
    assert not any(set("/\n +") & set(one) for one in ids)


def test_names_of_every_kind_go_through(tmp_path):
    for name in ("új é", "new\nline", 'quo"te, comma', "a.b.c", " lead", "x" * 240):
        draw(tmp_path / "imgs" / f"{name}.jpg")
        write_csv(tmp_path / "csv" / f"{name}.csv")
    (tmp_path / "imgs" / os.fsdecode(b"latin\xe9.jpg")).write_bytes(b"?")
    assert openface(tmp_path) == 0
    names = {"új é", "new\nline", 'quo"te, comma', "a.b.c", " lead", "x" * 240}
    assert set(records(tmp_path / "out")) == names
    assert skipped(tmp_path) == [(r"latin\xe9.jpg", "file name is not UTF-8")]


def test_links_are_followed_and_loops_are_not(tmp_path):
    draw(tmp_path / "imgs/real/a.jpg")
    draw(tmp_path / "elsewhere/b.jpg")
    (tmp_path / "imgs/away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "imgs/real/loop").symlink_to(tmp_path / "imgs")
    (tmp_path / "imgs/again").symlink_to(tmp_path / "imgs/real")
    (tmp_path / "imgs/self").symlink_to("self")
    items, skips = photo_items(tmp_path / "imgs")
    assert [item.source for item in items] == ["away/b.jpg", "real/a.jpg"]
    assert sorted((Path(skip.file).name, skip.reason) for skip in skips) == [
        ("again", "folder seen before"),
        ("loop", "folder seen before"),
        ("self", "unreadable file"),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without permission")
def test_what_may_not_be_read_is_told(tmp_path):
    draw(tmp_path / "shut/a.jpg")
    draw(tmp_path / "b.jpg")
    (tmp_path / "shut").chmod(0o700)
    (tmp_path / "b.jpg").chmod(0o600)
    tmp_path.chmod(0o755)
    script = (
        "import os, pathlib; from PIL import Image; Image.init()\n"
        "from ganimation_jax.prepare.sources import walk\n"
        "from ganimation_jax.media.pictures import read_picture\n"
        "os.setuid(65534)\n"
        "files, skips = walk(pathlib.Path('.')); print(files, skips)\n"
        "try: read_picture(files[0])\n"
        "except Exception as error: print(repr(error))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env=environment, check=True,
    )  # fmt: skip
    assert "[PosixPath('b.jpg')]" in done.stdout
    assert "unreadable folder" in done.stdout
    assert "UnusableFile('unreadable picture', \"[Errno 13] Permission denied" in done.stdout


def test_walk_is_in_order_and_leaves_hidden_files(tmp_path):
    for name in ("b.jpg", "a/z.jpg", ".hidden.jpg", ".git/x.jpg", "a.jpg"):
        draw(tmp_path / name)
    files, skips = walk(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in files] == ["a/z.jpg", "a.jpg", "b.jpg"]
    assert skips == []


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


# CelebA and EmotioNet


def make_celeba(folder, names):
    for number, name in enumerate(names):
        draw(folder / "img_align_celeba" / f"{name}.jpg", side=218, width=178, seed=number)
    labels = {name: intensities(number) for number, name in enumerate(names)}
    (folder / "aus_openface.pkl").write_bytes(pickle.dumps(labels))


def test_celeba_by_its_own_lists_and_alignment(tmp_path):
    names = [f"{number:06d}" for number in range(1, 7)]
    make_celeba(tmp_path, names)
    eyes = Image.new("RGB", (178, 218))
    for left, top in ((67, 109), (106, 109)):  # squares of 5 pixels around the eyes' centres
        eyes.paste((255, 255, 255), (left, top, left + 5, top + 5))
    eyes.save(tmp_path / "img_align_celeba/000001.jpg", quality=100)
    parts = dict(zip(names, (0, 0, 1, 2, 2, 0), strict=True))
    lines = [f"{name}.jpg {part}\n" for name, part in parts.items()]
    (tmp_path / "list_eval_partition.txt").write_text("".join(lines))
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"{n}.jpg p{n[-1]}\n" for n in names))

    assert main(["celeba", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    table = read_rows(tmp_path / "out/table.csv")
    assert {row["id"]: row["split"] for row in table} == {
        name: "test" if part == 2 else "train" for name, part in parts.items()
    }
    assert table[2]["person"] == "p3"
    crop = np.asarray(look(tmp_path / "out/crops/000001.jpg").convert("L"), float)
    for half, x, y in ((crop[:, :64], 0.351, 0.396), (crop[:, 64:], 0.646 - 0.5, 0.396)):
        rows, columns = np.mgrid[:128, :64] + 0.5
        centre = [(half * grid).sum() / half.sum() for grid in (columns, rows)]
        np.testing.assert_allclose(centre, (128 * x, 128 * y), atol=0.3)


def test_celeba_as_the_published_codes_have_it(tmp_path):
    names = ["000001", "000002", "000003"]
    make_celeba(tmp_path, names)
    (tmp_path / "test_ids.csv").write_text("000002.jpg\n")
    (tmp_path / "train_ids.csv").write_text("000001.jpg\n000003.jpg\n")
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 2\n")  # the others come first
    assert main(["celeba", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    splits = {row["id"]: row["split"] for row in read_rows(tmp_path / "out/table.csv")}
    assert splits == {"000001": "train", "000002": "test", "000003": "train"}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "aus_openface.pkl").unlink(), "aus_openface.pkl"),
        (lambda folder: (folder / "img_align_celeba").rename(folder / "x"), "no folder imgs"),
        (lambda folder: (folder / "identity_CelebA.txt").write_text("a b c"), "two words"),
    ],
)
def test_celeba_that_is_not_complete(tmp_path, capsys, break_it, message):
    make_celeba(tmp_path, ["000001"])
    break_it(tmp_path)
    assert main(["celeba", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_emotionet_takes_what_its_lists_name(tmp_path):
    (tmp_path / "list_1.csv").write_text(
        "url, orig, AU1\n'http://x.org/emo/N_01/a%20b.jpg',http://y.org/1.jpg,999\n"
        "http://x.org/emo/N_01/c.jpg?size=2 http://y.org/3.jpg 0\n"
    )
    (tmp_path / "more.txt").write_text("d.png\nmissing.jpg\n")
    for name in ("N_01/a b.jpg", "c.jpg", "deep/d.png", "extra.jpg", "c2/1.jpg"):
        draw(tmp_path / name)
    items, skips = listed_items(tmp_path, None)
    assert sorted(item.source for item in items) == ["N_01/a b.jpg", "c.jpg", "deep/d.png"]
    assert sorted((Path(skip.file).name, skip.reason) for skip in skips) == [
        ("1.jpg", "in no list"),
        ("extra.jpg", "in no list"),
        ("more.txt:missing", "listed picture is missing"),
    ]

    (tmp_path / "aus_openface.pkl").write_bytes(pickle.dumps({"c": intensities(3)}))
    items, _ = listed_items(tmp_path, tmp_path / "aus_openface.pkl")
    assert [(item.id, item.label.aus) for item in items] == [("c", tuple(intensities(3)))]
