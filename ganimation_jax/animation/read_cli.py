"""Read the action units that faces in photos and videos show.

    ganimation read photo.jpg
    ganimation read PHOTOS/ -o aus.csv
    ganimation read video.mp4 --by annotator --format json
    ganimation read video.mp4 -o aus.csv --plot aus.png

Intensities are from 0 to 1. A photo gives a line for each face, a video a line for each face in
each frame.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ganimation_jax.animation import console
from ganimation_jax.animation.flags import add_model, faces_flag
from ganimation_jax.animation.inputs import Input, UsageError, expand
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.files.unusable import UnusableFile

if TYPE_CHECKING:
    from ganimation_jax.animation.animator import Animator
    from ganimation_jax.animation.readings import Line

FORMATS = ("table", "csv", "json")
PLOTS = (".png", ".svg", ".pdf")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      The exit code: 0; 1 if an input could not be read (all others are); 2 if the command is
      wrong.
    """
    args = parser().parse_args(argv)
    try:
        form = form_of(args.out, args.format)
        inputs, skipped = expand(args.inputs)
        if args.out and any(args.out.resolve() == one.source.resolve() for one in inputs):
            raise UsageError(f"{args.out} is what is read: write to another file")
        if args.plot:
            check_plot(args.plot, inputs)
        # Imported only now, because these take seconds.
        from ganimation_jax.animation.readings import FORMS
        from ganimation_jax.animation.starting import started, warm_up

        with console.warnings_as_lines(), contextlib.ExitStack() as stack:
            try:
                animator = stack.enter_context(started(args.model, args.landmarker))
                by = args.by or ("critic" if animator.model.read_aus else "annotator")
                check_by(by, animator)
            except (ValueError, OSError) as error:
                raise UsageError(error) from error
            warm_up(animator)
            lines, failures = read(animator, inputs, by, args.faces)
            text = FORMS[form](lines, animator.action_units)
            if args.plot and lines:
                from ganimation_jax.animation import plotting

                plotting.save(lines, animator.action_units, args.plot)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.out, text)
            print(f"{len(lines)} lines from {len(inputs) - len(failures)} of {len(inputs)} inputs, "
                  f"wrote {args.out}")  # fmt: skip
        else:
            print(text, end="")
        if args.plot and lines:
            print(f"wrote {args.plot}", file=sys.stdout if args.out else sys.stderr)
    except (UsageError, ImportError, OSError) as error:
        console.error(str(error))
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    console.list_skipped(skipped)
    for failure in failures:
        console.error(failure)
    return 1 if failures else 0


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(
        prog="ganimation read",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="photos, videos, folders of them, globs")
    add("-o", "--out", type=Path, metavar="OUT", help="a .csv, .json or .txt file")
    add(
        "--plot",
        type=Path,
        metavar="FILE",
        help=f"also draw the action units of a video over time ({', '.join(PLOTS)})",
    )
    add("--format", choices=FORMATS, help="(default: by the ending of OUT, or a table)")
    add(
        "--by",
        choices=("critic", "annotator"),
        help="who reads: the model's critic or MediaPipe (default: the critic, if there is one)",
    )
    add(
        "--faces",
        type=faces_flag,
        default="all",
        metavar="WHICH",
        help="which faces: largest, all, or how many (default: %(default)s)",
    )
    add_model(made.add_argument_group("model"))
    return made


def form_of(out: Path | None, form: str | None) -> str:
    """How the lines are written.

    Raises:
      UsageError: the file's ending says nothing known, or something else than ``form``.
    """
    if out is None:
        return form or "table"
    known = {".csv": "csv", ".json": "json", ".txt": "table"}
    if out.suffix.lower() not in known and form is None:
        raise UsageError(f"{out}: unknown ending; there are {', '.join(known)}, or give --format")
    named = known.get(out.suffix.lower(), form)
    if form not in (None, named):
        raise UsageError(f"{out} is named as {named}, and --format says {form}")
    return str(named)


def check_plot(path: Path, inputs: Sequence[Input]) -> None:
    """Refuse a plot of what has no time, or in an unknown format.

    Raises:
      UsageError: it says what to do.
    """
    if path.suffix.lower() not in PLOTS:
        raise UsageError(f"{path}: a plot is written as {', '.join(PLOTS)}")
    if len(inputs) != 1 or not inputs[0].moves:
        raise UsageError("--plot draws one video over time: give one video, not photos or several")
    if path.resolve() == inputs[0].source.resolve():
        raise UsageError(f"{path} is what is read: write to another file")
    if find_spec("matplotlib") is None:  # said now, not after a long video has been read
        raise UsageError("--plot needs matplotlib: pip install 'ganimation-jax[figures]'")


def check_by(by: str, animator: "Animator") -> None:
    """Raises ValueError if the model has no such reader."""
    from ganimation_jax.animation.finding import check_reader

    check_reader(by, animator.model)


def read(
    animator: "Animator", inputs: Sequence[Input], by: str, faces: str | int
) -> tuple[list["Line"], list[str]]:
    """The lines of all inputs, and why some could not be read."""
    from ganimation_jax.animation.readings import read_lines

    lines: list[Line] = []
    failures, progress = [], console.Line("inputs")
    for done, one in enumerate(inputs, 1):
        try:
            found = list(read_lines(animator, one, by, faces))
            if not found:
                raise ValueError("there is no face in any frame")
            lines += found
        except (ValueError, OSError, UnusableFile) as error:
            text = str(error)
            failures.append(text if str(one.source) in text else f"{one.source}: {text}")
        if len(inputs) > 1:
            progress(done, len(inputs))
    return lines, failures
