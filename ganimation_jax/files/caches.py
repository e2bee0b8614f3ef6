"""Where files that only save time or downloads may be kept.

Nothing is read from the environment before it is needed, and nothing fails without it: containers
may run for a user without a home.
"""

import functools
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def cache_folder(kind: str) -> Path | None:
    """The folder of one kind of cached files, which may not exist yet.

    It is in ``XDG_CACHE_HOME``, by default ``~/.cache``.

    Returns:
      None where the environment names no such place and the user has no home.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "ganimation_jax" / kind if base.is_absolute() else None


def writable_cache_folder(kind: str) -> Path | None:
    """``cache_folder``, made if need be; None, reported once, where that is impossible."""
    folder = cache_folder(kind)
    if folder is None:
        _report_once("no cache: neither XDG_CACHE_HOME nor HOME names a folder")
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _report_once(f"no cache: {folder} cannot be made ({error.strerror})")
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        _report_once(f"no cache: {folder} cannot be written")
        return None
    return folder


@functools.cache
def _report_once(message: str) -> None:
    log.warning("%s", message)


def keep_compiled(config: Any) -> None:
    """Keep what JAX compiles for later processes, programs that compile at once included.

    A run and a command have many small programs, which together take seconds. What the user has
    set by ``JAX_COMPILATION_CACHE_DIR`` and ``JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`` stays.

    Args:
      config: ``jax.config``.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := writable_cache_folder("xla")):
        config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
