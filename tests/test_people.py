"""Generated people: cleaning, directions of style, checks of each drawing, the whole command."""

import hashlib
import importlib.util
import io
import os
import signal

import numpy as np
import pytest
from helpers import OPENFACE, mediapipe_missing, openface_double
from helpers import portrait as helpers_portrait
from PIL import Image
from scipy.ndimage import gaussian_filter

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.data.table import FaceTable
from ganimation_jax.faces.alignment import apply, crop, transform_of
from ganimation_jax.faces.landmarker import Landmarker
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare import people, people_drawing, people_reading
from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.people_directions import Seen, fit
from ganimation_jax.prepare.people_drawing import PeoplePlan, Tools, draw_person
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.readout import Fit, Readout
from ganimation_jax.prepare.shards import read_shards, write_shard
from ganimation_jax.prepare.work import Record
from ganimation_jax.synthetic import clean_pairs
from ganimation_jax.synthetic.directions import SHIPPED, Directions, solve
from ganimation_jax.synthetic.wanted import DECK, wanted

SIZE = 128


@pytest.fixture(scope="module")
def portrait():
    """A portrait, its face, and the transform to its crop."""
    if reason := mediapipe_missing():
        pytest.skip(reason)
    image = np.asarray(helpers_portrait(side=400))
    with Landmarker() as landmarker:
        face = landmarker.faces(image)[0]
    return image, face, transform_of(face, SIZE)


def moved(image, face, angle=4.0, scale=0.93, shift=(7.0, -5.0)):
    """The picture turned, scaled and shifted, and where its face is then."""
    turn = scale * np.exp(1j * np.radians(angle))
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    transform = np.column_stack([matrix, shift])
    side = max(image.shape[:2])
    points = apply(transform, face.points).astype(np.float32)
    return crop(image, transform, side), face._replace(points=points)


def with_mark(image, face, colour):
    """The picture with a soft blot on the mouth, which stands for another expression."""
    x, y = face.points[list(clean_pairs.LIPS)].mean(axis=0).round().astype(int)
    blot = np.zeros(image.shape[:2])
    blot[y, x] = 1
    blot = gaussian_filter(blot, 0.15 * face.eye_distance)
    blot = (blot / blot.max())[..., None]
    return (image * (1 - blot) + blot * np.array(colour)).round().astype(np.uint8)


def test_cleaning_takes_the_expression_and_nothing_else(portrait):
    image, face, transform = portrait
    marked = with_mark(image, face, (200, 30, 30))
    other, other_face = moved(np.clip(marked.astype(int) + 14, 0, 255).astype(np.uint8), face)
    cleaned = clean_pairs.clean(image, face, other, other_face, transform, SIZE)

    base, truth = crop(image, transform, SIZE), crop(marked, transform, SIZE)
    points = apply(transform, face.points.astype(np.float64))
    mask = clean_pairs.moving_part(points, points, SIZE)
    np.testing.assert_array_equal(cleaned.image[mask == 0], base[mask == 0])
    assert 0.1 < (mask > 0.5).mean() < 0.4
    # The picture moved, turned and became lighter; only the blot is left of that.
    error = np.abs(cleaned.image.astype(int) - truth)
    assert error[mask > 0.9].mean() < 4
    assert np.abs(base.astype(int) - truth)[mask > 0.9].max() > 60
    assert cleaned.seam < 4
    np.testing.assert_allclose(apply(cleaned.transform, other_face.points), points, atol=0.01)


def test_a_seam_is_measured(portrait):
    image, face, transform = portrait
    stripes = np.where(np.arange(image.shape[1])[:, None] // 3 % 2, image, 255 - image)
    cleaned = clean_pairs.clean(image, face, stripes.astype(np.uint8), face, transform, SIZE)
    assert cleaned.seam > people_drawing.SEAM


def test_the_jaw_is_moved_where_the_mouth_opens(portrait):
    _, face, transform = portrait
    closed = apply(transform, face.points.astype(np.float64))
    opened = closed.copy()
    opened[list(clean_pairs.JAW), 1] += 0.06 * SIZE
    column, row = opened[clean_pairs.CHIN].astype(int)
    above = row - round(0.03 * SIZE)
    assert clean_pairs.moving_part(closed, closed, SIZE)[above, column] < 0.1
    assert clean_pairs.moving_part(closed, opened, SIZE)[above, column] > 0.5
    assert clean_pairs.moving_part(opened, closed, SIZE)[above, column] > 0.5


def test_steps_move_one_unit_and_keep_the_person():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(400, 512)) * np.geomspace(1, 0.05, 512)
    effect, identity = rng.normal(size=(512, 4)) / 20, rng.normal(size=(512, 6)) / 20
    steps = solve(samples.T @ samples / 400, effect, identity)
    gained = effect.T @ steps
    np.testing.assert_allclose(np.diag(gained), 1, atol=0.15)
    assert np.abs(gained - np.diag(np.diag(gained))).max() < 0.05
    plain = solve(samples.T @ samples / 400, effect, 0 * identity)
    assert np.linalg.norm(identity.T @ steps) < 0.1 * np.linalg.norm(identity.T @ plain)


def linear_world(people=60, variations=5, noise=0.2):
    """People whose expression follows 20 directions of style, and whose identity 20 others.

    Returns:
      What is measured of them, and the true effect of style on action units and descriptor.
    """
    rng = np.random.default_rng(1)
    space = np.linalg.qr(rng.normal(size=(512, 40)))[0].T  # 40 512
    expression, identity = rng.normal(size=(20, 17)), rng.normal(size=(20, 128))
    seen = []
    for _ in range(people):
        latent = rng.normal(size=(variations, 40))
        aus = 2 + latent[:, :20] @ expression + rng.normal(size=(variations, 17)) * noise
        aus[:, ACTION_UNITS.index("AU09")] = np.nan
        pose = rng.normal(size=(variations, 3))
        seen.append(Seen(latent @ space, aus, latent[:, 20:] @ identity, pose))
    return seen, space[:20].T @ expression, space[20:].T @ identity


def test_directions_are_found_in_a_linear_world():
    seen, expression, identity = linear_world()
    directions = fit(seen)
    assert directions.action_units == tuple(c for c in ACTION_UNITS if c != "AU09")
    assert min(directions.about["r"].values()) > 0.95
    assert (directions.about["people"], directions.about["pictures"]) == (60, 300)
    columns = [ACTION_UNITS.index(code) for code in directions.action_units]
    random = np.concatenate([one.change for one in seen])
    random *= 6 / np.linalg.norm(random, axis=1, keepdims=True)
    usual = np.linalg.norm(random @ identity, axis=1).mean()  # drift of a step as long
    for place in range(16):
        step = directions.step(np.eye(16)[place], 6.0)
        assert np.linalg.norm(step) == pytest.approx(6, rel=1e-5)
        gained = step @ expression[:, columns]  # in the world itself
        assert gained.argmax() == place
        assert np.linalg.norm(step @ identity) < 0.05 * usual
    with pytest.raises(UsageError, match="3 people cannot be divided into 5 folds"):
        fit(seen[:3])


def test_directions_survive_saving(tmp_path):
    directions = fit(linear_world(people=10)[0])
    directions.save(tmp_path / "d.npz")
    again = Directions.load(tmp_path / "d.npz")
    assert again.action_units == directions.action_units
    assert again.about == directions.about
    np.testing.assert_allclose(again.steps, directions.steps, rtol=1e-3, atol=1e-4)
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad.npz holds no directions of style"):
        Directions.load(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match=r"none.npz: fit them with .* fit-directions"):
        Directions.load(tmp_path / "none.npz")


def test_expressions_are_different_and_each_as_often():
    counts = np.zeros(17)
    rng = np.random.default_rng(0)
    for _ in range(400):
        rows = wanted(rng, 8)
        assert len({tuple(np.nan_to_num(row, nan=-1) > 0) for row in rows}) == 8
        counts += np.sum([np.nan_to_num(row) > 0 for row in rows], axis=0)
    share = np.array([sum(code in units for units in DECK) for code in ACTION_UNITS]) / len(DECK)
    np.testing.assert_allclose(counts / 3200, share, atol=0.03)
    assert share.min() > 0.04  # no unit is left out
    with pytest.raises(ValueError, match=f"there are {len(DECK)}"):
        wanted(rng, len(DECK) + 1)


class Pencil:
    """Draws the portrait, whoever is asked for, and remembers the lengths of the steps."""

    def __init__(self, image):
        self.image, self.lengths = np.repeat(np.repeat(image, 2, 0), 2, 1), []

    def person(self, seed, number):
        return np.zeros(512, np.float32)

    def draw(self, style, change=None):
        if change is not None:
            self.lengths.append(float(np.linalg.norm(change)))
        return self.image


@pytest.fixture
def drawn(portrait, tmp_path, monkeypatch):
    """Draws person 3 with two expressions; ``describe`` is a function of the call's number."""

    def draw(describe):
        image, face, _ = portrait
        pencil, calls = Pencil(image), []
        steps = np.random.default_rng(0).normal(size=(512, 17)).astype(np.float32)
        directions = Directions(ACTION_UNITS, steps, steps, {})

        def described(crop):
            calls.append(crop)
            return np.array([describe(len(calls) - 1)])

        class Finder:
            def faces(self, shown):
                small = shown.shape[0] == SIZE
                points = apply(transform_of(face, SIZE), face.points) if small else face.points
                return [face._replace(points=points.astype(np.float32))]

        tools = Tools(pencil, directions, described)
        monkeypatch.setattr(people_drawing, "tools_of_process", lambda plan: tools)
        monkeypatch.setattr(people_drawing, "landmarker_of_process", lambda model: Finder())
        monkeypatch.setattr(people_drawing, "refine", lambda landmarker, image, face: face)
        plan = PeoplePlan(0, 2, SIZE, tmp_path, None)
        return draw_person(3, plan, tmp_path), pencil.lengths

    return draw


def test_a_person_is_a_picture_for_each_expression(drawn, tmp_path):
    results, lengths = drawn(lambda call: 0.0)
    assert [type(one) for one in results] == [Record] * 3
    assert [one.id for one in results] == ["p00003_0", "p00003_1", "p00003_2"]
    assert {one.group for one in results} == {"p00003"}
    for one in results:
        jpeg = (tmp_path / f"{one.id}.jpg").read_bytes()
        assert hashlib.sha256(jpeg).hexdigest() == one.sha256
    assert len(lengths) == 2
    assert all(9 <= length <= 15 for length in lengths)


def test_a_drawing_of_another_person_is_tried_again_with_a_shorter_step(drawn):
    # Call 0 describes the first picture; the first expression needs a second try.
    results, lengths = drawn(lambda call: 0.5 if call == 1 else 0.0)
    assert [type(one) for one in results] == [Record] * 3
    assert lengths[1] == pytest.approx(0.8 * lengths[0], rel=1e-5)


def test_what_is_refused_each_time_is_reported(drawn):
    results, lengths = drawn(lambda call: 0.5 if call else 0.0)
    assert results[1:] == [
        Skip(f"p00003_{k}", "another person", "descriptors 0.50 apart, above 0.48") for k in (1, 2)
    ]
    assert len(lengths) == 2 * people_drawing.TRIES


def test_a_drawing_without_a_face_is_reported(drawn, monkeypatch):
    def no_face(tools, plan, style):
        raise UnusableFile("no face in the drawing", "")

    monkeypatch.setattr(people_drawing, "_base", no_face)
    results, _ = drawn(lambda call: 0.0)
    assert results == [Skip("p00003", "no face in the drawing", "")]


def test_action_units_from_a_csv_file(tmp_path):
    path = tmp_path / "aus.csv"
    path.write_text("image, AU12_r, AU01_r\np1_0.jpg, 2.5, 0\np1_1.jpg, 4, 1\n")
    table = people_reading.read_csv(path)
    assert table == {"p1_0": {"AU01": 0, "AU12": 2.5}, "p1_1": {"AU01": 1, "AU12": 4}}
    for text, message in (
        ("name,AU12\na,1\n", "needs a column id or image"),
        ("id,AU12\na,seven\n", "column AU12: 'seven' is not a number from 0 to 5"),
        ("id,AU12\na,7\n", "'7' is not a number from 0 to 5"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            people_reading.read_csv(path)


def test_action_units_by_openface(tmp_path):
    """In groups of 16 people, once each; where it finds no face or fails, that is reported."""
    crops = tmp_path / "crops"
    crops.mkdir()
    drawings = [tmp_path / f"{person}.jsonl" for person in range(18)]
    for person, path in enumerate(drawings):
        lines = [Skip("drawing", "distorted", "")]
        for name, blue in ((f"{person}_0", 255), (f"{person}_1", 0)):
            Image.new("RGB", (64, 64), (5 * person, 51, blue)).save(crops / f"{name}.jpg", "PNG")
            matrix = [[1, 0, 0], [0, 1, 0]]
            lines.append(Record(name, str(person), "", "", {}, None, matrix, 64, None, 0, "", ""))
        write_shard(path, lines)
    program = openface_double(tmp_path)

    def read():
        found = people_reading.read_by_openface(drawings, program, tmp_path, workers=1)
        return [list(read_shards([path])) for path in found]

    for person, (drawn_before, seen, unseen) in enumerate(read()):
        assert drawn_before == Skip("drawing", "distorted", "")
        assert seen.aus.keys() == {"AU04", "AU12"}
        assert seen.aus == pytest.approx({"AU04": 1, "AU12": 5 * person / 51}, abs=0.006)
        assert unseen == Skip(f"{person}_1", "OpenFace found no face in the crop", "")

    # What has been read is not read again; another program reads all, and its failure is quoted.
    once = read()
    openface_double(tmp_path, OPENFACE + "raise SystemExit('no model')\n")
    with pytest.raises(UsageError, match="ended with 1; it said: no model"):
        read()
    openface_double(tmp_path)
    assert read() == once


@pytest.mark.slow
def test_a_person_that_kills_the_process_is_skipped(tmp_path, monkeypatch, capfd):
    """Drawn with the others, then alone: everybody else is finished."""
    (tmp_path / "crops").mkdir()
    monkeypatch.setattr(people, "draw_person", dies_at_person_1)
    plan = PeoplePlan(0, 1, SIZE, SHIPPED, None)
    paths = people.draw_people(3, plan, tmp_path / "crops", tmp_path, workers=2)
    names = [line.file for line in read_shards(paths)]
    assert names == ["0", "p00001", "2"]
    assert "kills the process" in capfd.readouterr().err


def dies_at_person_1(person, plan, crops):
    if person == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [Skip(str(person), "drawn", "")]


needs_generator = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("openvino", "random_face", "face_recognition_models"))),
    reason="needs openvino, random_face and face_recognition_models",
)


@needs_generator
@pytest.mark.slow
def test_the_command_draws_a_dataset_of_pairs(tmp_path, capsys):
    fit(linear_world()[0]).save(tmp_path / "directions.npz")

    def run(out, people, *more):
        command = ["people", "--people", people, "--expressions", 2, "--size", 64, "--workers", 1]
        command += ["--directions", tmp_path / "directions.npz", "--out", tmp_path / out, *more]
        return main([str(word) for word in command])

    assert run("once", 2, "--test-fraction", 0) == 0
    table = list(FaceTable(tmp_path / "once"))
    assert {face.person for face in table} == {"p00000", "p00001"}
    dataset = FaceDataset(tmp_path / "once", "train")
    groups = dataset.pair_groups()
    for record, group in zip(dataset, groups, strict=True):
        assert record["person"] == f"p{group:05d}"
        assert Image.open(io.BytesIO(record["jpeg"])).size == (64, 64)
    assert (tmp_path / "once" / "pairs.jpg").exists()

    # More people: those who are drawn stay as they are. Another folder: the same bytes.
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "once/crops").iterdir()}
    capsys.readouterr()
    assert run("once", 3, "--test-fraction", 0) == 0
    assert "2 of 3 people were drawn before" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert run("again", 1, "--test-fraction", 0) == 0
    for path in sorted((tmp_path / "again/crops").iterdir()):
        assert path.read_bytes() == (tmp_path / "once/crops" / path.name).read_bytes()

    # Another reading draws nothing anew.
    rows = "".join(f"{face.id},1.5\n" for face in FaceTable(tmp_path / "once"))
    (tmp_path / "aus.csv").write_text(f"id,AU12\n{rows}")
    assert run("once", 3, "--aus", tmp_path / "aus.csv", "--test-fraction", 0) == 0
    assert FaceDataset(tmp_path / "once", "train").action_units == ("AU12",)
    codes, quality = ("AU09", "AU12"), {"AU09": 0.5, "AU12": 0.9}
    constant = Fit(np.zeros((52 + 2 * 478 + 5, 2)), np.array([1.0, 2.0]))
    about = {"r": quality, "ccc": quality, "faces": 100}
    Readout(codes, constant, about).save(tmp_path / "readout.npz")
    assert run("once", 3, "--readout", tmp_path / "readout.npz", "--test-fraction", 0) == 0
    again = FaceDataset(tmp_path / "once", "train")
    assert again.action_units == codes
    np.testing.assert_array_equal(again.aus_table(), [[1, 2]] * len(again))
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_the_directions_that_ship_say_how_well_they_fit():
    assert SHIPPED.stat().st_size < 40_000
    found = Directions.load()
    assert found.about["people"] == 160
    assert found.about["r"]["AU12"] > 0.6
    assert found.about["r"]["AU25"] > 0.5
    assert len(found.step(np.ones(len(found.action_units)), 5.0)) == 512
