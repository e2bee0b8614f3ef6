"""A map over processes, and the progress line of everything that takes a while."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # chunks handed out per process: none is idle, and memory stays bounded
IDLE = -1
UNEXPLAINED = 2  # deaths that no item is to blame for, before giving up


class Rescue(NamedTuple, Generic[Item, Result]):
    """What to do about an item that kills the process working on it."""

    name: Callable[[Item], str]  # for messages
    lost: Callable[[Item], Result]  # what stands in for its result


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    chunk: int,
    apart: bool = False,
    rescue: Rescue[Item, Result] | None = None,
) -> Iterator[Result]:
    """``map(function, items)`` in order, in several processes.

    When a process dies, the items under way are tried again, each in a process of its own. An
    item that kills that process too is given up, and the others are finished.

    Args:
      function: picklable.
      items: what to apply it to.
      workers: processes at most. A few items are done in the calling process.
      chunk: items handed out at a time.
      apart: use another process even for a few.
      rescue: without it, a process that dies ends the work.

    Raises:
      BrokenExecutor: a process died, and no item is to blame, or there is no ``rescue``.
    """
    workers = min(workers, len(items) // chunk)  # a process costs more than a few files
    if apart and items:
        workers = max(workers, 1)
    elif workers < 2:
        yield from map(function, items)
        return
    known: dict[int, Result] = {}
    done, unexplained = 0, 0
    while done < len(items):
        crew = _Crew(workers)
        try:
            for result in crew.map(function, items, done, chunk, known):
                yield result
                done += 1
        except BrokenExecutor:
            suspects = [place for place in crew.under_way() if place not in known]
            unexplained += not suspects
            if rescue is None or unexplained > UNEXPLAINED:
                raise
            if not suspects:  # it died between two items, or before the first
                continue
            names = ", ".join(rescue.name(items[place]) for place in suspects)
            print(f"\na process died at work on {names}: trying each alone", file=sys.stderr)
            for place in suspects:
                known[place] = _alone(function, items[place], rescue)


class _Crew:
    """Processes that work until one of them dies."""

    def __init__(self, workers: int):
        context = multiprocessing.get_context("spawn")
        self._workers = workers
        # The item that each process is working on; read when one has died.
        self._places = context.RawArray("q", [IDLE] * workers)
        started = context.Value("i", 0)
        self._pool = ProcessPoolExecutor(workers, context, _begin, (self._places, started))

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        start: int,
        chunk: int,
        known: dict[int, Result],
    ) -> Iterator[Result]:
        """The results from ``start`` on; those in ``known`` are taken from there."""
        pending: deque[tuple[range, Future[dict[int, Result]]]] = deque()

        def finished() -> Iterator[Result]:
            places, future = pending.popleft()
            results = known | future.result()
            yield from (results[place] for place in places)

        try:
            for first in range(start, len(items), chunk):
                places = range(first, min(first + chunk, len(items)))
                todo = {place: items[place] for place in places if place not in known}
                pending.append((places, self._pool.submit(_each, function, todo)))
                if len(pending) >= AHEAD * self._workers:
                    yield from finished()
            while pending:
                yield from finished()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def under_way(self) -> list[int]:
        """Places of the items that the processes were working on."""
        return sorted(place for place in self._places if place != IDLE)


def _alone(function: Callable[[Item], Result], item: Item, rescue: Rescue[Item, Result]) -> Result:
    try:
        return next(_Crew(1).map(function, [item], 0, 1, {}))
    except BrokenExecutor:
        print(f"skipping {rescue.name(item)}: it kills the process", file=sys.stderr)
        return rescue.lost(item)


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Pass ``items`` through; report the count, the speed and the time left on stderr."""
    live = sys.stderr.isatty()
    start = shown = time.monotonic()
    for count, item in enumerate(items, 1):
        now = time.monotonic()
        if count == total or now - shown > (0.5 if live else 10):
            shown = now
            speed = count / max(now - start, 1e-9)
            left = time.strftime("%H:%M:%S", time.gmtime((total - count) / speed))
            line = f"{label} {count}/{total}  {speed:.1f}/s  {left} left"
            end = "\r" if live and count < total else "\n"
            print(f"{line:<60}" if live else line, end=end, file=sys.stderr, flush=True)
        yield item


_mine: tuple[Any, int] | None = None  # in a worker: where to write what it is working on


def _each(function: Callable[[Item], Result], items: dict[int, Item]) -> dict[int, Result]:
    assert _mine is not None
    array, number = _mine
    results = {}
    for place, item in items.items():
        array[number] = place
        results[place] = function(item)
        array[number] = IDLE
    return results


def _begin(places: Any, started: Any) -> None:
    """Take a number; leave Ctrl-C to the parent; end when the parent ends, even if it is killed."""
    global _mine
    with started.get_lock():
        _mine = places, started.value
        started.value += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)  # nobody is left to send work, or the end of it

    threading.Thread(target=watch, daemon=True).start()
