import jax.numpy as jnp
import numpy as np
import pytest

from ganimation_jax.evaluation import attention, aus, held_out, quality
from ganimation_jax.types import Batch, Edit

RNG = np.random.default_rng(0)
UNITS = ("AU01", "AU12")


def test_agreement_with_itself_and_with_noise():
    truth = RNG.random((200, 2))
    perfect = dict(aus.agreement("x", UNITS, truth, truth))
    assert perfect["x/mae"] == 0
    assert perfect["x/r"] == pytest.approx(1)
    shifted = dict(aus.agreement("x", UNITS, truth + np.array([0.1, 0.3]), truth))
    assert shifted["x/mae/AU01"] == pytest.approx(0.1)
    assert shifted["x/mae"] == pytest.approx(0.2)
    assert shifted["x/r/AU12"] == pytest.approx(1)
    chance = dict(aus.agreement("x", UNITS, RNG.permutation(truth), truth))
    assert abs(chance["x/r"]) < 0.15


def test_a_constant_unit_has_no_correlation_and_does_not_spoil_the_average():
    truth = RNG.random((50, 2))
    truth[:, 0] = 0.3
    scores = dict(aus.agreement("x", UNITS, truth, truth))
    assert np.isnan(scores["x/r/AU01"])
    assert scores["x/r"] == pytest.approx(1)


def test_correlation_is_numpys():
    a, b = RNG.random((2, 30, 2))
    want = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(aus.correlation(a, b), want)


def test_attention_of_known_masks():
    mask = np.zeros((1, 2, 2, 1))
    mask[0, 0] = 1
    assert dict(attention.health(mask)) == {
        "attention/mean": 0.5,
        "attention/near_0": 0.5,
        "attention/near_1": 0.5,
    }


def test_psnr_in_closed_form():
    black, grey = -np.ones((2, 4, 4, 3)), np.zeros((2, 4, 4, 3))
    np.testing.assert_allclose(quality.psnr(black, grey), 10 * np.log10(4))  # range 2, error 1
    np.testing.assert_allclose(quality.psnr(grey, grey), 100)


def look(edit, read):
    batches = [
        Batch(RNG.uniform(-1, 1, (n, 4, 4, 3)), RNG.random((n, 2)), RNG.random((n, 2)))
        for n in (3, 2)
    ]
    return held_out.look(batches, edit, read)


def no_edit(image, target):
    return Edit(image, jnp.ones((*image.shape[:3], 1)), jnp.zeros_like(image))


def test_no_edit_scores_as_no_edit():
    seen = look(no_edit, lambda image: jnp.asarray(image)[:, 0, 0, :2])
    assert len(seen.image) == 5
    scores = dict(held_out.evaluate(seen, UNITS))
    assert scores["edit_response/pixels"] == 0
    assert scores["reconstruction/psnr"] == 100
    assert scores["attention/near_1"] == 1
    assert np.isnan(scores["edit_response/r"])  # nothing moved


def test_an_oracle_that_paints_its_target_is_obeyed_and_undone():
    def paint(image, target):
        image = jnp.asarray(image).at[:, 0, 0, :2].set(target)
        return Edit(image, jnp.full((*image.shape[:3], 1), 0.5), image)

    def start(batch):  # pixels that show the annotated units
        return batch._replace(image=np.asarray(paint(batch.image, batch.aus).image))

    batches = [Batch(RNG.uniform(-1, 1, (30, 4, 4, 3)), *RNG.random((2, 30, 2)))]
    seen = held_out.look(map(start, batches), paint, lambda image: jnp.asarray(image)[:, 0, 0, :2])
    scores = dict(held_out.evaluate(seen, UNITS))
    assert scores["critic_on_real/mae"] == pytest.approx(0, abs=1e-6)
    assert scores["critic_on_edits/mae"] == pytest.approx(0, abs=1e-6)
    assert scores["edit_response/r"] == pytest.approx(1)
    assert scores["reconstruction/psnr"] > 99
