"""Matches OpenFace CSV files of many rows with a folder, a video, or OpenFace's own crops."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.faces.openface_rows import RowKey, Rows, index_rows
from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.video import VIDEO_SUFFIXES, frame_range, probe
from ganimation_jax.prepare.matching import Match, Names, assign, ids_of
from ganimation_jax.prepare.problems import Skip, skip_of
from ganimation_jax.prepare.sources import Item, photo_id, spans

# Names of OpenFace's own crops: of a sequence (face, frame), of a single picture (face).
_CROP = re.compile(r"(?:frame_det_(?P<id>\d+)_(?P<frame>\d+)|face_det_(?P<face>\d+))$")

Results = list[Item | Skip]


class Tree(NamedTuple):
    """An index of the pictures and videos under a folder."""

    root: Path
    ids: Mapping[Path, str]  # ids of the pictures
    folders: Mapping[Path, Sequence[Path]]  # folder -> its pictures, sorted
    pictures: Names
    videos: Names
    folder_names: Names

    def source(self, path: Path) -> str:
        """The path relative to the root."""
        return path.relative_to(self.root).as_posix()


def tree_of(root: Path, files: Sequence[Path]) -> Tree:
    """Index the pictures and videos under ``root``."""
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [path for path in files if path.suffix.lower() not in VIDEO_SUFFIXES]
    folders: dict[Path, list[Path]] = {}
    for path in sorted(pictures):
        folders.setdefault(path.parent, []).append(path)
    # OpenFace names its file after the folder, including the root if all pictures are there.
    top = root.resolve().name
    sources = {path: path.relative_to(root).as_posix() for path in (*files, *folders)}
    return Tree(
        root=root,
        ids=ids_of({path: sources[path].removesuffix(path.suffix) for path in pictures}),
        folders=folders,
        pictures=Names((sources[path], path) for path in pictures),
        videos=Names((sources[path].removesuffix(path.suffix), path) for path in videos),
        folder_names=Names((f"{top}/{sources[path]}".removesuffix("/."), path) for path in folders),
    )


def match_sequences(
    tree: Tree, csvs: Mapping[Path, str]
) -> tuple[list[Item], set[Path], list[Skip]]:
    """Match CSV files of many rows with the folders and videos that they describe.

    Args:
      tree: the pictures and videos.
      csvs: each file's path relative to the folder of CSV files, without suffix.

    Returns:
      The items, the files that they use, and skips for unmatched files.
    """
    ids = ids_of(dict(csvs))
    items: list[Item] = []
    used: set[Path] = set()
    skips: list[Skip] = []
    for csv, name in csvs.items():
        try:
            made = _of_csv(tree, csv, name, ids[csv])
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


def _of_csv(tree: Tree, csv: Path, name: str, group: str) -> Results:
    """Match a file with the source of the same name that shares most of its path."""
    crops = tree.folder_names.find(f"{name}_aligned")
    picture, video = tree.pictures.find(name), tree.videos.find(name)
    folder = tree.folder_names.find(name)
    most = max((crops, picture, video, folder), key=lambda match: match.parts)
    if not most.paths:
        return _of_names(tree, csv)
    if most is picture:
        return []  # one picture: the usual case, matched later
    path = _only(most, csv)
    if most is video:
        return _of_video(tree, csv, path)
    if most is folder:
        return _of_folder(tree, csv, group, tree.folders[path])
    return _of_crops(tree, csv, group, tree.folders[path])


def _only(match: Match, csv: Path) -> Path:
    if len(match.paths) > 1:
        kind = "videos" if match.paths[0].is_file() else "folders"
        places = " and ".join(map(str, sorted(match.paths)))
        raise UnusableFile(f"two {kind} of one name", places, csv)
    return match.paths[0]


def _of_crops(tree: Tree, csv: Path, group: str, crops: Iterable[Path]) -> Results:
    keys, made = _keys(csv)
    rows = {(key.frame, key.face): key.offset for key in keys}
    for path in crops:
        match = _CROP.search(path.stem)
        place = match and (int(match["frame"] or 0), int(match["id"] or match["face"] or 0))
        if place not in rows:
            made.append(Skip(str(path), "picture without annotation", f"no row in {csv}"))
            continue
        name = f"{place[0]:06d}" + (f"+{place[1]}" if place[1] else "")
        label = Rows(csv, (rows[place],))
        made.append(Item(f"{group}+{name}", group, path, tree.source(path), label))
    return made


def _of_folder(tree: Tree, csv: Path, group: str, pictures: Sequence[Path]) -> Results:
    keys, made = _keys(csv)
    offsets = _by_frame(keys)
    first = _first(offsets)
    for frame, path in enumerate(pictures, first):
        if frame in offsets:
            label = Rows(csv, tuple(offsets.pop(frame)))
            made.append(Item(f"{group}+{frame:06d}", group, path, tree.source(path), label))
        else:
            made.append(Skip(str(path), "picture without annotation", f"no frame {frame} in {csv}"))
    made += [
        Skip(str(csv), "annotation without picture", f"frame {frame}") for frame in sorted(offsets)
    ]
    return made


def _of_video(tree: Tree, csv: Path, video: Path) -> Results:
    keys, made = _keys(csv)
    offsets = _by_frame(keys)
    first = _first(offsets)
    alone = len(tree.videos.find(video.stem).paths) == 1
    group = video.name if alone else photo_id(tree.source(video))
    whole = Item(group, group, video, tree.source(video))
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


def _of_names(tree: Tree, csv: Path) -> Results:
    """Match rows by the column that names each row's picture."""
    keys, made = _keys(csv)
    if keys and not any(key.file for key in keys):
        return []  # the whole file is reported as an annotation without picture
    offsets: dict[str, list[int]] = {}
    for key in keys:
        if key.file:
            offsets.setdefault(key.file, []).append(key.offset)
        else:
            place = f"the row that starts at byte {key.offset} names none"
            made.append(Skip(str(csv), "annotation without picture", place))
    for one in assign(offsets.items(), tree.pictures):
        if one.path is not None:
            label, name = Rows(csv, tuple(one.label)), tree.ids[one.path]
            made.append(Item(name, name, one.path, tree.source(one.path), label))
        else:
            reason = "two files of one id" if one.rivals else "annotation without picture"
            made.append(Skip(f"{csv}:{one.name}", reason, " and ".join(map(str, one.rivals))))
    return made


def _keys(csv: Path) -> tuple[list[RowKey], Results]:
    keys: list[RowKey] = []
    skips: Results = []
    for row in index_rows(csv):
        if isinstance(row, RowKey):
            keys.append(row)
        else:
            skips.append(skip_of(row, str(csv)))
    return keys, skips


def _by_frame(keys: Iterable[RowKey]) -> dict[int, list[int]]:
    offsets: dict[int, list[int]] = {}
    for key in keys:
        offsets.setdefault(key.frame, []).append(key.offset)
    return offsets


def _first(frames: Iterable[int]) -> int:
    """OpenFace numbers frames from 1; its first version numbered video frames from 0."""
    return 0 if 0 in frames else 1
