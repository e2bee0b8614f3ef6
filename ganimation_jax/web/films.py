"""Films that the page makes: of a photo, of an edited video, of a photo that a video drives."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganimation_jax.animation import clips, provenance
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.drivers import is_csv
from ganimation_jax.animation.recipes import Look
from ganimation_jax.media.moving import write_moving
from ganimation_jax.web.photos import NOTHING_YET, Refused, Sitting, marks, parse_looks, tags

Progress = Callable[[int, int | None], None]  # frames done, of how many if known

KINDS = ("gif", "mp4", "webp")
SIDES = (320, 480, 640, 1024)  # pixels, the longer side of a film
MOST_STEPS = 8
LONGEST = 5.0  # seconds of a step
RATE = 20  # frames a second
MOVING = 0.6  # of a step's time; then the expression rests
REST, BACK = 0.4, 0.6  # seconds before the first step, and back to the face's own expression


class Step(NamedTuple):
    """An expression of each face, and the seconds until the next one begins."""

    looks: list[Look]
    seconds: float


def parse_steps(data: Any, count: int) -> list[Step]:
    """The steps of a film of a photo with ``count`` faces, from a request.

    Raises:
      Refused: it is something else, too many steps, or one that is too long.
    """
    if not isinstance(data, list) or not 1 <= len(data) <= MOST_STEPS:
        raise Refused(f"A film has from 1 to {MOST_STEPS} expressions.")
    steps = []
    for one in data:
        seconds = one.get("seconds") if isinstance(one, dict) else None
        if not isinstance(seconds, int | float) or not 0.2 <= seconds <= LONGEST:
            raise Refused(f"An expression lasts from 0.2 to {LONGEST:g} seconds.")
        steps.append(Step(parse_looks(one.get("faces"), count), float(seconds)))
    return steps


def check_film(kind: Any, side: Any) -> None:
    """Raises Refused if a film cannot have this format or size."""
    if kind not in KINDS:
        raise Refused(f"A film is one of {', '.join(KINDS)}.")
    if side not in SIDES:
        raise Refused(f"A film's longer side has {', '.join(map(str, SIDES))} pixels.")


def photo_film(
    animator: Animator,
    sitting: Sitting,
    steps: Sequence[Step],
    path: Path,
    side: int,
    progress: Progress,
) -> None:
    """Write a film from the faces' own expressions through all steps and back: a loop.

    Raises:
      Refused: no step asks for anything.
    """
    asked = [place for place, _ in enumerate(sitting.photo.faces)
             if any(step.looks[place].asks() for step in steps)]  # fmt: skip
    if not asked:
        raise Refused(NOTHING_YET)
    photo, units = sitting.photo.within(side), animator.action_units
    faces = [photo.faces[place] for place in asked]

    def shown(looks: Sequence[Look]) -> np.ndarray:
        rows = zip(faces, (looks[place] for place in asked), strict=True)
        return np.stack([look.values(face.aus, units) for face, look in rows])

    own = shown([Look()] * len(photo.faces))
    targets = path_of(own, [(shown(step.looks), step.seconds) for step in steps])
    total = len(targets)

    def frames() -> Iterator[np.ndarray]:
        # At rest a frame is as the one before: it is not edited again.
        moves = [n for n in range(total) if n == 0 or (targets[n] != targets[n - 1]).any()]
        edits = animator.run(photo.image, faces, targets[moves])
        changes, image = set(moves), photo.image
        for number in range(total):
            if number in changes:
                image = next(edits)
            # The faces' own expression is the photo itself.
            yield photo.image if (targets[number] == own).all() else image
            progress(number + 1, total)

    looks = next(step.looks for step in steps if marks(step.looks))
    write_moving(path, frames(), fps=RATE, tags=tags(animator, photo, looks))


def path_of(own: np.ndarray, steps: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """What faces show in each frame: ``f`` arrays of the shape of ``own``.

    Each step moves, slow at either end, and then rests.
    """
    frames, last = [own] * round(REST * RATE), own
    for target, seconds in [*steps, (own, BACK / MOVING)]:
        count = max(2, round(seconds * RATE))
        moving = max(1, math.ceil(count * MOVING))
        for number in range(1, count + 1):
            share = (1 - math.cos(math.pi * min(number / moving, 1))) / 2
            frames.append(target if number >= moving else last + (target - last) * share)
        last = target
    return np.stack(frames[: len(frames) - round(BACK * (1 - MOVING) / MOVING * RATE)])


def edited_video(
    animator: Animator, source: Path, look: Look, path: Path, side: int | None, progress: Progress
) -> None:
    """Write a video with an edited face; the sound is kept.

    Raises:
      Refused: the look asks for nothing.
      NoFaceError, UnusableFile: see ``clips.edit_video``.
    """
    if not look.asks():
        raise Refused(NOTHING_YET)
    units = animator.action_units
    said = provenance.describe(animator.model, look.left.by_unit())
    clips.edit_video(
        animator,
        source,
        path,
        lambda own: look.values(own, units),
        side=side,
        tags=provenance.as_tags(said),
        progress=progress,
    )


def driven_photo(
    animator: Animator, sitting: Sitting, driver: Path, path: Path, side: int, progress: Progress
) -> None:
    """Write a film of the photo with the expressions of a video.

    Raises:
      NoFaceError, UnusableFile: see ``clips.drive``.
    """
    by = "critic" if animator.model.read_aus else "annotator"
    said = provenance.describe(animator.model, {})._replace(action_units="those of a video")
    clips.drive(
        animator,
        sitting.photo.within(side).image,
        driver,
        path,
        by=by,
        tags=provenance.as_tags(said),
        progress=progress,
        relative=not is_csv(driver),
        on_read=progress,
    )
