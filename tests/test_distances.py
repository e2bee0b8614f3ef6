import warnings

import numpy as np
import pytest
from helpers import flat

from ganimation_jax.evaluation import distances


def gaussians(rng, n, d, shift=0.0, scale=1.0):
    return rng.normal(shift, scale, (n, d))


def test_kid_by_plain_loops():
    rng = np.random.default_rng(0)
    a, b = gaussians(rng, 5, 3), gaussians(rng, 5, 3)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    within = sum(
        kernel(s[i], s[j]) for s in (a, b) for i in range(5) for j in range(5) if i != j
    ) / (5 * 4)
    between = sum(kernel(x, y) for x in a for y in b) / 25
    assert distances._mmd2(a, b) == pytest.approx(within - 2 * between)


@pytest.mark.parametrize(("n", "size"), [(12, 4), (60, 30), (60, 15)])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_kid_is_unbiased_and_its_error_is_honest(n, size, shift):
    rng = np.random.default_rng(2)
    runs = [
        distances.kid(gaussians(rng, n, 1, shift), gaussians(rng, n, 1), 30, size, rng)
        for _ in range(200)
    ]
    values, errors = np.array(runs).T
    # x ~ N(m, 1) in one dimension: E (x x' + 1)^3 = 1 + 3 m^2 + 3 (m^2 + 1)^2 + (m^3 + 3 m)^2;
    # against y ~ N(0, 1): 1 + 3 (m^2 + 1), as the odd moments of y are 0.
    m2 = shift**2
    among = 1 + 3 * m2 + 3 * (m2 + 1) ** 2 + m2 * (m2 + 3) ** 2
    want = among + 4 - 2 * (1 + 3 * (m2 + 1))
    assert values.mean() == pytest.approx(want, abs=3 * values.std() / 200**0.5)
    # At a true distance of 0 the stated error is too large: never too small.
    ratio = np.sqrt(np.mean(errors**2)) / values.std()
    assert 0.8 < ratio < (1.6 if shift else 3)


def test_kid_of_halves_of_one_set_is_zero_and_of_a_changed_set_is_not():
    rng = np.random.default_rng(3)
    pool = gaussians(rng, 400, 16, 1)
    halves = distances.kid(pool[:200], pool[200:], 50, 50, rng)
    assert abs(halves.value) < 3 * halves.error
    changed = distances.kid(pool[:200], pool[200:] * 0.5, 50, 50, rng)
    assert changed.value > 5 * changed.error


def test_frechet_in_closed_form():
    # A set with exactly the mean and covariance that are asked for.
    rng = np.random.default_rng(4)
    white = gaussians(rng, 50, 3)
    white -= white.mean(axis=0)
    white = np.linalg.qr(white).Q * 49**0.5
    a = white * [1, 2, 3]
    b = white * [2, 2, 0.5] + [1, 0, -2]
    # Diagonal covariances commute: |shift|^2 + sum of squared differences of deviations.
    assert distances.frechet(a, b) == pytest.approx(5 + 1 + 0 + 2.5**2)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)
    turned = np.linalg.qr(gaussians(rng, 3, 3)).Q
    assert distances.frechet(a @ turned, b @ turned) == pytest.approx(12.25)


def test_frechet_by_the_root_of_the_product():
    rng = np.random.default_rng(5)
    a, b = gaussians(rng, 90, 6), gaussians(rng, 70, 6, 0.3) @ rng.normal(size=(6, 6))
    product = np.cov(a.T) @ np.cov(b.T)
    values = np.linalg.eigvals(product)
    trace = np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * np.sqrt(values).sum()
    want = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + trace.real
    assert distances.frechet(a, b) == pytest.approx(want)


def test_frechet_is_stable_where_covariances_are_singular():
    rng = np.random.default_rng(6)
    a = np.repeat(gaussians(rng, 40, 2), 4, axis=1)  # rank 2 of 8
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert distances.frechet(a, a + 1) == pytest.approx(8)
    assert distances.frechet(np.zeros((9, 3)), np.ones((9, 3))) == pytest.approx(3)


def test_frechet_warns_of_fewer_samples_than_dimensions():
    rng = np.random.default_rng(7)
    a, b = gaussians(rng, 10, 32), gaussians(rng, 10, 32)
    with pytest.warns(RuntimeWarning, match="10 samples in 32 dimensions"):
        value = distances.frechet(a, b)
    assert value > 30  # where the truth is 0: two flat clouds in 32 dimensions
    with pytest.raises(ValueError, match=r"\(1, 32\)"):
        distances.frechet(a[:1], b)


@pytest.mark.parametrize("n", [60, 240])
def test_frechet_bias_is_what_the_value_is_too_large_by(n):
    rng = np.random.default_rng(8)
    values, biases = [], []
    for _ in range(30):
        a, b = gaussians(rng, n, 8, 0.3), gaussians(rng, n, 8)
        values.append(distances.frechet(a, b))
        biases.append(distances.frechet_bias(a, b, rng))
    assert np.mean(biases) == pytest.approx(np.mean(values) - 8 * 0.09, rel=0.4)


@pytest.mark.parametrize(("subsets", "size"), [(10, 6), (1, 2), (10, 1)])
def test_kid_says_what_it_needs(subsets, size):
    rng = np.random.default_rng(9)
    with pytest.raises(ValueError, match="2 to 5 samples"):
        distances.kid(gaussians(rng, 10, 2), gaussians(rng, 30, 2), subsets, size, rng)


def test_the_network_is_in_the_name():
    rng = np.random.default_rng(10)
    a, b = gaussians(rng, 30, 4), gaussians(rng, 40, 4, 1)
    scores = list(distances.compare("VGG16", a, b))
    assert [score.key for score in scores] == ["KID-VGG16", "Frechet-VGG16", "Frechet-VGG16/bias"]
    assert scores[0].se > 0
    assert flat(scores)["KID-VGG16"] == flat(distances.compare("VGG16", a, b))["KID-VGG16"]
    assert scores[1].value == distances.frechet(a, b)
    assert "FID" in flat(distances.compare("Inception", a, b))


def test_a_set_against_itself_needs_no_warning():
    rng = np.random.default_rng(11)
    a = gaussians(rng, 20, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)
