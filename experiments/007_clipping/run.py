"""Clipped weights or a gradient penalty? One small critic, on drawn faces, at equal images.

    python -m experiments.007_clipping.run --runs runs/007 --out experiments/007_clipping

Every variant is trained with every seed on drawn faces, whose true edits are known.
``results.csv`` grows, and what it has is not done again. Set ``JAX_COMPILATION_CACHE_DIR``, and the
seeds of a variant share its compiled step.
"""

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np

from configs import synthetic
from experiments.rows import read_rows, write_rows
from ganimation_jax.training import loop

CLIP = {"loss.penalty": 0.0, "loss.clip": 0.01, "optimizer": "rmsprop"}
VARIANTS = {
    "penalty 10": {},
    "clip 0.01, RMSProp 5e-5": CLIP | {"lr": 5e-5},
    "clip 0.1, RMSProp 4e-4": CLIP | {"loss.clip": 0.1},
}
MEASURES = {  # column -> what it is, and its digits
    "slope": ("critic's slope", 3),
    "wasserstein": ("Wasserstein estimate", 4),
    "per_slope": ("estimate / slope", 4),
    "reads": ("critic reads real faces, r", 2),
    "response": ("requested against read change, r", 2),
    "pixels": ("pixel change, of 255", 2),
    "psnr": ("PSNR to the true edit", 1),
}
LAST = 6  # records of the log that slope and estimate are means over


def config(args, changes, seed):
    cfg = synthetic.get_config("smoke")
    cfg.seed, cfg.data.size, cfg.data.resident = seed, 1_024, True
    cfg.epochs = args.images / cfg.data.size
    cfg.decay_epochs = cfg.epochs / 3
    cfg.update_from_flattened_dict(changes)
    cfg.every.update(log=64, evaluate=10**9, sample=10**9, checkpoint=10**9)
    cfg.evaluate.examples = 64
    cfg.wandb.mode, cfg.health.on = "disabled", False
    return cfg


def measure(workdir):
    """What a finished run recorded: its last batches, and its evaluation at the end."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    logged = [record for record in records if "critic/gradient_norm" in record][-LAST:]
    scores = records[-1]
    slope = np.mean([record["critic/gradient_norm"] for record in logged])
    apart = np.mean([-(record["critic/real"] + record["critic/edited"]) for record in logged])
    return {
        "slope": slope,
        "wasserstein": apart,
        "per_slope": apart / slope,
        "reads": scores["own_on_real/r"],
        "response": scores["edit_response/r"],
        "pixels": scores["edit_response/pixels"],
        "psnr": scores["truth/psnr"],
    }


def table(rows):
    """Markdown: mean and range over the seeds."""
    titles = [title for title, _ in MEASURES.values()]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (1 + len(titles)) + "|"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for measure, (_, digits) in MEASURES.items():
            values = [float(row[measure]) for row in rows if row["variant"] == name]
            spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
            cells.append(f"{np.mean(values):.{digits}f} ({spread})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1_024)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)

    results = args.out / "results.csv"
    rows = read_rows(results)
    for seed in args.seeds:
        for name in args.variants:
            run = {"variant": name, "seed": str(seed)}
            if any(row | run == row for row in rows):
                continue
            folder = args.runs / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
            start = time.monotonic()
            if not loop.train(config(args, VARIANTS[name], seed), folder):
                return  # asked to stop: rerun the command to resume
            seconds = f"{time.monotonic() - start:.0f}"
            found = {key: f"{value:.6g}" for key, value in measure(folder).items()}
            rows.append(run | found | {"seconds": seconds})
            write_rows(results, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
