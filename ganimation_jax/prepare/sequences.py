"""CSV files of OpenFace that speak of many pictures: of a folder, a video, its own crops."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.video import VIDEO_SUFFIXES, frame_range, probe
from ganimation_jax.prepare.annotations import RowKey, Rows, index_rows
from ganimation_jax.prepare.problems import Skip, skip_of
from ganimation_jax.prepare.sources import Item, by_stem, spans
from ganimation_jax.prepare.splits import face_id

# OpenFace's own crops: of a sequence (face, frame), of a single picture (face).
_CROP = re.compile(r"(?:frame_det_(?P<id>\d+)_(?P<frame>\d+)|face_det_(?P<face>\d+))$")


def match_sequences(
    images: Path, pictures: Sequence[Path], csvs: Sequence[Path]
) -> tuple[list[Item], set[Path], list[Skip]]:
    """Match CSV files of many rows with folders and videos of their name.

    Returns:
      The items, the files that they are made of, and what could not be matched.
    """
    stems = {path.stem for path in pictures if path.suffix.lower() not in VIDEO_SUFFIXES}
    videos, _ = by_stem(path for path in pictures if path.suffix.lower() in VIDEO_SUFFIXES)
    folders: dict[str, list[Path]] = {}
    for path in pictures:
        folders.setdefault(path.parent.name, []).append(path)
    items: list[Item] = []
    used: set[Path] = set()
    skips: list[Skip] = []
    for csv in csvs:
        crops = folders.get(f"{csv.stem}_aligned", [])
        try:
            if crops:
                made = _of_crops(images, csv, crops)
            elif csv.stem in stems:
                continue  # of one picture, the ordinary case
            elif csv.stem in videos:
                made = _of_video(images, csv, videos[csv.stem])
            elif csv.stem in folders:
                made = _of_folder(images, csv, folders[csv.stem])
            else:
                made = _of_names(images, csv, pictures)
        except UnusableFile as error:
            made = [skip_of(error, str(csv))]
        for one in made:
            if isinstance(one, Skip):
                skips.append(one)
                used |= {Path(one.file), csv}
            else:
                items.append(one)
                used |= {one.path, csv}
    return items, used, skips


def _of_crops(images: Path, csv: Path, crops: Iterable[Path]) -> list[Item | Skip]:
    keys, made = _keys(csv)
    rows = {(key.frame, key.face): key.offset for key in keys}
    for path in sorted(crops):
        match = _CROP.search(path.stem)
        place = match and (int(match["frame"] or 0), int(match["id"] or match["face"] or 0))
        if place not in rows:
            made.append(Skip(str(path), "picture without annotation", f"no row in {csv}"))
            continue
        name = f"{place[0]:06d}" + (f"+{place[1]}" if place[1] else "")
        made.append(_item(images, path, f"{csv.stem}+{name}", csv.stem, Rows(csv, (rows[place],))))
    return made


def _of_folder(images: Path, csv: Path, pictures: Sequence[Path]) -> list[Item | Skip]:
    if len(places := {path.parent for path in pictures}) > 1:
        raise UnusableFile("two folders of one name", " and ".join(map(str, sorted(places))), csv)
    keys, made = _keys(csv)
    offsets = _by_frame(keys)
    first = _first(offsets)
    for frame, path in enumerate(sorted(pictures), first):
        if frame in offsets:
            label = Rows(csv, offsets.pop(frame))
            made.append(_item(images, path, f"{csv.stem}+{frame:06d}", csv.stem, label))
        else:
            made.append(Skip(str(path), "picture without annotation", f"no frame {frame} in {csv}"))
    made += [
        Skip(str(csv), "annotation without picture", f"frame {frame}") for frame in sorted(offsets)
    ]
    return made


def _of_video(images: Path, csv: Path, video: Path) -> list[Item | Skip]:
    keys, made = _keys(csv)
    offsets = _by_frame(keys)
    first = _first(offsets)
    whole = Item(video.name, video.name, video, video.relative_to(images).as_posix())
    rate = probe(video).rate
    for piece in spans(whole):
        assert piece.span is not None
        begin, end = frame_range(piece.span.start, piece.span.stop, rate)
        inside = [
            offset
            for frame in sorted(offsets)
            if begin <= frame - first < end
            for offset in offsets[frame]
        ]
        if inside:
            made.append(piece._replace(label=Rows(csv, tuple(inside), first)))
    return made


def _of_names(images: Path, csv: Path, pictures: Iterable[Path]) -> list[Item | Skip]:
    keys, made = _keys(csv)
    if not any(key.file for key in keys):
        return []  # it names nothing: told of as an annotation without picture
    by_name: dict[str, list[Path]] = {}
    for path in pictures:
        for name in {path.relative_to(images).as_posix(), path.name, path.stem}:
            by_name.setdefault(name, []).append(path)
    offsets: dict[str, list[int]] = {}
    for key in keys:
        offsets.setdefault(key.file, []).append(key.offset)
    for name, places in offsets.items():
        found = by_name.get(name) or by_name.get(face_id(name)) or []
        if len(found) == 1:
            label, stem = Rows(csv, tuple(places)), face_id(name)
            made.append(_item(images, found[0], stem, stem, label))
        else:
            reason = "two files of one id" if found else "annotation without picture"
            made.append(Skip(f"{csv}:{name}", reason, " and ".join(map(str, found))))
    return made


def _item(images: Path, path: Path, name: str, group: str, label: Rows) -> Item:
    """All of one ``group``, a sequence, go to one split."""
    return Item(name, group, path, path.relative_to(images).as_posix(), label)


def _keys(csv: Path) -> tuple[list[RowKey], list[Item | Skip]]:
    keys: list[RowKey] = []
    skips: list[Item | Skip] = []
    for row in index_rows(csv):
        (keys if isinstance(row, RowKey) else skips).append(row)  # type: ignore[arg-type]
    return keys, skips


def _by_frame(keys: Iterable[RowKey]) -> dict[int, tuple[int, ...]]:
    offsets: dict[int, tuple[int, ...]] = {}
    for key in keys:
        offsets[key.frame] = (*offsets.get(key.frame, ()), key.offset)
    return offsets


def _first(frames: Iterable[int]) -> int:
    """OpenFace counts from 1; its first version counted videos from 0."""
    return 0 if 0 in frames else 1
