"""Assigns faces to the training or test split: by lists, by person, or by file."""

import csv
import hashlib
from collections.abc import Callable, Mapping, Set
from pathlib import Path, PurePath
from typing import NamedTuple

from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.prepare.problems import UsageError


class SplitRule(NamedTuple):
    """Split by lists if given, else by a hash of the person, or of the id if unnamed."""

    train_ids: Set[str] | None
    test_ids: Set[str] | None
    people: Mapping[str, str]  # id -> person
    test_fraction: float  # [0, 1]

    def listed(self) -> Set[str]:
        """All ids in the lists."""
        return (self.train_ids or set()) | (self.test_ids or set())

    def covers(self, face_id: str) -> bool:
        """False if both lists are given and neither contains the id."""
        lists = (self.train_ids, self.test_ids)
        return None in lists or any(face_id in ids for ids in lists if ids is not None)

    def split(self, face_id: str) -> str:
        """``"train"`` or ``"test"``; with only one list, all other ids are in the other split."""
        if self.test_ids is not None:
            return "test" if face_id in self.test_ids else "train"
        if self.train_ids is not None:
            return "train" if face_id in self.train_ids else "test"
        # A hash instead of a random draw, so that added files move nobody to the other split.
        key = self.people.get(face_id) or face_id
        place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        return "test" if place < self.test_fraction else "train"


def face_id(name: str) -> str:
    """Remove an image suffix: ``a.b.jpg`` -> ``a.b``. Ids may contain dots: ``a.b`` -> ``a.b``."""
    path = PurePath(name.strip())
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def split_rule(
    train_ids: Path | None,
    test_ids: Path | None,
    people: Path | None,
    test_fraction: float,
    to_id: Callable[[str], str] = face_id,
) -> SplitRule:
    """Read the lists. ``to_id`` converts a line into an id.

    Raises:
      UsageError: a list cannot be read, or an id is in both lists.
    """
    train = None if train_ids is None else _read_ids(train_ids, to_id)
    test = None if test_ids is None else _read_ids(test_ids, to_id)
    if both := (train or set()) & (test or set()):
        raise UsageError(f"{len(both)} ids are in both {train_ids} and {test_ids}: {min(both)} ...")
    known = {} if people is None else read_people(people, to_id)
    return SplitRule(train, test, known, test_fraction)


def read_people(path: Path, to_id: Callable[[str], str] = face_id) -> dict[str, str]:
    """Read a CSV file with the columns ``id`` and ``person`` as id -> person.

    Raises:
      UsageError: the file cannot be read, or lacks a column.
    """
    rows = csv.DictReader(read_text(path).splitlines(), skipinitialspace=True)
    if not {"id", "person"} <= set(rows.fieldnames or ()):
        raise UsageError(f"{path} needs the columns id and person; it has {rows.fieldnames}")
    return {to_id(row["id"]): (row["person"] or "").strip() for row in rows if row["id"]}


def read_text(path: Path) -> str:
    """Read a text file, with or without a byte-order mark.

    Raises:
      UsageError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def _read_ids(path: Path, to_id: Callable[[str], str]) -> set[str]:
    return {to_id(line.strip()) for line in read_text(path).splitlines() if line.strip()}
