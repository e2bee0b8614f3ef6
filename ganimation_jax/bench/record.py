"""Measurements as JSON and as tables, with machine, versions and command."""

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from ganimation_jax.files.atomic import write_atomically

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "grain")
NOTES = {
    "images_per_s": "training images per second: n_critic * batch images per step",
    "flops": (
        "XLA's count before compilation, summed over the parts of a step; XLA counts the body of a "
        "loop once, so its count of a whole step would be too low"
    ),
    "share_of_peak": "relative to the fastest matrix product of the same run and dtype",
    "spread": "median of the repeats, with the fastest and the slowest",
}


def machine() -> dict[str, Any]:
    """The processor, the memory and the devices."""
    devices = jax.devices()
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "load": os.getloadavg()[0],  # includes other processes
    }


def cpu_model() -> str:
    """The processor's name as Linux gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute, if installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # grain is needed by one of the measurements only
    return found


class Record:
    """Rows by table, written after each row so that an interrupted run keeps its results."""

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
        """Add a row to a table and write the file."""
        self.tables.setdefault(table, []).append(row)
        self.write(complete=False)

    def write(self, complete: bool, **more: Any) -> None:
        """Write the file.

        Args:
          complete: whether all measurements are done.
          **more: further fields for the head of the file.
        """
        self._head |= more
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = self._head | {"complete": complete, "results": self.tables}
            write_atomically(self._path, json.dumps(content, indent=2) + "\n")

    def text(self) -> str:
        """All tables as text."""
        return "\n\n".join(f"{name}\n{table(rows)}" for name, rows in self.tables.items())


def line(row: dict[str, Any]) -> str:
    """One row as text."""
    return " ".join(f"{name}={_cell(value)}" for name, value in row.items())


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as an aligned table; numbers have four digits."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([_cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # Text is aligned left, numbers right.
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
