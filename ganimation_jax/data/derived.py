"""Sources of faces made from others: with emotions by their action units, two as one, a part."""

from collections.abc import Sequence

import numpy as np

from ganimation_jax.action_units import EXPRESSIONS
from ganimation_jax.conditions import EMOTION, EMOTIONS, Condition
from ganimation_jax.data.examples import Element, Source, full_table
from ganimation_jax.data.pairs import ALONE

FAINT = 1.0  # mean intensity, 0-5, of an emotion's units below which a face is neutral


def nearest_emotions(aus: np.ndarray, units: tuple[str, ...]) -> np.ndarray:
    """The emotion whose prototype (``EXPRESSIONS``) is nearest to each face.

    A prototype is a ray: all its units equally active, at any strength, and the others at rest.
    Where the point of the ray that is nearest to the face has a strength below ``FAINT``, or no
    unit of any prototype is known, the face is neutral.

    Args:
      aus: float ``b n`` in [0, 5].
      units: the codes of the n action units.

    Returns:
      int ``b``, places in ``EMOTIONS``.
    """
    rays = np.array([[unit in EXPRESSIONS.get(one, ()) for unit in units] for one in EMOTIONS])
    sums, counts = aus @ rays.T, np.maximum(rays.sum(axis=1), 1)
    nearest = (sums / np.sqrt(counts)).argmax(axis=1)
    strength = (sums / counts)[np.arange(len(aus)), nearest]
    return np.where(strength < FAINT, EMOTIONS.index("neutral"), nearest)


class WithEmotions:
    """A source whose faces also have the nearest basic emotion as a label.

    Args:
      source: of faces with action units, and without labels of emotions.

    Raises:
      ValueError: there are no action units, or such labels already.
    """

    def __init__(self, source: Source):
        self._source = source
        self._units = tuple(one.name for one in source.conditions if one.kind == "intensity")
        if not self._units:
            raise ValueError(f"data.labels: {source} has no action units to tell emotions by")
        taken = {one.group for one in source.conditions} | {one.name for one in source.conditions}
        if both := taken & {EMOTION, *EMOTIONS}:
            raise ValueError(
                f"data.labels: {source} already has labels named {' '.join(sorted(both))}; set "
                "data.labels=False"
            )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those of the source, then the emotions."""
        emotions = tuple(Condition(name, "one_of", EMOTION) for name in EMOTIONS)
        return self._source.conditions + emotions

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Element:
        return self._source[index]

    def __repr__(self) -> str:
        return repr(self._source)

    @property
    def records_sha256(self) -> str:
        """The digest of the source's records."""
        return getattr(self._source, "records_sha256", "")

    def aus_table(self) -> np.ndarray:
        """The source's action units."""
        return self._source.aus_table()

    def label_table(self) -> np.ndarray:
        """The source's labels, then the emotions."""
        nearest = nearest_emotions(self.aus_table(), self._units)
        emotions = np.eye(len(EMOTIONS), dtype=np.float32)[nearest]
        return np.concatenate([self._source.label_table(), emotions], axis=1)

    def pair_groups(self) -> np.ndarray | None:
        """The source's groups."""
        return self._source.pair_groups()


class JoinedFaces:
    """Two sources as one: their faces alternate, and so do whole batches in training.

    The labels are those of both. A label that a face's own source does not have is 0; methods
    that train on both sets must ignore it. Action units are offered if both have the same.

    Args:
      first, second: the sources.

    Raises:
      ValueError: they have labels of one name and different kinds.
    """

    def __init__(self, first: Source, second: Source):
        self._parts = (first, second)
        known = {one.name: one for one in first.conditions}
        for one in second.conditions:
            if known.setdefault(one.name, one) != one:
                raise ValueError(f"{first} and {second} have different labels named {one.name}")
        units = [
            tuple(one for one in part.conditions if one.kind == "intensity") for part in self._parts
        ]
        self._units = units[0] if units[0] == units[1] else ()
        self._labels = tuple(one for one in known.values() if one.kind != "intensity")
        # Alternating as long as both last, so that the first faces are of both.
        counts = [len(part) for part in self._parts]
        order = np.argsort(np.concatenate([np.arange(count) for count in counts]), kind="stable")
        self.part = (order >= counts[0]).astype(np.int32)  # len: 0 or 1
        self._number = order - self.part * counts[0]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The action units that both have, then all labels."""
        return self._units + self._labels

    @property
    def records_sha256(self) -> str:
        """Digests of the records of both sources."""
        return "+".join(getattr(part, "records_sha256", "") for part in self._parts)

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> Element:
        return self._parts[self.part[index]][int(self._number[index])]

    def __repr__(self) -> str:
        return f"JoinedFaces({self._parts[0]}, {self._parts[1]})"

    def aus_table(self) -> np.ndarray:
        """The action units of all faces, float32 in [0, 5]."""
        if not self._units:
            return np.zeros((len(self), 0), np.float32)
        return self._in_order([part.aus_table() for part in self._parts])

    def label_table(self) -> np.ndarray:
        """The labels of all faces, float32, 0 or 1."""
        tables = []
        for part in self._parts:
            own = [one for one in part.conditions if one.kind != "intensity"]
            table = np.zeros((len(part), len(self._labels)), np.float32)
            table[:, [self._labels.index(one) for one in own]] = part.label_table()
            tables.append(table)
        return self._in_order(tables)

    def pair_groups(self) -> np.ndarray | None:
        """The groups of both sources, with different numbers."""
        found = [part.pair_groups() for part in self._parts]
        if found[0] is None and found[1] is None:
            return None
        parts, used = [], 0
        for part, groups in zip(self._parts, found, strict=True):
            one = np.full(len(part), ALONE, np.int32) if groups is None else groups
            parts.append(np.where(one == ALONE, ALONE, one + used).astype(np.int32))
            used = int(parts[-1].max(initial=-1)) + 1
        return self._in_order(parts)

    def _in_order(self, tables: list[np.ndarray]) -> np.ndarray:
        offsets = np.array([0, len(tables[0])])
        return np.concatenate(tables)[self._number + offsets[self.part]]


def of_known_members(source: Source, conditions: Sequence[Condition]) -> Source:
    """The faces that a model of these conditions can be asked about.

    Where a model knows several members of a group and not all (neutral and happy, of eight
    emotions), a face that shows another is none of its kinds: it is left out.

    Args:
      source: of faces; returned as it is where nothing is left out.
      conditions: of the model.

    Raises:
      ValueError: no face is left.
    """
    foreign = [
        place
        for place, one in enumerate(source.conditions)
        if one not in conditions and sum(one.group == own.group for own in conditions) > 1
        if one.kind == "one_of"
    ]
    if not foreign:
        return source
    kept = full_table(source)[:, foreign].max(axis=1) < 0.5
    if not kept.any():
        asked = " ".join(one.name for one in conditions)
        raise ValueError(f"no face of {source} shows any of {asked}")
    return Selected(source, np.flatnonzero(kept))


class Selected:
    """Some faces of a source.

    Args:
      source: of all.
      places: int ``n``, the faces to take, in order.
    """

    def __init__(self, source: Source, places: np.ndarray):
        self._source, self._places = source, places

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those of the source."""
        return self._source.conditions

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Element:
        return self._source[int(self._places[index])]

    def __repr__(self) -> str:
        return f"{len(self)} faces of {self._source}"

    def aus_table(self) -> np.ndarray:
        """The action units of these faces."""
        return self._source.aus_table()[self._places]

    def label_table(self) -> np.ndarray:
        """The labels of these faces."""
        return self._source.label_table()[self._places]

    def pair_groups(self) -> np.ndarray | None:
        """The source's groups; a face whose partners are not here is in none."""
        if (groups := self._source.pair_groups()) is None:
            return None
        here = groups[self._places]
        _, place, counts = np.unique(here, return_inverse=True, return_counts=True)
        return np.where(counts[place] > 1, here, ALONE).astype(np.int32)
