"""Photos that are to be written again: what a file says besides its colours is kept.

A ``Photo`` holds a picture twice: as a model sees it, in 8-bit sRGB on white, and as its file
has it, in its own colour space, with its transparency, 16 bits and resolution. An edit is made
of the first; what it changes is carried over to the second, pixel by pixel, so that every pixel
that it leaves alone keeps its numbers.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from ganimation_jax.media import colours
from ganimation_jax.media.colours import Space
from ganimation_jax.media.pictures import (
    DAMAGED,
    opened,
    over_white,
    refuse_animated,
    split,
    turn_of,
)

SRGB = Space("RGB", None)
# Where Pillow keeps the upper byte of 16 bits of colour, the other byte order gives the lower.
_ORDER = re.compile(r"(?<=;16)[BLN]$")
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
MOST_DPI = 100_000
BAND = 512  # rows of a photo that are computed at once


class Photo(NamedTuple):
    """A picture as models see it, and all that is needed to write an edit of it back."""

    image: np.ndarray  # uint8 h w 3: sRGB, upright, transparency on white
    color: np.ndarray  # uint8 or uint16, h w 3 or, for grey, h w 1: upright, in ``space``
    alpha: np.ndarray | None = None  # h w, of the type of ``color``
    space: Space = SRGB
    dpi: tuple[float, float] | None = None  # across and down
    notes: tuple[str, ...] = ()  # what of the file could not be kept, in words

    def edited(self, image: np.ndarray) -> "Photo":
        """The photo with what was changed in ``image``; transparent pixels stay as they are.

        Args:
          image: uint8 ``h w 3``, made of ``self.image``.
        """
        if self.color is self.image:  # 8 bits, sRGB, opaque
            return self._replace(image=image, color=image)
        color, highest = self.color.copy(), np.iinfo(self.color.dtype).max
        for start in range(0, len(image), BAND):  # in bands, for memory
            rows = slice(start, start + BAND)
            # One channel after the other, because NumPy's ``any`` over three values is slow.
            red, green, blue = np.moveaxis(image[rows] != self.image[rows], 2, 0)
            changed = red | green | blue
            if self.alpha is not None:
                changed &= self.alpha[rows] > 0
            if not changed.any():
                continue
            before, after = (
                colours.from_srgb(pixels[rows][changed], self.space).astype(np.int32)
                for pixels in (self.image, image)
            )
            moved = color[rows][changed] + (after - before) * (highest // 255)
            color[rows][changed] = moved.clip(0, highest).astype(color.dtype)
        return self._replace(image=image, color=color)

    def in_srgb(self) -> "Photo":
        """The same in 8-bit sRGB, with its transparency."""
        if self.alpha is None:
            return Photo(self.image, self.image, dpi=self.dpi)
        color = np.asarray(colours.to_srgb(as_picture(self.color), self.space.profile))
        return Photo(self.image, color, to_8_bits(self.alpha), dpi=self.dpi)


def plain(image: np.ndarray) -> Photo:
    """A photo that is no more than its pixels: uint8 ``h w 3`` in sRGB."""
    return Photo(image, image)


def read_photo(path: Path) -> Photo:
    """Read a picture with all that is written back with an edit of it.

    Of a file's metadata only colour profile and resolution are kept; its orientation is applied.

    Raises:
      UnusableFile: as ``pictures.read_picture``.
    """
    with opened(path) as (file, _):
        refuse_animated(file)
        deep = ";16" in _rawmode(file)
        lower = _lower_bytes(path, file)
        file.load()
        color, alpha = split(file)
        profile, turn, dpi = file.info.get("icc_profile"), turn_of(file), _resolution(file)
        image = over_white(colours.to_srgb(color, profile), alpha)
        space, kept, notes = _space(color, profile)
        parts = [kept] if alpha is None else [kept, alpha]
        arrays: list[np.ndarray]
        if file.mode.startswith("I") and kept is color:
            arrays = [np.asarray(file).astype(np.uint16)]
        elif lower is not None and kept is color:
            arrays = [np.asarray(part).astype(np.uint16) << 8 for part in parts]
            for array, part in zip(arrays, filter(None, split(lower)), strict=True):
                array |= np.asarray(part)
        else:
            arrays = [np.asarray(part) for part in parts if part is not image]
            notes += ("8 of its 16 bits are kept",) if deep else ()
    if turn is not None:
        image = image.transpose(turn)
        arrays = [_turned(array, turn) for array in arrays]
        dpi = dpi[::-1] if dpi is not None and image.size != color.size else dpi
    shown = np.asarray(image)
    if not arrays:  # the file has just these pixels: they are held once
        return Photo(shown, shown, None, space, dpi, notes)
    transparency = None if alpha is None else arrays[1]
    return Photo(shown, np.atleast_3d(arrays[0]), transparency, space, dpi, notes)


def as_picture(color: np.ndarray) -> Image.Image:
    """Colours ``h w 3`` or ``h w 1`` as an 8-bit picture, RGB or L."""
    return Image.fromarray(np.ascontiguousarray(to_8_bits(color).squeeze()))


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Numbers of 16 bits rounded to 8; others as they are."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _space(color: Image.Image, profile: bytes | None) -> tuple[Space, Image.Image, tuple[str, ...]]:
    """In which space an edit is written, the colours in it, and what cannot be kept.

    The colours are the same object if they are in that space already.
    """
    if color.mode == "CMYK":
        return SRGB, colours.to_srgb(color, profile), ("its CMYK colours are written as sRGB",)
    if profile is None:
        return Space(color.mode, None), color, ()
    if not colours.is_usable(color.mode, profile):
        return Space(color.mode, None), color, ("its damaged colour profile is left out",)
    if not colours.is_writable(color.mode, profile):
        note = "its colours are written as sRGB: its colour profile works in one direction only"
        return SRGB, colours.to_srgb(color, profile), (note,)
    return Space(color.mode, profile), color, ()


def _rawmode(file: ImageFile.ImageFile) -> str:
    """How the pixels of a file are stored, in Pillow's words; empty where it does not say."""
    arguments = file.tile[0].args if file.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _lower_bytes(path: Path, file: ImageFile.ImageFile) -> Image.Image | None:
    """The lower bytes of a file of 16 bits a colour, of which Pillow reads the upper ones.

    Read in the other byte order, what Pillow takes for the upper byte is the lower one.
    """
    rawmode = _rawmode(file)
    if not rawmode.startswith("RGB") or not _ORDER.search(rawmode):
        return None
    other = _ORDER.sub(lambda order: _OTHER[order[0]], rawmode)
    with opened(path) as (again, _):
        again.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in again.tile
        ]
        again.load()
        return again.copy()


def _resolution(file: ImageFile.ImageFile) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in file.info["dpi"])
    except (KeyError, *DAMAGED):
        return None
    return (across, down) if 0 < across < MOST_DPI and 0 < down < MOST_DPI else None


def _turned(array: np.ndarray, turn: Image.Transpose) -> np.ndarray:
    """As Pillow turns a picture, for arrays of any type."""
    places = np.arange(array.shape[0] * array.shape[1], dtype=np.int32)
    places = np.asarray(Image.fromarray(places.reshape(array.shape[:2])).transpose(turn))
    return array.reshape(-1, *array.shape[2:])[places]
