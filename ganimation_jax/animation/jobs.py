"""What a command asks for, and doing it with one photo or video."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganimation_jax.animation import clips, drivers, provenance
from ganimation_jax.animation.animator import Animator, Face
from ganimation_jax.animation.inputs import FILM_SIDE, Task, is_film, outputs
from ganimation_jax.animation.targets import on_half, resolve
from ganimation_jax.media import encoding, moving
from ganimation_jax.media.photos import Photo, plain, read_photo

Progress = Callable[[int, int | None], None]  # frames done, of how many if known


class Wish(NamedTuple):
    """What is asked for, of every input alike."""

    looks: Mapping[str, Mapping[str, float]]  # expressions by a name for files; see ``resolve``
    relative: bool | None  # None: only for a video that drives
    half: str | None  # "left" or "right" in the picture: edit that half of the face alone
    faces: str | int
    aligned: bool
    grid: bool  # a sheet of what the model does with the face
    driver: Path | None  # what holds the expressions that the photo takes, frame by frame
    by: str  # what reads a driver's action units
    frames: int  # of a film made from a photo, for each expression
    fps: float
    size: int | None  # pixels, the longer side of a film; None: FILM_SIDE where it matters
    provenance: bool


class Done(NamedTuple):
    """What became of one input."""

    written: list[Path]
    faces: int | None = None  # found in a photo
    notes: tuple[str, ...] = ()  # what of the source the files do not have, in words


def edit(animator: Animator, wish: Wish, task: Task, progress: Progress | None = None) -> Done:
    """Do with one photo or video what is asked for.

    Several expressions make a file each; in a film made from a photo they follow one another.

    Args:
      task: ``out`` is a film if its ending is ``.mp4``, ``.gif`` or ``.webp``, unless a grid is
        asked for.

    Raises:
      UnusableFile, NoFaceError, ValueError: it cannot be done; nothing is written.
      OSError: a file cannot be written.
      ImportError: what is needed for this file is not installed.
    """
    if task.moves:
        return _video(animator, wish, task, progress)
    photo, film = read_photo(task.source), is_film(task.out) and not wish.grid
    notes = photo.notes
    if film:
        photo, notes = _for_film(photo, task.out, wish.size)
    if wish.driver is not None:
        return _driven(animator, wish, wish.driver, photo, task.out, progress)._replace(notes=notes)
    found = animator.find(photo.image, wish.faces, aligned=wish.aligned)
    targets = animator.targets(found, list(wish.looks.values()), bool(wish.relative))
    notes += tuple(note for face in found if face.reach for note in face.reach.notes)
    if wish.grid:
        from ganimation_jax.animation.figures import figure  # imports what training needs

        sheet = plain(figure(animator, found[0], list(targets[:, 0])))
        _save(animator, wish, task.out, sheet, {})
        return Done([task.out], len(found))
    if film:
        frames = _there_and_back(animator, photo, found, targets, wish)
        told = _counted(frames, wish.frames * len(targets), progress)
        asked = " then ".join(_said(animator, wish, x).action_units for x in wish.looks.values())
        tags = _tags(wish, _said(animator, wish, {})._replace(action_units=asked))
        task.out.parent.mkdir(parents=True, exist_ok=True)
        moving.write_moving(task.out, told, fps=wish.fps, tags=tags)
        return Done([task.out], len(found), notes)
    notes += encoding.lost(photo, provenance.format_of(task.out))
    own = np.stack([face.aus for face in found])
    edits = animator.run(photo.image, found, on_half(wish.half, targets, own))
    written = outputs(task, list(wish.looks))
    for path, aus, edited in zip(written, wish.looks.values(), edits, strict=True):
        _save(animator, wish, path, photo.edited(edited), aus)
    return Done(written, len(found), notes)


def _video(animator: Animator, wish: Wish, task: Task, progress: Progress | None) -> Done:
    units, written = animator.action_units, outputs(task, list(wish.looks))
    # A video that stays one keeps its size.
    side = wish.size or (None if task.out.suffix.lower() == ".mp4" else FILM_SIDE)
    task.out.parent.mkdir(parents=True, exist_ok=True)
    for path, aus in zip(written, wish.looks.values(), strict=True):

        def target(own: np.ndarray, aus: Mapping[str, float] = aus) -> np.ndarray:
            return on_half(wish.half, resolve(aus, own, units, bool(wish.relative)), own)

        tags = _tags(wish, _said(animator, wish, aus))
        clips.edit_video(
            animator,
            task.source,
            path,
            target,
            faces=wish.faces,
            side=side,
            tags=tags,
            progress=progress,
        )
    return Done(written)


def _driven(
    animator: Animator,
    wish: Wish,
    driver: Path,
    photo: Photo,
    out: Path,
    progress: Progress | None,
) -> Done:
    out.parent.mkdir(parents=True, exist_ok=True)
    clips.drive(
        animator,
        photo.image,
        driver,
        out,
        by=wish.by,
        # A CSV file says what is wanted; how a driver's face looks at rest is its own.
        relative=not drivers.is_csv(driver) if wish.relative is None else wish.relative,
        faces=wish.faces,
        fps=wish.fps,
        tags=_tags(
            wish, _said(animator, wish, {})._replace(action_units=f"those of {driver.name}")
        ),
        progress=progress,
    )
    return Done([out])


def _for_film(photo: Photo, out: Path, size: int | None) -> tuple[Photo, tuple[str, ...]]:
    """A photo as the frames of a film have it, and what that loses: 8 bits, sRGB, reduced."""
    photo = photo.in_srgb()
    notes: tuple[str, ...] = ()
    kept = out.suffix.lower() == ".webp"
    if photo.alpha is not None and not kept:
        if (photo.alpha < 255).any():
            notes += (f"{out.suffix[1:].upper()} films have no transparency: it becomes white",)
        photo = plain(photo.image)
    height, width = photo.image.shape[:2]
    share = (size or FILM_SIDE) / max(height, width)
    if share >= 1:
        return photo, notes
    reduced = clips.within(photo.image, size or FILM_SIDE)
    if size is None:
        height, width = reduced.shape[:2]
        notes += (f"the film is {width}x{height}: its longer side is {FILM_SIDE} unless --size"
                  " says otherwise",)  # fmt: skip
    if photo.alpha is None:
        return plain(reduced), notes
    color, alpha = (
        np.asarray(Image.fromarray(part).resize(reduced.shape[1::-1], Image.Resampling.LANCZOS))
        for part in (photo.color, photo.alpha)
    )
    return Photo(reduced, color, alpha), notes


def _there_and_back(
    animator: Animator, photo: Photo, found: list[Face], targets: np.ndarray, wish: Wish
) -> Iterator[np.ndarray]:
    """From what the faces show to each expression and back: a loop, slow at either end."""
    own = np.stack([face.aus for face in found])
    share = (1 - np.cos(np.linspace(0, 2 * np.pi, wish.frames, endpoint=False))) / 2
    ways = (own + (target - own) * share[:, None, None] for target in targets)
    legs = (on_half(wish.half, way, own) for way in ways)
    for image in itertools.chain.from_iterable(animator.run(photo.image, found, x) for x in legs):
        if photo.alpha is None:
            yield image
        else:
            yield np.dstack([photo.edited(image).color, photo.alpha])


def _counted(
    frames: Iterator[np.ndarray], total: int, progress: Progress | None
) -> Iterator[np.ndarray]:
    for done, frame in enumerate(frames, 1):
        yield frame
        if progress is not None:
            progress(done, total)


def _said(animator: Animator, wish: Wish, aus: Mapping[str, float]) -> provenance.Provenance:
    said = provenance.describe(animator.model, aus)
    if wish.half is None:
        return said
    return said._replace(action_units=f"{wish.half} half: {said.action_units}")


def _tags(wish: Wish, said: provenance.Provenance) -> dict[str, str]:
    return provenance.as_tags(said) if wish.provenance else {}


def _save(
    animator: Animator, wish: Wish, path: Path, photo: Photo, aus: Mapping[str, float]
) -> None:
    said = _said(animator, wish, aus) if wish.provenance else None
    path.parent.mkdir(parents=True, exist_ok=True)
    provenance.save_image(path, photo, said)
