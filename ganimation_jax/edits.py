"""What a model makes of a face.

Apart from ``types``, because commands that only use a model start without Flax and Optax.
"""

from typing import NamedTuple

from jax import Array


class Edit(NamedTuple):
    """What a model makes of a face; the parts are None where a model has no such part."""

    image: Array  # b h w 3, [-1, 1]
    attention: Array | None = None  # b h w 1, [0, 1]: the share of the source that is kept
    color: Array | None = None  # b h w 3, [-1, 1]: what is painted where it is not kept
    motion: Array | None = None  # b h w 2, pixels (down, right): where the source is read
