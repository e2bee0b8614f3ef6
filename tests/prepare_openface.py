"""Folders with the output of OpenFace, for tests of prepare."""

import csv
from pathlib import Path

import numpy as np
from prepare_folders import intensities, read_rows

from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.faces.openface_points import CANONICAL, POINTS
from ganimation_jax.prepare.__main__ import main

SIZE = 32


def openface(folder, *extra, csv="csv"):
    command = ["openface", "--images", folder / "imgs", "--csv", folder / csv]
    shape = ["--out", folder / "out", "--size", SIZE, "--workers", 1]
    return main([str(word) for word in [*command, *shape, *extra]])


def skipped(folder):
    """(file name, reason) of every line."""
    rows = read_rows(folder / "out/skipped.csv")
    return sorted((Path(row["file"]).name, row["reason"]) for row in rows)


def write_rows(path, rows):
    """An OpenFace CSV of many rows; each is the columns that it has beside the action units."""
    path.parent.mkdir(parents=True, exist_ok=True)
    units = [f"{code}_r" for code in ACTION_UNITS]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f" {name}" for name in [*rows[0], *units, "AU28_c"]])
        for seed, row in enumerate(rows):
            writer.writerow([*row.values(), *intensities(seed), 0])


def face_at(angle, scale, x, y):
    """68 landmarks of a face turned by ``angle`` degrees, and the transform to its crop.

    Landmarks are written as OpenFace does, from the centre of the first pixel.
    """
    turn, places = np.radians(angle), np.zeros((68, 2))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places[list(POINTS)] = np.multiply(CANONICAL, SIZE)
    points = places @ matrix.T + (x, y) - 0.5
    inverse = np.linalg.inv(matrix)
    columns = {f"{axis}_{i}": points[i, j] for j, axis in enumerate("xy") for i in range(68)}
    return columns, np.column_stack([inverse, -inverse @ (x, y)])
