"""Folders that ``prepare`` takes, and how its output is read in tests."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.prepare.__main__ import main


def draw(path, side=40, width=None, seed=0, **options):
    """A smooth random picture, which survives JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width or side, side), Image.Resampling.BICUBIC)
    picture.save(path, **options)


def look(path):
    """A decoded copy, its file closed."""
    with Image.open(path) as picture:
        picture.load()
    return picture


def intensities(seed):
    return np.random.default_rng(seed).uniform(0, 5, len(ACTION_UNITS)).round(3)


def write_csv(path, seed=0, rows=1, drop=(), newline="\n", bom=False, **changes):
    """As OpenFace writes it: a space after each comma, presence beside intensity."""
    row = {"frame": 1, "confidence": 0.95, "success": 1}
    row |= {f"{code}_c": 0 for code in ACTION_UNITS}  # before _r: found by name or not at all
    row |= {f"{code}_r": value for code, value in zip(ACTION_UNITS, intensities(seed), strict=True)}
    row = {key: value for key, value in (row | changes).items() if key not in drop}
    lines = [", ".join(row), *[", ".join(map(str, row.values()))] * rows, ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + newline.join(lines).encode())


def make_input(folder, count=6):
    for number in range(count):
        draw(folder / "imgs" / f"{number:03d}.jpg", seed=number)
        write_csv(folder / "csv" / f"{number:03d}.csv", seed=number)


def prepare(folder, *extra, out="out", labels=("--csv", "csv"), workers=1):
    return main(
        [
            "openface",
            "--images",
            str(folder / "imgs"),
            "--out",
            str(folder / out),
            labels[0],
            str(folder / labels[1]),
            "--size",
            "32",
            "--workers",
            str(workers),
            *map(str, extra),
        ]
    )


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reasons(folder):
    """File name -> reason."""
    return {Path(row["file"]).name: row["reason"] for row in read_rows(folder / "out/skipped.csv")}


def split_of(folder, out="out"):
    return {row["id"]: row["split"] for row in read_rows(folder / out / "table.csv")}


def records(out):
    """Everything in the dataset, by id."""
    splits = {row["split"] for row in read_rows(out / "table.csv")}
    return {record["id"]: record for split in splits for record in FaceDataset(out, split)}
