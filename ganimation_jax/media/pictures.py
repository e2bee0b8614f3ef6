"""Read pictures that may be anything; write crops that are whole or absent."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from ganimation_jax.files.unusable import UnusableFile

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
LARGEST = 100_000_000  # pixels, 300 MB in memory: more is a decompression bomb, or one in effect

# What Pillow's readers raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
_ORIENTATION = 0x0112  # the EXIF tag


class Picture(NamedTuple):
    """One picture to find faces in: a photo, a face crop or a frame of a video."""

    image: Image.Image  # RGB, upright
    jpeg: Path | None  # the file, if that is a JPEG of exactly these pixels


def read_picture(path: Path) -> Picture:
    """Decode a picture to RGB, turned as its EXIF mark says, transparency on white.

    Raises:
      UnusableFile: it is damaged, animated, of more than 8 bits, or too large.
    """
    try:
        # Pillow warns of odd metadata in pictures that it then reads well.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            width, height = picture.size
            if width * height > LARGEST:
                raise UnusableFile("picture too large", f"{width}x{height}; make it smaller")
            # Phones hide a second picture behind the first (MPO): that is no animation.
            if picture.format != "MPO" and getattr(picture, "is_animated", False):
                raise UnusableFile("animated picture", "take its frames out, as single pictures")
            if picture.mode.startswith(("I", "F")):
                raise UnusableFile("not an 8-bit picture", f"mode {picture.mode}; convert it")
            picture.load()  # decodes it all, also to know that it is whole
            turned = picture.getexif().get(_ORIENTATION, 1) != 1
            as_is = (picture.format, picture.mode) == ("JPEG", "RGB") and not turned
            return Picture(_rgb(ImageOps.exif_transpose(picture)), path if as_is else None)
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise UnusableFile("unreadable picture", str(error)) from error


def encode_jpeg(image: Image.Image) -> bytes:
    """As JPEG, near lossless."""
    buffer = io.BytesIO()
    # Full colour resolution: halved, a lip is some three pixels high.
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
