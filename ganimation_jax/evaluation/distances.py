"""Distances between two sets of images, computed from features of a pretrained network.

The name of each score includes the network. Scores from different networks, image sizes or
(for Frechet) sample counts are not comparable.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ganimation_jax.evaluation.scores import LOWER, Score, Scores


class Estimate(NamedTuple):
    """An estimate and its standard error."""

    value: float
    error: float


def compare(
    network: str, a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], seed: int = 0
) -> Scores:
    """Compute KID and the Frechet distance of two sets.

    Args:
      network: name of the feature network. The Frechet distance on 'Inception' is named FID.
      a, b: features, at least 4 samples each.
      seed: seed of the random subsets.

    Yields:
      ``KID-<network>`` with its standard error, and ``Frechet-<network>`` (or ``FID``) with its
      estimated small-sample bias as the baseline "bias".

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

    The estimator is unbiased at every sample size. For two sets from the same distribution it
    scatters around 0 and may be negative.

    Args:
      features_a, features_b: ``n d`` and ``m d``.
      subsets: number of pairs of random subsets to average over.
      subset_size: samples per subset, drawn without replacement; at most half the smaller set.
      rng: random generator for the subsets.

    Returns:
      The mean over subsets and its standard error. With s the standard deviation over subsets,
      the variance is s^2 m / (n - m) for the choice of samples (delete-d jackknife, Shao and Wu
      1989; m of the n samples of the smaller set), plus s^2 / subsets for the random subsets.
      Near 0 the error is overestimated.

    Raises:
      ValueError: the shapes do not match, or there are too few samples for two disjoint subsets.
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
    is the sum of the singular values of ``X_a X_b'``. This needs no matrix square root, so
    singular covariances are fine.

    The estimate is biased upwards, by about a constant divided by the number of samples (see
    ``frechet_bias``). Compare it only between sets of equal size.

    Args:
      features_a, features_b: ``n d`` and ``m d``.

    Warns:
      RuntimeWarning: a set has no more samples than dimensions. Its covariance is then
        singular, and the value mostly reflects the small sample.

    Raises:
      ValueError: the shapes do not match, or a set has fewer than two samples.
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
    """Estimate the small-sample bias of ``frechet``.

    The bias is inversely proportional to the number of samples (Chong and Forsyth 2020), so
    halving the sets doubles it. The estimate is therefore the mean distance over two random
    halves minus the distance of the whole sets. With fewer samples than dimensions the bias
    falls more slowly, and this estimate is too small.

    Raises:
      ValueError: the shapes do not match, or a set has fewer than four samples.
    """
    if _check(features_a, features_b) < 4:
        raise ValueError(f"too few samples to halve: {len(features_a)} and {len(features_b)}")
    a, b = rng.permutation(features_a), rng.permutation(features_b)
    half_a, half_b = len(a) // 2, len(b) // 2
    halves = [_frechet(a[:half_a], b[:half_b]), _frechet(a[half_a:], b[half_b:])]
    return float(np.mean(halves)) - _frechet(a, b)


def _mmd2(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _among(a) + _among(b) - 2 * float(_kernel(a, b).mean())


def _among(x: Float[np.ndarray, "n d"]) -> float:
    """Unbiased mean over pairs: no sample is compared with itself."""
    k = _kernel(x, x)
    return float(k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))


def _kernel(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # much faster than ** 3


def _frechet(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    shift = a.mean(axis=0) - b.mean(axis=0)
    root_a, root_b = _root(a), _root(b)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum()
    return float(max(shift @ shift + spread - 2 * overlap, 0))  # rounding may give less than 0


def _root(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "min(n,d) d"]:
    """Return R such that R'R is the covariance."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _check(a: np.ndarray, b: np.ndarray) -> int:
    """The smaller number of samples."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"need n d and m d with n, m at least 2: {a.shape}, {b.shape}")
    return min(len(a), len(b))
