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
from jaxtyping import Float, Float32
from PIL import Image

from ganimation_jax.animation.photo_like import Pixels
from ganimation_jax.animation.splines import BLOCK, ROOM, displaced
from ganimation_jax.faces.alignment import apply, invert

STILL = 0.02  # pixels of the photo, a motion that is none
# Pixels of the crop: motion up to the first is none, from the second on it is as given. A network
# moves everything a little, and what does not move takes no time.
FAINT, PLAIN = 0.01, 0.03
UNSEEN = 0.3  # levels; a change of less rounds to none, also after resampling
AROUND = 3  # pixels of the crop, or of the photo if it is coarser, that resampling looks across
THIRDS = 3  # grid points per value along a side; odd, so that one of them is at its centre
TILE = BLOCK  # pixels, side of the parts of a photo that are computed at once
WORKERS = min(4, os.cpu_count() or 1)  # parts at a time
FEATHER = 0.1  # of the crop's side, width of the border over which a change fades to 0

Window = tuple[slice, slice]  # rows and columns


def paste(
    photo: Pixels,
    change: Float[np.ndarray, "..."],
    transform: Float[np.ndarray, "2 3"],
    motion: Float[np.ndarray, "s s 2"] | None = None,
) -> Pixels:
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
    busy = np.abs(change).max(axis=-1) > UNSEEN
    if motion is not None:
        motion = motion * _ramp(np.abs(motion).max(axis=-1), FAINT, PLAIN)[..., None]
        busy |= motion.any(axis=-1)
    added = _refined(change, transform)
    moves = None if motion is None else _refined(motion, transform)
    # (down, right) in the crop to (down, right) in the photo.
    back = np.linalg.inv(transform[:, :2])[::-1, ::-1].astype(np.float32)

    def fill(tile: Window) -> None:
        weight = _weight(transform, size, photo.shape[:2], tile)
        if not weight.any():
            return
        source = photo[tile].astype(np.float32)
        if moves is not None:
            down, right = (weight * x for x in _sampled(moves, transform, size, tile))
            field = np.stack([row[0] * down + row[1] * right for row in back])
            source = _moved(photo, source, field, tile)
        for channel, values in enumerate(_sampled(added, transform, size, tile)):
            source[..., channel] += weight * values
        result[tile] = source.round().clip(0, 255).astype(np.uint8)

    tiles = _tiles(_window(transform, size, photo.shape[:2]))
    tiles = [tile for tile in tiles if _within(busy, transform, tile).any()]
    # Pillow and XLA leave Python's lock alone.
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for _ in pool.map(fill, tiles):
            pass
    return result


def spread(
    mask: Float[np.ndarray, "s s"],
    transform: Float[np.ndarray, "2 3"],
    shape: tuple[int, int],
    outside: float,
) -> Float32[np.ndarray, "h w"]:
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
        inside = _sampled(_refined(mask[..., None], transform), transform, size, window)[0]
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
    return _ramp(depth, 0, FEATHER)


def _within(mask: np.ndarray, transform: np.ndarray, tile: Window) -> np.ndarray:
    """The part of a crop's mask, ``s s``, that may show in a tile of the photo."""
    rows, columns = tile
    margin = AROUND * max(1.0, _scale(transform))
    corners = itertools.product((columns.start, columns.stop), (rows.start, rows.stop))
    places = apply(transform, np.array(list(corners)))
    left, top = np.floor(places.min(axis=0) - margin).astype(int).clip(0, len(mask) - 1).tolist()
    right, bottom = np.ceil(places.max(axis=0) + margin).astype(int).clip(1, len(mask)).tolist()
    return mask[top:bottom, left:right]


def _scale(transform: np.ndarray) -> float:
    """Crop pixels per photo pixel."""
    return float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))


def _ramp(values: np.ndarray, start: float, stop: float) -> np.ndarray:
    """0 up to ``start``, 1 from ``stop``, smooth between."""
    share = ((values - start) / (stop - start)).clip(0, 1)
    return share * share * (3 - 2 * share)


def _moved(photo: np.ndarray, source: np.ndarray, field: np.ndarray, window: Window) -> np.ndarray:
    """``source``, the photo's pixels in a window, read elsewhere: at ``field``, ``2 h w`` pixels.

    Cubic splines keep skin as sharp as it was, where bilinear reading would blur it.
    """
    moving = (np.abs(field[0]) > STILL) | (np.abs(field[1]) > STILL)
    if not moving.any():
        return source
    rows, columns = window
    apart = max(float(np.ptp(x)) for x in field)
    if max(moving.shape) <= BLOCK and apart <= 2 * ROOM:
        moved = displaced(photo, field, rows.start, columns.start)
        return np.where(moving[..., None], moved, source)
    # In four parts, in which pixels move more alike.
    result = source.copy()
    middle = [(length + 1) // 2 for length in moving.shape]
    for part in itertools.product(*((slice(0, m), slice(m, None)) for m in middle)):
        (height, width), (down, right) = source[part].shape[:2], part
        if height and width:
            top, left = rows.start + down.start, columns.start + right.start
            inside = slice(top, top + height), slice(left, left + width)
            result[part] = _moved(photo, source[part], field[:, *part], inside)
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
    size, scale = len(values), _scale(transform)
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
) -> list[np.ndarray]:
    """What ``_refined`` made of a crop of side ``size``, at a window's pixels: ``h w`` each."""
    rows, columns = window
    sampling = transform * (grids[0].width / size)
    sampling[:, 2] += sampling[:, :2] @ (columns.start, rows.start)
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    return [
        np.asarray(
            grid.transform(
                shape, Image.Transform.AFFINE, sampling.ravel().tolist(), Image.Resampling.BILINEAR
            )
        )
        for grid in grids
    ]
