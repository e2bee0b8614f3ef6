"""Make a dataset from EmotioNet's lists and the pictures downloaded by them.

    ganimation prepare emotionet --manual-dir DIR --out DATA

DIR holds the lists (``*.txt``, ``*.csv``, ``*.tsv``: on each line the address or file
name of a picture comes first, whatever follows) and, at any depth, the pictures under
the names that end their addresses. Listed pictures that are missing are reported in
DATA/skipped.csv, as are pictures that no list names. Faces are found and cut out by
MediaPipe (extra ``annotate``). Action units are OpenFace's where DIR has
``aus_openface.pkl``, and MediaPipe's otherwise; the presence codes in EmotioNet's own
lists (0, 1, 999) are no intensities and are not used.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.labels import Labels
from ganimation_jax.prepare.openface import lists_beside, pickle_items
from ganimation_jax.prepare.options import (
    add_common,
    add_detection,
    add_filters,
    add_labels,
    add_output,
    add_shards,
    add_splits,
)
from ganimation_jax.prepare.photos import about_mediapipe, search_by
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.sources import Item, by_stem, of_kind, walk
from ganimation_jax.prepare.splits import face_id, read_text, split_rule
from ganimation_jax.prepare.stages import prepare, with_metadata
from ganimation_jax.prepare.work import Plan

LISTS = {".txt", ".csv", ".tsv"}
IGNORED = LISTS | {".pkl"}
OTHER_LISTS = {"train_ids.csv", "test_ids.csv"}  # splits, of the published code's folder


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``emotionet`` to the subcommands."""
    parser = commands.add_parser(
        "emotionet",
        help="from EmotioNet's lists and pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--manual-dir", type=Path, required=True, metavar="DIR", help="lists and pictures")
    add_detection(parser)
    add_filters(parser, min_side=64, max_turn=60, blur=20)
    add_output(parser, duplicates="drop")
    add_splits(parser)
    add_labels(parser)
    add_shards(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prepare a dataset; returns the exit code."""
    root = args.manual_dir
    if args.out.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"--out {args.out} is inside {root}: what it gets would be read too")
    pickle = root / "aus_openface.pkl"
    if pickle.is_file() and not (args.train_ids or args.test_ids):
        args.train_ids, args.test_ids = lists_beside(pickle)
    rule = split_rule(args.train_ids, args.test_ids, args.people, args.test_fraction)
    items, skips = listed_items(root, pickle if pickle.is_file() else None)
    search = search_by(args, every_face=False)
    labels, rule = with_metadata(args, Labels(), rule, face_id)
    plan = Plan(
        search,
        min_side=args.min_side,
        max_turn=args.max_turn,
        blur=args.blur,
    )
    about = about_mediapipe(search, args.origin or "EmotioNet", args.licence)
    if pickle.is_file():
        about = About("OpenFace", about.origin, about.licence)
    return prepare(args, items, skips, plan, rule, about, labels)


def listed_items(root: Path, pickle: Path | None) -> tuple[list[Item], list[Skip]]:
    """The pictures that a list names, with their values in the pickle if there is one.

    Raises:
      UsageError: there is no list, or no picture.
    """
    files, skips = walk(root)
    lists = [
        path for path in files if path.suffix.lower() in LISTS and path.name not in OTHER_LISTS
    ]
    if not lists:
        raise UsageError(f"no list ({' '.join(sorted(LISTS))}) in {root}")
    if pickle is not None:
        items, skips = pickle_items(root, pickle, IGNORED)
    else:
        pictures, others = of_kind(files, IMAGE_SUFFIXES, IGNORED)
        single, twins = by_stem(pictures)
        skips += others + twins
        items = [
            Item(stem, stem, path, path.relative_to(root).as_posix())
            for stem, path in single.items()
        ]
    if not items:
        raise UsageError(f"no pictures in {root}")
    listed = {name: path for path in lists for name in names_in(path)}
    skips += [Skip(str(item.path), "in no list", "") for item in items if item.id not in listed]
    there = {item.id for item in items} | {Path(skip.file).stem for skip in skips}
    skips += [
        Skip(f"{path}:{name}", "listed picture is missing", "download it")
        for name, path in listed.items()
        if name not in there
    ]
    return [item for item in items if item.id in listed], skips


def names_in(path: Path) -> Iterator[str]:
    """The ids of the pictures that a list names."""
    for line in read_text(path).splitlines():
        words = line.replace(",", " ").split()
        if words:
            name = PurePosixPath(unquote(urlsplit(words[0].strip("'\"")).path)).name
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:  # else it is a header
                yield face_id(name)
