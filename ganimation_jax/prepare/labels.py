"""Labels of pictures: read from CelebA's list of attributes, a CSV file, or folder names."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ganimation_jax.conditions import Condition, check_labels
from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.prepare.splits import face_id, read_text

YES, NO = {"1", "yes", "true"}, {"0", "-1", "no", "false"}
KEYS = ("id", "file", "filename", "image")  # columns that may name the picture
PERSON = "person"
MOST = 64  # members of a group: a column with more values is no label


class Labels(NamedTuple):
    """The labels of pictures, by the name that lists and splits use (``Item.group``)."""

    conditions: tuple[Condition, ...] = ()
    values: Mapping[str, tuple[float, ...]] = MappingProxyType({})  # 0 or 1
    fix: str = ""  # what to do about a picture without labels

    def joined(self, other: "Labels") -> "Labels":
        """Both labels of the pictures that have both.

        Raises:
          UsageError: two labels have the same name.
        """
        if not (self.conditions and other.conditions):
            return self if self.conditions else other
        conditions = checked((*self.conditions, *other.conditions), "the labels")
        both = self.values.keys() & other.values.keys()
        values = {name: (*self.values[name], *other.values[name]) for name in both}
        fixes = " and ".join(filter(None, (self.fix, other.fix)))
        return Labels(conditions, values, fixes)


def checked(conditions: Sequence[Condition], origin: str) -> tuple[Condition, ...]:
    """The conditions, if a config can name them.

    Raises:
      UsageError: it cannot.
    """
    try:
        check_labels(conditions)
    except ValueError as error:
        raise UsageError(f"{origin}: {error}") from error
    return tuple(conditions)


def one_of(group: str, members: Mapping[str, str], fix: str = "") -> Labels:
    """The labels of a group, of which each picture shows one member.

    Args:
      group: its name.
      members: picture -> member. The members are sorted by name.
      fix: what to do about a picture without one.

    Raises:
      UsageError: there is only one member, or a config could not name one.
    """
    names = sorted(set(members.values()))
    if len(names) < 2:
        raise UsageError(f"{group} has only the value {' '.join(names)}; a label needs two or more")
    conditions = checked([Condition(name, "one_of", group) for name in names], group)
    rows = {name: tuple(float(name == other) for other in names) for name in names}
    return Labels(conditions, {name: rows[member] for name, member in members.items()}, fix)


# CelebA's list


def read_attributes(path: Path, wanted: str) -> Labels:
    """Read CelebA's ``list_attr_celeba.txt`` or ``.csv``.

    The text file has the number of pictures on its first line, the names of the attributes on
    its second, and then a picture on each line: its file name and the values, -1 or 1.

    Args:
      path: of the file.
      wanted: names joined by commas, or "all". The labels are in the order of the file.

    Raises:
      UsageError: the file cannot be read, or has no such attribute.
    """
    lines = [line.replace(",", " ").split() for line in read_text(path).splitlines()]
    rows = [(number, words) for number, words in enumerate(lines, 1) if words]
    if rows and len(rows[0][1]) == 1 and rows[0][1][0].isdigit():
        rows.pop(0)
    if not rows:
        raise UsageError(f"{path} is empty: it should name attributes and pictures")
    header = rows.pop(0)[1]
    names = header[1:] if header[0] in ("image_id", *KEYS) else header
    asked = names if wanted == "all" else [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in asked if name not in names]:
        raise UsageError(
            f"--attributes: {path} has no attribute {' '.join(unknown) or '(empty)'}; it has "
            f"{' '.join(names)}"
        )
    conditions = checked([Condition(name, "binary") for name in names if name in asked], str(path))
    columns = [names.index(one.name) + 1 for one in conditions]
    values: dict[str, tuple[float, ...]] = {}
    for number, words in rows:
        if len(words) != len(names) + 1:
            raise UsageError(
                f"{path}, line {number}: {len(words) - 1} values for {len(names)} attributes"
            )
        row = [words[column] for column in columns]
        if wrong := [word for word in row if word not in ("-1", "0", "1")]:
            raise UsageError(f"{path}, line {number}: the value {wrong[0]} is neither -1 nor 1")
        values[face_id(words[0])] = tuple(float(word == "1") for word in row)
    return Labels(conditions, values, f"add it to {path.name}")


# CSV files


class Metadata(NamedTuple):
    """What a CSV file says of pictures."""

    labels: Labels
    people: dict[str, str]  # picture -> person; empty without that column


def read_metadata(
    path: Path, columns: str | None, to_id: Callable[[str], str] = face_id
) -> Metadata:
    """Read a CSV file with a picture on each line.

    Its column ``id`` or ``file`` names the picture, ``person`` the person. Every other column
    is a label: binary if its values are 0 or -1 and 1, no and yes, or false and true, and one of
    a group if they are other words. Numbers are no labels.

    Args:
      path: of the file.
      columns: the labels to read, joined by commas; None reads all.
      to_id: converts the picture's name into an id.

    Raises:
      UsageError: the file cannot be read, or has no such columns or values.
    """
    reader = csv.DictReader(read_text(path).splitlines(), skipinitialspace=True)
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    key = next((name for name in KEYS if name in header), None)
    if key is None:
        raise UsageError(f"{path} needs a column id or file; it has {' '.join(header) or 'none'}")
    others = [name for name in header if name not in (*KEYS, PERSON)]
    chosen = others if columns is None else [name.strip() for name in columns.split(",")]
    if unknown := [name for name in chosen if name not in others]:
        raise UsageError(
            f"--label-columns: {path} has no column {' '.join(unknown) or '(empty)'}; it has "
            f"{' '.join(others)}"
        )
    rows: dict[str, dict[str, str]] = {}
    for row in reader:
        if None in row or None in row.values():
            raise UsageError(f"{path}, line {reader.line_num}: it should have {len(header)} values")
        name = to_id(row[key].strip())
        values = {column: row[column].strip() for column in (*chosen, PERSON) if column in row}
        if rows.setdefault(name, values) != values:
            raise UsageError(f"{path}, line {reader.line_num}: two different lines for {row[key]}")
    people = {name: row[PERSON] for name, row in rows.items() if row.get(PERSON)}
    labels = Labels()
    for column in chosen:
        values = {name: row[column] for name, row in rows.items() if row[column]}
        labels = labels.joined(_column(path, column, values))
    fix = f"fill in its {' and '.join(chosen)} in {path.name}"
    return Metadata(labels._replace(fix=fix), people)


def _column(path: Path, name: str, values: Mapping[str, str]) -> Labels:
    words = {value.lower() for value in values.values()}
    if words <= YES | NO:
        conditions = checked([Condition(name, "binary")], str(path))
        rows = {key: (float(value.lower() in YES),) for key, value in values.items()}
        return Labels(conditions, rows)
    if number := next((word for word in sorted(words) if _is_number(word)), None):
        raise UsageError(
            f"{path}: the column {name} has the value {number}; labels are 0 and 1, or words. "
            "Choose the columns of labels with --label-columns"
        )
    if len(words) > MOST:
        raise UsageError(
            f"{path}: the column {name} has {len(words)} different words, more than the {MOST} of "
            "a label. Choose the columns of labels with --label-columns"
        )
    return one_of(name, values)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# Folders


def person_in(sources: Iterable[str], pattern: str) -> dict[str, str]:
    """The person in each path, found by a regular expression: its first group, or all of it.

    Raises:
      UsageError: the pattern is no regular expression, or is not in one of the paths.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--person {pattern}: no regular expression: {error}") from error
    people = {}
    for source in sources:
        match = regex.search(source)
        person = match and match[1 if regex.groups else 0]
        if not person:
            raise UsageError(f"--person {pattern}: it finds no person in {source}")
        people[source] = person
    return people
