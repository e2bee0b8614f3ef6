"""From the shards to one table: which action units, which duplicates, which split."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.data.dataset import SPLITS, Face
from ganimation_jax.data.table import Row, write_csv, write_table
from ganimation_jax.prepare.filters import duplicates
from ganimation_jax.prepare.problems import Skip
from ganimation_jax.prepare.shards import read_shards
from ganimation_jax.prepare.splits import SplitRule
from ganimation_jax.prepare.survey import Survey
from ganimation_jax.prepare.work import Record


class Merged(NamedTuple):
    """What came out."""

    action_units: tuple[str, ...]
    survey: Survey  # of the faces
    reasons: Counter[str]  # of what was skipped


def merge(
    out: Path,
    paths: Sequence[Path],
    skips: Iterable[Skip],
    rule: SplitRule,
    drop_duplicates: bool,
) -> Merged:
    """Write ``table.csv`` and ``skipped.csv`` in ``out``; no more than a face is held at a time.

    Args:
      out: folder of the dataset.
      paths: the shards' files.
      skips: what was skipped before the shards were made.
      rule: who is held out.
      drop_duplicates: of crops that look the same keep the first.
    """
    wanted, repeats = _look_ahead(paths, drop_duplicates)
    survey, reasons = Survey(wanted), Counter[str]()

    def rows() -> Iterator[Row]:
        for record in _judged(paths, wanted, repeats):
            if isinstance(record, Record):
                row = _row(record, rule, wanted, out / "crops")
                survey.add(row)
                yield row

    def lines() -> Iterator[Skip]:
        for skip in itertools.chain(sorted(skips), _judged(paths, wanted, repeats)):
            if isinstance(skip, Skip):
                reasons[skip.reason] += 1
                yield skip

    write_table(out, rows(), wanted)
    write_csv(out / "skipped.csv", Skip._fields, lines())
    return Merged(wanted, survey, reasons)


def summary(merged: Merged, skipped_csv: Path) -> str:
    """How many faces went where, and how many files were skipped for which reason."""
    survey = merged.survey
    lines = [
        f"{survey.count} faces: " + ", ".join(f"{survey.splits[split]} {split}" for split in SPLITS)
    ]
    if shared := set.intersection(*(survey.people[split] for split in SPLITS)):
        lines.append(f"warning: {len(shared)} people are in both splits")
    if total := merged.reasons.total():
        lines.append(f"{total} skipped, listed in {skipped_csv}:")
        lines += [f"{count:8d}  {reason}" for reason, count in merged.reasons.most_common()]
    return "\n".join(lines)


def _look_ahead(
    paths: Sequence[Path], drop_duplicates: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The action units of the dataset, and the faces that repeat another: id -> its id.

    The action units are those of most faces: all 17, or what an older OpenFace
    measured. Not those of the first face, for one damaged CSV must not decide.
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
    """Everything in the shards; in place of a record that cannot be used, the reason."""
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


def _row(record: Record, rule: SplitRule, action_units: Sequence[str], crops: Path) -> Row:
    face = Face(
        id=record.id,
        split=rule.split(record.group),
        person=rule.people.get(record.group, ""),
        source=record.source,
        aus=tuple(record.aus[code] for code in action_units),
        transform=record.transform,
        jpeg=crops / f"{record.id}.jpg",
    )
    figures = (record.confidence, record.side, record.turn, record.sharpness)
    return Row(face, *(math.nan if figure is None else figure for figure in figures))
