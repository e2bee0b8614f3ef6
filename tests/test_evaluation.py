import jax.numpy as jnp
import numpy as np
import pytest
from helpers import flat

from ganimation_jax.evaluation import agreement as aus
from ganimation_jax.evaluation import attention_mask, classification, held_out, quality, suite
from ganimation_jax.types import Condition, Edit

RNG = np.random.default_rng(0)
UNITS = ("AU01", "AU12")
CONDITIONS = tuple(map(Condition, UNITS))
PHOTOS: list = []  # faces without a true edit


def test_agreement_with_itself_and_with_noise():
    truth = RNG.random((200, 2))
    perfect = flat(aus.agreement("x", UNITS, truth, truth))
    assert perfect["x/mae"] == 0
    assert perfect["x/r"] == pytest.approx(1)
    shifted = flat(aus.agreement("x", UNITS, truth + np.array([0.1, 0.3]), truth))
    assert shifted["x/mae/AU01"] == pytest.approx(0.1)
    assert shifted["x/mae"] == pytest.approx(0.2)
    assert shifted["x/r/AU12"] == pytest.approx(1)
    chance = flat(aus.agreement("x", UNITS, RNG.permutation(truth), truth))
    assert abs(chance["x/r"]) < 0.15


def test_a_constant_unit_has_no_correlation_and_does_not_spoil_the_average():
    truth = RNG.random((50, 2))
    truth[:, 0] = 0.3
    scores = flat(aus.agreement("x", UNITS, truth, truth))
    assert np.isnan(scores["x/r/AU01"])
    assert scores["x/r"] == pytest.approx(1)


def test_correlation_is_numpys():
    a, b = RNG.random((2, 30, 2))
    want = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(aus.correlation(a, b), want)


# Four judges' ratings of six targets (Shrout and Fleiss 1979, table 2).
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def icc_by_analysis_of_variance(ratings):
    """ICC(3,1) of b k ratings, from the sums of squares."""
    b, k = ratings.shape
    grand = ratings.mean()
    between = k * np.square(ratings.mean(axis=1) - grand).sum()
    judges = b * np.square(ratings.mean(axis=0) - grand).sum()
    rest = np.square(ratings - grand).sum() - between - judges
    bms, ems = between / (b - 1), rest / ((b - 1) * (k - 1))
    return (bms - ems) / (bms + (k - 1) * ems)


def test_icc_is_shrout_and_fleisses():
    published = aus.consistency(SHROUT_FLEISS.T[:, :, None]).value
    assert published == pytest.approx([0.71], abs=0.005)
    assert published == pytest.approx([icc_by_analysis_of_variance(SHROUT_FLEISS)])


def test_icc_of_two_judges_forgives_a_shift_and_no_scale():
    truth = RNG.random((60, 2))
    noisy = truth + RNG.normal(0, 0.2, truth.shape)
    scores = flat(aus.agreement("x", UNITS, noisy, truth))
    for i, unit in enumerate(UNITS):
        pair = np.stack([noisy[:, i], truth[:, i]], axis=1)
        assert scores[f"x/icc/{unit}"] == pytest.approx(icc_by_analysis_of_variance(pair))
    shifted = flat(aus.agreement("x", UNITS, noisy + 0.3, truth))
    assert shifted["x/icc"] == pytest.approx(scores["x/icc"])
    scaled = flat(aus.agreement("x", UNITS, truth / 3, truth))
    assert scaled["x/r"] == pytest.approx(1)
    assert scaled["x/icc"] == pytest.approx(2 * (1 / 3) / (1 + 1 / 9))
    constant = flat(aus.agreement("x", UNITS, np.full_like(truth, 0.3), truth))
    assert constant["x/icc"] == pytest.approx(0)
    assert np.isnan(constant["x/r"])


def test_standard_errors_are_those_of_normal_theory_and_of_resampling():
    n = 4000
    truth = RNG.normal(size=(n, 2))
    truth[:, 1] = 0.9 * truth[:, 0] + 0.4 * truth[:, 1]  # the mean over units must know of this
    read = 0.6 * truth + 0.8 * RNG.normal(size=truth.shape)
    scores = flat(aus.agreement("x", UNITS, read, truth))
    fisher = (1 - scores["x/r/AU01"] ** 2) / np.sqrt(n - 3)  # of z, carried over to r
    assert scores["x/r/AU01/se"] == pytest.approx(fisher, rel=0.1)
    errors = np.abs(read - truth)
    assert scores["x/mae/AU12/se"] == pytest.approx(errors[:, 1].std(ddof=1) / n**0.5)
    assert scores["x/mae/se"] == pytest.approx(errors.mean(axis=1).std(ddof=1) / n**0.5)
    draws = [RNG.integers(n, size=n) for _ in range(300)]
    resampled = [flat(aus.agreement("x", UNITS, read[i], truth[i])) for i in draws]
    for name in ("x/r", "x/icc"):
        spread = np.std([scores[name] for scores in resampled])
        assert scores[f"{name}/se"] == pytest.approx(spread, rel=0.15)


def test_faces_not_read_are_counted_and_enter_nothing():
    truth = RNG.random((40, 2))
    read = truth + RNG.normal(0, 0.1, truth.shape)
    read[:10] = np.nan
    scores = flat(aus.agreement("x", UNITS, read, truth))
    assert scores.pop("x/unread") == 0.25
    rest = flat(aus.agreement("x", UNITS, read[10:], truth[10:]))
    assert rest.pop("x/unread") == 0
    assert scores == pytest.approx(rest, nan_ok=True)
    nothing = flat(aus.agreement("x", UNITS, np.full_like(truth, np.nan), truth))
    assert nothing.pop("x/unread") == 1
    assert np.isnan(list(nothing.values())).all()


def test_units_read_badly_or_not_at_all_are_averaged_apart():
    units = ("AU01", "AU09", "AU12", "AU14")
    truth = RNG.random((50, 4))
    read = truth + np.array([0.1, np.nan, 0.3, 0.5])
    quality = {"AU09": "none", "AU14": "low"}
    scores = flat(aus.agreement("x", units, read, truth, quality))
    assert scores["x/mae"] == pytest.approx(0.2)
    assert scores["x/mae/low_confidence"] == pytest.approx(0.5)
    assert scores["x/unread"] == 0
    for measure in ("mae", "r", "icc"):
        assert np.isnan(scores[f"x/{measure}/AU09"])
    assert "x/mae/low_confidence" not in flat(aus.agreement("x", units, read, truth))


def test_few_faces_have_no_error():
    one = flat(aus.agreement("x", UNITS, np.zeros((1, 2)), np.ones((1, 2))))
    assert one["x/mae"] == 1
    assert np.isnan([one["x/mae/se"], one["x/r"], one["x/icc"]]).all()
    with pytest.raises(ValueError, match="differ in shape"):
        next(aus.agreement("x", UNITS, np.zeros((2, 2)), np.zeros((1, 2))))


def test_attention_of_known_masks():
    def health(mask):
        return {score.name: score.value for score in attention_mask.health(mask.astype(float))}

    mask = np.zeros((1, 2, 2, 1))
    mask[0, 0] = 1
    # The variation: two steps of 1 in four pixels.
    assert health(mask) == dict.fromkeys(("mean", "near_0", "near_1", "tv", "touched"), 0.5)
    flat_mask = health(np.full((2, 8, 8, 1), 0.85))
    assert (flat_mask["tv"], flat_mask["touched"]) == (0, 1)
    checkerboard = np.indices((50, 50)).sum(axis=0)[None, ..., None] % 2
    assert health(checkerboard)["tv"] == pytest.approx(2, rel=0.03)


def test_psnr_in_closed_form():
    black, grey = -np.ones((2, 4, 4, 3)), np.zeros((2, 4, 4, 3))
    np.testing.assert_allclose(quality.psnr(black, grey), 10 * np.log10(4))  # range 2, error 1
    np.testing.assert_allclose(quality.psnr(grey, grey), 100)


def test_ssim_by_plain_loops():
    a = RNG.uniform(-1, 1, (1, 14, 12, 1))
    b = np.clip(a + RNG.normal(0, 0.3, a.shape), -1, 1)
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(4):
        for j in range(2):
            x, y = (image[0, i : i + 11, j : j + 11, 0] for image in (a, b))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            c1, c2 = 0.02**2, 0.06**2
            light = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            values.append(light * (2 * cov + c2) / (vx + vy + c2))
    np.testing.assert_allclose(quality.ssim(a, b), np.mean(values), rtol=1e-9)


def test_ssim_is_scikit_images():
    # structural_similarity of scikit-image 0.26 on these pictures, data_range 2, channel_axis -1,
    # gaussian_weights, sigma 1.5, use_sample_covariance False.
    y, x, c = np.ogrid[:40, :40, :3]
    wave = x * x + 3 * y * y * (c + 1)
    a, b = (((wave + phase) // 97 % 256 / 127.5 - 1)[None] for phase in (0, 5000))
    np.testing.assert_allclose(quality.ssim(a, b), 0.6279640429328887, atol=1e-8)


def test_ssim_knows_equal_images_and_falls_with_noise():
    a = RNG.uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(quality.ssim(a, a), 1)
    noise = RNG.normal(size=a.shape)
    falling = [quality.ssim(a, a + s * noise).mean() for s in (0.05, 0.2, 1)]
    assert falling == sorted(falling, reverse=True)
    np.testing.assert_allclose(quality.ssim(-np.ones_like(a), np.ones_like(a)), -1, atol=1e-3)
    with pytest.raises(ValueError, match="11 pixels"):
        quality.ssim(a[:, :10], a[:, :10])


def look(edit, read, undo=True):
    batches = [
        {
            "image": RNG.uniform(-1, 1, (n, 4, 4, 3)),
            "have": RNG.random((n, 2)),
            "want": RNG.random((n, 2)),
        }
        for n in (3, 2)
    ]
    return held_out.look(batches, edit, read, undo)


def quick(seen, edit):
    sections = suite.quick(held_out.Subject(seen, PHOTOS, CONDITIONS, edit, None))
    return flat(score for section in sections for score in section.scores)


def no_edit(image, want, have):
    return Edit(image, jnp.ones((*image.shape[:3], 1)), jnp.zeros_like(image))


def test_no_edit_scores_as_no_edit():
    seen = look(no_edit, lambda image: jnp.asarray(image)[:, 0, 0, :2])
    assert len(seen.image) == 5
    scores = quick(seen, no_edit)
    assert scores["edit_response/pixels"] == 0
    assert scores["reconstruction/psnr"] == 100
    assert scores["attention/near_1"] == 1
    assert np.isnan(scores["edit_response/r"])  # nothing moved


def test_a_model_that_cannot_undo_edits_is_not_scored_by_it():
    seen = look(no_edit, None, undo=False)
    assert seen.reconstructed is None
    scores = quick(seen, no_edit)
    assert scores["edit_response/pixels"] == 0
    assert not any(key.startswith("reconstruction") for key in scores)


def test_an_oracle_that_paints_its_target_follows_and_is_undone():
    def show(image, aus):
        return jnp.asarray(image).at[:, 0, 0, :2].set(aus)

    def paint(image, want, have):
        np.testing.assert_allclose(image[:, 0, 0, :2], have, rtol=1e-6)
        image = show(image, want)
        return Edit(image, jnp.full((*image.shape[:3], 1), 0.5), image)

    have, want = RNG.random((2, 30, 2))
    image = np.asarray(show(RNG.uniform(-1, 1, (30, 4, 4, 3)), have))  # they show `have`
    batches = [{"image": image, "have": have, "want": want}]
    seen = held_out.look(batches, paint, lambda image: jnp.asarray(image)[:, 0, 0, :2])
    scores = quick(seen, paint)
    assert scores["own_on_real/mae"] == pytest.approx(0, abs=1e-6)
    assert scores["own_on_edits/mae"] == pytest.approx(0, abs=1e-6)
    assert scores["edit_response/r"] == pytest.approx(1)
    assert scores["reconstruction/psnr"] > 99


def test_labels_are_counted_as_right_or_wrong():
    conditions = (
        *(Condition(name, "one_of", "emotion") for name in ("happy", "neutral", "sad")),
        Condition("AU12"),
        Condition("Smiling", "binary"),
        Condition("Male", "binary"),
    )
    wanted = np.array([[1, 0, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1.0]])
    read = np.array(
        [[0.4, 0.3, 0.3, 1, 0.9, 0.6], [0.5, 0.1, 0.4, 0, 0.1, 0.2], [1, 0, 0, 0, 0.4, 0.7]]
    )
    scores = {one.key: one.value for one in classification.errors("own", conditions, read, wanted)}
    # The third face shows no emotion, as one of a second set of attributes alone.
    assert scores == {"own/emotion_error": 1 / 2, "own/labels_error": 2 / 6}
    assert not list(classification.errors("own", CONDITIONS, read[:, :2], wanted[:, :2]))
