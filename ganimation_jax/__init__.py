"""GANimation in JAX: edit facial expression by anatomy.

``Animator``, ``Batch``, ``Edit`` and ``Model`` are imported when they are first used, so that
``import ganimation_jax`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ganimation_jax.version import __version__

if TYPE_CHECKING:
    from ganimation_jax.animation.animator import Animator
    from ganimation_jax.types import Batch, Edit, Model

__all__ = ["Animator", "Batch", "Edit", "Model", "__version__"]

_HOMES = {"Animator": "animation.animator"} | dict.fromkeys(("Batch", "Edit", "Model"), "types")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"ganimation_jax.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
