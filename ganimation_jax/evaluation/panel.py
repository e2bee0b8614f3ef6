"""The sections of a report in which somebody reads the edits: the model itself, or a judge."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation import agreement, classification, controllability, judges
from ganimation_jax.evaluation.held_out import Subject
from ganimation_jax.evaluation.judges import OWN, Judge
from ganimation_jax.evaluation.results import Response, Section
from ganimation_jax.evaluation.scores import Scores
from ganimation_jax.faces.openface_program import OpenFaceError
from ganimation_jax.features.layers import TooSmall

log = logging.getLogger(__name__)


def measured(section: Section, scores: Callable[[], Scores]) -> Section:
    """The section with its scores, or with the reason why they cannot be measured."""
    try:
        return section._replace(scores=list(scores()))
    except (ImportError, FileNotFoundError, TooSmall, OpenFaceError) as error:
        log.warning("%s: not measured: %s", section.title, error)
        return section._replace(missing=str(error))


def own_reader(subject: Subject) -> Iterator[Section]:
    """What the model reads in real faces and in its edits; nothing if it does not read."""
    seen, names = subject.held_out, subject.names
    read, edited_read = seen.read, seen.edited_read
    if read is None or edited_read is None:
        return
    real = Section(
        f"{OWN}_on_real",
        "The model as a reader of real faces",
        "What the model's own reader finds in held-out faces, against their annotation.",
        [],
        kind="real",
        judge=OWN,
    )

    def on_real() -> Scores:
        yield from agreement.agreement(real.name, names, read, seen.have)
        yield from classification.errors(real.name, subject.conditions, read, seen.have)

    yield measured(real, on_real)
    edits = Section(
        f"{OWN}_on_edits",
        "Edits, read by the model itself",
        "Requested intensities against those that the model's own reader finds in the edits. "
        "The edits may have been trained to please it: this shows that training works, not more.",
        [],
        kind="edits",
        judge=OWN,
    )

    def on_edits() -> Scores:
        yield from agreement.agreement(edits.name, names, edited_read, seen.want)
        yield from classification.errors(edits.name, subject.conditions, edited_read, seen.want)
        yield from agreement.change_correlation(edited_read - read, seen.want - seen.have)

    yield measured(edits, on_edits)


def assemble(
    subject: Subject, openface: Path | None, stack: contextlib.ExitStack
) -> Iterator[Judge | Section]:
    """Judges of any picture; in the place of one that is missing, a section that says why.

    Args:
      subject: whose edits they will read.
      openface: OpenFace's FaceLandmarkImg, if the user has it.
      stack: closes the judges.

    Raises:
      FileNotFoundError, ValueError: OpenFace is not there, or cannot be used.
    """
    missing = Section(
        "mediapipe_on_edits",
        "Edits, read by mediapipe",
        "A judge that is independent of the model and of the training labels.",
        [],
        kind="edits",
        judge="mediapipe",
    )
    if not set(subject.names) & set(ACTION_UNITS):
        reason = "None of the model's conditions is an action unit, which is what judges read."
        yield missing._replace(missing=reason)
        return
    try:
        yield stack.enter_context(judges.mediapipe(subject.names))
    except (ImportError, FileNotFoundError) as error:
        log.warning("MediaPipe: not measured: %s", error)
        yield missing._replace(missing=str(error))
    if openface:
        yield judges.openface_binary(openface, subject.names)


def judged(subject: Subject, judge: Judge) -> Iterator[Section]:
    """Edits as a judge reads them, and the held-out faces themselves."""
    seen = subject.held_out
    yield _judged_on(
        subject,
        judge,
        "edits",
        seen.edited,
        seen.want,
        f"Edits, read by {judge.name}",
        "Requested intensities against those that the judge reads in the edits.",
    )
    yield _judged_on(
        subject,
        judge,
        "real",
        seen.image,
        seen.have,
        f"Real faces, read by {judge.name}",
        "Annotated intensities against those that the judge reads in the held-out faces: the "
        "best that it could find in edits.",
    )


def judged_from_files(subject: Subject, folder: Path) -> Section:
    """Edits as OpenFace has read them, in CSV files."""
    judge = judges.openface_csvs(folder, subject.names)
    seen = subject.held_out
    read = judge.read(seen.edited)  # files that cannot be used end the evaluation
    return _judged_on(
        subject,
        judge._replace(read=lambda images: read),
        "edits",
        seen.edited,
        seen.want,
        "Edits, read by OpenFace",
        f"Requested intensities against those in the CSV files of {folder.name}.",
    )


def _judged_on(
    subject: Subject,
    judge: Judge,
    kind: str,
    images: np.ndarray,
    wanted: np.ndarray,
    title: str,
    about: str,
) -> Section:
    section = Section(
        f"{judge.name}_on_{kind}",
        title,
        about,
        [],
        kind="edits" if kind == "edits" else "real",
        judge=judge.name,
        quality=dict(judge.quality),
    )
    return measured(
        section,
        lambda: agreement.agreement(
            section.name, subject.names, judge.read(images), wanted, judge.quality
        ),
    )


def control(
    subject: Subject, faces: int, panel: Sequence[Judge]
) -> tuple[list[Section], list[Response]]:
    """Each condition requested alone, read by the model itself and by judges.

    Args:
      subject: whose edits they read.
      faces: how many of the held-out faces are edited, the first ones.
      panel: the judges.
    """
    seen, first = subject.held_out, slice(faces)
    own = [] if subject.read is None else [judges.own_reader(subject.read, subject.names)]
    if not (own or panel):
        return [], []
    readings = controllability.read_levels(
        seen.image[first], seen.have[first], subject.edit, [*own, *panel]
    )
    sections = []
    for one in readings:
        section = Section(
            f"controllability_{one.judge}",
            f"Control of each condition, read by {one.judge}",
            f"Each condition alone is requested from 0 to 1 in {len(seen.image[first])} faces: "
            "the slope of the readings. 1 is perfect control, 0 none. A judge that reads too low "
            "even in real faces lowers it: compare runs by one judge.",
            [],
            kind="control",
            judge=one.judge,
            quality=dict(one.quality),
        )
        scores = functools.partial(controllability.scores, one, subject.names)
        sections.append(measured(section, scores))
    return sections, [controllability.response(one) for one in readings]


def able(panel: Iterable[Judge | Section], sections: Iterable[Section]) -> list[Judge]:
    """The judges that could read."""
    failed = {section.judge for section in sections if section.missing}
    return [one for one in panel if isinstance(one, Judge) and one.name not in failed]
