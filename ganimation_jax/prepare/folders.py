"""Make a dataset from folders of pictures: the name of a picture's folder is its label.

    ganimation prepare folders --images RAFD --out DATA --person "Rafd[0-9]+_([0-9]+)"

RAFD holds a folder for each emotion, such as ``angry`` and ``happy``, with the pictures that
show it. The folders' names, in alphabetical order, become the members of the group "emotion",
of which every face shows one. Folders may lie below ``train`` and ``test``, which then are the
splits. Otherwise the test pictures are chosen by person where --person, --people or --metadata
says who is shown, and by picture where nothing does.

Without --align the pictures are square face crops and are used as they are; no action units
are measured. With it MediaPipe finds, aligns and measures the faces (extra ``annotate``).
"""

import argparse
import sys
from pathlib import Path, PurePosixPath

from ganimation_jax.conditions import EMOTION
from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.finders import Search
from ganimation_jax.prepare.labels import Labels, one_of, person_in
from ganimation_jax.prepare.options import (
    add_common,
    add_detection,
    add_filters,
    add_labels,
    add_output,
    add_shards,
    add_splits,
)
from ganimation_jax.prepare.photos import about_mediapipe, listed_id, search_by
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.sources import Item, of_kind, photo_id, walk
from ganimation_jax.prepare.splits import SplitRule, split_rule
from ganimation_jax.prepare.stages import prepare, with_metadata
from ganimation_jax.prepare.work import Plan

SPLIT_FOLDERS = {"train", "test"}


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``folders`` to the subcommands."""
    parser = commands.add_parser(
        "folders",
        help="from a folder of pictures for each emotion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="a folder for each label")
    add("--group", default=EMOTION, metavar="NAME", help="what folders tell apart (%(default)s)")
    add(
        "--person",
        metavar="REGEX",
        help="finds the person in a picture's path: its first (group), or all that it matches",
    )
    add("--align", action="store_true", help="find, align and measure faces with MediaPipe")
    add_detection(parser)
    add_filters(parser, min_side=0, max_turn=180, blur=0)
    add_output(parser, duplicates="keep")
    add_splits(parser)
    add_labels(parser)
    add_shards(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prepare a dataset; returns the exit code."""
    if args.out.resolve().is_relative_to(args.images.resolve()):
        raise UsageError(f"--out {args.out} is inside {args.images}: its crops would be read too")
    rule = split_rule(args.train_ids, args.test_ids, args.people, args.test_fraction, listed_id)
    items, skips = folder_items(args.images)
    labels = folder_labels(items, args.group, args.images)
    rule = folder_rule(rule, items)
    if args.person:
        found = person_in((item.source for item in items), args.person)
        people = {item.group: found[item.source] for item in items}
        rule = rule._replace(people=people | dict(rule.people))
    labels, rule = with_metadata(args, labels, rule, listed_id)
    if not rule.people:
        print("people are not known: the same person may be in both splits", file=sys.stderr)
    origin = args.origin or args.images.name
    if args.align:
        search = search_by(args, every_face=False)
        about = about_mediapipe(search, origin, args.licence)
    else:
        search, about = Search("square", args.size), About("", origin, args.licence)
    plan = Plan(search, min_side=args.min_side, max_turn=args.max_turn, blur=args.blur)
    return prepare(args, items, skips, plan, rule, about, labels)


def folder_items(folder: Path) -> tuple[list[Item], list[Skip]]:
    """Every picture below a folder of ``folder``.

    Raises:
      UsageError: there are none.
    """
    files, skips = walk(folder)
    chosen, others = of_kind(files, IMAGE_SUFFIXES)
    items, loose = [], []
    for path in chosen:
        source = path.relative_to(folder).as_posix()
        if "/" in source:
            items.append(Item(photo_id(source), photo_id(source), path, source))
        else:
            loose.append(Skip(str(path), "no label", "put it into the folder of its label"))
    if not items:
        raise UsageError(f"no folders of pictures in {folder}: make one for each label")
    return items, [*skips, *others, *loose]


def folder_labels(items: list[Item], group: str, folder: Path) -> Labels:
    """The name of each picture's folder as its label.

    Raises:
      UsageError: there is only one folder.
    """
    members = {item.group: PurePosixPath(item.source).parent.name for item in items}
    if set(members.values()) <= SPLIT_FOLDERS:
        raise UsageError(f"{folder} needs a folder for each label, or such folders in train, test")
    return one_of(group, members, "put it into the folder of its label")


def folder_rule(rule: SplitRule, items: list[Item]) -> SplitRule:
    """Split by the folders ``train`` and ``test`` if all labels lie in these."""
    top = {item.group: PurePosixPath(item.source).parts[0] for item in items}
    nested = all(len(PurePosixPath(item.source).parts) > 2 for item in items)
    if not nested or set(top.values()) != SPLIT_FOLDERS:
        return rule
    if rule.listed():
        raise UsageError("there are folders train and test: do not give lists of ids as well")
    ids = {split: {group for group, name in top.items() if name == split} for split in top.values()}
    return rule._replace(train_ids=ids["train"], test_ids=ids["test"])
