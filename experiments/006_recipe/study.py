"""Single choices of the recipe at 64x64, at equal images, with three seeds.

    python -m experiments.006_recipe.study --data DATA --runs runs/006 --out experiments/006_recipe

``DATA`` is what ``ganimation prepare people`` wrote. All variants are measured on the same
held-out pairs (``compare.py``). ``study.csv`` grows, and what it has is not done again. Draws
``study.png``: held-out faces, the true edits, and the edits of every variant's first seed. Needs
the extras `annotate` and `evaluate`.
"""

import argparse
import contextlib
import logging
import time
from pathlib import Path

import numpy as np
from PIL import Image

from configs import emotionet
from experiments.rows import read_rows, write_rows
from ganimation_jax.action_units import ACTION_UNITS
from ganimation_jax.data.pipeline import build_source
from ganimation_jax.reports.picture_grid import grid
from ganimation_jax.runs.load import load_run
from ganimation_jax.training import loop
from ganimation_jax.types import to_uint8

from .compare import MEASURES, HeldOut, heading

SEEDS = (0, 1, 2)
SIZE, WIDTH, BATCH = 64, 24, 16
# Preset, and what is changed of it.
VARIANTS = {
    "pairs": ("people", {}),
    "no pairs (recommended)": ("recommended", {"n_critic": 2}),
    "no emphasis": ("people", {"loss.paired_emphasis": 0.0}),
    "no motion": ("people", {"generator.motion": 0.0, "loss.motion": 0.0}),
    "LPIPS beside L1": ("people", {"perceptual.paired": 40.0}),
}
SHOWN = 10  # faces in the picture


def config(args, variant, seed):
    """The config of a run: the variant's preset at this size, for so many images."""
    preset, changes = VARIANTS[variant]
    cfg = emotionet.get_config(preset)
    cfg.data.dir, cfg.data.resident, cfg.seed = str(args.data), True, seed
    cfg.image_size, cfg.batch_size = SIZE, BATCH
    cfg.generator.width, cfg.generator.residual_blocks = WIDTH, 4
    cfg.critic.update(width=WIDTH, init_std=0.02 * (64 / WIDTH) ** 0.5)
    cfg.ema_decay = 0.99  # over the last hundred steps: a run has some hundreds
    cfg.update_from_flattened_dict(changes)
    faces = len(build_source(cfg, "train"))
    cfg.epochs, cfg.decay_epochs = args.images / faces, 0.4 * args.images / faces
    cfg.every.update(log=800, evaluate=10**9, sample=10**9, checkpoint=10**9)
    cfg.wandb.mode, cfg.health.on = "disabled", False
    return cfg


def table(rows):
    """Markdown: mean and range over the seeds."""
    lines = [heading()]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for key, (_, digits) in MEASURES.items():
            values = [float(row[key]) for row in rows if row["variant"] == name]
            spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})"
            cells.append(f"{np.mean(values):.{digits}f}{spread if len(values) > 1 else ''}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path, held_out, edits):
    """Faces in columns: the source, every variant, the true edit."""
    shown = np.linspace(0, len(held_out.source) - 1, SHOWN).astype(int)
    rows = {"source": held_out.source, **edits, "true edit": held_out.target}
    cells = [list(np.asarray(to_uint8(images[shown]))) for images in rows.values()]
    Image.fromarray(grid(cells, tuple(rows))).save(path)


def main():
    """Train, measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4_800)
    parser.add_argument("--held_out", type=int, default=192)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    results = args.out / "study.csv"
    rows, edits = read_rows(results), {}
    with contextlib.closing(HeldOut(args.data, SIZE, ACTION_UNITS, args.held_out)) as held_out:

        def note(variant, seed, seconds, edited):
            found = {key: f"{value:.4f}" for key, value in held_out.measure(edited).items()}
            rows.append({"variant": variant, "seed": seed, "seconds": seconds, **found})
            write_rows(results, rows)
            print(rows[-1], flush=True)

        if not rows:
            note("no edit", "", 0, held_out.source)
        for seed in args.seeds:
            for variant in args.variants:
                folder = args.runs / f"{variant.replace(' ', '_')}_{seed}"
                done = any((row["variant"], row["seed"]) == (variant, str(seed)) for row in rows)
                start = time.monotonic()
                if not done and not loop.train(config(args, variant, seed), folder):
                    return  # asked to stop: rerun the command to resume
                seconds = round(time.monotonic() - start)
                if done and (seed != args.seeds[0] or not folder.exists()):
                    continue
                edited = held_out.edits(load_run(folder))
                if seed == args.seeds[0]:
                    edits[variant] = edited
                if not done:
                    note(variant, str(seed), seconds, edited)
        draw(args.out / "study.png", held_out, edits)
    print(table(rows))


if __name__ == "__main__":
    main()
