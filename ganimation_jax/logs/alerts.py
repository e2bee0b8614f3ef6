"""What a monitor reports to the logs."""

from typing import Any, NamedTuple


class Alert(NamedTuple):
    """A failure that has begun, or ended."""

    images: int
    name: str
    began: bool
    value: float  # mean of the last records
    limit: float
    message: str  # for people


def is_alert(record: dict[str, Any]) -> bool:
    """Whether a record of ``alerts.jsonl`` is whole."""
    kinds = {
        "images": int,
        "name": str,
        "began": bool,
        "value": float | int,
        "limit": float | int,
        "message": str,
    }
    return record.keys() == kinds.keys() and all(
        isinstance(record[name], kind) for name, kind in kinds.items()
    )
