"""Stage one for pictures that are already face crops: bring them all to one size."""

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

from PIL import Image, ImageOps

from ganimation_jax.prepare.problems import UnusableFile

# What Pillow's readers raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def resize_crop(source: Path, crops: Path, size: int) -> float:
    """Write the square picture ``source`` into ``crops``, RGB JPEG, ``size`` x ``size`` pixels.

    A JPEG that already is exactly that is copied byte by byte. The crop takes the
    source's date; one with this date and size is taken as done. It appears only when
    complete.

    Returns:
      The scale, crop pixels per source pixel.

    Raises:
      UnusableFile: the picture is damaged, not square, or not of 8 bits.
      OSError: the crop cannot be written.
    """
    target = crops / f"{source.stem}.jpg"
    try:
        # Pillow warns of odd metadata in pictures that it then reads well.
        with warnings.catch_warnings(action="ignore"), Image.open(source) as picture:
            width, height = picture.size
            if width != height:
                raise UnusableFile(
                    "picture is not square",
                    f"it is {width}x{height}; a face crop must be square: cut one around the face",
                )
            scale = size / width
            if _done(source, target, size):
                return scale
            if picture.mode.startswith(("I", "F")):
                raise UnusableFile("not an 8-bit picture", f"mode {picture.mode}; convert it")
            picture.load()  # decodes it all, also to know that it is whole
            upright = ImageOps.exif_transpose(picture)
            # exif_transpose returns a copy without the mark when it had to turn.
            turned = picture.getexif().get(0x0112, 1) != 1
            as_is = (picture.format, picture.mode, width) == ("JPEG", "RGB", size) and not turned
            crop = upright.convert("RGB")
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise UnusableFile("unreadable picture", str(error)) from error

    if as_is:
        jpeg = source.read_bytes()
    else:
        crop = crop.resize((size, size), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        # Full colour resolution: halved, a lip is some three pixels high.
        crop.save(buffer, "JPEG", quality=95, subsampling=0)
        jpeg = buffer.getvalue()
    # The name tells processes apart: a killed run's last may still be writing.
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        # Not by Pillow, which on a full disk takes half a file for a file.
        partial.write_bytes(jpeg)
        date = source.stat().st_mtime_ns
        os.utime(partial, ns=(date, date))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return scale


def _done(source: Path, target: Path, size: int) -> bool:
    with contextlib.suppress(OSError):  # no crop, or one that a power cut left empty
        if int(target.stat().st_mtime) == int(source.stat().st_mtime):
            with Image.open(target) as crop:
                return crop.size == (size, size)
    return False
