"""Random changes of the training examples themselves, made before any network sees them.

Where a batch knows the other face of a pair, both get the same change, so that a pair still
differs in the expression alone. Every change is a draw of the run's key and the step.

    tint        colour casts, for training faces that are grey
    light       brightness, contrast and colour of the light
    place       rotation, size and position, as far as crops of photographs vary
    few_units   targets that differ from the face in a few conditions only, because that is
                what people ask for: another face's units differ in all of them at once
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import Array

from ganimation_jax.models.warp import warp
from ganimation_jax.types import Batch, Params, State, StepFn, to_float

MAX_TINT = 0.35  # a larger value could make an exponent negative
_DRAWS = 2**31 - 1  # folded into the run's key; no step number becomes this large
# Standard deviations at strength 1.
GAIN, CHANNEL_GAIN, BIAS, CONTRAST = 0.12, 0.05, 0.06, 0.1
ANGLE, SCALE, SHIFT = 0.07, 0.05, 0.015  # radians, log, share of the side
MOST_UNITS = 5  # conditions in which a target of `few_units` differs at most
KEPT_AT_ZERO = 0.3  # of these, the share that is wanted at 0


class Variation(NamedTuple):
    """How strong each change is; 0 makes none.

    Attributes:
      tint: up to ``MAX_TINT``; see ``tint``.
      light, place: 1 is as strong as in photographs of one person taken apart.
      few_units: share of the targets, [0, 1].
    """

    tint: float = 0.0
    light: float = 0.0
    place: float = 0.0
    few_units: float = 0.0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The fields of ``cfg.augment``; runs from before one of them have no such field.

        Raises:
          ValueError: a number is out of range.
        """
        chosen = cls(*(options.get(name, 0.0) for name in cls._fields))
        limits = cls(tint=MAX_TINT, light=2.0, place=2.0, few_units=1.0)
        for name, value, limit in zip(cls._fields, chosen, limits, strict=True):
            if not 0 <= value <= limit:
                raise ValueError(f"augment.{name} {value} is not in [0, {limit}]")
        return chosen


def tint(key: Array, image: Array, strength: float) -> Array:
    """Apply a random smooth colour cast: each channel is raised to its own power.

    The powers of a pixel's channels add up to 3. A grey pixel therefore keeps the geometric mean
    of its channels, and black and white do not change. The powers vary linearly over the image,
    by half as much as between images.

    Args:
      key: random key.
      image: h w 3 in [-1, 1].
      strength: the smallest possible power is 1 - 8/3 strength; 0 changes nothing.

    Returns:
      h w 3 in [-1, 1].
    """
    level, down, right = jax.random.uniform(key, (3, 3), minval=-1, maxval=1)
    y, x = (jnp.linspace(-1, 1, side) for side in image.shape[:2])
    field = level + (y[:, None, None] * down + x[:, None] * right) / 2  # h w 3
    field -= field.mean(axis=-1, keepdims=True)
    light = jnp.clip((image + 1) / 2, 0, 1)
    return 2 * light ** (1 + strength * field) - 1


def light(key: Array, image: Array, strength: float) -> Array:
    """Change brightness, contrast and colour at random: h w 3 in [-1, 1] -> the same."""
    draws = strength * jax.random.normal(key, (6,))
    contrast = jnp.exp(GAIN * draws[0] + CHANNEL_GAIN * draws[1:4]) * (1 + CONTRAST * draws[4])
    return jnp.clip(contrast * image + BIAS * draws[5], -1, 1)


def place(key: Array, image: Array, strength: float) -> Array:
    """Rotate, resize and shift at random: h w 3 -> h w 3; the border's pixels are repeated."""
    draws = strength * jax.random.normal(key, (4,))
    side = image.shape[0]
    angle, size = ANGLE * draws[0], jnp.exp(SCALE * draws[1])
    offsets = jnp.arange(side) - (side - 1) / 2
    down, right = offsets[:, None], offsets[None, :]
    cos, sin = size * jnp.cos(angle), size * jnp.sin(angle)
    rows = cos * down - sin * right - down + SHIFT * side * draws[2]
    columns = sin * down + cos * right - right + SHIFT * side * draws[3]
    return warp(image[None], jnp.stack([rows, columns], axis=-1)[None])[0]


def few_units(key: Array, have: Array, share: float) -> tuple[Array, Array]:
    """Draw targets that differ from what a face has in one to ``MOST_UNITS`` conditions.

    Args:
      key: random key.
      have: n, in [0, 1].
      share: the chance that this example gets such a target.

    Returns:
      whether it does, and the target n.
    """
    coin_key, count_key, order_key, value_key, zero_key = jax.random.split(key, 5)
    count = jax.random.randint(count_key, (), 1, MOST_UNITS + 1)
    chosen = jax.random.permutation(order_key, len(have)) < count
    values = jax.random.uniform(value_key, have.shape, maxval=0.9)
    values = jnp.where(jax.random.uniform(zero_key, have.shape) < KEPT_AT_ZERO, 0, values)
    return jax.random.uniform(coin_key) < share, jnp.where(chosen, values, have)


def make_varied_step(step: StepFn, variation: Variation) -> StepFn:
    """Make ``step`` see its examples changed at random; ``step`` itself if nothing changes."""
    if not any(variation):
        return step

    def change_image(key: Array, image: Array) -> Array:
        for number, change in enumerate((tint, light, place)):
            if strength := getattr(variation, change.__name__):
                image = change(jax.random.fold_in(key, number), image, strength)
        return image

    def change_one(key: Array, example: Batch) -> Batch:
        other = None if example.other is None else change_image(key, example.other)
        want = example.want
        if variation.few_units:
            units_key = jax.random.fold_in(key, len(Variation._fields))
            few, target = few_units(units_key, example.have, variation.few_units)
            if example.paired is not None:
                few &= ~example.paired
            want = jnp.where(few, target, want)
        return example._replace(image=change_image(key, example.image), want=want, other=other)

    change: Callable[[Array, Batch], Batch] = jax.vmap(jax.vmap(change_one))

    def varied_step(state: State, batches: Batch, run_key: Array, frozen: Params = ()) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(run_key, _DRAWS), state.step)
        keys = jax.random.split(key, batches.have.shape[:2])  # n b
        other = None if batches.other is None else to_float(batches.other)
        batches = batches._replace(image=to_float(batches.image), other=other)
        return step(state, change(keys, batches), run_key, frozen)

    return varied_step
