"""Paste the change of a face crop into its source photo.

The change is upsampled, not the edited pixels, and what the model moves is moved in the photo
itself. The photo therefore keeps its own detail, and pixels that the model does not change stay
exactly the same.
"""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates, spline_filter

from ganimation_jax.faces.alignment import apply, invert

STILL = 0.02  # pixels, a motion that is none
SUPPORT = 12  # pixels around a place that a cubic spline depends on, to a part in a million
THIRDS = 3  # grid points per value along a side; odd, so that one of them is at its centre
TILE = 512  # pixels, side of the parts of a photo that are computed at once
WORKERS = min(4, os.cpu_count() or 1)  # parts at a time
FEATHER = 0.1  # of the crop's side, width of the border over which a change fades to 0

Window = tuple[slice, slice]  # rows and columns


def paste(
    photo: np.ndarray,
    change: np.ndarray,
    transform: np.ndarray,
    motion: np.ndarray | None = None,
) -> np.ndarray:
    """Move the photo's own pixels, then add the change of a crop to them.

    Motion and change fade to 0 towards the border of the crop, unless the crop covers the
    whole photo.

    Args:
      photo: uint8 ``h w 3``.
      change: float ``s s 3``, edited crop minus moved crop, on the scale of [0, 255].
      transform: ``2 3``, a similarity from photo pixels to crop pixels.
      motion: float ``s s 2``, where each pixel of the crop is read, relative to itself, in
        pixels of the crop: (down, right). None: nothing moves.

    Returns:
      uint8 ``h w 3``; equal to the photo outside the crop and where change and motion are 0.

    Raises:
      ValueError: the change is not square, or not finite.
    """
    if change.ndim != 3 or change.shape[0] != change.shape[1] or not np.isfinite(change).all():
        raise ValueError(f"a finite change s s 3 is wanted, this is {change.shape}")
    result, size = photo.copy(), len(change)
    added = _refined(change, transform)
    moves = None if motion is None else _refined(motion, transform)
    # (down, right) in the crop to (down, right) in the photo.
    back = np.linalg.inv(transform[:, :2])[::-1, ::-1].astype(np.float32)

    def fill(tile: Window) -> None:
        weight = _weight(transform, size, photo.shape[:2], tile)[..., None]
        if not weight.any():
            return
        source = photo[tile].astype(np.float32)
        if moves is not None:
            field = _sampled(moves, transform, size, tile) * weight
            source = _moved(photo, source, field @ back.T, tile)
        source += _sampled(added, transform, size, tile) * weight
        result[tile] = source.round().clip(0, 255).astype(np.uint8)

    tiles = _tiles(_window(transform, size, photo.shape[:2]))
    # A face of 3000 pixels in one piece takes a gigabyte; splines leave Python's lock alone.
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for _ in pool.map(fill, tiles):
            pass
    return result


def spread(
    mask: np.ndarray, transform: np.ndarray, shape: tuple[int, int], outside: float
) -> np.ndarray:
    """Turn a mask of a crop into a mask of the photo, faded at the border as in ``paste``.

    Args:
      mask: float ``s s``.
      transform: as for ``paste``.
      shape: height and width of the photo.
      outside: value outside the crop.

    Returns:
      float32 ``h w``, within the range of ``mask`` and ``outside``.
    """
    result = np.full(shape, outside, np.float32)
    size = len(mask)
    window = _window(transform, size, shape)
    weight = _weight(transform, size, shape, window)
    if weight.size:
        inside = _sampled(_refined(mask[..., None], transform), transform, size, window)[..., 0]
        inside = inside.clip(mask.min(), mask.max())  # bicubic interpolation overshoots
        result[window] += weight * (inside - outside)
    return result


def _window(transform: np.ndarray, size: int, shape: tuple[int, ...]) -> Window:
    """The part of the photo that the crop covers."""
    height, width = shape
    corners = apply(invert(transform), np.array([(0, 0), (size, 0), (0, size), (size, size)]))
    left, top = np.floor(corners.min(axis=0)).astype(int).clip(0, (width, height)).tolist()
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(0, (width, height)).tolist()
    return slice(top, bottom), slice(left, right)


def _tiles(window: Window) -> list[Window]:
    """A window in squares of at most ``TILE`` pixels."""
    rows, columns = (
        [slice(start, min(start + TILE, part.stop)) for start in range(part.start, part.stop, TILE)]
        for part in window
    )
    return list(itertools.product(rows, columns))


def _weight(transform: np.ndarray, size: int, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """The weight of a change in a window of the photo: float32 ``h w``, [0, 1].

    It is exactly 0 at pixels whose centre is outside the crop.
    """
    (height, width), (rows, columns) = shape, window
    rim = apply(transform, np.array([(0, 0), (width, 0), (0, height), (width, height)])) / size
    if rim.min() > -1e-6 and rim.max() < 1 + 1e-6:
        # The crop covers the whole photo, so there is no seam to hide.
        return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    x, y = (np.arange(part.start, part.stop) + 0.5 for part in (columns, rows))
    # Distance to the nearest side of the crop, as a share of its side; negative outside.
    depth = np.full((len(y), len(x)), np.inf, np.float32)
    for along_x, along_y, shift in transform / size:
        place = (along_x * x).astype(np.float32) + (along_y * y + shift).astype(np.float32)[:, None]
        np.minimum(depth, np.minimum(place, 1 - place), out=depth)
    ramp = (depth / np.float32(FEATHER)).clip(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _moved(photo: np.ndarray, source: np.ndarray, field: np.ndarray, window: Window) -> np.ndarray:
    """``source``, the photo's pixels in a window, read elsewhere: at ``field``, ``h w 2`` pixels.

    Cubic splines keep skin as sharp as it was, where bilinear reading would blur it.
    """
    moving = np.abs(field).max(axis=-1) > STILL
    if not moving.any():
        return source
    most = int(np.ceil(np.abs(field).max())) + SUPPORT
    rows, columns = (slice(max(part.start - most, 0), part.stop + most) for part in window)
    places = np.argwhere(moving).T + field[moving].T
    places += [[window[0].start - rows.start], [window[1].start - columns.start]]
    result = source.copy()
    for channel in range(photo.shape[2]):
        around = photo[rows, columns, channel].astype(np.float32)
        smooth = spline_filter(around, order=3, output=np.float32, mode="mirror")
        result[moving, channel] = map_coordinates(
            smooth, places, output=np.float32, order=3, mode="mirror", prefilter=False
        )
    return result


def _refined(values: np.ndarray, transform: np.ndarray) -> list[Image.Image]:
    """A crop's values, float ``s s c``, on a finer grid: a picture for each channel.

    If the crop is finer than the photo, detail that the photo cannot show is filtered out
    first. Pillow's bicubic resampling then refines the grid by ``THIRDS``, and its bilinear
    one samples the refined grid at the pixels (``_sampled``). The result is smooth at any
    magnification: bilinear resampling alone shows the crop's grid in large photos, and refining
    leaves a ninth of its kinks. If the photo is the crop itself, the values come back exactly,
    because the middle point of each three is the value.
    """
    size = len(values)
    scale = np.sqrt(abs(np.linalg.det(transform[:, :2])))  # crop pixels per photo pixel
    coarse = max(1, round(size / scale)) if scale > 1 else size
    grids = []
    for channel in np.moveaxis(np.asarray(values, np.float32), -1, 0):
        picture = Image.fromarray(np.ascontiguousarray(channel))
        for side in (coarse, THIRDS * coarse):
            if picture.width != side:
                picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        grids.append(picture)
    return grids


def _sampled(
    grids: Sequence[Image.Image], transform: np.ndarray, size: int, window: Window
) -> np.ndarray:
    """What ``_refined`` made of a crop of side ``size``, at the pixels of a window: ``h w c``."""
    rows, columns = window
    sampling = transform * (grids[0].width / size)
    sampling[:, 2] += sampling[:, :2] @ (columns.start, rows.start)
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    channels = [
        grid.transform(
            shape, Image.Transform.AFFINE, sampling.ravel().tolist(), Image.Resampling.BILINEAR
        )
        for grid in grids
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
