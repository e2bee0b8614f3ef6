"""A map over processes, and the progress line of long tasks."""

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

AHEAD = 4  # chunks queued per process: no process idles, and memory is bounded
IDLE = -1
UNEXPLAINED = 2  # give up after this many crashes that no item caused


class Rescue(NamedTuple, Generic[Item, Result]):
    """How to handle an item that kills its worker process."""

    name: Callable[[Item], str]  # for messages
    lost: Callable[[Item], Result]  # the substitute for its result


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    chunk: int,
    apart: bool = False,
    rescue: Rescue[Item, Result] | None = None,
) -> Iterator[Result]:
    """Compute ``map(function, items)`` in several processes, in order.

    If a process dies, each item in progress is retried in its own process. An item that kills
    that process too is given up; all other items are completed.

    Args:
      function: a picklable function.
      items: its arguments.
      workers: maximum number of processes. A few items are processed in the calling process.
      chunk: number of items sent to a process at a time.
      apart: use a separate process even for a few items.
      rescue: handles items that kill a process. Without it, such an item ends the map.

    Raises:
      BrokenExecutor: a process died, and no item caused it or there is no ``rescue``.
    """
    workers = min(workers, len(items) // chunk)  # starting a process takes longer than a few files
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
            if not suspects:  # the process died between items or before the first
                continue
            names = ", ".join(rescue.name(items[place]) for place in suspects)
            print(
                f"\na process died while reading {names}: trying each file alone", file=sys.stderr
            )
            for place in suspects:
                known[place] = _alone(function, items[place], rescue)


class _Crew:
    """A pool of processes that works until one of them dies."""

    def __init__(self, workers: int):
        context = multiprocessing.get_context("spawn")
        self._workers = workers
        # The current item of each process; read after one has died.
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
        """Yield the results from ``start`` on, taking those in ``known`` from there."""
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
        """Indices of the items that the processes were working on."""
        return sorted(place for place in self._places if place != IDLE)


def _alone(function: Callable[[Item], Result], item: Item, rescue: Rescue[Item, Result]) -> Result:
    try:
        return next(_Crew(1).map(function, [item], 0, 1, {}))
    except BrokenExecutor:
        print(f"skipping {rescue.name(item)}: reading it kills the process", file=sys.stderr)
        return rescue.lost(item)


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Yield ``items``; report the count, the speed and the remaining time on stderr."""
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


_mine: tuple[Any, int] | None = None  # in a worker: the slot for its current item


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
    """Initialise a worker: take a slot, ignore Ctrl-C, exit when the parent ends or is killed."""
    global _mine
    with started.get_lock():
        _mine = places, started.value
        started.value += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)  # the parent can no longer send work or end this process

    threading.Thread(target=watch, daemon=True).start()
