"""Differentiable augmentation, for data sets on which the critic would overfit.

Real and edited images get the same random changes before the critic sees them, in its own
losses and in the generator's (DiffAugment: Zhao, Liu, Lin, Zhu and Han, NeurIPS 2020,
arXiv 2006.10738; the ranges are those of its code). The generator's inputs and outputs are not
changed, so edits do not show the augmentation. A real image and its edit share one random draw.
All changes are affine in the image, so interpolates between the two images are augmented to
interpolates between the two augmented images, as the gradient penalty requires.

Changes of colour and small shifts do not affect action units. A cutout hides some of them, and
the critic, which also predicts action units, must guess these. The probability is fixed. ADA
(Karras et al., NeurIPS 2020) adapts it to the sign of the scores of real images, but the scores
of a Wasserstein critic are defined up to a constant, so their sign has no meaning.

``training/variation.py`` is the other kind of augmentation: it changes the training faces.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float
from ml_collections import ConfigDict

from ganimation_jax.types import Array, Images

Image = Float[Array, "h w 3"]
Augment = Callable[[Array, Images], Images]
"""key, images -> images. Each image by itself; one key is one draw for each place
in the batch: real images and their edits get the same."""

SHIFT = 1 / 8  # of the image's side, the largest translation
HOLE = 1 / 2  # of the image's side, the side of a cutout


def brightness(image: Image, amount: Array | float) -> Image:
    """Add ``amount``; values may leave [-1, 1], as in all functions below."""
    return image + amount


def saturation(image: Image, factor: Array | float) -> Image:
    """Scale the difference of each pixel from its grey, the mean of its channels."""
    grey = image.mean(axis=-1, keepdims=True)
    return grey + factor * (image - grey)


def contrast(image: Image, factor: Array | float) -> Image:
    """Scale the difference from the image's mean."""
    mean = image.mean()
    return mean + factor * (image - mean)


def translate(image: Image, down: Array | int, right: Array | int) -> Image:
    """Translate by whole pixels; the uncovered border is filled with 0, middle grey."""
    # A product with shifted unit matrices, because the gradient of a gather is a scatter.
    rows, columns = (jnp.arange(side) for side in image.shape[:2])
    take_rows = (rows[:, None] - down == rows).astype(image.dtype)
    take_columns = (columns[:, None] - right == columns).astype(image.dtype)
    exact = jax.lax.Precision.HIGHEST
    return jnp.einsum("yh,xw,hwc->yxc", take_rows, take_columns, image, precision=exact)


def cut_out(image: Image, top: Array | int, left: Array | int, side: int) -> Image:
    """Set a square to 0; it may lie partly outside the image."""
    rows, columns = (jnp.arange(length) for length in image.shape[:2])
    hole_rows = (rows >= top) & (rows < top + side)
    hole_columns = (columns >= left) & (columns < left + side)
    return jnp.where((hole_rows[:, None] & hole_columns)[..., None], 0, image)


def _random_color(key: Array, image: Image) -> Image:
    draws = jax.random.uniform(key, (3,))
    image = brightness(image, draws[0] - 0.5)
    image = saturation(image, draws[1] * 2)
    return contrast(image, draws[2] + 0.5)


def _random_translation(key: Array, image: Image) -> Image:
    most = int(image.shape[0] * SHIFT + 0.5)
    down, right = jax.random.randint(key, (2,), -most, most + 1)
    return translate(image, down, right)


def _random_cutout(key: Array, image: Image) -> Image:
    side = int(image.shape[0] * HOLE + 0.5)
    middle = jax.random.randint(key, (2,), 0, image.shape[0] + 1 - side % 2)
    top, left = middle - side // 2
    return cut_out(image, top, left, side)


TRANSFORMS: dict[str, Callable[[Array, Array], Array]] = {
    "color": _random_color,
    "translation": _random_translation,
    "cutout": _random_cutout,
}


def diff_augment(policy: Sequence[str], probability: float = 1.0) -> Augment:
    """Make a function that applies random changes in sequence.

    Args:
      policy: names in ``TRANSFORMS``.
      probability: probability of applying each change to an image, in [0, 1].
    """

    def one(key: Array, image: Image) -> Image:
        for i, name in enumerate(policy):
            draw_key, coin_key = jax.random.split(jax.random.fold_in(key, i))
            changed = TRANSFORMS[name](draw_key, image)
            image = jnp.where(jax.random.uniform(coin_key) < probability, changed, image)
        return image

    def augment(key: Array, images: Images) -> Images:
        return jax.vmap(one)(jax.random.split(key, len(images)), images)

    return augment


def build(options: Mapping[str, Any] | ConfigDict) -> Augment | None:
    """Build the augmentation from ``cfg.augment``; None if the policy is empty.

    Args:
      options: ``policy``, comma-separated names in ``TRANSFORMS``; ``probability``.

    Raises:
      ValueError: a name is unknown, or a number is out of range.
    """
    policy = [name.strip() for name in options["policy"].split(",") if name.strip()]
    unknown = [name for name in policy if name not in TRANSFORMS]
    if unknown:
        raise ValueError(
            f"augment.policy {options['policy']!r}: {', '.join(unknown)} not among "
            f"{', '.join(TRANSFORMS)}; write names joined by commas"
        )
    if not 0 <= options["probability"] <= 1:
        raise ValueError(f"augment.probability {options['probability']} is not in [0, 1]")
    return diff_augment(policy, options["probability"]) if policy else None
