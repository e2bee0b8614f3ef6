"""Write moving pictures: MP4, GIF or WebP by the name's ending, whole or not at all.

Frames come and go one at a time. A GIF's palette is made of all of them: until then they
lie, as they are, in a nameless file in the folder of the result, not in memory.
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
SAMPLE = 1 << 18  # pixels, of all frames, of which a GIF's palette is made
SAME = 255  # the last of its colours: as in the frame before


def write_moving(
    path: Path, frames: Iterable[np.ndarray], *, fps: float, tags: Mapping[str, str]
) -> int:
    """Write frames at a constant rate; the file appears only when it is complete.

    Args:
      path: ``.mp4`` (H.264), ``.gif`` or ``.webp``, both without end; overwritten.
      frames: uint8 ``h w 3``, all of one size, taken one by one; for WebP also ``h w 4``.
      fps: frames a second. GIF counts hundredths of a second and WebP thousandths: a frame
        lasts one more or one less, so that the whole keeps time, and what equals the frame
        before it makes that last longer. Of a GIF at more than 50
        frames a second some are left out: browsers slow shorter ones down.
      tags: what the file says of itself: an MP4's metadata, a GIF's comment, WebP's XMP.

    Returns:
      How many frames were given.

    Raises:
      ValueError: no frames, or of differing size, or another ending, or no positive rate.
      TypeError: a frame is not uint8 ``h w 3``.
      OSError: it cannot be written; names the file.
      ImportError: PyAV is not installed, for MP4.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"{fps} frames a second")
    rate = Fraction(fps).limit_denominator(1001)  # 29.97 and the like are so many 1001ths
    shown = (Moment(frame, number / rate) for number, frame in enumerate(frames))
    return write_moments(path, shown, Film(rate, 1 / rate), tags)


def write_moments(
    path: Path,
    shown: Iterator[Moment],
    film: Film,
    tags: Mapping[str, str],
    sound: Path | None = None,
) -> int:
    """Write frames at their own times; else as ``write_moving``.

    Args:
      shown: at increasing times.
      film: the last frame is shown for ``1 / film.rate``.
      sound: a video whose sound an MP4 keeps (``video.write_mp4``); the others are mute.

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
    """The ending, in small letters.

    Raises:
      ValueError: it is none of those that can be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: moving pictures are written as {', '.join(SUFFIXES)}")
    return suffix


def _checked(shown: Iterable[Moment], channels: tuple[int, ...]) -> Iterator[Moment]:
    """The frames, known to be at least one and of one size."""
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
    """A file that gets its name when it is complete, and leaves nothing if it is not."""
    partial = path.with_name(f".{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        partial.open("xb").close()  # so that FFmpeg's messages are about video only
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        # A full disk names no file. Another file's name stays: making frames went wrong.
        if error.filename in (None, str(partial), str(path.parent)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _on_clock(
    shown: Iterable[Moment], film: Film, clock: int, shortest: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Frames and how long each lasts, in ticks of which there are ``clock`` a second.

    Times, not durations, are rounded. Left out are frames that equal the one before, and
    those that would end it in less than ``shortest`` ticks.
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
    """Where a frame is not as the one before: bool ``h w``."""
    return np.ones(image.shape[:2], bool) if before is None else (image != before).any(axis=2)


def _rectangle(new: np.ndarray) -> tuple[slice, slice]:
    """The smallest that holds all that is new, if there is any, from an even row and column."""
    rows, columns = (np.flatnonzero(new.any(axis=axis)) for axis in (1, 0))
    return _span(rows), _span(columns)


def _span(places: np.ndarray) -> slice:
    return slice(int(places[0]) // 2 * 2, int(places[-1]) + 1)


# GIF. Pillow's own writer holds all frames in memory and lets what stands still flicker: only
# the coding of a frame is Pillow's.


def _write_gif(
    file: BinaryIO, shown: Iterator[Moment], film: Film, tags: Mapping[str, str]
) -> None:
    durations: list[int] = []
    # In a folder that has room for the result; it has no name and goes with the process.
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as spool:
        for image, duration in _on_clock(shown, film, clock=100, shortest=2):
            spool.write(image.tobytes())
            durations.append(duration)
            shape = image.shape
        palette = _palette(spool, len(durations), shape)
        file.write(b"GIF89a" + struct.pack("<HHBBB", shape[1], shape[0], 0xF7, 0, 0))
        file.write(bytes(palette.getpalette() or ()))
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # again and again, without end
        if tags:
            text = as_text(tags).encode()
            parts = [text[start : start + 255] for start in range(0, len(text), 255)]
            file.write(b"!\xfe" + b"".join(bytes([len(p)]) + p for p in parts) + b"\0")
        before = None
        for number, duration in enumerate(durations):
            image = _unspooled(spool, number, shape)
            fresh = np.array(Image.fromarray(image).quantize(palette=palette))
            fresh[fresh == SAME] = 0  # of the same colour
            # Dithered anew, what has not changed would flicker.
            new = _new(image, before)
            place = _rectangle(new)
            frame = Image.fromarray(np.where(new, fresh, SAME).astype(np.uint8)[place], "P")
            parts = GifImagePlugin.getdata(
                frame,
                (place[1].start, place[0].start),
                duration=10 * duration,
                transparency=SAME,
                disposal=1,  # what is drawn stays
            )
            file.writelines(parts)
            parts.clear()  # Pillow lost this list in a cycle: it would stay for long
            before = image
        file.write(b";")


def _unspooled(spool: BinaryIO, number: int, shape: tuple[int, ...]) -> np.ndarray:
    spool.seek(number * math.prod(shape))
    return np.frombuffer(spool.read(math.prod(shape)), np.uint8).reshape(shape)


def _palette(spool: BinaryIO, count: int, shape: tuple[int, ...]) -> Image.Image:
    """A picture whose palette serves all frames: of pixels taken evenly from all of them."""
    taken = range(0, count, math.ceil(count / 64))
    step = math.ceil(math.sqrt(len(taken) * shape[0] * shape[1] / SAMPLE))
    pixels = [_unspooled(spool, number, shape)[::step, ::step].copy() for number in taken]
    sample = Image.fromarray(np.concatenate(pixels))
    colours = sample.quantize(SAME, Image.Quantize.MEDIANCUT, kmeans=1).getpalette() or []
    palette = Image.new("P", (1, 1))
    # SAME must have a colour; with that of 0 it takes no other's place.
    palette.putpalette((colours + colours[:3] * 256)[:768])
    return palette


# WebP. Pillow's own writer holds all frames in memory and cannot take more than it was told of.


def _write_webp(
    file: BinaryIO, shown: Iterator[Moment], film: Film, tags: Mapping[str, str]
) -> None:
    before = None
    file.write(bytes(12 + 18))  # RIFF and VP8X are known at the end
    file.write(_chunk(b"ANIM", struct.pack("<IH", 0xFFFFFFFF, 0)))  # without end
    for image, duration in _on_clock(shown, film, clock=1000, shortest=1):
        rows, columns = place = _rectangle(_new(image, before))
        part = io.BytesIO()
        # With transparency, only what is written without loss is a single chunk.
        lossless = image.shape[2] == 4
        Image.fromarray(image[place]).save(
            part, "WEBP", quality=WEBP_QUALITY, lossless=lossless, exact=lossless
        )
        width, height = columns.stop - columns.start, rows.stop - rows.start
        where = (columns.start // 2, rows.start // 2, width - 1, height - 1, duration)
        # Drawn over what is there, which stays. The frame is a whole file but for its head.
        content = b"".join(map(_u24, where)) + b"\x02" + part.getvalue()[12:]
        file.write(_chunk(b"ANMF", content))
        before, shape = image, image.shape
    if tags:
        file.write(_chunk(b"XMP ", as_xmp(tags).encode()))
    size = file.tell()
    file.seek(0)
    file.write(b"RIFF" + struct.pack("<I", size - 8) + b"WEBP")
    # It moves; it has XMP, and transparency.
    flags = struct.pack("<I", 0x02 | (0x04 if tags else 0) | (0x10 if shape[2] == 4 else 0))
    file.write(_chunk(b"VP8X", flags + _u24(shape[1] - 1) + _u24(shape[0] - 1)))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _u24(value: int) -> bytes:
    return value.to_bytes(3, "little")
