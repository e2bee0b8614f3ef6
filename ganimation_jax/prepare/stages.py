"""The pipeline shared by all sources: items -> shards -> table -> report -> dataset.

OUT/shards/*.jsonl          results of every item, see ``shards``
OUT/crops/<id>.jpg          the crops
OUT/table.csv, skipped.csv  all faces, and all skipped inputs with the reasons
OUT/report.html, README.md  the report and the dataset card
OUT/annotated_faces/        the dataset, see ``ganimation_jax.data.dataset``
"""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import damaged_files, pack
from ganimation_jax.data.records import Face
from ganimation_jax.data.table import FaceTable
from ganimation_jax.files import lock
from ganimation_jax.prepare.card import About, write_card
from ganimation_jax.prepare.dataset_report import write_report
from ganimation_jax.prepare.finders import Search
from ganimation_jax.prepare.labels import Labels, read_metadata
from ganimation_jax.prepare.merge import NO_LABELS, merge, summary
from ganimation_jax.prepare.parallel import progress
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.shards import plan_shards, run_shards, sweep
from ganimation_jax.prepare.sources import Item
from ganimation_jax.prepare.splits import SplitRule, face_id
from ganimation_jax.prepare.survey import Survey
from ganimation_jax.prepare.work import Plan


def prepare(
    args: argparse.Namespace,
    items: Sequence[Item],
    skips: Sequence[Skip],
    plan: Plan,
    rule: SplitRule,
    about: About,
    labels: Labels = NO_LABELS,
    group_of: Callable[[Face], str] | None = None,
) -> int:
    """Make the dataset in ``args.out``, or only the share ``args.shard`` of its shards.

    Args:
      args: the output, common and shard flags of ``options``.
      items: the items to process.
      skips: inputs that were already skipped.
      plan: settings for processing items.
      rule: assigns items to splits. Items that its lists do not cover are skipped.
      about: description for the dataset card.
      labels: of the items. If there are any, items without are skipped.
      group_of: names the group in which a face forms pairs, see ``data.dataset.pack``.

    Returns:
      The exit code.

    Raises:
      UsageError: the folder is not writable, or another run is using it.
      OSError: a file cannot be written. Rerun the same command to resume.
    """
    chosen, uncovered = _covered(items, rule, labels)
    crops, folder = args.out / "crops", args.out / "shards"
    make_folders(crops, folder)
    with alone(args.out, args.shard):
        if args.shard is None:
            for leftover in (*crops.glob(".*.partial"), *folder.glob(".*.partial")):
                leftover.unlink(missing_ok=True)  # left by a killed run
        shards = plan_shards(chosen, plan, folder, args.shard_size)
        if args.shard is not None:
            first, count = args.shard
            run_shards(shards[first::count], plan, crops, args.workers)
            print(f"shard {first}/{count} is done; without --shard all are put together")
            return 0
        run_shards(shards, plan, crops, args.workers)
        sweep(folder, crops, shards)
        paths = [shard.path for shard in shards]
        drop = args.duplicates == "drop"
        merged = merge(args.out, paths, [*skips, *uncovered], rule, drop, labels)
        print(summary(merged, args.out / "skipped.csv"))
        if not merged.survey.count:
            print("error: no usable face, no dataset written", file=sys.stderr)
            return 1
        labelled = any(item.label for item in chosen)
        if labelled and (warning := divided_already(merged.survey)):
            print(warning, file=sys.stderr)
        _pack(args.out, plan.search, about, labelled, group_of)
        write_card(args.out / "README.md", merged, about, plan)
        write_report(args.out / "report.html", crops, merged, about)
        print(f"look at {args.out / 'report.html'}")
        return 0


def divided_already(survey: Survey) -> str:
    """Warn if all intensities are too small to be on OpenFace's scale; empty if they are fine.

    Among 1,489 faces in the wild, 96% have an action unit above 1, and every unit exceeds 2 in
    some face.
    """
    highest = int(np.argmax(survey.maximum))
    if survey.maximum[highest] > 1:
        return ""
    return (
        f"WARNING: no intensity of these {survey.count} faces is above 1: the highest is"
        f" {survey.maximum[highest]:.3g}, {survey.action_units[highest]}. OpenFace measures from 0"
        " to 5. If the intensities were divided by 5 before, prepare the set from the original"
        " ones: otherwise a model trained on it sees a fifth of every expression."
    )


def with_metadata(
    args: argparse.Namespace,
    labels: Labels,
    rule: SplitRule,
    to_id: Callable[[str], str] = face_id,
) -> tuple[Labels, SplitRule]:
    """Add the labels and people of the file ``args.metadata``, if there is one.

    Raises:
      UsageError: it cannot be read or used.
    """
    if args.metadata is None:
        if args.label_columns:
            raise UsageError("--label-columns needs --metadata FILE, which has these columns")
        return labels, rule
    found = read_metadata(args.metadata, args.label_columns, to_id)
    return labels.joined(found.labels), rule._replace(people={**rule.people, **found.people})


def _covered(
    items: Sequence[Item], rule: SplitRule, labels: Labels
) -> tuple[list[Item], list[Skip]]:
    """Return the items to use, sorted, and skips for unlisted items and unknown ids."""
    chosen, skips = [], []
    counts = Counter(item.id for item in items)
    for item in sorted(items, key=lambda item: item.id):
        if counts[item.id] > 1:
            skips.append(Skip(str(item.path), "two files of one id", item.id))
        elif not rule.covers(item.group):
            skips.append(Skip(str(item.path), "in neither list of ids", ""))
        elif labels.conditions and item.group not in labels.values:
            skips.append(Skip(str(item.path), "no label", labels.fix))
        else:
            chosen.append(item)
    known = {item.group for item in items}
    skips += [Skip(name, "listed id without picture", "") for name in rule.listed() - known]
    skips += [Skip(name, "label without picture", "") for name in labels.values.keys() - known]
    return chosen, skips


def _pack(
    out: Path,
    search: Search,
    about: About,
    labelled: bool,
    group_of: Callable[[Face], str] | None,
) -> None:
    table = FaceTable(out)
    units = table.action_units
    absent = [code for code in ACTION_UNITS if code not in units] if units else []
    if absent and labelled:
        print(f"WARNING: {len(absent)} action units are in too few CSV files: {' '.join(absent)}")
    elif absent:
        print(f"not measured by {about.annotator}, so not in the dataset: {' '.join(absent)}")
    if absent:
        print(f"         the dataset has the {len(table.action_units)} others")
    if damaged := damaged_files(out):
        print(f"WARNING: damaged since it was written: {' '.join(damaged)}. Writing it again")
    packed = pack(
        out,
        table,
        action_units=table.action_units,
        image_size=search.size,
        annotator=about.annotator,
        labels=table.labels,
        group_of=group_of,
        progress=lambda faces, count, split: progress(faces, count, f"packing {split}"),
    )
    print(f"dataset ready in {out}" if packed else f"already complete: nothing to do in {out}")


@contextlib.contextmanager
def alone(out: Path, share: tuple[int, int] | None) -> Iterator[None]:
    """Lock out other runs; with ``share``, only full runs and runs of the same share."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.hold(out, f"{share[0]}-of-{share[1]}" if share else ""))
        except BlockingIOError as error:
            raise UsageError(str(error)) from error
        yield


def make_folders(*folders: Path) -> None:
    """Make folders and check that they are writable.

    Raises:
      UsageError: a folder cannot be made or is not writable.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error}") from error
        if not os.access(folder, os.W_OK):
            raise UsageError(f"cannot write to {folder}: no permission")
