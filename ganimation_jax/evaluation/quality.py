"""Image quality measured by comparing pixels."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import correlate1d

from ganimation_jax.evaluation.scores import HIGHER, Score, Scores

Images = Float[np.ndarray, "b h w c"]
Mask = Bool[np.ndarray, "b h w"]
PerImage = Float[np.ndarray, " b"]
CHANGED = 8 / 127.5  # 8 of 255 levels of a colour: a visible change


def reconstruction(reconstructed: Images, image: Images) -> Scores:
    """Score reversed edits as ``reconstruction/psnr`` in dB; both in [-1, 1]."""
    value = float(psnr(reconstructed, image).mean())
    yield Score("reconstruction", "psnr", value, better=HIGHER)


def change(edited: Images, image: Images, name: str = "edit_response") -> Scores:
    """Score ``<name>/pixels``: mean absolute change on the 0-255 scale; 0 is no edit."""
    yield Score(name, "pixels", float(np.abs(edited - image).mean() * 127.5))


def visible_change(image: Images, target: Images) -> Mask:
    """Return the mask of visibly different pixels."""
    return np.abs(target - image).max(axis=-1) > CHANGED


def psnr_within(a: Images, b: Images, mask: Mask) -> PerImage:
    """Compute ``psnr`` over the pixels of a mask; NaN if the mask is empty."""
    error = np.square(a.astype(np.float64) - b).mean(axis=-1)
    total = np.where(mask, error, 0).sum(axis=(1, 2))
    count = mask.sum(axis=(1, 2))
    error = np.divide(total, count, out=np.full(len(a), np.nan), where=count > 0)
    return 10 * np.log10(4 / np.maximum(error, 4e-10))


def psnr(a: Images, b: Images) -> PerImage:
    """Peak signal-to-noise ratio in dB of images in [-1, 1], capped at 100."""
    error = np.square(a.astype(np.float64) - b).mean(axis=(1, 2, 3))
    return 10 * np.log10(4 / np.maximum(error, 4e-10))


def ssim(a: Images, b: Images) -> PerImage:
    """Structural similarity of images in [-1, 1]; 1 if equal (Wang et al. 2004).

    Uses Gaussian windows of 11 x 11 pixels, sigma 1.5, that lie entirely inside the image, and
    averages over windows and channels.

    Raises:
      ValueError: the images are smaller than a window.
    """
    if min(a.shape[1:3]) < len(_WINDOW):
        raise ValueError(f"SSIM needs images of at least 11 pixels a side: {a.shape}")
    # One image at a time, because a set in float64 does not fit the processor's caches.
    return np.array([_ssim(*pair) for pair in zip(a, b, strict=True)], np.float64)


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one image, ``h w c``."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b, square_a, square_b, product = _blur(np.stack([a, b, a * a, b * b, a * b]))
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    covariance = product - mean_a * mean_b
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # 2 is the range of values
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return float((light * structure).mean())


_WINDOW = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def _blur(x: np.ndarray) -> np.ndarray:
    """Weighted means over windows inside the image. n h w c -> n h-10 w-10 c."""
    for axis in (1, 2):
        x = correlate1d(x, _WINDOW, axis)
    return x[:, 5:-5, 5:-5]
