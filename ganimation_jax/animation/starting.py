"""Start a command that uses a model."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import absl.logging
import jax

from ganimation_jax.animation import console
from ganimation_jax.animation.animator import Animator
from ganimation_jax.faces.offline import block_reports
from ganimation_jax.files.caches import keep_compiled


@contextlib.contextmanager
def started(model: str, landmarker: Path | None) -> Iterator[Animator]:
    """A loaded model.

    Raises:
      FileNotFoundError, ValueError, ImportError: see ``load_model``.
    """
    absl.logging.set_verbosity(absl.logging.WARNING)
    keep_compiled(jax.config)
    with Animator.load(model, landmarker=landmarker) as animator:
        block_reports()
        yield animator


def warm_up(animator: Animator, *, seeks: bool = True) -> None:
    """Compile a model, or take what was compiled from the cache; say so if that takes long.

    Args:
      seeks: faces will be searched for: MediaPipe is opened while the model compiles.

    Raises:
      ImportError: MediaPipe is needed and not installed.
    """
    with ThreadPoolExecutor(max_workers=1) as beside:
        compiled = beside.submit(animator.warm_up)
        if seeks:
            _ = animator.landmarker
        with console.explained(f"compiling {animator.model.name} for this machine (once)"):
            compiled.result()
