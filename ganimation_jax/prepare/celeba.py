"""Make a dataset from CelebA with action units, attributes or both.

    ganimation prepare celeba --root CELEBA --out DATA

    ganimation prepare celeba --root CELEBA --out DATA --attributes Male,Smiling,Young

CELEBA holds ``aus_openface.pkl`` (id -> 17 intensities), or CelebA's ``list_attr_celeba.txt``
if --attributes asks for labels, or both; and the pictures, in ``imgs`` or
``img_align_celeba``: square crops, used as they are, or CelebA's own aligned
pictures of 178 x 218, which are cut so that the eyes come to their canonical place.
Splits are from ``train_ids.csv`` and ``test_ids.csv`` if these exist, otherwise from CelebA's
``list_eval_partition.txt`` (its validation part is for training); people are from
``identity_CelebA.txt``.
"""

import argparse
from pathlib import Path

from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.finders import Search
from ganimation_jax.prepare.labels import Labels, read_attributes
from ganimation_jax.prepare.openface import lists_beside, pickle_items
from ganimation_jax.prepare.options import (
    add_common,
    add_filters,
    add_labels,
    add_output,
    add_shards,
    probability,
)
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.sources import Item, by_stem, of_kind, walk
from ganimation_jax.prepare.splits import SplitRule, face_id, read_text, split_rule
from ganimation_jax.prepare.stages import prepare, with_metadata
from ganimation_jax.prepare.work import Plan

ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
FOLDERS = ("imgs", "img_align_celeba", "images")
TEST = "2"  # in the partition file; 0 is training, 1 validation


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``celeba`` to the subcommands."""
    parser = commands.add_parser(
        "celeba",
        help="from CelebA with action units or attributes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, metavar="DIR", help="the folder described above")
    add(
        "--attributes",
        metavar="A,B",
        help="labels from list_attr_celeba.txt by name, or 'all' (none: action units only)",
    )
    add(
        "--test-fraction",
        type=probability,
        default=0.1,
        metavar="X",
        help="fraction to hold out if there are no lists (%(default)s)",
    )
    add_filters(parser, min_side=0, max_turn=180, blur=0)
    add_output(parser, duplicates="keep")
    add_labels(parser)
    add_shards(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prepare a dataset; returns the exit code."""
    pickle = args.root / "aus_openface.pkl"
    labels = attributes_of(args.root, args.attributes) if args.attributes else Labels()
    rule = celeba_rule(args.root, args.test_fraction)
    labels, rule = with_metadata(args, labels, rule)
    if not (pickle.is_file() or labels.conditions):
        raise UsageError(
            f"no {pickle}: CelebA's action units, id -> 17 intensities; for labels alone give "
            "--attributes"
        )
    images = next((args.root / name for name in FOLDERS if (args.root / name).is_dir()), None)
    if images is None:
        raise UsageError(f"no folder {' or '.join(FOLDERS)} in {args.root}")
    if args.out.resolve().is_relative_to(images.resolve()):
        raise UsageError(f"--out {args.out} is inside {images}: what it gets would be read too")
    found = pickle_items(images, pickle) if pickle.is_file() else picture_items(images)
    items, skips = found
    plan = Plan(
        Search("celeba", args.size),
        min_side=args.min_side,
        max_turn=args.max_turn,
        blur=args.blur,
    )
    annotator = "OpenFace" if pickle.is_file() else ""
    about = About(annotator, args.origin or "CelebA", args.licence)
    return prepare(args, items, skips, plan, rule, about, labels)


def attributes_of(root: Path, wanted: str) -> Labels:
    """Attributes from CelebA's list.

    Raises:
      UsageError: there is no list, or it has no such attribute.
    """
    for name in ATTRIBUTES:
        if (root / name).is_file():
            return read_attributes(root / name, wanted)
    raise UsageError(f"no {root / ATTRIBUTES[0]}: CelebA's attributes, which --attributes reads")


def picture_items(images: Path) -> tuple[list[Item], list[Skip]]:
    """Every picture, without action units.

    Raises:
      UsageError: there are none.
    """
    files, skips = walk(images)
    chosen, others = of_kind(files, IMAGE_SUFFIXES)
    found, twins = by_stem(chosen)
    if not found:
        raise UsageError(f"no pictures in {images} ({' '.join(sorted(IMAGE_SUFFIXES))})")
    items = [
        Item(name, name, path, path.relative_to(images).as_posix()) for name, path in found.items()
    ]
    return items, [*skips, *others, *twins]


def celeba_rule(root: Path, test_fraction: float) -> SplitRule:
    """Who is held out, by the lists that exist.

    Raises:
      UsageError: one of them cannot be read.
    """
    rule = split_rule(*lists_beside(root / "aus_openface.pkl"), None, test_fraction)
    partition, identity = root / "list_eval_partition.txt", root / "identity_CelebA.txt"
    if not rule.listed() and partition.is_file():
        parts = _pairs(partition)
        held_out = {name for name, part in parts.items() if part == TEST}
        rule = rule._replace(train_ids=parts.keys() - held_out, test_ids=held_out)
    return rule._replace(people=_pairs(identity)) if identity.is_file() else rule


def _pairs(path: Path) -> dict[str, str]:
    """``000001.jpg 0`` on each line -> {"000001": "0"}."""
    lines = [line.replace(",", " ").split() for line in read_text(path).splitlines()]
    if wrong := [line for line in lines if line and len(line) != 2]:
        raise UsageError(f"{path}: two words a line are wanted, not {' '.join(wrong[0])!r}")
    return {face_id(name): value for name, value in filter(None, lines)}
