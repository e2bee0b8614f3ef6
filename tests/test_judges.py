import csv
import re

import jax
import numpy as np
import pytest
from helpers import ROOT, mediapipe_missing, openface_double
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation import judges
from ganimation_jax.evaluation.agreement import correlation
from ganimation_jax.faces import openface_program

RNG = np.random.default_rng(0)
UNITS = ("AU12", "AU04")
FACES = ROOT.parent / "shared" / "data" / "lfw_openface"
IMAGES = RNG.uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)


def coloured(*colours):
    """Faces of one colour each, uint8 levels, as floats."""
    return np.tile(np.array(colours)[:, None, None] / 127.5 - 1, (1, 64, 64, 1)).astype(np.float32)


def test_the_critic_reads_any_number_of_images_with_one_compilation():
    traces = []

    @jax.jit
    def read(image):
        traces.append(image.shape)
        return image[:, 0, 0, :2]

    judge = judges.own_reader(read, UNITS)
    for count in (5, 3):
        np.testing.assert_array_equal(judge.read(IMAGES[:count]), IMAGES[:count, 0, 0, :2])
    assert traces == [(32, 8, 8, 3)]
    assert judge.name == "own"
    assert judge.quality == {"AU12": "good", "AU04": "good"}


def test_images_are_written_as_openface_can_take_them(tmp_path):
    judges.write_images(tmp_path / "new" / "folder", IMAGES)
    files = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert files == [f"{i:05}.png" for i in range(5)]
    with Image.open(tmp_path / "new" / "folder" / "00000.png") as picture:
        assert picture.size == (256, 256)
    large = RNG.uniform(-1, 1, (1, 300, 300, 3))
    judges.write_images(tmp_path, large)
    with Image.open(tmp_path / "00000.png") as picture:
        pixels = np.asarray(picture)
    np.testing.assert_allclose(pixels / 127.5 - 1, large[0], atol=0.5 / 127.5)


def test_openface_is_run_and_its_files_are_read(tmp_path):
    judge = judges.openface_binary(openface_double(tmp_path), UNITS)
    read = judge.read(coloured((255, 0, 255), (0, 0, 0), (102, 51, 200)))
    np.testing.assert_allclose(read, [(1, 0), (np.nan, np.nan), (0.4, 0.2)], atol=0.003)
    assert judge.name == "openface"
    unserved = judges.openface_binary(openface_double(tmp_path), ("AU12", "AU45"))
    read = unserved.read(coloured((255, 0, 255)))
    assert read[0, 0] == 1
    assert np.isnan(read[0, 1])


def test_openface_that_cannot_be_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no OpenFace at .*absent"):
        judges.openface_binary(tmp_path / "absent", UNITS)
    videos = openface_double(tmp_path, name="FeatureExtraction")
    with pytest.raises(ValueError, match="give FaceLandmarkImg"):
        judges.openface_binary(videos, UNITS)
    path = openface_double(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="not executable"):
        judges.openface_binary(path, UNITS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\necho model not found >&2; exit 3\n", "ended with 3; it said: model not found"),
        ("#!/bin/sh\necho sorry\n", "wrote no CSV file; it said: sorry"),
        ("#!/bin/sh\n", "it said: nothing"),
        ("#!/no/such/interpreter\n", "cannot be run"),
    ],
)
def test_openface_that_fails_is_quoted(tmp_path, text, message):
    judge = judges.openface_binary(openface_double(tmp_path, text), UNITS)
    with pytest.raises(RuntimeError, match=message):
        judge.read(coloured((255, 0, 255)))


def test_openface_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(openface_program, "SECONDS", (0.2, 0.05))
    judge = judges.openface_binary(openface_double(tmp_path, "#!/bin/sh\nexec sleep 60\n"), UNITS)
    with pytest.raises(openface_program.OpenFaceError, match="did not end within 0 s"):
        judge.read(coloured((255, 0, 255)))


def test_who_is_believed_follows_from_human_coders():
    mediapipe, openface = (judges.graded(place, ACTION_UNITS) for place in (1, 0))
    assert mediapipe["AU06"] == mediapipe["AU09"] == "none"  # at chance
    assert openface["AU09"] == openface["AU04"] == "good"
    assert {openface[unit] for unit in ("AU06", "AU07", "AU10", "AU20")} == {"low"}
    for unit in ("AU14", "AU23", "AU45"):  # nobody has compared them
        assert (mediapipe[unit], openface[unit]) == ("low", "low")
    both = [u for u in ACTION_UNITS if mediapipe[u] == openface[u] == "good"]
    assert list(judges.WELL_JUDGED) == both


def write_csv(path, confidence=0.9, **intensities):
    header = ["frame", "face_id", "timestamp", "confidence", "success"]
    header += [f"{code}_r" for code in intensities]
    values = [1, 0, 0, confidence, 1, *intensities.values()]
    path.write_text(", ".join(header) + "\n" + ", ".join(map(str, values)) + "\n")


def test_csv_files_of_the_users_own_run(tmp_path):
    write_csv(tmp_path / "00000.csv", AU12=2.5, AU04=1)
    write_csv(tmp_path / "00002.csv", AU12=5, AU04=0, confidence=0.4)
    write_csv(tmp_path / "00003.csv", AU12=5)
    (tmp_path / "00004.csv").write_text("frame, confidence, AU12_r\n")
    (tmp_path / "00000_of_details.txt").write_text("not ours to read")
    read = judges.openface_csvs(tmp_path, UNITS).read(IMAGES)
    nan = np.nan
    want = [(0.5, 0.2), (nan, nan), (nan, nan), (1, nan), (nan, nan)]
    np.testing.assert_allclose(read, want, atol=1e-6)


def test_csv_files_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        judges.openface_csvs(tmp_path / "absent", UNITS)
    judge = judges.openface_csvs(tmp_path, UNITS)
    with pytest.raises(ValueError, match="to 00004.csv, it has none"):
        judge.read(IMAGES)
    write_csv(tmp_path / "00005.csv", AU12=1)
    with pytest.raises(ValueError, match="it has up to 00005.csv"):
        judge.read(IMAGES)
    (tmp_path / "00005.csv").unlink()
    (tmp_path / "00001.csv").write_text("frame, confidence, x_0\n1, 0.9, 3\n")
    with pytest.raises(ValueError, match=re.escape("00001.csv: CSV lacks action units")):
        judge.read(IMAGES)


def openface_label(stem, code):
    with (FACES / "openface" / f"{stem}.csv").open(newline="") as file:
        return float(next(csv.DictReader(file, skipinitialspace=True))[f"{code}_r"]) / 5


def face_crop(stem):
    with Image.open(FACES / "imgs" / f"{stem}.jpg") as picture:
        return np.asarray(picture.convert("RGB").resize((64, 64))) / 127.5 - 1


@pytest.mark.skipif(not FACES.is_dir(), reason="needs the faces of ../shared/data/lfw_openface")
def test_mediapipe_reads_small_crops_of_real_faces(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if mediapipe_missing():
        pytest.skip(mediapipe_missing())
    stems = [name.removesuffix(".jpg") for name in (FACES / "test_ids.csv").read_text().split()]
    stems = stems[:40]
    images = np.stack([face_crop(stem) for stem in stems])
    units = ("AU12", "AU09", "AU14")
    with judges.mediapipe(units) as judge:
        read = judge.read(images)
        blank = judge.read(np.zeros((1, 64, 64, 3)))
    assert judge.quality == {"AU12": "good", "AU09": "none", "AU14": "low"}
    assert np.isnan(blank).all()
    assert np.isnan(read[:, 1]).all()
    assert np.isfinite(read[:, 0]).mean() > 0.95
    labels = np.array([[openface_label(stem, "AU12")] for stem in stems])
    assert correlation(read[:, :1], labels) > 0.7
    with monkeypatch.context() as patch:  # once read, the faces are not looked for again
        patch.setattr(judges.Landmarker, "faces", None)
        with judges.mediapipe(units, threads=1) as judge:
            np.testing.assert_array_equal(judge.read(images), read)
    # What is not an action unit is not judged.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with judges.mediapipe(("Smiling", "AU12"), threads=1) as judge:
        assert judge.quality == {"Smiling": "none", "AU12": "good"}
        one = judge.read(images[:3])
    assert np.isnan(one[:, 0]).all()
    np.testing.assert_array_equal(one[:, 1], read[:3, 0])  # in order, whatever the threads
