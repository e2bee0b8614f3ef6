"""Fit the directions in which the style of generated people changes their action units.

    ganimation prepare fit-directions --people 400 --out directions.npz

Draws people, each several times with the expression rows moved towards another person's
style; reads action units, the face's descriptor and the head's pose; and regresses the
changes of these on the changes of style. ``people --directions directions.npz`` uses the
result. Rerun the same command to resume.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.alignment import crop, transform_of
from ganimation_jax.faces.landmarker import DetectedFace
from ganimation_jax.prepare.finders import landmarker_of_process, mediapipe_search
from ganimation_jax.prepare.options import add_common, add_model, number
from ganimation_jax.prepare.parallel import parallel_map, progress
from ganimation_jax.prepare.people_drawing import describer, halved, read
from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.prepare.readout import Readout, ridge
from ganimation_jax.synthetic.directions import Directions, solve
from ganimation_jax.synthetic.face_generator import STYLE, FaceGenerator

TOWARDS = (0.3, 0.8)  # how far the rows move towards another person's style
COMPONENTS = 24  # of the face's descriptor, the leading ones
RIDGES = tuple(10.0 ** np.arange(-4, 2))
FOLDS = 5
VIEW = 192  # side of the crops that are looked at


class Seen(NamedTuple):
    """One person's pictures: the first, and those with a moved style."""

    change: np.ndarray  # v 512, of the style
    aus: np.ndarray  # v 17, NaN where not measured
    descriptor: np.ndarray  # v 128
    pose: np.ndarray  # v 3, degrees


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``fit-directions`` to the subcommands."""
    parser = commands.add_parser(
        "fit-directions",
        help="learn which changes of a generated face change its expression",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="file for the directions, .npz")
    add("--people", type=number(int, 20, 100_000), default=400, metavar="N", help="(%(default)s)")
    add("--variations", type=number(int, 2, 100), default=5, metavar="V", help="(%(default)s)")
    add("--seed", type=number(int, 0, 2**63), default=2**32, metavar="N", help="(%(default)s)")
    add(
        "--readout",
        type=Path,
        metavar="FILE",
        help="file written by fit-readout, to read action units with",
    )
    add_model(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw, fit, print how well, write; returns the exit code."""
    search = mediapipe_search(VIEW, model=args.model, readout=args.readout)
    parts = args.out.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    work = functools.partial(
        look,
        seed=args.seed,
        variations=args.variations,
        parts=parts,
        model=search.model,
        readout=args.readout,
    )
    paths = parallel_map(work, range(args.people), args.workers, chunk=1, apart=True)
    seen = [_load(path) for path in progress(paths, args.people, "people")]
    directions = fit([one for one in seen if len(one.change) > 1])
    pictures = directions.about["pictures"]
    print(f"{pictures} pictures of {directions.about['people']} people, {FOLDS} folds by person")
    for code, r in directions.about["r"].items():
        print(f"  {code}  r {r:.2f}")
    directions.save(args.out)
    print(f"written to {args.out}")
    return 0


def look(
    person: int,
    *,
    seed: int,
    variations: int,
    parts: Path,
    model: Path | None,
    readout: Path | None,
) -> Path:
    """Draw and measure one person; kept in ``parts``, so that it is done once."""
    path = parts / f"{seed}-{variations}-{person:05d}.npz"
    if path.exists():
        return path
    generator, describe = _tools()
    landmarker = landmarker_of_process(model)
    rng = np.random.default_rng([seed, person, 1])
    style = generator.person(seed, person)
    rows: list[tuple] = []
    for variation in range(variations + 1):
        other = generator.person(seed, int(rng.integers(2**32, 2**33)))
        change = rng.uniform(*TOWARDS) * (other - style) if variation else np.zeros(STYLE)
        image = halved(generator.draw(style, change))
        if not (faces := landmarker.faces(image)):
            continue
        face = faces[0]
        aus = read(face) if readout is None else _read_by(readout, face)
        shown = crop(image, transform_of(face, VIEW), VIEW)
        rows.append((change, aus, describe(shown), np.array(face.pose)))
    columns = [np.array(column, np.float32) for column in zip(*rows, strict=True)]
    seen = Seen(*(columns or [np.zeros((0, 1), np.float32)] * len(Seen._fields)))
    with path.with_suffix(".partial").open("wb") as file:
        np.savez(
            file,
            change=seen.change,
            aus=seen.aus,
            descriptor=seen.descriptor,
            pose=seen.pose,
        )
    path.with_suffix(".partial").rename(path)
    return path


def fit(seen: Sequence[Seen]) -> Directions:
    """Directions from what was measured of some people.

    Raises:
      UsageError: there are fewer people than folds.
    """
    if len(seen) < FOLDS:
        raise UsageError(f"{len(seen)} people cannot be divided into {FOLDS} folds")
    served = ~np.isnan(np.concatenate([one.aus for one in seen])).any(axis=0)
    codes = tuple(np.array(ACTION_UNITS)[served].tolist())
    change = _within([one.change for one in seen])
    aus = _within([one.aus[:, served] for one in seen])
    descriptor = _within([one.descriptor for one in seen])
    pose = _within([one.pose for one in seen])
    person = np.repeat(np.arange(len(seen)), [len(one.change) for one in seen])

    _, _, axes = np.linalg.svd(descriptor, full_matrices=False)
    identity = np.concatenate([descriptor @ axes[:COMPONENTS].T, pose], axis=1)
    identity /= identity.std(axis=0)
    effect, r = _regress(change, aus, person)
    drift, _ = _regress(change, identity, person)
    steps = solve(change.T @ change / len(change), effect, drift)
    about = {
        "people": len(seen),
        "pictures": len(change),
        "r": dict(zip(codes, r.round(3).tolist(), strict=True)),
    }
    return Directions(codes, effect.astype(np.float32), steps.astype(np.float32), about)


def _regress(x: np.ndarray, y: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``512 n``, and the correlation for people whom the fit has not seen.

    The penalty is the one of ``RIDGES`` that errs least on them.
    """
    fold = np.random.default_rng(0).permutation(person.max() + 1)[person] % FOLDS
    predicted = np.empty((len(RIDGES), *y.shape))
    for held_out in range(FOLDS):
        used = fold != held_out
        for place, one in enumerate(ridge(x[used], y[used], RIDGES)):
            predicted[place, ~used] = x[~used] @ one.weights + one.bias
    scale = y.std(axis=0)
    best = int(np.argmin(np.square((predicted - y) / scale).mean(axis=(1, 2))))
    a, b = predicted[best] - predicted[best].mean(axis=0), y - y.mean(axis=0)
    r = (a * b).mean(axis=0) / np.maximum(a.std(axis=0) * b.std(axis=0), 1e-12)
    return ridge(x, y, RIDGES[best : best + 1])[0].weights, r


def _within(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Each person's rows without their mean, all in one array."""
    return np.concatenate([part - part.mean(axis=0) for part in parts]).astype(np.float64)


def _load(path: Path) -> Seen:
    with np.load(path) as file:
        return Seen(*(file[name] for name in Seen._fields))


def _read_by(readout: Path, face: DetectedFace) -> np.ndarray:
    values = Readout.load(readout).read(face)
    return np.array([values.get(code, np.nan) for code in ACTION_UNITS], np.float32)


@functools.cache
def _tools() -> tuple[FaceGenerator, Callable[[np.ndarray], np.ndarray]]:
    return FaceGenerator(), describer()
