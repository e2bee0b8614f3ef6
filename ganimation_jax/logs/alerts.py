"""What a monitor reports to the logs."""

from typing import NamedTuple


class Alert(NamedTuple):
    """A failure that has begun, or ended."""

    images: int
    name: str
    began: bool
    value: float  # mean of the last records
    limit: float
    message: str  # for people
