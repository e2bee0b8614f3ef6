"""Open and read pictures from any source, without trusting them.

Only the formats listed in ``FORMATS`` are opened, whatever a file's name says: Pillow would
pass others, such as EPS, to external programs. A picture's size is checked from its header
before any pixel is decoded.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from ganimation_jax.files.unusable import UnusableFile, check_regular
from ganimation_jax.media import colours

# JPEG's names on the web are .jfif and .jpe as well. Names of formats are Pillow's.
IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff"),
    *(".gif", ".avif", ".heic", ".heif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "MPO")
HEIF = "HEIF"  # readable with the extra ``heic``
MOVING = ("GIF", "WEBP", "PNG", "AVIF")  # formats that can hold an animation
LARGEST_AREA = 100_000_000  # pixels decoded; 400 MB in memory
LARGEST_SIDE = 20_000  # pixels; with a border added, OpenCV's limit of 32,767 is still far away

# What Pillow's readers raise on damaged files. Damaged bytes can lead a reader anywhere.
DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, MemoryError),
    *(LookupError, ArithmeticError, TypeError, AttributeError, RuntimeError),
    Image.DecompressionBombError,
)
_ORIENTATION = 0x0112  # the EXIF tag
# EXIF's orientations, and what makes a picture upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class Picture(NamedTuple):
    """One picture to find faces in: a photo, a face crop or a frame of a video."""

    image: Image.Image  # RGB, 8 bits, sRGB, upright
    jpeg: Path | None  # the file, if it is a JPEG of exactly these pixels
    scale: float = 1.0  # pixels of ``image`` for each pixel of the upright file


def read_picture(path: Path, largest_side: int | None = None) -> Picture:
    """Read a picture as models and people see it: 8-bit sRGB, upright, transparency on white.

    An embedded colour profile is applied; a damaged one is ignored. Pictures of 16 bits are
    reduced to 8.

    Args:
      path: a picture of one of ``FORMATS``, or HEIC with the extra ``heic``.
      largest_side: a picture whose longer side exceeds this many pixels is reduced to it.
        That saves memory: a JPEG is reduced while it is decoded.

    Raises:
      UnusableFile: it is not a regular file, damaged, animated, made of floating-point numbers,
        or larger than ``LARGEST_AREA`` (as it is decoded) or ``LARGEST_SIDE``.
    """
    with opened(path, largest_side) as (file, size):
        refuse_animated(file)
        file.load()  # decodes it all, which also shows that it is complete
        profile, turn = file.info.get("icc_profile"), turn_of(file)
        color, alpha = split(file)
        if largest_side is not None and max(color.size) > largest_side:
            color, alpha = _within(color, largest_side), alpha and _within(alpha, largest_side)
        image = over_white(colours.to_srgb(color, profile), alpha)
        scale = max(image.size) / max(size)
        if turn is not None:
            image = image.transpose(turn)
        # ``is``: neither reduced, nor turned, nor made of another mode or in other colours.
        as_is = file.format == "JPEG" and image is file and scale == 1
        return Picture(image.copy() if image is file else image, path if as_is else None, scale)


def upright_srgb(image: Image.Image) -> Image.Image:
    """A picture in memory as ``read_picture`` gives that of a file."""
    color, alpha = split(image)
    shown = over_white(colours.to_srgb(color, image.info.get("icc_profile")), alpha)
    turn = turn_of(image)
    return shown if turn is None else shown.transpose(turn)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height as stored, from the header alone.

    Raises:
      UnusableFile: as ``read_picture``, but for what only decoding shows.
    """
    with opened(path) as (_, size):
        return size


def is_animation(path: Path) -> bool:
    """Whether a file is a GIF, WebP, PNG or AVIF with more than one frame.

    Raises:
      UnusableFile: it is no picture that can be read.
    """
    with opened(path) as (file, _):
        return file.format in MOVING and getattr(file, "is_animated", False)


@contextlib.contextmanager
def opened(
    path: Path, largest_side: int | None = None
) -> Iterator[tuple[ImageFile.ImageFile, tuple[int, int]]]:
    """A picture whose header has been read and found harmless, and its size as stored.

    With ``largest_side`` a JPEG will be decoded at a fraction of its size, at least twice as
    large as that.

    Raises:
      UnusableFile: see ``read_picture``; also for errors of Pillow while the context lasts.
    """
    try:
        check_regular(path)
        # Pillow warns of odd metadata in pictures that it then reads well.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=_formats(path)) as file,
        ):
            size = file.size
            if largest_side is not None and max(size) > 2 * largest_side:
                share = 2 * largest_side / max(size)
                file.draft(None, (round(size[0] * share), round(size[1] * share)))
            if file.width * file.height > LARGEST_AREA or max(size) > LARGEST_SIDE:
                raise UnusableFile("picture too large", f"{size[0]}x{size[1]}; make it smaller")
            yield file, size
    except DAMAGED as error:
        raise UnusableFile("unreadable picture", str(error)) from error


def refuse_animated(file: ImageFile.ImageFile) -> None:
    """Refuse a file of several pictures, unless the first is the one that matters.

    Raises:
      UnusableFile: it has several.
    """
    # Phones add pictures to the main one: a preview, a depth map, a burst.
    if file.format not in ("MPO", HEIF) and getattr(file, "is_animated", False):
        kind = "animated picture" if file.format in MOVING else "several pictures in one file"
        raise UnusableFile(kind, "extract its frames as single pictures")


def turn_of(file: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright, by its EXIF data; None if it is, or says nothing usable."""
    try:
        return _TURNS.get(file.getexif().get(_ORIENTATION, 1))
    except DAMAGED:
        return None


def split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """A picture of any mode as its colours, ``RGB``, ``L`` or ``CMYK``, and its alpha, if any.

    Raises:
      UnusableFile: its numbers are neither of 8 nor of 16 bits.
    """
    if image.mode.startswith(("I;16", "I", "F")):
        return _from_16_bits(image), None
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        grey = image.mode in ("1", "L", "LA", "La")
        full = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        return full.getchannel("R") if grey else full.convert("RGB"), full.getchannel("A")
    if image.mode in ("RGB", "L", "CMYK"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def over_white(image: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """An RGB picture seen on white."""
    if alpha is None:
        return image
    white = Image.new("RGBA", image.size, "white")
    image = image.convert("RGBA")
    image.putalpha(alpha)
    return Image.alpha_composite(white, image).convert("RGB")


def encode_jpeg(image: Image.Image) -> bytes:
    """As JPEG, near lossless."""
    buffer = io.BytesIO()
    # Full colour resolution: halved, a lip is some three pixels high.
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _from_16_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits with 8. Pillow reads 16-bit PGM as mode I."""
    if not (image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")):
        raise UnusableFile("not an 8-bit picture", f"mode {image.mode}; convert it")
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _within(image: Image.Image, side: int) -> Image.Image:
    share = side / max(image.size)
    width, height = (max(1, round(length * share)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _formats(path: Path) -> tuple[str, ...]:
    """``FORMATS``, and HEIF where a file is of that and pillow-heif is installed.

    Raises:
      UnusableFile: it is HEIF and pillow-heif is not installed.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:] not in _HEIF_BRANDS:
        return FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        advice = "HEIC pictures need pillow-heif: pip install 'ganimation-jax[heic]'"
        raise UnusableFile("pillow-heif is not installed", advice) from error
    pillow_heif.register_heif_opener()
    return (HEIF,)
