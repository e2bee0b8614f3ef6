"""Write moving pictures atomically, as MP4, GIF or WebP by the suffix of the path.

Frames are processed one at a time. The palette of a GIF is computed from all frames, which are
kept in an unnamed temporary file in the folder of the result until then, not in memory.
"""

import contextlib
import io
import math
import os
import struct
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import GifImagePlugin, Image

from ganimation_jax.media.tags import as_text, as_xmp
from ganimation_jax.media.video import Film, Moment, write_mp4

SUFFIXES = (".mp4", ".gif", ".webp")
WEBP_QUALITY = 90
SAMPLE = 1 << 18  # pixels, sampled from all frames, that a GIF's palette is computed from
SAME = 255  # the palette's last index: the pixel is unchanged from the frame before


def write_moving(
    path: Path, frames: Iterable[np.ndarray], *, fps: float, tags: Mapping[str, str]
) -> int:
    """Write frames at a constant rate; the file appears only when it is complete.

    Args:
      path: ``.mp4`` (H.264), ``.gif`` or ``.webp``; the latter two loop forever. Overwritten.
      frames: uint8 ``h w 3``, all of one size, consumed one by one; for WebP also ``h w 4``.
      fps: frames per second. GIF has a resolution of 1/100 s and WebP of 1/1000 s; durations
        are rounded so that the total stays right. A frame equal to the one before it is not
        written; that one lasts longer instead. A GIF at more than 50 frames per second drops
        frames, because browsers slow shorter ones down.
      tags: provenance, names and values: written as an MP4's metadata, a GIF's comment or a
        WebP's XMP.

    Returns:
      The number of frames given.

    Raises:
      ValueError: there are no frames, their sizes differ, the suffix is not supported, or the
        rate is not positive.
      TypeError: a frame is not uint8 ``h w 3``.
      OSError: the file cannot be written; the error names it.
      ImportError: PyAV is not installed, for MP4.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"{fps} frames a second")
    rate = Fraction(fps).limit_denominator(1001)  # rates such as 29.97 are multiples of 1/1001
    shown = (Moment(frame, number / rate) for number, frame in enumerate(frames))
    return write_moments(path, shown, Film(rate, 1 / rate), tags)


def write_moments(
    path: Path,
    shown: Iterator[Moment],
    film: Film,
    tags: Mapping[str, str],
    sound: Path | None = None,
) -> int:
    """Write frames at their own times; otherwise like ``write_moving``.

    Args:
      shown: frames at increasing times.
      film: timing of the video; the last frame is shown for ``1 / film.rate`` seconds.
      sound: a video whose sound an MP4 keeps (``video.write_mp4``). GIF and WebP have no sound.

    Raises:
      UnusableFile: the sound is damaged.
    """
    suffix, count = check_suffix(path), 0
    shown = _checked(shown, (3, 4) if suffix == ".webp" else (3,))

    def counted() -> Iterator[Moment]:
        nonlocal count
        for count, moment in enumerate(shown, 1):  # noqa: B007
            yield moment

    with _appearing(path) as partial:
        if suffix == ".mp4":
            text = {"comment": as_text(tags)} if tags else {}
            write_mp4(partial, counted(), film, text | dict(tags), sound)
        else:
            with partial.open("wb") as file:
                {".gif": _write_gif, ".webp": _write_webp}[suffix](file, counted(), film, tags)
    return count


def check_suffix(path: Path) -> str:
    """The suffix of the path in lower case.

    Raises:
      ValueError: the suffix is not supported.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: moving pictures are written as {', '.join(SUFFIXES)}")
    return suffix


def _checked(shown: Iterable[Moment], channels: tuple[int, ...]) -> Iterator[Moment]:
    """Yield the frames and check that there is at least one and that all have one size."""
    shape = None
    for moment in shown:
        image = moment.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in channels:
            raise TypeError(f"uint8 h w 3 wanted, got {image.dtype} {image.shape}")
        if shape not in (None, image.shape):
            raise ValueError(f"a frame of {image.shape} follows one of {shape}")
        shape = image.shape
        yield moment
    if shape is None:
        raise ValueError("no frames to write")


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A temporary file that is renamed to ``path`` on success and deleted on failure."""
    partial = path.with_name(f".{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        partial.open("xb").close()  # report unwritable folders before FFmpeg runs
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        # The error of a full disk names no file. An error that names another file comes from
        # making the frames and is raised unchanged.
        if error.filename in (None, str(partial), str(path.parent)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _on_clock(
    shown: Iterable[Moment], film: Film, clock: int, shortest: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield frames and their durations in ticks, of which there are ``clock`` per second.

    Times are rounded, not durations, so that rounding errors do not add up. A frame is dropped
    if it equals the one before, or comes less than ``shortest`` ticks after it.
    """
    held: np.ndarray | None = None
    since, last = 0, Fraction(0)
    for image, last in shown:
        now = round(last * clock)
        if held is None:
            held, since = image, now
        elif now - since >= shortest and not np.array_equal(image, held):
            yield held, now - since
            held, since = image, now
    if held is not None:
        yield held, max(round((last + 1 / film.rate) * clock) - since, shortest)


def _new(image: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Mask of the pixels that differ from the frame before, bool ``h w``."""
    return np.ones(image.shape[:2], bool) if before is None else (image != before).any(axis=2)


def _rectangle(new: np.ndarray) -> tuple[slice, slice]:
    """The smallest rectangle around the changed pixels that starts at an even row and column.

    At least one pixel must have changed.
    """
    rows, columns = (np.flatnonzero(new.any(axis=axis)) for axis in (1, 0))
    return _span(rows), _span(columns)


def _span(places: np.ndarray) -> slice:
    return slice(int(places[0]) // 2 * 2, int(places[-1]) + 1)


# GIF. Pillow's own writer keeps all frames in memory, and its static regions flicker. Only the
# encoding of a frame is left to Pillow.


def _write_gif(
    file: BinaryIO, shown: Iterator[Moment], film: Film, tags: Mapping[str, str]
) -> None:
    durations: list[int] = []
    # The result's folder has room for it. The file has no name and is deleted with the process.
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as spool:
        for image, duration in _on_clock(shown, film, clock=100, shortest=2):
            spool.write(image.tobytes())
            durations.append(duration)
            shape = image.shape
        palette = _palette(spool, len(durations), shape)
        file.write(b"GIF89a" + struct.pack("<HHBBB", shape[1], shape[0], 0xF7, 0, 0))
        file.write(bytes(palette.getpalette() or ()))
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # loop forever
        if tags:
            text = as_text(tags).encode()
            parts = [text[start : start + 255] for start in range(0, len(text), 255)]
            file.write(b"!\xfe" + b"".join(bytes([len(p)]) + p for p in parts) + b"\0")
        before = None
        for number, duration in enumerate(durations):
            image = _unspooled(spool, number, shape)
            fresh = np.array(Image.fromarray(image).quantize(palette=palette))
            fresh[fresh == SAME] = 0  # index 0 has the same colour
            # Unchanged pixels are not redrawn, because dithering them again would flicker.
            new = _new(image, before)
            place = _rectangle(new)
            frame = Image.fromarray(np.where(new, fresh, SAME).astype(np.uint8)[place], "P")
            parts = GifImagePlugin.getdata(
                frame,
                (place[1].start, place[0].start),
                duration=10 * duration,
                transparency=SAME,
                disposal=1,  # keep this frame under the next one
            )
            file.writelines(parts)
            parts.clear()  # Pillow leaves it in a reference cycle; free the memory now
            before = image
        file.write(b";")


def _unspooled(spool: BinaryIO, number: int, shape: tuple[int, ...]) -> np.ndarray:
    spool.seek(number * math.prod(shape))
    return np.frombuffer(spool.read(math.prod(shape)), np.uint8).reshape(shape)


def _palette(spool: BinaryIO, count: int, shape: tuple[int, ...]) -> Image.Image:
    """A picture whose palette fits all frames, computed from evenly sampled pixels."""
    taken = range(0, count, math.ceil(count / 64))
    step = math.ceil(math.sqrt(len(taken) * shape[0] * shape[1] / SAMPLE))
    pixels = [_unspooled(spool, number, shape)[::step, ::step].copy() for number in taken]
    sample = Image.fromarray(np.concatenate(pixels))
    colours = sample.quantize(SAME, Image.Quantize.MEDIANCUT, kmeans=1).getpalette() or []
    palette = Image.new("P", (1, 1))
    # SAME needs a colour; it repeats that of index 0, so that no other colour is lost.
    palette.putpalette((colours + colours[:3] * 256)[:768])
    return palette


# WebP. Pillow's own writer takes the frames as a list, so all would be in memory.


def _write_webp(
    file: BinaryIO, shown: Iterator[Moment], film: Film, tags: Mapping[str, str]
) -> None:
    before = None
    file.write(bytes(12 + 18))  # placeholder: RIFF and VP8X are written at the end
    file.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)))  # loop forever
    for image, duration in _on_clock(shown, film, clock=1000, shortest=1):
        rows, columns = place = _rectangle(_new(image, before))
        part = io.BytesIO()
        # With transparency, only lossless frames are encoded as a single chunk.
        lossless = image.shape[2] == 4
        Image.fromarray(image[place]).save(
            part, "WEBP", quality=WEBP_QUALITY, lossless=lossless, exact=lossless
        )
        width, height = columns.stop - columns.start, rows.stop - rows.start
        where = (columns.start // 2, rows.start // 2, width - 1, height - 1, duration)
        # Flag 2: drawn over the previous frame without blending. The content is a WebP file
        # without its header.
        content = b"".join(map(_u24, where)) + b"\x02" + part.getvalue()[12:]
        file.write(_chunk(b"ANMF", content))
        before, shape = image, image.shape
    if tags:
        file.write(_chunk(b"XMP ", as_xmp(tags).encode()))
    size = file.tell()
    file.seek(0)
    file.write(b"RIFF" + struct.pack("<I", size - 8) + b"WEBP")
    # Flags: animation, XMP, transparency.
    flags = struct.pack("<I", 0x02 | (0x04 if tags else 0) | (0x10 if shape[2] == 4 else 0))
    file.write(_chunk(b"VP8X", flags + _u24(shape[1] - 1) + _u24(shape[0] - 1)))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _u24(value: int) -> bytes:
    return value.to_bytes(3, "little")
