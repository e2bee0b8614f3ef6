"""GANimation in JAX: edit facial expression by anatomy.

``Batch``, ``Edit`` and ``Method`` are imported when they are first used, so that
``import ganimation_jax`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ganimation_jax.version import __version__

if TYPE_CHECKING:
    from ganimation_jax.types import Batch, Edit, Method

__all__ = ["Batch", "Edit", "Method", "__version__"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("ganimation_jax.types"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
