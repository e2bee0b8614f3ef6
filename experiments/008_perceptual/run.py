"""Does a perceptual identity term beat absolute differences? GANimation on drawn faces.

    python -m experiments.008_perceptual.run --runs runs/008 --out experiments/008_perceptual

Every variant is trained with every seed on equal images, and judged on the same held-out drawn
faces, whose true edits are known. ``results.csv`` grows; what it has is not done again. Needs the
extra `evaluate`.
"""

import argparse
import functools
import logging
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from configs import synthetic
from experiments.rows import read_rows, write_rows
from ganimation_jax.data.pipeline import build_source, held_out_batches
from ganimation_jax.evaluation import held_out, quality, truth
from ganimation_jax.evaluation.agreement import correlation
from ganimation_jax.features import lpips, perceptual
from ganimation_jax.features.batches import in_batches
from ganimation_jax.models.diat import blurred
from ganimation_jax.runs.load import load_run
from ganimation_jax.steps import losses
from ganimation_jax.training import loop
from ganimation_jax.types import to_float

SEEDS = (0, 1, 2)
CYCLE = 10.0  # published weight of absolute differences
# Name -> the network of the distance, and the share of the term that it replaces.
VARIANTS = {
    "L1": ("", 0.0),
    "LPIPS": ("lpips", 1.0),
    "VGG16": ("vgg16", 1.0),
    "face network": ("face_resnet", 1.0),
    "L1 + LPIPS": ("lpips", 0.5),
}
MEASURES = {  # column -> what it is, in the table
    "psnr": "PSNR to the true edit",
    "psnr_changed": "the same, where it changes",
    "r": "r of the change, own critic",
    "undone": "undone, PSNR",
    "undone_lpips": "undone, LPIPS",
    "attention": "share kept",
}


def config(args, name, seed):
    cfg = synthetic.get_config("published")
    cfg.seed, cfg.image_size = seed, args.image_size
    cfg.epochs = args.images / cfg.data.size
    cfg.decay_epochs = 0.3 * cfg.epochs
    cfg.evaluate.examples = args.held_out
    cfg.every.update(log=320, evaluate=10**9, sample=10**9, checkpoint=10**9)
    cfg.wandb.mode, cfg.health.on = "disabled", False
    network, share = VARIANTS[name]
    cfg.loss.cycle = (1 - share) * CYCLE
    if share:
        cfg.perceptual.update(network=network, cycle=share * balanced(network, args.image_size))
    return cfg


@functools.cache
def balanced(network, size):
    """The weight at which a distance pulls as hard as the published term.

    That is, at which the gradient of a slightly blurred drawn face has the same norm.
    """
    faces = synthetic.get_config("published")
    faces.image_size = size
    source = build_source(faces, "train")
    image = to_float(jnp.asarray(np.stack([source[i]["image"] for i in range(16)])))
    soft = blurred(image, 5, 1.0)
    distance = perceptual.distance(network)
    params = distance.load()

    def pull(error):
        return float(jnp.linalg.norm(jax.jit(jax.grad(lambda x: error(x).mean()))(soft)))

    pixels = pull(lambda x: losses.cycle_error(x, image))
    return CYCLE * pixels / pull(lambda x: distance.between(params, x, image))


def measure(cfg, workdir, look):
    """Held-out faces edited by a finished run, against their true edits."""
    run, faces = load_run(workdir), build_source(cfg, "test")
    edit = functools.partial(jax.jit(run.model.edit), run.used)
    read = functools.partial(jax.jit(run.model.read), run.used)
    seen = held_out.look(held_out_batches(cfg, faces, run.names), edit, read)
    true = truth.of(faces, run.names, seen.want)
    scores = {
        one.key: one.value for one in truth.evaluate(true, seen.image, seen.edited, seen.attention)
    }
    asked, answered = seen.want - seen.have, seen.edited_read - seen.read
    return {
        "psnr": scores["truth/psnr"],
        "psnr_changed": scores["truth/psnr_changed"],
        "r": float(np.nanmean(correlation(answered, asked))),
        "undone": float(quality.psnr(seen.reconstructed, seen.image).mean()),
        "undone_lpips": float(look(seen.reconstructed, seen.image).mean()),
        "attention": float(seen.attention.mean()),
    }


def table(rows):
    """Markdown: mean and range over the seeds."""
    columns = {"weight": "weight", **MEASURES, "seconds": "seconds"}
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (1 + len(columns)) + "|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for column in columns:
            values = [float(row[column]) for row in rows if row["variant"] == name]
            digits = {"psnr": 1, "psnr_changed": 1, "undone": 1, "seconds": 0}.get(column, 3)
            spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
            cells.append(f"{np.mean(values):.{digits}f}{spread if len(values) > 1 else ''}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_240)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--held_out", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    look = functools.partial(in_batches, lpips.load())
    results = args.out / "results.csv"
    rows = read_rows(results)
    for seed in args.seeds:
        for name in args.variants:
            run = {"variant": name, "seed": str(seed), "images": str(args.images)}
            if any(row | run == row for row in rows):
                continue
            folder = args.runs / f"{name.replace(' ', '_')}_{seed}"
            cfg, start = config(args, name, seed), time.monotonic()
            if not loop.train(cfg, folder):
                return  # asked to stop: rerun the command to resume
            facts = {"seconds": round(time.monotonic() - start)}
            found = {"weight": cfg.perceptual.cycle, **measure(cfg, folder, look)}
            rows.append(run | facts | {key: f"{value:.4f}" for key, value in found.items()})
            write_rows(results, rows)
            print(rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
