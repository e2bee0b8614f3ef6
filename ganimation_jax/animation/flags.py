"""Flags that several commands have."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ganimation_jax.animation.inputs import MODEL_HELP
from ganimation_jax.runs.pretrained import DEFAULT


def add_model(group: argparse._ArgumentGroup) -> None:
    """Which model, and what finds faces for it."""
    group.add_argument("--model", default=DEFAULT, metavar="MODEL", help=MODEL_HELP)
    group.add_argument(
        "--landmarker",
        type=Path,
        metavar="FILE",
        help="MediaPipe's face_landmarker.task (default: searched for)",
    )


def faces_flag(text: str) -> str | int:
    """Which faces."""
    if text in ("largest", "all"):
        return text
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not largest, all or a number")


def number_flag(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number from ``lowest`` to ``highest``."""

    def number(text: str) -> int:
        if not (text.isdecimal() and lowest <= int(text) <= highest):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {lowest} to {highest}"
            )
        return int(text)

    return number


def rate_flag(text: str) -> float:
    """Frames per second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 240:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0.1 to 240")
    return value
