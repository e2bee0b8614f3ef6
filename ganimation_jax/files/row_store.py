"""Rows of numbers in a file that only saves time: they can be computed again."""

import contextlib
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

WAIT = 10.0  # seconds for another process that writes
AT_ONCE = 500  # keys in a query
DAY = 24 * 3600
TABLE = (
    "CREATE TABLE IF NOT EXISTS rows "
    "(key BLOB PRIMARY KEY, row BLOB NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL)"
    " WITHOUT ROWID"
)


class RowStore:
    """Float32 rows by key in one SQLite file, which processes and threads may share.

    No failure of the file is an error. A damaged row is not returned, so that its reader computes
    and writes it again. A file that SQLite cannot read is replaced. A file that cannot be used at
    all is left alone from then on. A warning reports the last two.

    Args:
      path: of the file; its folder exists.
      limit: number of rows. Beyond it, the half that was used longest ago is deleted.
    """

    def __init__(self, path: Path, limit: int = 200_000):
        self._path = path
        self._limit = limit
        self._usable = True

    def get(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """The rows that are kept under ``keys``; other keys are missing in the result."""
        wanted, now = list(dict.fromkeys(keys)), int(time.time())
        found: dict[bytes, np.ndarray] = {}

        def read(file: sqlite3.Connection) -> None:
            for start in range(0, len(wanted), AT_ONCE):
                part = wanted[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, row, digest, used FROM rows WHERE key IN ({marks})"
                entries = file.execute(query, part).fetchall()
                whole = [entry for entry in entries if _digest(entry[0], entry[1]) == entry[2]]
                found.update((key, np.frombuffer(row, np.float32)) for key, row, _, _ in whole)
                old = [(now, key) for key, _, _, used in whole if now - used > DAY]
                file.executemany("UPDATE rows SET used = ? WHERE key = ?", old)

        if wanted:
            self._run(read)
        return found

    def put(self, rows: Mapping[bytes, np.ndarray]) -> None:
        """Keep float32 vectors; a row that has the same key is replaced."""
        now = int(time.time())
        data = [(key, row.astype(np.float32).tobytes()) for key, row in rows.items()]

        def write(file: sqlite3.Connection) -> None:
            entries = [(key, row, _digest(key, row), now) for key, row in data]
            file.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", entries)
            (count,) = file.execute("SELECT count(*) FROM rows").fetchone()
            if count > self._limit:
                oldest = "SELECT key FROM rows ORDER BY used LIMIT ?"
                excess = count - self._limit // 2
                file.execute(f"DELETE FROM rows WHERE key IN ({oldest})", (excess,))

        self._run(write)

    def _run(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Run ``action`` in a transaction, as far as the file can be used."""
        if not self._usable:
            return
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=WAIT)) as file, file:
                file.execute(TABLE)
                action(file)
        except sqlite3.OperationalError as error:  # locked, read-only, or the disk is full
            self._usable = False
            log.warning("cache %s is not used: %s", self._path, error)
        except sqlite3.DatabaseError as error:
            log.warning("cache %s is damaged (%s): it is made anew", self._path, error)
            self._path.unlink(missing_ok=True)


def _digest(key: bytes, row: bytes) -> bytes:
    return hashlib.sha256(key + row).digest()[:8]
