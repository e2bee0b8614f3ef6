"""Does the person stay the same? Distances of face descriptors, next to those without edits."""

from collections.abc import Callable, Sequence

import numpy as np

from ganimation_jax.evaluation.means import Values, mean


def evaluate(
    image: np.ndarray,
    edited: np.ndarray,
    persons: Sequence[str],
    embed: Callable[[np.ndarray], np.ndarray],
    threshold: float,
    seed: int = 0,
) -> Values:
    """How far edits move a face, between 'same person' and 'another person' of the same set.

    Args:
      image, edited: ``b h w 3``, sources and their edits.
      persons: b names.
      embed: ``b h w 3`` to descriptors ``b d``; Euclidean distances tell persons apart.
      threshold: distance below which it is one person (``features.face_resnet.THRESHOLD``).
      seed: of the pairs.

    Yields:
      ``identity/distance`` of source and edit; ``identity/same_person`` and
      ``identity/other_person``, between different pictures of the set; their ``/pairs``;
      ``identity/verified``, the share below the threshold, also for both baselines; and
      ``identity/auc``, how well distance tells same from other pairs (0.5: not at all). Each
      with its standard error ``/se``. What there are no pairs for is NaN, with pairs 0.

    Raises:
      ValueError: the arrays do not have one length, or are empty.
    """
    if not len(image) == len(edited) == len(persons) or not len(image):
        raise ValueError(
            f"need one edit and one name an image: {len(image)}, {len(edited)}, {len(persons)}"
        )
    source = np.asarray(embed(image), np.float64)
    moved = np.linalg.norm(source - np.asarray(embed(edited), np.float64), axis=1)
    same, other = (_distances(source, pairs) for pairs in sample_pairs(persons, seed))
    yield from mean("identity/distance", moved)
    yield from mean("identity/same_person", same)
    yield "identity/same_person/pairs", len(same)
    yield from mean("identity/other_person", other)
    yield "identity/other_person/pairs", len(other)
    yield from mean("identity/verified", moved < threshold)
    yield from mean("identity/verified/same_person", same < threshold)
    yield from mean("identity/verified/other_person", other < threshold)
    area, error = auc(same, other)
    yield "identity/auc", area
    yield "identity/auc/se", error


def sample_pairs(persons: Sequence[str], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of the same and of different persons, a function of names and seed.

    Each person is in one pair of either kind at most: pairs are independent, so standard
    errors are honest, and one who has many pictures does not decide the baseline.

    Returns:
      same, other: ``p 2`` and ``q 2``. p is the number of persons with two pictures or more,
      q half the number of persons.
    """
    rng = np.random.default_rng(seed)
    pictures: dict[str, list[int]] = {}
    for index in rng.permutation(len(persons)):  # shuffled: the first of a list is a random one
        pictures.setdefault(persons[index], []).append(int(index))
    same = [found[:2] for found in pictures.values() if len(found) > 1]
    ones = [found[0] for found in pictures.values()]
    other = list(zip(ones[0::2], ones[1::2], strict=False))  # an odd one out has no partner
    return np.array(same, int).reshape(-1, 2), np.array(other, int).reshape(-1, 2)


def auc(same: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Probability that a same-person pair is closer than another, and its standard error.

    The error is that of Hanley and McNeil (1982). NaN both where either has no pairs.
    """
    n, m = len(same), len(other)
    if not n or not m:
        return float("nan"), float("nan")
    ranks = np.sort(other)
    closer = n * m - np.searchsorted(ranks, same, side="right").sum()
    ties = np.searchsorted(ranks, same, side="right") - np.searchsorted(ranks, same, side="left")
    area = (closer + ties.sum() / 2) / (n * m)
    both_same, both_other = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (n - 1) * (both_same - area**2) + (m - 1) * (both_other - area**2)
    ) / (n * m)
    return float(area), float(np.sqrt(max(variance, 0)))


def _distances(descriptors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.linalg.norm(descriptors[pairs[:, 0]] - descriptors[pairs[:, 1]], axis=1)
