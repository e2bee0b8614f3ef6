"""Processes one item: reads it, finds its faces, filters, crops and writes them."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganimation_jax.faces.openface_rows import Measured, Rows, measure, read_rows
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import Picture, encode_jpeg, read_picture
from ganimation_jax.media.video import frames
from ganimation_jax.prepare.aus_pickle import Values, from_values
from ganimation_jax.prepare.filters import check_face, perceptual_hash, sharpness_of
from ganimation_jax.prepare.finders import FINDERS, Found, Search, side_of
from ganimation_jax.prepare.problems import Skip, skip_of
from ganimation_jax.prepare.sources import Item

LARGEST = 4096  # pixels; pictures with a longer side are reduced to this on reading


class Plan(NamedTuple):
    """All settings that affect the result of an item."""

    search: Search
    min_confidence: float = 0.0
    min_side: float = 0.0  # pixels of the picture
    max_turn: float = 180.0  # degrees
    blur: float = 0.0  # minimum sharpness
    every: int = 1  # use every n-th frame of a video


class Record(NamedTuple):
    """One face of the dataset, as stored in a shard's file."""

    id: str
    group: str  # the name that lists and splits use
    source: str
    label: str  # file of the annotation; empty if none
    aus: dict[str, float]
    confidence: float | None  # None if unknown
    transform: list[list[float]]  # 2 3
    side: float
    turn: float | None
    sharpness: float
    hash: str  # perceptual, hexadecimal
    sha256: str  # of the crop's file


class _View(NamedTuple):
    """One picture of an item with its annotations."""

    id: str
    source: str
    picture: Picture
    labels: list[Measured]


def process(item: Item, plan: Plan, crops: Path) -> list[Record | Skip]:
    """Write all faces of one item to ``crops``; return their records and the skips.

    Raises:
      OSError: a crop cannot be written.
      ImportError: a package needed for this item is not installed.
    """
    results: list[Record | Skip] = []
    try:
        labels, problems = _labels(item, plan)
        results += problems
        if item.label is not None and not labels:
            return results
        for view in _views(item, labels, plan.every, max(LARGEST, 2 * plan.search.size)):
            try:
                found = FINDERS[plan.search.by](view.picture, view.labels, plan.search)
            except UnusableFile as error:
                results.append(skip_of(error, _place(item, view)))
                continue
            results += _keep(item, view, found, plan, crops)
    except UnusableFile as error:
        results.append(skip_of(error, str(item.path)))
    return results


def _labels(item: Item, plan: Plan) -> tuple[list[Measured], list[Skip]]:
    """Return the annotations of this item, and skips for the unusable rows."""
    if isinstance(item.label, Values):
        return [from_values(item.label)], []
    labels: list[Measured] = []
    skips: list[Skip] = []
    if isinstance(item.label, Rows):
        rows = read_rows(item.label)
        # Only OpenFace's landmarks tell several faces of one picture apart.
        if len(rows) > 1 and plan.search.by != "openface":
            detail = f"{len(rows)} rows; keep one: a picture, a face, a file"
            raise UnusableFile("more than one face in CSV", detail, item.label.path)
        for row in rows:
            try:
                labels.append(measure(row, item.label.path, plan.min_confidence))
            except UnusableFile as error:
                skip = skip_of(error, str(item.path))
                where = f" in frame {row['frame']}" if len(rows) > 1 and "frame" in row else ""
                skips.append(skip._replace(detail=skip.detail + where))
    return labels, skips


def _views(item: Item, labels: list[Measured], every: int, largest: int) -> Iterator[_View]:
    if item.span is None:
        picture = read_picture(item.path, largest)
        yield _View(item.id, item.source, picture, [_scaled(one, picture.scale) for one in labels])
        return
    first = item.label.first if isinstance(item.label, Rows) else 0
    by_frame: dict[int, list[Measured]] = {}
    for label in labels:
        by_frame.setdefault((label.frame or 0) - first, []).append(label)
    for number, image in frames(item.path, *item.span, every):
        if item.label is None or number in by_frame:
            name = f"{item.group}+f{number:06d}"
            source = f"{item.source}#{number}"
            yield _View(name, source, Picture(image, None), by_frame.pop(number, []))
    if by_frame:
        detail = f"the video has no frames {min(by_frame)} to {max(by_frame)}"
        raise UnusableFile("annotation without picture", detail)


def _keep(
    item: Item, view: _View, found: Sequence[Found], plan: Plan, crops: Path
) -> list[Record | Skip]:
    results: list[Record | Skip] = []
    for number, face in enumerate(found):
        place = _place(item, view) + (f" face {number + 1}" if number else "")
        if number and not plan.search.every_face:
            results.append(Skip(place, "another face", "the largest is used; --faces all uses all"))
            continue
        try:
            results.append(_write(item, view, face, number, plan, crops))
        except UnusableFile as error:
            results.append(skip_of(error, place))
    return results


def _write(item: Item, view: _View, face: Found, number: int, plan: Plan, crops: Path) -> Record:
    scale = view.picture.scale
    transform = face.transform * (scale, scale, 1)  # converts from pixels of the file
    side, sharpness = side_of(transform, plan.search.size), sharpness_of(face.crop)
    turn = face.measured.turn
    check_face(
        side, turn, sharpness, min_side=plan.min_side, max_turn=plan.max_turn, blur=plan.blur
    )
    jpeg = face.jpeg.read_bytes() if face.jpeg else encode_jpeg(face.crop)
    name = f"{view.id}+{number}" if number else view.id
    write_atomically(crops / f"{name}.jpg", jpeg)
    confidence = face.measured.confidence
    return Record(
        id=name,
        group=item.group,
        source=view.source,
        label=str(item.label.path) if isinstance(item.label, Rows) else "",
        aus=face.measured.aus,
        confidence=_or_none(confidence),
        transform=transform.tolist(),
        side=round(side, 2),
        turn=_or_none(round(turn, 2)),
        sharpness=round(sharpness, 2),
        hash=perceptual_hash(face.crop).hex(),
        sha256=hashlib.sha256(jpeg).hexdigest(),
    )


def _scaled(label: Measured, scale: float) -> Measured:
    """Scale landmarks to a reduced picture. OpenFace's origin is the centre of a pixel."""
    if label.points is None or scale == 1:
        return label
    return label._replace(points=(label.points + 0.5) * scale - 0.5)


def _place(item: Item, view: _View) -> str:
    return str(item.path) if item.span is None else f"{item.path}{view.source[len(item.source) :]}"


def _or_none(value: float) -> Any:
    return None if value != value else value  # JSON has no NaN
