"""Finds the picture that an annotation means, by as much of its path as the annotation gives."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from ganimation_jax.media.pictures import IMAGE_SUFFIXES
from ganimation_jax.prepare.sources import photo_id

Label = TypeVar("Label")


class Match(NamedTuple):
    """What a name stands for."""

    paths: list[Path]  # none, one, or several that fit equally well
    parts: int = 0  # how many parts of the path agree, counted from the end


class Assigned(NamedTuple, Generic[Label]):
    """A label and its picture."""

    name: str
    label: Label
    path: Path | None
    rivals: list[Path]  # where nothing decides between several: all of them, and no ``path``


class Names:
    """Paths to be found by name.

    Args:
      paths: each with what it is called: its path from the folder given, with ``/``.
    """

    def __init__(self, paths: Iterable[tuple[str, Path]]):
        # Parts of each name from its end, sorted, so that those that share an end are together.
        self._names = sorted(
            (tuple(reversed(name.split("/"))), path)
            for source, path in paths
            for name in {source, without_ending(source)}
        )

    def find(self, name: str) -> Match:
        """The paths that share most with ``name``, those that are the whole of it first.

        Args:
          name: may be a path of another machine, with either kind of slash, and may lack the
            file's ending.
        """
        for text in dict.fromkeys((name, name.replace("\\", "/"))):
            for given in dict.fromkeys((text, without_ending(text))):
                if (match := self._find(tuple(reversed(given.strip("/").split("/"))))).paths:
                    return match
        return Match([])

    def _find(self, parts: tuple[str, ...]) -> Match:
        for count in range(len(parts), 0, -1):
            end = parts[:count]
            first = bisect_left(self._names, end, key=_parts)
            last = bisect_right(self._names, end, lo=first, key=lambda one: one[0][:count])
            if found := self._names[first:last]:
                whole = [path for name, path in found if name == end]
                return Match(whole or [path for _, path in found], count)
        return Match([])


def assign(labels: Iterable[tuple[str, Label]], names: Names) -> Iterator[Assigned[Label]]:
    """Find the path of each label.

    Of two labels that find one path, the label whose name shares more with it gets it.

    Args:
      labels: each with its name.
      names: where to look.
    """
    found = [(name, label, names.find(name)) for name, label in labels]
    best: dict[Path, int] = {}
    claims: Counter[tuple[Path, int]] = Counter()
    for _, _, match in found:
        for path in match.paths:
            best[path] = max(best.get(path, 0), match.parts)
            claims[path, match.parts] += 1
    for name, label, match in found:
        paths = [path for path in match.paths if best[path] == match.parts]
        if len(paths) == 1 and claims[paths[0], match.parts] == 1:
            yield Assigned(name, label, paths[0], [])
        else:
            yield Assigned(name, label, None, paths)


def ids_of(names: dict[Path, str]) -> dict[Path, str]:
    """An id for each path: the last part of its name, or the whole name where two share that.

    Args:
      names: what each path is called, without ending.
    """
    counts = Counter(name.rpartition("/")[2] for name in names.values())
    return {
        path: last if counts[last := name.rpartition("/")[2]] == 1 else photo_id(name)
        for path, name in names.items()
    }


def without_ending(name: str) -> str:
    """``a.b.jpg`` -> ``a.b``, and ``a.b`` stays, because names may contain dots."""
    stem, _, suffix = name.rpartition(".")
    return stem if stem and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _parts(name: tuple[tuple[str, ...], Path]) -> tuple[str, ...]:
    return name[0]
