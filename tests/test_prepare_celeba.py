"""CelebA and EmotioNet as input of prepare."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_folders import draw, intensities, look, read_rows

from ganimation_jax.prepare.__main__ import main
from ganimation_jax.prepare.emotionet import listed_items

# CelebA and EmotioNet


def make_celeba(folder, names):
    for number, name in enumerate(names):
        draw(folder / "img_align_celeba" / f"{name}.jpg", side=218, width=178, seed=number)
    labels = {name: intensities(number) for number, name in enumerate(names)}
    (folder / "aus_openface.pkl").write_bytes(pickle.dumps(labels))


def test_celeba_by_its_own_lists_and_alignment(tmp_path):
    names = [f"{number:06d}" for number in range(1, 7)]
    make_celeba(tmp_path, names)
    eyes = Image.new("RGB", (178, 218))
    for left, top in ((67, 109), (106, 109)):  # squares of 5 pixels around the eyes' centres
        eyes.paste((255, 255, 255), (left, top, left + 5, top + 5))
    eyes.save(tmp_path / "img_align_celeba/000001.jpg", quality=100)
    parts = dict(zip(names, (0, 0, 1, 2, 2, 0), strict=True))
    lines = [f"{name}.jpg {part}\n" for name, part in parts.items()]
    (tmp_path / "list_eval_partition.txt").write_text("".join(lines))
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"{n}.jpg p{n[-1]}\n" for n in names))

    assert main(["celeba", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    table = read_rows(tmp_path / "out/table.csv")
    assert {row["id"]: row["split"] for row in table} == {
        name: "test" if part == 2 else "train" for name, part in parts.items()
    }
    assert table[2]["person"] == "p3"
    crop = np.asarray(look(tmp_path / "out/crops/000001.jpg").convert("L"), float)
    for half, x, y in ((crop[:, :64], 0.351, 0.396), (crop[:, 64:], 0.646 - 0.5, 0.396)):
        rows, columns = np.mgrid[:128, :64] + 0.5
        centre = [(half * grid).sum() / half.sum() for grid in (columns, rows)]
        np.testing.assert_allclose(centre, (128 * x, 128 * y), atol=0.3)


def test_celeba_as_the_published_codes_have_it(tmp_path):
    names = ["000001", "000002", "000003"]
    make_celeba(tmp_path, names)
    (tmp_path / "test_ids.csv").write_text("000002.jpg\n")
    (tmp_path / "train_ids.csv").write_text("000001.jpg\n000003.jpg\n")
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 2\n")  # the others come first
    assert main(["celeba", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    splits = {row["id"]: row["split"] for row in read_rows(tmp_path / "out/table.csv")}
    assert splits == {"000001": "train", "000002": "test", "000003": "train"}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "aus_openface.pkl").unlink(), "aus_openface.pkl"),
        (lambda folder: (folder / "img_align_celeba").rename(folder / "x"), "no folder imgs"),
        (lambda folder: (folder / "identity_CelebA.txt").write_text("a b c"), "two words"),
    ],
)
def test_celeba_that_is_not_complete(tmp_path, capsys, break_it, message):
    make_celeba(tmp_path, ["000001"])
    break_it(tmp_path)
    assert main(["celeba", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_emotionet_takes_what_its_lists_name(tmp_path):
    (tmp_path / "list_1.csv").write_text(
        "url, orig, AU1\n'http://x.org/emo/N_01/a%20b.jpg',http://y.org/1.jpg,999\n"
        "http://x.org/emo/N_01/c.jpg?size=2 http://y.org/3.jpg 0\n"
    )
    (tmp_path / "more.txt").write_text("d.png\nmissing.jpg\n")
    for name in ("N_01/a b.jpg", "c.jpg", "deep/d.png", "extra.jpg", "c2/1.jpg"):
        draw(tmp_path / name)
    items, skips = listed_items(tmp_path, None)
    assert sorted(item.source for item in items) == ["N_01/a b.jpg", "c.jpg", "deep/d.png"]
    assert sorted((Path(skip.file).name, skip.reason) for skip in skips) == [
        ("1.jpg", "in no list"),
        ("extra.jpg", "in no list"),
        ("more.txt:missing", "listed picture is missing"),
    ]

    (tmp_path / "aus_openface.pkl").write_bytes(pickle.dumps({"c": intensities(3)}))
    items, _ = listed_items(tmp_path, tmp_path / "aus_openface.pkl")
    assert [(item.id, item.label.aus) for item in items] == [("c", tuple(intensities(3)))]
