"""Does a model serve everybody alike? Groups of faces, the same expressions asked of each.

    python -m experiments.004_groups.run --faces DATA --out experiments/004_groups \\
        --sheet SFHQ_variability_ethnicity.jpg asian,indian,african,persian,south-american,irish \\
        --sheet SFHQ_variability_age.jpg \\
            "10 months,2.5 years,small child,16 years,30 years,70 years"

A sheet is a picture of many faces whose rows are groups, named from the top. These two are
github.com/SelfishGene/SFHQ-dataset's (MIT licence): generated faces, of nobody. Expressions are
drawn from the held-out faces of ``DATA``, a dataset with the model's action units. The results
are named after the model. Needs the extras `annotate`, `evaluate` and `figures`.
"""

import argparse
import functools
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from experiments.rows import write_rows
from ganimation_jax import Animator
from ganimation_jax.action_units import OPENFACE_MAXIMUM, positions
from ganimation_jax.data.dataset import FaceDataset
from ganimation_jax.evaluation import judges
from ganimation_jax.evaluation.agreement import correlation
from ganimation_jax.features import face_resnet
from ganimation_jax.features.batches import in_batches
from ganimation_jax.runs.pretrained import DEFAULT
from ganimation_jax.types import to_float

matplotlib.use("agg")
import matplotlib.pyplot as plt

MEASURES = {
    "critic": "r, critic",
    "mediapipe": "r, MediaPipe",
    "identity": "identity distance",
    "pixels": "pixel change, of 255",
}


def rows_of(faces):
    """Faces by the rows they stand in, from the top."""
    middle = np.array([(face.box[1] + face.box[3]) / 2 for face in faces])
    height = np.median([face.box[3] - face.box[1] for face in faces])
    order = np.argsort(middle)
    breaks = np.flatnonzero(np.diff(middle[order]) > height / 2) + 1
    return [[faces[i] for i in row] for row in np.split(order, breaks)]


def measure(animator, face, targets, readers, embed):
    """One face given all expressions: how closely each judge's readings follow them."""
    (seen,) = animator.find(face.crop, aligned=True)
    edits = np.stack(list(animator.run(face.crop, [seen], targets[:, None])))
    before, after = to_float(face.crop[None]), to_float(edits)
    columns = [animator.action_units.index(unit) for unit in judges.WELL_JUDGED]

    def follows(read):
        return float(np.nanmean(correlation(read(after)[:, columns], targets[:, columns])))

    moved = np.linalg.norm(np.asarray(embed(after)) - np.asarray(embed(before)), axis=1)
    return {
        **{name: follows(read) for name, read in readers.items()},
        "identity": moved.mean(),
        "pixels": np.abs(edits.astype(float) - face.crop).mean(),
    }


def table(rows):
    """Markdown: mean and standard error over the faces of a group."""
    lines = ["| | faces | " + " | ".join(MEASURES.values()) + " |", "|---" * 6 + "|"]
    for group in dict.fromkeys(row["group"] for row in rows):
        of = [row for row in rows if row["group"] == group]
        cells = []
        for name in MEASURES:
            values, digits = [float(row[name]) for row in of], 1 if name == "pixels" else 2
            error = np.std(values, ddof=1) / np.sqrt(len(values))
            cells.append(f"{np.mean(values):.{digits}f} +- {error:.{digits}f}")
        lines.append(f"| {group} | {len(of)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(path, rows):
    groups = list(dict.fromkeys(row["group"] for row in rows))
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(11, 0.6 + 0.28 * len(groups)))
    for axis, (name, title) in zip(axes, MEASURES.items(), strict=True):
        for i, group in enumerate(groups):
            values = [float(row[name]) for row in rows if row["group"] == group]
            axis.plot(values, [i] * len(values), "o", color="C0", alpha=0.35, markersize=4)
            axis.plot(np.mean(values), i, "|", color="black", markersize=12)
        axis.set_title(title, fontsize=9)
        axis.set(yticks=range(len(groups)), ylim=(len(groups) - 0.5, -0.5))
        axis.set_yticklabels(groups if name == "critic" else [])
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--sheet", nargs=2, action="append", required=True)
    parser.add_argument("--expressions", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    animator = Animator.load(args.model)
    units = animator.action_units
    aus = FaceDataset(args.faces, "test").aus_table()[:, positions(units)] / OPENFACE_MAXIMUM
    chosen = np.random.default_rng(0).choice(len(aus), args.expressions, replace=False)
    targets = aus[chosen].astype(np.float32)
    embed = functools.partial(in_batches, face_resnet.load())

    rows = []
    with animator, judges.mediapipe(units) as mediapipe:
        readers = {
            "critic": judges.own_reader(animator.model.read_aus, units).read,
            "mediapipe": mediapipe.read,
        }
        for sheet, names in args.sheet:
            found = rows_of(animator.find(np.asarray(Image.open(sheet).convert("RGB")), "all"))
            names = names.split(",")
            if len(found) != len(names):
                raise ValueError(f"{sheet}: {len(found)} rows of faces, {len(names)} names")
            for group, faces in zip(names, found, strict=True):
                for face in faces:
                    rows.append({"group": group, "left": round(face.box[0])})
                    scores = measure(animator, face, targets, readers, embed)
                    rows[-1] |= {name: f"{value:.4f}" for name, value in scores.items()}
                print(group, len(faces), flush=True)
    name = Path(args.model).stem
    write_rows(args.out / f"{name}.csv", rows)
    plot(args.out / f"{name}.png", rows)
    print(table(rows))


if __name__ == "__main__":
    main()
