"""Streaming statistics and examples of a dataset, for its report and its card."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import OPENFACE_MAXIMUM
from ganimation_jax.conditions import Condition
from ganimation_jax.data.records import SPLITS
from ganimation_jax.data.table import Row

SHEET = 60  # faces on the contact sheet
EXTREMES = 10  # faces shown with the highest and the lowest intensities of a unit
BINS = 25  # bins of the histograms
ACTIVE = 1.0  # an action unit is active from this intensity on


class Example(NamedTuple):
    """A face to show. Sorted by ``rank``, then by a hash: pseudorandom but reproducible."""

    rank: float
    draw: str
    id: str
    aus: tuple[float, ...]
    labels: tuple[str, ...] = ()  # those that the face shows


class Survey:
    """Sums, histograms and a few examples, in constant memory for any number of faces."""

    def __init__(self, action_units: Sequence[str], labels: Sequence[Condition] = ()):
        self.action_units = tuple(action_units)
        self.labels = tuple(labels)
        self.shown = np.zeros((len(SPLITS), len(self.labels)), np.int64)  # faces with each label
        n = len(self.action_units)
        self.count = 0
        self.splits: Counter[str] = Counter()
        self.people: dict[str, set[str]] = {split: set() for split in SPLITS}
        self.sides: Counter[int] = Counter()  # binned by powers of two: 64 means 64-127 pixels
        self.histogram = np.zeros((n, BINS), np.int64)
        self.maximum = np.zeros(n)  # of each action unit, [0, 5]
        self._active = np.zeros(n, np.int64)
        self._sum = np.zeros(n)
        self._products = np.zeros((n, n))
        self._sheet: list[Example] = []
        self._high: list[list[Example]] = [[] for _ in self.action_units]
        self._low: list[list[Example]] = [[] for _ in self.action_units]

    def add(self, row: Row) -> None:
        """Add one face."""
        face, aus = row.face, np.asarray(row.face.aus)
        self.count += 1
        self.splits[face.split] += 1
        self.shown[SPLITS.index(face.split)] += np.asarray(face.labels, np.int64)
        if face.person:
            self.people[face.split].add(face.person)
        self.sides[1 << (max(int(row.side), 1).bit_length() - 1)] += 1
        places = np.minimum((aus / OPENFACE_MAXIMUM * BINS).astype(int), BINS - 1)
        self.histogram[np.arange(len(aus)), places] += 1
        self._active += aus >= ACTIVE
        self.maximum = np.maximum(self.maximum, aus)
        self._sum += aus
        self._products += np.outer(aus, aus)
        draw = hashlib.sha256(face.id.encode()).hexdigest()
        shown = zip(self.labels, face.labels, strict=True)
        labels = tuple(one.name for one, value in shown if value)
        _offer(self._sheet, Example(0.0, draw, face.id, tuple(face.aus), labels), SHEET)
        for unit, value in enumerate(face.aus):
            # A different order per unit, or all units would show the same faces for 0.
            example = Example(value, draw[unit:], face.id, tuple(face.aus))
            _offer(self._high[unit], example, EXTREMES)
            _offer(self._low[unit], example._replace(rank=-value), EXTREMES)

    @property
    def label_counts(self) -> list[tuple[Condition, list[int]]]:
        """Number of faces of each split that show each label of the dataset.

        Members of a group that no face shows are not in the dataset.
        """
        counts = zip(self.labels, self.shown.T.tolist(), strict=True)
        return [(one, count) for one, count in counts if any(count) or one.kind == "binary"]

    @property
    def unseen(self) -> list[str]:
        """Members of groups that no face shows."""
        seen = [one for one, _ in self.label_counts]
        return [one.name for one in self.labels if one not in seen]

    @property
    def mean(self) -> np.ndarray:
        """Mean of each action unit, in [0, 5]."""
        return self._sum / self.count

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each action unit."""
        return np.sqrt(np.maximum(np.diag(self._products) / self.count - self.mean**2, 0))

    @property
    def active(self) -> np.ndarray:
        """Fraction of faces with an intensity of at least ``ACTIVE``, per action unit."""
        return self._active / self.count

    @property
    def correlation(self) -> np.ndarray:
        """Correlation matrix of the action units; NaN for a constant unit."""
        covariance = self._products / self.count - np.outer(self.mean, self.mean)
        spread = np.outer(self.deviation, self.deviation)
        return np.divide(covariance, spread, out=np.full_like(spread, np.nan), where=spread > 1e-9)

    @property
    def sheet(self) -> list[Example]:
        """Random faces."""
        return sorted(self._sheet)

    def high(self, unit: int) -> list[Example]:
        """The faces with the highest intensities of an action unit, highest first."""
        return sorted(self._high[unit], reverse=True)

    def low(self, unit: int) -> list[Example]:
        """The faces with the lowest intensities of an action unit, lowest first."""
        return sorted(self._low[unit], reverse=True)


def _offer(heap: list[Example], example: Example, size: int) -> None:
    """Push an example and keep the ``size`` greatest."""
    if len(heap) < size:
        heapq.heappush(heap, example)
    else:
        heapq.heappushpop(heap, example)
