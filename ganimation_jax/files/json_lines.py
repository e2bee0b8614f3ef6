"""Files with one JSON object a line, which grow while a run lasts and outlive damage.

A line that cannot be read, or does not hold what it should, costs that line alone. Its owner moves
it to ``FILE.damaged`` and says so; a reader that does not own the file leaves it where it is.
"""

import bisect
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ganimation_jax.files.atomic import write_atomically

log = logging.getLogger(__name__)

Record = dict[str, Any]
Check = Callable[[Record], bool]  # whether a record holds what it should
SHOWN = 5  # line numbers in a message


class Line(NamedTuple):
    """A line of a file; ``record`` is None if it is damaged."""

    number: int  # from 1
    text: bytes  # without the line end
    record: Record | None


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line."""
    line = json.dumps(record).encode() + b"\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # the last line was cut short
                line = b"\n" + line
        file.write(line)


def lines(path: Path, check: Check, clock: str = "") -> list[Line]:
    """The lines of a file, in order; none if it does not exist.

    Args:
      path: of the file.
      check: what its records hold.
      clock: a number in each record that never falls. As few lines as possible are damaged where
        it does.
    """
    content = path.read_bytes() if path.exists() else b""
    found = [_line(number, text, check) for number, text in enumerate(content.split(b"\n"), 1)]
    found = [line for line in found if line.text]
    if clock:
        good = [line for line in found if line.record is not None]
        times = [line.record[clock] for line in good if line.record is not None]
        falls = {good[i].number for i in range(len(good))} - {
            good[i].number for i in _longest_rise(times)
        }
        found = [line._replace(record=None) if line.number in falls else line for line in found]
    return found


def read(path: Path, check: Check, clock: str = "") -> list[Record]:
    """The records of a file that another program may be writing; damaged lines are reported."""
    found = lines(path, check, clock)
    whole = path.read_bytes().endswith(b"\n") if found else True
    # The last line of a file that is being written may not have come to its end.
    damaged = [x for x in found if x.record is None and (whole or x.number != found[-1].number)]
    if damaged:
        log.warning("%s: skipped damaged %s", path, _numbers(damaged))
    return [line.record for line in found if line.record is not None]


def clean(path: Path, check: Check, clock: str = "", end: float | None = None) -> list[Record]:
    """Move damaged lines to ``FILE.damaged``, drop what comes after ``end``; report both.

    Args:
      path, check, clock: as for ``lines``.
      end: records whose ``clock`` is greater are dropped, because they will be made again.

    Returns:
      the records that are left.
    """
    found = lines(path, check, clock)
    damaged = [line for line in found if line.record is None]
    good = [(line.text, line.record) for line in found if line.record is not None]
    kept = [(text, record) for text, record in good if end is None or record[clock] <= end]
    if damaged:
        aside = path.with_name(f"{path.name}.damaged")
        with aside.open("ab") as file:
            file.writelines(line.text + b"\n" for line in damaged)
        log.warning("%s: moved damaged %s to %s", path, _numbers(damaged), aside)
    if len(kept) < len(good):
        text = "%s: dropped %d records after %s=%s, which will be made again"
        log.info(text, path, len(good) - len(kept), clock, end)
    if len(kept) < len(found) or (found and not path.read_bytes().endswith(b"\n")):
        write_atomically(path, b"".join(text + b"\n" for text, _ in kept))
    return [record for _, record in kept]


def numbers_only(record: Record) -> bool:
    """A check: the record holds numbers and nulls, and ``images``, a count."""
    values = record.values()
    known = all(x is None or (isinstance(x, int | float) and x is not True) for x in values)
    return known and is_count(record.get("images"))


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _line(number: int, text: bytes, check: Check) -> Line:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    whole = isinstance(record, dict) and check(record)
    return Line(number, text, record if whole else None)


def _longest_rise(values: Iterable[float]) -> list[int]:
    """Positions of a longest subsequence that never falls."""
    tails: list[float] = []  # the least value that ends a subsequence of each length
    ends: list[int] = []
    before: list[int] = []
    for i, value in enumerate(values):
        length = bisect.bisect_right(tails, value)
        before.append(ends[length - 1] if length else -1)
        tails[length:], ends[length:] = [value, *tails[length + 1 :]], [i, *ends[length + 1 :]]
    rise, i = [], ends[-1] if ends else -1
    while i >= 0:
        rise.append(i)
        i = before[i]
    return rise[::-1]


def _numbers(damaged: list[Line]) -> str:
    shown = ", ".join(str(line.number) for line in damaged[:SHOWN])
    more = f" and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
    return f"line{'s' if len(damaged) > 1 else ''} {shown}{more}"
