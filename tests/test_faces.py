"""Faces in photos: against known transforms, real faces of LFW and generated portraits."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, mediapipe_missing, needs_mediapipe, ramp, turn
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces import blendshapes
from ganimation_jax.faces.alignment import (
    align,
    apply,
    invert,
    refine,
)
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.faces.openface_points import transform_of_openface

DATA = Path(__file__).parents[2] / "shared" / "data"
LFW = DATA / "lfw_openface"
PORTRAITS = DATA / "synthetic_portraits"


# Places all over the inner face, of a crop of side 1: how far they move is the drift.
PLACES = np.array([(0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.25, 0.8), (0.75, 0.8)])


def picture(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def lfw(count, start=100):
    if not LFW.is_dir():
        pytest.skip(f"real faces wanted: no {LFW}")
    return sorted((LFW / "imgs").glob("*.jpg"))[start : start + 97 * count : 97]


def sheet(name):
    if not PORTRAITS.is_dir():
        pytest.skip(f"group pictures wanted: no {PORTRAITS}")
    return picture(PORTRAITS / f"SFHQ_{name}.jpg")


@pytest.fixture(scope="module")
def landmarker():
    if mediapipe_missing():
        pytest.skip(mediapipe_missing())
    with Landmarker() as found:
        yield found


def drift(one, other, size=128):
    """Mean pixels between where two crops of the same picture show the same places."""
    there = apply(other, apply(invert(one), PLACES * size))
    return np.linalg.norm(there - PLACES * size, axis=1).mean()


# Action units from blendshapes.


def test_action_units_are_lines_through_coefficients():
    values = dict.fromkeys(blendshapes.NAMES, 0.0)
    values |= {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.4, "eyeSquintLeft": 1.0}
    values |= {"jawOpen": 0.9, "mouthClose": 0.1, "browInnerUp": 0.3, "mouthRollUpper": 0.5}
    aus = blendshapes.read_aus(np.array([list(values.values())] * 2))
    assert aus.shape == (2, 17)
    assert aus.dtype == np.float32
    got = dict(zip(ACTION_UNITS, aus[1].tolist(), strict=True))
    assert got["AU12"] == pytest.approx((0.5 - 0.001) / (0.963 - 0.001))
    assert got["AU06"] == pytest.approx((np.sqrt(0.5 * 0.5) - 0.015) / (0.824 - 0.015))
    assert got["AU25"] == pytest.approx((0.9 - 0.1 - 0.029) / (0.884 - 0.029))
    assert got["AU01"] == pytest.approx((0.3 - 0.008) / (0.914 - 0.008))
    assert got["AU23"] == pytest.approx((0.5 - 0.075) / (0.565 - 0.075))
    assert got["AU26"] == 1  # clipped
    assert got["AU04"] == got["AU45"] == 0
    assert np.isnan(got["AU09"])


def test_quality_follows_from_agreement_with_people():
    """AUC against human FACS coding; what is at chance is no judge."""
    assert tuple(blendshapes.QUALITY) == ACTION_UNITS
    grades = {code: quality.grade for code, quality in blendshapes.QUALITY.items()}
    assert {c for c, g in grades.items() if g == "none"} == {"AU06", "AU09"}
    assert {c for c, g in grades.items() if g == "low"} == {"AU10", "AU14", "AU23", "AU45"}
    assert sum(grade == "good" for grade in grades.values()) == 11
    assert set(blendshapes.SERVED) == set(ACTION_UNITS) - {"AU09"}
    with pytest.raises(ValueError, match="52 blendshapes"):
        blendshapes.read_aus(np.zeros(51))


# With MediaPipe, on real and generated faces.


def test_faces_are_told_in_pixels_largest_first(landmarker):
    image = sheet("sample_1x2")
    faces = landmarker.faces(image)
    assert len(faces) == 2
    for face in faces:
        assert face.points.shape == (478, 2)
        assert face.points.dtype == face.blendshapes.dtype == np.float32
        assert face.blendshapes.shape == (52,)
        left, top, right, bottom = face.box
        assert 0 < left < face.points[1, 0] < right < image.shape[1]
        assert 0 < top < face.points[1, 1] < bottom < image.shape[0]
        assert max(map(abs, face.pose)) < 25
    assert faces[0].eye_distance >= faces[1].eye_distance
    one_left, one_right = sorted(face.points[1, 0] for face in faces)
    assert one_left < image.shape[1] / 2 < one_right


def test_every_face_of_a_group_is_found_in_tiles(landmarker):
    image = sheet("sample_3x6")
    faces = align(landmarker, image, 64, tiles=(1, 2, 3))
    cells = {
        (int(f.face.points[1, 0] * 6 / 3664), int(f.face.points[1, 1] * 3 / 1951)) for f in faces
    }
    assert (len(faces), len(cells)) == (18, 18)


def test_a_tiny_face_needs_tiles(landmarker):
    face = Image.fromarray(sheet("sample_1x2")[:, :1832]).resize((75, 80))
    image = np.full((800, 1000, 3), 120, np.uint8)
    image[300:380, 400:475] = np.asarray(face)
    assert not landmarker.faces(image)
    (found,) = landmarker.faces(image, tiles=(1, 2, 3, 5))
    assert 400 < found.points[1, 0] < 475
    assert 300 < found.points[1, 1] < 380


def test_a_picture_without_a_face(landmarker):
    assert align(landmarker, ramp(), 64, tiles=(1, 2)) == []
    with pytest.raises(TypeError, match="uint8 h w 3"):
        landmarker.faces(np.zeros((9, 9), np.uint8))


def test_grey_pictures_and_views_of_arrays(landmarker):
    with Image.open(lfw(1)[0]) as file:
        grey = np.asarray(file.convert("L"))
    image = np.repeat(grey[..., None], 3, axis=-1)
    (face,) = landmarker.faces(image)
    (mirrored,) = landmarker.faces(image[:, ::-1])  # not contiguous
    assert mirrored.points[1, 0] == pytest.approx(160 - face.points[1, 0], abs=3)


@pytest.mark.parametrize("name", ["00314", "00795", "01070"])
def test_a_face_that_fills_the_picture_is_found_with_a_border(landmarker, name):
    lfw(1)
    image = picture(LFW / "imgs" / f"{name}.jpg")
    assert not landmarker._detect(image)
    (face,) = landmarker.faces(image)
    # These crops are level, and the face takes some 88% of their side.
    (left, top, right, bottom) = face.box
    assert abs(face.pose.roll) < 10
    assert abs((left + right) / 2 - 80) < 25
    assert 0.6 < max(right - left, bottom - top) / 160 < 1.1


def rotated(image, degrees):
    """The picture turned clockwise about its middle, and the transform that does it."""
    height, width = image.shape[:2]
    transform = turn(degrees)
    transform[:, 2] = (width, height) - apply(transform, np.array((width / 2, height / 2)))
    canvas = Image.fromarray(image).transform(
        (2 * width, 2 * height),
        Image.Transform.AFFINE,
        tuple(invert(transform).ravel()),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(canvas), transform


def test_a_tilted_head_gives_the_same_crop(landmarker):
    drifts, rolls = [], []
    for path in lfw(8):
        image = picture(path)
        (level,) = align(landmarker, image, 128)
        for degrees in (-30, -15, 15, 30):
            tilted, moved = rotated(image, degrees)
            (face,) = align(landmarker, tilted, 128)
            chained = face.transform @ np.vstack([moved, [0, 0, 1]])
            drifts.append(drift(level.transform, chained))
            rolls.append(face.face.pose.roll - level.face.pose.roll - degrees)
    assert np.mean(drifts) < 1.2
    assert np.max(drifts) < 3
    assert np.abs(rolls).max() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side_or_head(landmarker, turns):
    image = np.asarray(Image.fromarray(sheet("sample_1x2")).resize((916, 488)))
    upright = align(landmarker, image, 128)
    turned = align(landmarker, np.rot90(image, turns), 128)
    assert len(turned) == 2
    for one in upright:
        # The picture is the same to the pixel, but for the sides of the detector's square.
        errors = [np.abs(one.crop.astype(int) - other.crop).mean() for other in turned]
        assert min(errors) < 6
    want = {1: -90, 2: 180, 3: 90}[turns]
    assert all(abs((face.face.pose.roll - want + 180) % 360 - 180) < 15 for face in turned)


def test_a_second_look_refuses_what_is_not_there(landmarker):
    image = picture(lfw(1)[0])
    (face,) = landmarker.faces(image)
    assert refine(landmarker, image, face) is not None
    elsewhere = face._replace(points=face.points + np.float32(0.4 * face.eye_distance))
    assert refine(landmarker, image, elsewhere) is None


def openface_to_crop(points, source_side):
    """How LFW's crops were cut from OpenFace's pictures, found by regression on the mesh.

    Level by OpenFace's eyes, the middle of its landmarks' box in the middle, their top at .21.
    """
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    tilt = np.degrees(np.arctan2(*(left - right)[::-1]))
    transform = turn(-tilt, 160 / source_side)
    box = apply(transform, points)
    middle = (box[:, 0].min() + box[:, 0].max()) / 2
    transform[:, 2] = (80.29 - middle, 33.48 - box[:, 1].min())
    return transform


def test_openface_and_mediapipe_give_the_same_crop(landmarker):
    paths = lfw(20)
    with (LFW / "metadata.csv").open(newline="") as file:
        sides = {row["id"]: float(row["source_side_px"]) for row in csv.DictReader(file)}
    drifts = []
    for path in paths:
        with (LFW / "openface" / f"{path.stem}.csv").open(newline="") as file:
            (row,) = csv.DictReader(file, skipinitialspace=True)
        points = np.array([(float(row[f"x_{i}"]), float(row[f"y_{i}"])) for i in range(68)])
        cut = openface_to_crop(points + 0.5, sides[path.stem])
        (face,) = align(landmarker, picture(path), 128)
        chained = face.transform @ np.vstack([cut, [0, 0, 1]])
        drifts.append(drift(transform_of_openface(points, 128), chained))
    assert np.median(drifts) < 1.8


def test_action_units_of_real_smiles(landmarker):
    lfw(1)
    with (LFW / "metadata.csv").open(newline="") as file:
        emotions = {row["id"]: row["emotion"] for row in csv.DictReader(file)}
    smiles = {"happiness": [], "neutral": []}
    for path in lfw(40, start=7):
        if (kind := emotions[path.stem]) in smiles:
            for face in landmarker.faces(picture(path))[:1]:
                aus = blendshapes.read_aus(face.blendshapes)
                smiles[kind].append(aus[ACTION_UNITS.index("AU12")])
    assert np.mean(smiles["happiness"]) > np.mean(smiles["neutral"]) + 0.3


def test_nothing_is_written_to_the_users_terminal(landmarker, capfd):
    with Landmarker() as another:
        another.faces(ramp())
    assert capfd.readouterr() == ("", "")


def test_without_mediapipe_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match=r"pip install 'ganimation-jax\[annotate\]'"):
        Landmarker()


def test_a_wrong_model_file_is_refused(tmp_path):
    if mediapipe_missing():
        pytest.skip(mediapipe_missing())
    (tmp_path / "face_landmarker.task").write_bytes(b"no model")
    with pytest.raises(ValueError, match="SHA-256"):
        Landmarker(tmp_path / "face_landmarker.task")


@needs_mediapipe
def test_finding_faces_does_not_wait_for_what_draws_and_listens():
    """MediaPipe's other functions need it, and still find it when they are called."""
    pytest.importorskip("matplotlib")
    code = (
        "import sys\n"
        "from ganimation_jax.faces.landmarker import Landmarker\n"
        "Landmarker().close()\n"
        "assert not {'matplotlib', 'matplotlib.pyplot', 'cv2', 'sounddevice'} & set(sys.modules)\n"
        "from mediapipe.tasks.python.vision import drawing_utils\n"
        "assert callable(drawing_utils.plt.figure)\n"
        "assert callable(drawing_utils.cv2.line)\n"
        "import matplotlib.pyplot\n"
        "assert matplotlib.pyplot.figure is drawing_utils.plt.figure\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
