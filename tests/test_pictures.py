"""Reading pictures: any format and mode, colours as they are seen, and nothing that harms."""

import functools
import io
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, SHARED
from PIL import Image, ImageCms

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media import pictures
from ganimation_jax.media.pictures import picture_size, read_picture

CASES = SHARED / "cases"
RNG = np.random.default_rng(0)
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"no {CASES}")


def smooth(height, width):
    """Colours that vary slowly, so that JPEG keeps them."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([200 * x + 20, 200 * y + 20, 120 - 100 * x * y], axis=-1).astype(np.uint8)


@functools.cache  # a profile holds the time at which it was made
def swapped_profile():
    """sRGB's profile with the primaries of red and green exchanged: no colour stays."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    places = {bytes(data[132 + 12 * i :][:4]): 132 + 12 * i for i in range(count)}
    data[places[b"rXYZ"] : places[b"rXYZ"] + 4] = b"gXYZ"
    data[places[b"gXYZ"] : places[b"gXYZ"] + 4] = b"rXYZ"
    return bytes(data)


# Safe


def test_only_regular_files_are_opened(tmp_path):
    """In another process, which would wait for ever at a pipe."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.jpg"))
    code = (
        "import sys, pathlib\n"
        "from ganimation_jax.media import pictures\n"
        "for name in sys.argv[1:]:\n"
        "    for read in (pictures.read_picture, pictures.picture_size, pictures.is_animation):\n"
        "        try: read(pathlib.Path(name))\n"
        "        except pictures.UnusableFile as error: print(error)\n"
    )
    names = [tmp_path / "pipe.jpg", tmp_path / "folder.jpg", tmp_path / "socket.jpg", "/dev/zero"]
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    kinds = ("a named pipe", "a folder", "a socket", "a character device")
    assert done.stdout.splitlines() == [
        f"not a regular file: {kind}" for kind in kinds for _ in range(3)
    ]


def test_postscript_is_not_passed_on_whatever_it_is_called(tmp_path, monkeypatch):
    def run(*_, **__):
        raise AssertionError("Ghostscript was asked")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    for name in ("a.eps", "a.jpg", "a"):
        (tmp_path / "a.eps").replace(tmp_path / name)
        with pytest.raises(UnusableFile, match="unreadable picture"):
            read_picture(tmp_path / name)
        (tmp_path / name).replace(tmp_path / "a.eps")


@pytest.mark.parametrize(
    "size", [(33_000, 1_000), (1_000, 33_000), (20_001, 1), (12_000, 12_000), (16_000, 11_000)]
)
def test_the_size_is_checked_before_anything_is_decoded(tmp_path, size, monkeypatch):
    Image.new("1", size).save(tmp_path / "a.png")

    def load(_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    for read in (read_picture, picture_size, lambda path: read_picture(path, 512)):
        with pytest.raises(UnusableFile, match=f"picture too large: {size[0]}x{size[1]}"):
            read(tmp_path / "a.png")


def test_a_large_jpeg_is_reduced_while_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST_AREA", 400 * 600)
    Image.fromarray(smooth(1600, 1200)).save(tmp_path / "a.jpg", quality=95)
    with pytest.raises(UnusableFile, match="too large"):
        read_picture(tmp_path / "a.jpg")
    picture = read_picture(tmp_path / "a.jpg", 200)
    assert picture.image.size == (150, 200)
    assert picture.scale == 200 / 1600
    assert picture.jpeg is None
    assert np.abs(np.asarray(picture.image).astype(int) - smooth(200, 150)).max() <= 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16"])
def test_reduced_pictures_of_any_mode(tmp_path, mode):
    image = Image.fromarray(smooth(90, 120))
    if mode == "I;16":
        values = np.asarray(image.convert("L")).astype(np.uint16) * 257
        Image.fromarray(values).save(tmp_path / "a.tif")
        image = image.convert("L")
    else:
        image = image.convert(mode)
        image.save(tmp_path / "a.tif")
    full, half = read_picture(tmp_path / "a.tif"), read_picture(tmp_path / "a.tif", 60)
    assert (full.image.size, full.scale) == ((120, 90), 1)
    assert (half.image.size, half.scale) == ((60, 45), 0.5)
    np.testing.assert_array_equal(full.image, image.convert("RGB"))
    means = np.asarray(image.convert("RGB")).reshape(45, 2, 60, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(half.image) - means).mean() < 4  # P is dithered
    assert read_picture(tmp_path / "a.tif", 120).scale == 1  # small enough as it is


def test_damaged_files_are_never_more_than_unusable(tmp_path):
    """Bytes flipped and files cut, of every format that is read."""
    image, count = Image.fromarray(smooth(40, 48)), 0
    exif = Image.Exif()
    exif[0x0112] = 6
    for form in pictures.FORMATS:
        buffer = io.BytesIO()
        options = {"exif": exif} if form in ("JPEG", "PNG", "WEBP", "AVIF") else {}
        image.save(buffer, form, **options)
        whole = buffer.getvalue()
        for _ in range(25):
            data = bytearray(whole[: RNG.integers(1, len(whole))] if RNG.random() < 0.3 else whole)
            for place in RNG.integers(0, min(len(data), 400), RNG.integers(1, 6)):
                data[place] = RNG.integers(256)
            (tmp_path / "x").write_bytes(data)
            try:
                read_picture(tmp_path / "x", 32)
            except UnusableFile:
                count += 1
    assert 30 < count < 25 * len(pictures.FORMATS)


def test_a_damaged_orientation_is_none(tmp_path):
    Image.fromarray(smooth(8, 9)).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").image, smooth(8, 9))


# Formats


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.avif", "a.jp2", "a.ppm", "a", "a.heic"])
def test_formats_are_told_by_their_contents(tmp_path, name):
    if name == "a.heic":
        heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
        heif.from_pillow(Image.fromarray(smooth(64, 80))).save(tmp_path / name, quality=95)
    else:
        forms = {"a.avif": "AVIF", "a.jp2": "JPEG2000", "a.ppm": "PPM"}
        Image.fromarray(smooth(64, 80)).save(tmp_path / name, forms.get(name, "JPEG"))
    picture = read_picture(tmp_path / name)
    assert np.abs(np.asarray(picture.image).astype(int) - smooth(64, 80)).mean() < 3
    assert (picture.jpeg == tmp_path / name) == (name in ("a.jfif", "a.jpe", "a"))


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(UnusableFile, match=r"pip install 'ganimation-jax\[heic\]'"):
        read_picture(tmp_path / "a.heic")


def test_16_bits_become_8(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "a.png")
    (tmp_path / "a.pgm").write_bytes(b"P5 256 256 65535\n" + values.astype(">u2").tobytes())
    for name in ("a.png", "a.pgm"):
        read = np.asarray(read_picture(tmp_path / name).image)
        np.testing.assert_array_equal(read, np.round(values / 257)[..., None].repeat(3, axis=-1))


# Colours


@needs_cases
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_profile_is_applied(suffix):
    """Display P3 is linear in its own primaries: by its matrix, not by a profile."""
    path = CASES / "02_icc_profile" / f"p3.{suffix}"
    with Image.open(path) as file:
        stored = np.asarray(file.convert("RGB")) / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    to_srgb = [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]
    seen = (linear @ np.transpose(to_srgb)).clip(0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    picture = read_picture(path)
    assert np.abs(np.asarray(picture.image) - 255 * seen).max() < 1.7
    assert picture.jpeg is None


def test_profiles_that_change_nothing_and_damaged_ones(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = bytearray(swapped_profile())
    grey[16:20] = b"GRAY"  # of another kind of picture
    image = Image.fromarray(smooth(32, 32))
    for profile in (srgb, b"nonsense", srgb[:200], bytes(grey)):
        image.save(tmp_path / "a.jpg", quality=95, icc_profile=profile)
        picture = read_picture(tmp_path / "a.jpg")
        assert picture.jpeg == tmp_path / "a.jpg"
        with Image.open(tmp_path / "a.jpg") as file:
            np.testing.assert_array_equal(picture.image, file.convert("RGB"))
    image.save(tmp_path / "a.png", icc_profile=swapped_profile())
    seen = np.asarray(read_picture(tmp_path / "a.png").image).astype(int)
    assert np.abs(seen[..., [1, 0, 2]] - smooth(32, 32)).max() <= 2
