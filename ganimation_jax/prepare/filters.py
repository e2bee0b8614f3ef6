"""Filters for unsuitable faces and for duplicate pictures."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ganimation_jax.files.unusable import UnusableFile

HASH_SIDE = 16  # the perceptual hash has 16 x 16 bits
BANDS = 8  # hashes that differ by fewer bits than this must agree in at least one band
ALIKE = 10  # largest number of different bits between duplicates


def check_face(
    side: float, turn: float, sharpness: float, *, min_side: float, max_turn: float, blur: float
) -> None:
    """Reject a face that is too small, turned too far from the camera, or too blurred.

    Args:
      side: side of the crop in pixels of the picture.
      turn: angle away from the camera in degrees. NaN means unknown and passes.
      sharpness: see ``sharpness_of``.
      min_side, max_turn, blur: the limits.

    Raises:
      UnusableFile: the face exceeds a limit; the error gives the reason and the value.
    """
    if side < min_side:
        raise UnusableFile("face too small", f"{side:.0f} pixels, below {min_side:g}")
    if turn > max_turn:
        raise UnusableFile("face turned away", f"{turn:.0f} degrees, above {max_turn:g}")
    if sharpness < blur:
        raise UnusableFile("too blurred", f"sharpness {sharpness:.1f}, below {blur:g}")


def sharpness_of(crop: Image.Image) -> float:
    """Variance of the Laplacian of the grey crop; 0 if uniform (Pech-Pacheco et al. 2000)."""
    grey = np.asarray(crop.convert("L"), np.float32)
    above, below, left, right = grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]
    return float(np.var(above + below + left + right - 4 * grey[1:-1, 1:-1]))


def perceptual_hash(crop: Image.Image) -> bytes:
    """Difference hash: one bit per pixel of a small copy, set if the right one is brighter."""
    small = crop.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def duplicates(hashes: Sequence[bytes]) -> dict[int, int]:
    """Map the index of each duplicate hash to the index of the earlier hash to keep.

    Only hashes that agree in at least one of ``BANDS`` bands are compared. This finds all pairs
    that differ in fewer bits than there are bands, and most of the others. Each hash is compared
    only with the kept ones, so the time depends on the number of different pictures.
    """
    rows = np.array([np.frombuffer(one, np.uint8) for one in hashes], np.uint8)
    # Each band takes bytes from the whole picture because plain backgrounds agree in whole areas.
    bands = [
        [row.tobytes() for row in rows[:, band::BANDS]] if hashes else [] for band in range(BANDS)
    ]
    words = rows.view(np.uint64)
    kept = [defaultdict[bytes, _Places](_Places) for _ in range(BANDS)]
    repeats: dict[int, int] = {}
    for place, keys in enumerate(zip(*bands, strict=True)):
        earlier = []
        for key, groups in zip(keys, kept, strict=True):
            if key in groups:
                places = groups[key].array
                different = np.bitwise_count(words[places] ^ words[place]).sum(axis=1)
                if (alike := places[different <= ALIKE]).size:
                    earlier.append(int(alike[0]))
        if earlier:
            repeats[place] = min(earlier)
            continue
        for key, groups in zip(keys, kept, strict=True):
            groups[key].append(place)
    return repeats


class _Places:
    """A growing array of integers."""

    def __init__(self) -> None:
        self._room, self._count = np.empty(1, np.int64), 0

    @property
    def array(self) -> np.ndarray:
        return self._room[: self._count]

    def append(self, place: int) -> None:
        if self._count == len(self._room):
            self._room = np.concatenate([self._room, np.empty_like(self._room)])
        self._room[self._count] = place
        self._count += 1
