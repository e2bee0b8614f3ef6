"""Give faces in photos and videos another expression.

    ganimation edit photo.jpg --au AU12=0.8 --au AU06=0.5 -o out.png
    ganimation edit photo.jpg --expression happy -o out.gif
    ganimation edit photo.jpg --from other.jpg -o out.jpg
    ganimation edit photo.jpg --model RUN --drive video.mp4 -o out.mp4
    ganimation edit PHOTOS/ --model RUN --expression happy,sad -o EDITED/

Action units that are not named stay as the face shows them; an expression is a whole one.
Written as .gif, .mp4 or .webp, a photo moves from its own expression to the one asked for and
back. Every file says in its metadata that it was edited, by which model and how.
"""

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganimation_jax.animation.inputs import (
    MODEL_HELP,
    STILL,
    Task,
    UsageError,
    expand,
    is_video,
    labelled,
    plan,
)
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.moving import SUFFIXES as MOVING
from ganimation_jax.runs.pretrained import DEFAULT

if TYPE_CHECKING:
    from ganimation_jax.animation.animator import Animator
    from ganimation_jax.animation.jobs import Wish

FORMATS = ("png", "jpg", "webp", "gif", "mp4")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      The exit code: 0, 1 when an input could not be used (all others are done), 2 when the
      command is wrong.
    """
    args = parser().parse_args(argv)
    try:
        inputs = expand(args.inputs)
        tasks = plan(inputs, args.out, args.format)
        check(args, tasks)
        # Only now what takes seconds to import.
        import absl.logging

        from ganimation_jax.animation.animator import Animator
        from ganimation_jax.animation.loading import keep_compiled

        absl.logging.set_verbosity(absl.logging.WARNING)
        keep_compiled()
        with _told_warnings(), contextlib.ExitStack() as stack:
            try:
                animator = Animator.load(args.model, landmarker=args.landmarker)
                wish = wish_of(args, stack.enter_context(animator))
            except (ValueError, OSError, UnusableFile) as error:
                raise UsageError(error) from error
            return run(animator, wish, tasks)
    except (UsageError, ImportError) as error:  # an extra that is not installed
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(
        prog="ganimation edit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="photos, videos, folders of them, globs")
    add("--model", default=DEFAULT, metavar="MODEL", help=MODEL_HELP)
    add(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help=f"a file ({', '.join((*STILL, *MOVING))}) or, for several inputs, a folder",
    )
    add("--format", choices=FORMATS, help="of the files in a folder (png; of videos mp4)")

    what = made.add_argument_group("which expression")
    add = what.add_argument
    add("--au", action="append", default=[], metavar="AU12=0.8", help="one unit's intensity, 0-1")
    add("--expression", type=_names, default=[], metavar="NAME,...", help="happy, sad, neutral ...")
    add("--intensity", type=float, default=None, help="of an expression, 0-1 (0.8)")
    add("--from", dest="reference", type=Path, metavar="PHOTO", help="that of another photo")
    add("--drive", type=Path, metavar="VIDEO", help="those of a video, frame by frame")
    add("--grid", action="store_true", help="a sheet of what the model does with the largest face")
    add(
        "--relative",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="add to what the face shows, from -1 to 1 (usual with --drive only)",
    )
    add("--by", choices=("critic", "annotator"), help="who reads --from and --drive (critic)")

    how = made.add_argument_group("how")
    add = how.add_argument
    add("--faces", type=_faces, default="largest", metavar="WHICH", help="largest, all or a number")
    add("--aligned", action="store_true", help="photos are face crops as in the training set")
    add("--frames", type=_positive, default=48, metavar="N", help="there and back (%(default)s)")
    add("--fps", type=_rate, default=25.0, metavar="X", help="frames a second (%(default)g)")
    add("--no-provenance", action="store_true", help="do not say in the files that they are edits")
    add("--landmarker", type=Path, metavar="FILE", help="face_landmarker.task, if not found")
    return made


def check(args: argparse.Namespace, tasks: Sequence[Task]) -> None:
    """Refuse what does not go together.

    Raises:
      UsageError: it says what to do.
    """
    named = bool(args.au or args.expression)
    ways = {"--au or --expression": named, "--from": args.reference, "--drive": args.drive}
    given = [name for name, there in ways.items() if there]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: give one of them")
    if not given and not args.grid:
        raise UsageError("which expression? Give --au, --expression, --from, --drive or --grid")
    if args.intensity is not None and not args.expression:
        raise UsageError("--intensity is of an --expression")
    if args.grid and args.drive:
        raise UsageError("--grid is a picture, --drive makes a moving one")
    for task in tasks:
        video, moving = is_video(task.source), task.out.suffix.lower() in MOVING
        for out in (task.out, *(labelled(task.out, name) for name in args.expression)):
            same = out.exists() and out.samefile(task.source)
            if same or out.resolve() == task.source.resolve():  # through folders yet to be made
                raise UsageError(f"{out} is what is read: write to another file")
        if video and (args.grid or args.drive or args.aligned):
            raise UsageError(f"{task.source}: --grid, --drive and --aligned are for photos")
        if (video or args.drive) and not moving:
            raise UsageError(f"{task.out}: a moving picture is written as {', '.join(MOVING)}")
        if args.grid and task.out.suffix.lower() in (".gif", ".mp4"):
            raise UsageError(f"{task.out}: --grid is a picture, .png for example")


def wish_of(args: argparse.Namespace, animator: "Animator") -> "Wish":
    """What the flags ask of this model.

    Raises:
      ValueError: something that the model cannot do; UnusableFile, OSError: about ``--from``.
    """
    import numpy as np

    from ganimation_jax.animation.animator import NoFaceError
    from ganimation_jax.animation.jobs import Wish
    from ganimation_jax.animation.targets import INTENSITY, expression, parse
    from ganimation_jax.media.pictures import read_picture

    units, intensity = animator.action_units, args.intensity
    by = args.by or ("critic" if animator.model.read_aus else "annotator")
    aus = parse(args.au, units, relative=bool(args.relative))
    if args.reference:
        try:
            image = np.asarray(read_picture(args.reference).image)
            aus = animator.read(image, by, args.aligned)
        except NoFaceError as error:
            raise NoFaceError(f"{args.reference}: {error}") from error
        except UnusableFile as error:
            raise UsageError(f"{args.reference}: {error}") from error
    looks = {"": aus} if aus or not args.grid else {}
    if args.expression:
        strength = INTENSITY if intensity is None else intensity
        looks = {name: expression(name, units, strength) | aus for name in args.expression}
    return Wish(
        looks=looks,
        relative=args.relative,
        faces=args.faces,
        aligned=args.aligned,
        grid=args.grid,
        driver=args.drive,
        by=by,
        frames=args.frames,
        fps=args.fps,
        provenance=not args.no_provenance,
    )


def run(animator: "Animator", wish: "Wish", tasks: Sequence[Task]) -> int:
    """Do all; returns the exit code."""
    from ganimation_jax.animation.jobs import animate

    failures, written, many = [], [], len(tasks) > 1
    line = _Line("inputs" if many else "frames")
    for done, task in enumerate(tasks, 1):
        try:
            written += animate(animator, wish, *task, progress=None if many else line)
        except (ValueError, OSError, UnusableFile) as error:
            text = str(error)
            failures.append(text if str(task.source) in text else f"{task.source}: {text}")
        if many:
            line(done, len(tasks))
    if many:
        print(f"{len(written)} files from {len(tasks) - len(failures)} of {len(tasks)} inputs")
    else:
        print("\n".join(map(str, written)), end="\n" if written else "")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


@contextlib.contextmanager
def _told_warnings() -> Iterator[None]:
    """This library's warnings are lines on stderr."""
    logger, handler = logging.getLogger("ganimation_jax"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Line:
    """Progress on stderr: how many, the speed, the time left; twice a second at most."""

    def __init__(self, label: str):
        self._label, self._live = label, sys.stderr.isatty()
        self._start = self._shown = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        """So many are done."""
        now = time.monotonic()
        if done != total and now - self._shown < (0.5 if self._live else 10):
            return
        self._shown = now
        speed = done / max(now - self._start, 1e-9)
        text = f"{self._label} {done}"
        if total is not None:
            left = time.strftime("%H:%M:%S", time.gmtime((total - done) / speed))
            text += f"/{total}  {speed:.1f}/s  {left} left"
        end = "\r" if self._live and done != total else "\n"
        print(f"{text:<60}" if self._live else text, end=end, file=sys.stderr, flush=True)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _faces(text: str) -> str | int:
    if text in ("largest", "all"):
        return text
    if text.isdigit() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not largest, all or a number")


def _positive(text: str) -> int:
    if not (text.isdigit() and 2 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to 100000")
    return int(text)


def _rate(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 240:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and 240")
    return value
