"""The backend that is traced for: implementations differ by it in speed, never in results."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax

_given: ContextVar[str | None] = ContextVar("backend", default=None)


def name() -> str:
    """The default backend ("cpu", "gpu" or "tpu"), or the one of ``traced_for``."""
    return _given.get() or jax.default_backend()


@contextlib.contextmanager
def traced_for(backend: str) -> Iterator[None]:
    """Build and trace as for another backend, to compile for it where it is not.

    Functions that ``jit`` has already traced keep their implementations.
    """
    token = _given.set(backend)
    try:
        yield
    finally:
        _given.reset(token)
