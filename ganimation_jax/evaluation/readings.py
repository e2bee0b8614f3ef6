"""What an instrument reads in pictures: each picture once, on this machine or in this process.

Held-out faces are the same in every evaluation, so their readings are kept on disk, by the
pictures' content and the instrument's version.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from ganimation_jax.files.caches import writable_cache_folder
from ganimation_jax.files.row_store import RowStore
from ganimation_jax.version import __version__

log = logging.getLogger(__name__)

Read = Callable[..., np.ndarray]  # one or more arrays b ... -> b n
REMEMBERED = 100_000  # readings of an instrument kept in memory
AT_ONCE = 64  # pictures read before what was read is kept
SILENT = 5.0  # seconds between lines of progress


def remembering(read: Read, name: str, version: str = "") -> Read:
    """Make a reader that reads equal pictures only once.

    Args:
      read: a reader of independent examples, float32 rows of one length.
      name: of the instrument, for its progress.
      version: everything besides the pictures that decides the readings, such as the digest of
        its weights: readings are then also kept on disk, in the folder of caches. "": they are
        forgotten when the process ends.

    Returns:
      a reader of the same arrays. It is safe to interrupt: what was read is kept.
    """
    known: dict[bytes, np.ndarray] = {}
    folder = writable_cache_folder("readings") if version else None
    store = RowStore(folder / "readings.sqlite") if folder else None
    stamp = f"{name} {version} ganimation_jax {__version__}".encode()

    def read_new(*arrays: np.ndarray) -> np.ndarray:
        keys = [_key(stamp, example) for example in zip(*arrays, strict=True)]
        if len(known) + len(keys) > REMEMBERED:
            known.clear()
        if store:
            known.update(store.get(key for key in keys if key not in known))
        fresh = {key: place for place, key in enumerate(keys) if key not in known}
        progress = Progress(name, len(fresh))
        for start in range(0, len(fresh), AT_ONCE):
            part = list(fresh)[start : start + AT_ONCE]
            places = [fresh[key] for key in part]
            rows = dict(zip(part, read(*(array[places] for array in arrays)), strict=True))
            known.update(rows)
            if store:
                store.put(rows)
            progress.add(len(part))
        return np.stack([known[key] for key in keys])

    return read_new


def _key(stamp: bytes, example: Sequence[np.ndarray]) -> bytes:
    digest = hashlib.sha256(stamp)
    for array in example:
        digest.update(f" {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class Progress:
    """Logs how far a long reading is, how fast, and how long the rest will take.

    Args:
      name: of what is done.
      total: number of pictures.
    """

    def __init__(self, name: str, total: int):
        self._name, self._total, self._done = name, total, 0
        self._start = self._shown = time.monotonic()

    def add(self, count: int) -> None:
        """Count pictures; logs a line if the last one is some seconds old."""
        self._done += count
        now = time.monotonic()
        if now - self._shown < SILENT or self._done >= self._total:
            return
        self._shown = now
        speed = self._done / (now - self._start)
        left = (self._total - self._done) / speed
        log.info(
            "%s: %d of %d pictures, %.1f images/s, %.0f s left",
            *(self._name, self._done, self._total, speed, left),
        )
