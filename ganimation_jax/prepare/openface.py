"""Make a dataset from face crops that OpenFace has annotated.

Stage one writes ``OUT/crops/<id>.jpg`` and ``OUT/table.csv``, for a person to look
at; stage two packs them (``ganimation_jax.data.dataset``). What cannot be used is
listed in ``OUT/skipped.csv``. Stopped at any point, the same command goes on.
"""

import argparse
import functools
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import Face, pack
from ganimation_jax.prepare.annotations import Annotation, from_array, read_openface_csv
from ganimation_jax.prepare.parallel import parallel_map, progress
from ganimation_jax.prepare.pickles import read_aus_pickle
from ganimation_jax.prepare.problems import Skip, UnusableFile, UsageError, unless_unusable
from ganimation_jax.prepare.report import Row, summary, write_skipped, write_table
from ganimation_jax.prepare.resize import resize_crop
from ganimation_jax.prepare.splits import IMAGE_SUFFIXES, SplitRule, face_id, split_rule


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``openface`` to the subcommands."""
    parser = commands.add_parser(
        "openface",
        help="from face crops and OpenFace's CSV files (or the published code's pickle)",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="square face crops")
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument("--csv", type=Path, metavar="DIR", help="<id>.csv for <id>.jpg")
    labels.add_argument(
        "--pkl",
        type=Path,
        metavar="FILE",
        help="aus_openface.pkl; train_ids.csv and test_ids.csv beside it are used",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="where the dataset goes")
    add("--size", type=_number(int, 1, 4096), default=128, help="side in pixels (%(default)s)")
    add(
        "--min-confidence",
        type=_number(float, 0, 1),
        default=0.7,
        metavar="X",
        help="of OpenFace in its landmarks (%(default)s)",
    )
    add("--train-ids", type=Path, metavar="FILE", help="one id or file name a line")
    add("--test-ids", type=Path, metavar="FILE", help="likewise; all others are for training")
    add("--people", type=Path, metavar="FILE", help="CSV with columns id, person")
    add(
        "--test-fraction",
        type=_number(float, 0, 1),
        default=0.1,
        metavar="X",
        help="held out when no list says which, by person if known (%(default)s)",
    )
    add(
        "--workers",
        type=_number(int, 1, 1024),
        default=os.cpu_count(),
        metavar="N",
        help="processes (%(default)s)",
    )
    parser.set_defaults(run=run)


class Label(NamedTuple):
    """What was found for one id: where, and the measurement if it is usable."""

    file: str
    annotation: Annotation | None


def run(args: argparse.Namespace) -> int:
    """Prepare a dataset; returns the exit code."""
    for folder in filter(None, (args.images, args.csv)):
        if args.out.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"--out {args.out} is inside {folder}: what it gets would be read too")
    if args.pkl and not (args.train_ids or args.test_ids):
        args.train_ids, args.test_ids = _lists_beside(args.pkl)
    rule = split_rule(args.train_ids, args.test_ids, args.people, args.test_fraction)
    pictures, skips = _find(args.images, IMAGE_SUFFIXES, "pictures")
    crops = _writable(args.out / "crops")
    if args.pkl:
        labels, unusable = _labels_from_pickle(args.pkl)
    else:
        labels, unusable = _labels_from_csvs(args.csv, args.min_confidence, args.workers)
    skips += unusable + _unmatched(pictures, labels, rule)
    annotations, action_units, unusable = _choose(pictures, labels, rule)
    skips += unusable

    resized = parallel_map(
        functools.partial(unless_unusable, resize_crop, crops=crops, size=args.size),
        [pictures[face] for face in annotations],
        args.workers,
    )
    rows = []
    scales = progress(resized, len(annotations), "crops")
    for (face, annotation), scale in zip(annotations.items(), scales, strict=True):
        if isinstance(scale, Skip):
            skips.append(scale)
            continue
        packable = Face(
            id=face,
            split=rule.split(face),
            person=rule.people.get(face, ""),
            source=str(pictures[face].relative_to(args.images)),
            aus=tuple(annotation.aus[code] for code in action_units),
            transform=((scale, 0.0, 0.0), (0.0, scale, 0.0)),
            jpeg=crops / f"{face}.jpg",
        )
        rows.append(Row(packable, annotation.confidence))
    return _finish(args.out, rows, skips, action_units, args.size)


def _finish(
    out: Path, rows: list[Row], skips: list[Skip], action_units: tuple[str, ...], size: int
) -> int:
    """Write the table and the list of skipped files, pack, and say what came out."""
    faces = [row.face for row in rows]
    write_table(out / "table.csv", rows, action_units)
    write_skipped(out / "skipped.csv", skips)
    print(summary(faces, skips, out / "skipped.csv"))
    if not faces:
        print("error: no usable face, no dataset written", file=sys.stderr)
        return 1
    if absent := [code for code in ACTION_UNITS if code not in action_units]:
        print(f"WARNING: {len(absent)} action units are in too few CSV files: {' '.join(absent)}")
        print(f"         the dataset has the {len(action_units)} others")
    packed = pack(
        out,
        faces,
        action_units=action_units,
        image_size=size,
        annotator="OpenFace",
        progress=lambda part: progress(part, len(part), f"packing {part[0].split}"),
    )
    print(f"dataset ready in {out}" if packed else f"already complete: nothing to do in {out}")
    return 0


def _find(folder: Path, suffixes: Set[str], what: str) -> tuple[dict[str, Path], list[Skip]]:
    """All files with these suffixes, at any depth, by id; hidden files are not looked at."""
    if not folder.is_dir():
        raise UsageError(f"no directory {folder}")
    by_id: dict[str, list[Path]] = {}
    skips = []
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() in suffixes:
            by_id.setdefault(path.stem, []).append(path)
        elif suffixes is IMAGE_SUFFIXES and path.suffix.lower() != ".csv":
            skips.append(Skip(str(path), "not a picture", f"type {path.suffix or 'unknown'}"))
    if not by_id:
        raise UsageError(f"no {what} in {folder} ({' '.join(sorted(suffixes))})")
    # Which of two files of one id is meant, nobody can tell: neither is used.
    for paths in by_id.values():
        if len(paths) > 1:
            twins = " and ".join(str(path) for path in paths)
            skips += [Skip(str(path), "two files of one id", twins) for path in paths]
    return {face: paths[0] for face, paths in by_id.items() if len(paths) == 1}, skips


def _labels_from_csvs(
    folder: Path, min_confidence: float, workers: int
) -> tuple[dict[str, Label], list[Skip]]:
    paths, skips = _find(folder, {".csv"}, "CSV files")
    read = functools.partial(unless_unusable, read_openface_csv, min_confidence=min_confidence)
    results = progress(parallel_map(read, list(paths.values()), workers), len(paths), "annotations")
    labels = {}
    for (face, path), result in zip(paths.items(), results, strict=True):
        if isinstance(result, Skip):
            skips.append(result)
        labels[face] = Label(str(path), None if isinstance(result, Skip) else result)
    return labels, skips


def _labels_from_pickle(path: Path) -> tuple[dict[str, Label], list[Skip]]:
    labels: dict[str, Label] = {}
    skips = []
    for name, aus in read_aus_pickle(path).items():
        file = f"{path}:{name}"
        try:
            annotation = from_array(aus)
        except UnusableFile as error:
            skips.append(Skip(file, error.reason, error.detail))
            annotation = None
        if face_id(name) in labels:
            skips.append(Skip(file, "two files of one id", labels[face_id(name)].file))
            continue
        labels[face_id(name)] = Label(file, annotation)
    return labels, skips


def _lists_beside(pickle: Path) -> tuple[Path | None, Path | None]:
    """``train_ids.csv`` and ``test_ids.csv`` of the published code's folder, if there."""
    train, test = pickle.with_name("train_ids.csv"), pickle.with_name("test_ids.csv")
    return train if train.is_file() else None, test if test.is_file() else None


def _unmatched(
    pictures: Mapping[str, Path], labels: Mapping[str, Label], rule: SplitRule
) -> list[Skip]:
    listed = (rule.train_ids or set()) | (rule.test_ids or set())
    return [
        *(
            Skip(str(pictures[face]), "picture without annotation", "")
            for face in pictures.keys() - labels.keys()
        ),
        *(
            Skip(labels[face].file, "annotation without picture", "")
            for face in labels.keys() - pictures.keys()
        ),
        *(Skip(face, "listed id without picture", "") for face in listed - pictures.keys()),
    ]


def _choose(
    pictures: Mapping[str, Path], labels: Mapping[str, Label], rule: SplitRule
) -> tuple[dict[str, Annotation], tuple[str, ...], list[Skip]]:
    """The annotations to use, sorted by id, and the action units that they all have.

    These are the action units of most files: all 17, or what an older OpenFace
    measured. Not those of the first file, for one damaged CSV must not decide.
    """
    found = {
        face: label.annotation
        for face, label in sorted(labels.items())
        if label.annotation is not None and face in pictures
    }
    counts = Counter(tuple(annotation.aus) for annotation in found.values())
    wanted = max(counts, key=lambda codes: (counts[codes], len(codes), codes), default=())
    chosen, skips = {}, []
    for face, annotation in found.items():
        if missing := [f"{code}_r" for code in wanted if code not in annotation.aus]:
            detail = "no column " + " ".join(missing)
            skips.append(Skip(labels[face].file, "CSV lacks action units", detail))
        elif not rule.covers(face):
            skips.append(Skip(str(pictures[face]), "in neither list of ids", ""))
        else:
            chosen[face] = annotation
    return chosen, wanted, skips


def _writable(folder: Path) -> Path:
    """Make the folder, without what a killed run left half written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.partial"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write to {folder}: no permission")
    return folder


def _number(kind: type, low: float, high: float) -> Callable[[str], float]:
    """A checked number for argparse."""

    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    convert.__name__ = kind.__name__  # argparse names it when the text is no number
    return convert
