"""Pairs from videos: frames of one second show one person in one place, in one light."""

import argparse
from collections.abc import Callable, Iterable

from ganimation_jax.data.records import Face
from ganimation_jax.media.video import probe
from ganimation_jax.prepare.problems import UsageError
from ganimation_jax.prepare.sources import Item


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add the flag that makes frames of videos pairs."""
    parser.add_argument(
        "--pairs",
        action="store_true",
        help="frames within the same second of a video are pairs, to train with data.paired: for"
        " videos of one person without cuts",
    )


def seconds_of(args: argparse.Namespace, items: Iterable[Item]) -> Callable[[Face], str] | None:
    """Name the second of a video in which a face was seen; None without ``args.pairs``.

    The function returns an empty text for faces of pictures, which have no partner.

    Raises:
      UsageError: there is no video, or several faces of a frame are used, because nothing says
        which faces of two frames are of the same person.
    """
    if not args.pairs:
        return None
    if args.faces == "all":
        raise UsageError(
            "--pairs needs --faces largest: several faces of a frame are not told apart"
        )
    rates = {item.source: probe(item.path).rate for item in items if item.span is not None}
    if not rates:
        raise UsageError("--pairs needs videos: pictures alone form no pairs")

    def second_of(face: Face) -> str:
        video, _, frame = face.source.rpartition("#")
        return f"{video}#{int(int(frame) / rates[video])}" if video in rates else ""

    return second_of
