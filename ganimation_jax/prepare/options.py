"""Flags shared by several subcommands."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path


def add_output(parser: argparse.ArgumentParser, duplicates: str) -> None:
    """Add flags for the output folder, the crop size and the dataset card."""
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where the dataset goes")
    add("--size", type=number(int, 1, 4096), default=128, help="side in pixels (%(default)s)")
    add(
        "--licence",
        default="not stated",
        metavar="TEXT",
        help="licence of the pictures, for the card",
    )
    add("--origin", default="", metavar="TEXT", help="origin of the pictures, for the card")
    add(
        "--duplicates",
        choices=("keep", "drop"),
        default=duplicates,
        help="what to do with crops that look the same (%(default)s)",
    )


def add_filters(
    parser: argparse.ArgumentParser, *, min_side: float, max_turn: float, blur: float
) -> None:
    """Add flags for filtering faces. The defaults differ between subcommands."""
    add = parser.add_argument
    add(
        "--min-side",
        type=number(float, 0, 1e6),
        default=min_side,
        metavar="PX",
        help="least side of a crop, in pixels of the picture (%(default)s)",
    )
    add(
        "--max-turn",
        type=number(float, 0, 180),
        default=max_turn,
        metavar="DEG",
        help="how far a head may look away, sideways or up (%(default)s)",
    )
    add(
        "--blur",
        type=number(float, 0, 1e9),
        default=blur,
        metavar="X",
        help="least sharpness, the variance of the Laplacian of the crop (%(default)s)",
    )


def add_splits(parser: argparse.ArgumentParser) -> None:
    """Add flags for the training and test splits."""
    add = parser.add_argument
    add("--train-ids", type=Path, metavar="FILE", help="one id or file name a line")
    add(
        "--test-ids",
        type=Path,
        metavar="FILE",
        help="the same for the test split; all others are for training",
    )
    add("--people", type=Path, metavar="FILE", help="CSV with columns id, person")
    add(
        "--test-fraction",
        type=probability,
        default=0.1,
        metavar="X",
        help="fraction to hold out if there are no lists, by person if known (%(default)s)",
    )


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add flags for labels from a CSV file."""
    add = parser.add_argument
    add(
        "--metadata",
        type=Path,
        metavar="FILE",
        help="CSV: the column id or file names a picture, person its person, and every other"
        " column is a label: 0 and 1, or words",
    )
    add("--label-columns", metavar="A,B", help="the columns of --metadata to use (all)")


def add_detection(parser: argparse.ArgumentParser) -> None:
    """Add flags for finding faces with MediaPipe."""
    add = parser.add_argument
    add(
        "--tiles",
        type=number(int, 1, 10),
        nargs="+",
        default=[1],
        metavar="N",
        help="search also parts of the picture, N along each side; 1 2 3 5 finds small faces (1)",
    )
    add(
        "--readout",
        type=Path,
        metavar="FILE",
        help="file written by fit-readout, to read action units with instead of the built-in way",
    )
    add(
        "--min-confidence",
        type=probability,
        default=0.5,
        metavar="X",
        help="least confidence of MediaPipe in a face (%(default)s)",
    )
    add_model(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the path of MediaPipe's model."""
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="face_landmarker.task, if it is not found automatically",
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add flags for running the work. They do not change the result."""
    add = parser.add_argument
    add(
        "--workers",
        type=number(int, 1, 1024),
        default=os.cpu_count(),
        metavar="N",
        help="processes (%(default)s)",
    )


def add_shards(parser: argparse.ArgumentParser) -> None:
    """Add flags for dividing the work into shards."""
    add = parser.add_argument
    add(
        "--shard-size",
        type=number(int, 1, 1_000_000),
        default=1000,
        metavar="N",
        help="pictures that a killed run may have to repeat (%(default)s)",
    )
    add(
        "--shard",
        type=share,
        metavar="I/N",
        help="do only every N-th shard, from the I-th, counted from 0, and stop: for many"
        " machines on one folder; the same command without --shard merges all",
    )


def number(kind: type, low: float, high: float) -> Callable[[str], float]:
    """Make an argparse type for a number within bounds."""

    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    convert.__name__ = kind.__name__  # argparse shows this name if the text is not a number
    return convert


probability = number(float, 0, 1)


def share(text: str) -> tuple[int, int]:
    """Parse ``2/8`` as (2, 8)."""
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 0 to N - 1")
    return int(first), int(count)
