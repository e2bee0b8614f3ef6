"""Draw one person with several expressions, check the pictures, and write their crops."""

import functools
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS, OPENFACE_MAXIMUM, positions
from ganimation_jax.faces.alignment import apply, crop, refine, transform_of
from ganimation_jax.faces.blendshapes import read_aus
from ganimation_jax.faces.landmarker import DetectedFace
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import encode_jpeg
from ganimation_jax.prepare.filters import perceptual_hash, sharpness_of
from ganimation_jax.prepare.finders import landmarker_of_process, side_of
from ganimation_jax.prepare.problems import Skip
from ganimation_jax.prepare.work import Record
from ganimation_jax.synthetic.clean_pairs import clean
from ganimation_jax.synthetic.directions import Directions
from ganimation_jax.synthetic.face_generator import FaceGenerator
from ganimation_jax.synthetic.wanted import wanted

FORMAT = 1  # increase this when the same plan gives different pictures
LENGTHS = (9.0, 15.0)  # range of the first step's length in style space
SHRINK = 0.8  # factor on the step's length after a rejected drawing
TRIES = 3
TURN = 40.0  # largest angle away from the camera, degrees
SEAM = 16.0  # largest difference along the edge of the moved part, of 255 levels
SAME = 0.48  # largest distance between the face descriptors of one person
AGREE = 0.02  # largest mean distance between the meshes before and after, of the side


class PeoplePlan(NamedTuple):
    """All settings that affect the pictures."""

    seed: int
    expressions: int  # of each person, besides the first picture
    size: int  # side of the crops in pixels
    directions: Path
    model: Path | None  # MediaPipe's

    def digest(self) -> str:
        """A digest that is different for plans that give different pictures."""
        text = repr((FORMAT, self.seed, self.expressions, self.size))
        return hashlib.sha256(text.encode() + self.directions.read_bytes()).hexdigest()[:12]


class Tools(NamedTuple):
    """The networks of a drawing process; they are slow to load."""

    generator: FaceGenerator
    directions: Directions
    describe: Callable[[np.ndarray], np.ndarray]  # uint8 h w 3 -> 128, near for one person


class _Base(NamedTuple):
    """A person's first picture, into which all expressions are put."""

    image: np.ndarray  # the drawing
    face: DetectedFace  # in it
    transform: np.ndarray  # 2 3, to the crop
    descriptor: np.ndarray
    aus: np.ndarray


def draw_person(number: int, plan: PeoplePlan, crops: Path) -> list[Record | Skip]:
    """Draw one person: write all usable pictures to ``crops`` and return their records.

    Rejected pictures are returned as skips. The result depends on the plan and the number only.

    Raises:
      OSError: a crop cannot be written.
      ImportError: an optional package is missing.
    """
    tools = tools_of_process(plan)
    person = f"p{number:05d}"
    style = tools.generator.person(plan.seed, number)
    try:
        base = _base(tools, plan, style)
    except UnusableFile as error:
        return [Skip(person, error.reason, error.detail)]
    first = crop(base.image, base.transform, plan.size)
    results: list[Record | Skip] = [
        _write(f"{person}_0", person, first, base, base.aus, plan, crops)
    ]
    rng = np.random.default_rng([plan.seed, number, 1])
    for k, aim in enumerate(wanted(rng, plan.expressions), 1):
        name = f"{person}_{k}"
        length = rng.uniform(*LENGTHS)
        change = _change(tools.directions, aim, base.aus)
        for attempt in range(TRIES):
            step = tools.directions.step(change, length * SHRINK**attempt)
            try:
                image, aus = _expression(tools, plan, style, step, base)
            except UnusableFile as error:
                problem = Skip(name, error.reason, error.detail)
            else:
                results.append(_write(name, person, image, base, aus, plan, crops))
                break
        else:
            results.append(problem)
    return results


def _base(tools: Tools, plan: PeoplePlan, style: np.ndarray) -> _Base:
    image = halved(tools.generator.draw(style))
    landmarker = landmarker_of_process(plan.model)
    found = landmarker.faces(image)
    face = refine(landmarker, image, found[0]) if found else None
    if face is None:
        raise UnusableFile("no face in the drawing", "")
    turn = max(abs(face.pose.yaw), abs(face.pose.pitch))
    if turn > TURN:
        raise UnusableFile("face turned away", f"{turn:.0f} degrees, above {TURN:g}")
    transform = transform_of(face, plan.size)
    first = crop(image, transform, plan.size)
    again = _only_face(plan, first)
    return _Base(image, face, transform, tools.describe(first), read(again))


def _expression(
    tools: Tools, plan: PeoplePlan, style: np.ndarray, step: np.ndarray, base: _Base
) -> tuple[np.ndarray, np.ndarray]:
    """The crop with another expression, and its action units.

    Raises:
      UnusableFile: the drawing is broken, or shows somebody else.
    """
    image = halved(tools.generator.draw(style, step))
    face = _only_face(plan, image)
    cleaned = clean(base.image, base.face, image, face, base.transform, plan.size)
    if cleaned.seam > SEAM:
        raise UnusableFile("visible seam", f"{cleaned.seam:.1f} levels, above {SEAM:g}")
    again = _only_face(plan, cleaned.image)
    steps = np.linalg.norm(again.points - apply(cleaned.transform, face.points), axis=1)
    apart = float(steps.mean()) / plan.size
    if apart > AGREE:
        raise UnusableFile("landmarks disagree", f"{apart:.3f} of the image side, above {AGREE:g}")
    distance = float(np.linalg.norm(tools.describe(cleaned.image) - base.descriptor))
    if distance > SAME:
        raise UnusableFile("another person", f"descriptors {distance:.2f} apart, above {SAME:g}")
    return cleaned.image, read(again)


def read(face: DetectedFace) -> np.ndarray:
    """Intensities of the 17 action units, 0-5; NaN where MediaPipe does not serve one."""
    return read_aus(face.blendshapes) * np.float32(OPENFACE_MAXIMUM)


def _only_face(plan: PeoplePlan, image: np.ndarray) -> DetectedFace:
    faces = landmarker_of_process(plan.model).faces(image)
    if not faces:
        raise UnusableFile("no face in the drawing", "")
    return faces[0]


def _change(directions: Directions, aim: np.ndarray, have: np.ndarray) -> np.ndarray:
    """From the face's action units to those aimed at, in the order of ``directions``.

    Where the face's own are not measured, or all aims are met, the aim itself is the change.
    """
    columns = positions(directions.action_units, ACTION_UNITS)
    change = np.nan_to_num(np.where(np.isnan(have), aim, aim - have))[columns]
    return change if np.abs(change).max() > 0.1 else np.ones(len(columns))


def _write(
    name: str,
    person: str,
    image: np.ndarray,
    base: _Base,
    aus: np.ndarray,
    plan: PeoplePlan,
    crops: Path,
) -> Record:
    picture = Image.fromarray(image)
    jpeg = encode_jpeg(picture)
    write_atomically(crops / f"{name}.jpg", jpeg)
    measured = zip(ACTION_UNITS, aus.tolist(), strict=True)
    pose = base.face.pose
    return Record(
        id=name,
        group=person,
        source=f"drawn, seed {plan.seed}",
        label="",
        aus={code: value for code, value in measured if not math.isnan(value)},
        confidence=None,
        transform=base.transform.tolist(),
        side=round(side_of(base.transform, plan.size), 2),
        turn=round(max(abs(pose.yaw), abs(pose.pitch)), 2),
        sharpness=round(sharpness_of(picture), 2),
        hash=perceptual_hash(picture).hex(),
        sha256=hashlib.sha256(jpeg).hexdigest(),
    )


def halved(image: np.ndarray) -> np.ndarray:
    """Twice as coarse: still finer than the crops, and looked at four times as fast."""
    return np.asarray(Image.fromarray(image).reduce(2))


@functools.cache
def tools_of_process(plan: PeoplePlan) -> Tools:
    """Made once a process.

    Raises:
      ImportError, FileNotFoundError: a package or a file is missing.
    """
    return Tools(FaceGenerator(), Directions.load(plan.directions), describer())


def describer() -> Callable[[np.ndarray], np.ndarray]:
    """What tells people apart: a crop to a descriptor, float32 128."""
    # Imported here because it imports jax, which takes seconds.
    from ganimation_jax.features import face_resnet

    embed = face_resnet.load()
    return lambda image: np.asarray(embed(cast(Any, image[None]))[0])
