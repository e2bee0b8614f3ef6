"""Colour profiles: from the colours of a file to sRGB, and from sRGB back."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # ICC's names of Pillow's modes
# 9 x 9 x 9 colours, to see what a profile does to all.
_LATTICE = np.stack(np.meshgrid(*[np.linspace(0, 255, 9)] * 3), axis=-1).round().astype(np.uint8)
_FAILED = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


class Space(NamedTuple):
    """What the numbers of a file mean, as far as they can be written again."""

    mode: str  # "RGB" or "L"
    profile: bytes | None  # ICC; None: sRGB, or grey of the same brightness


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture of mode RGB, L or CMYK as RGB in sRGB; the same object if nothing changes.

    A profile that is damaged, or of another kind of picture, is ignored; see ``is_usable``.
    """
    if profile and is_usable(image.mode, profile) and not _is_srgb(image.mode, profile):
        return _convert(image, _open(profile), ImageCms.createProfile("sRGB"), "RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def from_srgb(colors: np.ndarray, space: Space) -> np.ndarray:
    """Colours in another space.

    Args:
      colors: uint8 ``n 3``.
      space: ``is_writable``.

    Returns:
      uint8 ``n c``: c is 3, or 1 for grey.
    """
    image = Image.fromarray(colors[:, None])
    if space.profile and not _is_srgb(space.mode, space.profile):
        srgb = ImageCms.createProfile("sRGB")
        image = _convert(image, srgb, _open(space.profile), space.mode)
    return np.asarray(image.convert(space.mode)).reshape(len(colors), -1)


def is_usable(mode: str, profile: bytes) -> bool:
    """Whether a profile says what the colours of a picture of that mode are."""
    return _works(mode, profile, mode, backwards=False)


def is_writable(mode: str, profile: bytes) -> bool:
    """Whether colours can also be taken into its space: profiles of scanners have one way only."""
    return _works(mode, profile, mode, backwards=True)


def _works(mode: str, profile: bytes, other: str, backwards: bool) -> bool:
    try:
        opened, srgb = _open(profile), ImageCms.createProfile("sRGB")
        if opened.profile.xcolor_space != _SPACES[mode]:
            return False
        if backwards:
            _convert(Image.new("RGB", (1, 1)), srgb, opened, mode)
        else:
            _convert(Image.new(mode, (1, 1)), opened, srgb, "RGB")
    except _FAILED:
        return False
    return True


def _is_srgb(mode: str, profile: bytes) -> bool:
    """Whether it leaves all colours within a level of where they are."""
    if mode == "CMYK":
        return False
    lattice = Image.fromarray(_LATTICE.reshape(1, -1, 3)).convert(mode)
    seen = _convert(lattice, _open(profile), ImageCms.createProfile("sRGB"), "RGB")
    change = np.asarray(seen, np.int16) - np.asarray(lattice.convert("RGB"), np.int16)
    return int(np.abs(change).max()) <= 1


def _open(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _convert(
    image: Image.Image,
    source: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile,
    target: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile,
    mode: str,
) -> Image.Image:
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    made = ImageCms.profileToProfile(image, source, target, intent, mode, flags=flags)
    assert made is not None  # it is not converted in place
    return made
