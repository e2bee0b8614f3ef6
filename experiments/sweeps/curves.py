"""Curves of the runs of a sweep, and a table of where they end, as Markdown.

    python experiments/sweeps/curves.py RUNS --metrics attention/mean,truth/psnr --out curves.png

``RUNS`` is the --workdir of ``ganimation sweep``, on drawn faces. Runs that differ in
their seed alone share a colour and a row: mean and range. Training metrics are means over eight
records. ``wasserstein`` is made of critic/real and critic/edited. Alerts are those that are open
at the end, and in how many runs. Needs matplotlib (extra `figures`).
"""

import argparse
import collections
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from ml_collections import ConfigDict

from ganimation_jax import methods
from ganimation_jax.synthetic.faces import SyntheticFaces
from ganimation_jax.training.monitors import Monitors
from ganimation_jax.training.setup import facts_of

SMOOTH = 8  # records


def read(folder, metric):
    """Images and values."""
    points = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "critic/real" in record:
            record["wasserstein"] = -(record["critic/real"] + record["critic/edited"])
        if record.get(metric) is not None:
            points.append((record["images"], record[metric]))
    images, values = np.array(points).T
    if len(values) > 2 * SMOOTH:
        values = np.convolve(values, np.full(SMOOTH, 1 / SMOOTH), "valid")
        images = images[SMOOTH - 1 :]
    return images, values


def alerts(folder, warmup):
    """Names of the alerts that are open at the end."""
    cfg = ConfigDict(json.loads((folder / "config.json").read_text()))
    cfg.health.update(on=True, warmup=warmup)
    faces = SyntheticFaces(cfg.data.size, cfg.image_size, cfg.seed)
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    method = methods.load(cfg.method)
    facts = facts_of(faces, method.model(cfg))
    watch = Monitors(method.training(cfg, facts).monitors, cfg.health.warmup)
    return [alert.name for alert in watch.replay(records)]


def by_setting(runs):
    """Folders of runs by what was set in them, but for the seed."""
    groups = {}
    for path in sorted(runs.glob("[0-9]*/trial.json")):
        parameters = json.loads(path.read_text())["parameters"]
        parameters.pop("config.seed", None)
        label = " ".join(f"{name.split('.')[-1]} {value:g}" for name, value in parameters.items())
        groups.setdefault(label, []).append(path.parent)
    return groups


def spread(values):
    """Mean, and the range if there are several."""
    text = f"{np.mean(values):.3g}"
    return text if len(values) == 1 else f"{text} ({min(values):.3g} to {max(values):.3g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--metrics", required=True, help="joined by commas")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", default="", help="metrics on a logarithmic axis")
    parser.add_argument("--warmup", type=int, default=2_000, help="images without alerts")
    args = parser.parse_args()
    metrics = args.metrics.split(",")
    rows = -(-len(metrics) // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(11, 2.9 * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(metrics) :]:
        axis.set_axis_off()
    print("| " + " | ".join(["run", *metrics, "alerts"]) + " |")
    print("|---" * (len(metrics) + 2) + "|")
    styles = ("-", "--", "-.", ":")  # lines may lie on each other
    for i, (label, folders) in enumerate(by_setting(args.runs).items()):
        cells = [label]
        for axis, metric in zip(axes.flat, metrics, strict=False):
            ends = []
            for folder in folders:
                images, values = read(folder, metric)
                marker = "o" if len(values) < 10 else None
                style = {"color": f"C{i}", "linestyle": styles[i % 4], "marker": marker}
                name = None if ends else label  # once in the legend
                axis.plot(images / 1000, values, label=name, linewidth=1, markersize=4, **style)
                ends.append(values[-1])
            cells.append(spread(ends))
        count = collections.Counter(a for folder in folders for a in alerts(folder, args.warmup))
        cells.append(", ".join(f"{name} {n}/{len(folders)}" for name, n in count.items()) or "-")
        print("| " + " | ".join(cells) + " |")
    for axis, metric in zip(axes.flat, metrics, strict=False):
        axis.set_title(metric, fontsize=9)
        axis.set_xlabel("thousand images", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if metric in args.log.split(","):
            axis.set_yscale("log")
    axes[0, 0].legend(fontsize=7)
    figure.savefig(args.out, dpi=80)


if __name__ == "__main__":
    main()
