"""The stages of one example on its way into a batch: drawn, read, decoded, mirrored."""

from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
import simplejpeg
from PIL import Image

from ganimation_jax.action_units import OPENFACE_MAXIMUM
from ganimation_jax.data.pairs import Pairs

Element = dict[str, Any]


@runtime_checkable
class Source(Protocol):
    """Random-access faces: ``FaceDataset`` and ``SyntheticFaces``."""

    @property
    def action_units(self) -> tuple[str, ...]:
        """The action units that are annotated."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Element:
        """``jpeg`` (bytes) or ``image`` (uint8 h w 3), and ``aus`` (float32 n, 0-5)."""
        ...

    def aus_table(self) -> np.ndarray:
        """All action units, float32 ``len n``, 0-5, without reading images."""
        ...

    def pair_groups(self) -> np.ndarray | None:
        """Int32 ``len``: faces of one group are aligned and show one person.

        ``pairs.ALONE`` for a face in no group; None if there are no groups at all.
        """
        ...


def decode(record: Element, size: int) -> np.ndarray:
    """The picture of a record, uint8 ``size size 3``."""
    image = record.get("image")
    if image is None:
        image = simplejpeg.decode_jpeg(record["jpeg"])
    if image.shape[0] != size:
        image = np.asarray(Image.fromarray(image).resize((size,) * 2, Image.Resampling.LANCZOS))
    return image


class Decode(grain.transforms.Map):
    """A record -> ``image`` uint8 ``size size 3`` and ``have`` float32 ``n`` in [0, 1]."""

    def __init__(self, size: int, columns: list[int]):
        self._size, self._columns = size, columns

    def map(self, element: Element) -> Element:
        """Decode one record."""
        aus = element["aus"][self._columns] / np.float32(OPENFACE_MAXIMUM)
        return {"image": decode(element, self._size), "have": aus}


class Locate(grain.transforms.Map):
    """A number -> itself as ``face``, and that face's ``have``, float32 ``n`` in [0, 1]."""

    def __init__(self, table: np.ndarray):
        self._table = table

    def map(self, index: int) -> Element:
        """Read one row of the table, and no image."""
        return {"face": np.int32(index), "have": self._table[index]}


class Retarget(grain.transforms.RandomMap):
    """Add ``want``, those of a random face plus noise, and ``flip``, true for half.

    Args:
      table: float32 ``len n`` in [0, 1], the faces' action units.
      noise: targets move by U(-noise, noise).
      clip: keep targets in [0, 1]; the published code does not.
      flip: mirror half of the images (action units are symmetric).
    """

    def __init__(self, table: np.ndarray, noise: float, clip: bool, flip: bool):
        self._table, self._noise, self._clip, self._flip = table, noise, clip, flip

    def random_map(self, element: Element, rng: np.random.Generator) -> Element:
        """Draw target and flip for one example."""
        target = self._table[rng.integers(len(self._table))]
        target = target + rng.uniform(-self._noise, self._noise, target.shape)
        if self._clip:
            target = target.clip(0, 1)
        flip = np.bool_(self._flip and rng.random() < 0.5)
        return element | {"want": target.astype(np.float32), "flip": flip}


class Mirror(grain.transforms.Map):
    """Mirror the images that are to be flipped."""

    def map(self, element: Element) -> Element:
        """Mirror one image, or not."""
        flip = element.pop("flip")
        return element | {"image": element["image"][:, ::-1] if flip else element["image"]}


class DrawOther(grain.transforms.RandomMap):
    """A number -> itself as ``face``, and another face as ``other``, whose units are ``want``.

    Reads no image. In a share of the examples, ``paired``, the other face is the same person's,
    drawn by ``Pairs``, and ``want`` is exactly what it shows. In the rest it is a random face,
    as ``Retarget`` draws it, and ``want`` is off by the noise.

    Args:
      table: float32 ``len n`` in [0, 1], the faces' action units.
      pairs: where partners come from.
      share: of the examples that are to be paired, [0, 1].
      noise, clip, flip: as for ``Retarget``.
    """

    def __init__(
        self,
        table: np.ndarray,
        pairs: Pairs | None,
        share: float,
        noise: float,
        clip: bool,
        flip: bool,
    ):
        self._table, self._pairs, self._share = table, pairs, share
        self._noise, self._clip, self._flip = noise, clip, flip

    def random_map(self, index: int, rng: np.random.Generator) -> Element:
        """Draw the other face and the flip for one example."""
        other = None
        if self._pairs is not None and rng.random() < self._share:
            other = self._pairs.partner(index, rng)
        paired = other is not None
        if other is None:
            other = int(rng.integers(len(self._table)))
        want = self._table[other]
        if not paired:
            want = want + rng.uniform(-self._noise, self._noise, want.shape)
            want = want.clip(0, 1) if self._clip else want
        return {
            "face": np.int32(index),
            "other": np.int32(other),
            "paired": np.bool_(paired),
            "have": self._table[index],
            "want": want.astype(np.float32),
            "flip": np.bool_(self._flip and rng.random() < 0.5),
        }


class Fetch(grain.transforms.Map):
    """In place of the numbers of two faces their images, both mirrored or neither."""

    def __init__(self, source: Source, size: int):
        self._source, self._size = source, size

    def map(self, element: Element) -> Element:
        """Read and decode two images."""
        turn = -1 if element.pop("flip") else 1
        image, other = (
            decode(self._source[int(element.pop(name))], self._size)[:, ::turn]
            for name in ("face", "other")
        )
        return element | {"image": image, "other": other}
