"""What is to be done with every photo and video, and doing it with one."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.animation import clips, provenance
from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.animation.figures import figure
from ganimation_jax.animation.inputs import labelled
from ganimation_jax.animation.targets import resolve
from ganimation_jax.media import moving
from ganimation_jax.media.pictures import read_picture
from ganimation_jax.media.video import VIDEO_SUFFIXES

Progress = Callable[[int, int | None], None]  # frames done, of how many if known


class Wish(NamedTuple):
    """What is asked for, of every input alike."""

    looks: Mapping[str, Mapping[str, float]]  # expressions by a name for files; see ``resolve``
    relative: bool | None  # None: as usual, which is not, but for a driver
    faces: str | int
    aligned: bool
    grid: bool  # a sheet of what the model does with the face
    driver: Path | None  # a video whose expressions the photo takes
    by: str  # what reads a driver's action units
    frames: int  # of a moving picture made from a photo, for each expression
    fps: float
    provenance: bool


def animate(
    animator: Animator, wish: Wish, source: Path, out: Path, progress: Progress | None = None
) -> list[Path]:
    """Do with one photo or video what is asked for.

    Args:
      source: a video if its ending is one of ``VIDEO_SUFFIXES``, else a photo.
      out: a moving picture if its ending is ``.mp4``, ``.gif`` or ``.webp`` and it is no grid.

    Returns:
      The files written; several expressions are files of their own, but in a moving picture
      of a photo, where they come one after the other.

    Raises:
      UnusableFile, NoFaceError, ValueError: it cannot be done; nothing is written.
      OSError: a file cannot be written.
      ImportError: what is needed for this file is not installed.
    """
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return _video(animator, wish, source, out, progress)
    image = np.asarray(read_picture(source).image)
    if wish.driver is not None:
        return _driven(animator, wish, wish.driver, image, out, progress)
    found = animator.find(image, wish.faces, aligned=wish.aligned)
    targets = animator.targets(found, list(wish.looks.values()), bool(wish.relative))
    if wish.grid:
        sheet = figure(animator, found[0], list(targets[:, 0]))
        return _write(animator, wish, {out: (sheet, {})})
    if out.suffix.lower() in moving.SUFFIXES:
        out.parent.mkdir(parents=True, exist_ok=True)
        frames = _there_and_back(animator, image, found, targets, wish.frames)
        asked = " then ".join(_said(animator, aus).action_units for aus in wish.looks.values())
        tags = _tags(wish, _said(animator, {})._replace(action_units=asked))
        moving.write_moving(out, frames, fps=wish.fps, tags=tags)
        return [out]
    edits = animator.run(image, found, targets)
    pictures = {
        named(out, label, wish): (edited, aus)
        for (label, aus), edited in zip(wish.looks.items(), edits, strict=True)
    }
    return _write(animator, wish, pictures)


def named(out: Path, label: str, wish: Wish) -> Path:
    """The file of one expression: with its name in it if there are several."""
    return labelled(out, label) if len(wish.looks) > 1 else out


def _video(
    animator: Animator, wish: Wish, source: Path, out: Path, progress: Progress | None
) -> list[Path]:
    units, written = animator.action_units, []
    for label, aus in wish.looks.items():

        def target(own: np.ndarray, aus: Mapping[str, float] = aus) -> np.ndarray:
            return resolve(aus, own, units, bool(wish.relative))

        path = named(out, label, wish)
        path.parent.mkdir(parents=True, exist_ok=True)
        tags = _tags(wish, _said(animator, aus))
        clips.edit_video(
            *(animator, source, path, target), faces=wish.faces, tags=tags, progress=progress
        )
        written.append(path)
    return written


def _driven(
    animator: Animator,
    wish: Wish,
    driver: Path,
    image: np.ndarray,
    out: Path,
    progress: Progress | None,
) -> list[Path]:
    out.parent.mkdir(parents=True, exist_ok=True)
    clips.drive(
        *(animator, image, driver, out),
        by=wish.by,
        relative=wish.relative is not False,
        faces=wish.faces,
        tags=_tags(wish, _said(animator, {})._replace(action_units="those of a video")),
        progress=progress,
    )
    return [out]


def _there_and_back(
    animator: Animator, image: np.ndarray, found: list[Face], targets: np.ndarray, frames: int
) -> Iterator[np.ndarray]:
    """From what the faces show to each expression and back: a loop, slow at either end."""
    own = np.stack([face.aus for face in found])
    share = (1 - np.cos(np.linspace(0, 2 * np.pi, frames, endpoint=False))) / 2
    legs = (own + (target - own) * share[:, None, None] for target in targets)
    return itertools.chain.from_iterable(animator.run(image, found, leg) for leg in legs)


def _said(animator: Animator, aus: Mapping[str, float]) -> provenance.Provenance:
    return provenance.describe(animator.model, aus)


def _tags(wish: Wish, said: provenance.Provenance) -> dict[str, str]:
    return provenance.as_tags(said) if wish.provenance else {}


def _write(
    animator: Animator,
    wish: Wish,
    pictures: Mapping[Path, tuple[np.ndarray, Mapping[str, float]]],
) -> list[Path]:
    for path, (pixels, aus) in pictures.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        said = _said(animator, aus) if wish.provenance else None
        provenance.save_image(path, pixels, said)
    return list(pictures)
