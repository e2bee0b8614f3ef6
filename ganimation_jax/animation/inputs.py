"""What a command names: files to edit, and where each edit goes."""

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.media.moving import SUFFIXES as MOVING
from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.media.video import VIDEO_SUFFIXES
from ganimation_jax.runs.pretrained import NAMES

MODEL_HELP = (
    "a run's workdir, a .ganimation or .safetensors file, or the name of a model that comes with "
    f"the library: {', '.join(NAMES)} (%(default)s)"
)
STILL = (".png", ".jpg", ".jpeg")


class UsageError(Exception):
    """The command is wrong; nothing was done."""


class Task(NamedTuple):
    """One input and where it goes."""

    source: Path
    out: Path


def expand(words: Sequence[str]) -> list[tuple[Path, Path]]:
    """The files that are meant, and what they are to be called in a folder: the same, but
    under a folder that was given with the path from there.

    Raises:
      UsageError: something is not there, or a folder has nothing to edit in it.
    """
    files: dict[Path, Path] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = [
                file
                for file in sorted(path.rglob("*"))
                if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and file.is_file()
            ]
            if not inside:
                raise UsageError(f"{path} holds no photos or videos")
            files |= {file: file.relative_to(path) for file in inside}
        elif path.exists():
            files[path] = Path(path.name)
        else:
            matches = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
            if not matches:
                raise UsageError(f"{word} does not exist")
            files |= {match: Path(match.name) for match in matches if match.is_file()}
    return list(files.items())


def plan(inputs: Sequence[tuple[Path, Path]], out: Path, form: str | None) -> list[Task]:
    """Where each input goes.

    Raises:
      UsageError: the output has an unknown ending, or is one file for several inputs.
    """
    if out.suffix and not out.is_dir():
        if out.suffix.lower() not in (*STILL, *MOVING):
            known = ", ".join((*STILL, *MOVING))
            raise UsageError(f"{out}: unknown ending; there are {known}, or a folder's name")
        if form is not None:
            raise UsageError(f"--format is for folders; {out} is a file")
        if len(inputs) > 1:
            raise UsageError(f"{len(inputs)} inputs and one file, {out}: give a folder's name")
        return [Task(inputs[0][0], out)]
    names = []
    for source, name in inputs:
        if out.resolve() in source.resolve().parents:
            raise UsageError(f"{source} is inside the folder that edits go to, {out}")
        usual = "mp4" if is_video(source) else "png"
        names.append((name, f".{form or usual}"))
    taken = Counter(name.with_suffix(suffix) for name, suffix in names)
    tasks = []
    for (source, _), (name, suffix) in zip(inputs, names, strict=True):
        alone = taken[name.with_suffix(suffix)] == 1
        # a.jpg and a.png do not both become a.png.
        tasks.append(Task(source, out / (name.with_suffix(suffix) if alone else f"{name}{suffix}")))
    return tasks


def is_video(path: Path) -> bool:
    """By its ending."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def labelled(out: Path, label: str) -> Path:
    """The file of one of several results."""
    return out.with_stem(f"{out.stem}-{label}")
