"""Fits a readout of action units to faces measured by both MediaPipe and OpenFace.

    ganimation prepare fit-readout --images DIR --csv DIR --out readout.npz

Each picture needs an OpenFace CSV file of the same name. MediaPipe measures the picture, and
ridge regression predicts OpenFace's intensities from these measurements. The agreement is
measured on held-out people. ``photos --readout readout.npz`` uses the result. OpenFace's labels
are for academic use, and so is a readout fitted to them.
"""

import argparse
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM
from ganimation_jax.faces import alignment
from ganimation_jax.faces.blendshapes import read_aus
from ganimation_jax.faces.openface_rows import Rows, measure, read_rows
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import read_picture
from ganimation_jax.prepare.finders import landmarker_of_process, mediapipe_search
from ganimation_jax.prepare.openface import picture_items
from ganimation_jax.prepare.options import add_common, add_model, number, probability
from ganimation_jax.prepare.parallel import Rescue, parallel_map, progress
from ganimation_jax.prepare.problems import Skip, UsageError, skip_of
from ganimation_jax.prepare.readout import Agreement, Readout, agreement, cross_validate, features
from ganimation_jax.prepare.sources import Item
from ganimation_jax.prepare.splits import read_people
from ganimation_jax.prepare.work import LARGEST

VIEW = 128  # side of the crops, which are not used here


class Example(NamedTuple):
    """One face, measured by MediaPipe and by OpenFace."""

    group: str
    features: np.ndarray  # f
    plain: np.ndarray  # 17 in [0, 5]: reading without a fit; NaN for units it does not cover
    truth: dict[str, float]  # [0, 5]


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``fit-readout`` to the subcommands."""
    parser = commands.add_parser(
        "fit-readout",
        help="from pictures with OpenFace's CSV files, for photos --readout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, required=True, metavar="DIR", help="pictures, one face each")
    add("--csv", type=Path, required=True, metavar="DIR", help="<name>.csv for <name>.jpg")
    add("--out", type=Path, required=True, metavar="FILE", help="the readout, .npz")
    add("--people", type=Path, metavar="FILE", help="CSV with columns id, person")
    add("--folds", type=number(int, 2, 100), default=5, metavar="N", help="(%(default)s)")
    add("--min-confidence", type=probability, default=0.7, metavar="X", help="(%(default)s)")
    add_model(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit a readout, print its agreement and write it; return the exit code."""
    examples, codes = _examples(args)
    people = read_people(args.people) if args.people else {}
    names = [people.get(one.group, one.group) for one in examples]
    x = np.stack([one.features for one in examples])
    y = np.array([[one.truth[code] for code in codes] for one in examples])
    fit, penalty, reached = cross_validate(x, y, names, args.folds)
    count = len(set(names))
    print(f"{len(examples)} faces of {count} people, {args.folds} folds, ridge {penalty:g}")
    print(_comparison(codes, reached, examples, y))
    about = {
        "r": dict(zip(codes, reached.r.round(3).tolist(), strict=True)),
        "ccc": dict(zip(codes, reached.ccc.round(3).tolist(), strict=True)),
        "faces": len(examples),
        "people": count,
    }
    Readout(codes, fit, about).save(args.out)
    print(f"written to {args.out}")
    return 0


def _examples(args: argparse.Namespace) -> tuple[list[Example], tuple[str, ...]]:
    """Return all faces measured by both, and the action units that OpenFace gave for them."""
    items, skips = picture_items(args.images, args.csv)
    model = mediapipe_search(VIEW, model=args.model).model
    work = functools.partial(measure_both, model=model, min_confidence=args.min_confidence)
    found: list[Example] = []
    rescue = Rescue[Item, Example | Skip](lambda item: str(item.path), _lost)
    results = parallel_map(work, items, args.workers, 4, apart=True, rescue=rescue)
    for result in progress(results, len(items), "faces"):
        (skips if isinstance(result, Skip) else found).append(result)  # type: ignore[arg-type]
    counts = Counter(tuple(one.truth) for one in found)
    codes = max(counts, key=lambda codes: (counts[codes], len(codes), codes), default=())
    examples = [one for one in found if all(code in one.truth for code in codes)]
    reasons = Counter(skip.reason for skip in skips)
    reasons["CSV lacks action units"] += len(found) - len(examples)
    for reason, count in (+reasons).most_common():
        print(f"{count:8d}  skipped: {reason}")
    if not examples:
        raise UsageError("no face has been measured both ways")
    return examples, codes


def _lost(item: Item) -> Skip:
    return Skip(str(item.path), "kills the process", "")


def _comparison(
    codes: Sequence[str], reached: Agreement, examples: Sequence[Example], truth: np.ndarray
) -> str:
    """Compare the agreement of each action unit with and without the fit."""
    plain = np.stack([one.plain for one in examples])
    plain = plain[:, [ACTION_UNITS.index(code) for code in codes]]
    served = agreement(np.nan_to_num(plain), truth)
    lines = ["          fitted               as it is", "        r   CCC   MAE        r   CCC"]
    for row, code in enumerate(codes):
        line = f"{code}  {reached.r[row]:.2f}  {reached.ccc[row]:.2f}  {reached.mae[row]:.2f}"
        if np.isfinite(plain[:, row]).all():
            line += f"      {served.r[row]:.2f}  {served.ccc[row]:.2f}"
        lines.append(line)
    means = (reached.r.mean(), reached.ccc.mean(), reached.mae.mean())
    return "\n".join([*lines, "mean  {:.2f}  {:.2f}  {:.2f}".format(*means)])


def measure_both(item: Item, model: Path | None, min_confidence: float) -> Example | Skip:
    """Measure the largest face of a picture with MediaPipe and read OpenFace's label."""
    try:
        assert isinstance(item.label, Rows)
        rows = read_rows(item.label)
        if len(rows) > 1:
            raise UnusableFile("more than one face in CSV", f"{len(rows)} rows", item.label.path)
        label = measure(rows[0], item.label.path, min_confidence)
        image = np.asarray(read_picture(item.path, LARGEST).image)
        faces = alignment.align(landmarker_of_process(model), image, VIEW)
        if not faces:
            raise UnusableFile("no face", "")
        face = faces[0].face
    except UnusableFile as error:
        return skip_of(error, str(item.path))
    plain = read_aus(face.blendshapes) * OPENFACE_MAXIMUM
    return Example(item.group, features(face), plain, label.aus)
