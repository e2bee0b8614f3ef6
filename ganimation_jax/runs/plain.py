"""Convolutions that compile fast, for models that are used and not trained."""

import contextlib
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ganimation_jax.models import cpu_convolutions, layers

Args = ParamSpec("Args")
Result = TypeVar("Result")


def plain_convolutions() -> contextlib.AbstractContextManager[None]:
    """Trace networks with XLA's own convolutions, on a CPU too; transposed ones by their phases.

    What training uses on a CPU makes gradients faster, but takes XLA nine times as long to
    compile, and a person who edits a photo waits for that (BUILD_NOTES.md has the numbers).
    """
    if not layers.on_cpu():
        return contextlib.nullcontext()
    return layers.stated_by(cpu_convolutions.direct, cpu_convolutions.transposed_subpixel)


def stated_plainly(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """The function, traced within ``plain_convolutions``."""

    @functools.wraps(function)
    def plain(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        with plain_convolutions():
            return function(*args, **kwargs)

    return plain
