"""Make a dataset from any photos and videos: faces are found, cut out and measured.

    ganimation prepare photos --images PHOTOS --out DATA

MediaPipe searches every picture and video in PHOTOS, at any depth (the
extra ``annotate``; ``video`` for videos). Faces are turned upright and cut out as the
published data has them. Action units that MediaPipe cannot read (AU09) are absent from
the dataset, not zero; DATA/README.md says how well it reads the others. To read them
better, fit a readout (``fit-readout``) and pass it as --readout.

Many machines: run the same command with --shard 0/8 ... 7/8 on a shared folder, then
once without. Rerun the same command to resume.
"""

import argparse
from pathlib import Path

from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.media.video import VIDEO_SUFFIXES
from ganimation_jax.prepare.card import About, mediapipe_quality
from ganimation_jax.prepare.finders import Search, mediapipe_search
from ganimation_jax.prepare.labels import Labels
from ganimation_jax.prepare.options import (
    add_common,
    add_detection,
    add_filters,
    add_labels,
    add_output,
    add_shards,
    add_splits,
    number,
)
from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.prepare.readout import Readout
from ganimation_jax.prepare.sources import photo_id, photo_items
from ganimation_jax.prepare.splits import split_rule
from ganimation_jax.prepare.stages import prepare, with_metadata
from ganimation_jax.prepare.video_pairs import add_pairs, seconds_of
from ganimation_jax.prepare.work import Plan


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``photos`` to the subcommands."""
    parser = commands.add_parser(
        "photos",
        help="from any photos and videos, by MediaPipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="photos and videos")
    add(
        "--faces",
        choices=("largest", "all"),
        default="largest",
        help="which faces of a picture to use (%(default)s)",
    )
    add(
        "--every",
        type=number(int, 1, 1_000_000),
        default=10,
        metavar="N",
        help="use every N-th frame of a video (%(default)s)",
    )
    add(
        "--people-are-folders",
        action="store_true",
        help="each folder holds the pictures of one person, whose name it has",
    )
    add_detection(parser)
    add_filters(parser, min_side=64, max_turn=60, blur=20)
    add_output(parser, duplicates="drop")
    add_splits(parser)
    add_labels(parser)
    add_pairs(parser)
    add_shards(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prepare a dataset; returns the exit code."""
    if args.out.resolve().is_relative_to(args.images.resolve()):
        raise UsageError(f"--out {args.out} is inside {args.images}: its crops would be read too")
    rule = split_rule(args.train_ids, args.test_ids, args.people, args.test_fraction, listed_id)
    items, skips = photo_items(args.images)
    if args.people_are_folders:
        folders = {
            item.group: Path(item.source).parent.name for item in items if "/" in item.source
        }
        rule = rule._replace(people=folders | dict(rule.people))
    search = search_by(args, every_face=args.faces == "all")
    labels, rule = with_metadata(args, Labels(), rule, listed_id)
    plan = Plan(
        search,
        min_side=args.min_side,
        max_turn=args.max_turn,
        blur=args.blur,
        every=args.every,
    )
    about = about_mediapipe(search, args.origin or args.images.name, args.licence)
    return prepare(args, items, skips, plan, rule, about, labels, seconds_of(args, items))


def listed_id(line: str) -> str:
    """Convert a line of a list, the path of a picture or an id, into an id."""
    suffix = Path(line).suffix.lower()
    return photo_id(line) if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES else line


def search_by(args: argparse.Namespace, every_face: bool) -> Search:
    """Make the search from the flags of ``add_detection``."""
    return mediapipe_search(
        args.size,
        every_face=every_face,
        tiles=args.tiles,
        confidence=args.min_confidence,
        model=args.model,
        readout=args.readout,
    )


def about_mediapipe(search: Search, origin: str, licence: str) -> About:
    """Describe the annotator and its accuracy for the dataset card."""
    name = f"MediaPipe {search.version} FaceLandmarker"
    if search.readout is None:
        return About(f"{name}, blendshapes", origin, licence, mediapipe_quality())
    about = Readout.load(search.readout).about
    quality = {
        code: f"r {r:.2f}, CCC {about['ccc'][code]:.2f} with OpenFace"
        for code, r in about["r"].items()
    }
    fitted = f"{name}, readout fitted to OpenFace on {about['faces']} faces"
    return About(fitted, origin, licence, quality)
