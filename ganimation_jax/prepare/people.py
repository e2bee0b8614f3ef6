"""Draw people who do not exist, each with several expressions.

    ganimation prepare people --people 1000 --expressions 8 --out DATA

A face generator (the extra ``people``) draws each person once, then again with other
expressions. The part of the face that moves is put into the first picture, so that
any two pictures of a person differ in the expression alone and form a pair: one is
the true edit of the other. Pictures that show another person, a distorted face or a
visible seam are skipped and listed in DATA/skipped.csv.

MediaPipe (the extra ``annotate``) reads the action units, through a readout fitted by
``fit-readout`` if --readout names one. With --openface, OpenFace reads them. The
pictures depend on --seed alone, not on the number of processes. Rerun the same command
to resume, or with a larger --people to add people. Reading in another way draws nothing
again.

For research only: the generator's weights descend from StyleGAN2 (non-commercial) and
the pictures it was trained on, FFHQ (CC BY-NC-SA).
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from ganimation_jax.data.dataset import pack
from ganimation_jax.data.table import FaceTable
from ganimation_jax.faces.openface_program import checked_program
from ganimation_jax.files.assets import locate
from ganimation_jax.prepare.card import About, write_card
from ganimation_jax.prepare.dataset_report import write_report
from ganimation_jax.prepare.finders import Search, mediapipe_search
from ganimation_jax.prepare.merge import merge, summary
from ganimation_jax.prepare.options import add_common, add_model, number, probability
from ganimation_jax.prepare.parallel import Rescue, parallel_map, progress
from ganimation_jax.prepare.people_drawing import PeoplePlan, draw_person
from ganimation_jax.prepare.people_reading import (
    read_by_openface,
    read_by_readout,
    read_csv,
    read_from_table,
)
from ganimation_jax.prepare.people_sheet import write_sheet
from ganimation_jax.prepare.photos import about_mediapipe
from ganimation_jax.prepare.problems import Skip, UsageError
from ganimation_jax.prepare.shards import complete, read_shards, write_shard
from ganimation_jax.prepare.splits import SplitRule
from ganimation_jax.prepare.stages import alone, make_folders
from ganimation_jax.prepare.work import Plan, Record
from ganimation_jax.synthetic.directions import SHIPPED, Directions
from ganimation_jax.synthetic.face_generator import MAPPING, SYNTHESIS
from ganimation_jax.synthetic.wanted import DECK

ORIGIN = "Generated people"
LICENCE = (
    "research only: drawn by MobileStyleGAN, whose weights descend from StyleGAN2-FFHQ"
    " (non-commercial) and FFHQ (CC BY-NC-SA)"
)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``people`` to the subcommands."""
    parser = commands.add_parser(
        "people",
        help="draw photo-real people, each with several expressions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where the dataset goes")
    many = number(int, 1, 10_000_000)
    add("--people", type=many, default=1000, metavar="N", help="number of people (%(default)s)")
    add(
        "--expressions",
        type=number(int, 1, len(DECK)),
        default=8,
        metavar="K",
        help="expressions of each person, besides the first picture (%(default)s)",
    )
    add(
        "--seed",
        type=number(int, 0, 2**63),
        default=0,
        metavar="N",
        help="seed of all random draws",
    )
    add("--size", type=number(int, 32, 512), default=192, help="side in pixels (%(default)s)")
    add(
        "--directions",
        type=Path,
        default=SHIPPED,
        metavar="FILE",
        help="file written by fit-directions, to use instead of the one supplied",
    )
    add(
        "--test-fraction",
        type=probability,
        default=0.1,
        metavar="X",
        help="fraction of the people to hold out (%(default)s)",
    )
    readers = parser.add_mutually_exclusive_group()
    readers.add_argument(
        "--readout",
        type=Path,
        metavar="FILE",
        help="file written by fit-readout, to read action units with",
    )
    readers.add_argument(
        "--openface",
        type=Path,
        metavar="PROGRAM",
        help="OpenFace's FaceLandmarkImg, to read action units with",
    )
    readers.add_argument(
        "--aus",
        type=Path,
        metavar="CSV",
        help="action units of the crops, columns id (the crop's name) and AU01_r ...",
    )
    add_model(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw people and make a dataset of them; returns the exit code."""
    table = read_csv(args.aus) if args.aus else None
    program = openface(args.openface) if args.openface else None
    search = mediapipe_search(args.size, model=args.model, readout=args.readout)
    plan = plan_of(args, search)
    crops, folder = args.out / "crops", args.out / "shards"
    make_folders(crops, folder)
    with alone(args.out, None):
        paths = draw_people(args.people, plan, crops, folder, args.workers)
        if args.readout:
            paths = read_by_readout(paths, args.readout, search.model, args.out, args.workers)
        if program is not None:
            paths = read_by_openface(paths, program, args.out, args.workers)
        if table is not None:
            paths = read_from_table(paths, table, args.out)
        about = about_mediapipe(search, ORIGIN, LICENCE)
        if program is not None or table is not None:
            about = About(args.aus.name if args.aus else "OpenFace", ORIGIN, LICENCE)
        return finish(args, paths, search, about)


def openface(path: Path) -> Path:
    """The program that ``--openface`` names.

    Raises:
      UsageError: it cannot be used.
    """
    try:
        return checked_program(path)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error


def plan_of(args: argparse.Namespace, search: Search) -> PeoplePlan:
    """Plan the drawing, and check that all it needs exists before any process starts.

    Raises:
      UsageError, ImportError, FileNotFoundError: something is missing or unusable.
    """
    from ganimation_jax.features.face_resnet import ASSET

    try:
        for asset in (*MAPPING, *SYNTHESIS, ASSET):
            locate(asset)
        Directions.load(args.directions)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    return PeoplePlan(args.seed, args.expressions, args.size, args.directions, search.model)


def draw_people(
    count: int, plan: PeoplePlan, crops: Path, folder: Path, workers: int
) -> list[Path]:
    """Draw the people that are missing; returns a file of records for each, in order."""
    paths = [folder / f"{plan.digest()}-{person:05d}.jsonl" for person in range(count)]
    todo = [person for person, path in enumerate(paths) if not complete(path, crops)]
    if len(todo) < count:
        print(f"{count - len(todo)} of {count} people were drawn before")
    work = functools.partial(draw_person, plan=plan, crops=crops)
    rescue = Rescue(_name, _not_drawn)
    drawn = parallel_map(work, todo, workers, chunk=1, apart=True, rescue=rescue)
    for person, lines in zip(todo, progress(drawn, len(todo), "people"), strict=True):
        write_shard(paths[person], lines)
    return paths


def _name(person: int) -> str:
    return f"p{person:05d}"


def _not_drawn(person: int) -> list[Record | Skip]:
    return [Skip(_name(person), "kills the process", "a process died twice while drawing")]


def finish(args: argparse.Namespace, paths: Sequence[Path], search: Search, about: About) -> int:
    """Put the people together: table, dataset, card and report; returns the exit code."""
    records = (record for record in read_shards(paths) if isinstance(record, Record))
    people = {record.group: record.group for record in records}
    rule = SplitRule(None, None, people, args.test_fraction)
    merged = merge(args.out, paths, [], rule, drop_duplicates=False)
    print(summary(merged, args.out / "skipped.csv"))
    if not merged.survey.count:
        print("error: no usable face, no dataset written", file=sys.stderr)
        return 1
    table = FaceTable(args.out)
    pack(
        args.out,
        table,
        action_units=table.action_units,
        image_size=args.size,
        annotator=about.annotator,
        group_of=lambda face: face.person,
        progress=lambda faces, count, split: progress(faces, count, f"packing {split}"),
    )
    write_card(args.out / "README.md", merged, about, Plan(search))
    write_report(args.out / "report.html", args.out / "crops", merged, about)
    write_sheet(args.out)
    print(f"dataset ready in {args.out}; look at report.html and pairs.jpg there")
    return 0
