"""The synthetic faces: deterministic, anatomically local and monotonic, statistically real."""

import pickle

import numpy as np
import pytest

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.synthetic import drawing
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.drawn_person import HAIR_STYLES, Identity, Occluder, sample_identity
from ganimation_jax.synthetic.expression import Muscles, sample_aus
from ganimation_jax.synthetic.faces import SyntheticFaces

NEUTRAL = np.zeros(len(ACTION_UNITS), np.float32)
SIZE = 96

# Where a unit may change an upright, frontal face: half-width, top and bottom in face
# coordinates (origin between the eyes, down is positive, the chin at .50).
REACH = {
    "AU01": (0.26, -0.27, -0.06),  # forehead and brows
    "AU02": (0.30, -0.27, -0.05),
    "AU04": (0.28, -0.15, 0.04),
    "AU05": (0.25, -0.09, 0.08),  # eyes
    "AU06": (0.32, -0.07, 0.36),  # eyes and cheeks
    "AU07": (0.25, -0.09, 0.08),
    "AU09": (0.28, -0.15, 0.32),  # inner brows, nose, fold beside it
    "AU10": (0.21, 0.10, 0.42),  # nose wings, upper lip
    "AU12": (0.32, 0.04, 0.42),  # cheeks, mouth
    "AU14": (0.24, 0.19, 0.40),  # mouth corners
    "AU15": (0.20, 0.18, 0.46),
    "AU17": (0.34, 0.10, 0.53),  # lower lip, chin, and the jaw's outline with it
    "AU20": (0.23, 0.17, 0.43),
    "AU23": (0.20, 0.18, 0.43),
    "AU25": (0.14, 0.26, 0.46),  # lips only
    "AU26": (0.35, 0.08, 0.60),  # the jaw
    "AU45": (0.24, -0.07, 0.06),
}
# Mean and standard deviation of OpenFace's annotation of 5,956 faces in the wild, 0-5.
PUBLISHED = {
    "AU01": (0.70, 1.02),
    "AU02": (0.41, 0.63),
    "AU04": (0.52, 0.75),
    "AU05": (0.40, 0.66),
    "AU06": (0.86, 0.89),
    "AU07": (1.01, 1.02),
    "AU09": (0.59, 0.63),
    "AU10": (1.00, 0.85),
    "AU12": (0.94, 0.99),
    "AU14": (0.80, 0.78),
    "AU15": (0.60, 0.53),
    "AU17": (0.39, 0.56),
    "AU20": (0.71, 0.71),
    "AU23": (0.10, 0.24),
    "AU25": (1.07, 0.98),
    "AU26": (0.81, 0.75),
    "AU45": (0.41, 0.58),
}


def alone(code, intensity=1.0):
    aus = NEUTRAL.copy()
    aus[ACTION_UNITS.index(code)] = intensity
    return aus


def difference(identity, code, intensity, size=SIZE):
    """Absolute change from neutral, [h, w], largest of the three colours."""
    before = render(identity, NEUTRAL, size).astype(int)
    after = render(identity, alone(code, intensity), size).astype(int)
    return np.abs(after - before).max(-1)


def face_coordinates(size):
    columns, rows = drawing.pixel_centres(size)
    u, v = np.broadcast_arrays(columns - drawing.EYE_LINE[0], rows - drawing.EYE_LINE[1])
    return u, v


@pytest.fixture(scope="module")
def faces():
    return SyntheticFaces(200, 64, seed=3)


@pytest.fixture(scope="module")
def table():
    return SyntheticFaces(4_000, 64).aus_table()


def test_muscles_are_in_the_projects_order():
    assert tuple(field.upper() for field in Muscles._fields) == ACTION_UNITS


def test_sample_is_what_the_pipeline_reads(faces):
    sample = faces[0]
    assert sample["image"].dtype == np.uint8
    assert sample["image"].shape == (64, 64, 3)
    assert sample["aus"].dtype == np.float32
    assert sample["aus"].shape == (17,)


def test_sample_depends_on_seed_and_index_alone(faces):
    forwards = [faces[index] for index in range(6)]
    backwards = [faces[index] for index in reversed(range(6))][::-1]
    copy = pickle.loads(pickle.dumps(faces))
    for index in range(6):
        for other in (backwards[index], copy[index], faces[np.int64(index)]):
            np.testing.assert_array_equal(other["image"], forwards[index]["image"])
            np.testing.assert_array_equal(other["aus"], forwards[index]["aus"])
    assert SyntheticFaces(1_000, 64, seed=3).identity(5) == faces.identity(5)
    assert SyntheticFaces(200, 64, seed=4).identity(5) != faces.identity(5)
    assert faces.identity(4) != faces.identity(5)


def test_identity_and_expression_come_from_separate_streams(faces):
    sample = faces[11]
    again = render(faces.identity(11), sample["aus"] / OPENFACE_MAXIMUM, 64)
    np.testing.assert_allclose(again.astype(int), sample["image"], atol=1)  # 5 x / 5 rounds
    np.testing.assert_array_equal(faces.aus_table()[11], sample["aus"])
    resized = SyntheticFaces(200, 32, seed=3)
    assert resized.identity(11) == faces.identity(11)


def test_source_is_immutable(faces):
    with pytest.raises(AttributeError):
        faces.seed = 1


@pytest.mark.parametrize("index", [-1, 200, 10**9])
def test_index_outside_is_refused(faces, index):
    with pytest.raises(IndexError, match=str(index)):
        faces[index]
    with pytest.raises(IndexError, match=str(index)):
        faces.identity(index)


def test_iteration_ends():
    assert len(list(SyntheticFaces(3, 16))) == 3


@pytest.mark.parametrize("code", ACTION_UNITS)
def test_unit_changes_only_what_its_muscles_move(code):
    changed = difference(Identity(), code, 1.0)
    half_width, top, bottom = REACH[code]
    u, v = face_coordinates(SIZE)
    near = (np.abs(u) < half_width) & (v > top) & (v < bottom)
    assert changed[~near].max() <= 1
    # Enough pixels change enough to be seen at 64 x 64, the size of the smallest models.
    small = difference(Identity(), code, 1.0, 64)
    assert (small > 12).sum() >= 16


@pytest.mark.parametrize("code", ACTION_UNITS)
def test_unit_moves_monotonically_and_continuously(code):
    for identity in (Identity(), Identity(yaw=0.15, roll=0.05, skin_tone=0.8, age=0.9, beard=0.6)):
        neutral = render(identity, NEUTRAL, SIZE).astype(float)
        path = [
            render(identity, alone(code, intensity), SIZE).astype(float)
            for intensity in (0, 0.25, 0.5, 0.75, 1.0)
        ]
        distance = np.array([np.abs(image - neutral).mean() for image in path])
        steps = np.array([np.abs(a - b).mean() for a, b in zip(path[1:], path, strict=False)])
        assert (np.diff(distance) > 0.05 * distance[-1]).all()
        assert steps.max() < 0.5 * steps.sum()  # no jump


def test_no_two_units_look_alike():
    """Changes point in different directions, so a picture tells its intensities apart."""
    neutral = render(Identity(), NEUTRAL, 64).astype(float)
    changes = [render(Identity(), alone(code), 64).astype(float) - neutral for code in ACTION_UNITS]
    flat = np.stack([change.ravel() / np.linalg.norm(change) for change in changes])
    likeness = np.abs(flat @ flat.T) - np.eye(len(ACTION_UNITS))
    assert likeness.max() < 0.9, ACTION_UNITS[likeness.max(0).argmax()]


def test_lid_closes_and_jaw_opens():
    """Seen in the picture itself: the iris disappears, the mouth turns dark."""
    u, v = face_coordinates(SIZE)
    iris = np.hypot(np.abs(u) - 0.1475, v) < 0.018
    mouth = (np.abs(u) < 0.04) & (np.abs(v - 0.375) < 0.012)
    neutral = render(Identity(), NEUTRAL, SIZE)
    blink = render(Identity(), alone("AU45"), SIZE)
    drop = render(Identity(), alone("AU26"), SIZE)
    assert blink[iris].mean() > neutral[iris].mean() + 60
    assert drop[mouth].mean() < 0.7 * neutral[mouth].mean()


def test_eyes_and_chin_lie_where_aligned_datasets_have_them():
    """Eye centres at (.351, .396) and (.646, .397) of the crop, chin at .9 of its height."""
    changed = difference(Identity(), "AU45", 1.0, 128).astype(float)
    rows, columns = np.mgrid[:128, :128]
    for half, centre in ((columns < 64, 0.351), (columns >= 64, 0.646)):
        weight = changed * half
        assert (columns + 0.5).ravel() @ weight.ravel() / weight.sum() / 128 == pytest.approx(
            centre, abs=0.01
        )
        assert (rows + 0.5).ravel() @ weight.ravel() / weight.sum() / 128 == pytest.approx(
            0.397, abs=0.02
        )
    below = render(Identity(), NEUTRAL, 128)[:, 64].astype(int).sum(-1)
    chin = 96 + np.argmin(np.diff(below[96:]))  # skin gives way to the neck's shadow
    assert chin / 128 == pytest.approx(0.8965, abs=0.015)


def test_statistics_are_those_of_real_faces(table):
    """Tolerances are about four standard errors of 4,000 draws."""
    mean, std = np.array(list(PUBLISHED.values())).T
    assert table.dtype == np.float32
    assert table.min() == 0
    assert table.max() <= OPENFACE_MAXIMUM
    np.testing.assert_array_less(np.abs(table.mean(0) - mean), 4 * std / np.sqrt(4_000) + 0.01)
    np.testing.assert_allclose(table.std(0), std, rtol=0.10)


@pytest.mark.parametrize(
    ("first", "second", "real"),
    [
        ("AU06", "AU12", 0.73),
        ("AU01", "AU02", 0.56),
        ("AU12", "AU15", -0.38),
        ("AU25", "AU26", 0.29),
        ("AU04", "AU12", -0.18),
    ],
)
def test_units_are_coactive_as_in_real_faces(table, first, second, real):
    columns = [ACTION_UNITS.index(code) for code in (first, second)]
    assert np.corrcoef(table[:, columns].T)[0, 1] == pytest.approx(real, abs=0.06)


def test_all_identities_can_be_drawn_at_all_sizes():
    rng = np.random.default_rng(0)
    for size in (16, 17, 48):
        for style in HAIR_STYLES:
            identity = sample_identity(rng)._replace(hair_style=style, beard=0.5, glasses=0.8)
            image = render(identity, sample_aus(rng), size)
            assert image.shape == (size, size, 3)
            assert image.std() > 10  # neither blank nor saturated
    away = Identity(yaw=0.6, roll=1.0, shift_u=0.7, occluder=Occluder(2, 2, 0.1, 0.1, (1, 0, 0)))
    assert render(away, np.ones(17), 32).shape == (32, 32, 3)


def test_float_picture_is_finite(monkeypatch):
    seen = []
    plain = drawing.Canvas.paint

    def paint(self, patch, coverage, color):
        seen.append(np.isfinite(coverage).all() and coverage.min(initial=0) >= -1e-6)
        plain(self, patch, coverage, color)
        assert self.rgb.dtype == np.float32

    monkeypatch.setattr(drawing.Canvas, "paint", paint)
    rng = np.random.default_rng(1)
    for _ in range(30):
        render(sample_identity(rng), sample_aus(rng), 32)
    assert len(seen) > 300
    assert all(seen)


def test_sizes_show_the_same_face(faces):
    """A picture drawn at 128 and averaged over 2 x 2 pixels is the picture drawn at 64."""
    for index in range(20):
        identity, aus = faces.identity(index), faces[index]["aus"] / OPENFACE_MAXIMUM
        large = render(identity, aus, 128).astype(float)
        averaged = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
        error = np.abs(averaged - render(identity, aus, 64))
        assert error.mean() < 2.5  # of 255
        assert np.quantile(error, 0.99) < 25


def test_mirrored_light_mirrors_a_symmetric_face():
    """Folding u to |u| draws both halves: only light and the parting tell left from right."""
    face = Identity(hair_part=0.0, shift_u=0.5 - drawing.EYE_LINE[0], light_direction=0.7)
    mirrored = face._replace(light_direction=-0.7)
    left = render(face, alone("AU12", 0.5), 64).astype(int)
    right = render(mirrored, alone("AU12", 0.5), 64).astype(int)[:, ::-1]
    inside = slice(16, 60), slice(12, 52)  # without the hair's strands
    assert np.abs(left - right)[inside].mean() < 1
    straight = render(face, alone("AU12", 0.5), 64).astype(int)[:, ::-1]
    assert np.abs(left - straight)[inside].mean() > 5  # the light does tell them apart


@pytest.mark.parametrize(
    ("aus", "message"),
    [
        (np.zeros(16), r"\(16,\)"),
        (np.zeros((1, 17)), r"\(1, 17\)"),
        (np.full(17, np.nan), "AU01 is nan"),
        (alone("AU12", 3.0), "AU12 is 3.0"),
        (alone("AU45", -0.1), "AU45 is -0.1"),
    ],
)
def test_bad_action_units_are_refused(aus, message):
    with pytest.raises(ValueError, match=message):
        render(Identity(), aus, 64)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="image_size is 15"):
        render(Identity(), NEUTRAL, 15)
    with pytest.raises(ValueError, match="image_size is 8"):
        SyntheticFaces(4, 8)
    with pytest.raises(ValueError, match="size is 0"):
        SyntheticFaces(0, 64)
    with pytest.raises(ValueError, match="seed is -1"):
        SyntheticFaces(4, 64, seed=-1)


def test_unknown_hair_is_refused_with_the_known_styles():
    with pytest.raises(ValueError, match="hair_style is 'mohawk': choose one of shaved, short"):
        render(Identity(hair_style="mohawk"), NEUTRAL, 64)
