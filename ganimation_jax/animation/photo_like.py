"""What may be given as a photo."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import read_picture, upright_srgb

Pixels = UInt8[np.ndarray, "h w 3"]
"""A photo, in sRGB."""
PhotoLike = np.ndarray | Image.Image | str | Path
"""A photo: uint8 ``h w 3`` in sRGB, a Pillow image, or the path of a file."""


def pixels_of(photo: PhotoLike) -> Pixels:
    """A photo as uint8 ``h w 3``: upright, sRGB, transparency on white.

    Raises:
      TypeError: it is none of ``PhotoLike``, or an array of another type or shape.
      ValueError: a file is no picture that can be used.
    """
    if isinstance(photo, (str, Path)):
        try:
            return np.asarray(read_picture(Path(photo)).image)
        except UnusableFile as error:
            raise ValueError(f"{photo}: {error}") from error
    if isinstance(photo, Image.Image):
        return np.asarray(upright_srgb(photo))
    image = np.asarray(photo)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise TypeError(f"a photo is uint8 h w 3; this is {image.dtype} {image.shape}")
    return image
