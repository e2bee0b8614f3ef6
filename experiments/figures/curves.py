"""Training curves of a run: python experiments/figures/curves.py RUN --out docs/curves.png

Needs matplotlib (extra `figures`).
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

PANELS = {
    "critic: edited - real score": ("critic/wasserstein",),
    "critic: input gradient norm": ("critic/gradient_norm",),
    "AU loss": ("critic/aus", "generator/aus"),
    "cycle loss": ("generator/cycle",),
    "attention (share kept)": ("generator/attention_mean",),
    "held-out: requested vs read change, r": ("edit_response/r",),
    "held-out: reading of real faces, r": ("own_on_real/r",),
    "held-out: mean pixel change of an edit (0-255)": ("edit_response/pixels",),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="")
    args = parser.parse_args()
    records = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        if "critic/real" in record:
            record["critic/wasserstein"] = record["critic/real"] + record["critic/edited"]

    figure, axes = plt.subplots(2, 4, figsize=(15, 6), layout="constrained")
    for axis, (title, names) in zip(axes.flat, PANELS.items(), strict=True):
        for name in names:
            points = [(r["images"] / 1000, r[name]) for r in records if r.get(name) is not None]
            if points:
                marker = "o" if len(points) < 40 else None
                axis.plot(*zip(*points, strict=True), label=name, linewidth=1, marker=marker)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend(fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("thousand images", fontsize=8)
    figure.suptitle(args.title, fontsize=10)
    figure.savefig(args.out, dpi=70)


if __name__ == "__main__":
    main()
