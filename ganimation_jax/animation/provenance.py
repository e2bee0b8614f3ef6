"""Record in every output file that it was edited, by which model, and with which action units.

Pictures carry this provenance as XMP, with the IPTC digital source type for composites with
media made by a trained model, and as a comment in plain text. The EXIF data of the source
photo (camera, location, thumbnail) is not copied; its orientation is applied to the pixels.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganimation_jax.animation.loading import LoadedModel
from ganimation_jax.files.atomic import write_atomically
from ganimation_jax.media.encoding import STILL_SUFFIXES, encode
from ganimation_jax.media.photos import Photo, plain
from ganimation_jax.media.pictures import opened
from ganimation_jax.media.video import tags_of
from ganimation_jax.version import __version__

NOTICE = "AI-edited: facial expression changed by a trained model"
# https://cv.iptc.org/newscodes/digitalsourcetype: a photo in which parts are synthetic.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"


class Provenance(NamedTuple):
    """Provenance of an edited file."""

    model: str
    sha256: str  # of the generator's weights
    action_units: str  # requested, "AU06=0.50 AU12=0.80"
    software: str = f"ganimation_jax {__version__}"
    notice: str = NOTICE
    digital_source_type: str = SOURCE_TYPE


def describe(model: LoadedModel, aus: Mapping[str, float] | np.ndarray) -> Provenance:
    """The provenance of an edit.

    Args:
      aus: requested action units by name, or an array of all of them, ``n``, in the model's
        order.
    """
    if not isinstance(aus, Mapping):
        aus = dict(zip(model.action_units, np.asarray(aus).tolist(), strict=True))
    asked = " ".join(f"{unit}={value:.2f}" for unit, value in aus.items())
    return Provenance(_line(model.name), model.sha256, asked)


def as_tags(provenance: Provenance) -> dict[str, str]:
    """Provenance as names and one-line values, for containers that store such tags."""
    first = ("notice", "digital_source_type", "software")
    return {name: getattr(provenance, name) for name in (*first, "model", "sha256", "action_units")}


def save_image(path: Path, photo: Photo | np.ndarray, provenance: Provenance | None) -> None:
    """Write a picture atomically; see ``encoding.encode``.

    Args:
      path: ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``; overwritten.
      photo: a ``Photo``, whose colour space and other properties are kept, or uint8
        ``h w 3`` in sRGB.
      provenance: written into the file; None for no provenance.

    Raises:
      ValueError: the file has another suffix.
      OSError: the file cannot be written.
    """
    photo = plain(photo) if isinstance(photo, np.ndarray) else photo
    tags = {} if provenance is None else as_tags(provenance)
    write_atomically(path, encode(photo, format_of(path), tags))


def format_of(path: Path) -> str:
    """Pillow's name of the format for a still picture, from the suffix of its path.

    Raises:
      ValueError: the suffix is not supported.
    """
    suffix = path.suffix.lower()
    if suffix not in STILL_SUFFIXES:
        raise ValueError(f"{path}: pictures are written as {', '.join(STILL_SUFFIXES)}")
    return STILL_SUFFIXES[suffix]


def read_provenance(path: Path) -> Provenance | None:
    """Read the provenance of a picture (PNG, JPEG, WebP, GIF) or an MP4; None if it has none.

    Raises:
      UnusableFile: the file is not a picture or video, or is damaged.
      ImportError: PyAV, which reads MP4, is not installed.
    """
    text = tags_of(path).get("comment", "") if path.suffix.lower() == ".mp4" else _noted(path)
    lines = (line.partition(": ") for line in text.splitlines())
    found = {name: value for name, separator, value in lines if separator}
    if not found.keys() >= set(Provenance._fields):
        return None
    return Provenance(**{name: found[name] for name in Provenance._fields})


def _noted(path: Path) -> str:
    """A picture's comment, or the description in its XMP."""
    with opened(path) as (picture, _):
        picture.load()
        text = picture.info.get("Comment") or picture.info.get("comment")
        packet = picture.info.get("xmp")
    if packet is not None and text is None:
        text = _described(packet)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return text or ""


def _line(text: str) -> str:
    """The text on one line, in Latin-1, the character set of PNG comments."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode("latin-1", "replace").decode("latin-1").strip()


def _described(packet: bytes) -> str | None:
    """The description in an XMP packet."""
    try:
        items = ElementTree.fromstring(packet).iterfind(f".//{DESCRIPTION}//{ITEM}")
    except ElementTree.ParseError:
        return None
    return next((item.text for item in items), None)
