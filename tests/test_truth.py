import numpy as np
import pytest
from helpers import flat

from ganimation_jax.action_units import ACTION_UNITS, positions
from ganimation_jax.data.pipeline import evaluation_batches
from ganimation_jax.evaluation import quality, truth
from ganimation_jax.evaluation.fit import fit_aus
from ganimation_jax.synthetic.drawn_face import render
from ganimation_jax.synthetic.faces import SyntheticFaces

FACES = SyntheticFaces(8, 32, seed=5)
UNITS = ("AU12", "AU04", "AU25")  # a subset, in another order


@pytest.fixture(scope="module")
def batch():
    batches = evaluation_batches(
        FACES, image_size=32, conditions=UNITS, batch_size=8, examples=6, seed=3
    )
    return next(iter(batches))


@pytest.fixture(scope="module")
def found(batch):
    return truth.of(FACES, UNITS, batch["want"])


def kept(changed):
    """The attention that paints exactly these pixels."""
    return 1 - changed[..., None].astype(np.float32)


def test_these_are_the_held_out_faces_in_their_order(batch, found):
    np.testing.assert_allclose((found.image + 1) * 127.5, batch["image"], atol=1e-3)
    np.testing.assert_allclose(found.aus[:, positions(UNITS)], batch["have"], atol=1e-6)
    for i, who in enumerate(found.identities):
        drawn = render(who, found.aus[i], 32)
        np.testing.assert_allclose(drawn, batch["image"][i], atol=1)  # 0-5 and back: an ulp


def test_the_target_is_the_same_person_with_only_the_wanted_units_changed(batch, found):
    columns = positions(UNITS)
    np.testing.assert_array_equal(found.target_aus[:, columns], batch["want"])
    others = [i for i in range(17) if i not in columns]
    np.testing.assert_array_equal(found.target_aus[:, others], found.aus[:, others])
    want = render(FACES.identity(2), found.target_aus[2], 32)
    np.testing.assert_allclose((found.target[2] + 1) * 127.5, want, atol=1e-3)
    stranger = render(FACES.identity(3), found.target_aus[2], 32)
    np.testing.assert_allclose((found.copy[2] + 1) * 127.5, stranger, atol=1e-3)
    visible = np.abs(found.target - found.image).max(axis=-1) * 127.5
    assert (visible[found.changed] > 8).all()
    assert (visible[~found.changed] <= 8).all()


def test_the_oracle_is_perfect(found):
    scores = flat(truth.evaluate(found, found.image, found.target, kept(found.changed)))
    assert scores["truth/psnr"] == scores["truth/psnr_changed"] == 100
    assert scores["truth/ssim"] == pytest.approx(1)
    assert scores["truth/attention_iou"] == 1
    assert scores["truth/attention_iou/se"] == 0
    assert scores["truth/attention_iou/everything"] == pytest.approx(found.changed.mean())


def test_no_edit_and_copy_score_as_their_baselines(found):
    nothing = np.ones((6, 32, 32, 1), np.float32)
    for edited, baseline in ((found.image, "no_edit"), (found.copy, "copy_target")):
        scores = flat(truth.evaluate(found, found.image, edited, nothing))
        for name in ("psnr", "psnr_changed", "ssim"):
            assert scores[f"truth/{name}"] == scores[f"truth/{name}/{baseline}"]
            assert scores[f"truth/{name}/se"] == scores[f"truth/{name}/{baseline}/se"]
        assert scores["truth/attention_iou"] == 0
        # Most of the picture is right without any edit, and wrong on another face.
        assert scores["truth/psnr/no_edit"] > scores["truth/psnr/copy_target"]


def test_a_constant_image_in_closed_form(found):
    grey = np.zeros_like(found.image)
    scores = flat(truth.evaluate(found, found.image, grey, kept(found.changed)))
    error = np.square(found.target.astype(np.float64)).mean(axis=(1, 2, 3))
    psnr = 10 * np.log10(4 / error)
    assert scores["truth/psnr"] == pytest.approx(psnr.mean())
    assert scores["truth/psnr/se"] == pytest.approx(psnr.std(ddof=1) / 6**0.5)
    changed = [
        10 * np.log10(4 / np.square(face[mask].astype(np.float64)).mean())
        for face, mask in zip(found.target, found.changed, strict=True)
        if mask.any()
    ]
    assert scores["truth/psnr_changed"] == pytest.approx(np.mean(changed))


def test_where_nothing_is_to_change_there_is_no_score():
    own = np.stack([FACES[i]["aus"] for i in range(2)])[:, positions(UNITS)] / 5
    still = truth.of(FACES, UNITS, own)
    nothing = np.ones((2, 32, 32, 1), np.float32)
    scores = flat(truth.evaluate(still, still.image, still.image, nothing))
    assert np.isnan(scores["truth/psnr_changed"])
    assert np.isnan(scores["truth/attention_iou"])
    assert scores["truth/ssim"] == quality.ssim(still.image, still.target).mean()


def test_other_faces_are_refused(found):
    with pytest.raises(ValueError, match="not those"):
        truth.evaluate(found, found.image[::-1], found.image, kept(found.changed)).__next__()
    with pytest.raises(ValueError, match="9 targets for 8 faces"):
        truth.of(FACES, UNITS, np.zeros((9, 3)))
    with pytest.raises(ValueError, match="shorter"):
        truth.judge(found, UNITS).read(np.concatenate([found.image, found.image]))


FIT = SyntheticFaces(8, 48, seed=11)


def fit_errors(noise, faces):
    """The fit's error in each unit, from another face's units, in units that the picture shows."""
    table, rng = FIT.aus_table() / 5, np.random.default_rng(0)
    errors = []
    for i in faces:
        wanted = table[(i + 1) % 8]
        picture = render(FIT.identity(i), wanted, 48) / 127.5 - 1
        picture += rng.normal(0, noise, picture.shape)
        errors.append(np.abs(fit_aus(picture, FIT.identity(i), table[i]) - wanted))
    return np.array(errors), np.abs(np.roll(table, -1, axis=0) - table)[list(faces)]


def test_the_fit_recovers_what_was_drawn():
    errors, start = fit_errors(0, range(3))
    assert errors.mean() < 0.02 < 0.1 < start.mean()


def test_the_fit_is_robust_to_noise():
    errors, start = fit_errors(0.05, range(3, 5))
    assert errors.mean() < 0.05 < 0.1 < start.mean()


def test_the_fit_stays_at_the_truth_and_in_the_box():
    who, wanted = FIT.identity(0), np.zeros(17)
    wanted[ACTION_UNITS.index("AU12")] = 1
    picture = render(who, wanted, 48) / 127.5 - 1
    np.testing.assert_array_equal(fit_aus(picture, who, wanted), wanted)
    smile_and_more = 1.5 * picture - 0.5 * (render(who, np.zeros(17), 48) / 127.5 - 1)
    aus = fit_aus(smile_and_more, who, np.full(17, 0.3))
    assert 0 <= aus.min() <= aus.max() <= 1


def test_edits_read_by_fit(batch, found):
    oracle = flat(truth.evaluate_aus(found, found.target, UNITS, fitted=3))
    assert oracle["truth_on_edits/mae"] < 0.03
    assert oracle["truth_on_edits/icc"] > 0.9
    assert oracle["truth_on_edits/unread"] == 0
    assert oracle["truth_on_edits/mae/copy_target"] == 0
    assert oracle["truth_on_edits/icc/copy_target"] == pytest.approx(1)
    nothing = flat(truth.evaluate_aus(found, found.image, UNITS, fitted=3))
    no_edit = np.abs(batch["have"] - batch["want"])[:3].mean()
    assert nothing["truth_on_edits/mae/no_edit"] == pytest.approx(no_edit, abs=1e-6)
    # The fit starts there and finds it exactly; 0-5 and back costs an ulp.
    assert nothing["truth_on_edits/mae"] == pytest.approx(no_edit, abs=1e-3)
