"""Put the change of a face crop into the photo that it is from.

The change is upsampled, not the edited pixels: the photo keeps its own detail, and where a
model changes nothing not a level moves.
"""

import numpy as np
from PIL import Image

from ganimation_jax.faces.alignment import apply, invert

THIRDS = 3  # points of the finer grid to a value; odd, so that one of them is in its middle
FEATHER = 0.1  # of the crop's side, along its border, over which a change fades to nothing


def paste(photo: np.ndarray, change: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """The photo with the change of a crop added to it.

    Towards the border of the crop the change fades to nothing, unless the photo has
    nothing outside the crop.

    Args:
      photo: uint8 ``h w 3``.
      change: float ``s s 3``, in levels of [0, 255]: edited crop - crop.
      transform: ``2 3``, a similarity from pixels of the photo to those of the crop.

    Returns:
      uint8 ``h w 3``; outside the crop, and where the change is 0, exactly the photo.

    Raises:
      ValueError: the change is not square, or not finite.
    """
    if change.ndim != 3 or change.shape[0] != change.shape[1] or not np.isfinite(change).all():
        raise ValueError(f"a finite change s s 3 is wanted, this is {change.shape}")
    result = photo.copy()
    window, weight = _window(transform, change.shape[0], photo.shape[:2])
    if weight.size:
        added = _upsampled(change, transform, window) * weight[..., None]
        result[window] = (photo[window] + added).round().clip(0, 255).astype(np.uint8)
    return result


def spread(
    mask: np.ndarray, transform: np.ndarray, shape: tuple[int, int], outside: float
) -> np.ndarray:
    """A mask of a crop as a mask of the photo, with the same fading as a change has.

    Args:
      mask: float ``s s``.
      transform: as for ``paste``.
      shape: h, w of the photo.
      outside: value beyond the crop.

    Returns:
      float32 ``h w``, within the range of ``mask`` and ``outside``.
    """
    result = np.full(shape, outside, np.float32)
    window, weight = _window(transform, len(mask), shape)
    if weight.size:
        inside = _upsampled(mask[..., None], transform, window)[..., 0]
        inside = inside.clip(mask.min(), mask.max())  # a cubic overshoots
        result[window] += weight * (inside - outside)
    return result


def _window(
    transform: np.ndarray, size: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of the photo that the crop lies in, and how much counts there: float32, [0, 1].

    Exactly 0 at pixels whose centre is outside the crop.
    """
    height, width = shape
    corners = apply(invert(transform), np.array([(0, 0), (size, 0), (0, size), (size, size)]))
    left, top = np.floor(corners.min(axis=0)).astype(int).clip(0, (width, height))
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(0, (width, height))
    rim = apply(transform, np.array([(0, 0), (width, 0), (0, height), (width, height)])) / size
    window = slice(top, bottom), slice(left, right)
    if rim.min() > -1e-6 and rim.max() < 1 + 1e-6:
        # Nothing of the photo is beyond the crop: there is no seam to hide.
        return window, np.ones((bottom - top, right - left), np.float32)
    x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    depth = np.full((len(y), len(x)), np.inf, np.float32)  # to the nearest side; negative outside
    for along_x, along_y, shift in transform / size:
        place = (along_x * x).astype(np.float32) + (along_y * y + shift).astype(np.float32)[:, None]
        np.minimum(depth, np.minimum(place, 1 - place), out=depth)
    ramp = (depth / np.float32(FEATHER)).clip(0, 1)
    return window, ramp * ramp * (3 - 2 * ramp)


def _upsampled(
    values: np.ndarray, transform: np.ndarray, window: tuple[slice, slice]
) -> np.ndarray:
    """Values of a crop, float ``s s c``, at the pixels of a window of the photo: ``h w c``.

    Where the crop is finer than the photo, what the photo cannot show is filtered out.
    Then Pillow's bicubic resampling makes a grid of THIRDS, on which its bilinear one finds the
    pixels: smooth at any magnification (bilinear alone shows the crop's own grid in large
    photos; of the kink that it leaves, a ninth is left), and of a photo that is the crop
    exactly the values, for the middle third is where they are.
    """
    size = len(values)
    scale = np.sqrt(abs(np.linalg.det(transform[:, :2])))  # crop pixels a photo pixel
    coarse = max(1, round(size / scale)) if scale > 1 else size
    fine = THIRDS * coarse
    rows, columns = window
    sampling = transform * (fine / size)
    sampling[:, 2] += sampling[:, :2] @ (columns.start, rows.start)
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    channels = []
    for channel in np.moveaxis(np.asarray(values, np.float32), -1, 0):
        picture = Image.fromarray(np.ascontiguousarray(channel))
        for side in (coarse, fine):
            if picture.width != side:
                picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        picture = picture.transform(
            shape,
            Image.Transform.AFFINE,
            sampling.ravel().tolist(),
            Image.Resampling.BILINEAR,
        )
        channels.append(np.asarray(picture))
    return np.stack(channels, axis=-1)
