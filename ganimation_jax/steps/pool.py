"""A pool of earlier images to train critics on (Shrivastava et al., CVPR 2017), as CycleGAN's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from ganimation_jax.types import Array, Maps, PerExample


class Pool(NamedTuple):
    """Images that the critics may see again."""

    images: Array  # size h w 3
    filled: Array  # int32: the first so many places hold an image


def empty(size: int, shape: tuple[int, ...]) -> Pool:
    """A pool with room for ``size`` images of this shape."""
    return Pool(jnp.zeros((size, *shape)), jnp.zeros((), jnp.int32))


def draw(key: Array, size: int, batch: int) -> tuple[PerExample, Int[Array, " b"]]:
    """What ``exchange`` needs to be random: U(0, 1) and a place, for each of a batch's images."""
    coin_key, place_key = jax.random.split(key)
    return jax.random.uniform(coin_key, (batch,)), jax.random.randint(place_key, (batch,), 0, size)


def exchange(
    pool: Pool, images: Maps, coins: PerExample, places: Int[Array, " b"]
) -> tuple[Pool, Maps]:
    """Offer images to the pool, one after the other, and get as many back.

    While the pool is not full, it keeps an image and returns it. Later, if its coin is above 0.5,
    the image changes places with a stored one; otherwise it is returned and not kept.

    Args:
      pool: so far.
      images: offered.
      coins: not read while the pool is not full.
      places: the image to swap with; only read if the coin is above 0.5.

    Returns:
      the new pool, and the images that it gives back.
    """

    def one(pool: Pool, offered: tuple[Array, Array, Array]) -> tuple[Pool, Array]:
        image, coin, place = offered
        filling = pool.filled < len(pool.images)
        swap = ~filling & (coin > 0.5)
        place = jnp.where(filling, pool.filled, place)
        stored = pool.images[place]
        kept = pool.images.at[place].set(jnp.where(filling | swap, image, stored))
        return Pool(kept, pool.filled + filling), jnp.where(swap, stored, image)

    return jax.lax.scan(one, pool, (images, coins, places))
