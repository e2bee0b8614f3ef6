"""Faces followed from frame to frame, and held steady: against closed forms."""

import itertools

import numpy as np
import pytest

from ganimation_jax.animation import tracking
from ganimation_jax.animation.tracking import Sighting, Tracks, follow, one_euro
from ganimation_jax.faces.alignment import similarity

SIZE = 64
RATE = 25


def sighting(x=300.0, y=200.0, side=150.0, angle=0.1, aus=(0.2, 0.6)):
    """A face by its crop's centre, side and angle: by fitting its corners, not by formula."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    there = corners @ turn.T * side + (x, y)
    return Sighting(similarity(there, (corners + 0.5) * SIZE), np.array(aus))


def centre_of(track):
    """Where the crop's centre is in the frame."""
    transform = track.transform(SIZE)
    back = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))
    return (back @ (SIZE / 2, SIZE / 2, 1))[:2]


def followed(frames, rate=RATE):
    """The faces after each frame, which is a list of sightings."""
    tracks = Tracks()
    for number, sightings in enumerate(frames):
        tracks = follow(tracks, sightings, number / rate, SIZE)
        yield tracks.faces


# The filter


def test_a_filter_without_speed_is_a_low_pass():
    """Closed form of a step: 1 - (1 - a)^k, a = 1 / (1 + 1 / (2 pi f dt))."""
    state = one_euro(None, np.zeros(1), 0.0, 2.0, 0.0)
    share = 1 / (1 + RATE / (2 * np.pi * 2.0))
    for number in range(1, 12):
        state = one_euro(state, np.ones(1), number / RATE, 2.0, 0.0)
        np.testing.assert_allclose(state.value, 1 - (1 - share) ** number, rtol=1e-12)


def test_its_noise_is_as_theory_has_it():
    """Of white noise a low pass leaves a / (2 - a) of the variance."""
    rng, state, values = np.random.default_rng(0), None, []
    for number in range(500):
        state = one_euro(state, rng.normal(size=200), number / RATE, 1.0, 0.0)
        values.append(state.value)
    share = 1 / (1 + RATE / (2 * np.pi * 1.0))
    assert np.var(values[50:]) == pytest.approx(share / (2 - share), rel=0.05)


def test_speed_opens_it():
    """The fixed point of a ramp: lag = v / (2 pi (f + b (v + lag / dt)))."""
    state, speed, cutoff, beta = None, 3.0, 1.0, 5.0
    for number in range(400):
        state = one_euro(state, np.array([speed * number / RATE]), number / RATE, cutoff, beta)
    lag = speed * 399 / RATE - state.value[0]
    assert lag == pytest.approx(
        speed / (2 * np.pi * (cutoff + beta * (speed + lag * RATE))), rel=1e-6
    )


def test_a_pause_counts_by_its_length():
    """After a long one the new measurement is all that counts."""
    state = one_euro(None, np.zeros(1), 0.0, 1.0, 0.0)
    short = one_euro(state, np.ones(1), 0.04, 1.0, 0.0).value
    long = one_euro(state, np.ones(1), 100.0, 1.0, 0.0).value
    assert short < 0.25
    assert long > 0.99


# One face


def test_what_is_constant_stays_exactly():
    frames = [[sighting()]] * 20
    for (track,) in followed(frames):
        np.testing.assert_allclose(track.transform(SIZE), sighting().transform, rtol=1e-9)
        np.testing.assert_allclose(track.aus.value, sighting().aus, rtol=1e-12)


def test_trembling_falls_to_a_fifth_of_its_variance():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1000, 4)) * [1.5, 1.5, 1.5, 0.01]  # a hundredth of the side
    frames = [[sighting(300 + x, 200 + y, 150 + s, 0.1 + a)] for x, y, s, a in noise]
    places = np.stack([track.place.value for (track,) in followed(frames)])
    got = (places - (300, 200, np.log(150), 0.1)) * [1, 1, 150, 1]
    ratios = got[50:].var(axis=0) / noise[50:].var(axis=0)
    assert ratios.max() < 0.25
    assert np.abs(got[50:].mean(axis=0) / [1.5, 1.5, 1.5, 0.01]).max() < 0.15  # nor is it biased


def test_action_units_tremble_less():
    rng = np.random.default_rng(1)
    noise = 0.5 + 0.05 * rng.normal(size=(1000, 2))
    values = [track.aus.value for (track,) in followed([[sighting(aus=aus)] for aus in noise])]
    assert np.var(values[50:]) < 0.3 * np.var(noise)


@pytest.mark.parametrize("speed", [0.2, 1, 4])  # sides a second
def test_a_face_that_moves_is_lost_by_less_than_three_hundredths(speed):
    path = 300 + 150 * speed * np.arange(60) / RATE
    lags = [
        (x - centre_of(track)[0]) / 150
        for (track,), x in zip(followed([[sighting(x)] for x in path]), path, strict=True)
    ]
    assert min(lags) >= -1e-9
    assert max(lags[10:]) < 0.032
    assert max(lags) < 0.08  # from a standstill
    assert max(lags) > 0.006  # it is smoothed


def test_a_sudden_expression_is_there_in_four_frames():
    aus = [(0.0, 1.0)] * 10 + [(1.0, 0.0)] * 10
    values = np.stack([t.aus.value for (t,) in followed([[sighting(aus=a)] for a in aus])])
    np.testing.assert_allclose(values[10:, 0] + values[10:, 1], 1)
    assert values[10, 0] > 0.6
    assert values[13, 0] > 0.98
    assert (np.diff(values[:, 0]) >= -1e-12).all()  # without overshoot


def test_it_may_turn_over_the_edge_of_angles():
    angles = np.pi - 0.2 + 0.02 * np.arange(30)  # measured within half a turn either way
    frames = [[sighting(angle=angle)] for angle in angles]
    for (track,), ((wanted, _),) in zip(followed(frames), frames, strict=True):
        np.testing.assert_allclose(track.transform(SIZE), wanted, atol=0.04 * np.abs(wanted).max())


# Which face is which


def numbers(frames):
    return [[track.number for track in faces] for faces in followed(frames)]


def test_two_faces_keep_their_numbers_in_whatever_order_they_are_found():
    left, right = sighting(100), sighting(500)
    frames = [[left, right], [right, left], [right, left], [left, right]]
    assert numbers(frames) == [[0, 1]] * 4
    for faces in followed(frames):
        assert centre_of(faces[0])[0] == pytest.approx(100)


def test_a_face_that_is_not_found_is_held_for_five_frames_then_dropped():
    frames = [[sighting()]] * 3 + [[]] * 7 + [[sighting()]]
    assert numbers(frames) == [[0]] * 8 + [[], [], [1]]
    seen = [[track.seen for track in faces] for faces in followed(frames)]
    assert seen == [[0]] * 3 + [[None]] * 5 + [[], [], [0]]
    held = list(followed(frames))[7][0]
    np.testing.assert_allclose(held.transform(SIZE), sighting().transform, rtol=1e-9)


def test_a_face_found_again_is_the_same():
    frames = [[sighting(300)]] * 3 + [[]] * 4 + [[sighting(310)]] + [[]] * 5
    assert numbers(frames) == [[0]] * 13  # and it is held again as long


def test_a_jump_starts_anew_under_the_same_number():
    frames = [[sighting(300, aus=(0.0, 0.0))]] * 10 + [[sighting(450, aus=(1.0, 1.0))]] * 2
    before, after = (faces[0] for faces in list(followed(frames))[9:11])
    assert (before.number, after.number) == (0, 0)
    assert centre_of(after)[0] == pytest.approx(450, abs=1e-6)
    np.testing.assert_allclose(after.aus.value, 1)


def test_a_face_elsewhere_is_another():
    frames = [[sighting(300)], [sighting(300 + 150 * 2.5)]]
    assert numbers(frames) == [[0], [0, 1]]  # the first one is held


def test_neighbours_that_both_move_stay_themselves():
    frames = [[sighting(300), sighting(450)], [sighting(510), sighting(360)]]
    assert numbers(frames) == [[0, 1], [0, 1]]
    places = [centre_of(track)[0] for track in list(followed(frames))[1]]
    assert places[0] < 360 < 450 < places[1]


def test_numbers_are_never_given_twice():
    frames = [[sighting()]] + [[]] * 6 + [[sighting()]] + [[]] * 6 + [[sighting()]]
    assert set(itertools.chain(*numbers(frames))) == {0, 1, 2}


def test_cuts_are_seen_and_movement_is_not():
    rng = np.random.default_rng(0)
    one, other = (
        np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        for _ in range(2)
    )
    moved = np.roll(one, (3, 5), axis=(0, 1))
    noisy = np.clip(one + rng.normal(size=one.shape) * 20, 0, 255).astype(np.uint8)
    glances = [tracking.glance(image) for image in (one, moved, noisy, one // 2 + 60, other)]
    cuts = [tracking.is_cut(glances[0], glance) for glance in glances]
    assert cuts == [False, False, False, False, True]


# Action units of a whole video


def test_both_ways_nothing_lags():
    """A rise and its mirror image are smoothed to mirror images."""
    ramp = np.clip((np.arange(60) - 27) / 5, 0, 1)[:, None]
    times = [number / RATE for number in range(60)]
    smooth = tracking.smooth_both_ways(ramp, times)
    np.testing.assert_allclose(smooth + smooth[::-1], 1, atol=1e-9)
    assert np.abs(smooth - ramp).max() < 0.1
    forward = [t.aus.value[0] for (t,) in followed([[sighting(aus=a)] for a in ramp])]
    assert np.abs(np.subtract(forward, ramp[:, 0])).max() > 0.12  # as one way does
