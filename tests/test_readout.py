"""Linear readouts of action units: fitting, agreement, files."""

import numpy as np
import pytest
from scipy import stats

from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.prepare.readout import (
    FEATURES,
    Readout,
    agreement,
    cross_validate,
    predict,
    ridge,
)

# The readout


def test_ridge_is_the_minimum():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)) * (1, 5, 0.1, 1, 1, 0) + 3, rng.normal(size=(50, 2))
    for fit, penalty in zip(ridge(x, y, (0.01, 1.0)), (0.01, 1.0), strict=True):
        # As least squares with the penalty as further rows, on standardised columns.
        z = (x[:, :5] - x[:, :5].mean(axis=0)) / x[:, :5].std(axis=0)
        stacked = np.vstack([z, np.sqrt(50 * penalty) * np.eye(5)])
        target = np.vstack([y - y.mean(axis=0), np.zeros((5, 2))])
        want, *_ = np.linalg.lstsq(stacked, target, rcond=None)
        np.testing.assert_allclose(x @ fit.weights + fit.bias, z @ want + y.mean(axis=0))


def test_agreement_by_the_book():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 5, (200, 3))
    predicted = np.stack([truth[:, 0] * 0.5 + 1, rng.uniform(0, 5, 200), np.ones(200)], axis=1)
    r, ccc, mae = agreement(predicted, truth)
    for unit in range(2):
        a, b = predicted[:, unit], truth[:, unit]
        want = stats.pearsonr(a, b).statistic
        np.testing.assert_allclose(r[unit], want)
        # Lin 1989: precision times accuracy.
        v, u = a.std() / b.std(), (a.mean() - b.mean()) / np.sqrt(a.std() * b.std())
        np.testing.assert_allclose(ccc[unit], want * 2 / (v + 1 / v + u * u))
        np.testing.assert_allclose(mae[unit], np.abs(a - b).mean())
    assert (r[2], ccc[2]) == (0, 0)


def test_folds_share_nobody():
    """Labels that only tell people apart cannot be predicted of people left out."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(60), 5)
    x = np.eye(60)[person] + 0.01 * rng.normal(size=(300, 60))
    y = rng.uniform(1, 4, (60, 1))[person]
    _, _, reached = cross_validate(x, y, [str(one) for one in person], folds=5)
    assert reached.r[0] < 0.3
    _, _, leaking = cross_validate(x, y, [str(one) for one in range(300)], folds=5)
    assert leaking.r[0] > 0.9
    with pytest.raises(UsageError, match="1 people cannot"):
        cross_validate(x, y, ["same"] * 300, folds=5)


def test_readout_comes_back_as_it_went(tmp_path):
    fit, _, _ = cross_validate(
        np.random.default_rng(0).normal(size=(40, FEATURES)),
        np.ones((40, 2)),
        list(map(str, range(40))),
        2,
    )
    table = {"AU12": 0.9, "AU01": 0.5}
    about = {"faces": 40, "r": table, "ccc": table}
    Readout(("AU12", "AU01"), fit, about).save(tmp_path / "a.npz")
    again = Readout.load(tmp_path / "a.npz")
    assert (again.action_units, again.about) == (("AU12", "AU01"), about)
    x = np.random.default_rng(1).normal(size=(5, FEATURES))
    np.testing.assert_array_equal(predict(again.fit, x), predict(fit, x))
