"""A trained run as functions that JAX can trace. Imports Flax and the networks."""

from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from ganimation_jax.animation.loading import in_colour, luminance, weights_sha256
from ganimation_jax.animation.programs import Facts, Programs, Weights, chosen
from ganimation_jax.runs.load import Run
from ganimation_jax.runs.plain import stated_plainly
from ganimation_jax.types import Edit


def programs_of(run: Run, grey: bool) -> tuple[Programs, dict[str, np.ndarray]]:
    """A run's functions, not compiled yet, and its weights.

    Args:
      grey: it was trained on grey faces; see ``in_colour``.
    """
    model = run.model
    edit_nets, read_nets = in_colour(model.edit) if grey else model.edit, model.read

    def edit(weights: Weights, image: Array, want: Array, have: Array) -> Edit:
        return edit_nets(unflatten_dict(dict(weights), sep="/"), image, want, have)

    def read(weights: Weights, image: Array) -> Array:
        assert read_nets is not None
        nets = unflatten_dict(dict(weights), sep="/")
        return read_nets(nets, luminance(image) if grey else image)

    weights: dict[str, Any] = flatten_dict(jax.device_get(dict(run.used)), sep="/")
    facts = Facts(
        conditions=model.conditions,
        image_size=model.image_size,
        needs_have=model.needs_have,
        undoes=model.undoes,
        edits_with=model.edits_with,
        reads_with=model.reads_with,
        sha256=weights_sha256(
            {name: np.asarray(x) for name, x in chosen(weights, model.edits_with).items()}
        ),
    )
    reading = None if read_nets is None else jax.jit(stated_plainly(read))
    return Programs(facts, jax.jit(stated_plainly(edit)), reading), weights
