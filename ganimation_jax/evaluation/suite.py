"""All that ``--mode=eval`` measures, as the sections of a report.

What needs an optional package or a file of weights that is not here becomes a section that
says so: nothing is left out silently.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from ganimation_jax.data.pipeline import Source
from ganimation_jax.evaluation import (
    attention,
    aus,
    controllability,
    distances,
    identity_distance,
    judges,
    quality,
    truth,
)
from ganimation_jax.evaluation.held_out import HeldOut
from ganimation_jax.evaluation.judges import Judge
from ganimation_jax.evaluation.means import mean
from ganimation_jax.evaluation.results import Response, Section
from ganimation_jax.faces.crops import CANONICAL_EYES, Eyes
from ganimation_jax.features import face_resnet, lpips, vgg16
from ganimation_jax.features.batches import in_batches
from ganimation_jax.features.layers import TooSmall
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.types import Edit

log = logging.getLogger(__name__)

Values = Iterator[tuple[str, float]]
CRITIC = "critic"


class Subject(NamedTuple):
    """What is evaluated: a model and the faces it has not seen."""

    held_out: HeldOut
    faces: Source  # where ``held_out`` comes from: its first ones, in order
    action_units: tuple[str, ...]
    edit: Callable[[jax.Array, jax.Array, jax.Array], Edit]  # image, want, have; compiled
    read_aus: Callable[[jax.Array], jax.Array] | None  # the model's own reading; compiled


class Instruments(NamedTuple):
    """What the user brings to the measurement."""

    load_inception: Callable[[], Callable]  # its features; needs PyTorch to read the weights
    openface: Path | None = None  # its FaceLandmarkImg
    openface_csvs: Path | None = None  # what it wrote for the edits
    eyes: Eyes = CANONICAL_EYES  # in the crops: (x, y) of either, in [0, 1]
    controlled_faces: int = 16  # on which each action unit is tried alone


def run(subject: Subject, tools: Instruments) -> tuple[list[Section], list[Response]]:
    """Measure everything.

    Raises:
      FileNotFoundError, ValueError: an instrument that the user named is not to be used.
    """
    with contextlib.ExitStack() as stack:
        panel = list(_panel(subject, tools, stack))
        judged = list(_timed(_judged(subject, judge) for judge in panel))
        sections = [
            *_timed(_critic(subject)),
            *_timed(_pixels(subject)),
            *_timed(_against_truth(subject)),
            *judged,
            *_timed(_judged_once(subject, tools)),
            *_timed(_identity(subject, tools)),
            *_timed(_networks(subject, tools)),
        ]
        able = [
            judge
            for judge, section in zip(panel, judged, strict=True)
            if isinstance(judge, Judge) and not section.missing
        ]
        controlled, responses = _controllability(subject, tools, able)
    return [*sections, *controlled], responses


def measured(name: str, title: str, about: str, values: Callable[[], Values]) -> Section:
    """A section of what ``values`` yields, or of the reason why it cannot."""
    try:
        return Section(name, title, about, dict(values()))
    except (ImportError, FileNotFoundError, TooSmall, judges.OpenFaceError) as error:
        log.warning("%s: not measured: %s", title, error)
        return Section(name, title, about, {}, missing=str(error))


def _timed(sections: Iterable[Section]) -> Iterator[Section]:
    start = time.monotonic()
    for section in sections:
        log.info("%s: %.0f s", section.title, time.monotonic() - start)
        yield section
        start = time.monotonic()


def _critic(subject: Subject) -> Iterator[Section]:
    seen, units = subject.held_out, subject.action_units
    read, edited_read = seen.aus_read, seen.edited_aus_read
    if read is None or edited_read is None:
        return
    yield measured(
        "critic_on_real",
        "The critic as a reader of real faces",
        "Action units that the run's critic reads in held-out faces, against their annotation.",
        lambda: aus.agreement("critic_on_real", units, read, seen.aus),
    )

    def on_edits() -> Values:
        yield from aus.agreement("critic_on_edits", units, edited_read, seen.target_aus)
        change = edited_read - read, seen.target_aus - seen.aus
        yield from aus.change_correlation(*change)

    yield measured(
        "critic_on_edits",
        "Edits, read by the critic",
        "Requested intensities against those that the run's critic reads in the edits. The "
        "generator was trained to please it: a sign that training works, no proof.",
        on_edits,
    )


def _pixels(subject: Subject) -> Iterator[Section]:
    seen = subject.held_out

    def reconstruction() -> Values:
        yield from quality.reconstruction(seen.reconstructed, seen.image)
        yield from mean("reconstruction/ssim", quality.ssim(seen.reconstructed, seen.image))
        yield from quality.change(seen.edited, seen.image)

    yield measured(
        "pixels",
        "There and back again",
        "Edits undone by the generator against their sources; and how much an edit changes, on "
        "the 0-255 scale.",
        reconstruction,
    )
    attended = seen.attention
    if attended is None:
        return
    yield measured(
        "attention",
        "Attention",
        "The mask, 1 where the source is kept. All near 1: edits do nothing; all near 0: the "
        "whole picture is painted anew.",
        lambda: attention.health(attended),
    )


def _against_truth(subject: Subject) -> Iterator[Section]:
    title, about = (
        "Against the true edit",
        "The same person drawn with the requested action units is the true edit. Baselines: no "
        "edit, and the target expression on somebody else's face.",
    )
    seen, faces = subject.held_out, subject.faces
    if not isinstance(faces, SyntheticFaces):
        reason = "Only drawn faces have a true edit: --config=configs/synthetic.py"
        yield Section("truth", title, about, {}, missing=reason)
        return
    true = truth.of(faces, subject.action_units, seen.target_aus)
    yield measured(
        "truth",
        title,
        about,
        lambda: truth.evaluate(true, seen.image, seen.edited, seen.attention),
    )
    yield measured(
        "truth_on_edits",
        "Edits, read by exact fit",
        "The action units whose drawing is nearest to the edit, against the requested ones.",
        lambda: truth.evaluate_aus(true, seen.edited, subject.action_units),
    )


def _panel(
    subject: Subject, tools: Instruments, stack: contextlib.ExitStack
) -> Iterator[Judge | Section]:
    """Judges of any picture; or, in the place of one, why it is not there."""
    units = subject.action_units
    try:
        yield stack.enter_context(judges.mediapipe(units))
    except (ImportError, FileNotFoundError) as error:
        log.warning("MediaPipe: not measured: %s", error)
        title = "Edits, read by MediaPipe"
        about = "A judge that is neither the critic nor the training labels' source."
        yield Section("mediapipe_on_edits", title, about, {}, missing=str(error))
    if tools.openface:
        yield judges.openface_binary(tools.openface, units)


def _judged(subject: Subject, judge: Judge | Section) -> Section:
    """Edits read by a judge, next to what it makes of real faces."""
    if isinstance(judge, Section):
        return judge
    seen, units = subject.held_out, subject.action_units

    def values() -> Values:
        for name, images, wanted in (
            (f"{judge.name}_on_edits", seen.edited, seen.target_aus),
            (f"{judge.name}_on_real", seen.image, seen.aus),
        ):
            yield from aus.agreement(name, units, judge.read(images), wanted, judge.quality)

    return measured(
        f"{judge.name}_on_edits",
        f"Edits, read by {judge.name}",
        "Requested intensities against those read in the edits; and, as the bound of what this "
        "judge could find, annotated against read in the held-out faces themselves.",
        values,
    )


def _judged_once(subject: Subject, tools: Instruments) -> Iterator[Section]:
    if tools.openface_csvs:
        judge = judges.openface_csvs(tools.openface_csvs, subject.action_units)
        seen = subject.held_out
        read = judge.read(seen.edited)
        yield measured(
            "openface_on_edits",
            "Edits, read by OpenFace",
            f"From the CSV files in {tools.openface_csvs.name}.",
            lambda: aus.agreement("openface_on_edits", subject.action_units, read, seen.target_aus),
        )


def _identity(subject: Subject, tools: Instruments) -> Iterator[Section]:
    seen = subject.held_out
    persons = persons_of(subject.faces, len(seen.image))

    def values() -> Values:
        embed = functools.partial(in_batches, face_resnet.load(eyes=tools.eyes))
        yield from identity_distance.evaluate(
            seen.image, seen.edited, persons, embed, face_resnet.THRESHOLD
        )

    yield measured(
        "identity",
        "Identity",
        "Distance of dlib's face descriptors of source and edit, next to two pictures of one "
        "person and of two people of this set. Faces whose person is not known count as people "
        "of their own.",
        values,
    )


def _networks(subject: Subject, tools: Instruments) -> Iterator[Section]:
    """What networks trained on other pictures see."""
    seen = subject.held_out

    def perceptual() -> Values:
        distance = functools.partial(in_batches, lpips.load())
        yield from mean("reconstruction/LPIPS-Alex", distance(seen.reconstructed, seen.image))
        yield from mean("edit_response/LPIPS-Alex", distance(seen.edited, seen.image))

    yield measured(
        "lpips",
        "Perceptual distance",
        "LPIPS on AlexNet: of edits undone to their sources, where 0 is best, and of edits, where "
        "it says how much they change.",
        perceptual,
    )

    def compare(network: str, load: Callable[[], Callable]) -> Values:
        features = functools.partial(in_batches, load())
        yield from distances.compare(network, features(seen.edited), features(seen.image))

    about = (
        "Distance of all edits from all held-out faces, in the features of {}. They compare only "
        "between runs on the same faces, as many of them; their standard error and bias stand "
        "beside them."
    )
    yield measured(
        "vgg16",
        "Edits among real faces: VGG16",
        about.format("VGG16 (relu4_3)"),
        lambda: compare("VGG16", vgg16.load),
    )
    yield measured(
        "inception",
        "Edits among real faces: Inception",
        about.format("Inception-v3 (pool3), whose Frechet distance is called FID"),
        lambda: compare("Inception", tools.load_inception),
    )


def _controllability(
    subject: Subject, tools: Instruments, able: Sequence[Judge]
) -> tuple[list[Section], list[Response]]:
    seen, units = subject.held_out, subject.action_units
    own = [] if subject.read_aus is None else [judges.critic(subject.read_aus, units)]
    jury = [*own, *able]
    first = slice(tools.controlled_faces)
    readings = controllability.read_levels(seen.image[first], seen.aus[first], subject.edit, jury)
    sections = [
        measured(
            f"controllability_{one.judge}",
            f"Control of each action unit, read by {one.judge}",
            f"Each action unit alone asked for from 0 to 1 on {len(seen.image[first])} faces: "
            "the slope of what is read. 1 obeys, 0 ignores. A judge that itself reads faces too "
            "low lowers it: compare runs under one judge.",
            functools.partial(controllability.scores, one, units),
        )
        for one in readings
    ]
    return sections, [controllability.response(one) for one in readings]


def persons_of(faces: Source, count: int) -> list[str]:
    """Who is in the first ``count`` faces; unknown ones are people of their own."""
    if isinstance(faces, SyntheticFaces):
        return [str(i) for i in range(count)]
    return [faces[i].get("person") or f"unknown {i}" for i in range(count)]
