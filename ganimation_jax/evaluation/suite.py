"""All evaluators, as the sections of a report: those quick enough for training, and the rest.

An evaluator whose optional package or weights are missing becomes a section that says so.
"""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.evaluation import (
    attention_mask,
    distances,
    identity_distance,
    panel,
    quality,
    true_edit,
    truth,
)
from ganimation_jax.evaluation.held_out import Subject
from ganimation_jax.evaluation.judges import Judge
from ganimation_jax.evaluation.means import mean
from ganimation_jax.evaluation.networks import Networks
from ganimation_jax.evaluation.panel import measured
from ganimation_jax.evaluation.readings import Read
from ganimation_jax.evaluation.results import Response, Section
from ganimation_jax.evaluation.scores import HIGHER, LOWER, Scores
from ganimation_jax.faces.crops import CANONICAL_EYES, Eyes
from ganimation_jax.features import face_resnet
from ganimation_jax.features.batches import in_batches
from ganimation_jax.synthetic.faces import SyntheticFaces

log = logging.getLogger(__name__)


OWN_EXPRESSIONS = 32  # faces that are asked for the expression that they have


class Instruments(NamedTuple):
    """What the user brings to the measurement."""

    load_inception: Callable[[], Callable]  # its features; needs PyTorch to read the weights
    openface: Path | None = None  # its FaceLandmarkImg
    openface_csvs: Path | None = None  # what it wrote for the edits
    eyes: Eyes = CANONICAL_EYES  # in the crops: (x, y) of either, in [0, 1]
    controlled_faces: int = 16  # in which each condition is requested alone


def quick(subject: Subject) -> Iterator[Section]:
    """The evaluators for use during training, too: they need no other network and no judge."""
    yield from panel.own_reader(subject)
    yield from _pixels(subject)
    yield from _true_edits(subject)


def run(subject: Subject, tools: Instruments) -> tuple[list[Section], list[Response]]:
    """Measure everything.

    Raises:
      FileNotFoundError, ValueError: an instrument that the user named cannot be used.
    """
    networks = Networks(tools.eyes, tools.load_inception)
    with contextlib.ExitStack() as stack:
        judges = list(panel.assemble(subject, tools.openface, stack))
        sections = [
            *_timed(quick(subject)),
            *_timed(_slower_true_edits(subject, networks)),
            *_timed(_judged(subject, judges)),
        ]
        if tools.openface_csvs:
            sections.append(panel.judged_from_files(subject, tools.openface_csvs))
        sections += _timed(_identity(subject, networks))
        sections += _timed(_networks(subject, networks))
        jury = panel.able(judges, sections)
        controlled, responses = panel.control(subject, tools.controlled_faces, jury)
    return [*sections, *controlled], responses


def _timed(sections: Iterator[Section]) -> Iterator[Section]:
    start = time.monotonic()
    for section in sections:
        log.info("%s: %.0f s", section.title, time.monotonic() - start)
        yield section
        start = time.monotonic()


def _judged(subject: Subject, judges: list[Judge | Section]) -> Iterator[Section]:
    for judge in judges:
        if isinstance(judge, Section):
            yield judge
        else:
            yield from panel.judged(subject, judge)


def _pixels(subject: Subject) -> Iterator[Section]:
    seen = subject.held_out

    def scores() -> Scores:
        if seen.reconstructed is not None:
            yield from quality.reconstruction(seen.reconstructed, seen.image)
        yield from quality.change(seen.edited, seen.image)
        first = slice(OWN_EXPRESSIONS)
        image, have = seen.image[first], seen.have[first]
        own = in_batches(lambda x, aus: subject.edit(x, aus, aus).image, image, have)
        yield from quality.change(own, image, name="own_expression")

    section = Section(
        "pixels",
        "Edits undone, and edits that ask for nothing",
        "Edits are edited back and compared with their sources; how much an edit changes, on the "
        "0-255 scale; and how much changes where a face is asked for the expression it has.",
        [],
    )
    yield measured(section, scores)
    if (attention := seen.attention) is None:
        return
    section = Section(
        "attention",
        "Attention",
        "The mask, 1 where the source is kept. All near 1: edits do nothing; all near 0: the "
        "whole picture is painted anew.",
        [],
    )
    yield measured(section, lambda: attention_mask.health(attention))


def _true_edits(subject: Subject) -> Iterator[Section]:
    """Against true edits, where the data have them."""
    seen = subject.held_out
    if (drawn := _drawn(subject)) is not None:
        section = Section(
            "truth",
            "Against the true edit",
            "The same person drawn with the requested action units is the true edit. Baselines: "
            "no edit, and the requested expression on another person's face.",
            [],
        )
        yield measured(
            section, lambda: truth.evaluate(drawn, seen.image, seen.edited, seen.attention)
        )
    if (pairs := _pairs(subject)) is not None:
        section = Section(
            "true_edit",
            "Against another picture of the person",
            "The true edit is another picture of the same person, with the requested expression. "
            "Baselines: no edit, and the true edit of another person.",
            [],
        )
        yield measured(section, lambda: true_edit.evaluate(pairs))


def _slower_true_edits(subject: Subject, networks: Networks) -> Iterator[Section]:
    seen = subject.held_out
    drawn, pairs = _drawn(subject), _pairs(subject)
    if drawn is not None:
        section = Section(
            "truth_on_edits",
            "Edits, read by exact fit",
            "The action units whose drawing is nearest to the edit, against the requested ones.",
            [],
            kind="edits",
            judge="exact fit",
        )
        yield measured(section, lambda: truth.evaluate_aus(drawn, seen.edited, subject.names))
    if pairs is not None:

        def perceived() -> Scores:
            yield from true_edit.evaluate_perceived(pairs, "LPIPS-Alex", networks.lpips)
            yield from true_edit.evaluate_perceived(pairs, "identity", networks.face_distance)

        section = Section(
            "true_edit_perceived",
            "Against another picture of the person, as networks see it",
            "LPIPS on AlexNet and the distance of dlib's face descriptors to the true edit: 0 is "
            "best.",
            [],
        )
        yield measured(section, perceived)
    if drawn is None and pairs is None:
        yield Section(
            "true_edit",
            "Against the true edit",
            "",
            [],
            missing="These data have no true edits: drawn faces (--config=configs/synthetic.py) "
            "and data with pairs of one person do.",
        )


def _drawn(subject: Subject) -> truth.Truth | None:
    known = set(subject.names) <= set(ACTION_UNITS)
    if isinstance(subject.faces, SyntheticFaces) and known:
        return truth.of(subject.faces, subject.names, subject.held_out.want)
    return None


def _pairs(subject: Subject) -> true_edit.Pairs | None:
    seen = subject.held_out
    if seen.other is None:
        return None
    chosen = np.ones(len(seen.image), bool) if seen.paired is None else seen.paired.astype(bool)
    if not chosen.any():
        return None
    persons = [who for who, is_paired in zip(subject.persons, chosen, strict=True) if is_paired]
    return true_edit.Pairs(seen.image[chosen], seen.other[chosen], seen.edited[chosen], persons)


def _identity(subject: Subject, networks: Networks) -> Iterator[Section]:
    seen = subject.held_out

    def scores() -> Scores:
        yield from identity_distance.evaluate(
            seen.image, seen.edited, subject.persons, networks.embed, face_resnet.THRESHOLD
        )

    section = Section(
        "identity",
        "Identity",
        "Distance of dlib's face descriptors of source and edit, beside that of two pictures of "
        "one person and of two persons of this set. Faces whose person is not known count as "
        "persons of their own.",
        [],
    )
    yield measured(section, scores)


def _networks(subject: Subject, networks: Networks) -> Iterator[Section]:
    """Distances in the features of networks that were trained on other pictures."""
    seen = subject.held_out

    undone = seen.reconstructed

    def structural() -> Scores:
        assert undone is not None
        yield mean("reconstruction", "ssim", quality.ssim(undone, seen.image), better=HIGHER)

    if undone is not None:
        section = Section("ssim", "Structure", "SSIM of edits undone and their sources.", [])
        yield measured(section, structural)

    def perceptual() -> Scores:
        if undone is not None:
            values = networks.lpips(undone, seen.image)
            yield mean("reconstruction", "LPIPS-Alex", values, better=LOWER)
        yield mean("edit_response", "LPIPS-Alex", networks.lpips(seen.edited, seen.image))

    section = Section(
        "lpips",
        "Perceptual distance",
        "LPIPS on AlexNet: of edits undone from their sources, where 0 is best, and of edits, "
        "where it says how much they change.",
        [],
    )
    yield measured(section, perceptual)
    about = (
        "Distance of all edits from all held-out faces, in the features of {}. Compare it only "
        "between runs on the same faces and the same number of them; its standard error and bias "
        "are beside it."
    )
    features_of: dict[str, tuple[str, str, Callable[[], Read]]] = {
        "vgg16": ("VGG16", "VGG16 (relu4_3)", lambda: networks.vgg16),
        "inception": (
            "Inception",
            "Inception-v3 (pool3), whose Frechet distance is called FID",
            lambda: networks.inception,
        ),
    }
    for name, (network, features, load) in features_of.items():
        title = f"Edits among real faces: {network}"
        section = Section(name, title, about.format(features), [], kind="sets")
        yield measured(section, functools.partial(_distances, subject, network, load))


def _distances(subject: Subject, network: str, load: Callable[[], Read]) -> Scores:
    features, seen = load(), subject.held_out
    yield from distances.compare(network, features(seen.edited), features(seen.image))
