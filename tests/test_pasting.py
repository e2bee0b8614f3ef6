"""The change of a crop put into its photo: where it belongs, as it is, and nothing else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from ganimation_jax.animation import pasting, splines
from ganimation_jax.animation.pasting import FEATHER, paste, spread
from ganimation_jax.faces.alignment import similarity

SIZE = 32
HEIGHT, WIDTH = 240, 300
# Crops in the photo: side in pixels, degrees, centre. The first three are coarser than it, the
# next finer, the last two reach beyond its edges.
PLACES = {
    "large": (200, 17, (150, 120)),
    "upright": (128, 0, (140, 110)),
    "upside down": (90, 171, (130, 120)),
    "small": (20, -35, (150, 120)),
    "as it is": (32, 0, (100, 60)),
    "corner": (150, 30, (10, 15)),
    "edge": (100, 5, (290, 120)),
}
each_place = pytest.mark.parametrize("place", PLACES)


def transform_of(place, size=SIZE):
    """Fitted to the corners of the crop as they lie in the photo."""
    side, degrees, centre = PLACES[place]
    return similarity(corners_of(side, degrees, centre), np.array(SQUARE) * size)


SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))


def corners_of(side, degrees, centre):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (np.array(SQUARE) - 0.5) * side @ turn.T + centre


def centres():
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    return np.stack([x, y], axis=-1)


def depth_in(place):
    """How far a pixel's centre is inside the crop, in photo pixels: by the crop's four sides."""
    corners = corners_of(*PLACES[place])
    distances = []
    for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = (stop - start) / np.linalg.norm(stop - start)
        offset = centres() - start
        distances.append(along[0] * offset[..., 1] - along[1] * offset[..., 0])
    return np.min(distances, axis=0)


def in_crop(place):
    """Where each pixel's centre is in the crop, of side SIZE: turned and scaled by formula."""
    side, degrees, centre = PLACES[place]
    angle = np.radians(-degrees)
    x, y = np.moveaxis(centres() - centre, -1, 0)
    turned = (
        np.cos(angle) * x - np.sin(angle) * y,
        np.sin(angle) * x + np.cos(angle) * y,
    )
    return np.stack(turned, axis=-1) / side * SIZE + SIZE / 2


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(60, 190, (HEIGHT, WIDTH, 3), np.uint8)


def added(photo, change, place):
    return paste(photo, change, transform_of(place)).astype(int) - photo


@each_place
def test_outside_the_crop_nothing_changes(photo, place):
    change = np.random.default_rng(1).uniform(-60, 60, (SIZE, SIZE, 3))
    difference = added(photo, change, place)
    outside = depth_in(place) < 0
    assert outside.mean() > 0.3
    assert not difference[outside].any()
    assert difference[~outside].any(axis=-1).mean() > 0.5


@each_place
def test_no_change_changes_nothing(photo, place):
    before = photo.copy()
    np.testing.assert_array_equal(
        paste(photo, np.zeros((SIZE, SIZE, 3)), transform_of(place)), before
    )


@each_place
def test_where_there_is_no_change_no_level_moves(photo, place):
    change = np.zeros((SIZE, SIZE, 3))
    change[:, : SIZE // 2] = 50
    difference = added(photo, change, place)
    x = in_crop(place)[..., 0]
    blur = 2.5 * max(1, SIZE / PLACES[place][0])  # crop pixels that the upsampling looks across
    assert not difference[x > SIZE / 2 + blur].any()
    assert (difference[(x < SIZE / 2 - blur) & (depth_in(place) > 0)] != 0).mean() > 0.5


@each_place
@pytest.mark.parametrize("level", [20, -35])
def test_a_constant_change_arrives_as_it_is(photo, place, level):
    difference = added(photo, np.full((SIZE, SIZE, 3), float(level)), place)
    within = depth_in(place) > FEATHER * PLACES[place][0] + 1e-6
    assert within.sum() > 50
    np.testing.assert_array_equal(difference[within], level)
    assert (np.sign(level) * difference >= 0).all()


@each_place
def test_there_is_no_seam(place):
    flat = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    side = PLACES[place][0]
    difference = added(flat, np.full((SIZE, SIZE, 3), 80.0), place)[..., 0]
    inside = depth_in(place) > 0
    for axis in (0, 1):
        steps = np.abs(np.diff(difference, axis=axis))
        crossing = np.diff(inside, axis=axis)
        assert crossing.sum() > 10
        assert steps[crossing].max() <= 2 + 80 * 3 / (FEATHER * side) ** 2  # the ramp's start
        assert steps.max() <= 1.5 * 80 / (FEATHER * side) * np.sqrt(2) + 1  # its steepest


def bump(place, width):
    """A smooth change, by formula at crop pixels and at photo pixels."""

    def value(at):
        return 60 * np.exp(-np.square((at - (14.3, 17.1)) / width).sum(axis=-1) / 2)

    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    return value(np.stack([x, y], axis=-1)), value(in_crop(place))


@each_place
def test_a_smooth_change_arrives_in_its_place(photo, place):
    """To a twentieth of its width: half a pixel of the crop beside would be four levels."""
    at_crop, at_photo = bump(place, 4.0)
    difference = added(photo, np.repeat(at_crop[..., None], 3, axis=-1), place)
    within = depth_in(place) > FEATHER * PLACES[place][0]
    assert at_photo[within].max() > 40
    coarse = SIZE / PLACES[place][0] > 1  # filtered for a photo that cannot show all of it
    error = np.abs(difference[within] - at_photo[within][:, None])
    assert error.max() <= (3 if coarse else 1)


def test_the_detail_of_the_photo_stays(photo):
    at_crop, _ = bump("large", 5.0)
    change = np.repeat(at_crop[..., None], 3, axis=-1)
    after = paste(photo, change, transform_of("large")).astype(float)
    before = photo.astype(float)

    def detail(image):
        return image[1:-1, 1:-1] - (
            image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:]
        ) / 4  # fmt: skip

    assert np.abs(detail(before)).mean() > 20
    assert np.abs(detail(after) - detail(before)).max() <= 1.5  # rounded


def test_what_a_photo_cannot_show_is_filtered_out(photo):
    """A chequered change of single pixels, in a photo of an eighth of the crop's resolution."""
    size = 160
    signs = np.indices((size, size)).sum(axis=0) % 2 * 2 - 1
    change = np.repeat(60.0 * signs[..., None], 3, axis=-1)
    difference = paste(photo, change, transform_of("small", size)).astype(int) - photo
    assert np.abs(difference).max() <= 2


def test_a_photo_that_is_the_crop_gets_exactly_the_change():
    rng = np.random.default_rng(2)
    photo = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    change = rng.uniform(-90, 90, (SIZE, SIZE, 3))
    want = np.clip(np.round(photo + change.astype(np.float32)), 0, 255)
    np.testing.assert_array_equal(paste(photo, change, np.eye(2, 3)), want)


def test_large_steps_do_not_show_the_crops_grid():
    """Magnified twenty times, a ramp has no corners at the crop's pixels, as bilinear has."""
    photo = np.zeros((640, 640, 3), np.uint8)
    curve = 120 + 100 * np.sin(np.arange(SIZE) / 3)
    change = np.repeat(np.tile(curve, (SIZE, 1))[..., None], 3, axis=-1)
    row = paste(photo, change, np.eye(2, 3) / 20)[320, 100:540, 0].astype(float)
    x = (np.arange(100, 540) + 0.5) / 20 - 0.5
    assert np.abs(row - (120 + 100 * np.sin(x / 3))).max() < 1


def test_levels_do_not_wrap_around(photo):
    change = np.full((SIZE, SIZE, 3), 300.0)
    change[:, :16] = -300
    result = paste(photo, change, transform_of("upright"))
    assert result.min() == 0
    assert result.max() == 255


def test_a_crop_that_is_not_in_the_photo_changes_nothing(photo):
    transform = np.array([[1.0, 0, -1000], [0, 1.0, -1000]])
    np.testing.assert_array_equal(paste(photo, np.ones((SIZE, SIZE, 3)), transform), photo)


@pytest.mark.parametrize(
    "change",
    [np.zeros((8, 9, 3)), np.zeros((8, 8)), np.full((8, 8, 3), np.nan)],
    ids=["oblong", "flat", "nan"],
)
def test_what_is_no_change_is_refused(photo, change):
    with pytest.raises(ValueError, match="finite change"):
        paste(photo, change, np.eye(2, 3))


@each_place
def test_attention_spreads_as_changes_do(place):
    """A generator blends: kept * photo + (1 - kept) * 0, so that the change is -(1 - kept) of
    a white photo."""
    kept = 1 - bump(place, 4.0)[0] / 75
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    after = paste(white, np.repeat(-255 * (1 - kept[..., None]), 3, axis=-1), transform_of(place))
    mask = spread(kept, transform_of(place), (HEIGHT, WIDTH), outside=1.0)
    assert mask.dtype == np.float32
    np.testing.assert_allclose(after[..., 0] / 255, mask, atol=0.51 / 255 + 0.005)
    assert (mask[depth_in(place) < 0] == 1).all()
    assert mask.min() >= kept.min() - 1e-6
    assert mask.max() <= 1


@pytest.mark.parametrize("place", ["large", "upside down", "as it is"])
def test_motion_moves_the_photos_own_detail(place):
    """Read 2 crop pixels further down and 1 further left: by the crop's turn and scale."""
    noise = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH))
    grey = 128 + 300 * gaussian_filter(noise, 1.5)  # no detail near the limit of what pixels hold
    photo = grey.clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
    motion = np.zeros((SIZE, SIZE, 2), np.float32)
    motion[..., 0], motion[..., 1] = 2, -1
    moved = paste(photo, np.zeros((SIZE, SIZE, 3)), transform_of(place), motion)
    side, degrees, _ = PLACES[place]
    angle = np.radians(degrees)
    right = side / SIZE * (-np.cos(angle) - 2 * np.sin(angle))
    down = side / SIZE * (-np.sin(angle) + 2 * np.cos(angle))
    rows, columns = np.indices(photo.shape[:2])
    want = map_coordinates(
        photo[..., 0].astype(float), (rows + down, columns + right), order=3, mode="mirror"
    )
    inside = depth_in(place) > (FEATHER + 0.02) * side
    assert np.abs(moved[..., 0] - want.clip(0, 255))[inside].max() <= 1
    assert np.abs(moved[..., 0].astype(int) - photo[..., 0])[inside].mean() > 5
    np.testing.assert_array_equal(moved[depth_in(place) < 0], photo[depth_in(place) < 0])


@each_place
def test_motion_of_nothing_changes_nothing(photo, place):
    still = np.zeros((SIZE, SIZE, 2), np.float32)
    nothing = np.zeros((SIZE, SIZE, 3)), transform_of(place), still
    np.testing.assert_array_equal(paste(photo, *nothing), photo)


def test_large_photos_are_pasted_in_tiles_that_do_not_show(monkeypatch):
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 256, (150, 190, 3), np.uint8)
    transform = np.array([[0.2, 0.05, -4.0], [-0.05, 0.2, 3.0]])  # about 5 pixels a crop pixel
    change = rng.normal(0, 20, (32, 32, 3)).astype(np.float32)
    motion = rng.normal(0, 1.5, (32, 32, 2)).astype(np.float32)
    monkeypatch.setattr(pasting, "TILE", 10_000)
    whole = pasting.paste(photo, change, transform, motion).astype(int)
    monkeypatch.setattr(pasting, "TILE", 17)
    tiled = pasting.paste(photo, change, transform, motion)
    assert np.abs(whole - photo).mean() > 10
    assert np.abs(tiled - whole).max() <= 1  # half a level, rounded apart
    assert (tiled != whole).mean() < 1e-3


@pytest.mark.parametrize("place", [(0, 0), (200, 30), (-40, 280)])
def test_splines_are_those_of_scipy(photo, place):
    """Far moved, and beyond the photo's edges, where it is mirrored."""
    rows, columns = np.indices((60, 90), np.float32)
    field = np.stack([35 + 20 * np.sin(columns / 20), -50 + 0.3 * rows]).astype(np.float32)
    got = splines.displaced(photo, field, *place)
    places = np.array([rows, columns]) + np.reshape(place, (2, 1, 1)) + field
    for channel in range(3):
        plane = photo[..., channel].astype(float)
        want = map_coordinates(plane, places, order=3, mode="mirror")
        np.testing.assert_allclose(got[..., channel], want, atol=0.03)


def test_pixels_that_move_far_apart_are_read_in_parts():
    rng = np.random.default_rng(4)
    photo = rng.integers(0, 256, (400, 420, 3), np.uint8)
    rows, columns = np.indices(photo.shape[:2], np.float32)
    field = np.stack([0.4 * (200 - rows), 0.9 * (210 - columns)])
    window = slice(0, 400), slice(0, 420)
    got = pasting._moved(photo, photo.astype(np.float32), field, window)
    assert np.ptp(field[1]) > 2 * splines.ROOM
    want = map_coordinates(photo[..., 1].astype(float), field + np.stack([rows, columns]), order=3)
    np.testing.assert_allclose(got[..., 1], want, atol=0.03)


def test_what_hardly_moves_or_changes_stays(photo):
    change = np.full((SIZE, SIZE, 3), 0.25)
    motion = np.full((SIZE, SIZE, 2), 0.009, np.float32)
    np.testing.assert_array_equal(paste(photo, change, transform_of("large"), motion), photo)
