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
is listed in DATA/skipped.csv. Rerun the same command to resume.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path

from ganimation_jax.faces.openface_rows import Rows
from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.media.video import VIDEO_SUFFIXES
from ganimation_jax.prepare.aus_pickle import Values, read_aus_pickle
from ganimation_jax.prepare.card import About
from ganimation_jax.prepare.finders import Search, mediapipe_search
from ganimation_jax.prepare.labels import Labels
from ganimation_jax.prepare.matching import Names, assign, without_ending
from ganimation_jax.prepare.options import (
    add_common,
    add_filters,
    add_labels,
    add_output,
    add_shards,
    add_splits,
    probability,
)
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.sequences import Tree, match_sequences, tree_of
from ganimation_jax.prepare.sources import OURS, Item, of_kind, photo_id, walk
from ganimation_jax.prepare.splits import face_id, split_rule
from ganimation_jax.prepare.stages import prepare, with_metadata
from ganimation_jax.prepare.video_pairs import add_pairs, seconds_of
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
    add_labels(parser)
    add_pairs(parser)
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
    if args.pkl:
        items, skips = pickle_items(args.images, args.pkl)
    else:
        items, skips = picture_items(args.images, args.csv, videos=args.align == "openface")
    lists = (args.train_ids, args.test_ids, args.people)
    rule = split_rule(*lists, args.test_fraction, group_of(items))
    search = search_by(args.align, args.size, every_face=args.faces == "all")
    labels, rule = with_metadata(args, Labels(), rule, group_of(items))
    plan = Plan(search, args.min_confidence, args.min_side, args.max_turn, args.blur)
    about = About("OpenFace", args.origin or str(args.images.name), args.licence)
    return prepare(args, items, skips, plan, rule, about, labels, seconds_of(args, items))


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
        csvs = {csv: csv.stem}
    else:
        found, problems = walk(csv)
        skips += [skip for skip in problems if skip not in skips]
        csvs = {
            path: path.relative_to(csv).as_posix().removesuffix(path.suffix)
            for path in found
            if path.suffix.lower() == ".csv"
        }
    if not csvs:
        raise UsageError(f"no CSV files in {csv}")
    tree = tree_of(images, pictures)
    items, used, problems = match_sequences(tree, csvs)
    skips += problems
    labels = [(name, Rows(path)) for path, name in csvs.items() if path not in used]
    single, problems = _single(tree, [path for path in pictures if path not in used], labels)
    return items + single, skips + problems


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
    labels = read_aus_pickle(pickle).items()
    items, problems = _single(tree_of(images, chosen), chosen, labels)
    return items, [*skips, *others, *problems]


def _single(
    tree: Tree, pictures: Sequence[Path], labels: Iterable[tuple[str, Rows | Values]]
) -> tuple[list[Item], list[Skip]]:
    """An item for each picture with an annotation of its own, and lines for all others."""
    items, skips, taken = [], [], set[Path]()
    stems = {path: tree.source(path).removesuffix(path.suffix) for path in pictures}
    counts = Counter(stems.values())
    twins = {path for path, stem in stems.items() if counts[stem] > 1}
    names = Names((tree.source(path), path) for path in pictures)
    for one in assign(labels, names):
        if one.path is not None:
            name = tree.ids[one.path]
            items.append(Item(name, name, one.path, tree.source(one.path), one.label))
            taken.add(one.path)
            continue
        twins |= set(one.rivals)
        origin = str(one.label.path) if isinstance(one.label, Rows) else one.label.origin
        reason = "two files of one id" if one.rivals else "annotation without picture"
        skips.append(Skip(origin, reason, " and ".join(map(str, one.rivals))))
    for path in pictures:
        if path in twins - taken:
            skips.append(Skip(str(path), "two files of one id", f"several are named {stems[path]}"))
        elif path not in taken:
            skips.append(Skip(str(path), "picture without annotation", ""))
    return items, skips


def lists_beside(pickle: Path) -> tuple[Path | None, Path | None]:
    """``train_ids.csv`` and ``test_ids.csv`` of the published code's folder, if there."""
    train, test = pickle.with_name("train_ids.csv"), pickle.with_name("test_ids.csv")
    return train if train.is_file() else None, test if test.is_file() else None


def group_of(items: Iterable[Item]) -> Callable[[str], str]:
    """What a line of a list means: a picture's path, or its name if no other has that."""
    groups = {item.group for item in items}

    def to_group(line: str) -> str:
        whole = photo_id(without_ending(line.strip().replace("\\", "/").removeprefix("./")))
        return whole if whole in groups else face_id(line)

    return to_group
