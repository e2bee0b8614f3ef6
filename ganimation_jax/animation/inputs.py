"""What a command names: the files to edit, and where each edit is written."""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.files.unusable import KINDS, UnusableFile
from ganimation_jax.media.moving import SUFFIXES as MOVING
from ganimation_jax.media.pictures import IMAGE_SUFFIXES, is_animation, picture_size
from ganimation_jax.media.video import VIDEO_SUFFIXES
from ganimation_jax.runs.pretrained import NAMES

MODEL_HELP = (
    "a run's workdir, a .ganimation or .safetensors file, or the name of a model that comes with "
    f"the library: {', '.join(NAMES)} (%(default)s)"
)
FILM_SIDE = 1024  # pixels, the longer side of films: a GIF of a phone's photo takes minutes
STILL = (".png", ".jpg", ".jpeg")
# What an animated picture is written as in a folder, by its ending.
ANIMATED = {".webp": ".webp"}


class UsageError(Exception):
    """The command is wrong; nothing was done."""


class Input(NamedTuple):
    """A file to edit."""

    source: Path
    name: Path  # what it is called in the folder of results, ending included
    moves: bool  # a video or an animated picture


class Task(NamedTuple):
    """A file to edit, and the file that it becomes."""

    source: Path
    out: Path
    moves: bool


class Skipped(NamedTuple):
    """A file in a folder that is not edited."""

    path: Path
    reason: str


def expand(words: Sequence[str]) -> tuple[list[Input], list[Skipped]]:
    """The files that are meant, each once, and those in folders that are left out.

    A file named by itself keeps its name; one in a folder, the path from there. Hidden files
    in folders are passed over.

    Raises:
      UsageError: something does not exist, or a folder has nothing to edit in it.
    """
    files: dict[Path, Input] = {}
    skipped: list[Skipped] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            found, others = _inside(path)
            if not found:
                reasons = f": {others[0].path}: {others[0].reason}" if others else ""
                raise UsageError(f"{path} holds no photos or videos{reasons}")
            skipped += others
        else:
            matches = (
                [path] if path.exists() else sorted(map(Path, glob.glob(word, recursive=True)))
            )
            if not matches:
                raise UsageError(f"{word} does not exist")
            found = [Input(file, Path(file.name), _moves(file)) for file in matches
                     if not file.is_dir()]  # fmt: skip
        for one in found:
            files.setdefault(Path(os.path.abspath(one.source)), one)
    return list(files.values()), skipped


def plan(inputs: Sequence[Input], out: Path | str, form: str | None) -> list[Task]:
    """Where each input goes.

    If files of several folders have one name, all keep their path from the folder that holds
    them all. ``a.jpg`` and ``a.png`` become ``a.jpg.png`` and ``a.png.png``.

    Args:
      out: a file, if it has the ending of one; a folder if it is one, ends in a slash, or
        there are several inputs.
      form: the ending of files in a folder; by default as each input needs.

    Raises:
      UsageError: the output has an unknown ending, or is one file for several inputs, or the
        folder of results holds inputs.
    """
    slash, out = str(out).endswith(("/", os.sep)), Path(out)
    known = out.suffix.lower() in (*STILL, *MOVING)
    if not (slash or out.is_dir()):
        if known and len(inputs) > 1:
            raise UsageError(f"{len(inputs)} inputs and one file, {out}: give a folder's name")
        if known and form is not None:
            raise UsageError(f"--format is for folders; {out} is a file")
        if known:
            return [Task(inputs[0].source, out, inputs[0].moves)]
        if out.suffix and len(inputs) == 1 and form is None:
            endings = ", ".join((*STILL, *MOVING))
            raise UsageError(
                f"{out}: unknown ending; there are {endings}; a folder's name ends in a slash"
            )
    for each in inputs:
        if out.resolve() in each.source.resolve().parents:
            raise UsageError(f"{each.source} is inside the folder that edits go to, {out}")
    names = [each.name for each in inputs]
    if len({*names}) < len(names):
        sources = [Path(os.path.abspath(each.source)) for each in inputs]
        above = os.path.commonpath([source.parent for source in sources])
        names = [source.relative_to(above) for source in sources]
    suffixes = [f".{form}" if form else _usual(each) for each in inputs]
    short = [name.with_suffix(end) for name, end in zip(names, suffixes, strict=True)]
    taken = Counter(short)
    return [
        Task(each.source, out / (brief if taken[brief] == 1 else f"{name}{end}"), each.moves)
        for each, name, brief, end in zip(inputs, names, short, suffixes, strict=True)
    ]


def check_outputs(tasks: Sequence[Task], labels: Sequence[str], read: Sequence[Path]) -> None:
    """Refuse to write a file twice, or one that is read.

    Args:
      labels: of the results of each task, if there are several.
      read: what else the command reads.

    Raises:
      UsageError: two outputs are one file, or an output is an input.
    """
    inputs = {path.resolve(): path for path in (*(task.source for task in tasks), *read)}
    planned: dict[Path, Path] = {}
    for task in tasks:
        for out in outputs(task, labels):
            place = out.resolve()  # through folders yet to be made
            if place in inputs or any(_same(out, path) for path in inputs.values()):
                raise UsageError(f"{out} is what is read: write to another file")
            if place in planned:
                raise UsageError(
                    f"{planned[place]} and {task.source} would both become {out}: "
                    "rename one, or write them to different folders"
                )
            planned[place] = task.source


def outputs(task: Task, labels: Sequence[str]) -> list[Path]:
    """The files that a task writes: one for each label, but for a photo that becomes a film."""
    if len(labels) < 2 or (is_film(task.out) and not task.moves):
        return [task.out]
    return [labelled(task.out, label) for label in labels]


def labelled(out: Path, label: str) -> Path:
    """The file of one of several results."""
    return out.with_stem(f"{out.stem}-{label}")


def is_video(path: Path) -> bool:
    """By its ending; animated pictures are none."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_film(out: Path) -> bool:
    """Whether an output moves, by its ending."""
    return out.suffix.lower() in MOVING


def _inside(folder: Path) -> tuple[list[Input], list[Skipped]]:
    """The photos and videos in a folder at any depth, and its other files with the reason."""
    found, others = [], []
    for path in _walk(folder):
        try:
            reason = _unfit(path)
            moves = not reason and _moves(path)
        except OSError as error:
            reason, moves = str(error.strerror), False
        if reason:
            others.append(Skipped(path, reason))
        else:
            found.append(Input(path, path.relative_to(folder), moves))
    return found, others


def _walk(folder: Path) -> Iterator[Path]:
    """All files that are not hidden, sorted; linked folders are entered once."""
    entered = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(name for name in folders if not name.startswith(".")):
            if (real := os.path.realpath(os.path.join(place, name))) not in entered:
                entered.add(real)
                kept.append(name)
        folders[:] = kept
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def _unfit(path: Path) -> str:
    """Why a file in a folder is not to be edited; empty if it is."""
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        return f"not a regular file but {KINDS.get(kind, 'something else')}"
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return ""
    if suffix:
        return f"not a photo or video: its ending is {path.suffix}"
    try:
        picture_size(path)
    except UnusableFile:
        return "not a photo: it has no ending, and is none by its contents"
    return ""


def _moves(path: Path) -> bool:
    """Whether a file is a video or an animated picture, as far as can be known."""
    if is_video(path):
        return True
    try:
        return is_animation(path)
    except UnusableFile:  # said when it is read
        return False


def _usual(one: Input) -> str:
    """The ending of what an input becomes."""
    if not one.moves:
        return ".png"
    return ".mp4" if is_video(one.source) else ANIMATED.get(one.source.suffix.lower(), ".gif")


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
