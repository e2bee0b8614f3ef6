"""What was measured, as JSON and as a table to read; and where and with what."""

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "grain")
NOTES = {
    "images_per_s": "of training: n_critic * batch images a step, counted once",
    "flops": (
        "XLA's count before compilation, of a step's parts times their number; it counts a loop's "
        "body once, so that the count of a whole step would be too low"
    ),
    "share_of_peak": "of the fastest matrix product measured in the same run, in the same dtype",
    "spread": "median of the repeats, with the fastest and the slowest",
}


def machine() -> dict[str, Any]:
    """Processor, memory, devices."""
    devices = jax.devices()
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "load": os.getloadavg()[0],  # processes that want a core: others' too
    }


def cpu_model() -> str:
    """As Linux names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    """Of Python and of what computes; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # grain is needed for one of the measurements only
    return found


class Report:
    """Rows by table, written after every one: a run that is cut short leaves what it has."""

    def __init__(self, path: Path | None, command: Sequence[str]):
        self._path = path
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self._head = {
            "command": " ".join(command),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "notes": NOTES,
        }

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.tables.setdefault(table, []).append(row)
        self.write(complete=False)

    def write(self, complete: bool, **more: Any) -> None:
        """The file as it stands."""
        self._head |= more
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = self._head | {"complete": complete, "results": self.tables}
            self._path.write_text(json.dumps(content, indent=2) + "\n")

    def text(self) -> str:
        """All tables."""
        return "\n\n".join(f"{name}\n{table(rows)}" for name, rows in self.tables.items())


def line(row: dict[str, Any]) -> str:
    """A row by itself."""
    return " ".join(f"{name}={_cell(value)}" for name, value in row.items())


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows under the names of their fields, aligned; numbers to four digits."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([_cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # Text to the left, numbers to the right.
    left = [all(isinstance(row.get(name, ""), str) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return str(value)
