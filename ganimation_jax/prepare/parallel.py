"""A map over processes, and the progress line of everything that takes a while."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 32  # files handed to a process at a time


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """``map(function, items)`` in order, over ``workers`` processes."""
    workers = min(workers, len(items) // CHUNK)  # a process costs more than a few files
    if workers < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_obey_parent
    )
    try:
        # In slices, for the pool would hold every item as a pending task at once.
        for start in range(0, len(items), 1000 * CHUNK):
            part = items[start : start + 1000 * CHUNK]
            yield from pool.map(function, part, chunksize=CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Pass ``items`` through; report the count, the speed and the time left on stderr."""
    live = sys.stderr.isatty()
    start = shown = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if count == total or now - shown > (0.5 if live else 10):
            shown = now
            speed = count / max(now - start, 1e-9)
            left = time.strftime("%H:%M:%S", time.gmtime((total - count) / speed))
            line = f"{label} {count}/{total}  {speed:.0f}/s  {left} left"
            end = "\r" if live and count < total else "\n"
            print(f"{line:<60}" if live else line, end=end, file=sys.stderr, flush=True)


def _obey_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even killed (-9)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)  # nobody will send work, or the end of it

    threading.Thread(target=watch, daemon=True).start()
