"""Edits against the true edit: another picture of the same person that shows the target.

For data that have such pairs, as generated people. Each figure stands beside those of two
trivial editors: 'no edit' returns the source, 'copy another' the true edit of another person.
A useful edit is nearer to the truth than both. Pictures of one person are not independent:
standard errors are over persons.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ganimation_jax.evaluation import quality
from ganimation_jax.evaluation.means import mean
from ganimation_jax.evaluation.scores import HIGHER, LOWER, Scores


class Pairs(NamedTuple):
    """Edits with their true edits; images float32 ``b h w 3`` in [-1, 1]."""

    source: np.ndarray
    target: np.ndarray  # the true edit
    edited: np.ndarray
    persons: Sequence[str]  # b names

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        """The edits under "", and the baselines by name."""
        found = {"": self.edited, "no_edit": self.source}
        if (another := _another(self.persons)) is not None:
            found["copy_another"] = self.target[another]
        return found


def evaluate(pairs: Pairs) -> Scores:
    """How near edits come to the true edit in pixels.

    Args:
      pairs: edits and true edits.

    Yields:
      ``true_edit/psnr`` in dB and ``ssim``; ``psnr_changed``, over the pixels that truly change;
      each also for the baselines "no_edit" and "copy_another", which there is only if there are
      two persons. A face in which nothing is to change has no ``psnr_changed``.

    Raises:
      ValueError: the arrays differ in shape, or there is not one name for each.

    >>> source, target = np.zeros((2, 16, 16, 3)), np.full((2, 16, 16, 3), 0.2)
    >>> scores = evaluate(Pairs(source, target, target, ["ann", "bob"]))
    >>> {s.key: round(s.value, 2) for s in scores if s.name == "psnr"}
    {'true_edit/psnr': 100.0, 'true_edit/psnr/no_edit': 20.0, 'true_edit/psnr/copy_another': 100.0}
    """
    _check(pairs)
    changed = quality.visible_change(pairs.source, pairs.target)
    for baseline, picture in pairs.pictures.items():
        measures = {
            "psnr": quality.psnr(picture, pairs.target),
            "psnr_changed": quality.psnr_within(picture, pairs.target, changed),
            "ssim": quality.ssim(picture, pairs.target),
        }
        for name, values in measures.items():
            yield mean(
                "true_edit",
                name,
                values,
                baseline=baseline,
                better=HIGHER,
                persons=pairs.persons,
            )


def evaluate_perceived(
    pairs: Pairs, name: str, distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Scores:
    """How near edits come to the true edit as a network sees it.

    Args:
      pairs: edits and true edits.
      name: of the distance, such as "LPIPS-Alex" or "identity".
      distance: ``b h w 3``, ``b h w 3`` -> ``b``.

    Yields:
      ``true_edit/<name>``, also for the baselines; 0 is the true edit.

    Raises:
      ValueError: as ``evaluate``.
    """
    _check(pairs)
    for baseline, picture in pairs.pictures.items():
        values = distance(picture, pairs.target)
        yield mean(
            "true_edit", name, values, baseline=baseline, better=LOWER, persons=pairs.persons
        )


def _another(persons: Sequence[str]) -> np.ndarray | None:
    """For each picture one of another person, the next in order; None if there is one person."""
    names = np.asarray(persons)
    if len(set(persons)) < 2:
        return None
    places = np.arange(len(names))
    found = [next(j for j in np.roll(places, -i - 1) if names[j] != names[i]) for i in places]
    return np.array(found)


def _check(pairs: Pairs) -> None:
    shapes = {pairs.source.shape, pairs.target.shape, pairs.edited.shape}
    if len(shapes) > 1 or len(pairs.persons) != len(pairs.source) or not len(pairs.source):
        raise ValueError(
            f"source {pairs.source.shape}, target {pairs.target.shape}, edit {pairs.edited.shape} "
            f"and {len(pairs.persons)} names do not fit together"
        )
