"""Work that takes long: run in a thread, with progress sent as lines of JSON, and stoppable."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

Progress = Callable[[int, int | None], None]
Job = Callable[[Progress], dict[str, Any]]
BREATH = 0.002  # seconds between two frames in which others may use the model
OFTEN = 0.1  # seconds between two lines
FAILED = "Something went wrong on the server. Its log says what."


class Stopped(Exception):
    """The visitor no longer wants the result."""


async def lines(
    job: Job,
    model: threading.Lock,
    problems: tuple[type[Exception], ...],
    words: Callable[[Exception], str],
) -> AsyncGenerator[bytes, None]:
    """Run a job and yield its progress: ``{"done": 3, "total": 40}``, then its last line.

    The last line is what the job returns, or ``{"problem": ...}``. If the consumer stops, so
    does the job, after its current frame.

    Args:
      job: called in a thread, with the function to call after each frame.
      model: held while the job works, and released for a moment after each frame.
      problems: exceptions that a visitor can do something about. Others are bugs, and end in
        the server's log.
      words: what to tell the visitor about one of them.
    """
    loop, said = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()
    stop = threading.Event()
    shown = 0.0

    def say(line: dict[str, Any] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server stops
            loop.call_soon_threadsafe(said.put_nowait, line)

    def progress(done: int, total: int | None) -> None:
        nonlocal shown
        if stop.is_set():
            raise Stopped
        if done == total or time.monotonic() - shown > OFTEN:
            shown = time.monotonic()
            say({"done": done, "total": total})
        model.release()
        time.sleep(BREATH)
        model.acquire()

    def work() -> None:
        last: dict[str, Any] = {"problem": FAILED}
        try:
            with model:
                last = job(progress)
        except Stopped:
            last = {"stopped": True}
        except problems as error:
            last = {"problem": words(error)}
        finally:
            say(last)
            say(None)

    thread = threading.Thread(target=work, name="job", daemon=True)
    thread.start()
    try:
        while (line := await said.get()) is not None:
            yield json.dumps(line).encode() + b"\n"
    finally:
        stop.set()
