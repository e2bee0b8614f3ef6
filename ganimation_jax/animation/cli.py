"""Edit the expression of faces in photos and videos.

    ganimation edit photo.jpg --au AU12=0.8 --au AU06=0.5 -o out.png
    ganimation edit photo.jpg --expression happy -o out.gif
    ganimation edit photo.jpg --from other.jpg -o out.jpg
    ganimation edit photo.jpg --drive video.mp4 -o out.mp4
    ganimation edit photo.jpg --drive openface.csv -o out.mp4
    ganimation edit PHOTOS/ --expression happy,sad -o EDITED/

Action units you do not name keep the face's own intensity; an expression sets them all.
A photo written as .gif, .mp4 or .webp becomes a film: from its own expression to the new one
and back. Photos keep their colour profile, transparency, resolution and, as PNG, every pixel
outside the faces. Each file says in its metadata that it was edited, by which model and how.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganimation_jax.animation import console
from ganimation_jax.animation.flags import add_model, faces_flag, number_flag, rate_flag
from ganimation_jax.animation.inputs import (
    FILM_SIDE,
    MOVING,
    STILL,
    Skipped,
    Task,
    UsageError,
    check_outputs,
    expand,
    is_film,
    outputs,
    plan,
)
from ganimation_jax.files.unusable import UnusableFile

if TYPE_CHECKING:
    from ganimation_jax.animation.animator import Animator
    from ganimation_jax.animation.jobs import Done, Wish

FORMATS = ("png", "jpg", "webp", "gif", "mp4")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      The exit code: 0; 1 if an input could not be used (all others are done); 2 if the command
      is wrong and nothing was done.
    """
    args = parser().parse_args(argv)
    try:
        inputs, skipped = expand(args.inputs)
        tasks = plan(inputs, args.out, args.format)
        check(args, tasks)
        # Imported only now, because these take seconds.
        from ganimation_jax.animation.starting import started, warm_up

        with console.warnings_as_lines(), contextlib.ExitStack() as stack:
            try:
                animator = stack.enter_context(started(args.model, args.landmarker))
                wish = wish_of(args, animator)
            except (ValueError, OSError, UnusableFile) as error:
                raise UsageError(error) from error
            warm_up(animator, seeks=not args.aligned)
            return run(animator, wish, tasks, skipped)
    except (UsageError, ImportError, OSError) as error:  # ImportError: an extra is missing
        console.error(str(error))
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
    add(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help=f"a file ({', '.join((*STILL, *MOVING))}) or a folder; with several inputs, or "
        "a slash at the end, always a folder",
    )
    add("--format", choices=FORMATS, help="of files in a folder (default: png; videos: mp4)")

    what = made.add_argument_group("expression")
    add = what.add_argument
    add(
        "--au",
        "--attribute",
        action="append",
        default=[],
        metavar="NAME=X",
        help="one action unit and its intensity, AU12=0.8, or one label of a model that knows "
        "labels, Smiling=1; may be repeated",
    )
    add(
        "--expression",
        type=_names,
        default=[],
        metavar="NAME,...",
        help="happy, sad, angry, surprised, disgusted, afraid, contempt or neutral; or a label of "
        "the model",
    )
    add("--intensity", type=float, help="strength of an --expression, 0 to 1.5 (default: 1)")
    add(
        "--from",
        dest="reference",
        type=Path,
        metavar="FILE",
        help="copy the expression of another photo, of a CSV file of OpenFace with one row, or of "
        "an expression file (.json) that the web page saved",
    )
    add(
        "--drive",
        type=Path,
        metavar="FILE",
        help="copy the expressions of a video, or of a CSV file with one row per frame",
    )
    add("--grid", action="store_true", help="a sheet of what the model does with the largest face")
    add(
        "--relative",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="add intensities, -1 to 1, to what the face shows (default: only for --drive VIDEO)",
    )
    add(
        "--half",
        choices=("left", "right"),
        help="edit one half of the face, left or right in the picture: a wink, a crooked smile",
    )
    add("--by", choices=("critic", "annotator"), help="who reads photos and videos for --from and "
        "--drive: the model's critic or MediaPipe (default: the critic)")  # fmt: skip

    how = made.add_argument_group("details")
    add_model(how)
    add = how.add_argument
    add(
        "--faces",
        type=faces_flag,
        default="largest",
        metavar="WHICH",
        help="which faces: largest, all, or how many (default: %(default)s)",
    )
    add(
        "--aligned",
        action="store_true",
        help="photos are face crops like those of the training set",
    )
    add(
        "--size",
        type=number_flag(16, 8192),
        metavar="N",
        help=f"longer side of films, in pixels (default: at most {FILM_SIDE}; a video written as "
        "mp4 keeps its own)",
    )
    add(
        "--frames",
        type=number_flag(2, 100_000),
        default=48,
        metavar="N",
        help="of a film of a photo, there and back (default: %(default)s)",
    )
    add(
        "--fps",
        type=rate_flag,
        default=25.0,
        metavar="X",
        help="frames per second of a film of a photo or CSV file (default: %(default)g)",
    )
    add("--no-provenance", action="store_true", help="do not say in the files that they are edits")
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
        raise UsageError("--intensity belongs to --expression; --au takes AU12=0.8")
    if args.half and (args.grid or args.drive):
        raise UsageError("--half goes with --au, --expression and --from, without --grid")
    if args.grid and args.drive:
        raise UsageError("--grid makes a picture, --drive a film: give one of them")
    for task in tasks:
        moving = is_film(task.out)
        if task.moves and (args.grid or args.drive or args.aligned):
            raise UsageError(f"{task.source}: --grid, --drive and --aligned are for photos")
        if (task.moves or args.drive) and not moving:
            raise UsageError(f"{task.out}: a film is written as {', '.join(MOVING)}")
        if args.grid and task.out.suffix.lower() in (".gif", ".mp4"):
            raise UsageError(f"{task.out}: --grid is a picture, .png for example")
    repeated = {name for name in args.expression if args.expression.count(name) > 1}
    if repeated:
        raise UsageError(f"--expression names {', '.join(sorted(repeated))} twice")
    check_outputs(tasks, args.expression, [x for x in (args.reference, args.drive) if x])


def wish_of(args: argparse.Namespace, animator: "Animator") -> "Wish":
    """What the flags ask of this model.

    Raises:
      ValueError: something that the model cannot do; UnusableFile, OSError: about ``--from``.
    """
    from ganimation_jax.animation import labels
    from ganimation_jax.animation.animator import NoFaceError
    from ganimation_jax.animation.drivers import is_csv, read_expression
    from ganimation_jax.animation.jobs import Wish
    from ganimation_jax.animation.targets import parse

    units, conditions = animator.action_units, animator.model.conditions
    by = args.by or ("critic" if animator.model.read_aus else "annotator")
    aus = parse(args.au, units, relative=bool(args.relative))
    labels.check(aus, conditions, bool(args.relative))
    aus = labels.with_rivals(aus, conditions)
    if args.reference:
        try:
            if is_csv(args.reference):
                aus = read_expression(args.reference, units)
            elif args.reference.suffix.lower() == ".json":
                aus = _saved_expression(args.reference)
            else:
                aus = labels.decided(animator.read(args.reference, by, args.aligned), conditions)
        except NoFaceError as error:
            raise NoFaceError(f"{args.reference}: {error}") from error
        except UnusableFile as error:
            raise UsageError(f"{args.reference}: {error}") from error
    looks = {"": aus} if aus or not args.grid else {}
    if args.expression:
        asked = {name: labels.named(name, conditions, args.intensity) for name in args.expression}
        looks = {name: values | aus for name, values in asked.items()}
    return Wish(
        looks=looks,
        relative=args.relative,
        half=args.half,
        faces=args.faces,
        aligned=args.aligned,
        grid=args.grid,
        driver=args.drive,
        by=by,
        frames=args.frames,
        fps=args.fps,
        size=args.size,
        provenance=not args.no_provenance,
    )


def run(
    animator: "Animator", wish: "Wish", tasks: Sequence[Task], skipped: Sequence[Skipped]
) -> int:
    """Do all, and say what was done; returns the exit code."""
    from ganimation_jax.animation.jobs import edit

    failures, count, many = [], 0, len(tasks) > 1
    line = console.Line("inputs" if many else "frames")
    for done, task in enumerate(tasks, 1):
        replaced = {out for out in outputs(task, list(wish.looks)) if out.exists()}
        try:
            result = edit(animator, wish, task, progress=None if many else line)
        except (ValueError, OSError, UnusableFile) as error:
            text = str(error)
            failures.append(text if str(task.source) in text else f"{task.source}: {text}")
        else:
            count += len(result.written)
            _say(task, result, replaced)
        if many:
            line(done, len(tasks))
    console.list_skipped(skipped)
    for failure in failures:
        console.error(failure)
    if many or skipped:
        print(console.summary(count, len(tasks), len(skipped), len(failures)))
    return 1 if failures else 0


def _say(task: Task, done: "Done", replaced: set[Path]) -> None:
    faces = "" if done.faces is None else f"{done.faces} face{'s' * (done.faces != 1)}, "
    for path in done.written:
        before = ", replacing the file that was there" if path in replaced else ""
        print(f"{task.source}: {faces}wrote {path}{before}", flush=True)
    for text in done.notes:
        console.note(f"{task.source}: {text}")


def _saved_expression(path: Path) -> dict[str, float]:
    from ganimation_jax.animation.recipes import from_json

    try:
        left, right = from_json(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if left != right:
        raise UsageError(
            f"{path}: its halves differ, and whole faces are edited here: use the web page"
        )
    return left


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
