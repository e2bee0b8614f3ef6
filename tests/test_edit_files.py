"""What edited files say of themselves."""

from importlib.util import find_spec

import numpy as np
import pytest
from edit_command import photo, pixels
from PIL import Image

from ganimation_jax.animation import finding, provenance
from ganimation_jax.animation.animator import Animator
from ganimation_jax.animation.provenance import SOURCE_TYPE, describe, read_provenance, save_image

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "suffix",
    [
        *("png", "jpg", "webp", "gif"),
        pytest.param("mp4", marks=pytest.mark.skipif(not find_spec("av"), reason="no PyAV")),
    ],
)
def test_files_say_that_they_are_edited(animate, animator, suffix, tmp_path):
    words = ("a.png", "--au", "AU12=0.8", "--au", "au6=0.5", "-o", f"out.{suffix}", "--frames", 2)
    assert animate(*words) == 0
    said = read_provenance(tmp_path / f"out.{suffix}")
    assert said == provenance.Provenance("tiny", animator.model.sha256, "AU12=0.80 AU06=0.50")
    assert said.digital_source_type == SOURCE_TYPE
    raw = (tmp_path / f"out.{suffix}").read_bytes()
    assert SOURCE_TYPE.encode() in raw  # as plain text
    assert animate(*words, "--no-provenance") == 0
    assert read_provenance(tmp_path / f"out.{suffix}") is None
    assert b"AI-edited" not in (tmp_path / f"out.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_pictures_carry_the_iptcs_property(animator, suffix, tmp_path):
    """As a reader of XMP finds it, by namespace."""
    path = tmp_path / f"a.{suffix}"
    model = animator.model._replace(name="<b>&\n\u0394")
    save_image(path, photo("a"), describe(model, np.linspace(0, 1, 17)))
    with Image.open(path) as file:
        packet = file.info["xmp"]
    root = provenance.ElementTree.fromstring(packet)
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [element.text for element in root.iter(name)] == [SOURCE_TYPE]
    assert read_provenance(path).model == "<b>& ?"
    assert "AU06=0.25" in read_provenance(path).action_units
    if suffix == "png":
        np.testing.assert_array_equal(pixels(path), photo("a"))


def test_tags_for_other_containers(animator):
    tags = provenance.as_tags(describe(animator.model, {"AU12": 0.8}))
    assert tags["action_units"] == "AU12=0.80"
    assert tags["sha256"] == animator.model.sha256
    assert tags["digital_source_type"] == SOURCE_TYPE
    assert all("\n" not in text for text in tags.values())


def test_jpegs_keep_their_colours_sharp(tmp_path):
    red_blue = np.zeros((16, 16, 3), np.uint8)
    red_blue[:, ::2, 0] = red_blue[:, 1::2, 2] = 200
    save_image(tmp_path / "a.jpg", red_blue, None)
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - red_blue).mean() < 12


def test_nothing_else_of_the_photo_is_copied(animate, animator, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825)[1] = "N"
    turned = Image.fromarray(photo("a")).rotate(180)
    turned.save(tmp_path / "camera.png", exif=exif)
    for suffix in ("png", "jpg"):
        assert animate("camera.png", "--au", "AU12=0.8", "-o", f"out.{suffix}") == 0
        with Image.open(f"out.{suffix}") as file:
            assert not dict(file.getexif())
        assert b"Camera" not in (tmp_path / f"out.{suffix}").read_bytes()
    want = animator.edit(photo("a"), {"AU12": 0.8}, aligned=True)
    np.testing.assert_array_equal(pixels("out.png"), want)


def test_a_warning_is_a_line(animate, animator, monkeypatch, capsys):
    find = Animator.find

    def warn(*args, **kwargs):
        finding.log.warning("MediaPipe does not read AU09: taken for 0")
        return find(*args, **kwargs)

    monkeypatch.setattr(Animator, "find", warn)
    assert animate("a.png", "--au", "AU12=0.8", "-o", "out.png") == 0
    assert capsys.readouterr().err == "warning: MediaPipe does not read AU09: taken for 0\n"
