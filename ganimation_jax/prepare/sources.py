"""Lists the pictures and pieces of videos in a folder, in a fixed order."""

import hashlib
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.faces.openface_rows import Rows
from ganimation_jax.files.unusable import UnusableFile, check_regular
from ganimation_jax.media.pictures import IMAGE_SUFFIXES, picture_size
from ganimation_jax.media.video import SEGMENT, VIDEO_SUFFIXES, probe
from ganimation_jax.prepare.aus_pickle import Values
from ganimation_jax.prepare.problems import Skip, UsageError, skip_of

LONGEST = 60  # characters of up to 4 bytes each; file names may have 255 bytes
OURS = {".csv"}  # annotation files that may be stored next to the pictures


class Span(NamedTuple):
    """A piece of a video, in seconds."""

    start: float
    stop: float


class Item(NamedTuple):
    """One unit of work: a picture or a span of a video."""

    id: str  # unique and safe as a file name
    group: str  # the name that lists and splits use: the picture or whole video
    path: Path
    source: str  # path relative to the input folder, for the table
    label: Rows | Values | None = None  # None: measure the face
    span: Span | None = None


def walk(folder: Path) -> tuple[list[Path], list[Skip]]:
    """List all regular files at any depth, sorted, ignoring hidden files and folders.

    Symbolic links are followed. Each folder is entered only once, even if links or loops of
    links lead to it again.

    Raises:
      UsageError: the folder does not exist.
    """
    if not folder.is_dir():
        raise UsageError(f"no directory {folder}")
    files: list[Path] = []
    skips: list[Skip] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]  # a stack, because folders may be too deeply nested for recursion
    while waiting:
        place = waiting.pop()
        try:
            stat = place.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                skips.append(Skip(printable(place), "folder seen before", str(place.resolve())))
                continue
            seen.add((stat.st_dev, stat.st_ino))
            entries = sorted(os.scandir(place), key=lambda entry: (entry.is_symlink(), entry.name))
        except (OSError, RuntimeError) as error:  # resolve() raises RuntimeError on a loop
            skips.append(Skip(printable(place), "unreadable folder", str(error)))
            continue
        folders = []
        for path in (place / entry.name for entry in entries if not entry.name.startswith(".")):
            if printable(path) != str(path):
                skips.append(Skip(printable(path), "file name is not UTF-8", "rename it"))
                continue
            try:
                if path.is_dir():
                    folders.append(path)
                else:
                    check_regular(path)
                    files.append(path)
            except OSError as error:  # a broken link or a path that is too long
                skips.append(Skip(str(path), "unreadable file", error.strerror or str(error)))
            except UnusableFile as error:
                skips.append(skip_of(error, str(path)))
        waiting += reversed(folders)
    return sorted(files), skips


def of_kind(
    files: Iterable[Path], suffixes: Iterable[str], ignored: Iterable[str] = OURS
) -> tuple[list[Path], list[Skip]]:
    """Select files with one of these suffixes, and pictures with an unknown suffix or none.

    Returns:
      The files, and a skip for every other file whose suffix is not in ``ignored``.
    """
    chosen, skips = [], []
    for path in files:
        suffix = path.suffix.lower()
        if suffix in suffixes:
            chosen.append(path)
        elif suffix in VIDEO_SUFFIXES:
            skips.append(Skip(str(path), "not a picture", "a video: take its frames out"))
        elif suffix not in ignored:
            try:
                picture_size(path)
            except UnusableFile as error:
                detail = f"type {path.suffix or 'unknown'}, {error}"
                skips.append(Skip(str(path), "not a picture", detail))
            else:
                chosen.append(path)
    return chosen, skips


def by_stem(files: Iterable[Path]) -> tuple[dict[str, Path], list[Skip]]:
    """Map file names without suffix to paths, in any folder; skip ambiguous names."""
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(path.stem, []).append(path)
    skips = []
    for paths in found.values():
        if len(paths) > 1:
            twins = " and ".join(str(path) for path in paths)
            skips += [Skip(str(path), "two files of one id", twins) for path in paths]
    return {stem: paths[0] for stem, paths in found.items() if len(paths) == 1}, skips


def photo_id(source: str) -> str:
    """Make an id from a path, independent of other files: ``a/b.jpg`` -> ``a__b``.

    A hash of the path is added if the id would be ambiguous, too long or hard to type.
    """
    plain = source.removesuffix(".jpg").replace("/", "__")
    safe = re.sub(r"[^\w.-]", "_", plain)[:LONGEST]
    if safe == plain and "__" not in source:
        return safe
    return f"{safe}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def photo_items(folder: Path) -> tuple[list[Item], list[Skip]]:
    """List every picture and video in a folder as items.

    Raises:
      UsageError: the folder has no pictures or videos.
      ImportError: there are videos, but the package that reads them is not installed.
    """
    files, skips = walk(folder)
    chosen, others = of_kind(files, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    skips += others
    if not chosen:
        raise UsageError(f"no pictures or videos in {folder}")
    items = []
    for path in chosen:
        source = path.relative_to(folder).as_posix()
        item = Item(photo_id(source), photo_id(source), path, source)
        if path.suffix.lower() in VIDEO_SUFFIXES:
            try:
                items += spans(item)
            except UnusableFile as error:
                skips.append(skip_of(error, str(path)))
        else:
            items.append(item)
    return items, skips


def spans(video: Item) -> list[Item]:
    """Split a video into spans that several processes can read.

    Raises:
      UnusableFile: the file is not a video.
    """
    length = probe(video.path).seconds
    count = 1 if length is None else max(1, math.ceil(length / SEGMENT))
    starts = [number * SEGMENT for number in range(count)]
    # The last span has no end because a file may be longer than its header says.
    stops = [*starts[1:], float("inf")]
    return [
        video._replace(id=f"{video.id}+{number:04d}", span=Span(start, stop))
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def printable(path: Path) -> str:
    """The path as printable text; bytes that are not UTF-8 become ``\\xNN``."""
    return os.fsencode(path).decode(errors="backslashreplace")
