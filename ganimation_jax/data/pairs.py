"""Pairs: two aligned pictures of one person that differ in the expression alone."""

import numpy as np

ALONE = -1  # the group of a face that has no partner


def has_pairs(groups: np.ndarray | None) -> bool:
    """Whether any face has a partner."""
    if groups is None:
        return False
    counts = np.unique(groups[groups != ALONE], return_counts=True)[1]
    return bool((counts > 1).any())


class Pairs:
    """Draws a partner for a face: another one of its group.

    Partners whose action units differ more are drawn more often, because there is more to
    learn from them.

    Args:
      groups: int ``len``, the group of each face; ``ALONE`` for faces in none.
      table: float32 ``len n``, the faces' action units.
    """

    def __init__(self, groups: np.ndarray, table: np.ndarray):
        self._table = table
        order = np.argsort(groups, kind="stable")
        self._members = order[groups[order] != ALONE].astype(np.int32)
        _, self._place, counts = np.unique(groups, return_inverse=True, return_counts=True)
        alone = groups.min(initial=0) == ALONE
        self._counts = counts.astype(np.int32)
        if alone:
            self._counts[0] = 0
        self._starts = np.concatenate([[0], np.cumsum(self._counts)[:-1]]).astype(np.int32)

    @property
    def share(self) -> float:
        """Of all faces, those that have a partner."""
        return float((self._counts[self._place] > 1).mean())

    def partner(self, index: int, rng: np.random.Generator) -> int | None:
        """Another face of the group of face ``index``; None if there is none."""
        place = self._place[index]
        start, count = self._starts[place], self._counts[place]
        if count < 2:
            return None
        members = self._members[start : start + count]
        others = members[members != index]
        weights = np.abs(self._table[others] - self._table[index]).sum(axis=1, dtype=np.float64)
        total = weights.sum()
        chances = weights / total if total > 0 else None
        return int(rng.choice(others, p=chances))
