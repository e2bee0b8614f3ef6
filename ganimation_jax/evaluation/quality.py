"""Quality of images, by comparison of pixels."""

from collections.abc import Iterator

import numpy as np


def reconstruction(reconstructed: np.ndarray, image: np.ndarray) -> Iterator[tuple[str, float]]:
    """There and back again: ``reconstruction/psnr`` in dB, ``b h w 3`` in [-1, 1] both."""
    yield "reconstruction/psnr", float(psnr(reconstructed, image).mean())


def change(edited: np.ndarray, image: np.ndarray) -> Iterator[tuple[str, float]]:
    """``edit_response/pixels``: mean absolute change on the 0-255 scale; 0 is no edit."""
    yield "edit_response/pixels", float(np.abs(edited - image).mean() * 127.5)


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal to noise ratio in dB of images in [-1, 1], at most 100. b h w c -> b."""
    error = np.square(a.astype(np.float64) - b).mean(axis=(1, 2, 3))
    return 10 * np.log10(4 / np.maximum(error, 4e-10))
