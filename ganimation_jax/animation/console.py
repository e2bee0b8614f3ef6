"""What commands say while they work."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE = 2.0  # seconds of silence


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print this library's warnings as lines on stderr."""
    logger, handler = logging.getLogger("ganimation_jax"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@contextlib.contextmanager
def explained(text: str) -> Iterator[None]:
    """Say what is being done if it takes more than two seconds, and then how long it took."""
    start = time.monotonic()
    timer = threading.Timer(PATIENCE, print, [f"{text} ..."], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if (seconds := time.monotonic() - start) > PATIENCE:
        print(f"... done in {seconds:.0f} s", file=sys.stderr)


def note(text: str) -> None:
    """Say something that is neither a result nor an error."""
    print(f"note: {text}", file=sys.stderr)


def error(text: str) -> None:
    """Say what went wrong."""
    print(f"error: {text}", file=sys.stderr)


def list_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    """Say which files in folders were passed over, and why."""
    if skipped:
        print(f"skipped {len(skipped)}:", file=sys.stderr)
    for path, reason in skipped:
        print(f"  {path}: {reason}", file=sys.stderr)


def summary(files: int, inputs: int, skipped: int, failed: int) -> str:
    """The last line of a command with several inputs."""
    parts = [f"{files} files from {inputs - failed} of {inputs} inputs"]
    parts += [
        f"{count} {what}" for count, what in ((failed, "failed"), (skipped, "skipped")) if count
    ]
    return ", ".join(parts)


class Line:
    """Progress on stderr: how many, the speed, the time left; twice a second at most."""

    def __init__(self, label: str):
        self._label, self._live = label, sys.stderr.isatty()
        self._start = self._shown = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        """Show that so many are done."""
        now = time.monotonic()
        if done != total and now - self._shown < (0.5 if self._live else 10):
            return
        self._shown = now
        speed = done / max(now - self._start, 1e-9)
        text = f"{self._label} {done}"
        if total is not None:
            left = time.strftime("%H:%M:%S", time.gmtime((total - done) / speed))
            text += f"/{total}  {speed:.1f}/s  {left} left"
        end = "\r" if self._live and done != total else "\n"
        print(f"{text:<60}" if self._live else text, end=end, file=sys.stderr, flush=True)
