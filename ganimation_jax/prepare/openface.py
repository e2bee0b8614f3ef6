"""Make a dataset from pictures that OpenFace has annotated.

    ganimation prepare openface --images CROPS --csv CSVS --out DATA
    ganimation prepare openface --images PHOTOS --csv CSVS --out DATA --align

Without --align the pictures are square face crops and used as they are; with it they
are what OpenFace saw, and its landmarks say where to cut. A CSV file belongs to

    <name>.jpg                      the picture of its name, a row a face
    <name>/                         the pictures of a folder, sorted; frame N is the N-th
    <name>_aligned/                 crops that OpenFace wrote: frame_det_00_000001.bmp, ...
    <name>.mp4                      a video, a row a frame (with --align)

or names the picture of each row in a column 'file' or 'filename'. What cannot be used
is listed in DATA/skipped.csv. Stopped at any point, the same command goes on.
"""

import argparse
from collections.abc import Mapping, Set
from pathlib import Path

from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.media.video import VIDEO_SUFFIXES
from ganimation_jax.prepare.annotations import Rows, Values
from ganimation_jax.prepare.aus_pickle import read_aus_pickle
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.finders import Search, mediapipe_search
from ganimation_jax.prepare.options import (
    add_common,
    add_filters,
    add_output,
    add_shards,
    add_splits,
    probability,
)
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.sequences import match_sequences
from ganimation_jax.prepare.sources import OURS, Item, by_stem, of_kind, walk
from ganimation_jax.prepare.splits import face_id, split_rule
from ganimation_jax.prepare.stages import prepare
from ganimation_jax.prepare.work import Plan


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``openface`` to the subcommands."""
    parser = commands.add_parser(
        "openface",
        help="from pictures and OpenFace's CSV files (or the published code's pickle)",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="pictures, or videos")
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument("--csv", type=Path, metavar="DIR", help="OpenFace's CSV files, or one")
    labels.add_argument(
        "--pkl",
        type=Path,
        metavar="FILE",
        help="aus_openface.pkl; train_ids.csv and test_ids.csv beside it are used",
    )
    add(
        "--align",
        nargs="?",
        const="openface",
        choices=("openface", "mediapipe"),
        help="cut faces out, by the landmarks in the CSV files or by MediaPipe's (openface)",
    )
    add(
        "--faces",
        choices=("largest", "all"),
        default="largest",
        help="of a picture with several, with --align (%(default)s)",
    )
    add(
        "--min-confidence",
        type=probability,
        default=0.7,
        metavar="X",
        help="of OpenFace in its landmarks (%(default)s)",
    )
    add_filters(parser, min_side=0, max_turn=180, blur=0)
    add_output(parser, duplicates="keep")
    add_splits(parser)
    add_shards(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prepare a dataset; returns the exit code."""
    for folder in filter(None, (args.images, args.csv)):
        if args.out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--out {args.out} is inside {folder}: what it gets would be read too")
    if args.pkl and args.align == "openface":
        raise UsageError("--align needs --csv: a pickle has no landmarks")
    if args.align == "mediapipe" and args.faces == "all":
        raise UsageError("--faces all: of several faces that MediaPipe finds, none is annotated")
    if args.pkl and not (args.train_ids or args.test_ids):
        args.train_ids, args.test_ids = lists_beside(args.pkl)
    rule = split_rule(args.train_ids, args.test_ids, args.people, args.test_fraction)
    if args.pkl:
        items, skips = pickle_items(args.images, args.pkl)
    else:
        items, skips = picture_items(args.images, args.csv, videos=args.align == "openface")
    search = search_by(args.align, args.size, every_face=args.faces == "all")
    plan = Plan(search, args.min_confidence, args.min_side, args.max_turn, args.blur)
    about = About("OpenFace", args.origin or str(args.images.name), args.licence)
    return prepare(args, items, skips, plan, rule, about)


def search_by(align: str | None, size: int, every_face: bool) -> Search:
    """The search that ``--align`` asks for."""
    if align == "mediapipe":
        # The annotation is of one face: which of several, nothing would say.
        return mediapipe_search(size, model=None)
    return Search(align or "square", size, every_face)


def picture_items(images: Path, csv: Path, videos: bool = False) -> tuple[list[Item], list[Skip]]:
    """Every picture or video with its rows of a CSV file.

    Raises:
      UsageError: a folder is missing, or has no pictures or no CSV files.
    """
    files, skips = walk(images)
    suffixes = IMAGE_SUFFIXES | (VIDEO_SUFFIXES if videos else set())
    pictures, others = of_kind(files, suffixes)
    if not pictures:
        raise UsageError(f"no pictures in {images} ({' '.join(sorted(suffixes))})")
    skips += others
    if csv.is_file():
        csvs = [csv]
    else:
        found, problems = walk(csv)
        skips += [skip for skip in problems if skip not in skips]
        csvs = [path for path in found if path.suffix.lower() == ".csv"]
    if not csvs:
        raise UsageError(f"no CSV files in {csv}")
    items, used, problems = match_sequences(images, pictures, csvs)
    skips += problems
    single, twins = by_stem(path for path in pictures if path not in used)
    labels, double = by_stem(path for path in csvs if path not in used)
    skips += twins + double
    twin_stems = {Path(skip.file).stem for skip in twins + double}
    items += pair(images, single, {stem: Rows(path) for stem, path in labels.items()})
    skips += unmatched(single, {stem: str(path) for stem, path in labels.items()}, twin_stems)
    return items, skips


def pickle_items(
    images: Path, pickle: Path, ignored: Set[str] = OURS
) -> tuple[list[Item], list[Skip]]:
    """Every picture with its values in the published code's pickle.

    Files with an ``ignored`` suffix may lie among the pictures.

    Raises:
      UsageError: there are no pictures, or the pickle cannot be read.
    """
    files, skips = walk(images)
    chosen, others = of_kind(files, IMAGE_SUFFIXES, ignored)
    if not chosen:
        raise UsageError(f"no pictures in {images} ({' '.join(sorted(IMAGE_SUFFIXES))})")
    pictures, twins = by_stem(chosen)
    labels: dict[str, Values] = {}
    for name, aus in read_aus_pickle(pickle).items():
        origin, key = f"{pickle}:{name}", face_id(name)
        if key in labels:
            skips.append(Skip(origin, "two files of one id", labels[key].origin))
        elif aus.ndim != 1 or aus.dtype.kind not in "iuf":
            skips.append(Skip(origin, "not 17 action units", f"{aus.shape} {aus.dtype}"))
            labels[key] = Values(origin, ())
        else:
            labels[key] = Values(origin, tuple(aus.tolist()))
    origins = {key: value.origin for key, value in labels.items()}
    skips += others + twins + unmatched(pictures, origins, {Path(skip.file).stem for skip in twins})
    return pair(images, pictures, labels), skips


def lists_beside(pickle: Path) -> tuple[Path | None, Path | None]:
    """``train_ids.csv`` and ``test_ids.csv`` of the published code's folder, if there."""
    train, test = pickle.with_name("train_ids.csv"), pickle.with_name("test_ids.csv")
    return train if train.is_file() else None, test if test.is_file() else None


def pair(
    images: Path, pictures: Mapping[str, Path], labels: Mapping[str, Rows | Values]
) -> list[Item]:
    """An item for each picture with a label of its name."""
    return [
        Item(stem, stem, path, path.relative_to(images).as_posix(), labels[stem])
        for stem, path in pictures.items()
        if stem in labels
    ]


def unmatched(
    pictures: Mapping[str, Path], labels: Mapping[str, str], twins: set[str]
) -> list[Skip]:
    """Lines for pictures and labels that have no counterpart; ``twins`` have been told of."""
    return [
        *(
            Skip(str(pictures[stem]), "picture without annotation", "")
            for stem in pictures.keys() - labels.keys() - twins
        ),
        *(
            Skip(labels[stem], "annotation without picture", "")
            for stem in labels.keys() - pictures.keys() - twins
        ),
    ]
