"""Distances between two sets of images, from features of a pretrained network.

The network belongs in the name of the figure: figures on different networks, image sizes or
(for Frechet) numbers of samples do not compare.
"""

import warnings
from typing import NamedTuple

import numpy as np

from ganimation_jax.evaluation.scores import LOWER, Score, Scores


class Estimate(NamedTuple):
    """A figure and the standard error of its estimation."""

    value: float
    error: float


def compare(network: str, a: np.ndarray, b: np.ndarray, seed: int = 0) -> Scores:
    """Both distances of two sets, named after the network.

    Args:
      network: name of the feature network. Frechet on 'Inception' is what is called FID.
      a, b: ``n d`` and ``m d``, at least 4 samples each.
      seed: of the subsets.

    Yields:
      ``KID-<network>`` with its standard error, ``Frechet-<network>`` (or ``FID``) with its
      small-sample bias as the baseline "bias".

    >>> features = np.random.default_rng(0).normal(size=(40, 3))
    >>> [score.key for score in compare("VGG16", features, features)]
    ['KID-VGG16', 'Frechet-VGG16', 'Frechet-VGG16/bias']
    """
    rng = np.random.default_rng(seed)
    size = min(1000, min(len(a), len(b)) // 2)
    estimate = kid(a, b, subsets=100, subset_size=size, rng=rng)
    yield Score("", f"KID-{network}", estimate.value, estimate.error, better=LOWER)
    name = "FID" if network == "Inception" else f"Frechet-{network}"
    yield Score("", name, frechet(a, b), better=LOWER)
    yield Score("", name, frechet_bias(a, b, rng), baseline="bias")


def kid(
    features_a: np.ndarray,
    features_b: np.ndarray,
    subsets: int,
    subset_size: int,
    rng: np.random.Generator,
) -> Estimate:
    """Squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018).

    The estimator is unbiased, whatever the sample size: for sets of one distribution it
    scatters around 0 and may be negative.

    Args:
      features_a, features_b: ``n d`` and ``m d``.
      subsets: how many pairs of random subsets are averaged.
      subset_size: samples in each, drawn without replacement; at most half the smaller set.
      rng: draws the subsets.

    Returns:
      The mean over subsets. Its error follows from their spread s: s^2 m / (n - m) for the
      samples that happen to be in the sets (delete-d jackknife, Shao and Wu 1989; m of the n
      of the smaller set), and s^2 / subsets for the draw. Near 0 it errs on the large side.

    Raises:
      ValueError: shapes do not fit, or there are too few samples for two disjoint subsets.
    """
    smaller = _check(features_a, features_b)
    if not 2 <= subset_size <= smaller // 2 or subsets < 2:
        raise ValueError(
            f"need two or more subsets of 2 to {smaller // 2} samples (half of the smaller of "
            f"{len(features_a)} and {len(features_b)}), not {subsets} of {subset_size}"
        )

    def draw(features: np.ndarray) -> np.ndarray:
        return features[rng.permutation(len(features))[:subset_size]]

    values = [_mmd2(draw(features_a), draw(features_b)) for _ in range(subsets)]
    share = subset_size / (smaller - subset_size) + 1 / subsets
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) * np.sqrt(share)))


def frechet(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Frechet distance of Gaussians fitted to two sets (Heusel et al. 2017).

    ``|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``. With ``C = X'X`` the last term
    is the sum of the singular values of ``X_a X_b'``: no root of a covariance is taken, so
    singular ones do no harm.

    It is biased: too large by about a constant over the number of samples (``frechet_bias``),
    so it compares only between sets of equal size.

    Args:
      features_a, features_b: ``n d`` and ``m d``.

    Warns:
      RuntimeWarning: a set has no more samples than dimensions: its covariance is singular,
        the value mostly tells how few samples there are.

    Raises:
      ValueError: shapes do not fit, or a set has fewer than two samples.
    """
    smaller, dimensions = _check(features_a, features_b), features_a.shape[1]
    if smaller <= dimensions:
        warnings.warn(
            f"Frechet distance from {smaller} samples in {dimensions} dimensions: mostly bias; "
            "use KID, or more samples than dimensions",
            RuntimeWarning,
            stacklevel=2,
        )
    return _frechet(features_a, features_b)


def frechet_bias(features_a: np.ndarray, features_b: np.ndarray, rng: np.random.Generator) -> float:
    """By how much ``frechet`` is likely too large, for want of samples.

    The bias falls as one over the number of samples (Chong and Forsyth 2020): halving the
    sets doubles it, so it is what random halves (the mean over both) have more than the
    whole. With fewer samples than dimensions it falls more slowly, and this is too little.

    Raises:
      ValueError: shapes do not fit, or a set has fewer than four samples.
    """
    if _check(features_a, features_b) < 4:
        raise ValueError(f"too few samples to halve: {len(features_a)} and {len(features_b)}")
    a, b = rng.permutation(features_a), rng.permutation(features_b)
    half_a, half_b = len(a) // 2, len(b) // 2
    halves = [_frechet(a[:half_a], b[:half_b]), _frechet(a[half_a:], b[half_b:])]
    return float(np.mean(halves)) - _frechet(a, b)


def _mmd2(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased: no sample is compared with itself."""
    a, b, size = a.astype(np.float64), b.astype(np.float64), len(a)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        base = x @ y.T / x.shape[1] + 1
        return base * base * base  # ** 3 is many times slower

    def among(x: np.ndarray) -> float:
        k = kernel(x, x)
        return (k.sum() - np.trace(k)) / (size * (size - 1))

    return among(a) + among(b) - 2 * kernel(a, b).mean()


def _frechet(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    shift = a.mean(axis=0) - b.mean(axis=0)
    root_a, root_b = _root(a), _root(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum()
    return float(max(shift @ shift + spread - 2 * overlap, 0))  # rounding may end below 0


def _root(x: np.ndarray) -> np.ndarray:
    """R with R'R the covariance, and no more rows than needed. n d -> min(n, d) d."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _check(a: np.ndarray, b: np.ndarray) -> int:
    """The smaller number of samples."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"need n d and m d with n, m at least 2: {a.shape}, {b.shape}")
    return min(len(a), len(b))
