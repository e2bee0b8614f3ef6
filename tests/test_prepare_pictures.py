"""Odd pictures and names that prepare takes or refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_folders import draw, records, write_csv
from prepare_openface import openface, skipped

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.media.pictures import read_picture
from ganimation_jax.prepare.sources import photo_id, photo_items, walk

# Pictures


def save_as(path, mode, **options):
    picture = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "suffix", "expected"),
    [
        ("RGB", "png", (200, 100, 50)),
        ("CMYK", "tif", (200, 100, 50)),
        ("YCbCr", "jpg", (200, 100, 50)),
        ("L", "png", (124, 124, 124)),  # 0.299 r + 0.587 g + 0.114 b
        ("P", "gif", (200, 100, 50)),
        ("1", "png", None),
    ],
)
def test_pictures_of_any_mode_come_as_rgb(tmp_path, mode, suffix, expected):
    picture = read_picture(save_as(tmp_path / f"a.{suffix}", mode)).image
    assert (picture.mode, picture.size) == ("RGB", (8, 8))
    if expected:
        assert np.abs(np.subtract(picture.getpixel((4, 4)), expected)).max() <= 4


def test_transparency_is_shown_on_white(tmp_path):
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half.putpixel((1, 1), (255, 0, 0, 255))
    half.putpixel((2, 2), (0, 0, 0, 51))
    half.save(tmp_path / "a.png")
    seen = read_picture(tmp_path / "a.png").image
    assert [seen.getpixel((i, i)) for i in range(3)] == [(255,) * 3, (255, 0, 0), (204,) * 3]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_as_their_exif_says(tmp_path, orientation):
    marked = np.zeros((8, 16, 3), np.uint8)
    marked[:4, :4] = 255  # upright, the top left corner is white
    # What a camera stores that is turned, by the EXIF standard's table of rows and columns.
    stored = {
        **{1: marked, 2: marked[:, ::-1], 3: marked[::-1, ::-1], 4: marked[::-1]},
        **{5: marked.swapaxes(0, 1), 6: np.rot90(marked)},
        **{7: marked[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(marked, -1)},
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a.png").image), marked)


def animated(path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 99, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("a.gif", animated, "animated picture"),
        ("a.webp", animated, "animated picture"),
        ("a.png", lambda path: Image.new("1", (12000, 12000)).save(path), "picture too large"),
        ("a.png", lambda path: Image.new("1", (20000, 20000)).save(path), "unreadable picture"),
        ("a.tif", lambda path: Image.new("F", (8, 8)).save(path), "not an 8-bit picture"),
        ("a.jpg", lambda path: path.write_bytes(b""), "unreadable picture"),
        ("a.jpg", lambda path: path.symlink_to("nowhere"), "unreadable picture"),
        ("a.jpg", lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(50)), "unreadable"),
    ],
)
def test_pictures_that_cannot_be_used_say_why(tmp_path, name, write, reason):
    write(tmp_path / name)
    with pytest.raises(UnusableFile) as error:
        read_picture(tmp_path / name)
    assert error.value.reason.startswith(reason)


# Names and folders


def test_ids_are_short_safe_unique_and_depend_on_nothing_else():
    names = ["a.jpg", "b/a.jpg", "b__a.jpg", "a.png", "b a.jpg", "b_a.jpg", "á\n.jpg", "c/á.jpg"]
    names += ["x" * 200 + ".jpg", "x" * 201 + ".jpg", "長" * 80 + ".jpg", "clip.mp4", "-.jpg"]
    ids = [photo_id(name) for name in names]
    assert ids[:2] == ["a", "b__a"]
    assert ids[3] == "a.png"
    assert len(set(ids)) == len(names)
    assert all(len(f"{one}+f000000.jpg".encode()) < 255 for one in ids)
    assert not any(set("/\n +") & set(one) for one in ids)


def test_names_of_every_kind_go_through(tmp_path):
    for name in ("új é", "new\nline", 'quo"te, comma', "a.b.c", " lead", "x" * 240):
        draw(tmp_path / "imgs" / f"{name}.jpg")
        write_csv(tmp_path / "csv" / f"{name}.csv")
    (tmp_path / "imgs" / os.fsdecode(b"latin\xe9.jpg")).write_bytes(b"?")
    assert openface(tmp_path) == 0
    names = {"új é", "new\nline", 'quo"te, comma', "a.b.c", " lead", "x" * 240}
    assert set(records(tmp_path / "out")) == names
    assert skipped(tmp_path) == [(r"latin\xe9.jpg", "file name is not UTF-8")]


def test_links_are_followed_and_loops_are_not(tmp_path):
    draw(tmp_path / "imgs/real/a.jpg")
    draw(tmp_path / "elsewhere/b.jpg")
    (tmp_path / "imgs/away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "imgs/real/loop").symlink_to(tmp_path / "imgs")
    (tmp_path / "imgs/again").symlink_to(tmp_path / "imgs/real")
    (tmp_path / "imgs/self").symlink_to("self")
    items, skips = photo_items(tmp_path / "imgs")
    assert [item.source for item in items] == ["away/b.jpg", "real/a.jpg"]
    assert sorted((Path(skip.file).name, skip.reason) for skip in skips) == [
        ("again", "folder seen before"),
        ("loop", "folder seen before"),
        ("self", "unreadable file"),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without permission")
def test_what_may_not_be_read_is_told(tmp_path):
    draw(tmp_path / "shut/a.jpg")
    draw(tmp_path / "b.jpg")
    (tmp_path / "shut").chmod(0o700)
    (tmp_path / "b.jpg").chmod(0o600)
    tmp_path.chmod(0o755)
    script = (
        "import os, pathlib; from PIL import Image; Image.init()\n"
        "from ganimation_jax.prepare.sources import walk\n"
        "from ganimation_jax.media.pictures import read_picture\n"
        "os.setuid(65534)\n"
        "files, skips = walk(pathlib.Path('.')); print(files, skips)\n"
        "try: read_picture(files[0])\n"
        "except Exception as error: print(repr(error))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env=environment, check=True,
    )  # fmt: skip
    assert "[PosixPath('b.jpg')]" in done.stdout
    assert "unreadable folder" in done.stdout
    assert "UnusableFile('unreadable picture', \"[Errno 13] Permission denied" in done.stdout


def test_walk_is_in_order_and_leaves_hidden_files(tmp_path):
    for name in ("b.jpg", "a/z.jpg", ".hidden.jpg", ".git/x.jpg", "a.jpg"):
        draw(tmp_path / name)
    files, skips = walk(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in files] == ["a/z.jpg", "a.jpg", "b.jpg"]
    assert skips == []
