"""Colour photos and models of grey faces: tint the training faces, or edit brightness alone?

    python -m experiments.005_tint.run --runs runs/001 --faces DATA --out experiments/005_tint \\
        --sheet SFHQ_variability_ethnicity.jpg

Takes the runs `base` and `tint` of experiments/001_control and edits colour faces with each, in all
channels and in brightness alone (``animation.loading.in_colour``). The sheet, a picture of
many faces, is from github.com/SelfishGene/SFHQ-dataset (MIT licence): generated faces of
people who do not exist. Expressions come from the held-out faces of ``DATA``. Needs the extra
`annotate`.
"""

import argparse
import functools
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from ganimation_jax import Animator
from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.animation.loading import in_colour
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.evaluation import judges
from ganimation_jax.evaluation.agreement import correlation
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.runs import pretrained
from ganimation_jax.runs.load import load_run
from ganimation_jax.types import to_float, to_uint8

WAYS = {"as it is": lambda edit: edit, "brightness": in_colour}
SHOWN = 8  # expressions in the picture
PORTRAIT = pretrained.FOLDER / "portrait.jpg"


def colourfulness(images):
    """How far each pixel is from grey: ``... 3 -> ...``, Euclidean."""
    return np.linalg.norm(images - images.mean(axis=-1, keepdims=True), axis=-1)


def edits_of(run, way, targets):
    """A function that gives a crop all expressions."""
    edit = functools.partial(jax.jit(WAYS[way](run.model.edit)), run.used)
    unread = np.zeros_like(targets)  # GANimation does not depend on what the face shows
    return lambda crop: edit(np.repeat(to_float(crop)[None], len(targets), axis=0), targets, unread)


def judge(run, edits, crops, targets, read):
    """All faces given all expressions: MediaPipe's r, and the share of colour kept."""
    columns = [run.names.index(unit) for unit in judges.WELL_JUDGED]
    scores = []
    for crop in crops:
        edit = edits(crop)
        image, attention = np.asarray(edit.image), np.asarray(edit.attention)
        painted, source = 1 - attention[..., 0], to_float(crop)
        kept = (painted * colourfulness(image)).sum() / (painted * colourfulness(source)).sum()
        r = correlation(read(image)[:, columns], targets[:, columns])
        scores.append((np.nanmean(r), kept))
    return np.mean(scores, axis=0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument("--expressions", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    with Animator.load("lfw-64") as finder:
        units, sheet = finder.action_units, np.asarray(Image.open(args.sheet).convert("RGB"))
        crops = [face.crop for face in finder.find(sheet, "all")]
    aus = FaceDataset(args.faces, "test").aus_table()[:, positions(units)] / OPENFACE_MAXIMUM
    chosen = np.random.default_rng(0).choice(len(aus), args.expressions, replace=False)
    targets = aus[chosen].astype(np.float32)
    portrait = np.asarray(Image.open(PORTRAIT).resize(crops[0].shape[:2], Image.Resampling.LANCZOS))
    rows, labels = [], []
    print(f"{len(crops)} faces, {len(targets)} expressions")
    print("| trained as | edits | r, MediaPipe | colour kept |\n|---|---|---|---|")
    with judges.mediapipe(units) as mediapipe:
        for variant in ("base", "tint"):
            runs = [load_run(args.runs / f"{variant}_{seed}") for seed in args.seeds]
            for way in WAYS:
                edits = [edits_of(run, way, targets) for run in runs]
                found = [
                    judge(run, edit, crops, targets, mediapipe.read)
                    for run, edit in zip(runs, edits, strict=True)
                ]
                cells = [
                    f"{np.mean(values):.2f} ({min(values):.2f}-{max(values):.2f})"
                    for values in zip(*found, strict=True)
                ]
                print(f"| {variant} | {way} | {' | '.join(cells)} |", flush=True)
                rows.append([portrait, *np.asarray(to_uint8(edits[0](portrait).image))[:SHOWN]])
                labels.append(f"{variant}, {way}")
    Image.fromarray(grid(rows, labels)).save(args.out / "portrait.png")


if __name__ == "__main__":
    main()
