"""The few types that everybody shares, and the two forms of an image.

An image is uint8 ``h w 3`` in [0, 255] on disk, in the loader and on its way to the
device, and float32 in [-1, 1] for the networks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

Params = Any  # a pytree of arrays
Metrics = dict[str, Array]  # flat: "critic/penalty" -> float32 scalar


class Batch(NamedTuple):
    """Faces with the expression they have and the one they are to be given.

    Leading axes are ``b`` for losses and ``n_critic b`` for a train step.
    """

    image: Array  # b h w 3, uint8 or float32 in [-1, 1]
    have: Array  # b n, float32: the conditions that the image shows
    want: Array  # b n, float32: those that the edit is to show
    other: Array | None = None  # b h w 3: a face that shows `want`; in a pair, the same person


class ResidentBatch(NamedTuple):
    """A ``Batch`` whose images are on the devices already: which, and which way round."""

    face: Array  # b, int32, place among the resident faces
    flip: Array  # b, bool, mirrored
    have: Array  # b n, float32
    want: Array  # b n, float32


class Edit(NamedTuple):
    """What a generator makes of a face (paper, section 4.1)."""

    image: Array  # b h w 3, [-1, 1]: attention * source + (1 - attention) * color
    attention: Array  # b h w 1, [0, 1]: the share of the source that is kept
    color: Array  # b h w 3, [-1, 1]


class Method(NamedTuple):
    """A way to edit faces, as the functions that the engine composes.

    Batches given to these functions hold float images in [-1, 1]. A loss is a float32
    scalar, averaged over the batch. Keys are opaque to the engine.
    """

    init: Callable[[Array, Array, Array], dict[str, Params]]
    """key, image, aus -> {"generator": params, "critic": params}"""
    translate: Callable[[Params, Batch], Array]
    """generator params, batch -> edited images. No gradient flows: the engine hoists it."""
    critic_losses: tuple[Callable[[Params, Batch, Array, Array], tuple[Array, Metrics]], ...]
    """critic params, batch, edited images, key -> loss, metrics. One optimiser update each,
    in this order: the paper has one loss, the published code steps on the penalty apart."""
    generator_loss: Callable[[Params, Params, Batch, Array], tuple[Array, Metrics]]
    """generator params, critic params, batch, key -> loss, metrics"""
    edit: Callable[[Params, Array, Array], Edit]
    """generator params, image, target aus -> Edit"""
    read_aus: Callable[[Params, Array], Array]
    """critic params, image -> aus: the critic as an action unit detector"""


class Optimizers(NamedTuple):
    """One for each network, whose ``update`` takes ``valid`` (``optimizers.guarded``)."""

    generator: optax.GradientTransformationExtraArgs
    critic: optax.GradientTransformationExtraArgs


@struct.dataclass
class NetState:
    """One network and its optimiser's state."""

    params: Params
    opt_state: optax.OptState


@struct.dataclass
class GanState:
    """All that training changes. Random keys derive from ``step`` and are not stored."""

    step: Array  # int32 scalar: generator updates so far
    generator: NetState
    critic: NetState
    ema: Params  # moving average of the generator: what evaluation and animation use


def to_float(image: Array) -> Array:
    """Uint8 [0, 255] to float32 [-1, 1]; float images pass unchanged."""
    if jnp.issubdtype(image.dtype, jnp.floating):
        return image
    return image.astype(jnp.float32) / 127.5 - 1


def to_uint8(image: Array) -> Array:
    """Float [-1, 1] to uint8 [0, 255], rounded to the nearest value, clipped."""
    return jnp.clip(jnp.round((image + 1) * 127.5), 0, 255).astype(jnp.uint8)


def parameter_count(params: Params) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
