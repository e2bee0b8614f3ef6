"""Merges the shards into one table: chooses action units, drops duplicates, assigns splits."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.data.records import SPLITS, Face
from ganimation_jax.data.table import Row, write_csv, write_table
from ganimation_jax.prepare.filters import duplicates
from ganimation_jax.prepare.labels import Labels
from ganimation_jax.prepare.problems import Skip
from ganimation_jax.prepare.shards import read_shards
from ganimation_jax.prepare.splits import SplitRule
from ganimation_jax.prepare.survey import Survey
from ganimation_jax.prepare.work import Record

NO_LABELS = Labels()


class Merged(NamedTuple):
    """The result of a merge."""

    action_units: tuple[str, ...]
    survey: Survey  # of the faces
    reasons: Counter[str]  # number of skips for each reason


def merge(
    out: Path,
    paths: Sequence[Path],
    skips: Iterable[Skip],
    rule: SplitRule,
    drop_duplicates: bool,
    labels: Labels = NO_LABELS,
) -> Merged:
    """Write ``table.csv`` and ``skipped.csv`` in ``out``, streaming one face at a time.

    Args:
      out: folder of the dataset.
      paths: files of the shards.
      skips: inputs skipped before the shards were made.
      rule: assigns faces to the training or test split.
      drop_duplicates: whether to keep only the first of crops that look the same.
      labels: of the pictures.
    """
    wanted, repeats = _look_ahead(paths, drop_duplicates)
    survey, reasons = Survey(wanted, labels.conditions), Counter[str]()

    def rows() -> Iterator[Row]:
        for record in _judged(paths, wanted, repeats):
            if isinstance(record, Record):
                row = _row(record, rule, wanted, labels, out / "crops")
                survey.add(row)
                yield row

    def lines() -> Iterator[Skip]:
        for skip in itertools.chain(sorted(skips), _judged(paths, wanted, repeats)):
            if isinstance(skip, Skip):
                reasons[skip.reason] += 1
                yield skip

    write_table(out, rows(), wanted, labels.conditions)
    write_csv(out / "skipped.csv", Skip._fields, lines())
    return Merged(wanted, survey, reasons)


def summary(merged: Merged, skipped_csv: Path) -> str:
    """Summarise the number of faces per split and of skipped files per reason."""
    survey = merged.survey
    lines = [
        f"{survey.count} faces: " + ", ".join(f"{survey.splits[split]} {split}" for split in SPLITS)
    ]
    if shared := set.intersection(*(survey.people[split] for split in SPLITS)):
        lines.append(f"warning: {len(shared)} people are in both splits")
    if survey.unseen:
        unseen = " ".join(survey.unseen)
        lines.append(f"warning: no face shows {unseen}; the dataset does not have these labels")
    if total := merged.reasons.total():
        lines.append(f"{total} skipped, listed in {skipped_csv}:")
        lines += [f"{count:8d}  {reason}" for reason, count in merged.reasons.most_common()]
    return "\n".join(lines)


def _look_ahead(
    paths: Sequence[Path], drop_duplicates: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Find the action units of the dataset, and the duplicates: id -> id of the face to keep.

    The action units are those that most faces have: all 17, or those that an older OpenFace
    measured. The first face does not decide, because its CSV file may be damaged.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    ids, hashes = [], []
    for record in read_shards(paths):
        if isinstance(record, Record):
            counts[tuple(record.aus)] += 1
            if drop_duplicates:
                ids.append(record.id)
                hashes.append(bytes.fromhex(record.hash))
    wanted = max(counts, key=lambda codes: (counts[codes], len(codes), codes), default=())
    return wanted, {ids[place]: ids[first] for place, first in duplicates(hashes).items()}


def _judged(
    paths: Sequence[Path], wanted: Sequence[str], repeats: Mapping[str, str]
) -> Iterator[Record | Skip]:
    """Yield all results of the shards, replacing each unusable record by a ``Skip``."""
    for result in read_shards(paths):
        if isinstance(result, Record):
            if missing := [f"{code}_r" for code in wanted if code not in result.aus]:
                detail = "no column " + " ".join(missing)
                result = Skip(result.label or result.source, "CSV lacks action units", detail)
            elif result.id in repeats:
                result = Skip(
                    result.source, "duplicate", f"{result.id} is like {repeats[result.id]}"
                )
        yield result


def _row(
    record: Record, rule: SplitRule, action_units: Sequence[str], labels: Labels, crops: Path
) -> Row:
    face = Face(
        id=record.id,
        split=rule.split(record.group),
        person=rule.people.get(record.group, ""),
        source=record.source,
        aus=tuple(record.aus[code] for code in action_units),
        transform=record.transform,
        jpeg=crops / f"{record.id}.jpg",
        labels=labels.values[record.group] if labels.conditions else (),
    )
    figures = (record.confidence, record.side, record.turn, record.sharpness)
    return Row(face, *(math.nan if figure is None else figure for figure in figures))
