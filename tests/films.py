"""Films that tests write, and films read by other routes than the library's."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, ImageSequence

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")


def scene(number, height=48, width=64):
    """A smooth picture with a bright square that moves by four pixels a frame."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([60 + rows, 60 + columns, 180 - rows - columns // 2], axis=-1)
    start = 4 * number % (width - 8)
    image[8:16, start : start + 8] = 230
    return image.astype(np.uint8)


def read_moving(path):
    """All frames of a file, RGB, and the milliseconds each is shown, by other routes than ours."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        times = [1000 * frame.pts * frame.time_base for frame in frames]
        ends = [*times[1:], times[-1] + 1000 * frames[-1].duration * frames[-1].time_base]
        shown = [float(end - start) for start, end in zip(times, ends, strict=True)]
        return [frame.to_image(interpolation=0x46004) for frame in frames], shown
    images, shown = [], []
    with Image.open(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            images.append(frame.convert("RGB"))
            shown.append(frame.info["duration"])
    return images, shown


def mean_difference(one, other):
    return np.abs(np.subtract(one, other, dtype=float)).mean()


def write_film(path, images, times=None, *, base=Fraction(1, 25), sound=None, late=0.0, **stream):
    """A video of frames at ``times``, in ticks; and of a tone that starts ``late`` seconds.

    Further arguments are set on the stream of pictures.
    """
    turned = stream.pop("turned", 0)
    with av.open(str(path), "w") as container:
        codec = "libvpx" if path.suffix == ".webm" else "libx264"
        video = container.add_stream(codec, rate=25, options={"crf": "10"})
        video.height, video.width = images[0].shape[:2]
        video.codec_context.time_base = base
        for name, value in stream.items():
            setattr(video.codec_context, name, value)
        video.set_display_rotation(turned)
        audio = container.add_stream(sound, rate=48_000) if sound else None
        for image, time in zip(images, times or range(len(images)), strict=True):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = time, base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            container.mux(audio.encode(tone(len(images) / 25, late)))
            container.mux(audio.encode())
    return path


def tone(seconds, late):
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(48_000 * seconds)) / 48_000)
    wave[: len(wave) // 2] = 0  # it is heard from the middle on
    samples = np.tile(wave.astype(np.float32), (2, 1))
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
    frame.pts = round(48_000 * late)
    return frame


def sound_of(path):
    """Codec, packets, and the second at which something is heard."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        codec = stream.codec_context.codec.canonical_name
    resampler = av.AudioResampler(format="flt", layout="mono")
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                loud = np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.2)
                if loud.size:
                    return codec, packets, part.time + loud[0] / part.sample_rate
    return codec, packets, None
