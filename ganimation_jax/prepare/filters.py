"""Which faces are fit to train on, and which are the same picture twice."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ganimation_jax.files.unusable import UnusableFile

HASH_SIDE = 16  # the perceptual hash has 16 x 16 bits
BANDS = 8  # in which one of two hashes that differ by fewer bits than bands must agree
ALIKE = 10  # bits by which two crops of one picture may differ


def check_face(
    side: float, turn: float, sharpness: float, *, min_side: float, max_turn: float, blur: float
) -> None:
    """Refuse a face that is too small, turned too far away, or too blurred.

    Args:
      side: pixels of the picture that the side of the crop covers.
      turn: degrees away from the camera; NaN, where unknown, passes.
      sharpness: see ``sharpness_of``.
      min_side, max_turn, blur: the limits.

    Raises:
      UnusableFile: the reason, with the figure.
    """
    if side < min_side:
        raise UnusableFile("face too small", f"{side:.0f} pixels, below {min_side:g}")
    if turn > max_turn:
        raise UnusableFile("face turned away", f"{turn:.0f} degrees, above {max_turn:g}")
    if sharpness < blur:
        raise UnusableFile("too blurred", f"sharpness {sharpness:.1f}, below {blur:g}")


def sharpness_of(crop: Image.Image) -> float:
    """Variance of the Laplacian of the grey crop, 0 for a plain area (Pech-Pacheco et al. 2000)."""
    grey = np.asarray(crop.convert("L"), np.float32)
    laplacian = (
        *(grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]),
        -4 * grey[1:-1, 1:-1],
    )
    return float(np.var(sum(laplacian)))


def perceptual_hash(crop: Image.Image) -> bytes:
    """A difference hash: for each place of a small copy, is its right neighbour brighter?"""
    small = crop.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def duplicates(hashes: Sequence[bytes]) -> dict[int, int]:
    """Which hashes repeat an earlier one: place -> place of the one to keep.

    Pairs are sought among those that agree in one of ``BANDS`` parts of the hash: sure
    to find those that differ by fewer bits than that, likely to find the others.
    """
    bits = np.array([np.frombuffer(one, np.uint8) for one in hashes], np.uint8).reshape(
        len(hashes), HASH_SIDE * HASH_SIDE // 8
    )
    repeats: dict[int, int] = {}
    for band in range(BANDS):
        # Bytes from all over the picture, for plain backgrounds agree in whole regions.
        part = np.ascontiguousarray(bits[:, band::BANDS])
        keys = part.view(f"V{part.shape[1]}").ravel()
        _, group = np.unique(keys, return_inverse=True)
        order = np.argsort(group, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            _repeats_among(members, bits, repeats)
    # One that repeats a repetition repeats what that does.
    for place in sorted(repeats):
        repeats[place] = repeats.get(repeats[place], repeats[place])
    return repeats


def _repeats_among(members: np.ndarray, bits: np.ndarray, repeats: dict[int, int]) -> None:
    for count, place in enumerate(members.tolist()):
        if count:
            different = np.bitwise_count(bits[members[:count]] ^ bits[place]).sum(axis=1)
            if (alike := np.flatnonzero(different <= ALIKE)).size:
                earlier = int(members[alike[0]])
                repeats[place] = min(earlier, repeats.get(place, earlier))
