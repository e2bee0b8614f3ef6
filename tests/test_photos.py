"""What is written back with an edit: profile, transparency, 16 bits, resolution, every pixel."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from test_pictures import CASES, needs_cases, smooth, swapped_profile

from ganimation_jax.animation.provenance import save_image
from ganimation_jax.media import encoding
from ganimation_jax.media.colours import Space
from ganimation_jax.media.encoding import encode, lost
from ganimation_jax.media.photos import Photo, as_picture, read_photo
from ganimation_jax.media.pictures import read_picture

RNG = np.random.default_rng(0)
PLACE = (slice(8, 20), slice(10, 30))  # where edits are made


def brighter(photo):
    """An edit: the picture, brighter by 10 levels in one place."""
    image = photo.image.copy()
    image[PLACE] = (image[PLACE].astype(int) + 10).clip(0, 255)
    return photo.edited(image)


def outside(array):
    """All but the place, flat."""
    keep = np.ones(array.shape[:2], bool)
    keep[PLACE] = False
    return array[keep]


def png_16(path, values):
    """By the standard: colour types 0, 2, 6; no filter, two bytes a number."""
    height, width, channels = values.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def unfiltered_16(data):
    """A 16-bit PNG of filters 0 and 2 by the standard: h w c."""
    places, place = {}, 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name = data[place + 4 : place + 8]
        content = data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length)[0] == zlib.crc32(name + content)
        places[name] = content
        place += 12 + length
    width, height, bits, kind = struct.unpack(">IIBB", places[b"IHDR"][:10])
    assert bits == 16
    channels = {0: 1, 2: 3, 6: 4}[kind]
    rows = np.frombuffer(zlib.decompress(places[b"IDAT"]), np.uint8).reshape(height, -1).copy()
    for number, row in enumerate(rows):
        if row[0] == 2 and number:
            row[1:] += rows[number - 1, 1:]
    return rows[:, 1:].copy().view(">u2").reshape(height, width, channels)


@needs_cases
def test_a_photo_in_display_p3_stays_in_it(tmp_path):
    photo = read_photo(CASES / "02_icc_profile" / "p3.png")
    edit = brighter(photo)
    save_image(tmp_path / "out.png", edit, None)
    with Image.open(CASES / "02_icc_profile" / "p3.png") as source:
        before, profile = np.asarray(source), source.info["icc_profile"]
    with Image.open(tmp_path / "out.png") as file:
        assert file.info["icc_profile"] == profile
        after = np.asarray(file)
    np.testing.assert_array_equal(outside(after), outside(before))
    # Seen in sRGB it is the edit, to the rounding of both ways.
    seen = np.asarray(read_picture(tmp_path / "out.png").image).astype(int)
    assert np.abs(seen - edit.image).max() <= 3
    assert np.abs(seen - photo.image)[PLACE].mean() > 8


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_other_formats_carry_the_profile_too(tmp_path, suffix):
    Image.fromarray(smooth(40, 48)).save(tmp_path / "a.png", icc_profile=swapped_profile())
    photo = read_photo(tmp_path / "a.png")
    assert np.abs(photo.image[..., [1, 0, 2]].astype(int) - smooth(40, 48)).max() <= 2
    save_image(tmp_path / f"b.{suffix}", photo, None)
    with Image.open(tmp_path / f"b.{suffix}") as file:
        assert file.info["icc_profile"] == swapped_profile()
        assert np.abs(np.asarray(file).astype(int) - smooth(40, 48)).mean() < 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "colour key"])
def test_transparency_is_kept(tmp_path, mode):
    image = Image.fromarray(smooth(40, 48))
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        levels = RNG.integers(0, 256, (40, 48), np.uint8)
        levels[:10] = 0
        image.putalpha(Image.fromarray(levels))
        image.save(tmp_path / "a.png")
    elif mode == "P":
        image.quantize(16).save(tmp_path / "a.png", transparency=3)
    else:
        image.save(tmp_path / "a.png", transparency=image.getpixel((3, 30)))
    with Image.open(tmp_path / "a.png") as file:
        before = np.asarray(file.convert("RGBA"))
    for suffix in ("png", "webp"):
        save_image(tmp_path / f"b.{suffix}", brighter(read_photo(tmp_path / "a.png")), None)
        with Image.open(tmp_path / f"b.{suffix}") as file:
            after = np.asarray(file.convert("RGBA"))
        np.testing.assert_array_equal(after[..., 3], before[..., 3])
        if suffix == "png":
            np.testing.assert_array_equal(outside(after), outside(before))
            hidden = before[..., 3] == 0
            np.testing.assert_array_equal(after[hidden], before[hidden])
            shown = ~hidden[PLACE]
            change = after[PLACE][shown].astype(int) - before[PLACE][shown]
            # On white, what shows through less was brightened less.
            assert 4 < change[:, :3].mean() <= 10


def test_transparency_is_white_in_jpeg_and_that_is_said():
    color = np.full((16, 16, 3), 50, np.uint8)
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, 8:] = 255
    image = np.where(alpha[..., None] > 0, color, 255).astype(np.uint8)
    photo = Photo(image, color, alpha)
    seen = np.asarray(Image.open(io.BytesIO(encode(photo, "JPEG", {}))))
    assert np.abs(seen.astype(int) - image).max() < 3
    assert "becomes white" in lost(photo, "JPEG")[0]
    assert lost(photo, "PNG") == lost(photo, "WEBP") == ()
    assert lost(photo._replace(alpha=np.full_like(alpha, 255)), "JPEG") == ()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_kept(tmp_path, channels):
    values = RNG.integers(0, 65536, (40, 48, channels), np.uint16)
    values[:, :, 3:] |= 256  # nothing wholly transparent
    png_16(tmp_path / "a.png", values)
    photo = read_photo(tmp_path / "a.png")
    assert photo.notes == ()
    data = encode(photo, "PNG", {"notice": "edited"})
    np.testing.assert_array_equal(unfiltered_16(data), values)
    edited = unfiltered_16(encode(brighter(photo), "PNG", {}))
    np.testing.assert_array_equal(outside(edited), outside(values))
    if channels < 4:
        room = values[PLACE] < 60_000
        step = edited[PLACE][room].astype(int) - values[PLACE][room]
        assert set(np.unique(step)) == {2570}  # 10 levels of 257
    # Pillow reads what was written, with its comment.
    with Image.open(io.BytesIO(data)) as file:
        assert file.info["Comment"] == "notice: edited"
        assert file.size == (48, 40)
    assert "8 of its 16" in lost(photo, "JPEG")[0]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_16_bits_of_tiff_are_read(tmp_path, compression):
    values = RNG.integers(0, 65536, (16, 24), np.uint16)
    options = {} if compression is None else {"compression": compression}
    Image.fromarray(values).save(tmp_path / "a.tif", **options)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").color[..., 0], values)


@pytest.mark.parametrize("profile", [None, "grey"])
def test_grey_stays_grey(tmp_path, profile):
    grey = Image.fromarray(smooth(40, 48)).convert("L")
    options = {"icc_profile": grey_profile()} if profile else {}
    grey.save(tmp_path / "a.png", **options)
    photo = read_photo(tmp_path / "a.png")
    save_image(tmp_path / "b.png", brighter(photo), None)
    with Image.open(tmp_path / "b.png") as file:
        assert file.mode == "L"
        assert file.info.get("icc_profile") == options.get("icc_profile")
        after = np.asarray(file)
    np.testing.assert_array_equal(outside(after), outside(np.asarray(grey)))
    seen = np.asarray(read_picture(tmp_path / "b.png").image).astype(int)
    assert 8 < (seen - photo.image)[PLACE].mean() < 12


def grey_profile():
    """A grey profile of gamma 1.0: brighter than it looks without."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", 0) + bytes(0),
        b"desc": srgb_tag(srgb, b"desc"),
        b"cprt": srgb_tag(srgb, b"cprt"),
    }
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = bytearray(srgb[:128])
    head[:4] = struct.pack(">I", place + len(body))
    head[16:20], head[84:100] = b"GRAY", bytes(16)
    return bytes(head) + struct.pack(">I", len(tags)) + table + body


def srgb_tag(profile, name):
    for place in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        if profile[place : place + 4] == name:
            start, length = struct.unpack_from(">II", profile, place + 4)
            return profile[start : start + length]
    raise KeyError(name)


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_is_applied_once_and_resolution_kept(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = smooth(40, 48)
    turned = np.rot90(values, 2 if orientation == 3 else 1)
    dpi = (300, 200) if orientation == 3 else (200, 300)
    Image.fromarray(turned.copy()).save(tmp_path / "a.png", exif=exif, dpi=dpi)
    photo = read_photo(tmp_path / "a.png")
    for suffix in ("png", "jpg"):
        save_image(tmp_path / f"b.{suffix}", photo, None)
        with Image.open(tmp_path / f"b.{suffix}") as file:
            assert not dict(file.getexif())
            np.testing.assert_allclose(file.info["dpi"], (300, 200), atol=0.5)
            assert np.abs(np.asarray(file).astype(int) - values).max() <= (suffix == "jpg") * 9


def test_turned_16_bits_with_transparency(tmp_path):
    values = RNG.integers(0, 65536, (6, 9, 4), np.uint16)
    values[..., 3] |= 1 << 15
    png_16(tmp_path / "a.png", values)
    data = (tmp_path / "a.png").read_bytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    chunk = (
        struct.pack(">I", len(tiff))
        + b"eXIf"
        + tiff
        + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    )
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(np.dstack([photo.color, photo.alpha]), np.rot90(values, -1))


def test_what_cannot_be_kept_is_said(tmp_path):
    image = Image.fromarray(smooth(40, 48))
    image.convert("CMYK").save(tmp_path / "a.tif")
    photo = read_photo(tmp_path / "a.tif")
    assert photo.notes == ("its CMYK colours are written as sRGB",)
    np.testing.assert_array_equal(photo.color, photo.image)
    image.save(tmp_path / "a.png", icc_profile=b"nonsense")
    photo = read_photo(tmp_path / "a.png")
    assert photo.notes == ("its damaged colour profile is left out",)
    assert photo.space.profile is None
    np.testing.assert_array_equal(photo.color, smooth(40, 48))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_large_photos_are_packed_without_loss(tmp_path, monkeypatch, channels, kind):
    rng = np.random.default_rng(channels)
    pixels = rng.integers(0, np.iinfo(kind).max, (23, 31, channels), kind, endpoint=True)
    colors, alpha = (pixels[..., :-1], pixels[..., -1]) if channels % 2 == 0 else (pixels, None)
    image = np.asarray(as_picture(colors).convert("RGB"))
    photo = Photo(image, colors, alpha, Space("L" if channels < 3 else "RGB", None), (90.0, 90.0))
    monkeypatch.setattr(encoding, "LARGE", 100)
    (tmp_path / "large.png").write_bytes(encode(photo, "PNG", {"notice": "edited"}))
    again = read_photo(tmp_path / "large.png")
    if kind == np.uint8 or channels != 2:  # Pillow reduces grey of 16 bits with transparency
        np.testing.assert_array_equal(again.color, colors)
        assert (again.alpha is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(again.alpha, alpha)
    assert again.dpi == pytest.approx((90, 90), abs=0.1)
    with Image.open(tmp_path / "large.png") as file:
        assert "notice: edited" in file.info["Comment"]


def test_a_plain_photo_is_held_once(tmp_path):
    pixels = smooth(30, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.color is photo.image
    edited = photo.edited(255 - pixels)
    np.testing.assert_array_equal(edited.color, 255 - pixels)
    np.testing.assert_array_equal(photo.color, pixels)
