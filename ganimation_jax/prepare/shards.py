"""Splits the work into shards, so that a resumed run repeats little work.

The file of a shard, ``OUT/shards/<name>.jsonl``, has one line for each face and each skip of
about a thousand items, then a line with the SHA-256 of the lines before it. Its name is a hash
of everything that determines its content. A shard is complete if its file and all its crops
exist and match their digests.
"""

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ganimation_jax.faces.openface_rows import Rows
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.prepare.parallel import Rescue, parallel_map, progress
from ganimation_jax.prepare.problems import Skip
from ganimation_jax.prepare.sources import Item
from ganimation_jax.prepare.work import Plan, Record, process

FORMAT = 2  # increase this when the same input gives a different result
SEAL = "sha256_of_lines"
VIDEO_WEIGHT = 60  # a piece of a video counts as this many pictures


class Shard(NamedTuple):
    """Some items and the file for their results."""

    path: Path
    items: list[Item]


def plan_shards(items: Sequence[Item], plan: Plan, folder: Path, size: int) -> list[Shard]:
    """Cut the items, sorted by id, into shards of about ``size`` and at most ``4 * size`` pictures.

    A hash of the item decides where to cut, so that an added file changes only one shard and
    not all later ones.
    """
    shards, part, weight = [], [], 0.0
    for number, item in enumerate(items, 1):
        own = 1 if item.span is None else VIDEO_WEIGHT
        part.append(item)
        weight += own
        draw = int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:8], "big") / 2**64
        if draw < own / size or weight >= 4 * size or number == len(items):
            shards.append(Shard(folder / f"{_name(part, plan)}.jsonl", part))
            part, weight = [], 0.0
    return shards


def run_shards(shards: Sequence[Shard], plan: Plan, crops: Path, workers: int) -> None:
    """Process all incomplete shards.

    Raises:
      OSError: a file cannot be written. Complete shards are kept.
    """
    todo = [shard for shard in shards if not complete(shard.path, crops)]
    if done := len(shards) - len(todo):
        print(f"{done} of {len(shards)} shards are done already")
    items = [item for shard in todo for item in shard.items]
    # Resizing a crop takes a millisecond, so hand out many at a time. Detection is slower.
    chunk = 32 if plan.search.by in ("square", "celeba") else 4
    if any(item.span for item in items) or len(items) < 100:
        chunk = 1
    work = functools.partial(process, plan=plan, crops=crops)
    apart = plan.search.by == "mediapipe"  # it only shuts down cleanly in its own process
    mapped = parallel_map(work, items, workers, chunk, apart, Rescue(_name_of, _lost))
    results = progress(mapped, len(items), "crops")
    for shard in todo:
        lines = itertools.chain.from_iterable(itertools.islice(results, len(shard.items)))
        write_shard(shard.path, lines)


def write_shard(path: Path, lines: Iterable[Record | Skip]) -> None:
    """Write a shard's file: the lines and their digest."""
    text = "".join(json.dumps(line._asdict(), ensure_ascii=False) + "\n" for line in lines)
    seal = json.dumps({SEAL: hashlib.sha256(text.encode()).hexdigest()})
    write_atomically(path, f"{text}{seal}\n".encode())


def read_shards(paths: Sequence[Path]) -> Iterator[Record | Skip]:
    """Yield all results of the shards' files, in order."""
    for path in paths:
        with path.open(encoding="utf-8") as file:
            for line in file:
                fields = json.loads(line)
                if SEAL not in fields:
                    yield Record(**fields) if "id" in fields else Skip(**fields)


def sweep(folder: Path, crops: Path, current: Sequence[Shard]) -> None:
    """Remove obsolete shards, and the crops that only they refer to."""
    paths = [shard.path for shard in current]
    if stale := sorted(set(folder.glob("*.jsonl")) - set(paths)):
        used = {record.id for record in read_shards(paths) if isinstance(record, Record)}
        for path in stale:
            for record in _readable(path):
                if isinstance(record, Record) and record.id not in used:
                    (crops / f"{record.id}.jpg").unlink(missing_ok=True)
            path.unlink()


def complete(path: Path, crops: Path) -> bool:
    """Whether the shard's file and all its crops are complete and undamaged."""
    try:
        *lines, seal = path.read_bytes().splitlines(keepends=True)
        if json.loads(seal) != {SEAL: hashlib.sha256(b"".join(lines)).hexdigest()}:
            return False
        return all(
            hashlib.sha256((crops / f"{record.id}.jpg").read_bytes()).hexdigest() == record.sha256
            for record in read_shards([path])
            if isinstance(record, Record)
        )
    except (FileNotFoundError, ValueError):  # ValueError: damaged, such as by a power cut
        return False


def _readable(path: Path) -> Iterator[Record | Skip]:
    """Yield the readable results of a shard that may be damaged or of another version."""
    try:
        yield from read_shards([path])
    except (ValueError, TypeError):
        return


def _name_of(item: Item) -> str:
    return str(item.path)


def _lost(item: Item) -> list[Record | Skip]:
    detail = "the process that read it died, also when it read nothing else"
    return [Skip(str(item.path), "kills the process", detail)]


def _name(items: Sequence[Item], plan: Plan) -> str:
    readout = plan.search.readout
    search = plan.search._replace(model=None, readout=None)  # the model never differs
    digest = hashlib.sha256(repr((FORMAT, plan._replace(search=search))).encode())
    digest.update(readout.read_bytes() if readout else b"")
    for item in items:
        label = item.label.path if isinstance(item.label, Rows) else None
        stamps = (_stamp(item.path), label and _stamp(label))
        digest.update(repr((item._replace(path=Path()), stamps)).encode())
    return digest.hexdigest()[:20]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:  # reading the file will report the reason
        return 0, 0
    return stat.st_size, stat.st_mtime_ns
