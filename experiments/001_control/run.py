"""What limits control? One knob at a time, on real faces, at equal images.

    python -m experiments.001_control.run --faces DATA --runs runs/001 --out experiments/001_control

``DATA`` is prepared as configs/lfw_openface.py says. Every variant is trained with every seed and
judged on the same held-out faces; ``results.csv`` and ``curves.csv`` grow, and what they have is
not done again. Judges
of the change that was asked for: the run's own critic; the critic of lfw-64, which none of these
generators has met; MediaPipe. Needs the extras `annotate`, `evaluate` and `figures`.
"""

import argparse
import functools
import json
import logging
import time
from pathlib import Path

import jax
import matplotlib
import numpy as np

from configs import lfw_openface
from experiments.rows import read_rows, write_rows
from ganimation_jax.data.pipeline import build_source, held_out_batches
from ganimation_jax.evaluation import attention_mask, held_out, identity_distance, judges, quality
from ganimation_jax.evaluation.agreement import correlation
from ganimation_jax.features import face_resnet
from ganimation_jax.features.batches import in_batches
from ganimation_jax.runs.load import load_run
from ganimation_jax.training import loop

matplotlib.use("agg")
import matplotlib.pyplot as plt

SEEDS = (0, 1, 2)
VARIANTS = {
    "base": {},
    "lr 1e-4": {"lr": 1e-4},
    "aus 40": {"loss.aus": 40.0},
    "aus 640": {"loss.aus": 640.0},
    "attention 1": {"loss.attention": 1.0},
    "n_critic 5": {"n_critic": 5},
    "no EMA": {"ema_decay": 0.0},
    "film": {"generator.condition": "film"},
    "augmented": {"augment.policy": "color,translation"},
    "tint": {"augment.tint": 0.2},
}
MEASURES = {  # column -> what it is, for the plot
    "own": "r, own critic",
    "judge": "r, critic of lfw-64",
    "mediapipe": "r, MediaPipe",
    "identity": "identity distance",
    "pixels": "pixel change, of 255",
    "psnr": "undone, PSNR",
    "attention": "share kept",
}


def config(args, changes, seed):
    cfg = lfw_openface.get_config("cpu")
    cfg.data.dir, cfg.seed, cfg.lr = str(args.faces), seed, 3e-4
    cfg.generator.width = cfg.critic.width = 16
    cfg.critic.init_std = 0.04
    cfg.ema_decay = 0.99  # over the last hundred steps: a run has some
    cfg.update_from_flattened_dict(changes)
    faces = len(build_source(cfg, "train"))
    cfg.epochs, cfg.decay_epochs = args.images / faces, 0.3 * args.images / faces
    cfg.evaluate.examples = 128
    cfg.every.update(log=160, evaluate=800, sample=10**9, checkpoint=10**9)
    cfg.wandb.mode, cfg.health.on = "disabled", False
    return cfg


def measure(args, cfg, workdir, panel, embed):
    """Held-out faces edited by a finished run, and what all judges say."""
    run, faces = load_run(workdir), build_source(cfg, "test")
    cfg.evaluate.examples = args.held_out
    edit = functools.partial(jax.jit(run.model.edit), run.used)
    read = functools.partial(jax.jit(run.model.read), run.used)
    seen = held_out.look(held_out_batches(cfg, faces, run.names), edit, read)
    columns = [run.names.index(unit) for unit in judges.WELL_JUDGED]
    asked = (seen.want - seen.have)[:, columns]

    def response(before, after):
        return float(np.nanmean(correlation((after - before)[:, columns], asked)))

    persons = held_out.Subject(seen, faces, run.names, edit, read).persons
    scores = [
        *quality.change(seen.edited, seen.image),
        *quality.reconstruction(seen.reconstructed, seen.image),
        *attention_mask.health(seen.attention),
        *identity_distance.evaluate(seen.image, seen.edited, persons, embed, face_resnet.THRESHOLD),
    ]
    found = {score.key: score.value for score in scores}
    return {
        "own": response(seen.read, seen.edited_read),
        **{one.name: response(one.read(seen.image), one.read(seen.edited)) for one in panel},
        "identity": found["identity/distance"],
        "pixels": found["edit_response/pixels"],
        "psnr": found["reconstruction/psnr"],
        "attention": found["attention/mean"],
    }


def curve(workdir):
    """Of a run: images, and the own critic's reading of the change over all units."""
    records = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    for record in records:
        if "edit_response/r" in record:
            yield {"images": record["images"], "r": f"{record['edit_response/r']:.4f}"}


def plot(path, rows, points):
    names = [name for name in VARIANTS if any(row["variant"] == name for row in rows)]
    shown = ("own", "judge", "mediapipe", "identity", "pixels")
    figure, axes = plt.subplots(1, 1 + len(shown), figsize=(3 + 2.4 * len(shown), 3.4))
    for i, name in enumerate(names):
        line = {}  # images -> what each seed reads there
        for point in points:
            if point["variant"] == name:
                line.setdefault(int(point["images"]), []).append(float(point["r"]))
        means = [np.mean(values) for values in line.values()]
        axes[0].plot(list(line), means, color=f"C{i}")
    axes[0].set(xlabel="images", title="r, own critic, all units")
    for axis, measure in zip(axes[1:], shown, strict=True):
        for i, name in enumerate(names):
            values = [float(row[measure]) for row in rows if row["variant"] == name]
            axis.plot(values, [i] * len(values), "o", color=f"C{i}", alpha=0.6)
            axis.plot(np.mean(values), i, "|", color="black", markersize=14)
        axis.set(title=MEASURES[measure], yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.set_yticklabels(names if measure == "own" else [])
        axis.grid(axis="x", alpha=0.3)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(9)
        axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def table(rows):
    """Markdown: mean and range over the seeds."""
    lines = ["| | " + " | ".join(MEASURES.values()) + " |", "|---" * (1 + len(MEASURES)) + "|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for measure in MEASURES:
            values = [float(row[measure]) for row in rows if row["variant"] == name]
            digits = 1 if measure in ("pixels", "psnr") else 2
            spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
            cells.append(f"{np.mean(values):.{digits}f}{spread if len(values) > 1 else ''}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=3_200)
    parser.add_argument("--held_out", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    stranger = load_run("lfw-64")
    read = functools.partial(jax.jit(stranger.model.read), stranger.used)
    judge = judges.own_reader(read, stranger.names)._replace(name="judge")
    embed = functools.partial(in_batches, face_resnet.load())
    results, curves = args.out / "results.csv", args.out / "curves.csv"
    rows, points = read_rows(results), read_rows(curves)
    with judges.mediapipe(stranger.names) as mediapipe:
        for seed in args.seeds:
            for name in args.variants:
                run = {"variant": name, "seed": str(seed)}
                if any(row | run == row for row in rows):
                    continue
                folder = args.runs / f"{name.replace(' ', '_')}_{seed}"
                cfg, start = config(args, VARIANTS[name], seed), time.monotonic()
                if not loop.train(cfg, folder):
                    return  # asked to stop: rerun the command to resume
                found = measure(args, cfg, folder, (judge, mediapipe), embed)
                facts = {"images": args.images, "seconds": round(time.monotonic() - start)}
                points = [point for point in points if point | run != point]
                points += [run | point for point in curve(folder)]
                write_rows(curves, points)
                rows.append(run | facts | {key: f"{value:.4f}" for key, value in found.items()})
                write_rows(results, rows)
                print(rows[-1], flush=True)
    plot(args.out / "results.png", rows, points)
    print(table(rows))


if __name__ == "__main__":
    main()
