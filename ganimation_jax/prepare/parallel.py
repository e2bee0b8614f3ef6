"""A map over processes, and the progress line of everything that takes a while."""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # chunks per process under way at once: none idles, and memory stays bounded


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    chunk: int,
    apart: bool = False,
) -> Iterator[Result]:
    """``map(function, items)`` in order, over ``workers`` processes, ``chunk`` items at a time.

    Few items are done in this process, unless they must be done ``apart`` from it.
    """
    workers = min(workers, len(items) // chunk)  # a process costs more than a few files
    if apart and items:
        workers = max(workers, 1)
    elif workers < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_obey_parent
    )
    pending: deque[Future[list[Result]]] = deque()
    try:
        for start in range(0, len(items), chunk):
            pending.append(pool.submit(_each, function, items[start : start + chunk]))
            if len(pending) >= AHEAD * workers:
                yield from pending.popleft().result()
        yield from itertools.chain.from_iterable(future.result() for future in pending)
    finally:
        pool.shutdown(cancel_futures=True)


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


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even killed (-9)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)  # nobody will send work, or the end of it

    threading.Thread(target=watch, daemon=True).start()
