"""Duplicates, sharpness, limits: which faces are kept."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter
from prepare_folders import (
    draw,
    make_input,
    prepare,
    read_rows,
    reasons,
    split_of,
    write_csv,
)
from scipy import ndimage

from ganimation_jax.files.unusable import UnusableFile
from ganimation_jax.prepare.filters import (
    ALIKE,
    check_face,
    duplicates,
    perceptual_hash,
    sharpness_of,
)

# Filters


def test_duplicates_are_found_as_by_comparing_all(tmp_path):
    rng = np.random.default_rng(0)
    hashes = list(rng.integers(0, 256, (300, 32), np.uint8))
    for flips in (0, 1, 3, 7):  # fewer than bands: sure to be found
        other = np.unpackbits(hashes[flips])
        other[rng.choice(256, flips, replace=False)] ^= 1
        hashes.append(np.packbits(other))
    hashes += [hashes[300], np.zeros(32, np.uint8), np.zeros(32, np.uint8)]
    want = {}
    for place, one in enumerate(hashes):
        near = [
            first
            for first in range(place)
            if np.unpackbits(one ^ hashes[first]).sum() <= ALIKE and first not in want
        ]
        if near:
            want[place] = near[0]
    assert duplicates([one.tobytes() for one in hashes]) == want
    assert len(want) == 6
    assert duplicates([]) == {}


def test_a_picture_saved_anew_has_the_same_hash_and_others_have_not(tmp_path):
    for seed in range(8):
        draw(tmp_path / f"{seed}.png", side=200, seed=seed)
    pictures = [Image.open(tmp_path / f"{seed}.png").convert("RGB") for seed in range(8)]
    hashes = [np.frombuffer(perceptual_hash(picture), np.uint8) for picture in pictures]
    for picture, own in zip(pictures, hashes, strict=True):
        picture.resize((128, 128)).save(tmp_path / "again.jpg", quality=60)
        again = np.frombuffer(perceptual_hash(Image.open(tmp_path / "again.jpg")), np.uint8)
        distances = [int(np.unpackbits(again ^ other).sum()) for other in hashes]
        assert sorted(distances)[0] <= ALIKE < sorted(distances)[1]
        assert distances.index(min(distances)) == next(
            place for place, other in enumerate(hashes) if other is own
        )


def test_duplicates_are_dropped_on_demand_and_told(tmp_path):
    make_input(tmp_path, count=5)
    shutil.copy(tmp_path / "imgs/001.jpg", tmp_path / "imgs/004.jpg")
    assert prepare(tmp_path) == 0
    assert len(split_of(tmp_path)) == 5
    assert prepare(tmp_path, "--duplicates", "drop") == 0
    assert "004" not in split_of(tmp_path)
    (line,) = read_rows(tmp_path / "out/skipped.csv")
    assert (line["file"], line["reason"], line["detail"]) == (
        *("004.jpg", "duplicate"),
        "004 is like 001",
    )


def test_sharpness_is_the_variance_of_the_laplacian():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 40), np.uint8)
    want = ndimage.laplace(grey.astype(float))[1:-1, 1:-1].var()
    assert sharpness_of(Image.fromarray(grey)) == pytest.approx(want, rel=1e-5)
    blurred = Image.fromarray(grey).filter(ImageFilter.GaussianBlur(2))
    assert sharpness_of(blurred) < want / 100


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        ((63, 0, 99), "face too small"),
        ((64, 61, 99), "face turned away"),
        ((64, 60, 19), "too blurred"),
        ((64, 60, 20), None),
        ((64, float("nan"), 20), None),
    ],
)
def test_limits(face, reason):
    limits = {"min_side": 64, "max_turn": 60, "blur": 20}
    if reason is None:
        check_face(*face, **limits)
    else:
        with pytest.raises(UnusableFile, match=reason):
            check_face(*face, **limits)


def test_filters_are_flags_and_what_they_refuse_is_told(tmp_path):
    make_input(tmp_path, count=3)
    draw(tmp_path / "imgs/000.jpg", side=20)
    Image.new("RGB", (40, 40), "grey").save(tmp_path / "imgs/001.jpg")
    write_csv(tmp_path / "csv/003.csv", pose_Rx=0.1, pose_Ry=-1.2)
    draw(tmp_path / "imgs/003.jpg")
    assert prepare(tmp_path, "--min-side", 30, "--blur", 1, "--max-turn", 60) == 0
    assert reasons(tmp_path) == {
        "000.jpg": "face too small",
        "001.jpg": "too blurred",
        "003.jpg": "face turned away",
    }
    (row,) = read_rows(tmp_path / "out/table.csv")
    assert (row["id"], float(row["side"])) == ("002", 40)
