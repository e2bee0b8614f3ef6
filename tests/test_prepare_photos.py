"""Photos by MediaPipe: found, turned upright, measured; and the readout fitted to OpenFace."""

import importlib.metadata
import importlib.util
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import SHEETS, needs_mediapipe, portrait
from PIL import Image, ImageFilter
from prepare_folders import look, read_rows, records

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.readout import (
    Readout,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
TILES = ("--tiles", 1, 2)


def photos(images, out, *extra):
    command = ["photos", "--images", images, "--out", out, "--size", 64, "--workers", 1]
    return main([str(word) for word in [*command, *extra]])


def skipped(out):
    return {Path(row["file"]).name: row["reason"] for row in read_rows(out / "skipped.csv")}


def crop_of(out, name):
    return np.asarray(look(out / f"crops/{name}.jpg"), float)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of photos good and bad, prepared once: (images, out)."""
    folder = tmp_path_factory.mktemp("photos")
    images, out = folder / "in", folder / "out"
    images.mkdir()
    face = portrait()
    face.save(images / "upright.png")
    for angle in (-30, 15, 30, 60):
        turned = face.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor="grey")
        turned.save(images / f"turned{angle}.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    face.rotate(180).save(images / "marked.jpg", exif=exif, quality=95)
    face.convert("L").save(images / "grey.png")
    face.filter(ImageFilter.GaussianBlur(16)).save(images / "blurred.png")
    small = Image.new("RGB", (700, 700), "grey")
    small.paste(face.resize((110, 110)), (300, 300))
    small.resize((300, 300)).save(images / "small.png")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(images / "noise.png")
    (images / "empty.jpg").write_bytes(b"")
    (images / "people/Zoë").mkdir(parents=True)
    shutil.copy(images / "upright.png", images / "people/Zoë/copy.png")
    assert (
        photos(images, out, "--duplicates", "keep", "--people-are-folders", "--blur", 60, *TILES)
        == 0
    )
    return images, out


@needs_mediapipe
@pytest.mark.parametrize("name", ["turned-30.png", "turned15.png", "turned30.png", "turned60.png"])
def test_a_turned_photo_gives_the_same_crop(prepared, name):
    _, out = prepared
    upright, turned = crop_of(out, "upright.png"), crop_of(out, name)
    inner = np.s_[8:56, 8:56]  # beyond, the turned picture has grey corners
    assert np.abs(turned - upright)[inner].mean() < 6
    assert np.abs(crop_of(out, "upright.png")[:, ::-1] - upright)[inner].mean() > 20
    table = {row["id"]: row for row in read_rows(out / "table.csv")}
    aus = np.array([[float(table[key][code]) for code in ACTION_UNITS if code in table[key]]
                    for key in ("upright.png", name)])  # fmt: skip
    assert np.abs(aus[0] - aus[1]).mean() < 0.25


@needs_mediapipe
def test_the_record_says_where_the_crop_is_from(prepared):
    images, out = prepared
    record = records(out)["turned30.png"]
    matrix = np.vstack([record["transform"], [0, 0, 1]])
    turn = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    assert abs(turn - 30) < 3  # Pillow turned the picture anticlockwise, this turns it back
    back = np.linalg.inv(matrix)
    source = np.asarray(look(images / "turned30.png").filter(ImageFilter.GaussianBlur(3)), float)
    crop = crop_of(out, "turned30.png")
    errors = []
    for x, y in np.random.default_rng(0).integers(12, 52, (50, 2)):
        column, row, _ = back @ (x + 0.5, y + 0.5, 1)
        errors.append(np.abs(crop[y, x] - source[int(row), int(column)]).mean())
    assert np.mean(errors) < 8


@needs_mediapipe
def test_what_is_no_good_face_is_told(prepared):
    _, out = prepared
    assert skipped(out) == {
        "empty.jpg": "unreadable picture",
        "noise.png": "no face",
        "blurred.png": "too blurred",
        "small.png": "face too small",
    }
    assert set(records(out)) == {
        *("upright.png", "turned-30.png", "turned15.png", "turned30.png", "turned60.png"),
        *("marked", "grey.png", "people__Zoë__copy.png"),
    }
    np.testing.assert_allclose(crop_of(out, "marked"), crop_of(out, "upright.png"), atol=25)


@needs_mediapipe
def test_what_is_not_measured_is_absent(prepared):
    _, out = prepared
    dataset = FaceDataset(out, "train")
    assert dataset.action_units == tuple(code for code in ACTION_UNITS if code != "AU09")
    version = importlib.metadata.version("mediapipe")
    assert dataset.annotator == f"MediaPipe {version} FaceLandmarker, blendshapes"
    assert np.isfinite(dataset.aus_table()).all()
    assert records(out)["people__Zoë__copy.png"]["person"] == "Zoë"
    card = (out / "README.md").read_text()
    assert "Not in the dataset: AU09." in card
    assert "| AU14 | dimpler |" in card
    assert "low: not compared with people; r 0.08 with OpenFace" in card


@needs_mediapipe
def test_every_face_of_a_group(tmp_path):
    images = tmp_path / "in"
    images.mkdir()
    with Image.open(SHEETS / "SFHQ_sample_2x4.jpg") as sheet:
        size = (sheet.width // 2, sheet.height // 2)
        sheet.resize(size).save(images / "group.jpg")
    assert photos(images, tmp_path / "all", "--faces", "all", *TILES) == 0
    found = records(tmp_path / "all")
    assert set(found) == {"group", *(f"group+{number}" for number in range(1, 8))}
    cells = set()
    for record in found.values():
        back = np.linalg.inv(np.vstack([record["transform"], [0, 0, 1]]))
        x, y, _ = back @ (32, 32, 1)
        cells.add((int(4 * x / size[0]), int(2 * y / size[1])))
    assert len(cells) == 8
    assert {row["split"] for row in read_rows(tmp_path / "all/table.csv")} == {"train"}

    assert photos(images, tmp_path / "one", *TILES) == 0
    assert set(records(tmp_path / "one")) == {"group"}
    reasons = [row["reason"] for row in read_rows(tmp_path / "one/skipped.csv")]
    assert reasons == ["another face"] * 7


@needs_mediapipe
def test_frames_of_a_video(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")
    (tmp_path / "in").mkdir()
    face = portrait(320)
    with av.open(str(tmp_path / "in/talk.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 320, "yuv420p", 10**7
        for number in range(12):
            shown = face if number < 6 else face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            container.mux(stream.encode(av.VideoFrame.from_image(shown)))
        container.mux(stream.encode())
    assert photos(tmp_path / "in", tmp_path / "out", "--every", 3) == 0
    assert sorted(records(tmp_path / "out")) == ["talk.mp4+f000000", "talk.mp4+f000006"]
    rows = read_rows(tmp_path / "out/skipped.csv")
    assert [(row["file"], row["reason"]) for row in rows] == [
        ("talk.mp4#3", "duplicate"),
        ("talk.mp4#9", "duplicate"),
    ]


def test_without_an_extra_the_message_names_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp4").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert photos(tmp_path / "in", tmp_path / "out") == 2
    assert "ganimation-jax[video]" in capsys.readouterr().err


def test_wrong_readouts_are_refused(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in/a.png")
    for name, write in {
        "no.npz": lambda path: None,
        "text.npz": lambda path: path.write_text("hello"),
        "other.npz": lambda path: np.savez(path, weights=np.zeros(3)),
        "empty.npz": lambda path: path.write_bytes(b""),
        "zip.npz": lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)),
        "folder.npz": lambda path: path.mkdir(),
        "numbers.npz": lambda path: np.savez(path, weights=1, bias=2, about="5"),
        "words.npz": lambda path: np.savez(path, weights=np.zeros(3), bias=2, about="[]"),
        "objects.npz": lambda path: np.savez(path, weights=np.array([{}])),
        "bomb.npz": lambda path: np.savez_compressed(path, weights=np.zeros(30_000_000)),
    }.items():
        write(tmp_path / name)
        assert photos(tmp_path / "in", tmp_path / "out", "--readout", tmp_path / name) == 2
        assert "is no readout" in capsys.readouterr().err


@needs_mediapipe
@pytest.mark.skipif(
    not (SHARED / "lfw_openface").exists(), reason="no lfw_openface beside the repo"
)
def test_a_readout_is_fitted_and_used(tmp_path, capsys):
    for folder in ("imgs", "openface"):
        (tmp_path / folder).mkdir()
    names = sorted(os.listdir(SHARED / "lfw_openface/imgs"))[:90]
    for name in names:
        (tmp_path / "imgs" / name).symlink_to(SHARED / "lfw_openface/imgs" / name)
        csv = name.replace(".jpg", ".csv")
        (tmp_path / "openface" / csv).symlink_to(SHARED / "lfw_openface/openface" / csv)
    command = ["fit-readout", "--images", tmp_path / "imgs", "--csv", tmp_path / "openface"]
    command += ["--out", tmp_path / "readout.npz", "--workers", 2]
    assert main([str(word) for word in command]) == 0
    assert "AU12  0." in capsys.readouterr().out
    readout = Readout.load(tmp_path / "readout.npz")
    assert readout.action_units == ACTION_UNITS
    assert readout.about["r"]["AU12"] > 0.6  # with 90 faces; with 6,000 it is .91
    few = tmp_path / "few"
    few.mkdir()
    for name in names[:3]:
        shutil.copy(tmp_path / "imgs" / name, few / name)
    assert photos(few, tmp_path / "out", "--readout", tmp_path / "readout.npz", "--blur", 0) == 0
    assert FaceDataset(tmp_path / "out", "train").action_units == ACTION_UNITS
    assert "with OpenFace |" in (tmp_path / "out/README.md").read_text()


@needs_mediapipe
def test_crops_that_openface_annotated_are_cut_anew_by_mediapipe(tmp_path, capsys):
    (tmp_path / "imgs").mkdir()
    (tmp_path / "csv").mkdir()
    portrait(400).save(tmp_path / "imgs/a.jpg", quality=95)
    units = ", ".join(f"{unit}_r" for unit in ACTION_UNITS)
    values = np.linspace(0, 5, 17).round(2)
    row = ", ".join(map(str, values))
    (tmp_path / "csv/a.csv").write_text(f"face, confidence, {units}\n0, 0.9, {row}\n")
    command = ["openface", "--images", tmp_path / "imgs", "--csv", tmp_path / "csv"]
    command += ["--out", tmp_path / "out", "--workers", 1, "--align", "mediapipe"]
    assert main([str(word) for word in command]) == 0
    face = FaceDataset(tmp_path / "out", "train")[0]
    np.testing.assert_allclose(face["aus"], values, atol=1e-6)
    assert face["transform"][0, 0] > 128 / 400  # cut closer than the picture
    assert main([str(word) for word in [*command, "--faces", "all"]]) != 0
    assert "none is annotated" in capsys.readouterr().err


@needs_mediapipe
def test_emotionet_is_cut_by_mediapipe_and_labelled_by_its_pickle(tmp_path, capsys):
    root = tmp_path / "in"
    root.mkdir()
    portrait(400).save(root / "N_01.jpg", quality=95)
    portrait(400).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "unlabelled.jpg")
    (root / "list.txt").write_text("http://there/N_01.jpg 0 1 999\nhttp://there/N_02.jpg 1\n")
    aus = np.linspace(0, 5, 17)
    (root / "aus_openface.pkl").write_bytes(pickle.dumps({"N_01": aus}))
    command = ["emotionet", "--manual-dir", root, "--out", tmp_path / "out", "--workers", 1]
    assert main([str(word) for word in command]) == 0
    dataset = FaceDataset(tmp_path / "out", "train")
    assert (dataset.annotator, dataset.action_units) == ("OpenFace", ACTION_UNITS)
    np.testing.assert_array_equal(dataset[0]["aus"], np.float32(aus))
    assert dataset[0]["transform"][0, 0] > 128 / 400  # cut closer than the picture
    assert skipped(tmp_path / "out") == {
        "unlabelled.jpg": "picture without annotation",
        "list.txt:N_02": "listed picture is missing",
    }
    assert "annotator | OpenFace" in (tmp_path / "out/README.md").read_text()


def test_without_mediapipe_the_message_names_the_extra(tmp_path, monkeypatch, capsys):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in/a.png")
    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert photos(tmp_path / "in", tmp_path / "out") == 2
    assert "ganimation-jax[annotate]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
