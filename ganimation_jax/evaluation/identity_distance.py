"""Does the person stay the same? Distances of face descriptors, next to those without edits."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from ganimation_jax.evaluation.means import mean
from ganimation_jax.evaluation.scores import HIGHER, LOWER, Score, Scores


def evaluate(
    image: np.ndarray,
    edited: np.ndarray,
    persons: Sequence[str],
    embed: Callable[[np.ndarray], np.ndarray],
    threshold: float,
    seed: int = 0,
) -> Scores:
    """How far edits move a face, between 'same person' and 'another person' of the same set.

    Args:
      image, edited: ``b h w 3``, sources and their edits.
      persons: b names.
      embed: ``b h w 3`` to descriptors ``b d``; Euclidean distances tell persons apart.
      threshold: distance below which it is one person (``features.face_resnet.THRESHOLD``).
      seed: of the pairs.

    Yields:
      ``distance`` of source and edit; ``verified``, the share below the threshold; the same of
      different pictures of the set, as the baselines "same_person" and "other_person", and their
      number of ``pairs``; and ``auc``, how well distance tells same from other pairs (0.5: not
      at all). Without pairs a score is NaN.

    Raises:
      ValueError: the arrays differ in length, or are empty.

    >>> faces = np.array([[0.0, 0.0], [0.0, 0.3], [2.0, 0.0], [2.0, 0.3]])
    >>> found = evaluate(faces, faces + 0.1, ["a", "a", "b", "b"], lambda x: x, threshold=0.6)
    >>> {score.baseline: round(score.value, 2) for score in found if score.name == "distance"}
    {'': 0.14, 'same_person': 0.3, 'other_person': 2.0}
    """
    if not len(image) == len(edited) == len(persons) or not len(image):
        raise ValueError(
            f"need one edit and one name for each image: {len(image)}, {len(edited)}, "
            f"{len(persons)}"
        )
    source = np.asarray(embed(image), np.float64)
    moved = np.linalg.norm(source - np.asarray(embed(edited), np.float64), axis=1)
    same, other = (_distances(source, pairs) for pairs in sample_pairs(persons, seed))
    for baseline, found in (("", moved), ("same_person", same), ("other_person", other)):
        whose = persons if not baseline else None  # baselines have one pair a person
        yield mean("identity", "distance", found, baseline=baseline, better=LOWER, persons=whose)
        near = found < threshold
        yield mean("identity", "verified", near, baseline=baseline, better=HIGHER, persons=whose)
    yield Score("identity", "pairs", float(len(same)), baseline="same_person")
    yield Score("identity", "pairs", float(len(other)), baseline="other_person")
    yield Score("identity", "auc", *auc(same, other), better=HIGHER)


def sample_pairs(
    persons: Sequence[str], seed: int = 0
) -> tuple[Int[np.ndarray, "p 2"], Int[np.ndarray, "q 2"]]:
    """Index pairs of the same and of different persons, a function of names and seed.

    Each person is in one pair of either kind at most: pairs are independent, so standard
    errors are honest, and one who has many pictures does not decide the baseline.

    Returns:
      same, other. p is the number of persons with two pictures or more,
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


def auc(same: Float[np.ndarray, " p"], other: Float[np.ndarray, " q"]) -> tuple[float, float]:
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


def _distances(
    descriptors: Float[np.ndarray, "b d"], pairs: Int[np.ndarray, "p 2"]
) -> Float[np.ndarray, " p"]:
    return np.linalg.norm(descriptors[pairs[:, 0]] - descriptors[pairs[:, 1]], axis=1)
